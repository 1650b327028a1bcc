//! The kinds about which there is little to say.

use super::{
    super::names,
    DATA_BYTES_MAX,
    at::{At, Errors},
    equal::are_equal,
    labels, resources, scheduling,
};

const IMMUTABLE: &str = "field is immutable when `immutable` is set";
/// The highest that a user may call a priority.
const PRIORITY_MAX: i64 = 1_000_000_000;

/// A ConfigMap.
pub(super) fn config_map(object: &At<'_>, errors: &mut Errors) {
    let binary = object.child("binaryData");
    let mut bytes = 0;
    for (key, value) in object.child("data").entries() {
        config_key(key, &value, errors);
        if binary.value().get(key).is_some() {
            told(
                &value,
                key,
                errors,
                "duplicate of key present in binaryData",
            );
        }
        bytes += value.text().len();
    }
    for (key, value) in binary.entries() {
        config_key(key, &value, errors);
        bytes += decoded_bytes(value.text());
    }
    if bytes > DATA_BYTES_MAX {
        object.at("[]").too_long(errors, DATA_BYTES_MAX);
    }
}

/// How many bytes a text in base64 stands for.
fn decoded_bytes(text: &str) -> usize {
    text.trim_end_matches('=').len() / 4 * 3 + text.trim_end_matches('=').len() % 4 * 3 / 4
}

fn config_key(key: &str, at: &At<'_>, errors: &mut Errors) {
    for why in names::config_key(key) {
        told(at, key, errors, &why);
    }
}

/// An error about a key.
fn told(at: &At<'_>, key: &str, errors: &mut Errors, why: &str) {
    errors.push(super::FieldError::invalid(at.path(), &key.into(), why));
}

/// A ConfigMap or Secret that was declared immutable stays as it is.
pub(super) fn data_update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    if !old.child("immutable").is_true() {
        return;
    }
    if !new.child("immutable").is_true() {
        new.child("immutable").forbidden(errors, IMMUTABLE);
    }
    for field in ["data", "binaryData"] {
        let (new, old) = (new.child(field), old.child(field));
        if !are_equal(new.value(), old.value()) {
            new.forbidden(errors, IMMUTABLE);
        }
    }
}

/// A Secret.
pub(super) fn secret(object: &At<'_>, errors: &mut Errors) {
    let data = object.child("data");
    let mut bytes = 0;
    for (key, value) in data.entries() {
        config_key(key, &value, errors);
        bytes += decoded_bytes(value.text());
    }
    if bytes > DATA_BYTES_MAX {
        data.too_long(errors, DATA_BYTES_MAX);
    }
    let needed: &[&str] = match object.child("type").text() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/basic-auth" => {
            let fields = ["username", "password"];
            let has_one = fields.iter().any(|key| data.value().get(*key).is_some());
            if has_one {
                &[]
            } else {
                &["username", "password"]
            }
        }
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let name = object.under(&["metadata", "annotations", key]);
            if name.text().is_empty() {
                name.at(&format!("metadata.annotations[{key}]"))
                    .required(errors, "");
            }
            &[]
        }
        _ => &[],
    };
    for key in needed {
        if data.value().get(*key).is_none() {
            data.at(&format!("data[{key}]")).required(errors, "");
        }
    }
}

/// A Namespace.
pub(super) fn namespace(object: &At<'_>, errors: &mut Errors) {
    let finalizers = object.under(&["spec", "finalizers"]);
    for one in finalizers.items() {
        let one = one.at(finalizers.path());
        one.named(errors, names::qualified_name);
        let is_standard = matches!(one.text(), "kubernetes" | "foregroundDeletion" | "orphan");
        if !one.text().contains('/') && !is_standard {
            one.invalid(
                errors,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
}

/// A Node.
pub(super) fn node(object: &At<'_>, errors: &mut Errors) {
    let taints = object.under(&["spec", "taints"]);
    // Kubernetes names them so.
    scheduling::taints(&taints.at("metadata.taints"), errors);
    for list in ["capacity", "allocatable"] {
        for (name, amount) in object.under(&["status", list]).entries() {
            let amount = amount.at(&format!("status.{list}.{name}"));
            resources::amount(name, &amount, errors);
        }
    }
}

/// What of a Node can be set only once.
pub(super) fn node_update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    for (field, told) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let (new, old) = (new.under(&["spec", field]), old.under(&["spec", field]));
        let was_set = old.count() > 0 || !old.text().is_empty();
        if was_set && new.value() != old.value() {
            new.forbidden(
                errors,
                format!("node updates may not change {told} except from \"\" to valid"),
            );
        }
    }
}

/// A Lease's spec.
pub(super) fn lease(spec: &At<'_>, errors: &mut Errors) {
    let duration = spec.child("leaseDurationSeconds");
    if duration.number().is_some_and(|seconds| seconds <= 0) {
        duration.invalid(errors, "must be greater than 0");
    }
    spec.child("leaseTransitions").not_negative(errors);
}

/// An Event is where the object is that it is about.
pub(super) fn event(object: &At<'_>, errors: &mut Errors) {
    let about = object.under(&["involvedObject", "namespace"]);
    let namespace = object.under(&["metadata", "namespace"]).text();
    let is_there = match about.text() {
        // What is in no namespace is told of in this one.
        "" => matches!(namespace, "default" | "kube-system"),
        about => about == namespace,
    };
    if !is_there {
        let text = about.text().into();
        let why = "does not match event.namespace";
        errors.push(super::FieldError::invalid(about.path(), &text, why));
    }
}

/// A PodDisruptionBudget's spec.
pub(super) fn disruption_budget(spec: &At<'_>, errors: &mut Errors) {
    let (least, most) = (spec.child("minAvailable"), spec.child("maxUnavailable"));
    if least.is_present() && most.is_present() {
        spec.invalid(errors, "minAvailable and maxUnavailable cannot be both set");
    }
    for count in [least, most] {
        super::probe::count_or_percent(&count, errors);
    }
    let policy = spec.child("unhealthyPodEvictionPolicy");
    policy.one_of(errors, &["AlwaysAllow", "IfHealthyBudget"]);
    labels::selector(&spec.child("selector"), errors);
}

/// A PriorityClass.
pub(super) fn priority_class(object: &At<'_>, errors: &mut Errors) {
    let value = object.child("value");
    let is_system = object
        .under(&["metadata", "name"])
        .text()
        .starts_with("system-");
    if !is_system
        && value
            .number()
            .is_some_and(|priority| priority > PRIORITY_MAX)
    {
        let why = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        value.forbidden(errors, why);
    }
    object
        .child("preemptionPolicy")
        .one_of(errors, &["PreemptLowerPriority", "Never"]);
}

/// Priorities of pods are copies, so that a class can't change.
pub(super) fn priority_class_update(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    if new.child("value").number() != old.child("value").number() {
        new.child("value")
            .forbidden(errors, "may not be changed in an update.");
    }
    let policy = new.child("preemptionPolicy");
    policy.immutable(errors, &old.child("preemptionPolicy"));
}
