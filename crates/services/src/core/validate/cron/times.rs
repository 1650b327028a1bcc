//! When a schedule is due: the times after and before a given one, in whole seconds since the
//! epoch. A minute is due if clocks of the zone show what the schedule asks for: so one that they
//! skip in spring is left out, and one that they show twice in autumn is due twice, as in
//! Kubernetes. Days are looked at one by one, so that each month has its length and each year its
//! leap day; after [`DAYS_MAX`] days without one there is none (`0 0 31 2 *`).

use std::ops::Range;

use super::{Calendar, Schedule, zone::TimeZone};

/// As many as between two leap days that are Mondays, around a year without one.
const DAYS_MAX: i64 = 40 * 366;
pub(super) const DAY_S: i64 = 86_400;
pub(super) const DAY_MINUTES: i64 = 24 * 60;
/// The first of January 1970 was a Thursday.
const WEEKDAY_OF_EPOCH: i64 = 4;

impl Schedule {
    /// The first time after one.
    pub fn after(&self, time_s: u64, zone: TimeZone) -> Option<u64> {
        match self {
            Schedule::Calendar(calendar) => calendar.after(time_s, zone),
            Schedule::Every { seconds } => time_s.checked_add(*seconds),
        }
    }

    /// The last time that is after `since_s`, and not after `until_s`.
    pub fn last(&self, since_s: u64, until_s: u64, zone: TimeZone) -> Option<u64> {
        let last_s = match self {
            Schedule::Calendar(calendar) => calendar.last_until(until_s, zone),
            Schedule::Every { seconds } => {
                let times = until_s.saturating_sub(since_s) / seconds.max(&1);
                Some(since_s + times * seconds)
            }
        };
        last_s.filter(|last_s| *last_s > since_s)
    }
}

impl Calendar {
    fn after(&self, time_s: u64, zone: TimeZone) -> Option<u64> {
        let start = (time_s / 60).checked_add(1)?;
        let first_day = zone.local_s(start.checked_mul(60)?).div_euclid(DAY_S);
        (first_day..first_day.checked_add(DAYS_MAX)?).find_map(|day| {
            let minutes = self.minutes_of(day, zone)?;
            let mut minutes = minutes.start.max(start)..minutes.end;
            let minute = minutes.find(|minute| self.is_due(*minute, zone))?;
            minute.checked_mul(60)
        })
    }

    fn last_until(&self, until_s: u64, zone: TimeZone) -> Option<u64> {
        let end = (until_s / 60).checked_add(1)?;
        let last_day = zone.local_s(until_s).div_euclid(DAY_S);
        (last_day.checked_sub(DAYS_MAX)?..=last_day)
            .rev()
            .find_map(|day| {
                let minutes = self.minutes_of(day, zone)?;
                let mut minutes = (minutes.start..minutes.end.min(end)).rev();
                let minute = minutes.find(|minute| self.is_due(*minute, zone))?;
                minute.checked_mul(60)
            })
    }

    /// The minutes since the epoch of a day there, if any of them may be due.
    fn minutes_of(&self, day: i64, zone: TimeZone) -> Option<Range<u64>> {
        let (month, day_of_month) = month_and_day(day)?;
        if !self.fits_day(day_of_month, month, weekday(day)) {
            return None;
        }
        let start = zone.first_minute(day)?;
        // A day that there was not is no longer than the one before the next.
        let end = (1..=2).find_map(|days| zone.first_minute(day.checked_add(days)?))?;
        Some(start..end)
    }

    /// Whether clocks show then what is asked for.
    fn is_due(&self, minute: u64, zone: TimeZone) -> bool {
        let local_s = zone.local_s(minute.saturating_mul(60));
        let (day, of_day) = (local_s.div_euclid(DAY_S), local_s.rem_euclid(DAY_S) / 60);
        let of_day = of_day as u32;
        month_and_day(day).is_some_and(|(month, day_of_month)| {
            self.fits(of_day % 60, of_day / 60, day_of_month, month, weekday(day))
        })
    }
}

fn weekday(day: i64) -> u32 {
    (day + WEEKDAY_OF_EPOCH).rem_euclid(7) as u32
}

/// The month (1–12) and the day of it of a day since the epoch, or shortly before. Years begin in
/// March here, so that the leap day is their last one (H. Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms").
fn month_and_day(day: i64) -> Option<(u32, u32)> {
    const DAYS_BEFORE_EPOCH: i64 = 719_468;
    const CENTURIES_DAYS: u64 = 146_097;
    let of_era = u64::try_from(day.checked_add(DAYS_BEFORE_EPOCH)?).ok()? % CENTURIES_DAYS;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = match from_march {
        0..10 => from_march + 3,
        _ => from_march - 9,
    };
    Some((month as u32, day_of_month as u32))
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
                told(found.after(seconds(time), TimeZone::UTC)).as_deref(),
                Some(after),
                "{text} after {time}"
            );
            assert_eq!(
                told(found.last(0, seconds(time), TimeZone::UTC)).as_deref(),
                Some(last),
                "{text} until {time}"
            );
        }
    }

    /// As Kubernetes has it: times of its parser's own tests (robfig/cron v3, spec_test.go).
    #[test]
    fn clocks_that_are_put_forward_and_back() {
        // A zone, a schedule, a time, and those that follow.
        let table: [(&str, &str, &str, &[&str]); 12] = [
            // In New York there is no 02:00 to 02:59 on 11 March 2012.
            (
                "America/New_York",
                "0 * * * *",
                "2012-03-11T00:00:00-05:00",
                &["2012-03-11T01:00:00-05:00", "2012-03-11T03:00:00-04:00"],
            ),
            (
                "America/New_York",
                "0 1 * * *",
                "2012-03-11T00:00:00-05:00",
                &["2012-03-11T01:00:00-05:00", "2012-03-12T01:00:00-04:00"],
            ),
            (
                "America/New_York",
                "0 2 * * *",
                "2012-03-11T00:00:00-05:00",
                &["2012-03-12T02:00:00-04:00"],
            ),
            (
                "America/New_York",
                "30 2 11 mar *",
                "2012-03-11T00:00:00-05:00",
                &["2013-03-11T02:30:00-04:00"],
            ),
            // And 01:00 to 01:59 twice on 4 November.
            (
                "America/New_York",
                "0 * * * *",
                "2012-11-04T00:00:00-04:00",
                &[
                    "2012-11-04T01:00:00-04:00",
                    "2012-11-04T01:00:00-05:00",
                    "2012-11-04T02:00:00-05:00",
                ],
            ),
            (
                "America/New_York",
                "0 1 * * *",
                "2012-11-04T00:00:00-04:00",
                &[
                    "2012-11-04T01:00:00-04:00",
                    "2012-11-04T01:00:00-05:00",
                    "2012-11-05T01:00:00-05:00",
                ],
            ),
            (
                "America/New_York",
                "0 2 * * *",
                "2012-11-04T00:00:00-04:00",
                &["2012-11-04T02:00:00-05:00", "2012-11-05T02:00:00-05:00"],
            ),
            (
                "America/Sao_Paulo",
                "0 9 10 * *",
                "2018-10-17T05:00:00-04:00",
                &["2018-11-10T09:00:00-02:00"],
            ),
            // No midnight on 4 November 2018.
            (
                "America/Sao_Paulo",
                "0 0 * * *",
                "2018-11-03T00:00:00-03:00",
                &["2018-11-05T00:00:00-02:00"],
            ),
            (
                "America/Sao_Paulo",
                "@hourly",
                "2018-11-03T23:00:00-03:00",
                &["2018-11-04T01:00:00-02:00"],
            ),
            // There was no 30 December 2011.
            (
                "Pacific/Apia",
                "0 12 * * *",
                "2011-12-29T13:00:00-10:00",
                &["2011-12-31T12:00:00+14:00"],
            ),
            (
                "Asia/Kolkata",
                "30 5 * * *",
                "2026-01-01T00:00:00Z",
                &["2026-01-02T05:30:00+05:30"],
            ),
        ];
        for (name, text, time, expected) in table {
            let (zone, schedule) = (TimeZone::named(name).unwrap(), schedule(text));
            let mut time_s = seconds(time);
            for expected in expected {
                let next_s = schedule.after(time_s, zone).unwrap();
                assert_eq!(
                    zone.format(next_s),
                    *expected,
                    "{text} in {name} after {time}"
                );
                assert_eq!(
                    schedule.last(0, next_s + 59, zone),
                    Some(next_s),
                    "{text} in {name}"
                );
                time_s = next_s;
            }
        }
    }

    #[test]
    fn every_so_often_counts_from_the_last_time() {
        let every = schedule("@every 90s");
        assert_eq!(every.after(100, TimeZone::UTC), Some(190));
        assert_eq!(every.last(100, 189, TimeZone::UTC), None);
        assert_eq!(every.last(100, 400, TimeZone::UTC), Some(370));
    }

    #[test]
    fn what_is_never_due() {
        let never = schedule("0 0 31 2 *");
        let zones = ["UTC", "America/New_York"].map(|name| TimeZone::named(name).unwrap());
        for zone in zones {
            assert_eq!(never.after(seconds("2026-01-01T00:00:00Z"), zone), None);
            assert_eq!(never.last(0, seconds("2026-01-01T00:00:00Z"), zone), None);
            assert_eq!(schedule("* * * * *").last(120, 179, zone), None);
        }
    }

    #[test]
    fn days_have_their_dates() {
        for day in 0..100_000 {
            let text = format_rfc3339(day * 86_400 * 1_000);
            let told = month_and_day(day as i64).unwrap();
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
            zone in prop::sample::select(vec!["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]),
        ) {
            let zone = TimeZone::named(zone).unwrap();
            let schedule = schedule(&format!("{minute} {hour} {day} * *"));
            let last_s = schedule.last(0, time_s, zone).unwrap();
            let next_s = schedule.after(time_s, zone).unwrap();
            prop_assert!(last_s <= time_s && time_s < next_s);
            prop_assert_eq!(schedule.after(last_s, zone), Some(next_s));
            prop_assert_eq!(schedule.last(0, next_s - 1, zone), Some(last_s));
        }
    }
}
