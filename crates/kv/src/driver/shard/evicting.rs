//! Memory: what the partitions of a shard take, and what their owners evict when the node holds
//! too much.
//!
//! Every partition that is held here counts, and the sum is the node's ([`Memory`]). When it is
//! too much, a shard looks for keys in the partitions that are owned here and has their removal
//! logged, so that it happens on all replicas; it goes on with that at every turn until enough
//! is on its way. A node that holds too much and owns nothing can do nothing about it: it is for
//! the owners to see to their nodes, and since replicas hold the same, nodes with the same limit
//! get there together.
//!
//! Writes are refused only where the policy says so, or where no shard finds anything to evict.
//! Otherwise what is held exceeds the limit by no more than what comes in one round of agreement.

use std::collections::BTreeMap;

use atoll_base::id::PartitionId;
use atoll_world::clock;
use bytes::Bytes;

use super::Shard;
use crate::{
    core::{
        command::{Event, EventClass},
        data::Keyspace,
        evict::{Chooser, Rules},
        machine::{Machine, Operation},
        partition::Partition,
        paxos::LogIndex,
    },
    memory::{Memory, Tuning},
};

/// An eviction that was not heard of for so long is given up.
const LEAVING_MS_MAX: u64 = 1_000;
/// As much more than has to go goes at once, as a part of the limit, so that a shard does not
/// have to look at every turn…
const SPARE_FRACTION: u64 = 256;
/// …and in bytes, at most.
const SPARE_BYTES_MAX: u64 = 1 << 20;

/// What a shard knows of its memory.
pub(super) struct Evicting {
    memory: Memory,
    shards: usize,
    counted: BTreeMap<PartitionId, Counted>,
    leaving: BTreeMap<PartitionId, Leaving>,
    chooser: Chooser<PartitionId>,
    /// The last change of what is tuned that the partitions were told of.
    changes: u64,
    is_barren: bool,
    is_full: bool,
}

/// What a partition takes.
#[derive(Clone, Copy, Default)]
struct Counted {
    bytes: i64,
    keys: i64,
}

/// Evictions of a partition that are not applied yet.
#[derive(Clone, Copy)]
struct Leaving {
    bytes: i64,
    /// They are in this entry of the log, or a later one.
    from: LogIndex,
    until_ms: u64,
}

/// A part of some bytes, as large as one number is in another; at least one.
fn share(bytes: u64, part: i64, whole: u64) -> usize {
    let part = u128::try_from(part).unwrap_or(0).min(u128::from(whole));
    let share = u128::from(bytes) * part / u128::from(whole.max(1));
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Evicting {
    /// `seed` is for what is drawn.
    pub(super) fn new(memory: Memory, shards: usize, seed: u64) -> Self {
        Evicting {
            memory,
            shards,
            counted: BTreeMap::new(),
            leaving: BTreeMap::new(),
            chooser: Chooser::new(seed),
            changes: 0,
            is_barren: false,
            is_full: false,
        }
    }

    /// Counts what a partition takes.
    pub(super) fn count(&mut self, id: PartitionId, keyspace: &Keyspace) {
        let now = Counted {
            bytes: signed(keyspace.heap_bytes()),
            keys: signed(keyspace.len()),
        };
        let before = self.counted.insert(id, now).unwrap_or_default();
        self.memory
            .grew(now.bytes - before.bytes, now.keys - before.keys);
    }

    /// A partition is held here no longer.
    pub(super) fn forget(&mut self, id: PartitionId) {
        if let Some(counted) = self.counted.remove(&id) {
            self.memory.grew(-counted.bytes, -counted.keys);
        }
        if let Some(leaving) = self.leaving.remove(&id) {
            self.memory.leaves(-leaving.bytes);
        }
    }

    /// Hears what happened where the partition is owned.
    pub(super) fn hear(&self, events: &[Event]) {
        let evicted = events.iter().filter(|it| it.class == EventClass::Evicted);
        let evicted = evicted.count() as u64;
        if evicted > 0 {
            self.memory.evicted(evicted);
        }
    }

    /// A partition got so far.
    pub(super) fn applied(&mut self, id: PartitionId, partition: &Partition<Machine>, now_ms: u64) {
        let Some(leaving) = self.leaving.get(&id) else {
            return;
        };
        let is_over = partition.state().applied.index >= leaving.from
            || partition.replica().owned().is_none()
            || now_ms >= leaving.until_ms;
        if is_over {
            self.memory.leaves(-leaving.bytes);
            self.leaving.remove(&id);
        }
    }

    fn set_barren(&mut self, is_barren: bool) {
        if self.is_barren != is_barren {
            self.is_barren = is_barren;
            self.memory.set_barren(is_barren);
        }
    }
}

impl Shard {
    /// Sees to it that what is too much goes, as far as this shard can.
    pub(super) fn evict(&mut self) {
        let changes = self.evicting.memory.changes();
        if self.evicting.changes != changes {
            self.evicting.changes = changes;
            let uses = self.evicting.memory.uses();
            self.tell_machines(|machine| machine.set_uses(uses));
        }
        if !self.evicting.memory.is_exceeded() {
            self.evicting.set_barren(false);
            self.set_full(false);
            return;
        }
        let policy = self.evicting.memory.policy();
        if policy.evicts() && !self.space.is_short() {
            self.give_up_leaving();
            self.propose_evictions();
        } else {
            self.evicting.set_barren(false);
        }
        self.set_full(self.evicting.memory.is_full(self.evicting.shards));
    }

    /// Evictions that nothing is heard of would keep others from being tried.
    fn give_up_leaving(&mut self) {
        let now_ms = self.now_ms();
        let ids: Vec<PartitionId> = self.evicting.leaving.keys().copied().collect();
        for id in ids {
            let room = self.rooms.get(id);
            if let Some(partition) = room.and_then(|room| room.partition.as_ref()) {
                self.evicting.applied(id, partition, now_ms);
            }
        }
    }

    fn propose_evictions(&mut self) {
        let evicting = &mut self.evicting;
        let memory = &evicting.memory;
        let excess_bytes = memory.excess_bytes();
        if excess_bytes == 0 {
            return;
        }
        let spare_bytes = (memory.tuned(Tuning::BytesMax) / SPARE_FRACTION).min(SPARE_BYTES_MAX);
        let rules = Rules {
            policy: memory.policy(),
            samples: usize::try_from(memory.tuned(Tuning::Samples)).unwrap_or(usize::MAX),
            now_ms: clock::wall_ms(),
        };
        let owned: Vec<(PartitionId, &Keyspace)> = self
            .rooms
            .iter()
            .filter_map(|(id, room)| Some((id, room.partition.as_ref()?)))
            .filter(|(_, partition)| partition.replica().owned().is_some())
            .map(|(id, partition)| (id, partition.state().machine.keyspace()))
            .collect();
        // The other nodes hold the same and see to their share of it. Where one does not, there
        // is as much again to do at the next turn.
        let counted = owned.iter().filter_map(|(id, _)| evicting.counted.get(id));
        let owned_bytes: i64 = counted.map(|counted| counted.bytes).sum();
        let bytes = share(excess_bytes + spare_bytes, owned_bytes, memory.used_bytes());
        let mut free = owned;
        free.retain(|(id, _)| !evicting.leaving.contains_key(id));
        let chosen = evicting.chooser.choose(&free, rules, bytes);
        let is_barren = chosen.is_empty() && evicting.leaving.is_empty();
        let mut keys: BTreeMap<PartitionId, (usize, Vec<(usize, Bytes)>)> = BTreeMap::new();
        for one in chosen {
            let (bytes, keys) = keys.entry(one.partition).or_default();
            *bytes += one.bytes;
            keys.push((one.database, one.key));
        }
        evicting.set_barren(is_barren);
        let until_ms = self.now_ms() + LEAVING_MS_MAX;
        for (id, (bytes, keys)) in keys {
            let room = self.rooms.get_mut(id);
            let Some(partition) = room.and_then(|room| room.partition.as_mut()) else {
                continue;
            };
            let leaving = Leaving {
                bytes: signed(bytes),
                from: partition.replica().durable().log.last().index.next(),
                until_ms,
            };
            partition.propose(Operation::Evict(keys).encode());
            self.evicting.memory.leaves(leaving.bytes);
            self.evicting.leaving.insert(id, leaving);
            self.touched.insert(id);
        }
    }

    /// Tells a machine that is new here what the others know of the node.
    pub(super) fn introduce(&self, machine: &mut Machine) {
        machine.set_uses(self.evicting.memory.uses());
        machine.set_full(self.evicting.is_full);
        machine.set_lacks_space(self.space.is_short());
    }

    fn set_full(&mut self, is_full: bool) {
        if self.evicting.is_full != is_full {
            self.evicting.is_full = is_full;
            self.tell_machines(|machine| machine.set_full(is_full));
        }
    }

    pub(super) fn tell_machines(&mut self, tell: impl Fn(&mut Machine)) {
        for (_, room) in self.rooms.iter_mut() {
            if let Some(partition) = &mut room.partition {
                tell(partition.machine_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{
            machine::Call,
            partition::{Moment, StateMachine as _},
        },
        memory::MemorySettings,
    };

    #[test]
    fn what_moved_away_does_not_count() {
        let memory = Memory::new(MemorySettings::default());
        let mut evicting = Evicting::new(memory.clone(), 1, 1);
        let mut machine = Machine::default();
        let words = ["SET", "a", "x"].map(|word| Bytes::from_static(word.as_bytes()));
        let set = Operation::Call(Call {
            database: 0,
            words: words.to_vec(),
        });
        let at = Moment {
            now_ms: 1,
            seed: 1,
            index: LogIndex(1),
        };
        machine.apply(at, &set.encode());
        let (one, two) = (PartitionId(1), PartitionId(2));
        evicting.count(one, machine.keyspace());
        let used_bytes = memory.used_bytes();
        assert!(used_bytes > 0);
        evicting.count(two, machine.keyspace());
        assert_eq!((memory.used_bytes(), memory.keys()), (2 * used_bytes, 2));
        let leaving = Leaving {
            bytes: 7,
            from: LogIndex(2),
            until_ms: 1,
        };
        memory.leaves(leaving.bytes);
        evicting.leaving.insert(two, leaving);
        evicting.forget(two);
        assert_eq!((memory.used_bytes(), memory.keys()), (used_bytes, 1));
        memory.tune(Tuning::BytesMax, 1);
        assert_eq!(memory.excess_bytes(), used_bytes - 1);
        // A second time there is nothing to forget.
        evicting.forget(two);
        evicting.forget(one);
        assert_eq!((memory.used_bytes(), memory.keys()), (0, 0));
    }
}
