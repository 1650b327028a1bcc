//! Strings: bytes, or a number kept as one.

use std::borrow::Cow;

use super::kind;

/// A string value. Numbers are kept as numbers when their text is exactly what printing them
/// gives; OBJECT ENCODING says `int` of those.
#[derive(Clone, Debug, PartialEq)]
pub enum RedisString {
    /// A number.
    Integer(i64),
    /// Bytes.
    Bytes(Vec<u8>),
}

kind!(RedisString, String, |_this| false);

impl RedisString {
    /// The string with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        match parse_integer(bytes) {
            Some(integer) => RedisString::Integer(integer),
            None => RedisString::Bytes(bytes.to_vec()),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            RedisString::Integer(integer) => Cow::Owned(integer.to_string().into_bytes()),
            RedisString::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }
}

/// A whole number as Redis reads them (`string2ll`): no spaces, no plus, no leading zeros.
pub fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let canonical = match digits {
        [] => false,
        [b'0'] => bytes.len() == 1,
        [first, ..] => *first != b'0' && digits.len() <= 19,
    };
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_are_numbers() {
        for (text, integer) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), integer, "{text:?}");
        }
    }
}
