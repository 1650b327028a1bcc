//! Logs of workloads, in the format of Kubernetes' Container Runtime Interface.
//!
//! Each line of a file is `TIME STREAM TAG TEXT`: the time with nanoseconds in UTC, `stdout` or
//! `stderr`, `F` for the end of a line of the program's or `P` for a part of a long one (kubelet's
//! pkg/kubelet/kuberuntime/logs reads the same). The newest file has the given name, older ones
//! end in `.1`, `.2`, …; together they are bounded. One shim writes, many may read meanwhile.

mod pump;
mod read;
mod write;

pub(super) use pump::Pump;
pub use read::{LogPage, LogPosition, LogQuery, read};
pub(super) use write::Writer;

/// A program's line is cut into parts of this size.
const PART_BYTES_MAX: usize = 16 * 1024;
const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 24 * 60 * 60;
/// The length of a time such as `2026-11-22T10:00:00.123456789Z`.
const TIME_BYTES: usize = 30;

/// Where a program printed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its output.
    Stdout,
    /// Its error output.
    Stderr,
}

impl Stream {
    fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A line of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    time_ns: u64,
    stream: Stream,
    /// It ends a line of the program's.
    is_end: bool,
    text: &'a [u8],
}

/// The older of two neighbours in the row of files has the higher number.
fn rotated(log: &std::path::Path, number: u32) -> std::path::PathBuf {
    if number == 0 {
        return log.to_path_buf();
    }
    let mut name = log.as_os_str().to_os_string();
    name.push(format!(".{number}"));
    name.into()
}

fn format_time(time_ns: u64) -> String {
    let (seconds, ns) = (time_ns / NS_PER_S, time_ns % NS_PER_S);
    let (day, second) = (seconds / S_PER_DAY, seconds % S_PER_DAY);
    let (year, month, day) = date_of(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ns:09}Z")
}

/// The date of a day since 1970-01-01, by counting days from the first of March of the year 0,
/// so that the day that leap years add is a year's last (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
fn date_of(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let january_and_later = u64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + january_and_later, month, day_of_month)
}

/// The reverse of [`date_of`].
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, year) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + day - 1;
    (era * 146_097 + year * 365 + year / 4 - year / 100 + day).checked_sub(719_468)
}

fn parse_time(text: &[u8]) -> Option<u64> {
    let (date, fraction) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| digits(date.get(from..to)?);
    let separators = [4, 7, 10, 13, 16].map(|at| date[at]);
    if &separators != b"--T::" {
        return None;
    }
    let day = day_of(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let second = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let ns = match fraction.strip_suffix(b"Z")?.split_first() {
        None => 0,
        Some((b'.', fraction)) if (1..=9).contains(&fraction.len()) => {
            digits(fraction)? * 10_u64.pow(9 - u32::try_from(fraction.len()).ok()?)
        }
        Some(_) => return None,
    };
    (day * S_PER_DAY + second)
        .checked_mul(NS_PER_S)?
        .checked_add(ns)
}

fn digits(text: &[u8]) -> Option<u64> {
    let add = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    text.iter().try_fold(0, add)
}

/// Reads a line of a log file, without the byte that ends it.
fn parse_entry(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time_ns = parse_time(fields.next()?)?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // Further tags may follow, after colons.
    let is_end = match fields.next()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Entry {
        time_ns,
        stream,
        is_end,
        text: fields.next().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
            (1_795_341_600_123_456_789, "2026-11-22T10:00:00.123456789Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (time_ns, text) in cases {
            assert_eq!(format_time(time_ns), text);
            assert_eq!(parse_time(text.as_bytes()), Some(time_ns), "{text}");
            assert_eq!(text.len(), TIME_BYTES);
        }
        for day in (0..60_000).step_by(17) {
            let (year, month, date) = date_of(day);
            assert_eq!(day_of(year, month, date), Some(day));
        }
        let short = parse_time(b"1970-01-01T00:00:01.5Z");
        assert_eq!(short, Some(1_500_000_000));
        for garbage in [
            "",
            "Z",
            "1970-01-01T00:00:00",
            "1970-13-01T00:00:00Z",
            "x970-01-01T00:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.0123456789Z",
            "9999-99-99T99:99:99Z",
        ] {
            assert_eq!(parse_time(garbage.as_bytes()), None, "{garbage}");
        }
    }

    #[test]
    fn lines_are_read_and_garbage_is_not() {
        let entry = parse_entry(b"1970-01-01T00:00:00.000000007Z stderr P:x a b ").unwrap();
        assert_eq!(
            (entry.time_ns, entry.is_end, entry.text),
            (7, false, &b"a b "[..])
        );
        let entry = parse_entry(b"1970-01-01T00:00:00Z stdout F").unwrap();
        assert!(entry.is_end && entry.text.is_empty());
        for garbage in [
            "",
            " ",
            "now stdout F x",
            "1970-01-01T00:00:00Z stdin F x",
            "1970-01-01T00:00:00Z stdout X x",
        ] {
            assert_eq!(parse_entry(garbage.as_bytes()), None);
        }
    }
}
