//! What every object's `metadata` has to fulfil (apimachinery, `pkg/api/validation`).

use serde_json::{Value, json};

use super::{
    super::{kinds::Kind, names},
    FINALIZERS_MAX, LABELS_MAX, OWNERS_MAX,
    at::{At, Errors},
    labels,
};

/// Bytes that all annotations may have together.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;
/// Nothing else may be added with these two at once.
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The rule of a kind's names.
fn rule(kind: &Kind) -> names::Rule {
    match (kind.group, kind.kind) {
        ("", "Service") => names::dns1035_label,
        ("", "Namespace") => names::dns1123_label,
        ("apps", "StatefulSet") => names::dns1123_label,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        _ => names::dns1123_subdomain,
    }
}

/// Of an object that is made.
pub(super) fn create(kind: &Kind, object: &Value, errors: &mut Errors) {
    let meta = At::root(object).child("metadata");
    let rule = rule(kind);
    let prefix = meta.child("generateName");
    if !prefix.text().is_empty() {
        for why in rule(&without_dash(prefix.text())) {
            prefix.invalid(errors, why);
        }
    }
    let name = meta.child("name");
    if name.text().is_empty() {
        name.required(errors, "name or generateName is required");
    } else {
        name.named(errors, rule);
    }
    let namespace = meta.child("namespace");
    match (kind.is_namespaced, namespace.text()) {
        (true, "") => namespace.required(errors, ""),
        (true, _) => namespace.named(errors, names::dns1123_label),
        (false, "") => {}
        (false, _) => namespace.forbidden(errors, "not allowed on this type"),
    }
    common(&meta, errors);
    finalizers(&meta.child("finalizers"), errors);
}

/// Something will stand behind a prefix, so that a dash may end it.
fn without_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let mut rest = rest.to_owned();
            rest.pop();
            rest + "a"
        }
        _ => prefix.to_owned(),
    }
}

/// Of an object that is changed.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let meta = At::root(new).child("metadata");
    let old = At::root(old).child("metadata");
    if old.child("deletionTimestamp").is_present() {
        no_new_finalizers(&meta.child("finalizers"), &old.child("finalizers"), errors);
    }
    let generation = meta.child("generation");
    if generation.number() < old.child("generation").number() {
        generation.invalid(errors, "must not be decremented");
    }
    let fixed = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    for field in fixed {
        meta.child(field).immutable(errors, &old.child(field));
    }
    common(&meta, errors);
    if meta.child("finalizers").value() != old.child("finalizers").value() {
        finalizers(&meta.child("finalizers"), errors);
    }
}

fn common(meta: &At<'_>, errors: &mut Errors) {
    meta.child("generation").not_negative(errors);
    let of_object = meta.child("labels");
    if of_object.at_most(errors, LABELS_MAX) {
        labels::labels(&of_object, errors);
    }
    annotations(&meta.child("annotations"), errors);
    owners(&meta.child("ownerReferences"), errors);
}

/// Annotations, of an object or a template.
pub(super) fn annotations(at: &At<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in at.entries() {
        bytes += key.len() + value.text().len();
        for why in names::qualified_name(&key.to_lowercase()) {
            let key = json!(key);
            errors.push(super::FieldError::invalid(at.path(), &key, why));
        }
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        at.too_long(errors, ANNOTATIONS_BYTES_MAX);
    }
}

fn owners(at: &At<'_>, errors: &mut Errors) {
    if !at.at_most(errors, OWNERS_MAX) {
        return;
    }
    let mut controller: Option<String> = None;
    for owner in at.items() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.child(field).text().is_empty() {
                owner.child(field).required(errors, "must not be empty");
            }
        }
        let version = owner.child("apiVersion");
        if version.text().matches('/').count() > 1 || version.text().ends_with('/') {
            version.invalid(errors, "must be <group>/<version> or <version>");
        }
        let kind = owner.child("kind").text();
        if (version.text(), kind) == ("v1", "Event") {
            owner.invalid(errors, "/v1, Kind=Event is disallowed from being an owner");
        }
        if !owner.child("controller").is_true() {
            continue;
        }
        let name = format!("{kind}/{}", owner.child("name").text());
        match &controller {
            Some(first) => at.invalid(
                errors,
                format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"),
            ),
            None => controller = Some(name),
        }
    }
}

fn finalizers(at: &At<'_>, errors: &mut Errors) {
    if !at.at_most(errors, FINALIZERS_MAX) {
        return;
    }
    for one in at.items() {
        one.at(at.path()).named(errors, names::qualified_name);
    }
    let has = |name: &str| at.items().any(|one| one.text() == name);
    if has(ORPHAN) && has(FOREGROUND) {
        let why = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        at.invalid(errors, why);
    }
}

fn no_new_finalizers(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let is_new = |name: &&str| !old.items().any(|one| one.text() == *name);
    let extra: std::collections::BTreeSet<&str> =
        new.items().map(|one| one.text()).filter(is_new).collect();
    if extra.is_empty() {
        return;
    }
    // As Go prints a list of texts.
    let extra: Vec<String> = extra.iter().map(|one| format!("{one:?}")).collect();
    let extra = extra.join(", ");
    let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
    new.forbidden(errors, format!("{why} []string{{{extra}}}"));
}
