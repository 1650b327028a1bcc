//! What controllers and agents tell people: `v1` Events, beside the objects that they are about.
//!
//! An Event that comes again counts up the one that is there, and each goes an hour after it came
//! last. Nothing depends on Events: when there are too many, or the cluster does not take them,
//! they are dropped, so that what they tell about is not held up by them.

use std::{collections::BTreeMap, sync::Arc};

use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::objects::{Objects, Writer};
use crate::core::{
    controllers::world::Event,
    kinds,
    object::{self, Name},
    status::Reason,
    time::format_rfc3339,
};

/// So many Events are being written at a time; the others are dropped.
const WRITING_MAX: usize = 64;
/// So many are written at once after a while of silence, and so many a second from then on.
const BURST_MAX: u64 = 1_000;
const PER_SECOND_MAX: u64 = 100;
/// The longest message, in bytes, as in Kubernetes.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// An Event that comes again is written at most so often.
const AGAIN_MS: u64 = 10_000;
/// So many Events are remembered for that.
const REMEMBERED_MAX: usize = 4_096;

/// Writes Events. Clones are the same.
#[derive(Clone)]
pub(crate) struct Events<C> {
    objects: Objects<C>,
    /// The node that they are told on.
    host: Arc<str>,
    writing: Arc<Semaphore>,
    told: Arc<Mutex<BTreeMap<String, u64>>>,
    pace: Arc<Mutex<Pace>>,
}

/// How many Events may be written.
#[derive(Debug, Default)]
struct Pace {
    /// All of the burst is there again at that time.
    full_at_ms: u64,
}

impl Pace {
    /// Whether one may be written now.
    fn admits(&mut self, now_ms: u64) -> bool {
        const EACH_MS: u64 = 1_000 / PER_SECOND_MAX;
        let from_ms = self.full_at_ms.max(now_ms);
        // A clock that was set back must not keep Events away for long.
        let used_ms = (from_ms - now_ms).min(BURST_MAX * EACH_MS);
        let is_admitted = used_ms + EACH_MS <= BURST_MAX * EACH_MS;
        self.full_at_ms = now_ms + used_ms + if is_admitted { EACH_MS } else { 0 };
        is_admitted
    }
}

impl<C: ControlApi> Events<C> {
    pub(crate) fn new(objects: Objects<C>, host: &str) -> Self {
        Events {
            objects,
            host: host.into(),
            writing: Arc::new(Semaphore::new(WRITING_MAX)),
            told: Arc::default(),
            pace: Arc::default(),
        }
    }

    /// Tells something, soon.
    pub(crate) fn tell(&self, event: Event) {
        let now_ms = clock::wall_ms();
        // When there are too many, they must cost next to nothing.
        let writing = match self.pace.lock().admits(now_ms) {
            true => self.writing.clone().try_acquire_owned().ok(),
            false => None,
        };
        let Some(writing) = writing else {
            tracing::debug!(reason = %event.reason, "an event is dropped");
            return;
        };
        let name = name_of(&event);
        if self.was_told(&name, now_ms) {
            return;
        }
        let events = self.clone();
        task::spawn(async move {
            events.write(event, name, now_ms).await;
            drop(writing);
        });
    }

    /// Whether the same was told a moment ago.
    fn was_told(&self, name: &str, now_ms: u64) -> bool {
        let mut told = self.told.lock();
        if told
            .get(name)
            .is_some_and(|at_ms| now_ms < at_ms + AGAIN_MS)
        {
            return true;
        }
        if told.len() >= REMEMBERED_MAX {
            told.retain(|_, at_ms| now_ms < *at_ms + AGAIN_MS);
        }
        if told.len() < REMEMBERED_MAX {
            told.insert(name.to_owned(), now_ms);
        }
        false
    }

    async fn write(&self, event: Event, name: String, now_ms: u64) {
        let about = &event.about["namespace"];
        let namespace = about
            .as_str()
            .filter(|it| !it.is_empty())
            .unwrap_or("default");
        let writer = Writer::own("atoll");
        let now = format_rfc3339(now_ms);
        let name = Name {
            kind: &kinds::EVENTS,
            namespace: namespace.to_owned(),
            name,
        };
        let again = |old: &Value| {
            let mut new = old.clone();
            let count = old["count"].as_i64().unwrap_or(1) + 1;
            let fields = new.as_object_mut().expect("an object of the API");
            fields.insert("count".to_owned(), json!(count));
            fields.insert("lastTimestamp".to_owned(), json!(now));
            Ok(new)
        };
        let written = match self.objects.update(&name, None, &writer, again).await {
            Err(failure) if failure.reason == Reason::NotFound => {
                let object = self.to_json(&event, &name, &now);
                let kind = name.kind;
                self.objects.create(kind, namespace, object, &writer).await
            }
            updated => updated,
        };
        if let Err(failure) = written {
            tracing::debug!(%failure, reason = %event.reason, "an event is dropped");
        }
    }

    fn to_json(&self, event: &Event, name: &Name, now: &str) -> Value {
        let mut message = event.message.clone();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        json!({
            "metadata": {"name": name.name, "namespace": name.namespace},
            "involvedObject": event.about,
            "reason": event.reason, "message": message,
            "type": if event.is_warning { "Warning" } else { "Normal" },
            "source": {"component": event.component, "host": &*self.host},
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "reportingComponent": event.component, "reportingInstance": &*self.host,
        })
    }
}

/// The same for what is the same: the object's name and a digest of what is told.
fn name_of(event: &Event) -> String {
    /// An object's name may have 253 bytes.
    const OBJECT_BYTES_MAX: usize = 230;
    let mut digest = Sha256::new();
    for part in [&*event.reason, event.component, &event.message] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.update(object_text(&event.about, "uid"));
    digest.update(object_text(&event.about, "fieldPath"));
    let digest = digest.finalize();
    let digest = u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
    let mut about = object_text(&event.about, "name").to_owned();
    about.truncate(about.floor_char_boundary(OBJECT_BYTES_MAX));
    format!("{about}.{digest:016x}")
}

fn object_text<'a>(about: &'a Value, field: &str) -> &'a str {
    about[field].as_str().unwrap_or_default()
}

/// How long an Event is kept after it came last.
const KEPT_MS: u64 = 3_600_000;
/// So many are deleted at a time.
const DELETED_MAX: usize = 5_000;

/// Events whose time is over.
pub(crate) fn over(events: &[Arc<Value>], now_ms: u64) -> Vec<Name> {
    let is_over = |event: &&Arc<Value>| {
        let last = event["lastTimestamp"].as_str();
        let last = last.unwrap_or_else(|| object::meta(event, "creationTimestamp"));
        let last_ms = crate::core::time::parse_rfc3339(last).unwrap_or(0);
        now_ms >= last_ms.saturating_add(KEPT_MS)
    };
    let name = |event: &Arc<Value>| Name::of(&kinds::EVENTS, event);
    events
        .iter()
        .filter(is_over)
        .take(DELETED_MAX)
        .map(name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_are_written_at_once_and_few_all_the_time() {
        let mut pace = Pace::default();
        let mut admitted = |span_ms: std::ops::Range<u64>| {
            let asked = span_ms.flat_map(|ms| [ms; 4]);
            asked.filter(|ms| pace.admits(*ms)).count() as u64
        };
        assert_eq!(admitted(5_000..6_000), BURST_MAX + PER_SECOND_MAX - 1);
        assert_eq!(admitted(6_000..8_000), 2 * PER_SECOND_MAX);
        assert_eq!(admitted(100_000..100_100), 400, "it was silent for a while");
        assert!(
            admitted(0..20_000) > PER_SECOND_MAX,
            "the clock was set back"
        );
    }
}
