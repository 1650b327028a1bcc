//! Partitions that have moved away: their replicas are let go.
//!
//! Why that is safe, and what has to stay, is in the head of
//! [`Forgotten`](crate::core::paxos::Forgotten)'s module. What happens, in this order:
//!
//! 1. The layout names no part for the replica. It is closed, whoever waits is told, and its
//!    memory is given back. A record that says so goes to the journal.
//! 2. The record is written: records of the replica's next life may follow.
//! 3. It is durable: the replica's files are removed, and segments that only it needed are freed.
//!
//! After a crash before 2 the replica is there as before, and is let go again. After a crash
//! between 2 and 3 files without an owner are left, which every start removes. The record is a
//! beginning like a checkpoint: it is written anew when its segment is to be freed.

use atoll_base::id::PartitionId;
use atoll_world::{journal::Position as Place, task};

use super::{
    Shard, Urgent,
    keeping::{Kept, Settles},
};
use crate::{
    core::{
        paxos::{Configuration, Forgotten},
        sessions::Roll,
        wire::{self, Packet},
    },
    driver::snapshots::Files,
};

/// What stays of a replica that was let go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    forgotten: Forgotten,
    /// The number of the record that says so, after the replica's last, until it is written.
    unwritten: Option<u64>,
    /// Whether its files are being removed.
    is_emptying: bool,
}

impl Kept {
    /// Whether a replica that is not here may begin in a configuration, now.
    pub(super) fn begins_in(&mut self, configuration: &Configuration) -> bool {
        let waits = |left: &Left| {
            // Until then, what is heard of the last life would be taken for the next one's.
            left.unwritten.is_some()
                || left.is_emptying
                || !left.forgotten.lets_begin_in(configuration)
        };
        if self.left.as_ref().is_some_and(waits) {
            return false;
        }
        self.begin_anew();
        true
    }
}

impl Shard {
    /// Goes on with what the journal told of a partition that has moved away.
    pub(super) fn keep_forgotten(&mut self, id: PartitionId, forgotten: Forgotten, place: Place) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.kept.left = Some(Left {
            forgotten,
            unwritten: None,
            is_emptying: false,
        });
        self.begins_at(id, place);
    }

    /// Lets go of a partition that, by a configuration of this number, is not to be here. What
    /// can't be now is tried again, with the next layout or after a while.
    pub(super) fn let_go(&mut self, id: PartitionId, configuration: u64) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(partition) = &room.partition else {
            return;
        };
        let durable = partition.replica().durable();
        let Some(forgotten) = Forgotten::of(durable, configuration) else {
            return;
        };
        // A file on its way to the disk would come to lie there after the others are removed.
        if room.kept.is_saving() {
            return;
        }
        let Some(mut partition) = room.partition.take() else {
            return;
        };
        let number = room.kept.last_written() + 1;
        room.kept.left = Some(Left {
            forgotten,
            unwritten: Some(number),
            is_emptying: false,
        });
        let machine = std::mem::take(partition.machine_mut());
        // It may be large, and others wait for this task.
        task::spawn(task::blocking(move || drop(machine)));
        let record = wire::encode_forgotten(id, forgotten);
        self.put_last_record(id, record, number);
        self.expiring.remove(&id);
        self.strays.forget(id);
        self.transfers.forget(id);
        self.evicting.forget(id);
        let now_ms = self.now_ms();
        for (to, response) in partition.close() {
            if to != self.replica {
                self.send(to, id, &Packet::Response(response));
            } else if let Some(room) = self.rooms.get_mut(id) {
                room.coordinator.response(to, response, now_ms);
            }
        }
        self.touched.insert(id);
        tracing::debug!(partition = %id, configuration, "a partition has moved away");
    }

    /// Tries again what could not be let go.
    pub(super) fn let_go_rest(&mut self) {
        let layout = self.layout.clone();
        for (id, place) in &layout.places {
            if !place.has_part(self.replica) {
                self.let_go(*id, place.configuration.number);
            }
        }
    }

    /// Has partitions that are owned here forget coordinators that are gone for good.
    pub(super) fn call_roll(&mut self) {
        let roll = Roll::new(self.layout.replica_ids, self.layout.nodes.keys().copied());
        for (id, room) in self.rooms.iter_mut() {
            if let Some(partition) = &mut room.partition
                && partition.call_roll(&roll)
            {
                self.touched.insert(id);
            }
        }
    }

    /// Records of a partition that is not here are written up to a number.
    pub(super) fn left(&mut self, id: PartitionId, number: u64) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        if let Some(left) = &mut room.kept.left
            && left.unwritten.is_some_and(|last| number >= last)
        {
            left.unwritten = None;
            self.place_again(id);
        }
    }

    /// That a partition has moved away is durable: removes its files.
    pub(super) fn empty(&mut self, id: PartitionId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        // Where it has come back meanwhile, files of its last life go with the first ones of
        // this one, or at the next start.
        if room.partition.is_some() {
            return;
        }
        let old = room.kept.take_files();
        if let Some(left) = &mut room.kept.left {
            left.is_emptying = true;
        }
        let (files, urgent) = (self.keeping.files(), self.urgent.clone());
        task::spawn(async move {
            let remove = move || {
                for index in old {
                    files.remove(&Files::name(id, index));
                }
            };
            task::blocking(remove).await;
            // A shard that is gone needs to know nothing.
            let _ = urgent.send(Urgent::Emptied(id));
        });
    }

    /// The files of a partition that has moved away are gone.
    pub(super) fn emptied(&mut self, id: PartitionId) {
        if let Some(room) = self.rooms.get_mut(id)
            && let Some(left) = &mut room.kept.left
        {
            left.is_emptying = false;
            self.place_again(id);
        }
    }

    /// It may have to come back already.
    fn place_again(&mut self, id: PartitionId) {
        let layout = self.layout.clone();
        if let Some(place) = layout.places.get(&id) {
            self.place(id, place);
        }
    }

    /// Says anew that a partition has moved away, so that older segments can be freed; how many
    /// bytes that took.
    pub(super) fn carry_left(&mut self, id: PartitionId, kept: &mut Kept) -> u64 {
        let Some(left) = kept.left.filter(|_| kept.moves_head()) else {
            return 0;
        };
        let record = wire::encode_forgotten(id, left.forgotten);
        let bytes = record.len() as u64;
        self.keeping.put(record, Settles::Head(id));
        bytes
    }
}
