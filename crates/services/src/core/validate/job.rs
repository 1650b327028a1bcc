//! Jobs and CronJobs.

use super::{
    super::{
        names,
        selector::LabelSelector,
        status::{FieldError, FieldErrorKind},
    },
    COMPLETIONS_MAX,
    at::{At, Errors},
    cron::Schedule,
    labels, pod, workload,
};

/// A Job's spec.
pub(super) fn job(object: &At<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    job_spec(&spec, errors);
    let selector = spec.child("selector");
    if !selector.is_present() {
        return selector.required(errors, "");
    }
    labels::selector(&selector, errors);
    if let Ok(selector) = LabelSelector::from_json(selector.value()) {
        labels::selects_template(&spec, &selector, errors);
    }
}

/// The pods of an indexed job are named after it and their number.
pub(super) fn job_create(object: &At<'_>, errors: &mut Errors) {
    let (name, spec) = (object.under(&["metadata", "name"]), object.child("spec"));
    let completions = spec.child("completions").number().unwrap_or_default();
    if !is_indexed(&spec) || completions < 1 {
        return;
    }
    let longest = format!("{}-{}", name.text(), completions - 1);
    if !names::dns1123_label(&longest).is_empty() {
        let why = format!("will not able to create pod with invalid DNS label: {longest}");
        name.invalid(errors, why);
    }
}

/// What of a Job can't be changed.
pub(super) fn job_update(spec: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let mut fixed = vec![
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    let completions = spec.child("completions");
    let is_other = completions.value() != old.child("completions").value();
    if !is_indexed(spec) {
        fixed.push("completions");
    } else if is_other && completions.value() != spec.child("parallelism").value() {
        completions.invalid(
            errors,
            "can only be modified in tandem with spec.parallelism",
        );
    }
    // Where its pods run may still be decided as long as there are none.
    if !old.child("suspend").is_true() {
        fixed.push("template");
    }
    for field in fixed {
        spec.child(field).immutable(errors, &old.child(field));
    }
}

fn is_indexed(spec: &At<'_>) -> bool {
    spec.child("completionMode").text() == "Indexed"
}

fn job_spec(spec: &At<'_>, errors: &mut Errors) {
    workload::replicas(&spec.child("parallelism"), errors);
    let counts = [
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for count in counts {
        spec.child(count).not_negative(errors);
    }
    let completions = spec.child("completions");
    if completions
        .number()
        .is_some_and(|count| count > COMPLETIONS_MAX)
    {
        completions.invalid(
            errors,
            format!("must be less than or equal to {COMPLETIONS_MAX}"),
        );
    }
    spec.child("completionMode")
        .one_of(errors, &["NonIndexed", "Indexed"]);
    indexes(spec, errors);
    let policy = spec.child("podReplacementPolicy");
    policy.one_of(errors, &["Failed", "TerminatingOrFailed"]);
    failure_policy(spec, errors);
    let template = spec.child("template");
    pod::template(&template, None, errors);
    let restart = template.under(&["spec", "restartPolicy"]);
    match restart.text() {
        "" | "Always" => restart.required(errors, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.child("podFailurePolicy").is_present() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            restart.invalid(errors, why);
        }
        _ => {}
    }
}

fn indexes(spec: &At<'_>, errors: &mut Errors) {
    let (completions, failed) = (spec.child("completions"), spec.child("maxFailedIndexes"));
    let per_index = spec.child("backoffLimitPerIndex");
    if failed.is_present() && !per_index.is_present() {
        per_index.required(errors, "when maxFailedIndexes is specified");
    }
    if is_indexed(spec) {
        if !completions.is_present() {
            completions.required(errors, "when completion mode is Indexed");
        }
        let most = completions.number().unwrap_or(i64::MAX);
        if failed.number().is_some_and(|count| count > most) {
            failed.invalid(errors, "must be less than or equal to completions");
        }
        return;
    }
    for field in [&per_index, &failed, &spec.child("successPolicy")] {
        if field.is_present() {
            field.invalid(errors, "requires indexed completion mode");
        }
    }
}

fn failure_policy(spec: &At<'_>, errors: &mut Errors) {
    const RULES_MAX: usize = 20;
    let rules = spec.child("podFailurePolicy").child("rules");
    if !rules.at_most(errors, RULES_MAX) {
        return;
    }
    for rule in rules.items() {
        let action = rule.child("action");
        let known = ["Count", "FailIndex", "FailJob", "Ignore"];
        if action.text().is_empty() {
            let known = known.map(|one| format!("{one:?}")).join(" ");
            action.required(errors, &format!("valid values: [{known}]"));
        } else {
            action.one_of(errors, &known);
        }
        let has_codes = rule.child("onExitCodes").is_present();
        let has_conditions = rule.child("onPodConditions").count() > 0;
        let why = match (has_codes, has_conditions) {
            (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        rule.invalid(errors, why);
    }
}

/// A CronJob's spec.
pub(super) fn cron_job(object: &At<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    schedule(&spec.child("schedule"), errors);
    for count in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        spec.child(count).not_negative(errors);
    }
    time_zone(&spec.child("timeZone"), errors);
    let policy = spec.child("concurrencyPolicy");
    policy.one_of(errors, &["Allow", "Forbid", "Replace"]);
    let job = spec.under(&["jobTemplate", "spec"]);
    job_spec(&job, errors);
    if job.child("selector").is_present() {
        job.child("selector")
            .invalid(errors, "`selector` will be auto-generated");
    }
    let manual = job.child("manualSelector");
    if manual.is_true() {
        let known = ["nil", "false"].map(str::to_owned).to_vec();
        let kind = FieldErrorKind::NotSupported("true".to_owned(), known);
        errors.push(FieldError::new(manual.path(), kind, ""));
    }
}

/// Its jobs are named after it, with 11 characters behind.
pub(super) fn cron_job_create(object: &At<'_>, errors: &mut Errors) {
    const NAME_CHARACTERS_MAX: usize = names::LABEL_CHARACTERS_MAX - 11;
    let name = object.under(&["metadata", "name"]);
    if name.text().len() > NAME_CHARACTERS_MAX {
        name.invalid(
            errors,
            format!("must be no more than {NAME_CHARACTERS_MAX} bytes"),
        );
    }
}

fn schedule(at: &At<'_>, errors: &mut Errors) {
    if at.text().is_empty() {
        return at.required(errors, "");
    }
    if at.text().contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        return at.invalid(errors, why);
    }
    if let Err(why) = Schedule::parse(at.text()) {
        at.invalid(errors, why);
    }
}

fn time_zone(at: &At<'_>, errors: &mut Errors) {
    const PART_CHARACTERS_MAX: usize = 14;
    if !at.is_present() {
        return;
    }
    if at.text().is_empty() {
        return at.invalid(errors, "timeZone must be nil or non-empty string");
    }
    let is_inner =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    let is_part = |part: &str| {
        let length = 1..=PART_CHARACTERS_MAX;
        let is_special = matches!(part, "." | "..") || part.starts_with('-');
        length.contains(&part.len()) && !is_special && part.bytes().all(is_inner)
    };
    if !at.text().split('/').all(is_part) {
        return at.invalid(errors, format!("unknown time zone {}", at.text()));
    }
    if at.text().eq_ignore_ascii_case("local") {
        let why =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        at.invalid(errors, why);
    }
}
