//! Watchers and their streams: what is remembered of each, and where it is found.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    hub::{Hub, StreamSlot},
    index::{Index, Keys, WatcherSlot},
    queue::{Delivery, Picked, Queue},
    ring::Group,
    slab::Slab,
};
use crate::{
    core::Space,
    proto::mvccpb::{Event, event::EventType},
};

#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) keys: Keys,
    pub(super) id: i64,
    /// Events before this revision have been queued, or do not concern it. While it is synced
    /// this may be behind the current revision, if nothing matched since.
    pub(super) next_revision: i64,
    /// What the client asked for; no progress is told before it is reached.
    pub(super) start_revision: i64,
    pub(super) stream: StreamSlot,
    pub(super) space: Space,
    pub(super) is_lagging: bool,
    pub(super) no_put: bool,
    pub(super) no_delete: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress_notify: bool,
    /// Nothing was sent since the last progress tick.
    pub(super) is_idle: bool,
}

impl Watcher {
    fn passes(&self, event: &Event) -> bool {
        match event.r#type() {
            EventType::Put => !self.no_put,
            EventType::Delete => !self.no_delete,
        }
    }
}

/// The watchers of one stream and keyspace that have fallen behind.
#[derive(Debug, Default)]
pub(super) struct Lagging {
    pub(super) index: Index,
    /// By next revision.
    pub(super) order: BTreeSet<(i64, WatcherSlot)>,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) queue: Queue,
    pub(super) watchers: BTreeMap<i64, WatcherSlot>,
    pub(super) next_id: i64,
    pub(super) key_bytes: usize,
    /// Made when a watcher falls behind for the first time.
    pub(super) lagging: [Option<Box<Lagging>>; 2],
    /// The client asked for progress and has not been answered.
    pub(super) progress_wanted: bool,
    /// Responses sent since lagging watchers had their turn.
    pub(super) sent_since_catch_up: u32,
    /// Whose turn it is: watchers that need storage, or those that the ring can serve.
    pub(super) storage_first: bool,
}

impl Stream {
    pub(super) fn has_lagging(&self) -> bool {
        self.lagging
            .iter()
            .flatten()
            .any(|lagging| !lagging.order.is_empty())
    }
}

impl Hub {
    /// Queues the matched events of a group for a watcher, if there is room.
    pub(super) fn offer(
        &mut self,
        slot: WatcherSlot,
        group: &Group,
        run: &[(WatcherSlot, u32)],
    ) -> bool {
        let picked = if run.len() == group.events.len() {
            Picked::All
        } else {
            Picked::Some(run.iter().map(|&(_, at)| at).collect())
        };
        let watcher = self
            .watchers
            .get_mut(slot.0)
            .expect("an indexed watcher exists");
        let mut delivery = Delivery::new(watcher.id, watcher.space, group, picked);
        delivery.prev_kv = watcher.prev_kv;
        delivery.fragment = watcher.fragment;
        let stream = self
            .streams
            .get_mut(watcher.stream.0)
            .expect("a watcher's stream is open");
        let is_queued = stream.queue.offer(delivery, &self.limits);
        watcher.is_idle &= !is_queued;
        is_queued
    }

    pub(super) fn enter_synced(&mut self, slot: WatcherSlot) {
        let watcher = self
            .watchers
            .get_mut(slot.0)
            .expect("a moved watcher exists");
        watcher.is_lagging = false;
        self.spaces[watcher.space as usize]
            .synced
            .insert(&watcher.keys, slot);
    }

    pub(super) fn leave_synced(&mut self, slot: WatcherSlot) {
        let watcher = self.watchers.get(slot.0).expect("a moved watcher exists");
        self.spaces[watcher.space as usize]
            .synced
            .remove(&watcher.keys, slot);
    }

    pub(super) fn enter_lagging(&mut self, slot: WatcherSlot, next_revision: i64) {
        let watcher = self
            .watchers
            .get_mut(slot.0)
            .expect("a moved watcher exists");
        watcher.is_lagging = true;
        watcher.next_revision = next_revision;
        let stream = self
            .streams
            .get_mut(watcher.stream.0)
            .expect("a watcher's stream is open");
        let lagging = stream.lagging[watcher.space as usize].get_or_insert_default();
        lagging.index.insert(&watcher.keys, slot);
        lagging.order.insert((next_revision, slot));
        self.lagging += 1;
    }

    pub(super) fn leave_lagging(&mut self, slot: WatcherSlot) {
        let watcher = self.watchers.get(slot.0).expect("a moved watcher exists");
        let stream = self
            .streams
            .get_mut(watcher.stream.0)
            .expect("a watcher's stream is open");
        let lagging = stream.lagging[watcher.space as usize].get_or_insert_default();
        lagging.index.remove(&watcher.keys, slot);
        lagging.order.remove(&(watcher.next_revision, slot));
        self.lagging -= 1;
    }

    pub(super) fn remove(&mut self, slot: WatcherSlot) -> Watcher {
        if self.watcher(slot).is_lagging {
            self.leave_lagging(slot);
        } else {
            self.leave_synced(slot);
        }
        let watcher = self
            .watchers
            .remove(slot.0)
            .expect("a removed watcher existed");
        let stream = self.stream_mut(watcher.stream);
        stream.watchers.remove(&watcher.id);
        stream.key_bytes -= watcher.keys.key_bytes();
        watcher
    }
}

/// Pairs of watcher and event, all events of a watcher together and in order. Watchers outside
/// `from..=group.revision` by their next revision are left out.
pub(super) fn find_matches(
    mut matches: Vec<(WatcherSlot, u32)>,
    index: &Index,
    watchers: &Slab<Watcher>,
    group: &Group,
    from: i64,
) -> Vec<(WatcherSlot, u32)> {
    matches.clear();
    for (at, event) in (0..).zip(&*group.events) {
        let key = &event.kv.as_ref().expect("an event names its key").key;
        index.lookup(key, |slot| {
            let watcher = watchers.get(slot.0).expect("an indexed watcher exists");
            let is_due = (from..=group.revision).contains(&watcher.next_revision);
            if is_due && watcher.passes(event) {
                matches.push((slot, at));
            }
        });
    }
    if group.events.len() > 1 {
        matches.sort_unstable();
    }
    matches
}
