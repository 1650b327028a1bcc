//! Jobs: pods that come to an end, until enough of them have succeeded. A Job and its pods come
//! in; its status, pods to make and pods to delete go out.
//!
//! Each pod is counted once, however often a leader ends between two steps (Kubernetes KEP-2307,
//! "Job tracking without lingering pods"):
//! - A pod has the finalizer [`FINALIZER`] from its birth, so that it can't go before it has been
//!   seen to end.
//! - The status names it in `uncountedTerminatedPods` first; then it loses the finalizer; then
//!   its uid goes out of the list and into the number, in one write. So a pod with the finalizer
//!   is in no number, and one without is in the number or in the list. A success of an indexed
//!   Job is noted in `completedIndexes` instead, where it can't be noted twice.
//! - A running pod that is not to be counted when it ends loses the finalizer before it is
//!   deleted; one that runs without is deleted.
//!
//! The status says what was seen, and is written before anything is done. A Job that has ended
//! says so in two steps: `SuccessCriteriaMet` or `FailureTarget` once it is known how, `Complete`
//! or `Failed` when nothing of it runs and all its pods are counted. (Kubernetes documentation,
//! "Jobs".)

mod backoff;
mod end;
mod manage;
mod orphans;
mod policy;
mod spec;
mod status;
mod tally;

use std::sync::Arc;

use serde_json::Value;

use self::{manage::Doing, spec::Spec, tally::Tally};
use super::{
    conditions,
    owners::{self, Claims},
    world::{self, Change, Plan, Step, View},
};
use crate::core::{
    kinds::{JOBS, PODS},
    object::{self, Name},
    selector::LabelSelector,
};

const COMPONENT: &str = "job-controller";
/// Who takes care of Jobs that name nobody else.
const MANAGER: &str = "kubernetes.io/job-controller";
/// Keeps a pod until it has been counted.
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Which of an indexed Job's pods it is: an annotation and a label.
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What to do about one Job; or about a pod that was one's, see [`orphans`]. `failed`: why the
/// last plan for it could not be carried out.
pub(super) fn plan(view: &dyn View, key: &Name, now_ms: u64, failed: Option<&str>) -> Plan {
    if key.kind == &PODS {
        return orphans::plan(view, key);
    }
    let Some(job) = view.get(&JOBS, &key.namespace, &key.name) else {
        return Plan::default();
    };
    if is_managed_elsewhere(&job) {
        return end::expire(&job, now_ms);
    }
    if end::has_ended(&job) {
        return end::plan(view, &job, now_ms);
    }
    let Ok(selector) = LabelSelector::from_json(&job["spec"]["selector"]) else {
        return Plan::default();
    };
    let Claims { owned, steps } = owners::claim(view, &JOBS, &job, &PODS, &selector);
    if !steps.is_empty() {
        // The next plan sees them as they are then.
        return Plan::of(steps.into_iter().map(tracked_if_owned).collect());
    }
    go_on(view, &job, &owned, now_ms, failed)
}

/// What to do about a Job that has not ended.
fn go_on(
    view: &dyn View,
    job: &Value,
    owned: &[Arc<Value>],
    now_ms: u64,
    failed: Option<&str>,
) -> Plan {
    let spec = Spec::of(job);
    let mut tally = Tally::of(&spec, job, owned);
    let verdict = end::verdict(&spec, job, owned, &tally, now_ms);
    tally.record(&spec, job, owned, verdict.as_ref());
    let Doing { steps, again_in_ms } =
        manage::steps(view, &spec, job, owned, &tally, verdict.as_ref(), now_ms);
    let mut plan = status::steps(&spec, job, owned, &tally, verdict.as_ref(), now_ms);
    plan.again_in(again_in_ms);
    if verdict.is_none() {
        plan.again_in(end::deadline_in_ms(&spec, job, now_ms));
    }
    let creates = |step: &Step| matches!(step, Step::Create { .. });
    if let Some(why) = failed.filter(|_| steps.iter().any(creates)) {
        let about = world::reference(&JOBS, job);
        let message = format!("Error creating: {why}");
        let event = world::Event::warning(COMPONENT, about, "FailedCreate", message);
        plan.steps.push(event);
    }
    let released = tally.released().map(|pod| untracked(pod));
    plan.steps.extend(released);
    plan.steps.extend(steps);
    plan
}

fn is_managed_elsewhere(job: &Value) -> bool {
    let manager = job["spec"]["managedBy"].as_str();
    manager.is_some_and(|manager| manager != MANAGER)
}

/// Whether a condition holds.
fn is_condition(job: &Value, name: &str) -> bool {
    conditions::find(&job["status"], name).is_some_and(|one| one["status"] == "True")
}

fn is_tracked(pod: &Value) -> bool {
    object::finalizers(pod).any(|one| one == FINALIZER)
}

/// The pod may go, as far as its Job is concerned.
fn untracked(pod: &Value) -> Step {
    Step::Update {
        kind: &PODS,
        object: with_finalizer(pod, false),
    }
}

fn with_finalizer(pod: &Value, is_tracked: bool) -> Value {
    let own = is_tracked.then_some(FINALIZER);
    let others = object::finalizers(pod).filter(|one| *one != FINALIZER);
    let all: Vec<Value> = others.chain(own).map(Value::from).collect();
    let mut pod = pod.clone();
    let meta = object::meta_mut(&mut pod);
    match all.is_empty() {
        true => meta.remove("finalizers"),
        false => meta.insert("finalizers".to_owned(), Value::Array(all)),
    };
    pod
}

/// A pod that is taken is counted; one that is let go is not.
fn tracked_if_owned(step: Step) -> Step {
    match step {
        Step::Update { kind, object } => Step::Update {
            kind,
            object: with_finalizer(&object, object::controller(&object).is_some()),
        },
        other => other,
    }
}

/// Which Jobs a change is about, and which pods have no Job any more.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == &JOBS {
        keys.extend(change.name());
        orphans::left(view, change, &mut keys);
    }
    if change.kind != &PODS {
        return keys;
    }
    for pod in change.sides() {
        if let Some(job) = owner(view, pod) {
            world::push_once(&mut keys, Name::of(&JOBS, &job));
        } else if object::controller(pod).is_none() {
            for job in view.list(&JOBS, Some(object::namespace(pod))) {
                let selector = LabelSelector::from_json(&job["spec"]["selector"]);
                if selector.is_ok_and(|selector| owners::selects(&selector, pod)) {
                    world::push_once(&mut keys, Name::of(&JOBS, &job));
                }
            }
        }
    }
    if let Some(pod) = change.new.filter(|pod| orphans::is_one(view, pod)) {
        world::push_once(&mut keys, Name::of(&PODS, pod));
    }
    keys
}

/// The Job that controls a pod, if it is there.
fn owner(view: &dyn View, pod: &Value) -> Option<Arc<Value>> {
    let owner = object::controller(pod).filter(|owner| owner["kind"] == JOBS.kind)?;
    let name = owner["name"].as_str().unwrap_or_default();
    let job = view.get(&JOBS, object::namespace(pod), name)?;
    (owner["uid"] == object::uid(&job)).then_some(job)
}
