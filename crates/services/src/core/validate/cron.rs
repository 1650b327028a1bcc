//! Schedules of CronJobs: five fields (minute, hour, day of the month, month, day of the week), or
//! `@hourly` and the like, or `@every 90m` (crontab(5); errors in the words of the parser that
//! Kubernetes uses, robfig/cron).

mod times;
mod zone;

pub use zone::TimeZone;

/// The longest text of a schedule.
const TEXT_BYTES_MAX: usize = 1_024;

/// When something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// In minutes of the calendar.
    Calendar(Calendar),
    /// Each so many seconds, one at least.
    Every {
        /// How many.
        seconds: u64,
    },
}

/// Minutes of the calendar: a bit for each number that a field may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A day has to fit both fields if one of them says nothing, and one of them otherwise.
    fits_both: bool,
}

/// What a field may hold.
struct Range {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Range = Range {
    min: 0,
    max: 59,
    names: &[],
};
const HOURS: Range = Range {
    min: 0,
    max: 23,
    names: &[],
};
const DAYS: Range = Range {
    min: 1,
    max: 31,
    names: &[],
};
const MONTHS: Range = Range {
    min: 1,
    max: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Range = Range {
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("must be no more than {TEXT_BYTES_MAX} bytes"));
        }
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let (count, fields) = (fields.len(), fields.join(" "));
            return Err(format!(
                "expected exactly 5 fields, found {count}: [{fields}]"
            ));
        };
        // With a step it is a choice of days, as any other.
        let is_any = |field: &str| {
            let mut parts = field.split(',');
            parts.any(|part| matches!(part, "*" | "?" | "*/1" | "?/1"))
        };
        Ok(Schedule::Calendar(Calendar {
            minutes: field(minutes, &MINUTES)?,
            hours: field(hours, &HOURS)?,
            days: field(days, &DAYS)?,
            months: field(months, &MONTHS)?,
            weekdays: field(weekdays, &WEEKDAYS)?,
            fits_both: is_any(days) || is_any(weekdays),
        }))
    }
}

impl Calendar {
    /// Whether a minute fits: of an hour (0–23), of a day of a month (1–31, 1–12) that is this day
    /// of the week (0–6, from Sunday).
    pub(crate) fn fits(&self, minute: u32, hour: u32, day: u32, month: u32, weekday: u32) -> bool {
        self.fits_day(day, month, weekday) && has(self.minutes, minute) && has(self.hours, hour)
    }

    /// Whether any minute of a day fits.
    fn fits_day(&self, day: u32, month: u32, weekday: u32) -> bool {
        let (day, weekday) = (has(self.days, day), has(self.weekdays, weekday));
        let is_day = if self.fits_both {
            day && weekday
        } else {
            day || weekday
        };
        is_day && has(self.months, month)
    }
}

fn has(set: u64, number: u32) -> bool {
    number < u64::BITS && set & (1 << number) != 0
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(duration) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let seconds = duration_s(duration).ok_or_else(|| {
                format!("failed to parse duration {text}: time: invalid duration {duration:?}")
            })?;
            return Ok(Schedule::Every { seconds });
        }
    };
    Schedule::parse(fields)
}

/// Whole seconds of a duration as Go writes it: `1h30m`, `90s`. At least one.
fn duration_s(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut milliseconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = unit.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = unit.split_at(letters);
        let factor = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        milliseconds = milliseconds.checked_add(number.checked_mul(factor)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some((milliseconds / 1_000).max(1))
}

/// The numbers of a field: ranges with commas between.
fn field(text: &str, range: &Range) -> Result<u64, String> {
    let mut numbers = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        numbers |= part_of(part, range)?;
    }
    Ok(numbers)
}

/// `*`, `1`, `1-5`, any of them with a step: `*/15`.
fn part_of(text: &str, range: &Range) -> Result<u64, String> {
    let slashed: Vec<&str> = text.split('/').collect();
    let bounds: Vec<&str> = slashed[0].split('-').collect();
    let is_any = matches!(bounds[0], "*" | "?");
    let (start, mut end) = match bounds[..] {
        [_] if is_any => (range.min, range.max),
        [one] => (number(one, range)?, number(one, range)?),
        [first, last] if !is_any => (number(first, range)?, number(last, range)?),
        [_, _] => (range.min, range.max),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match slashed[..] {
        [_] => 1,
        [_, step] => {
            // `5/15` begins at 5 and goes on to the end.
            if bounds.len() == 1 && !is_any {
                end = range.max;
            }
            integer(step)?
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    let (min, max) = (range.min, range.max);
    if start < min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({min}): {text}"
        ));
    }
    if end > max {
        return Err(format!(
            "end of range ({end}) above maximum ({max}): {text}"
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let steps = (start..=end).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    Ok(steps.fold(0, |numbers, number| numbers | 1 << number))
}

fn number(text: &str, range: &Range) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match range.names.iter().position(|name| *name == lower) {
        Some(index) => Ok(range.min + u32::try_from(index).unwrap_or_default()),
        None => integer(text),
    }
}

fn integer(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_that_fit() {
        // A schedule; minute, hour, day, month, day of the week; whether it fits.
        let table = [
            ("* * * * *", (0, 0, 1, 1, 0), true),
            ("0 0 * * *", (0, 0, 9, 9, 3), true),
            ("0 0 * * *", (1, 0, 9, 9, 3), false),
            ("*/15 * * * *", (45, 7, 1, 1, 1), true),
            ("*/15 * * * *", (46, 7, 1, 1, 1), false),
            ("5/20 * * * *", (25, 0, 1, 1, 1), true),
            ("5/20 * * * *", (0, 0, 1, 1, 1), false),
            ("1-5/2,30 8-10 * * *", (3, 9, 1, 1, 1), true),
            ("1-5/2,30 8-10 * * *", (4, 9, 1, 1, 1), false),
            ("0 0 ? JAN-mar mon", (0, 0, 1, 2, 1), true),
            ("0 0 ? JAN-mar mon", (0, 0, 1, 4, 1), false),
            ("0 0 13 * 5", (0, 0, 13, 1, 0), true),
            ("0 0 13 * 5", (0, 0, 1, 1, 5), true),
            ("0 0 13 * 5", (0, 0, 1, 1, 4), false),
            ("0 0 13 * *", (0, 0, 1, 1, 5), false),
            ("0 0 */2 * 1", (0, 0, 3, 1, 4), true),
            ("0 0 */2 * 1", (0, 0, 2, 1, 1), true),
            ("0 0 */2 * 1", (0, 0, 2, 1, 2), false),
            ("@hourly", (0, 5, 1, 1, 1), true),
            ("@weekly", (0, 0, 1, 1, 0), true),
            ("@weekly", (0, 0, 1, 1, 1), false),
            ("@yearly", (0, 0, 1, 1, 4), true),
            ("* * * * *", (99, 0, 1, 1, 0), false),
        ];
        for (text, (minute, hour, day, month, weekday), expected) in table {
            let Ok(Schedule::Calendar(calendar)) = Schedule::parse(text) else {
                panic!("{text} can't be read");
            };
            let fits = calendar.fits(minute, hour, day, month, weekday);
            assert_eq!(
                fits, expected,
                "{text} at {hour}:{minute} on {day}.{month}., {weekday}"
            );
        }
    }

    #[test]
    fn seconds_between() {
        for (text, seconds) in [("90s", 90), ("1h30m", 5_400), ("1500ms", 1), ("1ms", 1)] {
            let text = format!("@every {text}");
            assert_eq!(
                Schedule::parse(&text),
                Ok(Schedule::Every { seconds }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_schedule() {
        let table = [
            ("", "empty spec string"),
            ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            (
                "5-3 * * * *",
                "beginning of range (5) beyond end of range (3): 5-3",
            ),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/2/3 * * * *", "too many slashes: */2/3"),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
            (
                "99999999999 * * * *",
                "end of range (4294967295) above maximum (59): 99999999999",
            ),
            ("@often", "unrecognized descriptor: @often"),
            (
                "@every x",
                "failed to parse duration @every x: time: invalid duration \"x\"",
            ),
            ("@every 99999999999999999999h", "failed to parse duration"),
            ("@every ", "failed to parse duration"),
        ];
        for (text, why) in table {
            let found = Schedule::parse(text).expect_err(text);
            assert!(found.starts_with(why), "{text}: {found}");
        }
        let long = "*".repeat(TEXT_BYTES_MAX + 1);
        assert!(Schedule::parse(&long).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-*/,?0-9a-z@ ]{0,40}") {
            let _ = Schedule::parse(&text);
        }
    }
}
