//! What makes pods: Deployments, ReplicaSets, ReplicationControllers, StatefulSets, DaemonSets.

use super::{
    super::status::FieldError,
    REPLICAS_MAX,
    at::{At, Errors},
    equal::are_equal,
    labels, pod, probe,
};

/// A Deployment's spec.
pub(super) fn deployment(spec: &At<'_>, errors: &mut Errors) {
    replicas(&spec.child("replicas"), errors);
    labels::of_workload(spec, errors, "deployment");
    always_running(spec, "ReplicaSet", None, errors);
    strategy(&spec.child("strategy"), errors);
    counts(spec, errors);
    let deadline = spec.child("progressDeadlineSeconds");
    deadline.not_negative(errors);
    let ready_s = spec.child("minReadySeconds").number().unwrap_or_default();
    if deadline.number().is_some_and(|seconds| seconds <= ready_s) {
        deadline.invalid(errors, "must be greater than minReadySeconds");
    }
}

/// A ReplicaSet's.
pub(super) fn replica_set(spec: &At<'_>, errors: &mut Errors) {
    replicas(&spec.child("replicas"), errors);
    // Kubernetes says so of both.
    labels::of_workload(spec, errors, "deployment");
    always_running(spec, "ReplicaSet", None, errors);
    counts(spec, errors);
}

/// A ReplicationController's, whose selector is a plain map.
pub(super) fn replication_controller(spec: &At<'_>, errors: &mut Errors) {
    replicas(&spec.child("replicas"), errors);
    let selector = spec.child("selector");
    match labels::map_selector(selector.value()) {
        None => selector.required(errors, ""),
        Some(selector) => labels::selects_template(spec, &selector, errors),
    }
    always_running(spec, "ReplicationController", None, errors);
    counts(spec, errors);
}

/// A StatefulSet's.
pub(super) fn stateful_set(spec: &At<'_>, errors: &mut Errors) {
    replicas(&spec.child("replicas"), errors);
    let policy = spec.child("podManagementPolicy");
    if !["", "OrderedReady", "Parallel"].contains(&policy.text()) {
        policy.invalid(errors, "must be 'OrderedReady' or 'Parallel'");
    }
    let strategy = spec.child("updateStrategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "OnDelete" if rolling.is_present() => {
            rolling.invalid(errors, "only allowed for updateStrategy 'RollingUpdate'");
        }
        "" | "OnDelete" => {}
        "RollingUpdate" => {
            rolling.child("partition").not_negative(errors);
            let unavailable = rolling.child("maxUnavailable");
            if unavailable.is_present() {
                share(&unavailable, errors);
                if amount(&unavailable) == 0 {
                    unavailable.invalid(errors, "cannot be 0");
                }
            }
        }
        _ => strategy.invalid(errors, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.child("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        retention.child(when).one_of(errors, &["Retain", "Delete"]);
    }
    spec.child("ordinals").child("start").not_negative(errors);
    labels::of_workload(spec, errors, "statefulset");
    let claims = spec.child("volumeClaimTemplates");
    always_running(spec, "StatefulSet", Some(&claims), errors);
    counts(spec, errors);
}

/// What of a StatefulSet can be changed.
pub(super) fn stateful_set_update(spec: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let changeable = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        // Since release 1.34.
        "revisionHistoryLimit",
    ];
    let fields = [spec, old]
        .into_iter()
        .flat_map(|at| at.entries().map(|(key, _)| key));
    let mut fixed = fields.filter(|field| !changeable.contains(field));
    if fixed.any(|field| !are_equal(spec.child(field).value(), old.child(field).value())) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        spec.forbidden(errors, why);
    }
}

/// A DaemonSet's.
pub(super) fn daemon_set(spec: &At<'_>, errors: &mut Errors) {
    labels::of_workload(spec, errors, "daemonset");
    always_running(spec, "DaemonSet", None, errors);
    counts(spec, errors);
    let strategy = spec.child("updateStrategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "" | "OnDelete" => {}
        "RollingUpdate" if !rolling.is_present() => rolling.required(errors, ""),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
            share(&unavailable, errors);
            share(&surge, errors);
            match (amount(&unavailable) != 0, amount(&surge) != 0) {
                (true, true) => {
                    surge.invalid(errors, "may not be set when maxUnavailable is non-zero");
                }
                (false, false) => unavailable.required(errors, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => unknown(&strategy, errors, &["RollingUpdate", "OnDelete"]),
    }
}

/// How many pods there are to be.
pub(super) fn replicas(at: &At<'_>, errors: &mut Errors) {
    at.not_negative(errors);
    if at.number().is_some_and(|count| count > REPLICAS_MAX) {
        at.invalid(
            errors,
            format!("must be less than or equal to {REPLICAS_MAX}"),
        );
    }
}

/// A template whose pods never end by themselves.
fn always_running(spec: &At<'_>, kind: &str, claims: Option<&At<'_>>, errors: &mut Errors) {
    let template = spec.child("template");
    pod::template(&template, claims, errors);
    let policy = template.under(&["spec", "restartPolicy"]);
    if ["OnFailure", "Never"].contains(&policy.text()) {
        policy.one_of(errors, &["Always"]);
    }
    let deadline = template.under(&["spec", "activeDeadlineSeconds"]);
    if deadline.is_present() {
        deadline.forbidden(
            errors,
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

fn counts(spec: &At<'_>, errors: &mut Errors) {
    spec.child("minReadySeconds").not_negative(errors);
    spec.child("revisionHistoryLimit").not_negative(errors);
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "Recreate" if rolling.is_present() => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            rolling.forbidden(errors, why);
        }
        "" | "Recreate" => {}
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
            share(&unavailable, errors);
            probe::count_or_percent(&surge, errors);
            let has_both = unavailable.is_present() && surge.is_present();
            if has_both && amount(&unavailable) == 0 && amount(&surge) == 0 {
                unavailable.invalid(errors, "may not be 0 when `maxSurge` is 0");
            }
        }
        _ => unknown(strategy, errors, &["Recreate", "RollingUpdate"]),
    }
}

fn unknown(strategy: &At<'_>, errors: &mut Errors, known: &[&str]) {
    errors.push(FieldError::not_supported(
        strategy.path(),
        strategy.value(),
        known,
    ));
}

/// A number, or a part of all.
fn share(at: &At<'_>, errors: &mut Errors) {
    probe::count_or_percent(at, errors);
    if at.value().is_string() && amount(at) > 100 {
        at.invalid(errors, "must not be greater than 100%");
    }
}

/// The number, be it a percentage or not.
fn amount(at: &At<'_>) -> i64 {
    let percent = at.text().trim_end_matches('%');
    at.number()
        .or_else(|| percent.parse().ok())
        .unwrap_or_default()
}
