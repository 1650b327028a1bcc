//! What a Job makes of pods that fail or succeed, and when it replaces them.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    super::{
        super::{
            names,
            status::{FieldError, FieldErrorKind},
        },
        at::{At, Errors},
        indexes::Indexes,
    },
    is_indexed,
};

/// Rules of a policy, and patterns of a rule, as in Kubernetes.
const RULES_MAX: usize = 20;
/// Exit codes of a rule, as in Kubernetes.
const CODES_MAX: usize = 255;
/// Bytes of a rule's indexes, as in Kubernetes.
const INDEXES_BYTES_MAX: usize = 64 * 1024;

/// `podReplacementPolicy`.
pub(super) fn of_replacement(spec: &At<'_>, errors: &mut Errors) {
    let known: &[&str] = match spec.child("podFailurePolicy").is_present() {
        true => &["Failed"],
        false => &["Failed", "TerminatingOrFailed"],
    };
    spec.child("podReplacementPolicy").one_of(errors, known);
}

/// `podFailurePolicy`.
pub(super) fn of_failure(spec: &At<'_>, errors: &mut Errors) {
    let rules = spec.child("podFailurePolicy").child("rules");
    if !rules.at_most(errors, RULES_MAX) {
        return;
    }
    let pod = spec.under(&["template", "spec"]);
    let lists = ["containers", "initContainers"].map(|list| pod.child(list));
    let containers = lists.iter().flat_map(|list| list.items());
    let containers: BTreeSet<&str> = containers.map(|one| one.child("name").text()).collect();
    for rule in rules.items() {
        action(spec, &rule.child("action"), errors);
        let (codes, conditions) = (rule.child("onExitCodes"), rule.child("onPodConditions"));
        if codes.is_present() {
            exit_codes(&codes, &containers, errors);
        }
        if conditions.at_most(errors, RULES_MAX) {
            pod_conditions(&conditions, errors);
        }
        let why = match (codes.is_present(), conditions.count() > 0) {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        rule.invalid(errors, why);
    }
}

fn action(spec: &At<'_>, action: &At<'_>, errors: &mut Errors) {
    needed_one_of(action, &["Count", "FailIndex", "FailJob", "Ignore"], errors);
    if action.text() == "FailIndex" && !spec.child("backoffLimitPerIndex").is_present() {
        action.invalid(errors, "requires the backoffLimitPerIndex to be set");
    }
}

fn needed_one_of(at: &At<'_>, known: &[&str], errors: &mut Errors) {
    if at.text().is_empty() {
        let known: Vec<String> = known.iter().map(|one| format!("{one:?}")).collect();
        at.required(errors, &format!("valid values: [{}]", known.join(" ")));
    } else {
        at.one_of(errors, known);
    }
}

fn exit_codes(at: &At<'_>, containers: &BTreeSet<&str>, errors: &mut Errors) {
    let operator = at.child("operator");
    needed_one_of(&operator, &["In", "NotIn"], errors);
    let container = at.child("containerName");
    if container.is_present() && !containers.contains(container.text()) {
        let why = "must be one of the container or initContainer names in the pod template";
        container.invalid(errors, why);
    }
    let values = at.child("values");
    if values.count() == 0 {
        return errors.push(FieldError::invalid(
            values.path(),
            &json!([]),
            "at least one value is required",
        ));
    }
    if !values.at_most(errors, CODES_MAX) {
        return;
    }
    let mut seen: Vec<i64> = Vec::new();
    for value in values.items() {
        let code = value.number().unwrap_or_default();
        if operator.text() == "In" && code == 0 {
            value.invalid(errors, "must not be 0 for the In operator");
        }
        if seen.contains(&code) {
            value.duplicate(errors);
        }
        seen.push(code);
    }
    if !seen.is_sorted() {
        values.invalid(errors, "must be ordered");
    }
}

fn pod_conditions(conditions: &At<'_>, errors: &mut Errors) {
    for pattern in conditions.items() {
        pattern.child("type").named(errors, names::qualified_name);
        let known = ["False", "True", "Unknown"];
        needed_one_of(&pattern.child("status"), &known, errors);
    }
}

/// `successPolicy`.
pub(super) fn of_success(spec: &At<'_>, errors: &mut Errors) {
    let policy = spec.child("successPolicy");
    // Where it means nothing, that is told elsewhere.
    if !policy.is_present() || !is_indexed(spec) {
        return;
    }
    let rules = policy.child("rules");
    if rules.count() == 0 {
        let why = "at least one rules must be specified when the successPolicy is specified";
        return rules.required(errors, why);
    }
    if !rules.at_most(errors, RULES_MAX) {
        return;
    }
    let completions = spec.child("completions").number().unwrap_or_default();
    for rule in rules.items() {
        success_rule(&rule, completions, errors);
    }
}

fn success_rule(rule: &At<'_>, completions: i64, errors: &mut Errors) {
    let (indexes, count) = (rule.child("succeededIndexes"), rule.child("succeededCount"));
    if !indexes.is_present() && !count.is_present() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        return rule.required(errors, why);
    }
    let mut most = i64::MAX;
    if indexes.text().len() > INDEXES_BYTES_MAX {
        let kind = FieldErrorKind::TooLong(INDEXES_BYTES_MAX);
        errors.push(FieldError::new(indexes.path(), kind, ""));
    } else if indexes.is_present() {
        match Indexes::parse(indexes.text(), u32::try_from(completions).unwrap_or(0)) {
            Ok(set) => most = i64::try_from(set.count()).unwrap_or(i64::MAX),
            Err(why) => {
                most = 0;
                indexes.invalid(errors, format!("error parsing succeededIndexes: {why}"));
            }
        }
    }
    count.not_negative(errors);
    let Some(wanted) = count.number() else {
        return;
    };
    if wanted > completions {
        let why = format!(
            "must be less than or equal to {completions} (the number of specified completions)"
        );
        count.invalid(errors, why);
    }
    if wanted > most {
        let why = format!(
            "must be less than or equal to {most} (the number of indexes in the specified succeededIndexes field)"
        );
        count.invalid(errors, why);
    }
}
