//! Quantities as Kubernetes reads and writes them (`resource.Quantity`): a decimal number and a
//! suffix of thousands (`m`, `k`, `M`…), of 1024s (`Ki`, `Mi`…) or a decimal exponent. The form
//! that is written has no fraction and the largest suffix that allows that; nothing is finer than
//! a billionth, and what is finer is rounded away from zero.

pub(super) const BAD_FORM: &str = "quantities must match the regular expression \
     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const BAD_SUFFIX: &str = "unable to parse quantity's suffix";

/// Digits that a quantity may have; what is longer is left to the bounds of bodies, and is kept
/// as it is written.
const DIGITS_MAX: usize = 18;
/// The decimal places that are kept.
const PLACES: u32 = 9;
const THOUSANDS: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The one form of a quantity.
///
/// # Errors
/// Why it is none, in Kubernetes' words.
pub(super) fn canonical(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number_end = unsigned.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, suffix) = unsigned.split_at(number_end.unwrap_or(unsigned.len()));
    if number.is_empty() || number.matches('.').count() > 1 || !has_form_of_suffix(suffix) {
        return Err(BAD_FORM);
    }
    let suffix = Suffix::read(suffix).ok_or(BAD_SUFFIX)?;
    let written = nanos(number, suffix).map(|nanos| write(nanos, suffix));
    Ok(match written {
        Some(written) if text.starts_with('-') && written != "0" => format!("-{written}"),
        Some(written) => written,
        None => text.to_owned(),
    })
}

/// Letters of suffixes, then a sign and digits.
fn has_form_of_suffix(suffix: &str) -> bool {
    let exponent = suffix.trim_start_matches(|letter| "eEinumkKMGTP".contains(letter));
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Clone, Copy)]
enum Suffix {
    /// So many powers of 1000.
    Thousands(i32),
    /// So many powers of 1024; at least one.
    Binary(u32),
    /// A decimal exponent, and how it is written.
    Exponent(i32, char),
}

impl Suffix {
    fn read(text: &str) -> Option<Suffix> {
        let power = |list: &[&str]| {
            let at = list.iter().position(|suffix| *suffix == text)?;
            i32::try_from(at).ok()
        };
        if let Some(at) = power(&THOUSANDS) {
            return Some(Suffix::Thousands(at - 3));
        }
        if let Some(at) = power(&BINARY) {
            return Some(Suffix::Binary(at.unsigned_abs()));
        }
        let sign = text
            .chars()
            .next()
            .filter(|letter| matches!(letter, 'e' | 'E'))?;
        Some(Suffix::Exponent(text[1..].parse().ok()?, sign))
    }
}

/// The number in billionths; none if that is beyond what can be counted so.
fn nanos(number: &str, suffix: Suffix) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    if whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    let digits = format!("0{whole}{fraction}").parse::<u128>().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    let (factor, power) = match suffix {
        Suffix::Thousands(power) => (1, power * 3),
        Suffix::Binary(power) => (1024_u128.checked_pow(power)?, 0),
        Suffix::Exponent(power, _) if power.unsigned_abs() <= 30 => (1, power),
        Suffix::Exponent(..) => return None,
    };
    let power = power - places + PLACES as i32;
    let scale = 10_u128.checked_pow(power.unsigned_abs())?;
    let scaled = digits.checked_mul(factor)?;
    if power < 0 {
        Some(scaled.div_ceil(scale))
    } else {
        scaled.checked_mul(scale)
    }
}

fn write(nanos: u128, suffix: Suffix) -> String {
    const ONE: u128 = 10_u128.pow(PLACES);
    if nanos == 0 {
        return "0".to_owned();
    }
    // What no binary suffix fits is written as what it will be read as: 832k, not 832000.
    if matches!(suffix, Suffix::Binary(_)) && nanos.is_multiple_of(1024 * ONE) {
        return largest(nanos / ONE, 1024, &BINARY, 0);
    }
    match suffix {
        Suffix::Exponent(_, letter) => {
            let written = largest(nanos, 1000, &THOUSANDS, 0);
            let at = written.find(|letter: char| !letter.is_ascii_digit());
            let (digits, suffix) = written.split_at(at.unwrap_or(written.len()));
            let power = THOUSANDS
                .iter()
                .position(|known| *known == suffix)
                .unwrap_or(3);
            match power as i32 * 3 - 9 {
                0 => digits.to_owned(),
                power => format!("{digits}{letter}{power}"),
            }
        }
        Suffix::Thousands(_) | Suffix::Binary(_) => largest(nanos, 1000, &THOUSANDS, 0),
    }
}

/// Takes the base out of a number as often as it goes without a rest and there is a suffix.
fn largest(mut number: u128, base: u128, suffixes: &[&str], mut at: usize) -> String {
    while at + 1 < suffixes.len() && number.is_multiple_of(base) {
        number /= base;
        at += 1;
    }
    format!("{number}{}", suffixes[at])
}
