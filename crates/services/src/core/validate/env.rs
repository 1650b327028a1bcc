//! Environment variables, and where they come from.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{names, quantity, status::FieldError},
    ENV_MAX,
    at::{At, Errors},
};

/// The fields of its pod that a container can be told.
const POD_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Those that a file can hold.
const FILE_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// What it can be told of its resources.
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SIZES: [&str; 13] = [
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

/// Which fields may be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A variable.
    Variable,
    /// A file.
    File,
}

/// A list of variables.
pub(super) fn env(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, ENV_MAX) {
        return;
    }
    for variable in list.items() {
        let name = variable.child("name");
        name.needed(errors);
        name.named_if_any(errors, names::env_name);
        let source = variable.child("valueFrom");
        if source.is_present() {
            value_from(&source, variable.child("value").text(), errors);
        }
    }
}

/// An error about which the value says nothing.
fn wrong(at: &At<'_>, errors: &mut Errors, why: &str) {
    errors.push(FieldError::invalid(at.path(), &Value::from(""), why));
}

fn value_from(source: &At<'_>, value: &str, errors: &mut Errors) {
    let kinds = [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
    ];
    let found: Vec<At<'_>> = kinds.map(|kind| source.child(kind)).into_iter().collect();
    let count = found.iter().filter(|one| one.is_present()).count();
    let [field, resource, map_key, secret_key] = &found[..] else {
        return;
    };
    if field.is_present() {
        field_ref(field, Place::Variable, errors);
    }
    if resource.is_present() {
        resource_ref(resource, Place::Variable, errors);
    }
    for key in [map_key, secret_key] {
        if key.is_present() {
            key_ref(key, errors);
        }
    }
    if count == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        wrong(source, errors, why);
    } else if !value.is_empty() {
        wrong(
            source,
            errors,
            "may not be specified when `value` is not empty",
        );
    } else if count > 1 {
        wrong(
            source,
            errors,
            "may not have more than one field specified at a time",
        );
    }
}

fn key_ref(at: &At<'_>, errors: &mut Errors) {
    at.child("name").named(errors, names::dns1123_subdomain);
    let key = at.child("key");
    key.needed(errors);
    key.named_if_any(errors, names::config_key);
}

/// A field of the pod.
pub(super) fn field_ref(at: &At<'_>, place: Place, errors: &mut Errors) {
    let field = at.child("fieldPath");
    if field.text().is_empty() {
        return field.required(errors, "");
    }
    let known: &[&str] = match place {
        Place::Variable => &POD_FIELDS,
        Place::File => &FILE_FIELDS,
    };
    let Some((path, key)) = subscripted(field.text()) else {
        return field.one_of(errors, known);
    };
    let (path_of_key, key) = match path {
        "metadata.annotations" => (at.path(), key.to_lowercase()),
        "metadata.labels" => (at.path(), key.to_owned()),
        _ => {
            let error = FieldError::invalid(at.path(), &path.into(), "does not support subscript");
            return errors.push(error);
        }
    };
    for why in names::qualified_name(&key) {
        errors.push(FieldError::invalid(path_of_key, &key.clone().into(), why));
    }
}

/// `metadata.labels['app']`
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

/// A resource of a container.
pub(super) fn resource_ref(at: &At<'_>, place: Place, errors: &mut Errors) {
    let (container, resource) = (at.child("containerName"), at.child("resource"));
    let name = resource.text();
    if place == Place::File && container.text().is_empty() {
        container.required(errors, "");
    } else if name.is_empty() {
        resource.required(errors, "");
    } else if !name.starts_with("requests.hugepages-") && !name.starts_with("limits.hugepages-") {
        resource.one_of(errors, &RESOURCES);
    }
    divisor(&at.child("divisor"), name, errors);
}

fn divisor(at: &At<'_>, resource: &str, errors: &mut Errors) {
    let written = quantity::of(at.value()).filter(|divisor| !divisor.is_zero());
    let Some(written) = written.map(|divisor| divisor.to_string()) else {
        return;
    };
    let (known, told): (&[&str], &str) = match resource.split_once('.').map(|(_, name)| name) {
        Some("cpu") => (
            &["1m", "1"],
            "values 1m and 1 are supported with the cpu resource",
        ),
        Some(name) if name.starts_with("hugepages-") => (&SIZES, "hugepages"),
        Some("memory") => (&SIZES, "memory"),
        Some("ephemeral-storage") => (&SIZES, "local ephemeral storage"),
        _ => return,
    };
    if known.contains(&written.as_str()) {
        return;
    }
    let told = match known.len() {
        2 => format!("only divisor's {told}"),
        _ => format!(
            "only divisor's values {} are supported with the {told} resource",
            SIZES.join(", ")
        ),
    };
    errors.push(FieldError::invalid(at.path(), &resource.into(), told));
}

/// Whole ConfigMaps and Secrets.
pub(super) fn env_from(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, ENV_MAX) {
        return;
    }
    for one in list.items() {
        one.child("prefix").named_if_any(errors, names::env_name);
        let kinds = ["configMapRef", "secretRef"].map(|kind| one.child(kind));
        let found: BTreeSet<usize> = (0..2).filter(|index| kinds[*index].is_present()).collect();
        for index in &found {
            let name = kinds[*index].child("name");
            name.needed(errors);
            name.named_if_any(errors, names::dns1123_subdomain);
        }
        match found.len() {
            0 => wrong(
                list,
                errors,
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            1 => {}
            _ => wrong(
                list,
                errors,
                "may not have more than one field specified at a time",
            ),
        }
    }
}
