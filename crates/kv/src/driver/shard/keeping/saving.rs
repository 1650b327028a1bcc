//! Snapshots: when they are made, where they go, and whom they are sent to.

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_world::{clock, task};
use bytes::Bytes;

use super::{Kept, Saved};
use crate::{
    core::{
        machine::Machine,
        partition::Partition,
        paxos::{Done, LogIndex, Message, Position, Snapshot, Tail},
        snapshot,
        wire::Packet,
    },
    driver::{
        shard::{Shard, Urgent},
        snapshots::{Files, decode_at},
        transfer::Complete,
    },
};

/// So many of a shard's own snapshots are on their way to the disk at a time.
const SAVES_MAX: usize = 2;
/// What could not be saved is tried again after so long.
const SAVE_RETRY_MS: u64 = 1_000;
/// A shard looks after the journal at least this often.
const HOUSE_EVERY_MS: u64 = 1_000;

impl Shard {
    /// Has the files written that records wait for.
    pub(super) fn save_gates(&mut self, id: PartitionId, kept: &mut Kept) {
        for gate in &mut kept.gates {
            if !gate.is_saved && !gate.is_saving {
                gate.is_saving = true;
                let pieces = vec![gate.snapshot.state.clone()];
                self.save(id, gate.snapshot.base, pieces, false);
            }
        }
    }

    /// Has a snapshot written to its file, away from this task.
    fn save(&self, id: PartitionId, base: Position, pieces: Vec<Bytes>, is_own: bool) {
        let (files, urgent) = (self.keeping.files.clone(), self.urgent.clone());
        task::spawn(async move {
            let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
            let save = move || files.save(&Files::name(id, base.index), &pieces);
            let result = task::blocking(save).await;
            // A shard that is gone needs to know nothing.
            let _ = urgent.send(Urgent::Saved(Saved {
                partition: id,
                base,
                bytes,
                is_own,
                result,
            }));
        });
    }

    /// Hears that a snapshot is on disk, or is not.
    pub(in crate::driver::shard) fn saved(&mut self, saved: Saved, now_ms: u64) {
        let Saved {
            partition: id,
            base,
            bytes,
            is_own,
            result,
        } = saved;
        self.keeping.saves -= usize::from(is_own);
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let kept = &mut room.kept;
        kept.is_saving &= !is_own;
        let gate = kept
            .gates
            .iter_mut()
            .find(|gate| !is_own && gate.snapshot.base == base);
        if let Err(error) = result {
            tracing::warn!(partition = %id, %error, "a snapshot could not be saved");
            if let Some(gate) = gate {
                gate.is_saving = false;
            }
            let retry_at_ms = now_ms + SAVE_RETRY_MS;
            self.keeping.retries.insert((retry_at_ms, id));
            return;
        }
        kept.files.insert(base.index);
        kept.snapshot_bytes = bytes;
        if let Some(gate) = gate {
            gate.is_saved = true;
        }
        while kept.gates.front().is_some_and(|gate| gate.is_saved)
            && let Some(gate) = kept.gates.pop_front()
        {
            self.keeping.records.extend(gate.records);
            self.keeping.has_promised = true;
            self.written.push((id, gate.written));
        }
        if is_own && let Some(partition) = &mut room.partition {
            partition.advance(Done::Snapshot(base));
        }
        self.touched.insert(id);
    }

    /// Has a partition snapshotted when its log has become long.
    pub(in crate::driver::shard) fn weigh(
        &mut self,
        id: PartitionId,
        partition: &Partition<Machine>,
        kept: &mut Kept,
    ) {
        let log = &partition.replica().durable().log;
        let settings = &self.keeping.settings;
        let bytes_max = settings.log_bytes_max.max(kept.snapshot_bytes);
        if log.count() >= settings.log_entries_max || log.bytes() >= bytes_max {
            self.make_due(id, kept);
        }
    }

    /// Lets a replica forget what of its log nobody is likely to ask for.
    pub(in crate::driver::shard) fn forget(partition: &mut Partition<Machine>, kept: &Kept) {
        // A checkpoint tells of all entries after the snapshot that it is made for.
        if !kept.moves_next {
            partition.replica_mut().forget(&Tail::default());
        }
    }

    pub(super) fn make_due(&mut self, id: PartitionId, kept: &mut Kept) {
        if !kept.is_due && !kept.is_saving {
            kept.is_due = true;
            self.keeping.due.push_back(id);
        }
    }

    /// Does what is due, a little of it: makes one snapshot for the disk and one for another
    /// replica at most.
    pub(in crate::driver::shard) fn keep_house(&mut self) {
        let now_ms = self.now_ms();
        if now_ms >= self.keeping.house_at_ms {
            self.keeping.house_at_ms = now_ms + HOUSE_EVERY_MS;
            self.let_go_rest();
            self.call_roll();
            self.weigh_snapshots();
            if !self.keeping.syncs {
                self.settle_synced();
            }
            self.free();
        }
        while let Some((at_ms, id)) = self.keeping.retries.first().copied()
            && at_ms <= now_ms
        {
            self.keeping.retries.pop_first();
            if let Some(mut room) = self.rooms.take(id) {
                self.save_gates(id, &mut room.kept);
                if let Some(partition) = &room.partition {
                    self.weigh(id, partition, &mut room.kept);
                }
                self.rooms.put(id, room);
            }
        }
        if self.keeping.saves < SAVES_MAX
            && let Some(id) = self.keeping.due.pop_front()
        {
            self.snapshot(id);
        }
        if let Some((id, to, under_way)) = self.transfers.next(now_ms)
            && let Some(partition) = self
                .rooms
                .get_mut(id)
                .and_then(|room| room.partition.as_mut())
        {
            let snapshot = under_way.unwrap_or_else(|| {
                let encoded = snapshot::encode(partition.state());
                Snapshot {
                    base: partition.state().applied,
                    state: Bytes::from(encoded.pieces.concat()),
                }
            });
            partition.send_snapshot(to, snapshot);
            self.touched.insert(id);
        }
    }

    /// When there is something to do for the house.
    pub(in crate::driver::shard) fn house_wakes_at_ms(&self) -> u64 {
        let keeping = &self.keeping;
        let is_due = !keeping.due.is_empty() && keeping.saves < SAVES_MAX;
        if is_due || self.transfers.has_next() {
            return self.now_ms();
        }
        let retry = keeping.retries.first().map(|(at_ms, _)| *at_ms);
        retry.unwrap_or(u64::MAX).min(keeping.house_at_ms)
    }

    /// Makes a partition's snapshot.
    pub(super) fn snapshot(&mut self, id: PartitionId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.kept.is_due = false;
        let Some(partition) = &room.partition else {
            return;
        };
        let base = partition.state().applied;
        if base.index <= partition.replica().durable().log.base().index {
            return;
        }
        let begin = clock::now();
        let encoded = snapshot::encode(partition.state());
        room.kept.is_saving = true;
        self.keeping.saves += 1;
        tracing::debug!(
            partition = %id,
            index = %base.index,
            bytes = encoded.bytes,
            took_us = begin.elapsed().as_micros(),
            "a partition is snapshotted"
        );
        self.save(id, base, encoded.pieces, true);
    }

    /// Sends a replica's message; a snapshot in pieces.
    pub(in crate::driver::shard) fn send_message(
        &mut self,
        to: ReplicaId,
        id: PartitionId,
        message: Message,
        now_ms: u64,
    ) {
        let Message::Snapshot {
            ballot,
            configuration,
            snapshot,
        } = message
        else {
            self.send(to, id, &Packet::Message(message));
            return;
        };
        let complete = Complete {
            ballot,
            configuration,
            snapshot,
        };
        for piece in self.transfers.send(id, to, complete, now_ms) {
            self.send(to, id, &piece);
        }
    }

    /// Has a snapshot read that came from another replica, away from this task.
    pub(in crate::driver::shard) fn read_snapshot(
        &self,
        id: PartitionId,
        from: ReplicaId,
        complete: Complete,
    ) {
        let urgent = self.urgent.clone();
        task::spawn(async move {
            let Complete {
                ballot,
                configuration,
                snapshot,
            } = complete;
            let (bytes, base) = (snapshot.state.clone(), snapshot.base);
            match task::blocking(move || decode_at(&bytes, base)).await {
                Ok(state) => {
                    let message = Message::Snapshot {
                        ballot,
                        configuration,
                        snapshot,
                    };
                    // A shard that is gone needs to know nothing.
                    let _ = urgent.send(Urgent::Arrived {
                        partition: id,
                        from,
                        message: Box::new(message),
                        state: Box::new(state),
                    });
                }
                Err(error) => {
                    tracing::warn!(partition = %id, replica = %from, %error, "a snapshot that came can't be read");
                }
            }
        });
    }

    /// Removes snapshots of a partition that are not needed any more.
    pub(super) fn remove_before(&mut self, id: PartitionId, base: LogIndex) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let newer = room.kept.files.split_off(&base);
        let old = std::mem::replace(&mut room.kept.files, newer);
        if old.is_empty() {
            return;
        }
        let files = self.keeping.files.clone();
        task::spawn(task::blocking(move || {
            for index in old {
                files.remove(&Files::name(id, index));
            }
        }));
    }
}
