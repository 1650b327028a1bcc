//! What a Deployment's spec says, resolved into whole numbers.

use serde_json::{Value, json};

use crate::core::controllers::share::{self, Round};

/// A deadline that says "none", as Kubernetes' clients write it.
const NO_DEADLINE_S: u64 = i32::MAX as u64;

/// The spec of a Deployment, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// So many pods are wanted.
    pub(super) replicas: i64,
    /// So many more may be there during a rollout.
    pub(super) max_surge: i64,
    /// So many of them may be unavailable during a rollout.
    pub(super) max_unavailable: i64,
    /// So long a pod has to be ready.
    pub(super) min_ready_s: u64,
    /// So long a rollout may go without progress; none: for ever.
    pub(super) progress_deadline_s: Option<u64>,
    /// So many old ReplicaSets are kept; none: all.
    pub(super) history_limit: Option<usize>,
    /// Whether all old pods go before the first new one comes.
    pub(super) is_recreate: bool,
    /// Whether rollouts wait.
    pub(super) is_paused: bool,
}

impl Numbers {
    pub(super) fn of(deployment: &Value) -> Numbers {
        let spec = &deployment["spec"];
        let replicas = spec["replicas"].as_i64().unwrap_or(1).max(0);
        let is_recreate = spec["strategy"]["type"] == "Recreate";
        let bounds = &spec["strategy"]["rollingUpdate"];
        let (max_surge, max_unavailable) = match is_recreate {
            true => (0, 0),
            false => fenceposts(&bounds["maxSurge"], &bounds["maxUnavailable"], replicas),
        };
        let deadline_s = spec["progressDeadlineSeconds"].as_u64();
        let history_limit = spec["revisionHistoryLimit"].as_u64();
        Numbers {
            replicas,
            max_surge,
            max_unavailable: max_unavailable.min(replicas),
            min_ready_s: spec["minReadySeconds"].as_u64().unwrap_or_default(),
            progress_deadline_s: deadline_s.filter(|s| *s < NO_DEADLINE_S),
            history_limit: history_limit.and_then(|limit| usize::try_from(limit).ok()),
            is_recreate,
            is_paused: spec["paused"] == true,
        }
    }

    /// So many pods may be there at once.
    pub(super) fn most(&self) -> i64 {
        self.replicas + self.max_surge
    }

    /// So many pods are to be available at any time.
    pub(super) fn least_available(&self) -> i64 {
        self.replicas - self.max_unavailable
    }
}

/// A quarter if nothing is said. Surge is rounded up, unavailability down; where both would be none, one pod may be unavailable:
/// else nothing could ever move.
fn fenceposts(surge: &Value, unavailable: &Value, replicas: i64) -> (i64, i64) {
    let resolve = |value, round| {
        let said = match value {
            &Value::Null => share::of(&json!("25%"), replicas, round),
            value => share::of(value, replicas, round),
        };
        said.unwrap_or_default().clamp(0, i64::from(i32::MAX))
    };
    let (surge, unavailable) = (resolve(surge, Round::Up), resolve(unavailable, Round::Down));
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        bounds => bounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_resolved() {
        for (surge, unavailable, replicas, expected) in [
            (json!(null), json!(null), 10, (3, 2)),
            (json!(null), json!(null), 1, (1, 0)),
            (json!("30%"), json!("30%"), 10, (3, 3)),
            (json!(0), json!(0), 10, (0, 1)),
            (json!("0%"), json!("1%"), 10, (0, 1)),
            (json!(2), json!("100%"), 3, (2, 3)),
            (json!("nonsense"), json!(5), 3, (0, 5)),
        ] {
            assert_eq!(fenceposts(&surge, &unavailable, replicas), expected);
        }
        let none = json!({"spec": {"replicas": 0}});
        let numbers = Numbers::of(&none);
        assert_eq!((numbers.most(), numbers.least_available()), (0, 0));
        let small =
            json!({"spec": {"replicas": 2, "strategy": {"rollingUpdate": {"maxUnavailable": 5}}}});
        assert_eq!(Numbers::of(&small).least_available(), 0);
    }
}
