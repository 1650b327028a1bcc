//! Numbers as Redis writes and reads them.

/// Digits with an exponent up to so many places beyond them are written out: 10000000, 1e+8.
const ZEROS_MAX: i32 = 7;
/// Fractions of at most so many digits after the point are written out.
const FRACTION_DIGITS_MAX: i32 = 6;
/// Those of more are written out too where the exponent is at most so far from nothing.
const EXPONENT_MAX: i32 = 3;
/// Whole numbers up to this size are written as such: half of what 64 bits hold, as Redis does
/// to be far from the edge.
const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;

/// The shortest text that is read as the same number, in the form of Redis 7.2 and later:
/// `3`, `-0`, `1.5`, `0.000001`, `1e+20`, `inf`.
pub fn format_double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number != 0.0 && number.abs() <= WHOLE_MAX && number.fract() == 0.0 {
        // In range and whole, so the cast changes nothing.
        return (number as i64).to_string();
    }
    // `e` is Rust's shortest text that reads back: "-1.25e-7".
    let shortest = format!("{number:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{first}{rest}");
    let text = write_digits(first, rest, &digits, exponent);
    format!("{sign}{text}")
}

/// `first.rest` times ten to the `exponent`; `digits` are both without the point.
fn write_digits(first: &str, rest: &str, digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // The exponent of the last digit.
    let last = exponent - (count - 1);
    if last >= 0 && exponent < count + ZEROS_MAX {
        let zeros = usize::try_from(last).unwrap_or(0);
        return format!("{digits}{}", "0".repeat(zeros));
    }
    if last < 0 && (last >= -FRACTION_DIGITS_MAX || exponent.abs() <= EXPONENT_MAX) {
        return match usize::try_from(count + last) {
            Ok(whole) if whole > 0 => format!("{}.{}", &digits[..whole], &digits[whole..]),
            _ => {
                let zeros = usize::try_from(-(count + last)).unwrap_or(0);
                format!("0.{}{digits}", "0".repeat(zeros))
            }
        };
    }
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{}", exponent.abs())
}

/// A number of 64 bits without a sign: digits only.
pub(crate) fn parse_unsigned(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (1.1, "1.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (100_000_000.0, "100000000"),
            (1e18, "1000000000000000000"),
            (4_611_686_018_427_387_904.0, "4611686018427387904"),
            (1e19, "1e+19"),
            (12_345_678_901_234_567_890.0, "12345678901234567000"),
            (1e20, "1e+20"),
            (-1.5e300, "-1.5e+300"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (0.000_012_5, "1.25e-5"),
            (0.000_125, "0.000125"),
            (1.25e-9, "1.25e-9"),
            (0.012_345_678_9, "0.0123456789"),
            (0.000_012_345_678_9, "1.23456789e-5"),
            (12_345.678_9, "12345.6789"),
            (1_234.567_890_123, "1234.567890123"),
            (12_345.678_901_234, "1.2345678901234e+4"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(number), text);
        }
    }

    proptest! {
        #[test]
        fn reads_back_as_the_same(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let read: f64 = format_double(number).parse().unwrap();
            prop_assert_eq!(read.to_bits(), bits);
        }
    }
}
