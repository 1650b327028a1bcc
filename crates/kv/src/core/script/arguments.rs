//! What scripts hand over: numbers and strings.

use bytes::Bytes;
use mlua::{MultiValue, Value};

/// Why a function of ours was left.
#[derive(Debug)]
pub(super) enum Fault {
    /// The script is told, and may catch it.
    Text(String),
    /// The interpreter says so.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fault {
    fn from(error: mlua::Error) -> Self {
        Fault::Lua(error)
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Fault::Text(text.to_owned())
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Fault::Text(text)
    }
}

/// What a function of ours gives.
pub(super) type Given = Result<MultiValue, Fault>;

/// The value as a number, where it is one or reads as one.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Number(number) => Some(*number),
        Value::String(string) => std::str::from_utf8(&string.as_bytes())
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        _ => None,
    }
}

/// An argument as a number.
pub(super) fn expect_number(args: &MultiValue, place: usize, name: &str) -> Result<f64, Fault> {
    args.get(place)
        .and_then(number)
        .ok_or_else(|| bad_argument(place, name, "number expected"))
}

/// An argument as bytes; numbers are written out.
pub(super) fn expect_bytes(args: &MultiValue, place: usize, name: &str) -> Result<Bytes, Fault> {
    args.get(place)
        .and_then(bytes)
        .ok_or_else(|| bad_argument(place, name, "string expected"))
}

/// In the words of Lua's own libraries.
pub(super) fn bad_argument(place: usize, name: &str, why: &str) -> Fault {
    Fault::Text(format!("bad argument #{} to '{name}' ({why})", place + 1))
}

/// The value as bytes: a string, or a number written out.
pub(super) fn bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::String(string) => Some(Bytes::copy_from_slice(&string.as_bytes())),
        Value::Integer(integer) => Some(Bytes::from(integer.to_string())),
        Value::Number(number) => Some(Bytes::from(format_number(*number, 17))),
        _ => None,
    }
}

/// A number as C's `%.{digits}g` writes it.
pub(super) fn format_number(number: f64, digits: usize) -> String {
    if number.is_nan() {
        let sign = if number.is_sign_negative() { "-" } else { "" };
        return format!("{sign}nan");
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= places {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let fraction = usize::try_from(places - 1 - exponent).unwrap_or(0);
    trim(&format!("{number:.fraction$}")).to_owned()
}

/// Without zeros at the end of a fraction.
fn trim(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (number, digits, text) in [
            (0.0, 17, "0"),
            (-0.0, 17, "-0"),
            (0.1, 17, "0.10000000000000001"),
            (0.1, 14, "0.1"),
            (1e15, 17, "1000000000000000"),
            (1e17, 17, "1e+17"),
            (123_456_789.0, 3, "1.23e+08"),
            (0.000_01, 14, "1e-05"),
            (0.000_1, 14, "0.0001"),
            (3.5, 1, "4"),
            (f64::INFINITY, 17, "inf"),
            (9_007_199_254_740_991.0, 17, "9007199254740991"),
        ] {
            assert_eq!(format_number(number, digits), text);
        }
    }
}
