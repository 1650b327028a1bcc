//! How a Job ends, and what is left to do when it has.

use std::sync::Arc;

use serde_json::Value;

use super::{
    super::{
        conditions, pods,
        world::{self, BURST, Plan, Step, View},
    },
    is_condition, is_tracked,
    policy::{self, Action},
    spec::Spec,
    tally::{Outcome, Tally, outcome},
    untracked,
};
use crate::core::{
    kinds::{JOBS, PODS},
    lifecycle::{Deletion, Propagation},
    object::{self, Name},
    time::parse_rfc3339,
};

/// How it ends, though something of it may still run: the conditions that say so.
pub(super) const SUCCESS: (&str, &str) = ("SuccessCriteriaMet", "Complete");
pub(super) const FAILURE: (&str, &str) = ("FailureTarget", "Failed");
/// It has no pods for now.
pub(super) const SUSPENDED: &str = "Suspended";

/// How a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_failure: bool,
    /// In one word.
    pub(super) reason: String,
    /// In words.
    pub(super) message: String,
}

impl Verdict {
    fn failure(reason: &str, message: &str) -> Verdict {
        Verdict {
            is_failure: true,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    fn success(reason: &str, message: &str) -> Verdict {
        Verdict {
            is_failure: false,
            ..Verdict::failure(reason, message)
        }
    }

    /// The condition that says so at first, and the one at last.
    pub(super) fn conditions(&self) -> (&'static str, &'static str) {
        match self.is_failure {
            true => FAILURE,
            false => SUCCESS,
        }
    }
}

/// Whether all is over.
pub(super) fn has_ended(job: &Value) -> bool {
    is_condition(job, SUCCESS.1) || is_condition(job, FAILURE.1)
}

/// How the Job ends, once that is clear; what was said stays.
pub(super) fn verdict(
    spec: &Spec<'_>,
    job: &Value,
    owned: &[Arc<Value>],
    tally: &Tally,
    now_ms: u64,
) -> Option<Verdict> {
    said(job)
        .or_else(|| of_pods(spec, owned))
        .or_else(|| of_limits(spec, job, owned, tally, now_ms))
        .or_else(|| of_indexes(spec, tally))
        .or_else(|| of_successes(spec, owned, tally))
}

fn said(job: &Value) -> Option<Verdict> {
    [(SUCCESS.0, false), (FAILURE.0, true)]
        .into_iter()
        .filter(|(name, _)| is_condition(job, name))
        .find_map(|(name, is_failure)| {
            let found = conditions::find(&job["status"], name)?;
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            Some(Verdict {
                is_failure,
                reason: text("reason"),
                message: text("message"),
            })
        })
}

fn of_pods(spec: &Spec<'_>, owned: &[Arc<Value>]) -> Option<Verdict> {
    let mut failed = owned
        .iter()
        .filter(|pod| outcome(spec, pod) == Some(Outcome::Failed));
    failed.find_map(|pod| match policy::of_failure(spec, pod) {
        Action::FailJob(why) => Some(Verdict::failure("PodFailurePolicy", &why)),
        _ => None,
    })
}

fn of_limits(
    spec: &Spec<'_>,
    job: &Value,
    owned: &[Arc<Value>],
    tally: &Tally,
    now_ms: u64,
) -> Option<Verdict> {
    if tally.failed() > spec.backoff_limit || has_restarted_too_often(spec, owned) {
        let message = "Job has reached the specified backoff limit";
        return Some(Verdict::failure("BackoffLimitExceeded", message));
    }
    let is_late = deadline_ms(spec, job).is_some_and(|deadline_ms| now_ms >= deadline_ms);
    let message = "Job was active longer than specified deadline";
    is_late.then(|| Verdict::failure("DeadlineExceeded", message))
}

/// Containers that are restarted count as failures while their pods run.
fn has_restarted_too_often(spec: &Spec<'_>, owned: &[Arc<Value>]) -> bool {
    let restarts = |pod: &Value| -> u64 {
        let lists = ["initContainerStatuses", "containerStatuses"];
        let all = lists
            .into_iter()
            .flat_map(|list| object::items(&pod["status"][list]));
        all.filter_map(|one| one["restartCount"].as_u64()).sum()
    };
    let running = owned.iter().filter(|pod| !pods::has_ended(pod));
    let restarts: u64 = running.map(|pod| restarts(pod)).sum();
    spec.restarts && restarts > 0 && restarts >= spec.backoff_limit
}

fn of_indexes(spec: &Spec<'_>, tally: &Tally) -> Option<Verdict> {
    let failed = tally.failed_indexes.as_ref()?.count();
    if spec.max_failed_indexes.is_some_and(|max| failed > max) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Verdict::failure("MaxFailedIndexesExceeded", message));
    }
    let is_over = failed > 0 && failed + tally.completed.count() >= spec.completions.unwrap_or(0);
    is_over.then(|| Verdict::failure("FailedIndexes", "Job has failed indexes"))
}

fn of_successes(spec: &Spec<'_>, owned: &[Arc<Value>], tally: &Tally) -> Option<Verdict> {
    if let Some(message) = policy::of_success(spec, &tally.completed) {
        return Some(Verdict::success("SuccessPolicy", &message));
    }
    let succeeded = tally.succeeded(spec);
    let is_enough = match spec.completions {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0,
    };
    let is_active = owned.iter().any(|pod| pods::is_active(pod));
    let message = "Reached expected number of succeeded pods";
    (is_enough && !is_active).then(|| Verdict::success("CompletionsReached", message))
}

fn deadline_ms(spec: &Spec<'_>, job: &Value) -> Option<u64> {
    // When it goes on, its time begins anew.
    if spec.is_suspended || is_condition(job, SUSPENDED) {
        return None;
    }
    let started_ms = parse_rfc3339(job["status"]["startTime"].as_str()?)?;
    let limit_s = spec.active_deadline_s?;
    Some(started_ms.saturating_add(limit_s.saturating_mul(1_000)))
}

/// When the Job will have run for too long. One that has just begun is looked at again when its
/// status says when that was.
pub(super) fn deadline_in_ms(spec: &Spec<'_>, job: &Value, now_ms: u64) -> Option<u64> {
    let left_ms = deadline_ms(spec, job)?.saturating_sub(now_ms);
    Some(left_ms).filter(|ms| *ms > 0)
}

/// What to do about a Job that has ended: nothing of it runs, no pod waits for it, and it goes
/// after a while if it says so.
pub(super) fn plan(view: &dyn View, job: &Value, now_ms: u64) -> Plan {
    let uid = object::uid(job);
    let mut pods = view.by_owner(&PODS, uid);
    pods.retain(|pod| super::owners::is_controlled_by(pod, uid));
    let mut steps: Vec<Step> = Vec::new();
    for pod in pods {
        if steps.len() >= BURST {
            break;
        }
        if is_tracked(&pod) {
            steps.push(untracked(&pod));
        }
        if pods::is_active(&pod) {
            steps.push(world::delete(&PODS, &pod));
        }
    }
    let mut plan = expire(job, now_ms);
    plan.steps.splice(0..0, steps);
    plan
}

/// Deletes a Job that ended long enough ago, pods first.
pub(super) fn expire(job: &Value, now_ms: u64) -> Plan {
    let mut plan = Plan::default();
    let Some(expires_ms) = expires_ms(job) else {
        return plan;
    };
    if now_ms < expires_ms {
        plan.again_in(Some(expires_ms - now_ms));
        return plan;
    }
    plan.steps.push(Step::Delete {
        name: Name::of(&JOBS, job),
        deletion: Deletion {
            uid: Some(object::uid(job).to_owned()),
            // Somebody may just have said that it is to stay.
            resource_version: Some(object::meta(job, "resourceVersion").to_owned()),
            propagation: Some(Propagation::Foreground),
            ..Deletion::default()
        },
    });
    plan
}

fn expires_ms(job: &Value) -> Option<u64> {
    let ttl_s = job["spec"]["ttlSecondsAfterFinished"].as_u64()?;
    if object::is_being_deleted(job) {
        return None;
    }
    let mut ends = [SUCCESS.1, FAILURE.1]
        .into_iter()
        .filter(|name| is_condition(job, name));
    let end = conditions::find(&job["status"], ends.next()?)?;
    let ended_ms = parse_rfc3339(end["lastTransitionTime"].as_str()?)?;
    Some(ended_ms.saturating_add(ttl_s.saturating_mul(1_000)))
}
