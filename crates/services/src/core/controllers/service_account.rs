//! Each namespace has the ServiceAccount `default`, under which its pods run unless they name
//! another one (Kubernetes documentation, "Service Accounts"). Who deletes it gets a new one.

use serde_json::json;

use super::world::{Change, Plan, Step, View};
use crate::core::{
    kinds::{NAMESPACES, SERVICE_ACCOUNTS},
    object::{self, Name},
};

/// What it is called.
const DEFAULT: &str = "default";

/// What to do about one namespace.
pub(super) fn plan(view: &dyn View, key: &Name) -> Plan {
    let namespace = view.get(key.kind, "", &key.name);
    let stands = namespace.is_some_and(|it| !object::is_being_deleted(&it));
    let kind = &SERVICE_ACCOUNTS;
    if !stands || view.get(kind, &key.name, DEFAULT).is_some() {
        return Plan::default();
    }
    let object = json!({"metadata": {"name": DEFAULT, "namespace": key.name}});
    Plan::of(vec![Step::Create { kind, object }])
}

/// Which namespaces a change is about.
pub(super) fn touched(_: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let namespace = match change.name() {
        Some(name) if change.kind == &NAMESPACES => name.name,
        Some(name) if change.kind == &SERVICE_ACCOUNTS && name.name == DEFAULT => name.namespace,
        _ => return Vec::new(),
    };
    vec![Name {
        kind: &NAMESPACES,
        namespace: String::new(),
        name: namespace,
    }]
}
