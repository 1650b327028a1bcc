//! Reads that need not be new: the replica that is here answers them, without asking anybody.

use atoll_base::id::PartitionId;
use atoll_world::{clock, random};

use super::{AskKind, AskOf, Room, Shard, owner_of};
use crate::core::partition::Given;

impl Shard {
    /// Answers, if the request allows that and there is a replica to do it. Gives it back
    /// otherwise: whoever is asked then knows at least as much.
    pub(super) fn answer_stale(&mut self, ask: AskOf) -> Option<AskOf> {
        if ask.kind != AskKind::Stale || !self.is_voter_here(ask.partition) {
            return Some(ask);
        }
        let room = self.rooms.get_mut(ask.partition);
        let Some(room) = room.filter(|room| room.has_followed) else {
            return Some(ask);
        };
        let Some(partition) = &mut room.partition else {
            return Some(ask);
        };
        // As the owner reads: log time stands still while nothing is written.
        let now_ms = partition.state().now_ms.max(clock::wall_ms());
        let machine = partition.machine_mut();
        let answered = machine.read_stale(now_ms, random::u64(), &ask.operation);
        // Whoever asked may have gone.
        let _ = ask.given.send(Given::Reply(answered));
        None
    }

    /// Whether this node is to have the partition. A copy that was left behind when it moved
    /// hears of nothing any more, and one that is on its way here may hold nothing yet.
    fn is_voter_here(&self, id: PartitionId) -> bool {
        let place = self.layout.places.get(&id);
        place.is_some_and(|place| place.order.contains(&self.replica))
    }

    /// Notes who the partition's owner is.
    pub(super) fn note_owner(&self, id: PartitionId, room: &mut Room) {
        let partition = room.partition.as_ref();
        if !room.has_followed {
            room.has_followed = partition.is_some_and(|it| it.replica().owner().is_some());
        }
        let place = self.layout.places.get(&id);
        let owner = owner_of(self.replica, place, partition, &room.coordinator);
        self.owners.note(id, owner);
    }
}
