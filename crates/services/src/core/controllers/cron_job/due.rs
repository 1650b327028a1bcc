//! Which time of its schedule a CronJob has to keep now, and which is the next one.

use serde_json::Value;

use crate::core::{
    object,
    time::parse_rfc3339,
    validate::cron::{Schedule, TimeZone},
};

/// More times missed than that are told: a clock may be wrong.
pub(super) const MISSED_MAX: usize = 100;

/// What is due, in seconds since the epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The last time that has come since the last one that was kept.
    pub(super) scheduled_s: Option<u64>,
    /// Whether it is too late for it.
    pub(super) is_late: bool,
    /// How many have come since then, of those that could still be kept; at most one more than
    /// [`MISSED_MAX`].
    pub(super) missed: usize,
    /// The next time that comes.
    pub(super) next_s: Option<u64>,
}

impl Due {
    /// Nothing is ever due by a schedule that can't be read, or in a zone that is not known.
    pub(super) fn of(cron: &Value, now_s: u64) -> Due {
        let spec = &cron["spec"];
        let schedule = spec["schedule"].as_str().unwrap_or_default();
        let (Ok(schedule), Some(zone)) = (Schedule::parse(schedule), zone(cron)) else {
            return Due::default();
        };
        let seconds = |text: &str| Some(parse_rfc3339(text)? / 1_000);
        let last_s = cron["status"]["lastScheduleTime"]
            .as_str()
            .and_then(seconds);
        let created_s = seconds(object::meta(cron, "creationTimestamp"));
        let since_s = last_s.or(created_s).unwrap_or(now_s);
        let scheduled_s = schedule.last(since_s, now_s, zone);
        let deadline_s = spec["startingDeadlineSeconds"].as_u64();
        let first_s = deadline_s.map_or(0, |deadline_s| now_s.saturating_sub(deadline_s));
        let from_s = since_s.max(first_s.saturating_sub(1));
        let after = |time_s: u64| schedule.after(time_s, zone);
        let times = std::iter::successors(after(from_s), |time_s| after(*time_s));
        Due {
            scheduled_s,
            is_late: scheduled_s.is_some_and(|scheduled_s| scheduled_s < first_s),
            missed: times
                .take_while(|time_s| *time_s <= now_s)
                .take(MISSED_MAX + 1)
                .count(),
            next_s: after(scheduled_s.unwrap_or(since_s)),
        }
    }
}

/// The zone by whose clocks a CronJob goes.
pub(super) fn zone(cron: &Value) -> Option<TimeZone> {
    match cron["spec"]["timeZone"].as_str() {
        None | Some("") => Some(TimeZone::UTC),
        Some(name) => TimeZone::named(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::time::format_rfc3339;

    fn due(schedule: &str, last_s: u64, deadline_s: Option<u64>, now_s: u64) -> Due {
        let mut cron = json!({
            "metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"schedule": schedule},
            "status": {"lastScheduleTime": format_rfc3339(last_s * 1_000)},
        });
        if let Some(deadline_s) = deadline_s {
            cron["spec"]["startingDeadlineSeconds"] = json!(deadline_s);
        }
        Due::of(&cron, now_s)
    }

    #[test]
    fn the_last_time_that_was_missed_is_due() {
        let hour = 3_600;
        // The last time kept, a deadline, now; what is due.
        let table = [
            ((0, None, hour - 1), (None, false, 0, Some(hour))),
            ((0, None, hour), (Some(hour), false, 1, Some(2 * hour))),
            (
                (0, None, 5 * hour + 9),
                (Some(5 * hour), false, 5, Some(6 * hour)),
            ),
            ((hour, None, hour), (None, false, 0, Some(2 * hour))),
            (
                (0, Some(9), hour + 9),
                (Some(hour), false, 1, Some(2 * hour)),
            ),
            (
                (0, Some(9), hour + 10),
                (Some(hour), true, 0, Some(2 * hour)),
            ),
            (
                (0, None, 500 * hour),
                (Some(500 * hour), false, 101, Some(501 * hour)),
            ),
        ];
        for ((last_s, deadline_s, now_s), (scheduled_s, is_late, missed, next_s)) in table {
            let expected = Due {
                scheduled_s,
                is_late,
                missed,
                next_s,
            };
            assert_eq!(
                due("0 * * * *", last_s, deadline_s, now_s),
                expected,
                "{last_s} {now_s}"
            );
        }
        assert_eq!(due("0 0 31 2 *", 0, None, hour), Due::default());
        assert_eq!(due("never", 0, None, hour), Due::default());
    }

    #[test]
    fn every_so_often_keeps_its_beat() {
        let found = due("@every 90s", 100, None, 400);
        assert_eq!(
            (found.scheduled_s, found.missed, found.next_s),
            (Some(370), 3, Some(460))
        );
    }
}
