//! What a CronJob says of itself: which of its Jobs run, for which time the last one was made, and
//! when one has last succeeded.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{
        conditions,
        world::{self, Event, Step},
    },
    COMPONENT,
    jobs::{self, Jobs},
};
use crate::core::{
    kinds::{CRON_JOBS, JOBS},
    object,
    time::parse_rfc3339,
};

/// Writes the status, if it is another one, and tells which Jobs have ended.
pub(super) fn steps(cron: &Value, jobs: &Jobs) -> Vec<Step> {
    let mut object = cron.clone();
    object["status"] = conditions::status_of(cron);
    let mut events = Vec::new();
    let active = active(cron, jobs, &mut events);
    set_active(&mut object, active);
    for job in &jobs.all {
        if let Some(time) = jobs::scheduled(job) {
            later(&mut object, "lastScheduleTime", time);
        }
        let completed = job["status"]["completionTime"].as_str();
        if let (Some("Complete"), Some(time)) = (jobs::end(job), completed) {
            later(&mut object, "lastSuccessfulTime", time);
        }
    }
    // None and an empty one say the same.
    if object["status"] == conditions::status_of(cron) {
        return Vec::new();
    }
    let kind = &CRON_JOBS;
    let update = Step::UpdateStatus { kind, object };
    std::iter::once(update).chain(events).collect()
}

/// Those of the list that still run, in their order, and the others that run.
fn active(cron: &Value, jobs: &Jobs, events: &mut Vec<Step>) -> Vec<Value> {
    let listed: Vec<&Value> = object::items(&cron["status"]["active"]).collect();
    let mut tell = |reason, message| {
        let about = world::reference(&CRON_JOBS, cron);
        events.push(Event::normal(COMPONENT, about, reason, message));
    };
    let mut active = Vec::new();
    for entry in &listed {
        let name = entry["name"].as_str().unwrap_or_default();
        let found = jobs.all.iter().find(|job| entry["uid"] == object::uid(job));
        match found.map(|job| jobs::end(job)) {
            None => tell("MissingJob", format!("Active job went missing: {name}")),
            Some(None) => active.push((*entry).clone()),
            Some(Some(end)) => {
                let message = format!("Saw completed job: {name}, status: {end}");
                tell("SawCompletedJob", message);
            }
        }
    }
    let is_listed = |job: &&Arc<Value>| listed.iter().any(|entry| entry["uid"] == object::uid(job));
    let new = jobs.active().filter(|job| !is_listed(job));
    active.extend(new.map(|job| world::reference(&JOBS, job)));
    active
}

fn set_active(cron: &mut Value, active: Vec<Value>) {
    let status = object::child_mut(cron, "status");
    match active.is_empty() {
        true => status.remove("active"),
        false => status.insert("active".to_owned(), Value::Array(active)),
    };
}

/// No Job of it runs any more.
pub(super) fn forget_active(cron: &mut Value) {
    set_active(cron, Vec::new());
}

/// A Job was made for this time.
pub(super) fn note_schedule(cron: &mut Value, time: &str) {
    later(cron, "lastScheduleTime", time);
}

/// Sets a time, unless a later one is there.
fn later(cron: &mut Value, field: &str, time: &str) {
    let status = object::child_mut(cron, "status");
    let found = status.get(field).and_then(Value::as_str);
    if found.and_then(parse_rfc3339) < parse_rfc3339(time) {
        status.insert(field.to_owned(), json!(time));
    }
}
