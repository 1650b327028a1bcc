//! CronJobs: a Job at each time of a schedule. A CronJob and its Jobs come in; the next Job, old
//! Jobs to delete and its status go out.
//!
//! - There is one Job at most for a scheduled time: its name is that of the CronJob and the
//!   minute. `status.lastScheduleTime` is written right behind it, and if that fails, by the next
//!   plan, which finds the time in the Job's annotation.
//! - Only the last of the times that were missed is made up for, and only until
//!   `startingDeadlineSeconds` have passed.
//! - What is not started is told once for each time; an annotation of the CronJob remembers the
//!   last one told, so that a plan can come to rest.
//!
//! (Kubernetes documentation, "CronJob".)

mod due;
mod jobs;
mod status;

use serde_json::{Value, json};

use self::{due::Due, jobs::Jobs};
use super::{
    owners,
    world::{self, Change, Event, Plan, Step, View},
};
use crate::core::{
    kinds::{self, CRON_JOBS, JOBS},
    object::{self, Name},
    time::format_rfc3339,
};

const COMPONENT: &str = "cronjob-controller";
/// For which time a Job was made.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// The last time that was told not to have been kept.
const MISSED: &str = "atoll.dev/missed-schedule-time";

/// What to do about one CronJob. `failed`: why the last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    let Some(cron) = view.get(&CRON_JOBS, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let jobs = Jobs::of(view, &cron);
    let mut steps = status::steps(&cron, &jobs);
    steps.extend(jobs::outdated(&cron, &jobs));
    let is_idle = object::is_being_deleted(&cron) || cron["spec"]["suspend"] == true;
    if is_idle {
        return Plan::of(steps);
    }
    let due = Due::of(&cron, now_ms / 1_000);
    // What follows is planned from what the status says then.
    if steps.is_empty()
        && let Some(scheduled_s) = due.scheduled_s
    {
        steps = start(view, &cron, &jobs, &due, scheduled_s, failed);
    }
    let mut plan = Plan::of(steps);
    let next_ms = due.next_s.map(|next_s| next_s.saturating_mul(1_000));
    plan.again_in(next_ms.map(|next_ms| next_ms.saturating_sub(now_ms).max(1)));
    plan
}

/// Starts the Job of a time that has come, unless it has been started, is too late, or may not
/// run beside another.
fn start(
    view: &dyn View,
    cron: &Value,
    jobs: &Jobs,
    due: &Due,
    scheduled_s: u64,
    failed: Option<&str>,
) -> Vec<Step> {
    let name = format!("{}-{}", object::name(cron), scheduled_s / 60);
    let namespace = object::namespace(cron);
    let is_there = view.get(&JOBS, namespace, &name).is_some();
    let space = view.get(&kinds::NAMESPACES, "", namespace);
    if is_there || space.is_some_and(|space| object::is_being_deleted(&space)) {
        return Vec::new();
    }
    let time = format_rfc3339(scheduled_s * 1_000);
    if due.is_late {
        let message = format!("Missed scheduled time to start a job: {time}");
        return missed(cron, &time, true, "MissSchedule", message);
    }
    let policy = cron["spec"]["concurrencyPolicy"].as_str();
    let has_active = jobs.active().next().is_some();
    if policy == Some("Forbid") && has_active {
        let message =
            "Not starting job because prior execution is running and concurrency policy is Forbid";
        return missed(cron, &time, false, "JobAlreadyActive", message.to_owned());
    }
    let about = || world::reference(&CRON_JOBS, cron);
    let warning = |reason, message| Event::warning(COMPONENT, about(), reason, message);
    let mut steps = Vec::new();
    if due.missed > due::MISSED_MAX {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        steps.push(warning("TooManyMissedTimes", message.to_owned()));
    }
    if let Some(why) = failed {
        steps.push(warning(
            "FailedCreate",
            format!("Error creating job: {why}"),
        ));
    }
    let mut started = cron.clone();
    if policy == Some("Replace") {
        steps.extend(jobs.active().flat_map(|job| jobs::delete(cron, job)));
        status::forget_active(&mut started);
    }
    let message = format!("Created job {name}");
    steps.push(Step::Create {
        kind: &JOBS,
        object: new_job(cron, &name, scheduled_s),
    });
    steps.push(Event::normal(
        COMPONENT,
        about(),
        "SuccessfulCreate",
        message,
    ));
    status::note_schedule(&mut started, &time);
    steps.push(Step::UpdateStatus {
        kind: &CRON_JOBS,
        object: started,
    });
    steps
}

/// Tells that no Job is started for a time, unless that was told.
fn missed(
    cron: &Value,
    time: &str,
    is_warning: bool,
    reason: &'static str,
    message: String,
) -> Vec<Step> {
    if object::annotation(cron, MISSED) == Some(time) {
        return Vec::new();
    }
    let mut object = cron.clone();
    object["metadata"]["annotations"][MISSED] = json!(time);
    let about = world::reference(&CRON_JOBS, cron);
    let event = match is_warning {
        true => Event::warning(COMPONENT, about, reason, message),
        false => Event::normal(COMPONENT, about, reason, message),
    };
    let kind = &CRON_JOBS;
    vec![Step::Update { kind, object }, event]
}

fn new_job(cron: &Value, name: &str, scheduled_s: u64) -> Value {
    let time = due::zone(cron).map(|zone| zone.format(scheduled_s));
    let template = &cron["spec"]["jobTemplate"];
    let mut job = json!({
        "apiVersion": JOBS.api_version(),
        "kind": JOBS.kind,
        "metadata": {
            "name": name,
            "namespace": object::namespace(cron),
            "ownerReferences": [owners::controller_reference(&CRON_JOBS, cron)],
        },
        "spec": template["spec"],
    });
    for field in ["labels", "annotations"] {
        if let Some(value) = template["metadata"].get(field) {
            job["metadata"][field] = value.clone();
        }
    }
    job["metadata"]["annotations"][SCHEDULED] = json!(time);
    job
}

/// Which CronJobs a change is about.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &CRON_JOBS {
        keys.extend(change.name());
    }
    if change.kind != &JOBS {
        return keys;
    }
    for job in change.sides() {
        let owner = object::controller(job).filter(|owner| owner["kind"] == CRON_JOBS.kind);
        let Some(owner) = owner else {
            continue;
        };
        let name = owner["name"].as_str().unwrap_or_default();
        let cron = view.get(&CRON_JOBS, object::namespace(job), name);
        if let Some(cron) = cron.filter(|cron| owner["uid"] == object::uid(cron)) {
            world::push_once(&mut keys, Name::of(&CRON_JOBS, &cron));
        }
    }
    keys
}
