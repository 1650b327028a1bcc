//! ReplicaSets, and ReplicationControllers, which are the same with a plain map as their selector:
//! so many pods of one template. Pods come in by their controller reference, what is missing is
//! made, what is too many is deleted, and the status says how many there are.
//!
//! A pod counts while it has not ended and is not being deleted. The status is written before
//! pods are made and deleted: it says what was seen, and an error that comes again and again does
//! not keep it from being said. (Kubernetes documentation, "ReplicaSet" and
//! "ReplicationController".)

mod victims;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    conditions::{self, Condition, Times},
    owners::{self, Claims},
    pods, scale,
    world::{self, BURST, Change, Event, Plan, Step, View},
};
use crate::core::{
    kinds::{self, Kind, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS},
    lifecycle::Deletion,
    object::{self, Name},
    selector::LabelSelector,
    time::format_rfc3339,
};

/// The kinds that are planned for here.
const KINDS: [&Kind; 2] = [&REPLICA_SETS, &REPLICATION_CONTROLLERS];
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Who tells of what was done.
fn component(kind: &Kind) -> &'static str {
    match kind == &REPLICATION_CONTROLLERS {
        true => "replication-controller",
        false => "replicaset-controller",
    }
}

/// What to do about one of them. `failed`: why the last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let Some(set) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let about = || world::reference(key.kind, &set);
    // As of others, see `owners::selector`.
    let Ok(selector) = scale::selector(key.kind, &set) else {
        return Plan::default();
    };
    let Claims { owned, steps } = owners::claim(view, key.kind, &set, &PODS, &selector);
    let active: Vec<Arc<Value>> = owned
        .iter()
        .filter(|pod| pods::is_active(pod))
        .cloned()
        .collect();
    let wanted = wanted(&set);
    let mut plan = Plan::default();
    let status = status(key.kind, &set, &owned, &active, now_ms, failed);
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
            let event = Event::normal(component(key.kind), about(), "SuccessfulDelete", message);
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
    kind: &Kind,
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
    if kind == &REPLICA_SETS {
        let terminating = owned.iter().filter(|pod| pods::is_terminating(pod));
        status["terminatingReplicas"] = json!(terminating.count());
    }
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
        let event = Event::normal(
            component(key.kind),
            about.clone(),
            "SuccessfulCreate",
            message,
        );
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

/// Which of them a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    if KINDS.contains(&change.kind) {
        return change.name().into_iter().collect();
    }
    let mut keys = Vec::new();
    if change.kind == &PODS {
        for pod in change.sides() {
            match object::controller(pod) {
                Some(owner) => touched_owner(view, pod, owner, &mut keys),
                None => touched_adopters(view, pod, &mut keys),
            }
        }
    }
    keys
}

fn touched_owner(view: &dyn View, pod: &Value, owner: &Value, keys: &mut Vec<Name>) {
    let name = owner["name"].as_str().unwrap_or_default();
    for kind in KINDS {
        let set = view.get(kind, object::namespace(pod), name);
        if let Some(set) = set.filter(|set| owner["uid"] == object::uid(set)) {
            world::push_once(keys, Name::of(kind, &set));
        }
    }
}

/// Those that may take a pod that nobody controls.
fn touched_adopters(view: &dyn View, pod: &Value, keys: &mut Vec<Name>) {
    for kind in KINDS {
        for set in view.list(kind, Some(object::namespace(pod))) {
            let selector = scale::selector(kind, &set);
            if selector.is_ok_and(|selector| owners::selects(&selector, pod)) {
                world::push_once(keys, Name::of(kind, &set));
            }
        }
    }
}
