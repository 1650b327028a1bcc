//! What a Deployment's status says, as `kubectl rollout status` reads it: how many pods there are,
//! how many of them are of the present template, and how the rollout goes.

use serde_json::{Value, json};

use super::{Rollout, sets::Set};
use crate::core::{
    controllers::conditions::{self, Condition, Times},
    object,
    time::{format_rfc3339, parse_rfc3339},
};

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The status that the Deployment is to have. `judges`: whether the rollout goes on, so that its
/// progress can be told. `failed`: why the last plan could not be carried out.
pub(super) fn status(rollout: &Rollout<'_>, judges: bool, failed: Option<&str>) -> Value {
    let was = conditions::status_of(rollout.deployment);
    let mut teller = Teller {
        rollout,
        now: format_rfc3339(rollout.now_ms),
        status: was.clone(),
    };
    if rollout.numbers.progress_deadline_s.is_some() && !rollout.is_ending() {
        teller.tell_pause();
        teller.tell_new(failed);
    }
    teller.count();
    teller.tell_available();
    if judges {
        teller.tell_progress(&was);
        teller.tell_failure();
    }
    teller.status
}

/// Whether all is as it is to be.
pub(super) fn is_complete(rollout: &Rollout<'_>, status: &Value) -> bool {
    let wanted = rollout.numbers.replicas;
    let generation = rollout.deployment["metadata"]["generation"].as_i64();
    ["updatedReplicas", "replicas", "availableReplicas"]
        .iter()
        .all(|field| number(status, field) == wanted)
        && number(status, "observedGeneration") >= generation.unwrap_or_default()
}

/// In how many milliseconds the rollout has made no progress for too long.
pub(super) fn deadline_in_ms(rollout: &Rollout<'_>, status: &Value) -> Option<u64> {
    let deadline_s = rollout.numbers.progress_deadline_s?;
    let progressing = conditions::find(status, PROGRESSING)?;
    let is_decided = progressing["reason"] == COMPLETE || progressing["reason"] == TIMED_OUT;
    if is_decided || rollout.numbers.is_paused || rollout.is_ending() {
        return None;
    }
    let since_ms = parse_rfc3339(progressing["lastUpdateTime"].as_str()?)?;
    let at_ms = since_ms.saturating_add(deadline_s.saturating_mul(1_000));
    // Times are written in whole seconds.
    Some(at_ms.saturating_sub(rollout.now_ms).saturating_add(1_000))
}

fn number(status: &Value, field: &str) -> i64 {
    status[field].as_i64().unwrap_or_default()
}

struct Teller<'a> {
    rollout: &'a Rollout<'a>,
    now: String,
    status: Value,
}

impl Teller<'_> {
    fn set(&mut self, name: &str, status: &str, reason: &str, message: &str) {
        let condition = Condition {
            name,
            status,
            reason,
            message,
        };
        conditions::set(
            &mut self.status,
            &condition,
            &self.now,
            Times::TransitionAndUpdate,
        );
    }

    fn progressing(&self) -> &str {
        let condition = conditions::find(&self.status, PROGRESSING);
        let reason = condition.and_then(|condition| condition["reason"].as_str());
        reason.unwrap_or_default()
    }

    /// A rollout that is paused makes no progress, and that is no failure.
    fn tell_pause(&mut self) {
        let reason = self.progressing();
        if reason == TIMED_OUT {
            return;
        }
        let was_paused = reason == PAUSED;
        match (was_paused, self.rollout.numbers.is_paused) {
            (false, true) => self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused"),
            (true, false) => {
                let message = "Deployment is resumed";
                self.set(PROGRESSING, "Unknown", "DeploymentResumed", message);
            }
            _ => {}
        }
    }

    /// Says that there is a new ReplicaSet, or that it could not be made: from then on there is a
    /// rollout whose progress is watched.
    fn tell_new(&mut self, failed: Option<&str>) {
        let Some(new) = &self.rollout.new else {
            return;
        };
        let name = object::name(&new.object);
        if self.rollout.is_new_made {
            match failed {
                Some(why) => {
                    let message = format!("Failed to create new replica set {name:?}: {why}");
                    self.set(PROGRESSING, "False", "ReplicaSetCreateError", &message);
                }
                None => {
                    let message = format!("Created new replica set {name:?}");
                    self.set(PROGRESSING, "True", "NewReplicaSetCreated", &message);
                }
            }
            return;
        }
        let condition = conditions::find(&self.status, PROGRESSING);
        let speaks_of_another = condition.is_none_or(|condition| {
            let message = condition["message"].as_str().unwrap_or_default();
            condition["reason"] == COMPLETE && !message.contains(&format!("{name:?}"))
        });
        if speaks_of_another {
            let message = format!("Found new replica set {name:?}");
            self.set(PROGRESSING, "True", "FoundNewReplicaSet", &message);
        }
    }

    fn count(&mut self) {
        let rollout = self.rollout;
        let sum = |field: &str| rollout.sets().map(|set| set.observed(field)).sum::<i64>();
        let available = sum("availableReplicas");
        let wanted: i64 = rollout.sets().map(Set::replicas).sum();
        let updated = rollout.new.as_ref().map(|new| new.observed("replicas"));
        let generation = rollout.deployment["metadata"]["generation"].as_i64();
        for (field, count) in [
            ("observedGeneration", generation.unwrap_or_default()),
            ("replicas", sum("replicas")),
            ("updatedReplicas", updated.unwrap_or_default()),
            ("readyReplicas", sum("readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (wanted - available).max(0)),
        ] {
            conditions::set_count(&mut self.status, field, count);
        }
        self.status["terminatingReplicas"] = json!(sum("terminatingReplicas"));
    }

    fn tell_available(&mut self) {
        let is_available =
            number(&self.status, "availableReplicas") >= self.rollout.numbers.least_available();
        let (status, reason, message) = match is_available {
            true => (
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            ),
            false => (
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            ),
        };
        self.set(AVAILABLE, status, reason, message);
    }

    fn tell_progress(&mut self, was: &Value) {
        let Some(deadline_s) = self.rollout.numbers.progress_deadline_s else {
            conditions::remove(&mut self.status, PROGRESSING);
            return;
        };
        let has_ended = self.progressing() == COMPLETE
            && number(&self.status, "replicas") == number(&self.status, "updatedReplicas");
        if has_ended {
            return;
        }
        let what = match &self.rollout.new {
            Some(new) => format!("ReplicaSet {:?}", object::name(&new.object)),
            None => format!("Deployment {:?}", object::name(self.rollout.deployment)),
        };
        if is_complete(self.rollout, &self.status) {
            let message = format!("{what} has successfully progressed.");
            self.set(PROGRESSING, "True", COMPLETE, &message);
        } else if has_progressed(was, &self.status) {
            let condition = Condition {
                name: PROGRESSING,
                status: "True",
                reason: "ReplicaSetUpdated",
                message: &format!("{what} is progressing."),
            };
            let times = Times::TransitionAndUpdate;
            conditions::put(&mut self.status, &condition, &self.now, times);
        } else if self.is_too_late(deadline_s) {
            let message = format!("{what} has timed out progressing.");
            self.set(PROGRESSING, "False", TIMED_OUT, &message);
        }
    }

    fn is_too_late(&self, deadline_s: u64) -> bool {
        let Some(condition) = conditions::find(&self.status, PROGRESSING) else {
            return false;
        };
        let since_ms = condition["lastUpdateTime"].as_str().and_then(parse_rfc3339);
        condition["reason"] != COMPLETE
            && since_ms.is_some_and(|since_ms| {
                since_ms.saturating_add(deadline_s.saturating_mul(1_000)) < self.rollout.now_ms
            })
    }

    /// What keeps a ReplicaSet from making pods, first of all the new one.
    fn tell_failure(&mut self) {
        let rollout = self.rollout;
        let newest_first = rollout.new.iter().chain(&rollout.old);
        let failure = newest_first
            .filter_map(|set| conditions::find(&set.object["status"], REPLICA_FAILURE))
            .next();
        let Some(failure) = failure else {
            conditions::remove(&mut self.status, REPLICA_FAILURE);
            return;
        };
        let text = |field: &str| failure[field].as_str().unwrap_or_default();
        let (status, reason, message) = (text("status"), text("reason"), text("message"));
        self.set(REPLICA_FAILURE, status, reason, message);
    }
}

/// More new pods, fewer old ones, or more that work.
fn has_progressed(was: &Value, is: &Value) -> bool {
    let old_pods = |status: &Value| number(status, "replicas") - number(status, "updatedReplicas");
    old_pods(is) < old_pods(was)
        || ["updatedReplicas", "readyReplicas", "availableReplicas"]
            .iter()
            .any(|field| number(is, field) > number(was, field))
}
