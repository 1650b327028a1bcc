//! Which nodes a DaemonSet's pods are for, and how a pod is kept to its node.
//!
//! Pods put up with what befalls a node (`not-ready`, pressure, `unschedulable`): they are part of
//! the node, and are there before it can do anything else ("DaemonSet", "Taints and tolerations").

use serde_json::{Map, Value, json};

use crate::core::{object, scheduler::NodeRule, tolerations};

/// The taints that each pod bears, whatever its template says.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// One more that those bear which share their node's network.
const BORNE_ON_HOST_NETWORK: (&str, &str) =
    ("node.kubernetes.io/network-unavailable", "NoSchedule");

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const NODE_NAME: &str = "metadata.name";

/// What a node is for a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It has no pod.
    Never,
    /// A pod that is there stays; there will be no new one.
    Stays,
    /// It has a pod.
    Runs,
}

/// Which nodes a template is for.
pub(super) struct Placement {
    node_name: String,
    rule: NodeRule,
    /// A pod's tolerations.
    pod: Value,
}

impl Placement {
    pub(super) fn of(set: &Value) -> Placement {
        let spec = &set["spec"]["template"]["spec"];
        let mut bears = json!({
            "tolerations": spec["tolerations"],
            "hostNetwork": spec["hostNetwork"],
        });
        tolerate(&mut bears);
        Placement {
            node_name: spec["nodeName"].as_str().unwrap_or_default().to_owned(),
            rule: NodeRule::read(spec),
            pod: json!({"spec": bears}),
        }
    }

    /// What a node is.
    pub(super) fn fit(&self, node: &Value) -> Fit {
        let name = object::name(node);
        let none = Map::new();
        let labels = node["metadata"]["labels"].as_object().unwrap_or(&none);
        let is_named = self.node_name.is_empty() || self.node_name == name;
        if !is_named || !self.rule.allows(name, labels) {
            return Fit::Never;
        }
        let taints = &node["spec"]["taints"];
        if tolerations::untolerated(&self.pod, taints).is_none() {
            return Fit::Runs;
        }
        let driving = object::items(taints).filter(|taint| taint["effect"] == "NoExecute");
        let driving = Value::Array(driving.cloned().collect());
        match tolerations::untolerated(&self.pod, &driving) {
            None => Fit::Stays,
            Some(_) => Fit::Never,
        }
    }
}

/// Adds to a pod's spec what it bears.
pub(super) fn tolerate(spec: &mut Value) {
    let is_on_host_network = spec["hostNetwork"] == true;
    let more = is_on_host_network.then_some(BORNE_ON_HOST_NETWORK);
    let mut all: Vec<Value> = object::items(&spec["tolerations"]).cloned().collect();
    for (key, effect) in BORNE.into_iter().chain(more) {
        let new = json!({"key": key, "operator": "Exists", "effect": effect});
        let is_it = |one: &&mut Value| {
            let fields = ["key", "operator", "effect"];
            fields.iter().all(|field| one[*field] == new[*field])
        };
        match all.iter_mut().find(is_it) {
            // Not for a while only.
            Some(one) => *one = new,
            None => all.push(new),
        }
    }
    spec["tolerations"] = Value::Array(all);
}

/// Keeps a pod to a node, in place of what its template requires of nodes: the node has it.
pub(super) fn pin(spec: &mut Value, node: &str) {
    let requirement = json!({"key": NODE_NAME, "operator": "In", "values": [node]});
    let terms = json!([{"matchFields": [requirement]}]);
    spec["affinity"]["nodeAffinity"][REQUIRED] = json!({"nodeSelectorTerms": terms});
}

/// The node that a pod is on, or is for.
pub(super) fn target(pod: &Value) -> Option<&str> {
    let spec = &pod["spec"];
    let bound = spec["nodeName"].as_str().filter(|name| !name.is_empty());
    let required = &spec["affinity"]["nodeAffinity"][REQUIRED];
    let terms = object::items(&required["nodeSelectorTerms"]);
    let mut fields = terms.flat_map(|term| object::items(&term["matchFields"]));
    bound.or_else(|| {
        fields.find_map(|it| {
            let is_name = it["key"] == NODE_NAME && it["operator"] == "In";
            match it["values"].as_array().map(Vec::as_slice) {
                Some([name]) if is_name => name.as_str(),
                _ => None,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(spec: Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    #[test]
    fn taints_keep_pods_out_drive_them_away_or_are_borne() {
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        let of_node = |name: &str| format!("node.kubernetes.io/{name}");
        let bears = |key: &str| json!({"tolerations": [{"key": key, "operator": "Exists"}]});
        let host = json!({"hostNetwork": true});
        let cases = [
            (json!({}), json!(null), Fit::Runs),
            (json!({}), taint("mine", "NoSchedule"), Fit::Stays),
            (json!({}), taint("mine", "NoExecute"), Fit::Never),
            (json!({}), taint("mine", "PreferNoSchedule"), Fit::Runs),
            (bears("mine"), taint("mine", "NoExecute"), Fit::Runs),
            (
                json!({}),
                taint(&of_node("not-ready"), "NoExecute"),
                Fit::Runs,
            ),
            (
                json!({}),
                taint(&of_node("unreachable"), "NoExecute"),
                Fit::Runs,
            ),
            // A node that is not heard of is no place for a new pod.
            (
                json!({}),
                taint(&of_node("unreachable"), "NoSchedule"),
                Fit::Stays,
            ),
            (
                json!({}),
                taint(&of_node("disk-pressure"), "NoSchedule"),
                Fit::Runs,
            ),
            (
                json!({}),
                taint(&of_node("memory-pressure"), "NoSchedule"),
                Fit::Runs,
            ),
            (
                json!({}),
                taint(&of_node("pid-pressure"), "NoSchedule"),
                Fit::Runs,
            ),
            (
                json!({}),
                taint(&of_node("unschedulable"), "NoSchedule"),
                Fit::Runs,
            ),
            (
                json!({}),
                taint(&of_node("network-unavailable"), "NoSchedule"),
                Fit::Stays,
            ),
            (
                host,
                taint(&of_node("network-unavailable"), "NoSchedule"),
                Fit::Runs,
            ),
        ];
        for (spec, taints, expected) in cases {
            let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}});
            let placement = Placement::of(&set(spec.clone()));
            assert_eq!(placement.fit(&node), expected, "{spec} {taints}");
        }
    }

    #[test]
    fn names_and_labels_say_which_nodes() {
        let zones = |zone: &str| {
            let one = json!({"key": "zone", "operator": "In", "values": [zone]});
            let terms = json!([{"matchExpressions": [one]}]);
            json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}})
        };
        let node = json!({"metadata": {"name": "n1", "labels": {"zone": "a"}}});
        let cases = [
            (json!({"nodeSelector": {"zone": "a"}}), Fit::Runs),
            (json!({"nodeSelector": {"zone": "b"}}), Fit::Never),
            (zones("a"), Fit::Runs),
            (zones("b"), Fit::Never),
            (json!({"nodeName": "n1"}), Fit::Runs),
            (json!({"nodeName": "n2"}), Fit::Never),
        ];
        for (spec, expected) in cases {
            assert_eq!(
                Placement::of(&set(spec.clone())).fit(&node),
                expected,
                "{spec}"
            );
        }
    }

    #[test]
    fn a_pod_is_kept_to_its_node_and_bears_what_befalls_it() {
        let key = "node.kubernetes.io/unreachable";
        let mut spec = json!({
            "affinity": {"podAffinity": {}, "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}},
            "tolerations": [
                {"key": "mine"},
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            ],
        });
        pin(&mut spec, "n1");
        assert!(spec["affinity"]["podAffinity"].is_object());
        tolerate(&mut spec);
        let tolerations = spec["tolerations"].as_array().unwrap();
        assert_eq!(tolerations.len(), 1 + BORNE.len());
        assert_eq!(
            tolerations[1],
            json!({"key": key, "operator": "Exists", "effect": "NoExecute"})
        );
        let rule = NodeRule::read(&spec);
        assert!(rule.allows("n1", &Map::new()) && !rule.allows("n2", &Map::new()));
        let mut pod = json!({"spec": spec});
        assert_eq!(target(&pod), Some("n1"));
        pod["spec"]["nodeName"] = json!("n2");
        assert_eq!(target(&pod), Some("n2"));
        assert_eq!(target(&json!({"spec": {}})), None);
    }
}
