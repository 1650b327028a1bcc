//! Sums of decimal numbers, for INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis adds in the widest floating point of its machine and prints with 17 digits after the
//! point, trailing zeros removed (Redis: "INCRBYFLOAT"), so that 1 and -1.1 make -0.1. Replicas
//! of ours may run on different machines. So numbers below 10^20 are added as what they are,
//! decimals of 17 places; the sums are Redis's wherever its floating point keeps 17 places.
//! Beyond that, doubles are good enough.

/// Digits after the point.
const PLACES: i64 = 17;
/// The same as a factor.
const ONE: i128 = 100_000_000_000_000_000;
/// Numbers of more digits than these before the point are kept as doubles.
const WHOLE_DIGITS_MAX: i64 = 20;
/// A number's text is shorter than this, in bytes; as in Redis.
const TEXT_BYTES_END: usize = 5 * 1024;

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decimal {
    /// In units of 10^-17.
    Fixed(i128),
    /// A large one, or an infinity.
    Float(f64),
}

impl Decimal {
    /// Reads a number: decimal, with or without exponent, or an infinity. None for anything
    /// else, for NaN, and for what a double cannot hold.
    pub fn parse(text: &[u8]) -> Option<Decimal> {
        if text.len() >= TEXT_BYTES_END {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let number: f64 = text.parse().ok()?;
        if number.is_nan() {
            return None;
        }
        if number.is_infinite() {
            let named = !text.contains(|letter: char| letter.is_ascii_digit());
            return named.then_some(Decimal::Float(number));
        }
        if number == 0.0 {
            return Some(Decimal::Fixed(0));
        }
        Some(fixed(text).map_or(Decimal::Float(number), Decimal::Fixed))
    }

    /// The sum's text. None where it is infinite or not a number.
    pub fn sum(self, other: Decimal) -> Option<String> {
        match (self, other) {
            // Two numbers of 37 digits at most: far from the end of 128 bits.
            (Decimal::Fixed(first), Decimal::Fixed(second)) => Some(print(first + second)),
            _ => {
                let sum = self.float() + other.float();
                sum.is_finite().then(|| sum.to_string())
            }
        }
    }

    fn float(self) -> f64 {
        match self {
            Decimal::Fixed(units) => units as f64 / ONE as f64,
            Decimal::Float(number) => number,
        }
    }
}

/// Units of 10^-17 of a finite number that is not 0, rounded; none if there are too many digits
/// before the point. The text was checked to be a number.
fn fixed(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let zeros = digits().take_while(|digit| *digit == b'0').count();
    let whole_digits = i64::try_from(whole.len())
        .ok()?
        .checked_sub(i64::try_from(zeros).ok()?)?
        .checked_add(exponent.parse().ok()?)?;
    if whole_digits > WHOLE_DIGITS_MAX {
        return None;
    }
    // Less than half a unit.
    let Ok(wanted) = usize::try_from(whole_digits + PLACES) else {
        return Some(0);
    };
    let mut significant = digits().skip(zeros).map(|digit| i128::from(digit - b'0'));
    let mut units: i128 = 0;
    for _ in 0..wanted {
        units = units * 10 + significant.next().unwrap_or(0);
    }
    if significant.next().is_some_and(|digit| digit >= 5) {
        units += 1;
    }
    Some(if negative { -units } else { units })
}

fn print(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let (whole, fraction) = (units.abs() / ONE, units.abs() % ONE);
    let text = format!("{sign}{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(first: &str, second: &str) -> Option<String> {
        Decimal::parse(first.as_bytes())?.sum(Decimal::parse(second.as_bytes())?)
    }

    #[test]
    fn sums_are_as_people_expect() {
        for (first, second, expected) in [
            ("10.5", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("1", "-1.1", "-0.1"),
            ("3", "-3.0", "0"),
            ("-0", "0", "0"),
            ("5.0e3", "2.0e2", "5200"),
            ("17179869184", "1.5", "17179869185.5"),
            ("+.5", "5.", "5.5"),
            (
                "0.00000000000000001",
                "0.00000000000000001",
                "0.00000000000000002",
            ),
            ("0.000000000000000005", "0", "0.00000000000000001"),
            ("1e-18", "0.1", "0.1"),
            ("1e-300", "1e-9999", "0"),
            ("0.00001e6", "1E+1", "20"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("1e25", "0", "10000000000000000000000000"),
            ("1e300", "-1e300", "0"),
        ] {
            assert_eq!(
                sum(first, second).as_deref(),
                Some(expected),
                "{first} + {second}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "1a", "nan", "-nan", "0x10", "1e400", "e5", ".",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse(&[b'1'; TEXT_BYTES_END]), None);
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1", "-Infinity"), None);
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(sum("1.7e308", "1.7e308"), None);
    }

    proptest! {
        #[test]
        fn sums_agree_with_whole_numbers(
            first in -1_000_000_000i64..1_000_000_000,
            second in -1_000_000_000i64..1_000_000_000,
            places in 0usize..9,
        ) {
            let text = |number: i64| format!("{number}e-{places}");
            let expected = Decimal::parse(text(first + second).as_bytes()).map(Decimal::float);
            let got = sum(&text(first), &text(second)).expect("a sum");
            prop_assert_eq!(Decimal::parse(got.as_bytes()).map(Decimal::float), expected);
        }

        #[test]
        fn nothing_panics(text in "[-+]?[0-9]{0,40}\\.?[0-9]{0,40}(e[-+]?[0-9]{1,22})?") {
            if let Some(number) = Decimal::parse(text.as_bytes()) {
                number.sum(number);
            }
        }
    }
}
