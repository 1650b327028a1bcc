//! Labels, and what selects by them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    super::{
        names,
        selector::{LabelSelector, REQUIREMENTS_MAX},
        status::FieldError,
    },
    at::{At, Errors},
};

/// A map of labels.
pub(super) fn labels(at: &At<'_>, errors: &mut Errors) {
    for (key, value) in at.entries() {
        let names = names::qualified_name(key)
            .into_iter()
            .map(|why| (json!(key), why));
        let values = names::label_value(value.text()).into_iter();
        let values = values.map(|why| (value.value().clone(), why));
        for (value, why) in names.chain(values) {
            errors.push(FieldError::invalid(at.path(), &value, why));
        }
    }
}

/// A LabelSelector, which may be absent.
pub(super) fn selector(at: &At<'_>, errors: &mut Errors) {
    labels(&at.child("matchLabels"), errors);
    let expressions = at.child("matchExpressions");
    if !expressions.at_most(errors, REQUIREMENTS_MAX) {
        return;
    }
    for expression in expressions.items() {
        values(&expression, errors, false);
        expression.child("key").named(errors, names::qualified_name);
        for value in expression.child("values").items() {
            value.named(errors, names::label_value);
        }
    }
}

/// Whether an expression has the values that its operator needs; those of nodes compare, too.
pub(super) fn values(expression: &At<'_>, errors: &mut Errors, is_of_nodes: bool) {
    let (operator, values) = (expression.child("operator"), expression.child("values"));
    match operator.text() {
        "In" | "NotIn" => {
            if values.count() == 0 {
                values.required(
                    errors,
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        "Exists" | "DoesNotExist" => {
            if values.count() > 0 {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                values.forbidden(errors, why);
            }
        }
        "Gt" | "Lt" if is_of_nodes => {
            if values.count() != 1 {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                values.required(errors, why);
            }
        }
        _ => operator.invalid(errors, "not a valid selector operator"),
    }
}

/// A workload's selector: there, not empty, and such that its own pods are selected.
pub(super) fn of_workload(spec: &At<'_>, errors: &mut Errors, kind: &str) {
    let at = spec.child("selector");
    if !at.is_present() {
        at.required(errors, "");
    } else {
        selector(&at, errors);
        if is_empty(&at) {
            at.invalid(errors, format!("empty selector is invalid for {kind}"));
        }
    }
    match LabelSelector::from_json(at.value()) {
        Ok(selector) => selects_template(spec, &selector, errors),
        Err(_) => at.invalid(errors, "invalid label selector"),
    }
}

fn is_empty(selector: &At<'_>) -> bool {
    selector.child("matchLabels").count() + selector.child("matchExpressions").count() == 0
}

/// Whether a selector, if it asks for anything, selects the pods of the template.
pub(super) fn selects_template(spec: &At<'_>, selector: &LabelSelector, errors: &mut Errors) {
    let labels = spec.under(&["template", "metadata", "labels"]);
    let of_template = labels.value().as_object();
    if !selector.is_everything() && !selector.matches(of_template) {
        labels.invalid(errors, "`selector` does not match template `labels`");
    }
}

/// The keys that a selector asks about.
pub(super) fn keys<'a>(selector: &At<'a>) -> BTreeSet<&'a str> {
    let labels = selector.child("matchLabels");
    let expressions = selector.child("matchExpressions");
    let of_expressions = expressions.items().map(|one| one.child("key").text());
    let of_labels = labels.entries().map(|(key, _)| key);
    of_labels.chain(of_expressions).collect()
}

/// A map of labels that selects nothing by itself where it is empty.
pub(super) fn map_selector(labels: &Value) -> Option<LabelSelector> {
    labels
        .as_object()
        .filter(|labels| !labels.is_empty())
        .map(LabelSelector::from_map)
}
