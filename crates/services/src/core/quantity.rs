//! Quantities of resources: `100m`, `1.5Gi`, `2e3`. A text goes in, an exact number of billionths
//! comes out, and from that again the one text that Kubernetes would write
//! (apimachinery, `pkg/api/resource`; API reference, "Quantity").
//!
//! What is smaller than a billionth is rounded up, away from zero; what is larger than an int64
//! can tell stays at its limit.

use std::{cmp::Ordering, fmt};

use serde_json::Value;

/// A text that is longer is no quantity.
const TEXT_BYTES_MAX: usize = 128;
/// Billionths in one.
const NANOS: i128 = 1_000_000_000;
/// The most there can be, in billionths.
const NANOS_MAX: i128 = i64::MAX as i128 * NANOS;
/// As many digits always fit; with a binary suffix, and without.
const BINARY_DIGITS_MAX: usize = 18;
const DECIMAL_DIGITS_MAX: usize = 38;

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `12M`.
    #[default]
    Decimal,
    /// `12Mi`.
    Binary,
    /// `12e6`.
    Exponent,
}

/// A quantity. Two that are as much are equal, however they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// So many.
    pub fn whole(value: i64, format: Format) -> Quantity {
        Quantity::new(i128::from(value) * NANOS, format)
    }

    /// So many thousandths.
    pub fn from_milli(milli: i64) -> Quantity {
        Quantity::new(i128::from(milli) * (NANOS / 1_000), Format::Decimal)
    }

    fn new(nanos: i128, format: Format) -> Quantity {
        let nanos = nanos.clamp(-NANOS_MAX, NANOS_MAX);
        Quantity { nanos, format }
    }

    /// In whole ones, rounded away from zero.
    pub fn value(self) -> i64 {
        self.rounded(NANOS)
    }

    /// In thousandths, rounded away from zero.
    pub fn milli(self) -> i64 {
        self.rounded(NANOS / 1_000)
    }

    fn rounded(self, unit: i128) -> i64 {
        let count = self.nanos.unsigned_abs().div_ceil(unit.unsigned_abs());
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if self.nanos < 0 { -count } else { count }
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is a whole number, to the thousandth.
    pub fn is_whole(self) -> bool {
        self.to_milli().nanos % NANOS == 0
    }

    /// The same to the thousandth, rounded away from zero: no resource is told more exactly.
    #[must_use]
    pub fn to_milli(self) -> Quantity {
        let unit = NANOS / 1_000;
        let over = self.nanos % unit;
        let nanos = if over == 0 {
            self.nanos
        } else {
            self.nanos - over + unit * over.signum()
        };
        Quantity::new(nanos, self.format)
    }

    /// Both together; written as the first, unless that is nothing.
    #[must_use]
    pub fn plus(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() {
            other.format
        } else {
            self.format
        };
        Quantity::new(self.nanos + other.nanos, format)
    }

    /// Without the other; may be less than nothing.
    #[must_use]
    pub fn minus(self, other: Quantity) -> Quantity {
        let less = Quantity::new(-other.nanos, other.format);
        self.plus(less)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// The canonical text: no fraction, and the largest suffix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let is_small = self.nanos.abs() < 1_024 * NANOS;
        if self.format == Format::Binary && !is_small && self.nanos % NANOS == 0 {
            let (number, suffix) = binary(self.nanos / NANOS);
            return write!(f, "{number}{suffix}");
        }
        let is_exponent = self.format == Format::Exponent;
        let (number, exponent) = decimal(self.nanos, if is_exponent { i32::MAX } else { 18 });
        if is_exponent && exponent != 0 {
            return write!(f, "{number}e{exponent}");
        }
        let suffix = DECIMAL.iter().find(|(_, of)| *of == exponent);
        write!(f, "{number}{}", suffix.map_or("", |(suffix, _)| suffix))
    }
}

fn binary(mut number: i128) -> (i128, &'static str) {
    let mut suffix = "";
    for (next, _) in BINARY {
        if number % 1_024 != 0 {
            break;
        }
        number /= 1_024;
        suffix = next;
    }
    (number, suffix)
}

/// A number without thousands, and the power of ten that goes with it.
fn decimal(nanos: i128, exponent_max: i32) -> (i128, i32) {
    let (mut number, mut exponent) = (nanos, -9);
    while number % 1_000 == 0 && exponent < exponent_max {
        number /= 1_000;
        exponent += 3;
    }
    (number, exponent)
}

/// Reads a quantity.
pub fn parse(text: &str) -> Option<Quantity> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, rest) = digits(text);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (format, power, shift) = interpret(suffix)?;
    let power = i64::from(power) - i64::try_from(fraction.len()).ok()? + 9;
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let nanos = scaled(&all, power, shift);
    Some(Quantity::new(
        if is_negative { -nanos } else { nanos },
        format,
    ))
}

/// Reads a quantity of JSON, a text or a number.
pub fn of(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

/// The format of a suffix, its power of ten, and its power of two.
fn interpret(suffix: &str) -> Option<(Format, i32, u32)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((Format::Decimal, *power, 0));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(known, _)| *known == suffix) {
        return Some((Format::Binary, 0, *shift));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let power = exponent.parse().ok()?;
    Some((Format::Exponent, power, 0))
}

/// Digits times powers of ten and two, rounded up, and at most what there can be.
fn scaled(digits: &[u8], mut power: i64, shift: u32) -> i128 {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    let kept = if shift > 0 {
        BINARY_DIGITS_MAX
    } else {
        DECIMAL_DIGITS_MAX
    };
    let (kept, cut) = digits.split_at(digits.len().min(kept));
    power += i64::try_from(cut.len()).unwrap_or(i64::MAX);
    let is_cut = cut.iter().any(|digit| *digit != b'0');
    let number = kept
        .iter()
        .fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    if number == 0 {
        return 0;
    }
    let number = number << shift;
    let factor = u32::try_from(power.unsigned_abs())
        .ok()
        .and_then(|power| 10_u128.checked_pow(power));
    let nanos = match factor {
        Some(factor) if power >= 0 => number.saturating_mul(factor),
        Some(factor) => {
            let rest = u128::from(!number.is_multiple_of(factor) || is_cut);
            number / factor + rest
        }
        None if power >= 0 => u128::MAX,
        None => 1,
    };
    i128::try_from(nanos).map_or(NANOS_MAX, |nanos| nanos.min(NANOS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_numbers_and_canonical_texts() {
        // A text, in thousandths, in whole ones, and written again.
        let table = [
            ("0", 0, 0, "0"),
            ("00", 0, 0, "0"),
            ("-0", 0, 0, "0"),
            ("1", 1_000, 1, "1"),
            ("+1", 1_000, 1, "1"),
            ("1.", 1_000, 1, "1"),
            (".5", 500, 1, "500m"),
            ("0.5", 500, 1, "500m"),
            ("100m", 100, 1, "100m"),
            ("1000m", 1_000, 1, "1"),
            ("1500m", 1_500, 2, "1500m"),
            ("1.5", 1_500, 2, "1500m"),
            ("1n", 1, 1, "1n"),
            ("0.1n", 1, 1, "1n"),
            ("1u", 1, 1, "1u"),
            ("0.0005", 1, 1, "500u"),
            ("1k", 1_000_000, 1_000, "1k"),
            ("1000", 1_000_000, 1_000, "1k"),
            ("1200", 1_200_000, 1_200, "1200"),
            ("1M", 1_000_000_000, 1_000_000, "1M"),
            ("0.1M", 100_000_000, 100_000, "100k"),
            ("1Ki", 1_024_000, 1_024, "1Ki"),
            ("1024Ki", 1_048_576_000, 1_048_576, "1Mi"),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736, "1536Mi"),
            ("0.5Ki", 512_000, 512, "512"),
            ("0.1Ki", 102_400, 103, "102400m"),
            ("1.1Ki", 1_126_400, 1_127, "1126400m"),
            ("0.0001Ki", 103, 1, "102400u"),
            ("12e6", 12_000_000_000, 12_000_000, "12e6"),
            ("12E6", 12_000_000_000, 12_000_000, "12e6"),
            ("120e5", 12_000_000_000, 12_000_000, "12e6"),
            ("1e-3", 1, 1, "1e-3"),
            ("1e0", 1_000, 1, "1"),
            ("1E", i64::MAX, 1_000_000_000_000_000_000, "1E"),
            ("-1", -1_000, -1, "-1"),
            ("-1.5", -1_500, -2, "-1500m"),
            ("-2Ki", -2_048_000, -2_048, "-2Ki"),
            ("1e-100", 1, 1, "1e-9"),
            ("1000Ei", i64::MAX, i64::MAX, "9223372036854775807"),
            ("1e2147483647", i64::MAX, i64::MAX, "9223372036854775807"),
            (
                "99999999999999999999999999999999999999999",
                i64::MAX,
                i64::MAX,
                "9223372036854775807",
            ),
        ];
        for (text, milli, value, written) in table {
            let quantity = parse(text).expect(text);
            assert_eq!(
                (quantity.milli(), quantity.value()),
                (milli, value),
                "{text}"
            );
            assert_eq!(quantity.to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        let long = "1".repeat(129);
        let table = [
            "",
            "+",
            "-",
            ".",
            "m",
            "Ki",
            "1 ",
            " 1",
            "1ki",
            "1KI",
            "1mm",
            "1e",
            "1e+",
            "1e1.5",
            "--1",
            "1,5",
            "1K",
            "1B",
            "1e99999999999",
            "é",
            &long,
        ];
        for text in table {
            assert!(parse(text).is_none(), "{text}");
        }
        for value in [json!(null), json!(true), json!([1]), json!({})] {
            assert!(of(&value).is_none(), "{value}");
        }
    }

    #[test]
    fn numbers_of_json_are_quantities() {
        for (value, written) in [(json!(1), "1"), (json!(0.5), "500m"), (json!(-2), "-2")] {
            assert_eq!(
                of(&value).map(|quantity| quantity.to_string()).as_deref(),
                Some(written)
            );
        }
    }

    #[test]
    fn sums_keep_the_format_and_stay_within_bounds() {
        let quantity = |text: &str| parse(text).expect("a quantity");
        let sum = |left: &str, right: &str| quantity(left).plus(quantity(right)).to_string();
        assert_eq!(sum("1Gi", "512Mi"), "1536Mi");
        assert_eq!(sum("0", "1Gi"), "1Gi");
        assert_eq!(sum("250m", "750m"), "1");
        assert_eq!(sum("1Mi", "1k"), "1049576");
        assert_eq!(sum("8E", "8E"), "9223372036854775807");
        assert_eq!(quantity("1").minus(quantity("1500m")).to_string(), "-500m");
        assert_eq!(quantity("1.0001").to_milli().to_string(), "1001m");
        assert_eq!(Quantity::whole(2_048, Format::Binary).to_string(), "2Ki");
        assert_eq!(Quantity::from_milli(250).to_string(), "250m");
        assert!(quantity("1.0").is_whole() && !quantity("1001m").is_whole());
        assert!(quantity("1Ki") > quantity("1k") && quantity("1000m") == quantity("1"));
    }

    proptest! {
        #[test]
        fn a_canonical_text_is_as_much_and_its_own(
            number in any::<i32>(), fraction in 0_u32..10_000, suffix in 0_usize..17,
        ) {
            let suffixes: Vec<&str> = DECIMAL.iter().map(|(suffix, _)| *suffix)
                .chain(BINARY.iter().map(|(suffix, _)| *suffix)).chain(["e3"]).collect();
            let text = format!("{number}.{fraction}{}", suffixes[suffix]);
            let quantity = parse(&text).expect("a quantity");
            let written = quantity.to_string();
            let again = parse(&written).expect("a canonical text is a quantity");
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), written);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eEinumkKMGTP]{0,60}") {
            if let Some(quantity) = parse(&text) {
                prop_assert!(parse(&quantity.to_string()) == Some(quantity));
            }
        }
    }
}
