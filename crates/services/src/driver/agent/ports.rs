//! Finds ports for pods that take any: notes them in the API first, so that Services and the next
//! life of this agent know them, and has the pod run when the note has come back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use atoll_control::api::ControlApi;
use atoll_world::{clock, net, task};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    core::{
        kinds,
        object::{self, Name},
        ports,
        status::{Failure, Reason},
    },
    driver::objects::{Objects, Writer},
};

/// The first and the longest wait before ports are looked for again.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(10);

/// Finds ports.
pub(super) struct Ports<C> {
    objects: Objects<C>,
    /// The pods for which they are being found, by uid.
    finding: Arc<Mutex<BTreeSet<String>>>,
}

impl<C: ControlApi> Ports<C> {
    pub(super) fn new(objects: Objects<C>) -> Self {
        Ports {
            objects,
            finding: Arc::default(),
        }
    }

    /// A pod as it runs; none as long as its ports are not known. Then they are found and noted,
    /// and the pod comes again.
    pub(super) fn running(&self, pod: Arc<Value>) -> Option<Arc<Value>> {
        if !ports::are_free(&pod) || ports::wanted(&pod) == 0 {
            return Some(pod);
        }
        if let Some(running) = ports::with_real(&pod) {
            return Some(Arc::new(running));
        }
        if object::is_being_deleted(&pod) {
            // Nothing of it runs yet, and nothing will.
            return Some(pod);
        }
        let uid = object::uid(&pod).to_owned();
        if self.finding.lock().insert(uid.clone()) {
            let (objects, finding) = (self.objects.clone(), self.finding.clone());
            task::spawn(async move {
                let mut wait = *BACKOFF.start();
                while let Err(failure) = find(&objects, &pod).await {
                    tracing::warn!(pod = object::name(&pod), %failure, "no ports were found for a pod yet");
                    clock::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(*BACKOFF.end());
                }
                finding.lock().remove(&uid);
            });
        }
        None
    }
}

async fn find<C: ControlApi>(objects: &Objects<C>, pod: &Value) -> Result<(), Failure> {
    let found = net::free_ports(ports::wanted(pod)).await;
    let found = found.map_err(|error| Failure::internal(error.to_string()))?;
    let name = Name::of(&kinds::PODS, pod);
    let noted = ports::note(pod, &found);
    let change = |old: &Value| with_note(old, object::uid(pod), &noted);
    let writer = Writer::own("agent");
    match objects.update(&name, None, &writer, change).await {
        Err(failure) if failure.reason == Reason::NotFound => Ok(()),
        updated => updated.map(drop),
    }
}

/// The pod with its ports noted, unless some are: a note that nobody knew to be written may be
/// there all the same, and the pod may run with it.
fn with_note(old: &Value, uid: &str, noted: &str) -> Result<Value, Failure> {
    if object::uid(old) != uid {
        return Err(Failure::new(Reason::NotFound, "the pod is another one"));
    }
    let mut new = old.clone();
    if ports::with_real(old).is_some() {
        return Ok(new);
    }
    let meta = object::meta_mut(&mut new);
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(ports::REAL.to_owned(), json!(noted));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_once() {
        let pod = json!({"metadata": {"uid": "u"},
            "spec": {"containers": [{"ports": [{"containerPort": 80}]}]}});
        let first = with_note(&pod, "u", &ports::note(&pod, &[4_000])).unwrap();
        assert_eq!(ports::real(&first, 80), 4_000);
        // The answer to the first write was lost, so others were found.
        let second = with_note(&first, "u", &ports::note(&pod, &[5_000])).unwrap();
        assert_eq!(second, first);
        assert!(with_note(&pod, "v", "").is_err());
    }
}
