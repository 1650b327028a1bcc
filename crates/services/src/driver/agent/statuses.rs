//! Writes what the agent knows of pods into their statuses: of several, the last one, until it is
//! written; and deletes pods for good when nothing of them runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    core::{
        agent::{PodId, merged_status},
        controllers::world::View as _,
        kinds::{self, Subresource},
        lifecycle::Deletion,
        object::{self, Name},
        status::{Failure, Reason},
    },
    driver::{
        mirror::Mirror,
        objects::{Known, Objects, Writer},
    },
};

/// The first and the longest wait before it is tried again.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(5);

/// So long a pod that has only just begun to start may take to have started, which is told at
/// once: one write instead of two.
const SETTLE: Duration = Duration::from_millis(100);

/// Writes statuses. Clones are the same.
pub(super) struct Statuses<C> {
    objects: Objects<C>,
    mirror: Mirror,
    waiting: Arc<Mutex<Waiting>>,
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    /// Goes up when everything is given up. Who writes stops when it is not what it was.
    epoch: u64,
    /// Of each pod that is being written.
    by_uid: BTreeMap<String, Next>,
}

/// What is to be written of a pod.
#[derive(Default)]
struct Next {
    /// None: what is there is.
    status: Option<Value>,
    /// Rings when the pod is not about to start any more.
    has_started: Arc<Notify>,
}

impl Waiting {
    /// The epoch, and who rings, if somebody has to begin to write this pod.
    fn put(&mut self, uid: &str, status: Value) -> Option<(u64, Arc<Notify>)> {
        if let Some(next) = self.by_uid.get_mut(uid) {
            if !is_pending(&status) {
                next.has_started.notify_one();
            }
            next.status = Some(status);
            return None;
        }
        let next = Next {
            status: Some(status),
            ..Next::default()
        };
        let has_started = next.has_started.clone();
        self.by_uid.insert(uid.to_owned(), next);
        Some((self.epoch, has_started))
    }

    /// What is to be written next, for who began in an epoch; if nothing is, that one is done.
    fn take(&mut self, epoch: u64, uid: &str) -> Option<Value> {
        if epoch != self.epoch {
            return None;
        }
        let status = self.by_uid.get_mut(uid)?.status.take();
        if status.is_none() {
            self.by_uid.remove(uid);
        }
        status
    }

    /// Whether there is something later to write, or nothing is to be written any more.
    fn is_past(&self, epoch: u64, uid: &str) -> bool {
        let has_next = |next: &Next| next.status.is_some();
        epoch != self.epoch || self.by_uid.get(uid).is_some_and(has_next)
    }

    fn give_up(&mut self) {
        self.epoch += 1;
        self.by_uid.clear();
    }
}

impl<C: ControlApi> Statuses<C> {
    pub(super) fn new(objects: Objects<C>, mirror: Mirror) -> Self {
        Statuses {
            objects,
            mirror,
            waiting: Arc::default(),
        }
    }

    /// Writes a status, soon.
    pub(super) fn write(&self, pod: PodId, status: Value) {
        let is_pending = is_pending(&status);
        let Some((epoch, has_started)) = self.waiting.lock().put(&pod.uid, status) else {
            // Whoever writes the one before writes this one, too.
            return;
        };
        let (objects, waiting) = (self.objects.clone(), self.waiting.clone());
        let mut known = self.known(&pod);
        task::spawn(async move {
            if is_pending {
                let _ = clock::timeout(SETTLE, has_started.notified()).await;
            }
            loop {
                let Some(status) = waiting.lock().take(epoch, &pod.uid) else {
                    return;
                };
                known = write_until_done(&objects, &waiting, epoch, &pod, status, known).await;
            }
        });
    }

    /// Writes nothing of what waits: it is not true any more.
    pub(super) fn give_up(&self) {
        self.waiting.lock().give_up();
    }

    /// The pod as it probably is.
    fn known(&self, pod: &PodId) -> Option<Known> {
        let found = self
            .mirror
            .look()
            .get(&kinds::PODS, &pod.namespace, &pod.name);
        found
            .filter(|found| object::uid(found) == pod.uid)
            .and_then(Known::of)
    }

    /// Deletes a pod for good, soon. It is asked for again if that fails.
    pub(super) fn delete(&self, pod: PodId) {
        let objects = self.objects.clone();
        task::spawn(async move {
            let deletion = Deletion {
                grace_s: Some(0),
                uid: Some(pod.uid.clone()),
                ..Deletion::default()
            };
            let writer = Writer::own("agent");
            match objects.delete(&name(&pod), &deletion, &writer).await {
                Err(failure) if !is_over(&failure) => {
                    tracing::debug!(%pod, %failure, "a pod is not deleted yet");
                }
                _ => {}
            }
        });
    }
}

async fn write_until_done<C: ControlApi>(
    objects: &Objects<C>,
    waiting: &Mutex<Waiting>,
    epoch: u64,
    pod: &PodId,
    status: Value,
    mut known: Option<Known>,
) -> Option<Known> {
    let mut wait = *BACKOFF.start();
    loop {
        let change = |old: &Value| {
            if object::uid(old) != pod.uid {
                return Err(Failure::new(Reason::NotFound, "the pod is another one"));
            }
            if waiting.lock().epoch != epoch {
                return Err(Failure::new(Reason::NotFound, "it is not so any more"));
            }
            // A write of the status has all else from the old state.
            Ok(Value::from_iter([
                ("metadata", json!({"name": pod.name})),
                ("status", merged_status(old, &status)),
            ]))
        };
        let part = Some(Subresource::Status);
        let writer = Writer::own("agent");
        let name = name(pod);
        let written = objects.update_known(known.take(), &name, part, &writer, change);
        match written.await {
            Ok(written) => return Some(written.into()),
            Err(failure) if is_over(&failure) => return None,
            Err(failure) => tracing::debug!(%pod, %failure, "a status is not written yet"),
        }
        clock::sleep(wait).await;
        wait = wait.saturating_mul(2).min(*BACKOFF.end());
        if waiting.lock().is_past(epoch, &pod.uid) {
            return None;
        }
    }
}

fn is_pending(status: &Value) -> bool {
    status["phase"] == "Pending"
}

fn name(pod: &PodId) -> Name {
    Name {
        kind: &kinds::PODS,
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
    }
}

/// Whether there is nothing to write to any more.
fn is_over(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::NotFound | Reason::Invalid)
        || (failure.reason == Reason::Conflict && failure.message.contains("Precondition"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_last_status_is_written_and_none_of_those_that_were_given_up() {
        let mut waiting = Waiting::default();
        let (first, _) = waiting.put("u", json!(1)).unwrap();
        assert!(waiting.put("u", json!(2)).is_none(), "somebody writes it");
        assert_eq!(waiting.take(first, "u"), Some(json!(2)));
        assert!(!waiting.is_past(first, "u"));
        waiting.give_up();
        assert!(waiting.is_past(first, "u"), "it is tried no more");
        let (second, _) = waiting.put("u", json!(3)).unwrap();
        assert_eq!(waiting.take(first, "u"), None, "that is somebody else's");
        assert_eq!(waiting.take(second, "u"), Some(json!(3)));
        assert_eq!(waiting.take(second, "u"), None);
        assert!(waiting.put("u", json!(4)).is_some());
    }

    #[test]
    fn what_has_started_is_not_waited_for_any_longer() {
        let mut waiting = Waiting::default();
        let rings = |bell: &Notify| bell.notified().now_or_never().is_some();
        let (_, bell) = waiting.put("u", json!({"phase": "Pending"})).unwrap();
        assert!(waiting.put("u", json!({"phase": "Pending"})).is_none());
        assert!(!rings(&bell));
        assert!(waiting.put("u", json!({"phase": "Running"})).is_none());
        assert!(rings(&bell));
    }
}
