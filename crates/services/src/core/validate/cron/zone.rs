//! Time zones by their IANA names, from a table that is compiled in: all nodes of a version go by
//! the same rules, whatever is installed on their machines.

use chrono::{DateTime, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;

use super::times::{DAY_MINUTES, DAY_S};
use crate::core::time::format_rfc3339;

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeZone(Tz);

impl TimeZone {
    /// That of schedules that name none.
    pub const UTC: TimeZone = TimeZone(Tz::UTC);

    /// The zone of a name, as `Europe/Berlin`.
    pub fn named(name: &str) -> Option<TimeZone> {
        name.parse().ok().map(TimeZone)
    }

    /// A time as `2026-01-02T03:04:05+01:00`.
    pub fn format(self, time_s: u64) -> String {
        let offset_s = self.offset_s(time_s);
        let local_s = time_s.saturating_add_signed(offset_s);
        let utc = format_rfc3339(local_s.saturating_mul(1_000));
        let minutes = offset_s.unsigned_abs() / 60;
        match offset_s {
            0 => utc,
            _ => format!(
                "{}{}{:02}:{:02}",
                utc.trim_end_matches('Z'),
                if offset_s < 0 { '-' } else { '+' },
                minutes / 60,
                minutes % 60
            ),
        }
    }

    /// Seconds since the epoch as clocks show them there: of a day that began in 1970, and a
    /// second of it.
    pub(super) fn local_s(self, time_s: u64) -> i64 {
        let time_s_signed = i64::try_from(time_s).unwrap_or(i64::MAX);
        time_s_signed.saturating_add(self.offset_s(time_s))
    }

    /// How much later clocks are there.
    fn offset_s(self, time_s: u64) -> i64 {
        let time = i64::try_from(time_s).ok().and_then(naive);
        let offset = time.map(|time| self.0.offset_from_utc_datetime(&time));
        offset.map_or(0, |offset| offset.fix().local_minus_utc().into())
    }

    /// The first whole minute since the epoch of a day there; none if there was no such day.
    /// Where clocks skip midnight, a day begins later.
    pub(super) fn first_minute(self, day: i64) -> Option<u64> {
        let midnight_s = day.checked_mul(DAY_S)?;
        (0..DAY_MINUTES).find_map(|minute| {
            let local_s = midnight_s.checked_add(minute * 60)?;
            let offset = self.0.offset_from_local_datetime(&naive(local_s)?);
            let offset_s: i64 = offset.earliest()?.fix().local_minus_utc().into();
            // Old offsets have seconds, too.
            u64::try_from(local_s - offset_s)
                .ok()
                .map(|s| s.div_ceil(60))
        })
    }
}

fn naive(time_s: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(time_s, 0).map(|time| time.naive_utc())
}
