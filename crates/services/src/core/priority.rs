//! Priorities: a pod names a class, and gets its number when it is made; from then on the number
//! counts, and the class may go. A new pod and all classes go in, the pod comes out with its
//! `priority`, `preemptionPolicy` and, if it named none, the default class's name (Kubernetes
//! documentation, "Pod Priority and Preemption"; the admission plugin `Priority`).
//!
//! To be asked before defaults are set: they would give each pod without a class the number 0.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{object, status::Failure};

/// The classes that are always there, for what a cluster can't do without.
pub const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];
/// How its class's pods behave if a class does not say.
const POLICY: &str = "PreemptLowerPriority";

/// What a class gives.
struct Class {
    name: String,
    priority: i64,
    policy: String,
}

impl Class {
    fn of(class: &Value) -> Class {
        Class {
            name: object::name(class).to_owned(),
            priority: class["value"].as_i64().unwrap_or_default(),
            policy: class["preemptionPolicy"]
                .as_str()
                .unwrap_or(POLICY)
                .to_owned(),
        }
    }

    fn system(name: &str) -> Option<Class> {
        let (name, priority) = SYSTEM_CLASSES
            .into_iter()
            .find(|(known, _)| *known == name)?;
        Some(Class {
            name: name.to_owned(),
            priority,
            policy: POLICY.to_owned(),
        })
    }
}

/// Gives a new pod its priority.
///
/// # Errors
/// Its class is not there, or it says another priority than its class.
pub fn resolve(pod: &mut Value, classes: &[Arc<Value>]) -> Result<(), Failure> {
    let named = pod["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default();
    let class = match named {
        "" => default_class(classes).unwrap_or(Class {
            name: String::new(),
            priority: 0,
            policy: POLICY.to_owned(),
        }),
        named => {
            let found = classes.iter().find(|class| object::name(class) == named);
            let class = Class::system(named).or_else(|| found.map(|class| Class::of(class)));
            class.ok_or_else(|| {
                forbidden(
                    pod,
                    &format!("no PriorityClass with name {named} was found"),
                )
            })?
        }
    };
    agrees(pod, &class)?;
    let spec = object::child_mut(pod, "spec");
    if !class.name.is_empty() {
        spec.insert("priorityClassName".to_owned(), json!(class.name));
    }
    spec.insert("priority".to_owned(), json!(class.priority));
    spec.insert("preemptionPolicy".to_owned(), json!(class.policy));
    Ok(())
}

/// The class of pods that name none: of several, that of the lowest priority.
fn default_class(classes: &[Arc<Value>]) -> Option<Class> {
    let defaults = classes
        .iter()
        .filter(|class| class["globalDefault"] == true);
    defaults
        .map(|class| Class::of(class))
        .min_by_key(|class| class.priority)
}

/// What a pod says itself has to be what its class says.
fn agrees(pod: &Value, class: &Class) -> Result<(), Failure> {
    let spec = &pod["spec"];
    if let Some(priority) = spec["priority"].as_i64()
        && priority != class.priority
    {
        let why = format!(
            "the integer value of priority ({priority}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            class.priority
        );
        return Err(forbidden(pod, &why));
    }
    if let Some(policy) = spec["preemptionPolicy"].as_str()
        && !policy.is_empty()
        && policy != class.policy
    {
        let why = format!(
            "the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            class.policy
        );
        return Err(forbidden(pod, &why));
    }
    Ok(())
}

fn forbidden(pod: &Value, why: &str) -> Failure {
    let name = match object::name(pod) {
        "" => object::meta(pod, "generateName"),
        name => name,
    };
    Failure::forbidden("", "pods", name, why)
}

/// Whether a class may be written as it is: there is one default.
///
/// # Errors
/// Another class is the default already.
pub fn admit_class(class: &Value, classes: &[Arc<Value>]) -> Result<(), Failure> {
    let name = object::name(class);
    let is_other =
        |other: &&Arc<Value>| other["globalDefault"] == true && object::name(other) != name;
    match classes.iter().find(is_other) {
        Some(other) if class["globalDefault"] == true => {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                object::name(other)
            );
            Err(Failure::forbidden(
                "scheduling.k8s.io",
                "priorityclasses",
                name,
                &why,
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, value: i64, more: &[(&str, Value)]) -> Arc<Value> {
        let mut class = json!({"metadata": {"name": name}, "value": value});
        for (field, value) in more {
            class[*field] = value.clone();
        }
        Arc::new(class)
    }

    fn resolved(spec: Value, classes: &[Arc<Value>]) -> Result<Value, String> {
        let mut pod = json!({"metadata": {"generateName": "web-"}, "spec": spec});
        let outcome = resolve(&mut pod, classes);
        outcome
            .map(|()| pod["spec"].take())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn a_pod_gets_its_classs_number() {
        let classes = [
            class("high", 1_000, &[("preemptionPolicy", json!("Never"))]),
            class("usual", 10, &[("globalDefault", json!(true))]),
            class("less", 5, &[("globalDefault", json!(true))]),
        ];
        for (spec, expected) in [
            (
                json!({"priorityClassName": "high"}),
                ("high", 1_000, "Never"),
            ),
            (
                json!({"priorityClassName": "high", "priority": 1_000}),
                ("high", 1_000, "Never"),
            ),
            (json!({}), ("less", 5, POLICY)),
            (
                json!({"priorityClassName": "system-node-critical"}),
                ("system-node-critical", 2_000_001_000, POLICY),
            ),
            (
                json!({"priorityClassName": "system-cluster-critical"}),
                ("system-cluster-critical", 2_000_000_000, POLICY),
            ),
        ] {
            let (name, priority, policy) = expected;
            let expected = json!({
                "priorityClassName": name, "priority": priority, "preemptionPolicy": policy,
            });
            assert_eq!(resolved(spec, &classes), Ok(expected));
        }
        let none = json!({"priority": 0, "preemptionPolicy": POLICY});
        assert_eq!(resolved(json!({}), &[]), Ok(none));
    }

    #[test]
    fn refusals_read_as_kubernetes_writes_them() {
        let classes = [class("high", 1_000, &[])];
        for (spec, why) in [
            (
                json!({"priorityClassName": "x"}),
                "pods \"web-\" is forbidden: no PriorityClass with name x was found",
            ),
            (
                json!({"priorityClassName": "high", "priority": 7}),
                "pods \"web-\" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name",
            ),
            (
                json!({"preemptionPolicy": "Never"}),
                "pods \"web-\" is forbidden: the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name",
            ),
        ] {
            assert_eq!(resolved(spec, &classes), Err(why.to_owned()));
        }
    }

    #[test]
    fn there_is_one_default() {
        let default = [("globalDefault", json!(true))];
        let classes = [class("usual", 10, &default)];
        let admitted = |class: &Value| admit_class(class, &classes);
        assert_eq!(admitted(&class("usual", 10, &default)), Ok(()));
        assert_eq!(admitted(&class("other", 10, &[])), Ok(()));
        let refused = admitted(&class("other", 10, &default)).unwrap_err();
        assert_eq!(
            refused.message,
            "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"
        );
    }
}
