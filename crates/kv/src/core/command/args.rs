//! Reading arguments.

use bytes::Bytes;

use super::error::CommandError;
use crate::core::data::{Milliseconds, parse_integer};

/// A whole number of 64 bits.
pub(super) fn integer(argument: &[u8]) -> Result<i64, CommandError> {
    parse_integer(argument).ok_or(CommandError::NotInteger)
}

/// A whole number from `min` on.
///
/// # Errors
/// The given refusal, whether it is no number or too small a one.
pub(super) fn at_least(
    argument: &[u8],
    min: i64,
    refusal: &'static str,
) -> Result<usize, CommandError> {
    parse_integer(argument)
        .filter(|number| *number >= min)
        .and_then(|number| usize::try_from(number).ok())
        .ok_or(CommandError::Other(refusal))
}

/// A floating point number: decimal or `inf`, never NaN, no spaces.
pub(super) fn float(argument: &[u8]) -> Result<f64, CommandError> {
    let text = std::str::from_utf8(argument).map_err(|_| CommandError::NotFloat)?;
    let number: f64 = text.parse().map_err(|_| CommandError::NotFloat)?;
    let is_digits = text.contains(|letter: char| letter.is_ascii_digit());
    // Digits that no double can hold are no number either.
    let lost = is_digits && (number.is_infinite() || (number == 0.0 && names_more(text)));
    if number.is_nan() || lost {
        return Err(CommandError::NotFloat);
    }
    Ok(number)
}

/// Whether the digits before the exponent are not all zero.
fn names_more(text: &str) -> bool {
    text.bytes()
        .take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'))
        .any(|byte| matches!(byte, b'1'..=b'9'))
}

/// For how long a command waits, from a number of seconds with or without a fraction; 0 is for
/// ever (Redis: "BLPOP").
pub(super) fn timeout_ms(argument: &[u8]) -> Result<Milliseconds, CommandError> {
    let seconds = float(argument)
        .map_err(|_| CommandError::Other("ERR timeout is not a float or out of range"))?;
    // A part of a millisecond is a whole one, else waiting shortly would be waiting for ever.
    let ms = (seconds * 1_000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(CommandError::Other("ERR timeout is out of range"));
    }
    if ms < 0.0 {
        return Err(CommandError::Other("ERR timeout is negative"));
    }
    Ok(ms as Milliseconds)
}

/// Whether the argument is this word, in any case.
pub(super) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Arguments one after the other.
pub(super) struct Words<'a> {
    rest: std::slice::Iter<'a, Bytes>,
}

impl<'a> Words<'a> {
    /// The words of a command from the given place on; place 0 is its name.
    pub(super) fn from(arguments: &'a [Bytes], place: usize) -> Self {
        Words {
            rest: arguments.get(place..).unwrap_or_default().iter(),
        }
    }

    /// The next word, or a syntax error.
    pub(super) fn expect(&mut self) -> Result<&'a Bytes, CommandError> {
        self.rest.next().ok_or(CommandError::Syntax)
    }

    /// The next word as a whole number, or a syntax error.
    pub(super) fn expect_integer(&mut self) -> Result<i64, CommandError> {
        integer(self.expect()?)
    }

    /// Number of words left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a Bytes;

    fn next(&mut self) -> Option<&'a Bytes> {
        self.rest.next()
    }
}

/// A moment of expiry from a number of `unit_ms` since `since_ms` (0 for absolute times).
///
/// # Errors
/// [`CommandError::NotInteger`], or [`CommandError::ExpireTime`] where it is zero, negative or
/// beyond what fits.
pub(super) fn expiry(
    argument: &[u8],
    unit_ms: i64,
    since_ms: Milliseconds,
    command: &'static str,
) -> Result<Milliseconds, CommandError> {
    let number = integer(argument)?;
    let refused = CommandError::ExpireTime(command);
    if number <= 0 {
        return Err(refused);
    }
    number
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add_unsigned(since_ms))
        .and_then(|ms| Milliseconds::try_from(ms).ok())
        .ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats() {
        for (text, number) in [
            ("1.5", Some(1.5)),
            ("-0", Some(-0.0)),
            ("0e999", Some(0.0)),
            ("1e3", Some(1_000.0)),
            ("INF", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("+infinity", Some(f64::INFINITY)),
            ("1e400", None),
            ("-1e400", None),
            ("1e-400", None),
            ("nan", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(float(text.as_bytes()).ok(), number, "{text:?}");
        }
    }

    #[test]
    fn timeouts() {
        for (text, answer) in [
            ("0", Ok(0)),
            ("1.5", Ok(1_500)),
            ("0.0001", Ok(1)),
            ("-1", Err("ERR timeout is negative")),
            ("-inf", Err("ERR timeout is negative")),
            ("inf", Err("ERR timeout is out of range")),
            ("1e18", Err("ERR timeout is out of range")),
            ("x", Err("ERR timeout is not a float or out of range")),
            ("nan", Err("ERR timeout is not a float or out of range")),
        ] {
            let read = timeout_ms(text.as_bytes()).map_err(|error| error.to_string());
            assert_eq!(read, answer.map_err(str::to_owned), "{text:?}");
        }
    }
}
