//! Groups of consumers, who share a stream's entries among them.
//!
//! An entry that was delivered is pending until it is acknowledged. Group and owner both know
//! it: the group by id with its story, the consumer by id alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::StreamId;
use crate::core::data::{Milliseconds, heap::tree_bytes};

/// What a consumer's name takes, about.
const NAME_BYTES: usize = 48;

/// A group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries of the stream's whole life were read up to there, where that is known.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

/// An entry that was delivered and not acknowledged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Whose it is.
    pub consumer: Arc<[u8]>,
    /// When it was delivered last.
    pub delivered_at_ms: Milliseconds,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// When it last asked for anything.
    pub seen_at_ms: Milliseconds,
    /// When it last got anything.
    pub active_at_ms: Option<Milliseconds>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// What it has to acknowledge, in order.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

impl Group {
    /// A group that begins after an entry.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Group {
            last_id,
            entries_read,
            ..Group::default()
        }
    }

    /// What it takes of the heap. A consumer's name is as long as names usually are.
    pub(super) fn heap_bytes(&self) -> usize {
        let pending_bytes = size_of::<(StreamId, Pending)>() + size_of::<StreamId>();
        let consumer_bytes = size_of::<(Arc<[u8]>, Consumer)>() + NAME_BYTES;
        tree_bytes(self.pending.len(), pending_bytes)
            + tree_bytes(self.consumers.len(), consumer_bytes)
    }

    /// Entries to be acknowledged, in order.
    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// Consumers in the order of their names.
    pub fn consumers(&self) -> &BTreeMap<Arc<[u8]>, Consumer> {
        &self.consumers
    }

    /// Adds a consumer, unless there is one of this name; whether it did.
    pub fn add_consumer(&mut self, name: &[u8], now_ms: Milliseconds) -> bool {
        if self.consumers.contains_key(name) {
            return false;
        }
        let consumer = Consumer {
            seen_at_ms: now_ms,
            active_at_ms: None,
            pending: BTreeSet::new(),
        };
        self.consumers.insert(name.into(), consumer);
        true
    }

    /// Notes that a consumer asked, and adds it if need be; whether it is new.
    pub fn saw(&mut self, name: &[u8], now_ms: Milliseconds) -> bool {
        let new = self.add_consumer(name, now_ms);
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.seen_at_ms = now_ms;
        }
        new
    }

    /// Takes a consumer out with all that it has to acknowledge; how much that was.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Gives an entry to a consumer, which is there, and takes it from whoever has it.
    pub fn assign(
        &mut self,
        id: StreamId,
        name: &[u8],
        delivered_at_ms: Milliseconds,
        deliveries: u64,
    ) {
        self.acknowledge(id);
        let Some((name, _)) = self.consumers.get_key_value(name) else {
            return;
        };
        let name = Arc::clone(name);
        if let Some(consumer) = self.consumers.get_mut(&name) {
            consumer.pending.insert(id);
        }
        let pending = Pending {
            consumer: name,
            delivered_at_ms,
            deliveries,
        };
        self.pending.insert(id, pending);
    }

    /// Notes that a consumer got something.
    pub fn was_active(&mut self, name: &[u8], now_ms: Milliseconds) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.active_at_ms = Some(now_ms);
        }
    }

    /// Delivers a pending entry once more to the one who has it.
    pub fn deliver_again(&mut self, id: StreamId, now_ms: Milliseconds) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.delivered_at_ms = now_ms;
            pending.deliveries += 1;
        }
    }

    /// Acknowledges an entry; whether it was pending.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8),
        Remove(u8),
        Assign(u64, u8),
        Acknowledge(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (name, seq) = (0_u8..3, 0_u64..9);
        prop_oneof![
            name.clone().prop_map(Step::Add),
            name.clone().prop_map(Step::Remove),
            (seq.clone(), name).prop_map(|(seq, name)| Step::Assign(seq, name)),
            seq.prop_map(Step::Acknowledge),
        ]
    }

    proptest! {
        /// Each pending entry has one owner, who knows of it; and owners know of no others.
        #[test]
        fn a_pending_entry_has_one_owner(steps in proptest::collection::vec(step(), 0..60)) {
            let mut group = Group::default();
            let mut model: BTreeMap<u64, u8> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Add(name) => {
                        group.add_consumer(&[name], 0);
                    }
                    Step::Remove(name) => {
                        let owned = model.values().filter(|owner| **owner == name).count();
                        let was_there = group.consumers().contains_key(&[name][..]);
                        let removed = group.remove_consumer(&[name]);
                        prop_assert_eq!(removed, was_there.then_some(owned));
                        model.retain(|_, owner| *owner != name);
                    }
                    Step::Assign(seq, name) if group.consumers().contains_key(&[name][..]) => {
                        group.assign(StreamId { ms: 0, seq }, &[name], 0, 1);
                        model.insert(seq, name);
                    }
                    Step::Assign(..) => {}
                    Step::Acknowledge(seq) => {
                        let was_there = group.acknowledge(StreamId { ms: 0, seq });
                        prop_assert_eq!(was_there, model.remove(&seq).is_some());
                    }
                }
                let owners: BTreeMap<u64, u8> = group
                    .pending()
                    .iter()
                    .map(|(id, pending)| (id.seq, pending.consumer[0]))
                    .collect();
                prop_assert_eq!(&owners, &model);
                let owned: BTreeMap<u64, u8> = group
                    .consumers()
                    .iter()
                    .flat_map(|(name, consumer)| {
                        consumer.pending().iter().map(|id| (id.seq, name[0]))
                    })
                    .collect();
                prop_assert_eq!(&owned, &model);
            }
        }
    }
}
