//! How many replicas there are to be, as `autoscaling/v1 Scale`.

use serde_json::{Value, json};

use crate::core::{
    controllers::scale,
    kinds::Kind,
    object,
    status::{Failure, FieldError},
};

/// The scale of an object.
pub(super) fn of(kind: &Kind, object: &Value) -> Value {
    let meta = &object["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
            "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)},
    });
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|it| *it > 0) {
        scale["spec"]["replicas"] = json!(replicas);
    }
    if let Ok(selector) = scale::selector(kind, object) {
        scale["status"]["selector"] = json!(selector.to_string());
    }
    scale
}

/// The object with the replicas of a scale that was sent.
///
/// # Errors
/// It says no number of replicas that can be.
pub(super) fn with(kind: &'static Kind, object: &Value, scale: &Value) -> Result<Value, Failure> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 || i32::try_from(replicas).is_err() {
        let error = FieldError::invalid(
            "spec.replicas",
            &json!(replicas),
            "must be greater than or equal to 0",
        );
        return Err(Failure::invalid(
            "autoscaling",
            "Scale",
            object::name(object),
            &[error],
        ));
    }
    let version = object::meta(scale, "resourceVersion");
    let mut scaled = object.clone();
    let meta = object::meta_mut(&mut scaled);
    meta.remove("resourceVersion");
    if !version.is_empty() {
        meta.insert("resourceVersion".to_owned(), json!(version));
    }
    let uid = object::uid(scale);
    if !uid.is_empty() && uid != object::uid(object) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::uid(object)
        );
        return Err(Failure::conflict(
            kind.group,
            kind.plural,
            object::name(object),
            &why,
        ));
    }
    object::child_mut(&mut scaled, "spec").insert("replicas".to_owned(), json!(replicas));
    Ok(scaled)
}
