//! What of a pod can be changed: images, deadlines, and a few more in one direction only.

use serde_json::Value;

use super::{
    at::{At, Errors},
    equal::are_equal,
};

const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// So many changed fields are told.
const TOLD_MAX: usize = 8;
/// No field of a pod lies deeper.
const DEPTH_MAX: usize = 16;

/// Whether a pod may become another.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (spec, was) = (At::root(new).child("spec"), At::root(old).child("spec"));
    for list in ["containers", "initContainers"] {
        if spec.child(list).count() != was.child(list).count() {
            let why = "pod updates may not add or remove containers";
            return spec.child(list).forbidden(errors, why);
        }
    }
    deadline(&spec, &was, errors);
    tolerations(&spec, &was, errors);
    gates(&spec, &was, errors);
    let munged = with_changeable_of(spec.value(), was.value());
    if are_equal(&munged, was.value()) {
        return;
    }
    let mut changed = Vec::new();
    changes("spec", &munged, was.value(), 0, &mut changed);
    let changed = changed.join(", ");
    spec.forbidden(
        errors,
        format!("pod updates may not change fields other than {CHANGEABLE}\nchanged: {changed}"),
    );
}

/// It may be set, and then only come nearer.
fn deadline(spec: &At<'_>, was: &At<'_>, errors: &mut Errors) {
    let (new, old) = (
        spec.child("activeDeadlineSeconds"),
        was.child("activeDeadlineSeconds"),
    );
    match (new.number(), old.number()) {
        (Some(new_s), Some(old_s)) if new_s > old_s => {
            new.invalid(errors, "must be less than or equal to previous value");
        }
        (None, Some(_)) => {
            new.invalid(
                errors,
                "must not update from a positive integer to nil value",
            );
        }
        _ => {}
    }
}

/// Those that are there stay, but for how long they hold.
fn tolerations(spec: &At<'_>, was: &At<'_>, errors: &mut Errors) {
    let timeless = |at: At<'_>| {
        let mut toleration = at.value().clone();
        if let Some(fields) = toleration.as_object_mut() {
            fields.remove("tolerationSeconds");
        }
        toleration
    };
    let new: Vec<Value> = spec.child("tolerations").items().map(timeless).collect();
    let mut old = was.child("tolerations").items().map(timeless);
    let is_kept = |old: Value| new.iter().any(|new| are_equal(new, &old));
    if !old.all(is_kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        spec.child("tolerations").forbidden(errors, why);
    }
}

fn gates(spec: &At<'_>, was: &At<'_>, errors: &mut Errors) {
    let old = was.child("schedulingGates");
    for gate in spec.child("schedulingGates").items() {
        let name = gate.child("name");
        if !old
            .items()
            .any(|old| old.child("name").text() == name.text())
        {
            let why = "only deletion is allowed, but found new scheduling gate";
            name.forbidden(errors, format!("{why} '{}'", name.text()));
        }
    }
}

/// The new spec with what may be changed as it was.
fn with_changeable_of(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    let Some(spec) = munged.as_object_mut() else {
        return munged;
    };
    let mut take = |field: &str| {
        spec.insert(field.to_owned(), old[field].clone());
    };
    take("activeDeadlineSeconds");
    take("tolerations");
    take("schedulingGates");
    let grace = "terminationGracePeriodSeconds";
    if old[grace].as_i64().is_some_and(|seconds| seconds < 0) && new[grace] == 1 {
        take(grace);
    }
    let is_gated = old["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty());
    if is_gated && contains(&new["nodeSelector"], &old["nodeSelector"]) {
        take("nodeSelector");
    }
    for list in ["containers", "initContainers"] {
        let new = spec.get_mut(list).and_then(Value::as_array_mut);
        let old = old[list].as_array().into_iter().flatten();
        for (new, old) in new.into_iter().flatten().zip(old) {
            if let Some(container) = new.as_object_mut() {
                container.insert("image".to_owned(), old["image"].clone());
            }
        }
    }
    munged
}

/// Whether a map has all that another has.
fn contains(map: &Value, other: &Value) -> bool {
    let other = other.as_object().into_iter().flatten();
    let mut other = other.into_iter();
    other.all(|(key, value)| map[key] == *value)
}

/// Where two values differ.
fn changes(path: &str, new: &Value, old: &Value, depth: usize, found: &mut Vec<String>) {
    if found.len() >= TOLD_MAX || are_equal(new, old) {
        return;
    }
    match (new, old) {
        (Value::Object(new), Value::Object(old)) if depth < DEPTH_MAX => {
            let added = old.keys().filter(|key| !new.contains_key(*key));
            for key in new.keys().chain(added) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (new, old) = (of(new).unwrap_or_default(), of(old).unwrap_or_default());
                changes(&format!("{path}.{key}"), &new, &old, depth + 1, found);
            }
        }
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() && depth < DEPTH_MAX => {
            for (index, (new, old)) in new.iter().zip(old).enumerate() {
                changes(&format!("{path}[{index}]"), new, old, depth + 1, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
    // A map that means the same in each of its fields, but not as a whole.
    if found.is_empty() && depth == 0 {
        found.push(path.to_owned());
    }
}
