//! What a pod asks of the pods around it: `podAffinity`, `podAntiAffinity` and
//! `topologySpreadConstraints`, read once per pod ("Inter-pod affinity and anti-affinity", "Pod
//! Topology Spread Constraints").
//!
//! A selector that can't be read selects nothing; what is kept has been checked before.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::core::selector::LabelSelector;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The labels of namespaces, which terms select by.
pub(super) trait NamespaceLabels {
    /// Those of one; none if it is not known.
    fn labels_of(&self, namespace: &str) -> Option<&Map<String, Value>>;
}

/// Some pods, and the topology in which they are looked for.
#[derive(Clone, Debug)]
pub(super) struct Term {
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    selector: LabelSelector,
    /// The label of nodes that makes those of one value one place.
    pub(super) topology_key: String,
    /// Terms that have the same are about the same pods.
    pub(super) about: String,
}

impl Term {
    fn read(term: &Value, namespace: &str, labels: Option<&Map<String, Value>>) -> Term {
        let list = term["namespaces"].as_array().into_iter().flatten();
        let mut namespaces: BTreeSet<String> =
            list.filter_map(Value::as_str).map(str::to_owned).collect();
        let by_labels = &term["namespaceSelector"];
        if namespaces.is_empty() && by_labels.is_null() {
            namespaces.insert(namespace.to_owned());
        }
        let selector = with_label_keys(term, labels);
        let about = json!([namespaces, by_labels, selector]).to_string();
        Term {
            namespaces,
            namespace_selector: by_labels.as_object().map(|_| read_selector(by_labels)),
            selector: read_selector(&selector),
            topology_key: term["topologyKey"].as_str().unwrap_or_default().to_owned(),
            about,
        }
    }

    /// Whether a pod is one of those.
    pub(super) fn matches(
        &self,
        namespace: &str,
        labels: Option<&Map<String, Value>>,
        all: &dyn NamespaceLabels,
    ) -> bool {
        let is_inside = self.namespaces.contains(namespace)
            || (self.namespace_selector.as_ref())
                .is_some_and(|it| it.matches(all.labels_of(namespace)));
        is_inside && self.selector.matches(labels)
    }

    /// Whether it depends on labels of namespaces.
    pub(super) fn selects_namespaces(&self) -> bool {
        self.namespace_selector.is_some()
    }

    /// The namespace that all of those are in; none if they may be in several.
    pub(super) fn only_namespace(&self) -> Option<&str> {
        match (&self.namespace_selector, self.namespaces.len()) {
            (None, 1) => self.namespaces.first().map(String::as_str),
            _ => None,
        }
    }
}

fn read_selector(selector: &Value) -> LabelSelector {
    LabelSelector::from_json(selector).unwrap_or_else(|_| LabelSelector::nothing())
}

/// `labelSelector` with what `matchLabelKeys` and `mismatchLabelKeys` add to it: the pod's own
/// values of these labels.
fn with_label_keys(owner: &Value, labels: Option<&Map<String, Value>>) -> Value {
    let mut selector = owner["labelSelector"].clone();
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in owner[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let own = labels.and_then(|labels| labels.get(key));
            let (Some(own), true) = (own, selector.is_object()) else {
                continue;
            };
            let more = json!({"key": key, "operator": operator, "values": [own]});
            match selector["matchExpressions"].as_array_mut() {
                Some(list) => list.push(more),
                None => selector["matchExpressions"] = json!([more]),
            }
        }
    }
    selector
}

/// How evenly some pods are to be spread.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    /// The label of nodes that makes those of one value one place.
    pub(super) topology_key: String,
    /// By so many more than the emptiest place a place may have.
    pub(super) skew_max: u32,
    /// If there are fewer places, the emptiest counts as empty.
    pub(super) domains_min: usize,
    /// Whether it must be so (`DoNotSchedule`), or would better be.
    pub(super) is_required: bool,
    /// Whether only nodes count that the pod's node selector allows.
    pub(super) honors_node_rule: bool,
    /// Whether only nodes count whose taints the pod tolerates.
    pub(super) honors_taints: bool,
    namespace: String,
    selector: LabelSelector,
    /// Constraints that have the same are about the same pods.
    pub(super) about: String,
}

impl Spread {
    fn read(one: &Value, namespace: &str, labels: Option<&Map<String, Value>>) -> Spread {
        let number = |field: &str| one[field].as_u64().and_then(|it| u32::try_from(it).ok());
        let selector = with_label_keys(one, labels);
        Spread {
            topology_key: one["topologyKey"].as_str().unwrap_or_default().to_owned(),
            skew_max: number("maxSkew").unwrap_or(1),
            domains_min: number("minDomains").map_or(1, |it| it as usize),
            is_required: one["whenUnsatisfiable"] != "ScheduleAnyway",
            honors_node_rule: one["nodeAffinityPolicy"] != "Ignore",
            honors_taints: one["nodeTaintsPolicy"] == "Honor",
            namespace: namespace.to_owned(),
            about: json!(["spread", namespace, selector]).to_string(),
            selector: read_selector(&selector),
        }
    }

    /// Whether a pod is one of those that are spread. Pods that are being deleted are not.
    pub(super) fn matches(&self, namespace: &str, labels: Option<&Map<String, Value>>) -> bool {
        self.namespace == namespace && self.selector.matches(labels)
    }

    /// The namespace of those that are spread.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// All that a pod asks of the pods around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// There must be such pods.
    pub(super) affinity: Vec<Term>,
    /// There must be no such pods.
    pub(super) anti_affinity: Vec<Term>,
    /// Better with (more than 0) or without such pods.
    pub(super) preferred: Vec<(i64, Term)>,
    /// How it is spread with its like.
    pub(super) spread: Vec<Spread>,
}

impl Terms {
    /// Those of a pod.
    pub(super) fn read(
        spec: &Value,
        namespace: &str,
        labels: Option<&Map<String, Value>>,
    ) -> Terms {
        let affinity = &spec["affinity"];
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let required = |kind: &str| {
            let all = list(&affinity[kind][REQUIRED]);
            all.iter()
                .map(|term| Term::read(term, namespace, labels))
                .collect()
        };
        let preferred = |kind: &str, sign: i64| {
            let all = list(&affinity[kind][PREFERRED]);
            let read = |one: &Value| {
                let weight = one["weight"].as_i64().unwrap_or(0).clamp(0, 100);
                (
                    sign * weight,
                    Term::read(&one["podAffinityTerm"], namespace, labels),
                )
            };
            all.iter().map(read).collect::<Vec<_>>()
        };
        let mut both = preferred("podAffinity", 1);
        both.extend(preferred("podAntiAffinity", -1));
        let spread = list(&spec["topologySpreadConstraints"]);
        Terms {
            affinity: required("podAffinity"),
            anti_affinity: required("podAntiAffinity"),
            preferred: both,
            spread: spread
                .iter()
                .map(|one| Spread::read(one, namespace, labels))
                .collect(),
        }
    }

    /// Whether it asks for nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.affinity.is_empty()
            && self.anti_affinity.is_empty()
            && self.preferred.is_empty()
            && self.spread.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Town(BTreeMap<&'static str, Map<String, Value>>);

    impl NamespaceLabels for Town {
        fn labels_of(&self, namespace: &str) -> Option<&Map<String, Value>> {
            self.0.get(namespace)
        }
    }

    fn map(labels: Value) -> Map<String, Value> {
        labels.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn terms_select_by_namespace_and_labels() {
        let town = Town([("n", map(json!({}))), ("m", map(json!({"team": "x"})))].into());
        let own = map(json!({"app": "a", "rev": "2"}));
        let app = json!({"matchLabels": {"app": "a"}});
        let table = [
            (
                json!({"labelSelector": app}),
                "n",
                json!({"app": "a"}),
                true,
            ),
            (
                json!({"labelSelector": app}),
                "n",
                json!({"app": "b"}),
                false,
            ),
            (
                json!({"labelSelector": app}),
                "m",
                json!({"app": "a"}),
                false,
            ),
            (
                json!({"labelSelector": app, "namespaces": ["m"]}),
                "m",
                json!({"app": "a"}),
                true,
            ),
            (
                json!({"labelSelector": app, "namespaces": ["m"]}),
                "n",
                json!({"app": "a"}),
                false,
            ),
            (
                json!({"labelSelector": app, "namespaceSelector": {"matchLabels": {"team": "x"}}}),
                "m",
                json!({"app": "a"}),
                true,
            ),
            (
                json!({"labelSelector": app, "namespaceSelector": {"matchLabels": {"team": "x"}}}),
                "n",
                json!({"app": "a"}),
                false,
            ),
            // An empty selector is for all namespaces, one that is not there for none.
            (
                json!({"labelSelector": app, "namespaceSelector": {}}),
                "n",
                json!({"app": "a"}),
                true,
            ),
            (json!({"labelSelector": {}}), "n", json!({}), true),
            (json!({}), "n", json!({}), false),
            (
                json!({"labelSelector": app, "matchLabelKeys": ["rev", "none"]}),
                "n",
                json!({"app": "a", "rev": "2"}),
                true,
            ),
            (
                json!({"labelSelector": app, "matchLabelKeys": ["rev"]}),
                "n",
                json!({"app": "a", "rev": "1"}),
                false,
            ),
            (
                json!({"labelSelector": app, "mismatchLabelKeys": ["rev"]}),
                "n",
                json!({"app": "a", "rev": "2"}),
                false,
            ),
            (
                json!({"labelSelector": app, "mismatchLabelKeys": ["rev"]}),
                "n",
                json!({"app": "a", "rev": "1"}),
                true,
            ),
            (
                json!({"labelSelector": {"matchExpressions": [{"key": "a", "operator": "?"}]}}),
                "n",
                json!({"a": "1"}),
                false,
            ),
        ];
        for (term, namespace, labels, expected) in table {
            let read = Term::read(&term, "n", Some(&own));
            let labels = map(labels);
            assert_eq!(
                read.matches(namespace, Some(&labels), &town),
                expected,
                "{term} {namespace}"
            );
        }
    }

    #[test]
    fn what_is_about_the_same_pods_is_counted_once() {
        let term = |value: Value| Term::read(&value, "n", None);
        let selector = json!({"matchLabels": {"a": "b"}});
        let zone = term(json!({"labelSelector": selector, "topologyKey": "zone"}));
        let host =
            term(json!({"labelSelector": selector, "topologyKey": "host", "namespaces": ["n"]}));
        assert_eq!(zone.about, host.about);
        assert_eq!(zone.only_namespace(), Some("n"));
        let all = term(json!({"labelSelector": selector, "namespaceSelector": {}}));
        assert_ne!(zone.about, all.about);
        assert_eq!(all.only_namespace(), None);
    }

    #[test]
    fn everything_of_a_pod_is_read() {
        let term = json!({"labelSelector": {}, "topologyKey": "k"});
        let weighted = |weight: i64| json!([{"weight": weight, "podAffinityTerm": term}]);
        let spec = json!({
            "affinity": {
                "podAffinity": {REQUIRED: [term], PREFERRED: weighted(3)},
                "podAntiAffinity": {REQUIRED: [term, term], PREFERRED: weighted(500)},
            },
            "topologySpreadConstraints": [
                {"maxSkew": 2, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 4},
                {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway",
                    "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor"},
            ],
        });
        let terms = Terms::read(&spec, "n", None);
        assert_eq!((terms.affinity.len(), terms.anti_affinity.len()), (1, 2));
        let weights: Vec<i64> = terms.preferred.iter().map(|(weight, _)| *weight).collect();
        assert_eq!(weights, [3, -100]);
        let [hard, soft] = &terms.spread[..] else {
            panic!("two constraints")
        };
        assert_eq!(
            (hard.skew_max, hard.domains_min, hard.is_required),
            (2, 4, true)
        );
        assert!(hard.honors_node_rule && !hard.honors_taints);
        assert_eq!((soft.domains_min, soft.is_required), (1, false));
        assert!(!soft.honors_node_rule && soft.honors_taints);
        assert!(!terms.is_empty() && Terms::read(&json!({}), "n", None).is_empty());
    }
}
