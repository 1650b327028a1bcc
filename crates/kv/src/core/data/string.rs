//! Strings: bytes, or a number kept as one.

use std::borrow::Cow;

use super::{
    Compact,
    heap::{Heap, allocation_bytes},
    kind,
};

/// A string is never longer, in bytes; Redis's default for `proto-max-bulk-len`.
pub const STRING_BYTES_MAX: usize = 512 << 20;

/// Strings up to this length, in bytes, are called `embstr` (Redis: "OBJECT ENCODING").
const EMBEDDED_BYTES_MAX: usize = 44;

/// What longer ones are called, and those that were changed in place.
const RAW: &str = "raw";

/// A string value. Numbers are kept as numbers when their text is exactly what printing them
/// gives; OBJECT ENCODING says `int` of those.
#[derive(Clone, Debug)]
pub enum RedisString {
    /// A number.
    Integer(i64),
    /// Bytes with nothing to spare. Few of them are called `embstr`, many `raw`.
    Exact(Compact),
    /// Bytes that were changed in place, and may be again: `raw`, however many.
    Edited(Box<Vec<u8>>),
}

kind!(RedisString, String, |_this| false);

impl Default for RedisString {
    /// No bytes, about to be changed.
    fn default() -> Self {
        RedisString::Edited(Box::default())
    }
}

/// Strings are the same if their bytes are, and what they are called.
impl PartialEq for RedisString {
    fn eq(&self, other: &Self) -> bool {
        self.encoding() == other.encoding() && self.bytes() == other.bytes()
    }
}

impl Heap for RedisString {
    fn heap_bytes(&self) -> usize {
        match self {
            RedisString::Integer(_) => 0,
            RedisString::Exact(bytes) => bytes.heap_bytes(),
            RedisString::Edited(bytes) => {
                allocation_bytes(size_of::<Vec<u8>>()) + allocation_bytes(bytes.capacity())
            }
        }
    }
}

impl RedisString {
    /// The string with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        match parse_integer(bytes) {
            Some(integer) => RedisString::Integer(integer),
            None => RedisString::text(bytes),
        }
    }

    /// The same, but not as a number.
    pub fn text(bytes: &[u8]) -> Self {
        RedisString::Exact(bytes.into())
    }

    /// The string with these bytes, which is called `raw` however few they are.
    pub fn raw(bytes: Vec<u8>) -> Self {
        match bytes.len() <= EMBEDDED_BYTES_MAX {
            true => RedisString::Edited(Box::new(bytes)),
            false => RedisString::Exact(bytes.into()),
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            RedisString::Integer(integer) => Cow::Owned(integer.to_string().into_bytes()),
            RedisString::Exact(bytes) => Cow::Borrowed(bytes),
            RedisString::Edited(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            RedisString::Integer(integer) => {
                let digits = integer.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
                digits + usize::from(*integer < 0)
            }
            RedisString::Exact(bytes) => bytes.len(),
            RedisString::Edited(bytes) => bytes.len(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number that its bytes write, if they do.
    pub fn integer(&self) -> Option<i64> {
        match self {
            RedisString::Integer(integer) => Some(*integer),
            RedisString::Exact(bytes) => parse_integer(bytes),
            RedisString::Edited(bytes) => parse_integer(bytes),
        }
    }

    /// Its bytes, to change them in place.
    pub fn edit(&mut self) -> &mut Vec<u8> {
        if !matches!(self, RedisString::Edited(_)) {
            let bytes = match std::mem::replace(self, RedisString::Integer(0)) {
                RedisString::Exact(bytes) => bytes.into_vec(),
                number => number.bytes().into_owned(),
            };
            *self = RedisString::Edited(Box::new(bytes));
        }
        match self {
            RedisString::Edited(bytes) => bytes,
            _ => unreachable!("it was just made raw"),
        }
    }

    /// Changes its bytes in place, if `change` says that it did so. Where it did not, the string
    /// stays kept as it was: a command without an effect leaves no trace.
    pub fn edit_if(&mut self, change: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        if self.encoding() == RAW {
            // It is called so whether or not it is changed; and it may be long.
            return change(self.edit());
        }
        // Only a few.
        let mut bytes = self.bytes().into_owned();
        let changed = change(&mut bytes);
        if changed {
            *self = RedisString::Edited(Box::new(bytes));
        }
        changed
    }

    /// Whether it is called `embstr`.
    pub(in crate::core) fn is_embedded(&self) -> bool {
        matches!(self, RedisString::Exact(bytes) if bytes.len() <= EMBEDDED_BYTES_MAX)
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(&self) -> &'static str {
        match self {
            RedisString::Integer(_) => "int",
            RedisString::Exact(_) if self.is_embedded() => "embstr",
            RedisString::Exact(_) | RedisString::Edited(_) => RAW,
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn a_number_is_as_long_as_its_text(number in any::<i64>(), short in -1000i64..1000) {
            for number in [number, short, i64::MIN, i64::MAX] {
                let text = number.to_string();
                let string = RedisString::new(text.as_bytes());
                prop_assert_eq!(&string, &RedisString::Integer(number));
                prop_assert_eq!(string.len(), text.len());
                prop_assert_eq!(string.bytes().into_owned(), text.into_bytes());
            }
        }
    }
}
