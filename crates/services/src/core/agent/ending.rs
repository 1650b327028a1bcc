//! How a pod comes to its end: because it is deleted, is done or has run for too long. First go the
//! containers, then the sidecars, the last one first; one grace period covers them all. When
//! nothing of it runs any more, a pod that is being deleted is deleted for good.

use serde_json::Value;

use super::{
    container::{Container, Role},
    messages::Effect,
    pod::{Pod, SECONDS_MAX, seconds_ms},
    status,
    turn::Turn,
};
use crate::core::object::{self, is_being_deleted};

/// A pod's grace period, if it has none of its own.
const GRACE_S: u64 = 30;

/// Why a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Deleted,
    /// Its main containers are done, or an init container has failed for good.
    Completed,
    /// It may not run any longer.
    Deadline,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) why: Why,
    pub(super) deadline_ms: u64,
}

impl Pod {
    /// Looks whether the pod has to end, or sooner than it was to.
    pub(super) fn begin_ending(&mut self, turn: &mut Turn<'_>) {
        if is_being_deleted(&self.object) {
            self.end_by(
                Why::Deleted,
                turn.now_ms.saturating_add(deletion_grace_ms(&self.object)),
            );
        }
        if self.ending.is_some() {
            return;
        }
        let usual_ms = turn.now_ms.saturating_add(grace_ms(&self.object));
        if let Some(limit) = self.object["spec"].get("activeDeadlineSeconds") {
            let until_ms = self.start_ms.saturating_add(seconds_ms(limit, SECONDS_MAX));
            if turn.now_ms >= until_ms {
                let told = status::DEADLINE_MESSAGE.to_owned();
                turn.event(&self.id, "", false, status::DEADLINE_REASON, told);
                return self.end_by(Why::Deadline, usual_ms);
            }
            turn.wait_until(until_ms);
        }
        if self.is_complete() {
            self.end_by(Why::Completed, usual_ms);
        }
    }

    fn end_by(&mut self, why: Why, deadline_ms: u64) {
        let ending = self.ending.get_or_insert(Ending { why, deadline_ms });
        ending.deadline_ms = ending.deadline_ms.min(deadline_ms);
    }

    fn is_complete(&self) -> bool {
        let mut main = self.containers.iter().filter(|one| one.role == Role::Main);
        main.all(Container::is_done) || self.containers.iter().any(Container::has_failed_init)
    }

    /// Stops what lives: first all but the sidecars, then those, the last one first.
    pub(super) fn drive_ending(&mut self, turn: &mut Turn<'_>, ending: Ending) {
        if is_being_deleted(&self.object) && deletion_grace_ms(&self.object) == 0 {
            return self.kill_all(turn);
        }
        if self.has_live() && turn.now_ms < ending.deadline_ms {
            turn.wait_until(ending.deadline_ms);
        }
        let is_late = turn.now_ms >= ending.deadline_ms;
        let (site, containers) = self.split();
        let mut is_blocked = containers
            .iter()
            .any(|one| one.role != Role::Sidecar && one.is_live());
        for one in containers.iter_mut().rev() {
            let is_sidecar = one.role == Role::Sidecar;
            if !is_sidecar || !is_blocked || is_late {
                one.begin_stop(turn, &site, None, ending.deadline_ms);
            }
            is_blocked |= is_sidecar && one.is_live();
        }
    }

    /// Has a pod that is being deleted and is over deleted for good.
    pub(super) fn drive_deletion(&mut self, turn: &mut Turn<'_>) {
        // With no grace left it is others' finalizers that hold it.
        let is_held_by_others = deletion_grace_ms(&self.object) == 0
            && object::finalizers(&self.object).next().is_some();
        if !is_being_deleted(&self.object) || is_held_by_others {
            return;
        }
        if turn.now_ms >= self.delete_at_ms {
            self.delete_at_ms = turn.now_ms.saturating_add(self.deletes.next_ms());
            turn.emit(Effect::Delete {
                pod: self.id.clone(),
            });
        }
        turn.wait_until(self.delete_at_ms);
    }
}

/// How long a pod may take to stop.
pub(super) fn grace_ms(pod: &Value) -> u64 {
    seconds_ms(&pod["spec"]["terminationGracePeriodSeconds"], GRACE_S)
}

fn deletion_grace_ms(pod: &Value) -> u64 {
    match &pod["metadata"]["deletionGracePeriodSeconds"] {
        Value::Null => grace_ms(pod),
        seconds => seconds_ms(seconds, GRACE_S),
    }
}
