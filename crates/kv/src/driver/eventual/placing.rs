//! Who keeps what: rooms follow the keyspaces and the partitions' configurations.

use std::{collections::BTreeSet, sync::Arc};

use atoll_base::id::{ConfigurationNumber, PartitionId, ReplicaId};
use atoll_world::clock;

use super::{Eventual, Gone, Room, Settling, count, settings};
use crate::{
    core::{
        eventual::{
            Author, Life,
            bundle::RoomId,
            membership::Members,
            noted::{Noted, Past},
            partition::Partition,
        },
        keyspaces::{self, Keyspaces},
        paxos::Voters,
    },
    driver::layout::{Layout, Place},
};

/// From the joint configuration that a replica leaves to the stable one after it has come back:
/// it is out, learns, is in the next joint one, and in the one that follows.
const STEPS_TO_COME_BACK: u64 = 4;
/// From a stable configuration to the next joint one: somebody learns, and is in it.
const STEPS_TO_NEXT_JOINT: u64 = 2;

impl Place {
    /// Who keeps an eventual keyspace's part of the partition.
    fn members(&self) -> Members {
        let replicas = match &self.configuration.voters {
            Voters::Stable { members, .. } => members.iter().collect(),
            Voters::Joint { old, new } => old.iter().chain(new.iter()).collect(),
        };
        Members {
            number: ConfigurationNumber(self.configuration.number),
            replicas,
        }
    }

    /// Those of them that take commands: they don't leave.
    pub(super) fn staying(&self) -> BTreeSet<ReplicaId> {
        match &self.configuration.voters {
            Voters::Stable { members, .. } => members.iter().collect(),
            Voters::Joint { new, .. } => new.iter().collect(),
        }
    }

    /// Whether a replica that was a member in an earlier configuration has been one ever since, by
    /// what can be told from the two. The way out and back in takes many steps: out of a joint
    /// configuration, into a stable one, learning, into a joint one, into a stable one again.
    fn was_always_in(&self, replica: ReplicaId, since: u64) -> bool {
        let steps = self.configuration.number.saturating_sub(since);
        match &self.configuration.voters {
            _ if steps == 0 => true,
            Voters::Stable { .. } => steps < STEPS_TO_COME_BACK,
            Voters::Joint { old, .. } => {
                // Who is among the old ones came back in the joint configuration before.
                old.contains(replica) && steps < STEPS_TO_COME_BACK + STEPS_TO_NEXT_JOINT
            }
        }
    }

    /// Whether a replica was a member when the keyspace was created, or before, by what can be seen
    /// of it now: nothing was written before. A node may hear of the keyspace before it hears of
    /// the configuration that it was created in.
    fn was_first(&self, replica: ReplicaId, born: u64) -> bool {
        match &self.configuration.voters {
            _ if self.configuration.number <= born => true,
            Voters::Joint { old, .. } => {
                self.configuration.number == born + 1 && old.contains(replica)
            }
            Voters::Stable { .. } => false,
        }
    }
}

impl Eventual {
    /// Whether the replica that is here takes commands of a room.
    pub(super) fn serves(&self, room: RoomId) -> bool {
        let place = self.tools.layout.places.get(&room.partition);
        place.is_some_and(|place| place.staying().contains(&self.tools.replica))
            && self
                .rooms
                .get(&room)
                .is_some_and(|room| !room.partition.is_behind())
    }

    /// Hears who holds what.
    pub(in crate::driver) fn set_layout(&mut self, layout: Arc<Layout>) {
        self.tools.layout = layout;
        self.place_all();
    }

    /// Hears which keyspaces there are.
    pub(in crate::driver) fn set_keyspaces(&mut self, keyspaces: Arc<Keyspaces>) {
        self.keyspaces = keyspaces;
        self.place_all();
    }

    fn place_all(&mut self) {
        let keyspaces = self.keyspaces.clone();
        for (keyspace, eventual) in keyspaces.eventual() {
            for partition in self.tools.partitions.clone() {
                let room = RoomId {
                    keyspace,
                    partition,
                };
                self.place(room, eventual);
            }
        }
    }

    fn place(&mut self, id: RoomId, eventual: &keyspaces::Eventual) {
        let layout = self.tools.layout.clone();
        let Some(place) = layout.places.get(&id.partition) else {
            return;
        };
        let members = place.members();
        let is_member = members.replicas.contains(&self.tools.replica);
        match self.rooms.get_mut(&id) {
            // A layout from before the room's last step says nothing.
            Some(room) if room.partition.membership().number() > members.number => {}
            Some(room) if is_member => {
                let known = room.partition.membership().number();
                if place.was_always_in(self.tools.replica, known.0) {
                    room.partition.configure(members, clock::wall_ms());
                    self.touched.insert(id);
                    return;
                }
                // What was removed while it had no part would come back with it.
                tracing::info!(keyspace = %id.keyspace, partition = %id.partition, %known, now = %members.number, "a replica that may have left meanwhile begins anew");
                self.let_go(id, ConfigurationNumber(members.number.0 - 1));
                self.open(id, members, false);
            }
            Some(_) => self.let_go(id, members.number),
            None if is_member => {
                let born = eventual.born(id.partition);
                let own = self.tools.replica;
                let is_filled = born.is_some_and(|born| place.was_first(own, born));
                self.open(id, members, is_filled);
            }
            None => {}
        }
    }

    /// Begins a copy, unless the last one went under a newer configuration.
    fn open(&mut self, id: RoomId, members: Members, is_filled: bool) {
        let past = self.gone.get(&id).map(|gone| gone.past);
        if past.is_some_and(|past| past.number >= members.number) {
            return;
        }
        let Some(life) = past.map_or(Some(Life::FIRST), |past| past.life.next()) else {
            tracing::error!(keyspace = %id.keyspace, partition = %id.partition, "this node has had and dropped this partition too often: remove the node, and join it anew");
            return;
        };
        let kept = self.gone.remove(&id).map(Gone::end).unwrap_or_default();
        // Who has left lacks what the others wrote meanwhile.
        let is_filled = is_filled && life == Life::FIRST;
        let author = Author::new(self.tools.replica, life);
        let partition = Partition::new(author, members, is_filled, self.run(), settings());
        let mut room = Room {
            partition,
            counted: (0, 0),
            kept,
            since_ms: clock::wall_ms(),
        };
        let snapshot = room.partition.encode();
        room.kept.begins(snapshot.len());
        self.put(id, &Noted::Whole(snapshot), Settling::Whole);
        self.rooms.insert(id, room);
        self.touched.insert(id);
    }

    /// Lets a replica go that is no member any more, by a configuration of this number.
    fn let_go(&mut self, id: RoomId, number: ConfigurationNumber) {
        // What it still has to say rests on records before the last one.
        self.work_in(id);
        let Some(room) = self.rooms.remove(&id) else {
            return;
        };
        count(&self.tools.memory, room.counted, (0, 0));
        self.budget.note(id, 0, 0);
        let life = room.partition.replica().author().life();
        let past = Past { life, number };
        self.gone.insert(id, Gone::of(room.kept, past));
        self.put(id, &Noted::Left(past), Settling::Left(life));
        tracing::debug!(keyspace = %id.keyspace, partition = %id.partition, "an eventual partition has moved away");
    }

    /// Whether the members of a partition that leave may go, as far as is known here.
    pub(in crate::driver) fn may_shrink(&self, partition: PartitionId, place: &Place) -> bool {
        let (staying, number) = (place.staying(), place.members().number);
        let is_reached = |replica| !self.unreachable.contains(&replica);
        self.keyspaces.eventual().all(|(keyspace, _)| {
            let id = RoomId {
                keyspace,
                partition,
            };
            let room = self.rooms.get(&id);
            room.is_some_and(|room| {
                room.partition.membership().number() == number
                    && room.partition.may_shrink(&staying, is_reached)
            })
        })
    }
}
