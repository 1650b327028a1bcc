//! What a client left open, decided: an object goes in as it was written and comes out with
//! Kubernetes' defaults in it (`pkg/apis/*/v1/defaults.go` of release 1.37, and what its
//! strategies and the admission of priorities and service accounts add), so that everything
//! behind finds each field that always has a value.
//!
//! A default never changes what a client has written, but for the writing of quantities. To
//! default a second time changes nothing. A field of a wrong type is left as it is.

mod pod;
mod service;
mod workload;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{kinds::Kind, quantity};

type Object = Map<String, Value>;

/// Sets what is left open in an object of a kind.
pub fn default(kind: &Kind, object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(object),
        ("", "Service") => service::service(object),
        ("", "Endpoints") => service::endpoints(object),
        ("", "Namespace") => namespace(object),
        ("", "Node") => node(object),
        ("", "Secret") => secret(object),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => workload::cron_job(object),
        ("discovery.k8s.io", "EndpointSlice") => service::endpoint_slice(object),
        ("networking.k8s.io", "NetworkPolicy") => service::network_policy(object),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(kind, object),
        ("scheduling.k8s.io", "PriorityClass") => {
            text(object, "preemptionPolicy", "PreemptLowerPriority");
        }
        _ => {}
    }
}

/// Data may be written as text, and is kept as bytes only.
fn secret(object: &mut Object) {
    text(object, "type", "Opaque");
    if !object.get("stringData").is_some_and(Value::is_object) {
        return;
    }
    let Some(Value::Object(written)) = object.remove("stringData") else {
        return;
    };
    if let Some(data) = child(object, "data") {
        let texts = written
            .iter()
            .filter_map(|(key, text)| Some((key, text.as_str()?)));
        data.extend(texts.map(|(key, text)| (key.clone(), json!(STANDARD.encode(text)))));
    }
}

fn namespace(object: &mut Object) {
    let name = object
        .get("metadata")
        .and_then(|meta| meta["name"].as_str());
    let name = name.unwrap_or_default().to_owned();
    if let Some(labels) = child(object, "metadata").and_then(|meta| child(meta, "labels"))
        && !name.is_empty()
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
}

fn node(object: &mut Object) {
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    for list in ["capacity", "allocatable"] {
        quantities(status, list);
    }
    if let Some(capacity) = status.get("capacity").cloned() {
        absent(status, "allocatable", capacity);
    }
}

fn autoscaler(kind: &Kind, object: &mut Object) {
    let Some(spec) = child(object, "spec") else {
        return;
    };
    absent(spec, "minReplicas", json!(1));
    if kind.version == "v2" && is_absent(spec, "metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let cpu = json!({"name": "cpu", "target": target});
        spec.insert(
            "metrics".to_owned(),
            json!([{"type": "Resource", "resource": cpu}]),
        );
    }
}

/// Whether a field has nothing: it is not there, null, or an empty text, list or map.
fn is_absent(object: &Object, field: &str) -> bool {
    match object.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(_) => false,
    }
}

/// Sets a field that is not there, or null.
fn absent(object: &mut Object, field: &str, value: Value) {
    if object.get(field).is_none_or(Value::is_null) {
        object.insert(field.to_owned(), value);
    }
}

/// Sets a text that is not there, or empty.
fn text(object: &mut Object, field: &str, value: &str) {
    if is_absent(object, field) {
        object.insert(field.to_owned(), json!(value));
    }
}

/// Sets a number that is not there, or zero.
fn number(object: &mut Object, field: &str, value: i64) {
    if object
        .get(field)
        .is_none_or(|found| found.is_null() || *found == 0)
    {
        object.insert(field.to_owned(), json!(value));
    }
}

/// A field's object, made if it is not there; none if it is something else.
fn child<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    absent(object, field, json!({}));
    present(object, field)
}

/// A field's object, if it is there.
fn present<'a>(object: &'a mut Object, field: &str) -> Option<&'a mut Object> {
    object.get_mut(field).and_then(Value::as_object_mut)
}

/// The objects of a list; none if it is not there.
fn items<'a>(object: &'a mut Object, field: &str) -> impl Iterator<Item = &'a mut Object> {
    let list = object.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Writes each quantity of a map as Kubernetes would, rounded up to thousandths.
fn quantities(object: &mut Object, field: &str) {
    for value in present(object, field).into_iter().flat_map(Map::values_mut) {
        if let Some(quantity) = quantity::of(value) {
            *value = json!(quantity.to_milli().to_string());
        }
    }
}

#[cfg(test)]
mod tests;
