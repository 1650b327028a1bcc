//! Floating point numbers as text.

/// The number as Redis 7.4 prints it: the fewest digits that read back as the same number, as
/// a whole number where it is one of moderate size, with an exponent where it is very large or
/// small.
pub fn format_double(number: f64) -> String {
    /// Below this, whole numbers are printed as such (Redis: half of the range of an i64).
    const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0;
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        // Rust keeps the sign of -0, as Redis does.
        return format!("{number}");
    }
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let sign = if number < 0.0 { "-" } else { "" };
    format!("{sign}{}", lay_out(&digits, exponent))
}

/// Digits, the first of which stands before the point, times ten to the exponent.
fn lay_out(digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // The exponent of the last digit.
    let last = exponent - (count - 1);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if last >= 0 && exponent.abs() < count + 7 {
        return format!("{digits}{}", zeros(last));
    }
    if last < 0 && (last > -7 || exponent.abs() < 4) {
        return match usize::try_from(exponent + 1) {
            Ok(before @ 1..) => format!("{}.{}", &digits[..before], &digits[before..]),
            _ => format!("0.{}{digits}", zeros(-(exponent + 1))),
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}e{sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_look_as_in_redis() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.5, "-3.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e17, "100000000000000000"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (-1.5e-10, "-1.5e-10"),
            (0.000_012, "0.000012"),
            (1e-7, "1e-7"),
            (123.456, "123.456"),
            (13.361_389_338_970_184, "13.361389338970184"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(format_double(number), text);
        }
    }

    proptest! {
        #[test]
        fn a_double_reads_back_as_the_same(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let read: f64 = format_double(number).parse().unwrap();
            prop_assert_eq!(read.to_bits(), bits);
        }
    }
}
