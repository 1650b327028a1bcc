//! What a pod says about the nodes that it runs on.

use std::collections::BTreeSet;

use super::{
    super::{names, status::FieldError},
    TERMS_MAX,
    at::{At, Errors},
    labels,
};

const POSITIVE: &str = "must be greater than zero";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Which taints are borne.
pub(super) fn tolerations(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, TERMS_MAX) {
        return;
    }
    for one in list.items() {
        let (key, operator) = (one.child("key"), one.child("operator"));
        let effect = one.child("effect");
        key.named_if_any(errors, names::qualified_name);
        if key.text().is_empty() && operator.text() != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            told(&operator, errors, why);
        }
        if one.child("tolerationSeconds").is_present() && effect.text() != "NoExecute" {
            told(
                &effect,
                errors,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        // The value is told where its operator is.
        let value = one.child("value").at(operator.path());
        match operator.text() {
            "" | "Equal" => {
                let wrong = names::label_value(value.text());
                if !wrong.is_empty() {
                    value.invalid(errors, wrong.join(";"));
                }
            }
            "Exists" if value.text().is_empty() => {}
            "Exists" => value.invalid(errors, "value must be empty when `operator` is 'Exists'"),
            _ => operator.one_of(errors, &["Equal", "Exists"]),
        }
        if !effect.text().is_empty() {
            effect.one_of(errors, &EFFECTS);
        }
    }
}

/// An error about a text, which is empty if it is absent.
fn told(at: &At<'_>, errors: &mut Errors, why: &str) {
    errors.push(FieldError::invalid(at.path(), &at.text().into(), why));
}

/// The taints of a node.
pub(super) fn taints(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, TERMS_MAX) {
        return;
    }
    let mut found = BTreeSet::new();
    for taint in list.items() {
        let (key, effect) = (taint.child("key"), taint.child("effect"));
        key.named(errors, names::qualified_name);
        let wrong = names::label_value(taint.child("value").text());
        if !wrong.is_empty() {
            taint.child("value").invalid(errors, wrong.join(";"));
        }
        if effect.text().is_empty() {
            effect.required(errors, "");
        } else {
            effect.one_of(errors, &EFFECTS);
        }
        if !found.insert((key.text(), effect.text())) {
            let mut error = FieldError::duplicate(taint.path(), taint.value());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
}

/// What keeps a pod from being scheduled.
pub(super) fn gates(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, TERMS_MAX) {
        return;
    }
    let mut found = BTreeSet::new();
    for gate in list.items() {
        let name = gate.child("name").at(gate.path());
        name.named(errors, names::qualified_name);
        if !found.insert(name.text()) {
            name.duplicate(errors);
        }
    }
}

/// How evenly pods are spread.
pub(super) fn spread(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, TERMS_MAX) {
        return;
    }
    let kind = |one: &At<'_>| {
        let texts = ["topologyKey", "whenUnsatisfiable"];
        texts.map(|field| one.child(field).text().to_owned())
    };
    let all: Vec<[String; 2]> = list.items().map(|one| kind(&one)).collect();
    for (index, one) in list.items().enumerate() {
        let skew = one.child("maxSkew");
        if skew.number().unwrap_or_default() <= 0 {
            skew.invalid(errors, POSITIVE);
        }
        if one.child("topologyKey").text().is_empty() {
            one.child("topologyKey")
                .required(errors, "can not be empty");
        }
        let action = one.child("whenUnsatisfiable");
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action.text()) {
            let known = ["DoNotSchedule", "ScheduleAnyway"];
            let text = action.text().into();
            errors.push(FieldError::not_supported(action.path(), &text, &known));
        }
        if all[index + 1..].contains(&all[index]) {
            let path = format!("{}.{{topologyKey, whenUnsatisfiable}}", one.path());
            let [key, action] = &all[index];
            let value = format!("{{{key}, {action}}}").into();
            errors.push(FieldError::duplicate(path, &value));
        }
        let domains = one.child("minDomains");
        if domains.number().is_some_and(|count| count <= 0) {
            domains.invalid(errors, POSITIVE);
        }
        if domains.is_present() && action.text() != "DoNotSchedule" {
            let action = action.text();
            domains.invalid(
                errors,
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"),
            );
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one.child(policy).one_of(errors, &["Honor", "Ignore"]);
        }
        let selector = one.child("labelSelector");
        labels::selector(&selector, errors);
        matched_keys(&one.child("matchLabelKeys"), &selector, errors);
    }
}

fn matched_keys(list: &At<'_>, selector: &At<'_>, errors: &mut Errors) {
    if list.count() == 0 {
        return;
    }
    if !selector.is_present() {
        list.forbidden(
            errors,
            "must not be specified when labelSelector is not set",
        );
    }
    let selected = labels::keys(selector);
    for key in list.items() {
        key.named(errors, names::qualified_name);
        if selected.contains(key.text()) {
            key.invalid(errors, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

/// Which nodes, and which pods beside it, a pod wants.
pub(super) fn affinity(at: &At<'_>, errors: &mut Errors) {
    let nodes = at.child("nodeAffinity");
    let required = nodes.child(REQUIRED);
    if required.is_present() {
        node_selector(&required, errors);
    }
    let preferred = nodes.child(PREFERRED);
    if preferred.at_most(errors, TERMS_MAX) {
        for term in preferred.items() {
            weight(&term, errors);
            node_term(&term.child("preference"), false, errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at.child(kind);
        let (required, preferred) = (pods.child(REQUIRED), pods.child(PREFERRED));
        if required.at_most(errors, TERMS_MAX) {
            required.items().for_each(|term| pod_term(&term, errors));
        }
        if preferred.at_most(errors, TERMS_MAX) {
            for term in preferred.items() {
                weight(&term, errors);
                pod_term(&term.child("podAffinityTerm"), errors);
            }
        }
    }
}

fn weight(term: &At<'_>, errors: &mut Errors) {
    let weight = term.child("weight");
    if !(1..=100).contains(&weight.number().unwrap_or_default()) {
        weight.invalid(errors, "must be in the range 1-100");
    }
}

fn node_selector(selector: &At<'_>, errors: &mut Errors) {
    let terms = selector.child("nodeSelectorTerms");
    if terms.count() == 0 {
        return terms.required(errors, "must have at least one node selector term");
    }
    if terms.at_most(errors, TERMS_MAX) {
        terms
            .items()
            .for_each(|term| node_term(&term, true, errors));
    }
}

/// Preferences may name labels that no node can have; they are only not met then.
fn node_term(term: &At<'_>, is_required: bool, errors: &mut Errors) {
    let (expressions, fields) = (term.child("matchExpressions"), term.child("matchFields"));
    if !expressions.at_most(errors, TERMS_MAX) || !fields.at_most(errors, TERMS_MAX) {
        return;
    }
    for expression in expressions.items() {
        labels::values(&expression, errors, true);
        expression.child("key").named(errors, names::qualified_name);
        for value in expression.child("values").items().filter(|_| is_required) {
            value.named(errors, names::label_value);
        }
    }
    for field in fields.items() {
        let (operator, values) = (field.child("operator"), field.child("values"));
        if !["In", "NotIn"].contains(&operator.text()) {
            operator.invalid(errors, "not a valid selector operator");
        } else if values.count() != 1 {
            let why =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            values.required(errors, why);
        }
        if field.child("key").text() != "metadata.name" {
            field
                .child("key")
                .invalid(errors, "not a valid field selector key");
        } else {
            for value in values.items() {
                value.named(errors, names::dns1123_subdomain);
            }
        }
    }
}

fn pod_term(term: &At<'_>, errors: &mut Errors) {
    labels::selector(&term.child("labelSelector"), errors);
    labels::selector(&term.child("namespaceSelector"), errors);
    let namespace = term.child("namespace");
    for name in term.child("namespaces").items() {
        name.at(namespace.path())
            .named(errors, names::dns1123_label);
    }
    let key = term.child("topologyKey");
    if key.text().is_empty() {
        key.required(errors, "can not be empty");
    } else {
        key.named(errors, names::qualified_name);
    }
}
