//! ReplicaSets: so many pods of one template. Pods come in by their controller reference, what is
//! missing is made, what is too many is deleted, and the status says how many there are.
//!
//! A pod counts while it has not ended and is not being deleted. The status is written before
//! pods are made and deleted: it says what was seen, and an error that comes again and again does
//! not keep it from being said. (Kubernetes documentation, "ReplicaSet".)

mod victims;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    conditions::{self, Condition, Times},
    owners::{self, Claims},
    pods,
    world::{self, BURST, Change, Event, Plan, Step, View},
};
use crate::core::{
    kinds::{self, PODS, REPLICA_SETS},
    lifecycle::Deletion,
    object::{self, Name},
    selector::LabelSelector,
    time::format_rfc3339,
};

const COMPONENT: &str = "replicaset-controller";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What to do about one ReplicaSet. `failed`: why the last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let Some(set) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let about = || world::reference(key.kind, &set);
    let selector = match LabelSelector::from_json(&set["spec"]["selector"]) {
        Ok(selector) => selector,
        Err(why) => {
            let event = Event::warning(COMPONENT, about(), "InvalidSelector", why);
            return Plan::of(vec![event]);
        }
    };
    let Claims { owned, steps } = owners::claim(view, key.kind, &set, &PODS, &selector);
    let active: Vec<Arc<Value>> = owned
        .iter()
        .filter(|pod| pods::is_active(pod))
        .cloned()
        .collect();
    let wanted = wanted(&set);
    let mut plan = Plan::default();
    let status = status(&set, &owned, &active, now_ms, failed);
    if set["status"] != status {
        let mut object = (*set).clone();
        object["status"] = status;
        plan.steps.push(Step::UpdateStatus {
            kind: key.kind,
            object,
        });
    }
    plan.again_in(next_available_ms(&set, &active, now_ms));
    plan.steps.extend(steps);
    if object::is_being_deleted(&set) {
        return plan;
    }
    if active.len() < wanted && !is_namespace_ending(view, &key.namespace) {
        let count = (wanted - active.len()).min(BURST);
        plan.steps.extend(create(view, key, &set, count));
    } else if active.len() > wanted {
        let count = (active.len() - wanted).min(BURST);
        let victims = victims::choose(view, key.kind, &set, active, count, now_ms);
        plan.steps.extend(victims.iter().flat_map(|pod| {
            let message = format!("Deleted pod: {}", object::name(pod));
            let event = Event::normal(COMPONENT, about(), "SuccessfulDelete", message);
            [delete(&set, pod, now_ms), event]
        }));
    }
    plan
}

fn wanted(set: &Value) -> usize {
    let replicas = set["spec"]["replicas"].as_u64().unwrap_or(1);
    usize::try_from(replicas).unwrap_or(usize::MAX)
}

fn min_ready_s(set: &Value) -> u64 {
    set["spec"]["minReadySeconds"].as_u64().unwrap_or_default()
}

fn is_namespace_ending(view: &dyn View, namespace: &str) -> bool {
    let space = view.get(&kinds::NAMESPACES, "", namespace);
    space.is_some_and(|space| object::is_being_deleted(&space))
}

fn next_available_ms(set: &Value, active: &[Arc<Value>], now_ms: u64) -> Option<u64> {
    let min_ready_s = min_ready_s(set);
    let waits = active
        .iter()
        .filter_map(|pod| pods::available_in_ms(pod, min_ready_s, now_ms));
    waits.filter(|ms| *ms > 0).min()
}

fn status(
    set: &Value,
    owned: &[Arc<Value>],
    active: &[Arc<Value>],
    now_ms: u64,
    failed: Option<&str>,
) -> Value {
    let mut status = conditions::status_of(set);
    let min_ready_s = min_ready_s(set);
    let labels = set["spec"]["template"]["metadata"]["labels"].as_object();
    let of_template = labels.map_or_else(LabelSelector::everything, LabelSelector::from_map);
    let count = |is_one: &dyn Fn(&Value) -> bool| {
        i64::try_from(active.iter().filter(|pod| is_one(pod)).count()).unwrap_or(i64::MAX)
    };
    let labeled = count(&|pod| owners::selects(&of_template, pod));
    let available = count(&|pod| pods::is_available(pod, min_ready_s, now_ms));
    conditions::set_count(&mut status, "fullyLabeledReplicas", labeled);
    conditions::set_count(&mut status, "readyReplicas", count(&pods::is_ready));
    conditions::set_count(&mut status, "availableReplicas", available);
    let generation = set["metadata"]["generation"].as_i64().unwrap_or_default();
    conditions::set_count(&mut status, "observedGeneration", generation);
    status["replicas"] = json!(active.len());
    let terminating = owned.iter().filter(|pod| pods::is_terminating(pod));
    status["terminatingReplicas"] = json!(terminating.count());
    match failed {
        Some(message) => {
            let condition = Condition {
                name: REPLICA_FAILURE,
                status: "True",
                reason: match active.len() > wanted(set) {
                    true => "FailedDelete",
                    false => "FailedCreate",
                },
                message,
            };
            let now = format_rfc3339(now_ms);
            conditions::set(&mut status, &condition, &now, Times::Transition);
        }
        None => conditions::remove(&mut status, REPLICA_FAILURE),
    }
    status
}

/// A pod that was chosen because it does nothing yet must not be one that others count on now.
fn delete(set: &Value, pod: &Value, now_ms: u64) -> Step {
    let is_idle = !pods::is_available(pod, min_ready_s(set), now_ms);
    let version = object::meta(pod, "resourceVersion").to_owned();
    Step::Delete {
        name: Name::of(&PODS, pod),
        deletion: Deletion {
            uid: Some(object::uid(pod).to_owned()),
            resource_version: is_idle.then_some(version),
            ..Deletion::default()
        },
    }
}

fn create(view: &dyn View, key: &Name, set: &Value, count: usize) -> Vec<Step> {
    let is_taken = |name: &str| view.get(&PODS, &key.namespace, name).is_some();
    let about = world::reference(key.kind, set);
    let steps = owners::free_names(set, is_taken).take(count);
    let steps = steps.flat_map(|name| {
        let message = format!("Created pod: {name}");
        let event = Event::normal(COMPONENT, about.clone(), "SuccessfulCreate", message);
        let object = new_pod(key, set, &name);
        [
            Step::Create {
                kind: &PODS,
                object,
            },
            event,
        ]
    });
    steps.collect()
}

fn new_pod(key: &Name, set: &Value, name: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = json!({
        "apiVersion": PODS.api_version(),
        "kind": PODS.kind,
        "metadata": {
            "name": name,
            "generateName": owners::base_name(set),
            "namespace": key.namespace,
            "ownerReferences": [owners::controller_reference(key.kind, set)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            pod["metadata"][field] = value.clone();
        }
    }
    pod
}

/// Which ReplicaSets a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &REPLICA_SETS {
        keys.extend(change.name());
    }
    if change.kind != &PODS {
        return keys;
    }
    for pod in change.sides() {
        match object::controller(pod) {
            Some(owner) => {
                let name = owner["name"].as_str().unwrap_or_default();
                let set = view.get(&REPLICA_SETS, object::namespace(pod), name);
                let set = set.filter(|set| owner["uid"] == object::uid(set));
                if let Some(set) = set {
                    world::push_once(&mut keys, Name::of(&REPLICA_SETS, &set));
                }
            }
            None => {
                for set in view.list(&REPLICA_SETS, Some(object::namespace(pod))) {
                    let selector = LabelSelector::from_json(&set["spec"]["selector"]);
                    if selector.is_ok_and(|selector| owners::selects(&selector, pod)) {
                        world::push_once(&mut keys, Name::of(&REPLICA_SETS, &set));
                    }
                }
            }
        }
    }
    keys
}
