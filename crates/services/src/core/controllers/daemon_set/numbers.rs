//! What a DaemonSet's spec says of its updates, in whole numbers.

use serde_json::Value;

use crate::core::controllers::share::{self, Round};

/// The spec of a DaemonSet, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// So many nodes may be without an available pod because of an update.
    pub(super) max_unavailable: usize,
    /// So many nodes may have a second pod because of an update.
    pub(super) max_surge: usize,
    /// So long a pod has to be ready.
    pub(super) min_ready_s: u64,
    /// Whether old pods stay until somebody deletes them.
    pub(super) is_on_delete: bool,
}

impl Numbers {
    /// Those of a DaemonSet that is wanted on so many nodes.
    pub(super) fn of(set: &Value, desired: usize) -> Numbers {
        let spec = &set["spec"];
        let is_on_delete = spec["updateStrategy"]["type"] == "OnDelete";
        let bounds = &spec["updateStrategy"]["rollingUpdate"];
        let bound = |field: &str, absent| match is_on_delete {
            true => 0,
            false => resolve(&bounds[field], desired, absent),
        };
        let (surge, unavailable) = (bound("maxSurge", 0), bound("maxUnavailable", 1));
        Numbers {
            max_unavailable: match surge {
                // Else nothing could ever move.
                0 => unavailable.max(1),
                _ => unavailable,
            },
            max_surge: surge,
            min_ready_s: spec["minReadySeconds"].as_u64().unwrap_or_default(),
            is_on_delete,
        }
    }
}

/// A number, or a percentage of `total`, rounded up.
fn resolve(value: &Value, total: usize, absent: usize) -> usize {
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    let said = share::of(value, total, Round::Up);
    said.and_then(|said| usize::try_from(said).ok())
        .unwrap_or(absent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_resolved() {
        for (bounds, desired, expected) in [
            (json!(null), 10, (1, 0)),
            (json!({"maxUnavailable": 3}), 10, (3, 0)),
            (json!({"maxUnavailable": "25%"}), 10, (3, 0)),
            (json!({"maxUnavailable": "25%"}), 0, (1, 0)),
            (json!({"maxUnavailable": 0, "maxSurge": "10%"}), 11, (0, 2)),
            (json!({"maxUnavailable": 0, "maxSurge": 0}), 11, (1, 0)),
            (json!({"maxUnavailable": "nonsense"}), 11, (1, 0)),
        ] {
            let set = json!({"spec": {"updateStrategy": {"rollingUpdate": bounds}}});
            let numbers = Numbers::of(&set, desired);
            assert_eq!((numbers.max_unavailable, numbers.max_surge), expected);
        }
        let set = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
        assert!(Numbers::of(&set, 3).is_on_delete);
    }
}
