//! What a Job says of itself: written before anything that follows from it is done.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{
        conditions::{self, Condition, Times, set_count},
        pods,
        world::{self, Event, Plan, Step},
    },
    COMPONENT,
    end::{SUSPENDED, Verdict},
    is_condition, is_tracked,
    spec::Spec,
    tally::{Tally, is_stopping},
};
use crate::core::{kinds::JOBS, object, time::format_rfc3339};

/// The status that is to be, and what has to be told of it.
struct Telling<'a> {
    job: &'a Value,
    status: Value,
    now: String,
    events: Vec<Step>,
}

/// Writes the status, if it is another one.
pub(super) fn steps(
    spec: &Spec<'_>,
    job: &Value,
    owned: &[Arc<Value>],
    tally: &Tally,
    verdict: Option<&Verdict>,
    now_ms: u64,
) -> Plan {
    let mut telling = Telling {
        job,
        status: conditions::status_of(job),
        now: format_rfc3339(now_ms),
        events: Vec::new(),
    };
    if telling.status["startTime"].is_null() && !spec.is_suspended {
        telling.status["startTime"] = json!(telling.now);
    }
    counts(&mut telling.status, spec, owned, tally);
    match verdict {
        Some(verdict) => telling.end(spec, owned, verdict),
        None if !object::is_being_deleted(job) => telling.suspension(spec),
        None => {}
    }
    let mut plan = Plan::default();
    if job["status"] != telling.status {
        let mut object = job.clone();
        object["status"] = telling.status;
        let kind = &JOBS;
        plan.steps.push(Step::UpdateStatus { kind, object });
        plan.steps.extend(telling.events);
    }
    plan
}

fn counts(status: &mut Value, spec: &Spec<'_>, owned: &[Arc<Value>], tally: &Tally) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let count = |is_one: &dyn Fn(&Value) -> bool| {
        let found = owned.iter().filter(|pod| is_one(pod));
        number(found.count() as u64)
    };
    let ready = count(&|pod| pods::is_active(pod) && pods::is_ready(pod));
    let (active, stopping) = (count(&pods::is_active), count(&is_stopping));
    set_count(status, "active", active);
    status["ready"] = json!(ready);
    status["terminating"] = json!(stopping);
    set_count(status, "succeeded", number(tally.counted_succeeded(spec)));
    set_count(status, "failed", number(tally.counted_failed));
    let mut uncounted = json!({});
    for (field, uids) in [
        ("succeeded", &tally.uncounted_succeeded),
        ("failed", &tally.uncounted_failed),
    ] {
        if !uids.is_empty() {
            uncounted[field] = json!(uids);
        }
    }
    status["uncountedTerminatedPods"] = uncounted;
    let fields = status.as_object_mut().expect("a status is an object");
    match tally.completed.is_empty() {
        true => fields.remove("completedIndexes"),
        false => fields.insert(
            "completedIndexes".to_owned(),
            json!(tally.completed.to_text()),
        ),
    };
    match &tally.failed_indexes {
        None => fields.remove("failedIndexes"),
        Some(failed) => fields.insert("failedIndexes".to_owned(), json!(failed.to_text())),
    };
}

impl Telling<'_> {
    fn event(&mut self, is_warning: bool, reason: &str, message: &str) {
        self.events.push(Step::Event(Event {
            about: world::reference(&JOBS, self.job),
            component: COMPONENT,
            is_warning,
            reason: reason.to_owned().into(),
            message: message.to_owned(),
        }));
    }

    fn condition(&mut self, name: &str, status: &str, reason: &str, message: &str) {
        let condition = Condition {
            name,
            status,
            reason,
            message,
        };
        conditions::put(&mut self.status, &condition, &self.now, Times::Transition);
        let all = self.status["conditions"].as_array_mut();
        for one in all.into_iter().flatten() {
            if one["type"] == name {
                one["lastProbeTime"] = json!(self.now);
            }
        }
    }

    /// How it ends; and that it has, when no pod runs or waits to be counted.
    fn end(&mut self, spec: &Spec<'_>, owned: &[Arc<Value>], verdict: &Verdict) {
        let (known, over) = verdict.conditions();
        let (reason, message) = (verdict.reason.as_str(), verdict.message.as_str());
        if !is_condition(self.job, known) {
            self.condition(known, "True", reason, message);
        }
        let is_waiting =
            |pod: &Arc<Value>| is_tracked(pod) || pods::is_active(pod) || is_stopping(pod);
        let uncounted = &self.status["uncountedTerminatedPods"];
        if *uncounted != json!({}) || owned.iter().any(is_waiting) {
            return;
        }
        self.condition(over, "True", reason, message);
        if verdict.is_failure {
            return self.event(true, reason, message);
        }
        self.status["completionTime"] = json!(self.now);
        if self.status["startTime"].is_null() {
            self.status["startTime"] = json!(self.now);
        }
        let succeeded = self.status["succeeded"].as_u64().unwrap_or_default();
        if spec.completions.is_some_and(|wanted| succeeded > wanted) {
            let message = "Too many succeeded pods running after completion count reached";
            self.event(true, "TooManySucceededPods", message);
        }
        self.event(false, "Completed", "Job completed");
    }

    /// That it is suspended, or goes on: its time begins anew then.
    fn suspension(&mut self, spec: &Spec<'_>) {
        let was_suspended = is_condition(self.job, SUSPENDED);
        if spec.is_suspended && !was_suspended {
            self.condition(SUSPENDED, "True", "JobSuspended", "Job suspended");
            self.event(false, "Suspended", "Job suspended");
        } else if !spec.is_suspended && was_suspended {
            self.condition(SUSPENDED, "False", "JobResumed", "Job resumed");
            self.event(false, "Resumed", "Job resumed");
            self.status["startTime"] = json!(self.now);
        }
    }
}
