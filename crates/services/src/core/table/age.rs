//! How long ago something was, for human eyes: two or three figures that matter.

use serde_json::Value;

use crate::core::{object, time};

const UNKNOWN: &str = "<unknown>";

/// A duration as Kubernetes shows it: `5s`, `3m20s`, `4h`, `2d3h`, `1y40d`. A second in the
/// future counts as now, as clocks differ; more is `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if years < 2 => format!("{days}d"),
        _ if years < 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    }
}

/// The time between, `from` to `to`.
pub(super) fn between(from_ms: u64, to_ms: u64) -> String {
    let ms = i128::from(to_ms) - i128::from(from_ms);
    human_duration(i64::try_from(ms / 1000).unwrap_or(i64::MAX))
}

/// A time that is an object's field.
pub(super) fn time_of(field: &Value) -> Option<u64> {
    time::parse_rfc3339(field.as_str()?)
}

/// How long ago the time in a field was.
pub(super) fn since(field: &Value, now_ms: u64) -> String {
    match time_of(field) {
        Some(then_ms) => between(then_ms, now_ms),
        None => UNKNOWN.to_owned(),
    }
}

/// How long ago an object was created.
pub(super) fn age(object: &Value, now_ms: u64) -> Value {
    let created = time::parse_rfc3339(object::meta(object, "creationTimestamp"));
    let told = created.map(|created_ms| between(created_ms, now_ms));
    told.unwrap_or_else(|| UNKNOWN.to_owned()).into()
}
