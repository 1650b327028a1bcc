//! What a StatefulSet's spec says, resolved into whole numbers.

use std::ops::Range;

use serde_json::Value;

use crate::core::controllers::share::{self, Round};

use crate::core::object;

/// The spec of a StatefulSet, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    /// Which pods there are to be.
    pub(super) ordinals: Range<i64>,
    /// An update leaves the pods below this ordinal as they are.
    pub(super) update_from: i64,
    /// So many pods may be unavailable because of an update.
    pub(super) max_unavailable: usize,
    /// So long a pod has to be ready.
    pub(super) min_ready_s: u64,
    /// Whether pods come and go one after the other.
    pub(super) is_ordered: bool,
    /// Whether only clients delete old pods.
    pub(super) is_on_delete: bool,
    /// Whether pods have volumes of their own.
    pub(super) has_claims: bool,
    /// Whether these volumes go when the set shrinks.
    pub(super) drops_claims: bool,
}

impl Numbers {
    pub(super) fn of(set: &Value) -> Numbers {
        let spec = &set["spec"];
        let replicas = small(&spec["replicas"], 1);
        let start = small(&spec["ordinals"]["start"], 0);
        let rolling = &spec["updateStrategy"]["rollingUpdate"];
        let is_on_delete = spec["updateStrategy"]["type"] == "OnDelete";
        let partition = match is_on_delete {
            true => 0,
            false => small(&rolling["partition"], 0),
        };
        let retention = &spec["persistentVolumeClaimRetentionPolicy"];
        Numbers {
            ordinals: start..start + replicas,
            update_from: start + partition,
            max_unavailable: max_unavailable(&rolling["maxUnavailable"], replicas),
            min_ready_s: spec["minReadySeconds"].as_u64().unwrap_or_default(),
            is_ordered: spec["podManagementPolicy"] != "Parallel",
            is_on_delete,
            has_claims: object::items(&spec["volumeClaimTemplates"])
                .next()
                .is_some(),
            drops_claims: retention["whenScaled"] == "Delete",
        }
    }

    /// How many pods there are to be.
    pub(super) fn replicas(&self) -> i64 {
        self.ordinals.end - self.ordinals.start
    }
}

/// A number that is not negative and has 32 bits.
fn small(value: &Value, default: i64) -> i64 {
    value
        .as_i64()
        .unwrap_or(default)
        .clamp(0, i64::from(i32::MAX))
}

/// A number, or a percentage that is rounded down; at least one, or nothing could ever move.
fn max_unavailable(value: &Value, replicas: i64) -> usize {
    let count = share::of(value, replicas, Round::Down).unwrap_or(1);
    usize::try_from(count.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_resolved() {
        for (value, replicas, expected) in [
            (json!(null), 5, 1),
            (json!(3), 5, 3),
            (json!("50%"), 5, 2),
            (json!("1%"), 5, 1),
            (json!("nonsense"), 5, 1),
            (json!(-1), 5, 1),
        ] {
            assert_eq!(max_unavailable(&value, replicas), expected, "{value}");
        }
    }

    #[test]
    fn a_partition_counts_from_the_first_ordinal_and_only_for_rolling_updates() {
        let of = |kind: &str| {
            Numbers::of(&json!({"spec": {
                "replicas": 3, "ordinals": {"start": 5},
                "updateStrategy": {"type": kind, "rollingUpdate": {"partition": 2}},
            }}))
        };
        let rolling = of("RollingUpdate");
        assert_eq!((rolling.ordinals.clone(), rolling.update_from), (5..8, 7));
        assert_eq!(of("OnDelete").update_from, 5);
    }
}
