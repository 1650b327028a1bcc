//! Requests that found nothing to do and wait at the owner until there is something.
//!
//! They are no part of the replicated state: an owner that was just made knows nobody who waits,
//! and coordinators come again. Who came first is served first, by when their coordinators were
//! asked.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{Name, name};
use crate::core::sessions::Origin;

/// So many are tried again for one change of a key. When one of them finds something, so many of
/// the next are tried.
const WOKEN_MAX: usize = 32;

/// A place in the line: since when, then who.
type Place = (u64, Name);

/// One that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter<K> {
    pub(super) origin: Origin,
    /// Who is to be told.
    pub(super) from: Vec<ReplicaId>,
    /// What is tried again.
    pub(super) again: Bytes,
    /// What is tried when its time is over.
    pub(super) last: Bytes,
    pub(super) since_ms: u64,
    pub(super) keys: Vec<K>,
}

/// All that wait at one partition.
#[derive(Clone, Debug)]
pub(super) struct Waiters<K> {
    line: BTreeMap<Place, Waiter<K>>,
    places: BTreeMap<Name, Place>,
    by_key: BTreeMap<K, BTreeSet<Place>>,
}

impl<K: Ord + Clone> Waiters<K> {
    pub(super) fn new() -> Self {
        Waiters {
            line: BTreeMap::new(),
            places: BTreeMap::new(),
            by_key: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn insert(&mut self, waiter: Waiter<K>) {
        let name = name(&waiter.origin);
        self.remove(&name);
        let place = (waiter.since_ms, name);
        for key in &waiter.keys {
            self.by_key.entry(key.clone()).or_default().insert(place);
        }
        self.places.insert(name, place);
        self.line.insert(place, waiter);
    }

    pub(super) fn get_mut(&mut self, name: &Name) -> Option<&mut Waiter<K>> {
        self.line.get_mut(self.places.get(name)?)
    }

    pub(super) fn remove(&mut self, name: &Name) -> Option<Waiter<K>> {
        let place = self.places.remove(name)?;
        let waiter = self.line.remove(&place)?;
        for key in &waiter.keys {
            if let Some(places) = self.by_key.get_mut(key) {
                places.remove(&place);
                if places.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        Some(waiter)
    }

    /// What those who wait for any of these keys longest ask for, in their order.
    pub(super) fn of_keys<'a>(&self, keys: impl IntoIterator<Item = &'a K>) -> Vec<(Origin, Bytes)>
    where
        K: 'a,
    {
        let mut places = BTreeSet::new();
        for key in keys {
            let waiting = self.by_key.get(key).into_iter().flatten();
            places.extend(waiting.take(WOKEN_MAX).copied());
        }
        let waiters = places.iter().filter_map(|place| self.line.get(place));
        waiters
            .map(|waiter| (waiter.origin, waiter.again.clone()))
            .collect()
    }

    /// The same, whatever they wait for.
    pub(super) fn of_all_keys(&self) -> Vec<(Origin, Bytes)> {
        self.of_keys(self.by_key.keys())
    }

    /// A node can't be reached: what it asked for would be taken for nobody.
    pub(super) fn forget(&mut self, replica: ReplicaId) {
        let mut left = Vec::new();
        for waiter in self.line.values_mut() {
            waiter.from.retain(|from| *from != replica);
            if waiter.from.is_empty() {
                left.push(name(&waiter.origin));
            }
        }
        for name in left {
            self.remove(&name);
        }
    }

    /// Takes all.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waiter<K>> + use<K> {
        std::mem::replace(self, Waiters::new()).line.into_values()
    }
}
