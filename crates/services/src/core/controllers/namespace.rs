//! The end of a namespace: all that is in it is deleted, kind by kind, and once nothing is left
//! its finalizer `kubernetes` goes, and with it the namespace (Kubernetes documentation,
//! "Namespaces"; `namespace/finalize`).
//!
//! It builds on that nothing new is made in a namespace that is being deleted: what is empty at
//! one revision then stays empty.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    conditions::{self, Condition, Times},
    world::{self, BURST, Change, Plan, Step, View},
};
use crate::core::{
    kinds::{KINDS, Kind, NAMESPACES},
    lifecycle::NAMESPACE_FINALIZER,
    object::{self, Name},
    time::format_rfc3339,
};

/// What to do about one namespace.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64) -> Plan {
    let Some(namespace) = view.get(key.kind, "", &key.name) else {
        return Plan::default();
    };
    if !object::is_being_deleted(&namespace) || !is_held(&namespace) {
        return Plan::default();
    }
    let left: Vec<(&'static Kind, Vec<Arc<Value>>)> = KINDS
        .iter()
        .filter(|kind| kind.is_namespaced)
        .map(|kind| (*kind, view.list(kind, Some(&key.name))))
        .filter(|(_, objects)| !objects.is_empty())
        .collect();
    if left.is_empty() {
        return Plan::of(vec![finalize(&namespace)]);
    }
    let mut steps = Vec::new();
    let status = status(&namespace, &left, &format_rfc3339(now_ms));
    if namespace["status"] != status {
        let mut object = (*namespace).clone();
        object["status"] = status;
        let kind = &NAMESPACES;
        steps.push(Step::UpdateStatus { kind, object });
    }
    let of_kind = |(kind, objects): &(&'static Kind, Vec<Arc<Value>>)| {
        let kind = *kind;
        let standing = objects.clone().into_iter();
        let standing = standing.filter(|object| !object::is_being_deleted(object));
        standing.map(move |object| world::delete(kind, &object))
    };
    steps.extend(left.iter().flat_map(of_kind).take(BURST));
    Plan::of(steps)
}

fn is_held(namespace: &Value) -> bool {
    let left = namespace["spec"]["finalizers"].as_array();
    left.is_some_and(|left| left.iter().any(|one| one == NAMESPACE_FINALIZER))
}

fn finalize(namespace: &Value) -> Step {
    let mut namespace = namespace.clone();
    if let Some(left) = namespace["spec"]["finalizers"].as_array_mut() {
        left.retain(|one| one != NAMESPACE_FINALIZER);
    }
    Step::Finalize { namespace }
}

fn status(namespace: &Value, left: &[(&'static Kind, Vec<Arc<Value>>)], now: &str) -> Value {
    let mut status = conditions::status_of(namespace);
    status["phase"] = json!("Terminating");
    let resources: Vec<String> = left
        .iter()
        .map(|(kind, objects)| {
            let count = objects.len();
            format!("{} has {count} resource instances", resource(kind))
        })
        .collect();
    let message = format!("Some resources are remaining: {}", resources.join(", "));
    tell(
        &mut status,
        "NamespaceContentRemaining",
        "SomeResourcesRemain",
        &message,
        now,
    );
    let finalizers = finalizers(left);
    if !finalizers.is_empty() {
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            finalizers.join(", ")
        );
        let name = "NamespaceFinalizersRemaining";
        tell(&mut status, name, "SomeFinalizersRemain", &message, now);
    } else {
        conditions::remove(&mut status, "NamespaceFinalizersRemaining");
    }
    status
}

fn tell(status: &mut Value, name: &str, reason: &str, message: &str, now: &str) {
    let is_known = conditions::find(status, name).is_some_and(|old| old["message"] == message);
    if !is_known {
        let condition = Condition {
            name,
            status: "True",
            reason,
            message,
        };
        conditions::put(status, &condition, now, Times::Transition);
    }
}

/// `pods.`; `deployments.apps`.
fn resource(kind: &Kind) -> String {
    format!("{}.{}", kind.plural, kind.group)
}

fn finalizers(left: &[(&'static Kind, Vec<Arc<Value>>)]) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::new();
    for object in left.iter().flat_map(|(_, objects)| objects) {
        for finalizer in object::finalizers(object) {
            *counts.entry(finalizer).or_insert(0_usize) += 1;
        }
    }
    let told = counts
        .into_iter()
        .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"));
    told.collect()
}

/// Which namespaces a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let Some(name) = change.name() else {
        return Vec::new();
    };
    if change.kind == &NAMESPACES {
        return vec![name];
    }
    let space = view.get(&NAMESPACES, "", &name.namespace);
    let space = space.filter(|space| object::is_being_deleted(space));
    let key = space.map(|space| Name::of(&NAMESPACES, &space));
    key.into_iter().collect()
}
