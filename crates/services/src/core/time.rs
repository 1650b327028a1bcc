//! Times as objects write them (RFC 3339, in UTC) and as the rest of the core counts them: since
//! the start of 1970, in milliseconds or microseconds. Years 1970 to 9999.

const US_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Reads `2026-01-02T03:04:05Z` into milliseconds; also with a fraction and with an offset.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    parse_rfc3339_us(text).map(|us| us / 1000)
}

/// The same into microseconds.
pub fn parse_rfc3339_us(text: &str) -> Option<u64> {
    let (date_and_time, offset_s) = split_offset(text)?;
    let (whole, fraction) = date_and_time
        .split_once('.')
        .unwrap_or((date_and_time, "0"));
    let bytes = whole.as_bytes();
    let has_form = bytes.len() == 19
        && [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]
            .iter()
            .all(|&(at, mark)| bytes[at] == mark);
    if !has_form {
        return None;
    }
    let number = |from: usize, to: usize| digits(whole.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_a_time = hour < 24 && minute < 60 && second < 60;
    if !is_a_time || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let second =
        day_number(year, month, day)? * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    let second = second.checked_add_signed(-offset_s)?;
    Some(second * US_PER_SECOND + fraction_us(fraction)?)
}

/// Writes milliseconds as `2026-01-02T03:04:05Z`.
pub fn format_rfc3339(ms: u64) -> String {
    format!("{}Z", to_the_second(ms / 1000))
}

/// Writes microseconds as `2026-01-02T03:04:05.000006Z`.
pub fn format_rfc3339_micro(us: u64) -> String {
    let (second, fraction) = (us / US_PER_SECOND, us % US_PER_SECOND);
    format!("{}.{fraction:06}Z", to_the_second(second))
}

/// Takes the offset off: `Z`, `+02:00`; in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(utc) = text.strip_suffix('Z') {
        return Some((utc, 0));
    }
    let (rest, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let sign = match offset.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some((
        rest,
        sign * i64::try_from(hours * 3600 + minutes * 60).ok()?,
    ))
}

fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A fraction of a second; what is finer than microseconds is dropped.
fn fraction_us(fraction: &str) -> Option<u64> {
    digits(fraction.get(..fraction.len().min(18))?)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits(&format!("{fraction:0<6}")[..6])
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the start of 1970; none before.
fn day_number(year: u64, month: u64, day: u64) -> Option<u64> {
    let days_before = |year: u64| {
        let past = year - 1;
        past * 365 + past / 4 - past / 100 + past / 400
    };
    if year < 1970 {
        return None;
    }
    let of_years = days_before(year) - days_before(1970);
    let of_months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    Some(of_years + of_months + day - 1)
}

fn to_the_second(second: u64) -> String {
    /// The last second that four digits of a year can tell.
    const SECOND_MAX: u64 = 253_402_300_799;
    let second = second.min(SECOND_MAX);
    let (day, of_day) = (second / SECONDS_PER_DAY, second % SECONDS_PER_DAY);
    // A first guess that is never too late, as years have at least 365 days.
    let mut year = 1970 + day / 366;
    while day_number(year + 1, 1, 1).is_some_and(|start| start <= day) {
        year += 1;
    }
    let mut left = day - day_number(year, 1, 1).unwrap_or_default();
    let mut month = 1;
    while left >= days_of(year, month) {
        left -= days_of(year, month);
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}",
        left + 1
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9TZ:.é]{0,30}", whole in ".{0,40}") {
            let _ = parse_rfc3339_us(&text);
            let _ = parse_rfc3339_us(&whole);
        }

        #[test]
        fn microseconds_come_back(us in 0..253_402_300_800_000_000_u64) {
            prop_assert_eq!(parse_rfc3339_us(&format_rfc3339_micro(us)), Some(us));
        }
    }

    #[test]
    fn times_are_read_and_written() {
        let known = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2026-01-02T03:04:05Z", 1_767_323_045_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ];
        for (text, ms) in known {
            assert_eq!(parse_rfc3339(text), Some(ms), "{text}");
            assert_eq!(format_rfc3339(ms), text);
        }
        assert_eq!(
            parse_rfc3339("2026-01-02T05:34:05+02:30"),
            Some(1_767_323_045_000)
        );
        assert_eq!(
            parse_rfc3339("2026-01-01T22:04:05.25-05:00"),
            Some(1_767_323_045_250)
        );
        assert_eq!(
            parse_rfc3339_us("2026-01-02T03:04:05.000006789Z"),
            Some(1_767_323_045_000_006)
        );
        assert_eq!(
            format_rfc3339_micro(1_767_323_045_000_006),
            "2026-01-02T03:04:05.000006Z"
        );
        assert_eq!(format_rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "2026",
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.1xZ",
            "+026-01-02T03:04:05Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05é02:00",
            "2026-01-0éT03:04:05Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097_u64 {
            let ms = day * SECONDS_PER_DAY * 1000 + 1000;
            assert_eq!(parse_rfc3339(&format_rfc3339(ms)), Some(ms));
        }
    }
}
