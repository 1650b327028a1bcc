//! When a schedule is due: the times after and before a given one, in whole seconds since the
//! epoch, in UTC. Days are looked at one by one, so that each month has its length and each year
//! its leap day; after [`DAYS_MAX`] days without one there is none (`0 0 31 2 *`).

use super::{Calendar, Schedule};

/// As many as between two leap days that are Mondays, around a year without one.
const DAYS_MAX: u64 = 40 * 366;
const DAY_S: u64 = 86_400;
const DAY_MINUTES: u32 = 24 * 60;
/// The first of January 1970 was a Thursday.
const WEEKDAY_OF_EPOCH: u64 = 4;

impl Schedule {
    /// The first time after one.
    pub fn after(&self, time_s: u64) -> Option<u64> {
        match self {
            Schedule::Calendar(calendar) => calendar.after(time_s),
            Schedule::Every { seconds } => time_s.checked_add(*seconds),
        }
    }

    /// The last time that is after `since_s`, and not after `until_s`.
    pub fn last(&self, since_s: u64, until_s: u64) -> Option<u64> {
        let last_s = match self {
            Schedule::Calendar(calendar) => calendar.last_until(until_s),
            Schedule::Every { seconds } => {
                let times = until_s.saturating_sub(since_s) / seconds.max(&1);
                Some(since_s + times * seconds)
            }
        };
        last_s.filter(|last_s| *last_s > since_s)
    }
}

impl Calendar {
    fn after(&self, time_s: u64) -> Option<u64> {
        let start_s = (time_s / 60).checked_add(1)?.checked_mul(60)?;
        let mut first_minute = minute_of_day(start_s);
        for day in (start_s / DAY_S..).take(DAYS_MAX as usize) {
            let minutes = first_minute..DAY_MINUTES;
            if let Some(minute) = self.first_in(day, minutes) {
                return Some(time_of(day, minute));
            }
            first_minute = 0;
        }
        None
    }

    fn last_until(&self, until_s: u64) -> Option<u64> {
        let mut end_minute = minute_of_day(until_s) + 1;
        let last_day = until_s / DAY_S;
        for day in (last_day.saturating_sub(DAYS_MAX)..=last_day).rev() {
            let minutes = (0..end_minute).rev();
            if let Some(minute) = self.first_in(day, minutes) {
                return Some(time_of(day, minute));
            }
            end_minute = DAY_MINUTES;
        }
        None
    }

    /// The first of those minutes of a day that fits.
    fn first_in(&self, day: u64, mut minutes: impl Iterator<Item = u32>) -> Option<u32> {
        let (month, day_of_month) = month_and_day(day);
        let weekday = ((day + WEEKDAY_OF_EPOCH) % 7) as u32;
        if !self.fits_day(day_of_month, month, weekday) {
            return None;
        }
        minutes.find(|minute| self.fits(minute % 60, minute / 60, day_of_month, month, weekday))
    }
}

fn minute_of_day(time_s: u64) -> u32 {
    (time_s % DAY_S / 60) as u32
}

fn time_of(day: u64, minute: u32) -> u64 {
    day * DAY_S + u64::from(minute) * 60
}

/// The month (1–12) and the day of it of a day since the epoch. Years begin in March here, so
/// that the leap day is their last one (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn month_and_day(day: u64) -> (u32, u32) {
    const DAYS_BEFORE_EPOCH: u64 = 719_468;
    const CENTURIES_DAYS: u64 = 146_097;
    let of_era = (day + DAYS_BEFORE_EPOCH) % CENTURIES_DAYS;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = match from_march {
        0..10 => from_march + 3,
        _ => from_march - 9,
    };
    (month as u32, day_of_month as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::time::{format_rfc3339, parse_rfc3339};

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(text).expect(text)
    }

    fn seconds(text: &str) -> u64 {
        parse_rfc3339(text).expect(text) / 1_000
    }

    #[test]
    fn the_next_time_and_the_last_one() {
        // A schedule, a time, the one after it, the last one until it.
        let table = [
            (
                "* * * * *",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:01:00Z",
                "2026-01-01T00:00:00Z",
            ),
            (
                "* * * * *",
                "2026-01-01T00:00:59Z",
                "2026-01-01T00:01:00Z",
                "2026-01-01T00:00:00Z",
            ),
            (
                "30 6 * * *",
                "2026-01-01T06:30:00Z",
                "2026-01-02T06:30:00Z",
                "2026-01-01T06:30:00Z",
            ),
            (
                "30 6 * * *",
                "2026-01-01T06:29:59Z",
                "2026-01-01T06:30:00Z",
                "2025-12-31T06:30:00Z",
            ),
            (
                "0 0 31 * *",
                "2026-04-01T00:00:00Z",
                "2026-05-31T00:00:00Z",
                "2026-03-31T00:00:00Z",
            ),
            (
                "0 0 29 2 *",
                "2026-04-01T00:00:00Z",
                "2028-02-29T00:00:00Z",
                "2024-02-29T00:00:00Z",
            ),
            (
                "59 23 31 12 *",
                "2026-12-31T23:59:00Z",
                "2027-12-31T23:59:00Z",
                "2026-12-31T23:59:00Z",
            ),
            (
                "0 9 * * mon",
                "2026-01-01T00:00:00Z",
                "2026-01-05T09:00:00Z",
                "2025-12-29T09:00:00Z",
            ),
            (
                "0 0 13 * fri",
                "2026-01-03T00:00:00Z",
                "2026-01-09T00:00:00Z",
                "2026-01-02T00:00:00Z",
            ),
        ];
        for (text, time, after, last) in table {
            let found = schedule(text);
            let told = |time_s: Option<u64>| time_s.map(|s| format_rfc3339(s * 1_000));
            assert_eq!(
                told(found.after(seconds(time))).as_deref(),
                Some(after),
                "{text} after {time}"
            );
            assert_eq!(
                told(found.last(0, seconds(time))).as_deref(),
                Some(last),
                "{text} until {time}"
            );
        }
    }

    #[test]
    fn every_so_often_counts_from_the_last_time() {
        let every = schedule("@every 90s");
        assert_eq!(every.after(100), Some(190));
        assert_eq!(every.last(100, 189), None);
        assert_eq!(every.last(100, 400), Some(370));
    }

    #[test]
    fn what_is_never_due() {
        let never = schedule("0 0 31 2 *");
        assert_eq!(never.after(seconds("2026-01-01T00:00:00Z")), None);
        assert_eq!(never.last(0, seconds("2026-01-01T00:00:00Z")), None);
        assert_eq!(schedule("* * * * *").last(120, 179), None);
    }

    #[test]
    fn days_have_their_dates() {
        for day in 0..100_000 {
            let text = format_rfc3339(day * DAY_S * 1_000);
            let told = month_and_day(day);
            assert_eq!(
                format!("{:02}-{:02}", told.0, told.1),
                text[5..10],
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_lies_between_the_last_time_and_the_next(
            minute in 0..60_u32, hour in 0..24_u32, day in 1..29_u32, time_s in 1_000_000_000..4_000_000_000_u64,
        ) {
            let schedule = schedule(&format!("{minute} {hour} {day} * *"));
            let last_s = schedule.last(0, time_s).unwrap();
            let next_s = schedule.after(time_s).unwrap();
            prop_assert!(last_s <= time_s && time_s < next_s);
            prop_assert_eq!(schedule.after(last_s), Some(next_s));
            prop_assert_eq!(schedule.last(0, next_s - 1), Some(last_s));
        }
    }
}
