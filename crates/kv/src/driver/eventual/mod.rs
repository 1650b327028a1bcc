//! The partitions of eventual keyspaces that a shard has, and the way to those that it has not.
//!
//! They live on the same shards as the partitions' logs, write to the same journal in the same
//! append, and their members are the replicas that vote in the partition's log: as many as the
//! cluster keeps of everything. While a partition moves, old and new ones are members; those that
//! leave take no commands any more, and go only when one that stays has what they had
//! ([`may_shrink`](crate::core::eventual::partition::Partition::may_shrink)).
//!
//! What a partition says, to others and to clients, rests on its records, so it waits until the
//! append that holds them is as durable as it has to be ([`Held`]).

mod keeping;
mod outgoing;
mod placing;
mod recovery;
mod requests;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_world::{clock, journal::Position as Place};
use bytes::Bytes;
use tokio::sync::mpsc;

use keeping::{Gone, Kept};
pub(super) use keeping::{Saved, Settling};
use outgoing::Held;
use recovery::HeldRoom;
pub(super) use recovery::{Found, Recovery};
pub(super) use requests::Ask;
use requests::Waiting;
pub(super) use status::Standing;

use super::{Layout, links::Links, shard::Urgent, snapshots::Files};
use crate::{
    core::{
        eventual::{
            budget::{Budget, BudgetLimits},
            bundle::{Bundle, Parcel, RoomId},
            hints::bytes_of,
            message::Message,
            noted::Noted,
            partition::{Partition, Settings},
        },
        keyspaces::Keyspaces,
        wire,
    },
    memory::Memory,
};

/// How often partitions take the time, in milliseconds.
const TICK_EVERY_MS: u64 = 50;

/// Of what others send no more is taken in one turn, in bytes: it has to go into the journal.
const TAKEN_TURN_BYTES_MAX: usize = 8 << 20;
/// While the journal takes nothing, clients' commands are refused once so many parcels and answers
/// wait for it.
const GATHERED_MAX: usize = 4_096;
/// Requests of one start of a node have numbers of so many bits, below that of the start.
const REQUEST_BITS: u32 = 32;

/// What the partitions of a shard work with.
pub(super) struct Tools {
    pub(super) number: usize,
    pub(super) shards: usize,
    pub(super) replica: ReplicaId,
    pub(super) boot: u64,
    pub(super) partitions: Vec<PartitionId>,
    pub(super) layout: Arc<Layout>,
    pub(super) links: Links,
    pub(super) files: Files,
    pub(super) memory: Memory,
    pub(super) standing: Standing,
    pub(super) urgent: mpsc::UnboundedSender<Urgent>,
    pub(super) request_timeout_ms: u64,
    pub(super) segment_bytes: u64,
}

/// A partition, and what of it is on disk.
struct Room {
    partition: Partition,
    /// What was counted of it last, in bytes and keys.
    counted: (usize, usize),
    kept: Kept,
    /// Since when it is here, in this start of the node.
    since_ms: u64,
}

/// Which start of a replica this is, as partitions number what they ask.
fn run_of(boot: u64) -> u32 {
    // It comes around after more starts than any node has.
    (boot & u64::from(u32::MAX)) as u32
}

/// A record for the journal, and what it settles once it is durable.
pub(super) type Noting = (Bytes, Option<(RoomId, Settling)>);

/// The eventual partitions of a shard.
pub(super) struct Eventual {
    tools: Tools,
    keyspaces: Arc<Keyspaces>,
    rooms: BTreeMap<RoomId, Room>,
    /// What rooms keep beside their states.
    budget: Budget,
    /// Rooms that may have something to say.
    touched: BTreeSet<RoomId>,
    unreachable: BTreeSet<ReplicaId>,
    /// Whether the journal has no room for what clients write.
    lacks_space: bool,
    /// Whether it has refused what came before, and is yet to take it.
    is_behind: bool,
    /// What came from others since the last turn ended, in bytes.
    taken_bytes: usize,
    records: Vec<Noting>,
    /// What waits for the records that are next to be appended.
    gathered: Held,
    /// What waits for appends, by their numbers.
    held: VecDeque<(u64, Held)>,
    /// The number of the last append.
    appends: u64,
    bundles: BTreeMap<ReplicaId, Bundle>,
    waiting: BTreeMap<u64, Waiting>,
    last_id: u64,
    tick_at_ms: u64,
    /// Where rooms begin in the journal.
    heads: BTreeSet<(Place, RoomId)>,
    /// Rooms that were let go.
    gone: BTreeMap<RoomId, Gone>,
    saves: usize,
    save_at_ms: u64,
    status_at_ms: u64,
    complain_at_ms: u64,
}

impl Eventual {
    pub(super) fn new(tools: Tools, held: BTreeMap<RoomId, Found>) -> Eventual {
        let budget = Budget::new(BudgetLimits::of_shards(tools.shards));
        // What was asked before a restart may be answered after it.
        let last_id = u64::from(run_of(tools.boot)) << REQUEST_BITS;
        let mut eventual = Eventual {
            tools,
            budget,
            keyspaces: Arc::default(),
            rooms: BTreeMap::new(),
            touched: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            lacks_space: false,
            is_behind: false,
            taken_bytes: 0,
            records: Vec::new(),
            gathered: Held::default(),
            held: VecDeque::new(),
            appends: 0,
            bundles: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_id,
            tick_at_ms: 0,
            heads: BTreeSet::new(),
            gone: BTreeMap::new(),
            saves: 0,
            save_at_ms: 0,
            status_at_ms: 0,
            complain_at_ms: 0,
        };
        for (id, found) in held {
            let held = match found {
                Found::Held(held) => *held,
                Found::Left(past, head) => {
                    eventual.heads.insert((head, id));
                    eventual.gone.insert(id, Gone::held(past, head));
                    continue;
                }
            };
            let (head, kept) = (held.head, Kept::of(&held));
            eventual.heads.insert((head, id));
            let room = Room {
                partition: held.partition,
                counted: (0, 0),
                kept,
                since_ms: clock::wall_ms(),
            };
            eventual.rooms.insert(id, room);
            eventual.touched.insert(id);
        }
        eventual
    }

    fn run(&self) -> u32 {
        run_of(self.tools.boot)
    }

    /// The journal has room for what clients write, or has not.
    pub(super) fn set_lacks_space(&mut self, lacks_space: bool) {
        self.lacks_space = lacks_space;
    }

    /// The journal has refused what came before, or takes it again.
    pub(super) fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
    }

    /// Whether nothing is to be written down but what has to be: all that is said waits for the
    /// journal, and would pile up.
    fn is_quiet(&self) -> bool {
        self.lacks_space || self.is_behind
    }

    /// Whether much waits for the journal already.
    fn has_piled_up(&self) -> bool {
        let gathered = self.gathered.parcels.len() + self.gathered.answers.len();
        self.is_behind && gathered >= GATHERED_MAX
    }

    /// Whether a message may be taken. What is not taken is lost, as on a network, and not
    /// acknowledged: whoever sent items keeps them as a hint, or an exchange brings them later.
    fn has_room_for(&mut self, message: &Message) -> bool {
        match message {
            Message::Ack { .. } | Message::Over | Message::Ahead { .. } => return true,
            // Reads go on: what they ask for and are told writes nothing down.
            Message::Look { .. } => return !self.has_piled_up(),
            Message::Seen { delta, .. } if delta.is_empty() => return true,
            _ if self.is_quiet() => return false,
            _ => {}
        }
        let Some(items) = message.items().filter(|items| !items.is_empty()) else {
            return true;
        };
        let has_room = self.taken_bytes < TAKEN_TURN_BYTES_MAX;
        if has_room {
            self.taken_bytes += bytes_of(items);
        }
        has_room
    }

    /// When there may be something to do; none if nothing is held and nobody waits.
    pub(super) fn wakes_at_ms(&self) -> Option<u64> {
        let is_idle = self.rooms.is_empty() && self.waiting.is_empty();
        (!is_idle).then_some(self.tick_at_ms)
    }

    /// Takes the time.
    pub(super) fn tick(&mut self, now_ms: u64) {
        if now_ms < self.tick_at_ms {
            return;
        }
        self.tick_at_ms = now_ms + TICK_EVERY_MS;
        let wall_ms = clock::wall_ms();
        let is_quiet = self.is_quiet();
        for (id, room) in &mut self.rooms {
            match is_quiet {
                true => room.partition.tick_quietly(wall_ms),
                false => room.partition.tick(wall_ms),
            }
            self.touched.insert(*id);
        }
        self.give_up(now_ms);
        self.tell_status(now_ms);
    }

    /// Another replica can be reached, or not.
    pub(super) fn link(&mut self, replica: ReplicaId, is_up: bool) {
        match is_up {
            true => self.unreachable.remove(&replica),
            false => self.unreachable.insert(replica),
        };
        if !is_up {
            self.lost(replica);
        }
    }

    /// Takes what another node sent.
    pub(super) fn take(&mut self, from: ReplicaId, parcels: Vec<(RoomId, Parcel)>, now_ms: u64) {
        let wall_ms = clock::wall_ms();
        for (id, parcel) in parcels {
            match parcel {
                Parcel::Packet(packet) => {
                    if !self.has_room_for(&packet.message) {
                        continue;
                    }
                    let Some(room) = self.rooms.get_mut(&id) else {
                        continue;
                    };
                    if let Err(error) = room.partition.step(from, packet, wall_ms) {
                        tracing::warn!(replica = %from, keyspace = %id.keyspace, partition = %id.partition, %error, "a clock is wrong: what another node wrote is not taken");
                    }
                    self.touched.insert(id);
                }
                Parcel::Request {
                    id: request,
                    write,
                    read,
                    words,
                } => self.ask_for(from, id, request, (write, read), words, now_ms),
                Parcel::Response { id: request, reply } => {
                    self.answered(from, id, request, reply);
                }
            }
        }
    }

    /// Gathers what rooms have to say and to write.
    pub(super) fn work(&mut self) {
        while let Some(id) = self.touched.pop_first() {
            self.work_in(id);
        }
        while let Some((id, bytes_max)) = self.budget.excess() {
            let Some(room) = self.rooms.get_mut(&id) else {
                unreachable!("rooms that are let go keep nothing");
            };
            room.partition.shed_hints(bytes_max);
            self.count(id);
        }
    }

    fn work_in(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let ready = room.partition.ready();
        for record in ready.records {
            let noted = Noted::Record(record.encode());
            self.records.push((wire::encode_noted(id, &noted), None));
        }
        let messages = ready.messages.into_iter();
        let parcels = messages.map(|(to, packet)| (to, id, Parcel::Packet(packet)));
        self.gathered.parcels.extend(parcels);
        self.gathered.answers.extend(ready.answers);
        self.count(id);
    }

    /// Counts what a room takes now.
    fn count(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        let (partition, replica) = (&room.partition, room.partition.replica());
        let (hints_bytes, asked_bytes) = (partition.hints().bytes(), partition.asked_bytes());
        let bytes = replica.bytes() + hints_bytes + asked_bytes;
        let before = std::mem::replace(&mut room.counted, (bytes, replica.len()));
        count(&self.tools.memory, before, room.counted);
        self.budget.note(id, hints_bytes, asked_bytes);
    }

    fn put(&mut self, id: RoomId, noted: &Noted, settling: Settling) {
        let record = wire::encode_noted(id, noted);
        self.records.push((record, Some((id, settling))));
    }

    /// The records that are to be appended. They have to be synced whatever the node was told of
    /// its journal: a replica that forgets what it told others would count from an older sum.
    pub(super) fn take_records(&mut self) -> Vec<Noting> {
        self.taken_bytes = 0;
        std::mem::take(&mut self.records)
    }
}

/// Tells how much more memory is taken, and by how many more keys.
fn count(memory: &Memory, before: (usize, usize), after: (usize, usize)) {
    // Neither is ever as large as half of what a number holds.
    let change = |before: usize, after: usize| after as i64 - before as i64;
    let (bytes, keys) = (change(before.0, after.0), change(before.1, after.1));
    if (bytes, keys) != (0, 0) {
        memory.grew(bytes, keys);
    }
}

/// What partitions run with.
fn settings() -> Settings {
    Settings::default()
}
