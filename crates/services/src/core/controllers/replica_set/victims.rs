//! Which pods go when there are too many: those first that do the least. The order is that of
//! Kubernetes ("ReplicaSet", "Scaling a ReplicaSet"; `ActivePodsWithRanks`), with one addition: of
//! the pods that are ready, those go before others that are not available yet, so that a rolling
//! update never takes a pod that it counts on.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::core::{
    controllers::{pods, world::View},
    kinds::{Kind, PODS},
    object,
    time::parse_rfc3339,
};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pods to delete, out of those that count.
pub(super) fn choose(
    view: &dyn View,
    kind: &'static Kind,
    set: &Value,
    mut active: Vec<Arc<Value>>,
    count: usize,
    now_ms: u64,
) -> Vec<Arc<Value>> {
    if count < active.len() {
        let crowds = crowds(view, kind, set, &active);
        let min_ready_s = super::min_ready_s(set);
        active.sort_by_cached_key(|pod| rank(pod, &crowds, min_ready_s, now_ms));
    }
    active.truncate(count);
    active
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

/// How many pods of the same application run on each node: those of all sets with one owner.
fn crowds(
    view: &dyn View,
    kind: &'static Kind,
    set: &Value,
    active: &[Arc<Value>],
) -> BTreeMap<String, usize> {
    let own = object::uid(set);
    let owner = object::controller(set).and_then(|owner| owner["uid"].as_str());
    let siblings = owner.map_or_else(Vec::new, |owner| view.by_owner(kind, owner));
    let others = siblings
        .iter()
        .map(|sibling| object::uid(sibling))
        .filter(|uid| *uid != own)
        .flat_map(|uid| view.by_owner(&PODS, uid))
        .filter(|pod| pods::is_active(pod));
    let mut crowds = BTreeMap::new();
    for pod in active.iter().cloned().chain(others) {
        *crowds.entry(node(&pod).to_owned()).or_insert(0) += 1;
    }
    crowds
}

/// The least goes first.
fn rank(
    pod: &Value,
    crowds: &BTreeMap<String, usize>,
    min_ready_s: u64,
    now_ms: u64,
) -> impl Ord + use<> {
    let is_assigned = !node(pod).is_empty();
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let is_available = pods::is_available(pod, min_ready_s, now_ms);
    let cost = object::annotation(pod, COST).and_then(|cost| cost.parse::<i32>().ok());
    let crowd = crowds.get(node(pod)).copied().unwrap_or_default();
    let containers = pod["status"]["containerStatuses"].as_array();
    let restarts = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["restartCount"].as_u64())
        .max();
    let created_ms = parse_rfc3339(object::meta(pod, "creationTimestamp"));
    let of_life = (is_assigned, phase, pods::is_ready(pod), is_available);
    let of_age = (
        Reverse(pods::ready_since_ms(pod)),
        Reverse(restarts),
        Reverse(created_ms),
    );
    let name = object::name(pod).to_owned();
    (
        of_life,
        cost.unwrap_or_default(),
        Reverse(crowd),
        of_age,
        name,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready_since: Option<&str>) -> Value {
        let status = if ready_since.is_some() {
            "True"
        } else {
            "False"
        };
        json!({
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node},
            "status": {"phase": phase, "conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": ready_since},
            ]},
        })
    }

    /// What is changed in one of two pods that are the same, so that it goes first.
    #[test]
    fn who_does_the_least_goes_first() {
        let old = Some("2026-01-01T00:00:10Z");
        let standing = pod("a", "n", "Running", old);
        let with = |path: &str, value: Value| {
            let mut pod = pod("b", "n", "Running", old);
            *pod.pointer_mut(path).unwrap() = value;
            pod
        };
        let mut cheap = with("/metadata/name", json!("b"));
        cheap["metadata"]["annotations"] = json!({COST: "-1"});
        let mut restarted = with("/metadata/name", json!("b"));
        restarted["status"]["containerStatuses"] = json!([{"restartCount": 3}]);
        let first = [
            pod("b", "", "Pending", None),
            pod("b", "n", "Pending", None),
            pod("b", "n", "Unknown", old),
            pod("b", "n", "Running", None),
            pod("b", "n", "Running", Some("2026-01-01T00:00:11Z")),
            cheap,
            with("/spec/nodeName", json!("crowded")),
            restarted,
            with("/metadata/creationTimestamp", json!("2026-01-01T00:00:01Z")),
        ];
        let crowds = BTreeMap::from([("n".to_owned(), 1), ("crowded".to_owned(), 2)]);
        let now_ms = parse_rfc3339("2026-01-01T01:00:00Z").unwrap();
        for pod in &first {
            let (goes, stays) = (
                rank(pod, &crowds, 0, now_ms),
                rank(&standing, &crowds, 0, now_ms),
            );
            assert!(goes < stays, "{pod}");
        }
    }

    #[test]
    fn what_is_ready_for_too_short_a_time_goes_before_what_is_cheap() {
        let mut cheap = pod("a", "n", "Running", Some("2026-01-01T00:00:00Z"));
        cheap["metadata"]["annotations"] = json!({COST: "-5"});
        let fresh = pod("b", "n", "Running", Some("2026-01-01T00:59:59Z"));
        let now_ms = parse_rfc3339("2026-01-01T01:00:00Z").unwrap();
        let rank = |pod| rank(pod, &BTreeMap::new(), 10, now_ms);
        assert!(rank(&fresh) < rank(&cheap));
    }
}
