//! Replicas compare what they hold: one partition of a shard after the other is summed up at one
//! place of its log, and the owner's sum is logged, for the others to compare theirs with.
//!
//! Partitions at rest, whose last change was compared, are left alone; so are large ones, since
//! summing up takes as long as writing down, and everybody who asks the partition waits.

use std::collections::BTreeMap;

use atoll_base::id::PartitionId;

use super::{Room, Shard};
use crate::core::{machine::Operation, paxos::LogIndex};

/// The next partition is looked at after so long.
const EVERY_MS: u64 = 1_000;
/// Partitions with more data than this are not compared.
const COMPARED_BYTES_MAX: usize = 64 << 20;

/// How far the comparing has got.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    at_ms: u64,
    /// Whose sum was asked for, and where its log ended before.
    summed: Option<(PartitionId, LogIndex)>,
    last: Option<PartitionId>,
    /// Where the logs ended when they were compared.
    compared: BTreeMap<PartitionId, LogIndex>,
}

impl Shard {
    /// Takes the next step, if it is time.
    pub(super) fn compare(&mut self, now_ms: u64) {
        if now_ms < self.comparing.at_ms {
            return;
        }
        self.comparing.at_ms = now_ms + EVERY_MS;
        if let Some((id, before)) = self.comparing.summed.take() {
            self.tell_sum(id, before);
        }
        let Some(id) = self.next_to_compare() else {
            return;
        };
        self.comparing.last = Some(id);
        let room = self.rooms.get_mut(id);
        if let Some(partition) = room.and_then(|room| room.partition.as_mut()) {
            let end = partition.replica().durable().log.last().index;
            partition.propose(Operation::Sum.encode());
            self.comparing.summed = Some((id, end));
            self.touched.insert(id);
        }
    }

    /// Logs the sum that the owner has, if it still is the owner.
    fn tell_sum(&mut self, id: PartitionId, before: LogIndex) {
        let room = self.rooms.get_mut(id);
        let Some(partition) = room.and_then(|room| room.partition.as_mut()) else {
            return;
        };
        if partition.replica().owned().is_some()
            && let Some((index, sum)) = partition.state().machine.sum()
            && index > before.0
        {
            partition.propose(Operation::Compare { index, sum }.encode());
            let end = partition.replica().durable().log.last().index.next();
            self.comparing.compared.insert(id, end);
            self.touched.insert(id);
        }
    }

    /// The next partition, in turn, that is owned here and was changed since it was compared.
    fn next_to_compare(&self) -> Option<PartitionId> {
        let is_due = |id: PartitionId, room: &Room| {
            room.partition.as_ref().is_some_and(|partition| {
                let compared = self
                    .comparing
                    .compared
                    .get(&id)
                    .copied()
                    .unwrap_or_default();
                partition.replica().owned().is_some()
                    && partition.state().applied.index > compared
                    && partition.state().machine.keyspace().heap_bytes() <= COMPARED_BYTES_MAX
            })
        };
        let last = self.comparing.last;
        let all = self.rooms.iter();
        let later = all.clone().filter(|(id, _)| Some(*id) > last);
        let mut in_turn = later.chain(all);
        let next = in_turn.find(|(id, room)| is_due(*id, room));
        next.map(|(id, _)| id)
    }
}
