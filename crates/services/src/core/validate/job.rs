//! Jobs and CronJobs.

mod policy;

use serde_json::{Value, json};

use super::{
    super::{
        names,
        selector::LabelSelector,
        status::{FieldError, FieldErrorKind},
    },
    COMPLETIONS_MAX,
    at::{At, Errors},
    cron::{Schedule, TimeZone},
    labels, pod, workload,
};

/// Indexes that may fail before a Job does, as in Kubernetes.
const FAILED_INDEXES_MAX: i64 = 100_000;
/// From so many completions on, a Job that counts failures by index may have fewer of them.
const COMPLETIONS_MANY: i64 = 100_000;
const FAILED_INDEXES_OF_MANY_MAX: i64 = 10_000;
/// The longest name of another controller that takes care of a Job.
const MANAGER_BYTES_MAX: usize = 63;

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

/// The pods of an indexed job are named after it and their number; a Job that does not select its
/// pods itself has to have the labels that were made for it.
pub(super) fn job_create(object: &At<'_>, errors: &mut Errors) {
    let (name, spec) = (object.under(&["metadata", "name"]), object.child("spec"));
    if !spec.child("manualSelector").is_true() {
        generated_selector(object, errors);
    }
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

fn generated_selector(object: &At<'_>, errors: &mut Errors) {
    let meta = object.child("metadata");
    let selector = object.under(&["spec", "selector"]);
    if !selector.is_present() {
        return;
    }
    let own = [
        ("controller-uid", meta.child("uid")),
        ("job-name", meta.child("name")),
        ("batch.kubernetes.io/controller-uid", meta.child("uid")),
        ("batch.kubernetes.io/job-name", meta.child("name")),
    ];
    let labels = object.under(&["spec", "template", "metadata", "labels"]);
    for (key, value) in &own {
        let why = format!("must be '{}'", value.text());
        let path = format!("{}[{key}]", labels.path());
        match &labels.value()[*key] {
            Value::Null => errors.push(FieldError::required(&path, &why)),
            found if found != value.value() => {
                errors.push(FieldError::invalid(&path, labels.value(), why));
            }
            _ => {}
        }
    }
    let own = own.map(|(key, value)| (key.to_owned(), value.value().clone()));
    let is_own = |found: LabelSelector| found.matches(Some(&own.into_iter().collect()));
    if LabelSelector::from_json(selector.value()).is_ok_and(|found| !is_own(found)) {
        selector.invalid(errors, "`selector` not auto-generated");
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
    for field in fixed {
        spec.child(field).immutable(errors, &old.child(field));
    }
    template_update(spec, old, errors);
}

/// Where its pods run, and with what, may still be decided as long as there are none.
fn template_update(spec: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let template = spec.child("template");
    if !old.child("suspend").is_true() {
        return template.immutable(errors, &old.child("template"));
    }
    let (new, old) = (
        undecided(template.value()),
        undecided(old.child("template").value()),
    );
    if !super::equal::are_equal(&new, &old) {
        template.invalid(errors, super::IMMUTABLE);
    }
}

/// A template without what may be decided while its Job is suspended.
fn undecided(template: &Value) -> Value {
    let mut template = template.clone();
    let mut take = |path: &str, fields: &[&str]| {
        let object = template.pointer_mut(path).and_then(Value::as_object_mut);
        if let Some(object) = object {
            object.retain(|field, _| !fields.contains(&field.as_str()));
        }
    };
    take("/metadata", &["annotations", "labels"]);
    take("/spec", &["nodeSelector", "schedulingGates", "tolerations"]);
    take("/spec/affinity", &["nodeAffinity"]);
    for list in ["containers", "initContainers"] {
        let containers = template["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            container["resources"] = json!({});
        }
    }
    template
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
    managed_by(&spec.child("managedBy"), errors);
    policy::of_failure(spec, errors);
    policy::of_success(spec, errors);
    policy::of_replacement(spec, errors);
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

fn managed_by(at: &At<'_>, errors: &mut Errors) {
    if !at.is_present() {
        return;
    }
    if at.text().is_empty() {
        return at.required(errors, "");
    }
    match at.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            for why in names::dns1123_subdomain(host) {
                errors.push(FieldError::invalid(at.path(), &json!(host), why));
            }
        }
        _ => at.invalid(
            errors,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
    }
    if at.text().len() > MANAGER_BYTES_MAX {
        at.too_long(errors, MANAGER_BYTES_MAX);
    }
}

fn indexes(spec: &At<'_>, errors: &mut Errors) {
    let (completions, failed) = (spec.child("completions"), spec.child("maxFailedIndexes"));
    let per_index = spec.child("backoffLimitPerIndex");
    if failed.is_present() && !per_index.is_present() {
        per_index.required(errors, "when maxFailedIndexes is specified");
    }
    if !is_indexed(spec) {
        for field in [&per_index, &failed, &spec.child("successPolicy")] {
            if field.is_present() {
                field.invalid(errors, "requires indexed completion mode");
            }
        }
        return;
    }
    if !completions.is_present() {
        completions.required(errors, "when completion mode is Indexed");
    }
    let most = completions.number().unwrap_or(i64::MAX);
    if failed.number().is_some_and(|count| count > most) {
        failed.invalid(errors, "must be less than or equal to completions");
    }
    at_most(&failed, FAILED_INDEXES_MAX, "", errors);
    if per_index.is_present() && completions.number().is_some_and(|it| it > COMPLETIONS_MANY) {
        if !failed.is_present() {
            let why = format!("must be specified when completions is above {COMPLETIONS_MANY}");
            failed.required(errors, &why);
        }
        let why = format!(
            " when completions are above {COMPLETIONS_MANY} and used with backoff limit per index"
        );
        at_most(&failed, FAILED_INDEXES_OF_MANY_MAX, &why, errors);
    }
}

fn at_most(at: &At<'_>, max: i64, when: &str, errors: &mut Errors) {
    if at.number().is_some_and(|number| number > max) {
        at.invalid(errors, format!("must be less than or equal to {max}{when}"));
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
        return at.invalid(errors, why);
    }
    if TimeZone::named(at.text()).is_none() {
        at.invalid(errors, format!("unknown time zone {}", at.text()));
    }
}
