//! The journal's old segments: partitions that begin in one begin anew, and then it is freed.

use atoll_base::id::PartitionId;
use atoll_world::{journal::Position as Place, task};

use super::{Kept, Settles};
use crate::{
    core::{machine::Machine, partition::Partition, paxos::Durable, wire},
    driver::shard::Shard,
};

/// Checkpoints of so many bytes are written in one turn.
const CARRY_TURN_BYTES: u64 = 1 << 20;

impl Shard {
    /// Lets partitions that begin in old segments begin anew.
    pub(in crate::driver::shard) fn carry(&mut self) {
        let kept = self.keeping.settings.segments_kept;
        let target = self.keeping.needs.left_alone(kept);
        let behind: Vec<PartitionId> = self
            .keeping
            .heads
            .iter()
            .take_while(|(head, _)| head.segment < target)
            .map(|(_, id)| *id)
            .collect();
        let mut bytes = 0;
        for id in behind {
            if bytes >= CARRY_TURN_BYTES {
                break;
            }
            let Some(mut room) = self.rooms.take(id) else {
                continue;
            };
            bytes += match &room.partition {
                Some(partition) => self.carry_one(id, partition, &mut room.kept),
                None => self.carry_left(id, &mut room.kept),
            };
            self.rooms.put(id, room);
        }
        let now_ms = self.now_ms();
        self.eventual.carry(target, now_ms);
    }

    /// Lets a partition begin anew, or has it snapshotted first; how many bytes that took.
    fn carry_one(
        &mut self,
        id: PartitionId,
        partition: &Partition<Machine>,
        kept: &mut Kept,
    ) -> u64 {
        // What waits for a file is not in the journal, but known to the replica.
        if kept.is_moving || kept.is_due || kept.is_saving || !kept.gates.is_empty() {
            return 0;
        }
        let durable = partition.replica().durable();
        let is_whole = durable.log.start() == durable.log.base();
        let is_long = !is_whole || durable.log.bytes() > self.keeping.settings.carry_bytes_max;
        let helps = partition.state().applied.index > durable.log.base().index;
        if is_long && helps && !kept.moves_next {
            kept.moves_next = true;
            self.make_due(id, kept);
            return 0;
        }
        kept.is_moving = true;
        kept.moves_next = false;
        self.write_checkpoint(id, durable)
    }

    /// Writes everything that a replica knows; how many bytes that took.
    pub(in crate::driver::shard) fn write_checkpoint(
        &mut self,
        id: PartitionId,
        durable: &Durable,
    ) -> u64 {
        let record_bytes_max = self.keeping.record_bytes_max;
        let records = wire::encode_checkpoint(id, durable, record_bytes_max);
        let bytes = records.iter().map(|record| record.len() as u64).sum();
        let mut settles = vec![None; records.len()];
        // The records before it are needed until the last of these is durable.
        if let Some(first) = settles.first_mut() {
            *first = Some(Settles::Begins(id));
        }
        if let Some(last) = settles.last_mut() {
            *last = Some(Settles::Head(id));
        }
        self.keeping
            .records
            .extend(records.into_iter().zip(settles));
        bytes
    }

    pub(in crate::driver::shard) fn moved(&mut self, id: PartitionId, head: Place) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.kept.is_moving = false;
        if let Some(before) = room.kept.head.replace(head) {
            self.keeping.heads.remove(&(before, id));
        }
        self.keeping.heads.insert((head, id));
    }

    /// Says how much the snapshots take.
    pub(super) fn weigh_snapshots(&self) {
        let rooms = self.rooms.iter();
        let bytes: u64 = rooms.map(|(_, room)| room.kept.snapshot_bytes).sum();
        let bytes = bytes + self.eventual.snapshot_bytes();
        self.keeping.needs.holds(self.keeping.shard, bytes);
    }

    /// Has segments freed that no shard needs.
    pub(super) fn free(&mut self) {
        let mut rooms = self.rooms.iter();
        let holds_any = rooms.any(|(_, room)| room.partition.is_some() || room.kept.left.is_some())
            || self.eventual.holds_any();
        let heads = self.keeping.heads.first().map(|(oldest, _)| *oldest);
        let oldest = match heads.into_iter().chain(self.eventual.oldest()).min() {
            Some(oldest) => Some(oldest),
            // What it will hold begins later.
            None => (!holds_any).then_some(Place {
                segment: u64::MAX,
                offset: 0,
            }),
        };
        let Some(oldest) = oldest else {
            return;
        };
        let needs = self.keeping.needs.clone();
        if let Some(before) = needs.tell(self.keeping.shard, oldest) {
            let journal = self.journal.clone();
            task::spawn(task::blocking(move || match needs.free(&journal, before) {
                Ok(()) => tracing::debug!(%before, "the journal of hot data was cut"),
                Err(error) => {
                    tracing::warn!(%error, "old segments of hot data's journal stay for now");
                }
            }));
        }
    }
}
