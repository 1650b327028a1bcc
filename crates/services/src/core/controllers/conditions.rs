//! `status.conditions`: what holds of an object, since when, and why (Kubernetes API conventions,
//! "Typical status properties").

use serde_json::{Value, json};

/// What is to be said.
#[derive(Clone, Debug)]
pub(super) struct Condition<'a> {
    /// `type`, as `Available`.
    pub(super) name: &'a str,
    /// `True`, `False`, `Unknown`.
    pub(super) status: &'a str,
    /// In one word.
    pub(super) reason: &'a str,
    /// In words.
    pub(super) message: &'a str,
}

/// Which times the conditions of a kind have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// `lastTransitionTime`.
    Transition,
    /// And `lastUpdateTime`.
    TransitionAndUpdate,
}

/// The condition of this type.
pub(super) fn find<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    let mut all = status["conditions"].as_array()?.iter();
    all.find(|condition| condition["type"] == name)
}

/// Takes a condition out.
pub(super) fn remove(status: &mut Value, name: &str) {
    let Some(fields) = status.as_object_mut() else {
        return;
    };
    let Some(all) = fields.get_mut("conditions").and_then(Value::as_array_mut) else {
        return;
    };
    all.retain(|condition| condition["type"] != name);
    if all.is_empty() {
        fields.remove("conditions");
    }
}

/// Says a condition, unless its status and reason are known already: so nothing is written again
/// because of other words. `now` is when.
pub(super) fn set(status: &mut Value, condition: &Condition<'_>, now: &str, times: Times) {
    let is_known = find(status, condition.name)
        .is_some_and(|old| old["status"] == condition.status && old["reason"] == condition.reason);
    if !is_known {
        put(status, condition, now, times);
    }
}

/// Says a condition anew. The time of its last transition stays if its status does.
pub(super) fn put(status: &mut Value, condition: &Condition<'_>, now: &str, times: Times) {
    let old = find(status, condition.name);
    let since = old
        .filter(|old| old["status"] == condition.status)
        .and_then(|old| old["lastTransitionTime"].as_str())
        .unwrap_or(now)
        .to_owned();
    let mut new = json!({
        "type": condition.name,
        "status": condition.status,
        "lastTransitionTime": since,
        "reason": condition.reason,
        "message": condition.message,
    });
    if times == Times::TransitionAndUpdate {
        new["lastUpdateTime"] = json!(now);
    }
    remove(status, condition.name);
    let fields = status.as_object_mut().expect("a status is an object");
    let all = fields.entry("conditions").or_insert_with(|| json!([]));
    if let Some(all) = all.as_array_mut() {
        all.push(new);
    }
}

/// Writes a number of a status; zero is left out, as Kubernetes does.
pub(super) fn set_count(status: &mut Value, field: &str, count: i64) {
    let fields = status.as_object_mut().expect("a status is an object");
    match count {
        0 => fields.remove(field),
        count => fields.insert(field.to_owned(), json!(count)),
    };
}

/// A status to begin with: the one that is there, or an empty one.
pub(super) fn status_of(object: &Value) -> Value {
    match &object["status"] {
        status @ Value::Object(_) => status.clone(),
        _ => json!({}),
    }
}
