//! The way from `kubectl apply` to `kubectl apply --server-side`, for clients that do not move
//! the owners themselves: what kubectl noted in its annotation as applied last, and is still so,
//! is its own, whoever is noted as the owner (`managedfields`, `lastAppliedManager`). The
//! annotation is kept up to date, so that there is a way back.

use serde_json::Value;

use super::{Engine, compare::compare, compare::fields_of, field_set::FieldSet};
use crate::core::object;

/// Only this manager is meant; others keep the annotation's fields as they are.
const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Engine<'_> {
    /// The fields of a live object that kubectl may take without being forced.
    pub(super) fn kubectls_own(&self, live: &Value, api_version: &str) -> FieldSet {
        let none = FieldSet::default();
        if self.manager() != KUBECTL {
            return none;
        }
        let Some(text) = object::annotation(live, ANNOTATION) else {
            return none;
        };
        let Ok(last) = serde_json::from_str::<Value>(text) else {
            return none;
        };
        if last["apiVersion"] != api_version {
            return none;
        }
        let changes = compare(self.forms, self.root, &last, live);
        let changed = changes
            .modified
            .union(&changes.added)
            .union(&changes.removed);
        fields_of(self.forms, self.root, &last).difference(&changed)
    }

    /// Notes in the annotation, where there is one, what was applied.
    pub(super) fn keep_annotation(&self, new: &mut Value, applied: &Value) {
        let is_there = object::annotation(new, ANNOTATION).is_some_and(|text| !text.is_empty());
        if self.manager() != KUBECTL || !is_there {
            return;
        }
        let mut applied = applied.clone();
        if let Some(Value::Object(annotations)) = applied.pointer_mut("/metadata/annotations") {
            annotations.remove(ANNOTATION);
        }
        new["metadata"]["annotations"][ANNOTATION] = Value::from(format!("{applied}\n"));
    }
}
