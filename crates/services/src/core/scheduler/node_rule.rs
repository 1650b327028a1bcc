//! Which nodes a pod is for: `nodeSelector` and `affinity.nodeAffinity`, read once per pod
//! ("Assigning Pods to Nodes"). The terms are alternatives, the requirements of one term hold all.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::core::selector::Operator;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// What is asked of one label or field of a node. Values need not be fit for labels here.
#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
    /// What `Gt` and `Lt` compare with.
    bound: Option<i64>,
}

impl Requirement {
    fn read(expression: &Value) -> Option<Requirement> {
        let values = expression["values"].as_array().into_iter().flatten();
        let values: BTreeSet<String> = values
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let bound = values.first().and_then(|value| value.parse().ok());
        Some(Requirement {
            key: expression["key"].as_str()?.to_owned(),
            operator: Operator::of_expression(expression["operator"].as_str()?)?,
            values,
            bound: bound.filter(|_| {
                expression["values"]
                    .as_array()
                    .is_some_and(|it| it.len() == 1)
            }),
        })
    }

    fn holds(&self, found: Option<&str>) -> bool {
        let compares = |holds: fn(&i64, &i64) -> bool| {
            let value = found.and_then(|found| found.parse().ok());
            matches!((value, self.bound), (Some(value), Some(bound)) if holds(&value, &bound))
        };
        match self.operator {
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::Equals | Operator::In => found.is_some_and(|it| self.values.contains(it)),
            Operator::NotEquals | Operator::NotIn => {
                !found.is_some_and(|it| self.values.contains(it))
            }
            Operator::GreaterThan => compares(i64::gt),
            Operator::LessThan => compares(i64::lt),
        }
    }
}

/// Requirements of labels and of fields, which all hold.
#[derive(Clone, Debug, PartialEq)]
struct Term {
    labels: Vec<Requirement>,
    /// Of `metadata.name`, the only field there is.
    names: Vec<Requirement>,
    /// Whether it is empty or can't be understood: then it is for no node.
    is_for_none: bool,
}

impl Term {
    fn read(term: &Value) -> Term {
        let mut is_for_none = false;
        let mut list = |field: &str| {
            let all = term[field]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let read: Vec<Requirement> = all.iter().filter_map(Requirement::read).collect();
            is_for_none |= read.len() != all.len();
            read
        };
        let (labels, names) = (list("matchExpressions"), list("matchFields"));
        is_for_none |= labels.is_empty() && names.is_empty();
        is_for_none |= names.iter().any(|it| it.key != "metadata.name");
        Term {
            labels,
            names,
            is_for_none,
        }
    }

    fn holds(&self, name: &str, labels: &Map<String, Value>) -> bool {
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        !self.is_for_none
            && self.names.iter().all(|it| it.holds(Some(name)))
            && self.labels.iter().all(|it| it.holds(label(&it.key)))
    }
}

/// Which nodes a pod is for, and which of them it likes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeRule {
    selector: Vec<(String, String)>,
    /// None: any node.
    required: Option<Vec<Term>>,
    preferred: Vec<(i64, Term)>,
}

impl NodeRule {
    /// That of a pod.
    pub(crate) fn read(spec: &Value) -> NodeRule {
        let selector = spec["nodeSelector"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let affinity = &spec["affinity"]["nodeAffinity"];
        let required = affinity[REQUIRED].as_object().map(|required| {
            let terms = required.get("nodeSelectorTerms").and_then(Value::as_array);
            terms.into_iter().flatten().map(Term::read).collect()
        });
        let preferred = affinity[PREFERRED].as_array().into_iter().flatten();
        let preferred = preferred.filter_map(|one| {
            let weight = one["weight"].as_i64().filter(|weight| *weight > 0)?;
            Some((weight.min(100), Term::read(&one["preference"])))
        });
        NodeRule {
            selector: selector
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            required,
            preferred: preferred.collect(),
        }
    }

    /// Whether a pod may come to a node.
    pub(crate) fn allows(&self, name: &str, labels: &Map<String, Value>) -> bool {
        let is = |(key, value): &(String, String)| {
            labels.get(key).and_then(Value::as_str) == Some(value.as_str())
        };
        let holds = |term: &Term| term.holds(name, labels);
        self.selector.iter().all(is)
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(holds))
    }

    /// The only nodes that it can be for, if each term names some, as a DaemonSet's pods do; none:
    /// any node has to be looked at.
    pub(super) fn names(&self) -> Option<BTreeSet<&str>> {
        let mut all = BTreeSet::new();
        for term in self.required.as_ref()? {
            let is_list = |one: &&Requirement| one.operator == Operator::In;
            let named = term.names.iter().find(is_list)?;
            all.extend(named.values.iter().map(String::as_str));
        }
        Some(all)
    }

    /// Whether it likes some nodes more than others.
    pub(super) fn has_preference(&self) -> bool {
        !self.preferred.is_empty()
    }

    /// How much it likes a node.
    pub(super) fn preference(&self, name: &str, labels: &Map<String, Value>) -> i64 {
        let holds = self
            .preferred
            .iter()
            .filter(|(_, term)| term.holds(name, labels));
        holds.map(|(weight, _)| weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels() -> Map<String, Value> {
        let labels = json!({"zone": "a", "cores": "8", "disk": "ssd", "odd": "x_/y"});
        labels.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn selectors_and_required_terms() {
        let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let field = |operator: &str, name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]});
        let terms = |terms: Value| json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}});
        let one = |term: Value| terms(json!([term]));
        let table = [
            (json!({}), true),
            (json!({"nodeSelector": {"zone": "a", "disk": "ssd"}}), true),
            (json!({"nodeSelector": {"zone": "a", "disk": "hdd"}}), false),
            (json!({"nodeSelector": {"none": ""}}), false),
            (one(expression("zone", "In", json!(["b", "a"]))), true),
            (one(expression("zone", "In", json!(["b"]))), false),
            (one(expression("odd", "In", json!(["x_/y"]))), true),
            (one(expression("zone", "NotIn", json!(["b"]))), true),
            (one(expression("none", "NotIn", json!(["b"]))), true),
            (one(expression("zone", "NotIn", json!(["a"]))), false),
            (one(expression("zone", "Exists", json!([]))), true),
            (one(expression("none", "Exists", json!([]))), false),
            (one(expression("none", "DoesNotExist", json!([]))), true),
            (one(expression("cores", "Gt", json!(["7"]))), true),
            (one(expression("cores", "Gt", json!(["8"]))), false),
            (one(expression("cores", "Lt", json!(["9"]))), true),
            (one(expression("zone", "Lt", json!(["9"]))), false),
            (one(expression("cores", "Gt", json!(["7", "1"]))), false),
            (one(expression("cores", "Like", json!(["8"]))), false),
            (one(field("In", "n1")), true),
            (one(field("NotIn", "n1")), false),
            (
                one(
                    json!({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["n1"]}]}),
                ),
                false,
            ),
            // Terms are alternatives; an empty one is for no node, and so is an empty list.
            (
                terms(json!([
                    field("In", "n2"),
                    expression("zone", "Exists", json!([]))
                ])),
                true,
            ),
            (terms(json!([{}])), false),
            (terms(json!([])), false),
            // The requirements of one term hold all.
            (
                one(
                    json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}, {"key": "none", "operator": "Exists"}]}),
                ),
                false,
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(
                NodeRule::read(&spec).allows("n1", &labels()),
                expected,
                "{spec}"
            );
        }
        let mut both = one(field("In", "n1"));
        both["nodeSelector"] = json!({"zone": "b"});
        assert!(!NodeRule::read(&both).allows("n1", &labels()));
    }

    #[test]
    fn nodes_that_are_named() {
        let names = |terms: Value| {
            let required = json!({REQUIRED: {"nodeSelectorTerms": terms}});
            let rule = NodeRule::read(&json!({"affinity": {"nodeAffinity": required}}));
            let names = rule.names()?.into_iter().map(str::to_owned);
            Some(names.collect::<Vec<String>>())
        };
        let field = |operator: &str, values: &[&str]| json!({"key": "metadata.name", "operator": operator, "values": values});
        let label = json!({"key": "disk", "operator": "Exists"});
        let one = json!({"matchFields": [field("In", &["n1"])]});
        let two = json!({"matchExpressions": [label], "matchFields": [field("NotIn", &["n3"]), field("In", &["n2"])]});
        assert_eq!(names(json!([one])), Some(vec!["n1".to_owned()]));
        assert_eq!(
            names(json!([one, two])),
            Some(vec!["n1".to_owned(), "n2".to_owned()])
        );
        assert_eq!(names(json!([one, {"matchExpressions": [label]}])), None);
        assert_eq!(
            names(json!([{"matchFields": [field("NotIn", &["n1"])]}])),
            None
        );
        assert_eq!(NodeRule::read(&json!({})).names(), None);
    }

    #[test]
    fn preferences_add_up() {
        let prefer = |weight: i64, zone: &str| {
            json!({"weight": weight, "preference": {"matchExpressions": [
                {"key": "zone", "operator": "In", "values": [zone]}]}})
        };
        let list = json!([prefer(10, "a"), prefer(5, "a"), prefer(50, "b"), {"weight": 7, "preference": {}}]);
        let rule = NodeRule::read(&json!({"affinity": {"nodeAffinity": {PREFERRED: list}}}));
        assert!(rule.has_preference() && rule.allows("n1", &labels()));
        assert_eq!(rule.preference("n1", &labels()), 15);
    }
}
