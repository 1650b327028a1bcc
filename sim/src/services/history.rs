//! What happened: what ran where and when, and every object as it was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use atoll_services::{
    core::object,
    driver::{Habits, Ran},
};
use atoll_world::clock::{self, Instant};
use parking_lot::Mutex;
use serde_json::Value;

/// One container that ran for a while without a break.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// On which machine, by its place.
    pub(super) at: usize,
    pub(super) pod: Arc<Value>,
    pub(super) container: String,
    pub(super) number: u32,
    pub(super) began: Instant,
    /// None: it goes on.
    pub(super) ended: Option<Instant>,
}

impl Run {
    pub(super) fn name(&self) -> &str {
        object::name(&self.pod)
    }

    pub(super) fn uid(&self) -> &str {
        object::uid(&self.pod)
    }
}

/// An object as it was written, or that it is gone.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// When the first watcher heard of it.
    pub(super) at: Instant,
    pub(super) object: Option<Arc<Value>>,
}

/// A revision, and a key as it was written then.
pub(super) type Place = (i64, String);

/// Everything that is known of a run.
#[derive(Default)]
pub(super) struct Told {
    pub(super) runs: Vec<Run>,
    /// What stands still, because its machine is frozen.
    frozen: BTreeMap<usize, Vec<usize>>,
    pub(super) written: BTreeMap<Place, Written>,
    /// How far each node's watcher is: the last revision, and what it told of that.
    watched: BTreeMap<usize, (i64, BTreeSet<String>)>,
    pub(super) violations: Vec<String>,
    hasher: DefaultHasher,
}

/// Where it is noted. Clones are the same.
#[derive(Clone)]
pub(super) struct History {
    began: Instant,
    told: Arc<Mutex<Told>>,
}

impl History {
    pub(super) fn new() -> Self {
        History {
            began: clock::now(),
            told: Arc::default(),
        }
    }

    /// Since when.
    pub(super) fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock())
    }

    pub(super) fn violate(&self, violation: String) {
        self.told.lock().violations.push(violation);
    }

    /// How a machine behaves that is looked at.
    pub(super) fn habits(&self, at: usize, lingers: Duration) -> Habits {
        let history = self.clone();
        Habits {
            lingers,
            observer: Some(Arc::new(move |ran| history.ran(at, ran))),
        }
    }

    fn ran(&self, at: usize, ran: &Ran) {
        let now = clock::now();
        let mut told = self.told.lock();
        let uid = object::uid(&ran.pod);
        let fact = (
            self.since(now),
            at,
            uid,
            &ran.container,
            ran.number,
            ran.runs,
        );
        fact.hash(&mut told.hasher);
        if ran.runs {
            if !ran.has_lease {
                let (name, since) = (object::name(&ran.pod), self.since(now));
                told.violations.push(format!(
                    "nothing begins without a lease: {name} on node {at} after {since:?}"
                ));
            }
            return told.runs.push(Run {
                at,
                pod: ran.pod.clone(),
                container: ran.container.clone(),
                number: ran.number,
                began: now,
                ended: None,
            });
        }
        let mut open = told.runs.iter_mut().rev().filter(|run| run.ended.is_none());
        let found = open.find(|run| {
            (run.at, run.uid(), &run.container, run.number) == (at, uid, &ran.container, ran.number)
        });
        if let Some(run) = found {
            run.ended = Some(now);
        }
    }

    /// A machine stands still: nothing runs there.
    pub(super) fn freeze(&self, at: usize) {
        let mut told = self.told.lock();
        let mut held = Vec::new();
        for (place, run) in told.runs.iter_mut().enumerate() {
            if run.at == at && run.ended.is_none() {
                run.ended = Some(clock::now());
                held.push(place);
            }
        }
        told.frozen.insert(at, held);
    }

    /// It goes on, or is gone.
    pub(super) fn thaw(&self, at: usize, goes_on: bool) {
        let mut told = self.told.lock();
        let held = told.frozen.remove(&at).unwrap_or_default();
        for place in held.into_iter().filter(|_| goes_on) {
            let run = Run {
                began: clock::now(),
                ended: None,
                ..told.runs[place].clone()
            };
            told.runs.push(run);
        }
    }

    /// A node's watcher hears of a key.
    pub(super) fn hear(&self, at: usize, place: Place, value: Option<&[u8]>) {
        let mut told = self.told.lock();
        (self.since(clock::now()), at, &place, value).hash(&mut told.hasher);
        let is_event = place.1.starts_with("core/events/");
        let (last, keys) = told.watched.entry(at).or_default();
        if *last < place.0 {
            *last = place.0;
            keys.clear();
        }
        let last = *last;
        if last > place.0 || !keys.insert(place.1.clone()) {
            told.violations.push(format!(
                "a watch never goes back: node {at} told {place:?} after revision {last}"
            ));
        }
        if is_event {
            // Nothing depends on them, and nobody reads what they say.
            return;
        }
        let read = |value: &[u8]| serde_json::from_slice::<Value>(value).ok().map(Arc::new);
        match told.written.get(&place) {
            Some(known) if known.object.is_some() != value.is_some() => {
                let what = format!("all nodes tell the same: not of {place:?}");
                told.violations.push(what);
            }
            Some(_) => {}
            None => {
                let written = Written {
                    at: clock::now(),
                    object: value.and_then(read),
                };
                told.written.insert(place, written);
            }
        }
    }

    /// From where a node's watcher goes on.
    pub(super) fn heard_to(&self, at: usize) -> i64 {
        let told = self.told.lock();
        told.watched.get(&at).map_or(0, |(revision, _)| *revision)
    }

    /// The newest revision that anybody has heard of.
    pub(super) fn revision(&self) -> i64 {
        let told = self.told.lock();
        let last = told.written.last_key_value();
        last.map_or(0, |((revision, _), _)| *revision)
    }

    /// A number for everything that happened.
    pub(super) fn fingerprint(&self, others: u64) -> u64 {
        let mut hasher = self.told.lock().hasher.clone();
        others.hash(&mut hasher);
        hasher.finish()
    }
}
