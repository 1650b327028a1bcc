//! The defaults of what makes pods.

use serde_json::{Value, json};

use super::{Object, absent, child, is_absent, items, pod, present, text};

/// How often a job's pods may fail.
const BACKOFF_LIMIT: i64 = 6;

fn templated(object: &mut Object) -> Option<&mut Object> {
    let spec = child(object, "spec")?;
    if let Some(template) = child(spec, "template") {
        pod::template(template);
    }
    Some(spec)
}

/// A Deployment.
pub(super) fn deployment(object: &mut Object) {
    let Some(spec) = templated(object) else {
        return;
    };
    absent(spec, "replicas", json!(1));
    absent(spec, "revisionHistoryLimit", json!(10));
    absent(spec, "progressDeadlineSeconds", json!(600));
    let Some(strategy) = child(spec, "strategy") else {
        return;
    };
    text(strategy, "type", "RollingUpdate");
    if strategy.get("type") == Some(&json!("RollingUpdate"))
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        absent(rolling, "maxUnavailable", json!("25%"));
        absent(rolling, "maxSurge", json!("25%"));
    }
}

/// A ReplicaSet.
pub(super) fn replica_set(object: &mut Object) {
    if let Some(spec) = templated(object) {
        absent(spec, "replicas", json!(1));
    }
}

/// A StatefulSet.
pub(super) fn stateful_set(object: &mut Object) {
    let Some(spec) = templated(object) else {
        return;
    };
    absent(spec, "replicas", json!(1));
    absent(spec, "revisionHistoryLimit", json!(10));
    text(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = child(spec, "updateStrategy") {
        text(strategy, "type", "RollingUpdate");
        if strategy.get("type") == Some(&json!("RollingUpdate"))
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            absent(rolling, "partition", json!(0));
        }
    }
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        text(policy, "whenDeleted", "Retain");
        text(policy, "whenScaled", "Retain");
    }
    for claim in items(spec, "volumeClaimTemplates") {
        text(claim, "apiVersion", "v1");
        text(claim, "kind", "PersistentVolumeClaim");
        if let Some(spec) = child(claim, "spec") {
            text(spec, "volumeMode", "Filesystem");
        }
        if let Some(status) = child(claim, "status") {
            text(status, "phase", "Pending");
        }
    }
}

/// A DaemonSet.
pub(super) fn daemon_set(object: &mut Object) {
    let Some(spec) = templated(object) else {
        return;
    };
    absent(spec, "revisionHistoryLimit", json!(10));
    let Some(strategy) = child(spec, "updateStrategy") else {
        return;
    };
    text(strategy, "type", "RollingUpdate");
    if strategy.get("type") == Some(&json!("RollingUpdate"))
        && let Some(rolling) = child(strategy, "rollingUpdate")
    {
        absent(rolling, "maxUnavailable", json!(1));
        absent(rolling, "maxSurge", json!(0));
    }
}

/// A ReplicationController; its template's labels serve where it has none.
pub(super) fn replication_controller(object: &mut Object) {
    let Some(spec) = templated(object) else {
        return;
    };
    absent(spec, "replicas", json!(1));
    let Some(labels) = template_labels(spec) else {
        return;
    };
    if is_absent(spec, "selector") {
        spec.insert("selector".to_owned(), labels.clone());
    }
    labels_if_none(object, labels);
}

fn template_labels(spec: &Object) -> Option<Value> {
    let labels = spec.get("template")?.pointer("/metadata/labels")?;
    Some(labels.clone()).filter(Value::is_object)
}

fn labels_if_none(object: &mut Object, labels: Value) {
    if let Some(meta) = child(object, "metadata")
        && is_absent(meta, "labels")
    {
        meta.insert("labels".to_owned(), labels);
    }
}

/// A Job.
pub(super) fn job(object: &mut Object) {
    let Some(spec) = templated(object) else {
        return;
    };
    let is_of_one = ["completions", "parallelism"];
    if is_of_one
        .iter()
        .all(|field| spec.get(*field).is_none_or(Value::is_null))
    {
        spec.insert("completions".to_owned(), json!(1));
    }
    absent(spec, "parallelism", json!(1));
    let is_by_index = spec
        .get("backoffLimitPerIndex")
        .is_some_and(|limit| !limit.is_null());
    let limit = if is_by_index {
        i64::from(i32::MAX)
    } else {
        BACKOFF_LIMIT
    };
    absent(spec, "backoffLimit", json!(limit));
    text(spec, "completionMode", "NonIndexed");
    absent(spec, "suspend", json!(false));
    let fails = present(spec, "podFailurePolicy").map(|policy| {
        let patterns = items(policy, "rules");
        for pattern in patterns.flat_map(|rule| items(rule, "onPodConditions")) {
            text(pattern, "status", "True");
        }
    });
    let replaced = if fails.is_some() {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    text(spec, "podReplacementPolicy", replaced);
    if let Some(labels) = template_labels(spec) {
        labels_if_none(object, labels);
    }
}

/// A CronJob. Its jobs get theirs when they are made.
pub(super) fn cron_job(object: &mut Object) {
    let Some(spec) = child(object, "spec") else {
        return;
    };
    text(spec, "concurrencyPolicy", "Allow");
    absent(spec, "suspend", json!(false));
    absent(spec, "successfulJobsHistoryLimit", json!(3));
    absent(spec, "failedJobsHistoryLimit", json!(1));
    if let Some(job) = child(spec, "jobTemplate") {
        templated(job);
    }
}
