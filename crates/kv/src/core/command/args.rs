//! Reading arguments.

use bytes::Bytes;

use super::error::CommandError;
use crate::core::data::{Milliseconds, parse_integer};

/// A whole number of 64 bits.
pub(in crate::core) fn integer(argument: &[u8]) -> Result<i64, CommandError> {
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

/// What LMPOP, ZMPOP and those that wait are told: `numkeys key… side [COUNT count]`.
pub(super) struct ManyPop<'a, S> {
    pub(super) keys: &'a [Bytes],
    pub(super) side: S,
    pub(super) count: usize,
}

impl<'a, S> ManyPop<'a, S> {
    /// Reads it, numkeys being at `place`; `side` reads what of the value is taken.
    pub(super) fn read(
        words: &'a [Bytes],
        place: usize,
        side: impl FnOnce(&[u8]) -> Result<S, CommandError>,
    ) -> Result<Self, CommandError> {
        let keys = at_least(&words[place], 1, "ERR numkeys should be greater than 0")?;
        let (keys, rest) = words[place + 1..]
            .split_at_checked(keys)
            .ok_or(CommandError::Syntax)?;
        let mut options = Words::from(rest, 0);
        let side = side(options.expect()?)?;
        let mut count = None;
        while let Some(option) = options.next() {
            if count.is_some() || !is(option, "COUNT") {
                return Err(CommandError::Syntax);
            }
            let refusal = "ERR count should be greater than 0";
            count = Some(at_least(options.expect()?, 1, refusal)?);
        }
        Ok(ManyPop {
            keys,
            side,
            count: count.unwrap_or(1),
        })
    }
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

/// Whether the argument is this word, in any case.
pub(in crate::core) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Arguments one after the other.
pub(in crate::core) struct Words<'a> {
    rest: std::slice::Iter<'a, Bytes>,
}

impl<'a> Words<'a> {
    /// The words of a command from the given place on; place 0 is its name.
    pub(in crate::core) fn from(arguments: &'a [Bytes], place: usize) -> Self {
        Words {
            rest: arguments.get(place..).unwrap_or_default().iter(),
        }
    }

    /// The next word, or a syntax error.
    pub(in crate::core) fn expect(&mut self) -> Result<&'a Bytes, CommandError> {
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
pub(in crate::core) fn expiry(
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
}
