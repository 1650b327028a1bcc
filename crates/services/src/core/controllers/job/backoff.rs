//! How long a pod that failed waits to be replaced: 10 s after the first failure, twice as long
//! after each one more, 6 minutes at most (Kubernetes documentation, "Pod backoff failure
//! policy"). A success begins anew. The pods themselves are the memory: those that have ended
//! stay.

use std::sync::Arc;

use serde_json::Value;

use super::{
    super::{conditions, pods},
    spec::Spec,
    tally::{Outcome, outcome},
};
use crate::core::{object, time::parse_rfc3339};

const FIRST_MS: u64 = 10_000;
const MOST_MS: u64 = 6 * 60_000;

/// In how many milliseconds the next pod may be made, after so many failures; none: now.
pub(super) fn wait_ms(failures: u64, last_ms: u64, now_ms: u64) -> Option<u64> {
    let doublings = u32::try_from(failures.checked_sub(1)?).unwrap_or(u32::MAX);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let wait_ms = FIRST_MS.saturating_mul(factor).min(MOST_MS);
    let left_ms = last_ms.saturating_add(wait_ms).saturating_sub(now_ms);
    // A clock that goes wrong makes nobody wait for longer than that.
    Some(left_ms.min(wait_ms)).filter(|ms| *ms > 0)
}

/// The same for all pods of a Job: by those that failed after the last one that succeeded. Those
/// that somebody has deleted are replaced at once.
pub(super) fn of_job(spec: &Spec<'_>, owned: &[Arc<Value>], now_ms: u64) -> Option<u64> {
    let ends = |wanted: Outcome| {
        let ended = owned.iter().filter(|pod| pods::has_ended(pod));
        let ended = ended.filter(|pod| outcome(spec, pod) == Some(wanted));
        ended.map(|pod| ended_ms(pod)).collect::<Vec<u64>>()
    };
    let succeeded_ms = ends(Outcome::Succeeded).into_iter().max();
    let mut failed = ends(Outcome::Failed);
    failed.retain(|failed_ms| succeeded_ms.is_none_or(|succeeded_ms| *failed_ms > succeeded_ms));
    let last_ms = failed.iter().max()?;
    wait_ms(failed.len() as u64, *last_ms, now_ms)
}

/// When a pod has ended, as far as can be told.
pub(super) fn ended_ms(pod: &Value) -> u64 {
    let status = &pod["status"];
    let time = |value: &Value| parse_rfc3339(value.as_str()?);
    let containers = object::items(&status["containerStatuses"]);
    let ends: Option<Vec<u64>> = containers
        .map(|one| time(&one["state"]["terminated"]["finishedAt"]))
        .collect();
    let of_containers = ends.and_then(|ends| ends.into_iter().max());
    let unready = || {
        let ready = conditions::find(status, "Ready")?;
        time(&ready["lastTransitionTime"]).filter(|_| !pods::is_ready(pod))
    };
    let deleted = || {
        let grace_s = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
        let by_ms = time(&pod["metadata"]["deletionTimestamp"])?;
        Some(by_ms.saturating_sub(grace_s.unwrap_or_default().saturating_mul(1_000)))
    };
    of_containers
        .or_else(unready)
        .or_else(deleted)
        .or_else(|| time(&pod["metadata"]["creationTimestamp"]))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_six_minutes() {
        let waits: Vec<Option<u64>> = (0..9).map(|failures| wait_ms(failures, 0, 0)).collect();
        let seconds = [
            None,
            Some(10),
            Some(20),
            Some(40),
            Some(80),
            Some(160),
            Some(320),
            Some(360),
            Some(360),
        ];
        assert_eq!(waits, seconds.map(|s| s.map(|s: u64| s * 1_000)));
        assert_eq!(wait_ms(2, 1_000, 15_000), Some(6_000));
        assert_eq!(wait_ms(2, 1_000, 21_000), None);
        assert_eq!(wait_ms(u64::MAX, 0, 0), Some(MOST_MS));
        assert_eq!(wait_ms(1, u64::MAX, 0), Some(FIRST_MS));
    }
}
