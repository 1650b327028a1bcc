//! What a StatefulSet's status says, as `kubectl rollout status` reads it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{identity, moves, numbers::Numbers};
use crate::core::{
    controllers::conditions::{self, Condition, Times},
    object,
    time::format_rfc3339,
};

/// Says why pods can't be made or deleted.
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What the status is about.
pub(super) struct Facts<'a> {
    pub(super) set: &'a Value,
    pub(super) numbers: &'a Numbers,
    pub(super) members: &'a BTreeMap<i64, Arc<Value>>,
    pub(super) current: &'a str,
    pub(super) update: &'a str,
    pub(super) collisions: i64,
    /// Why the last plan could not be carried out, or this one makes no pod.
    pub(super) trouble: Option<String>,
    pub(super) now_ms: u64,
}

impl Facts<'_> {
    /// The status that the set is to have.
    pub(super) fn status(&self) -> Value {
        let mut status = conditions::status_of(self.set);
        let pods = || self.members.values().map(Arc::as_ref);
        let replicas = count(pods());
        let ready = count(pods().filter(|pod| moves::is_ready(pod)));
        let available = count(
            pods().filter(|pod| moves::is_available(pod, self.numbers.min_ready_s, self.now_ms)),
        );
        let of = |revision: &str| {
            count(pods().filter(|pod| {
                !object::is_being_deleted(pod) && identity::revision(pod) == revision
            }))
        };
        let updated = of(self.update);
        let wanted = self.numbers.replicas();
        // Then the update is over.
        let is_complete = [replicas, ready, updated].iter().all(|it| *it == wanted);
        let current = match is_complete {
            true => self.update,
            false => self.current,
        };
        let generation = self.set["metadata"]["generation"].as_i64();
        for (field, number) in [
            ("observedGeneration", generation.unwrap_or_default()),
            ("readyReplicas", ready),
            ("currentReplicas", of(current)),
            ("updatedReplicas", updated),
        ] {
            conditions::set_count(&mut status, field, number);
        }
        status["replicas"] = json!(replicas);
        status["availableReplicas"] = json!(available);
        status["collisionCount"] = json!(self.collisions);
        status["currentRevision"] = json!(current);
        status["updateRevision"] = json!(self.update);
        self.tell_trouble(&mut status);
        status
    }

    fn tell_trouble(&self, status: &mut Value) {
        let Some(message) = &self.trouble else {
            return conditions::remove(status, REPLICA_FAILURE);
        };
        let condition = Condition {
            name: REPLICA_FAILURE,
            status: "True",
            reason: "FailedCreate",
            message,
        };
        let now = format_rfc3339(self.now_ms);
        conditions::set(status, &condition, &now, Times::Transition);
    }
}

fn count<'a>(pods: impl Iterator<Item = &'a Value>) -> i64 {
    i64::try_from(pods.count()).unwrap_or(i64::MAX)
}
