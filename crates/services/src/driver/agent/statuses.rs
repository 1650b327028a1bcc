//! Writes what the agent knows of pods into their statuses: of several, the last one, until it is
//! written; and deletes pods for good when nothing of them runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    core::{
        agent::{PodId, merged_status},
        kinds::{self, Subresource},
        lifecycle::Deletion,
        object::{self, Name},
        status::{Failure, Reason},
    },
    driver::objects::{Objects, Writer},
};

/// The first and the longest wait before it is tried again.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(5);

/// Writes statuses. Clones are the same.
pub(super) struct Statuses<C> {
    objects: Objects<C>,
    /// What is to be written of each pod that is being written; none: what is there is.
    waiting: Arc<Mutex<BTreeMap<String, Option<Value>>>>,
}

impl<C: ControlApi> Statuses<C> {
    pub(super) fn new(objects: Objects<C>) -> Self {
        Statuses {
            objects,
            waiting: Arc::default(),
        }
    }

    /// Writes a status, soon.
    pub(super) fn write(&self, pod: PodId, status: Value) {
        let was_there = self.waiting.lock().insert(pod.uid.clone(), Some(status));
        if was_there.is_some() {
            // Whoever writes the one before writes this one, too.
            return;
        }
        let (objects, waiting) = (self.objects.clone(), self.waiting.clone());
        task::spawn(async move {
            loop {
                let status = {
                    let mut waiting = waiting.lock();
                    match waiting.get_mut(&pod.uid).and_then(Option::take) {
                        Some(status) => status,
                        None => {
                            waiting.remove(&pod.uid);
                            return;
                        }
                    }
                };
                write_until_done(&objects, &waiting, &pod, status).await;
            }
        });
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
    waiting: &Mutex<BTreeMap<String, Option<Value>>>,
    pod: &PodId,
    status: Value,
) {
    let mut wait = *BACKOFF.start();
    loop {
        let change = |old: &Value| {
            if object::uid(old) != pod.uid {
                return Err(Failure::new(Reason::NotFound, "the pod is another one"));
            }
            let mut new = old.clone();
            new["status"] = merged_status(old, &status);
            Ok(new)
        };
        let part = Some(Subresource::Status);
        let writer = Writer::own("agent");
        let written = objects.update(&name(pod), part, &writer, change).await;
        match written {
            Ok(_) => return,
            Err(failure) if is_over(&failure) => return,
            Err(failure) => tracing::debug!(%pod, %failure, "a status is not written yet"),
        }
        clock::sleep(wait).await;
        wait = wait.saturating_mul(2).min(*BACKOFF.end());
        let has_later = waiting.lock().get(&pod.uid).is_some_and(Option::is_some);
        if has_later {
            return;
        }
    }
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
