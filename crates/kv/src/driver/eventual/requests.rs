//! Clients' commands: done by the replica that is here, or by the nearest one that takes them.
//!
//! A command that was sent to another node and not answered is asked of the next one only if it
//! reads: a second INCR would count twice.

use std::collections::BTreeSet;

use atoll_base::id::ReplicaId;
use atoll_world::clock;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Eventual;
use crate::core::{
    command::{self, Flags},
    eventual::{
        bundle::{Parcel, RoomId},
        partition::Refused,
        quorum::Level,
    },
    machine::{Answered, NO_SPACE, OUT_OF_MEMORY},
    partition::Given,
    reply::Reply,
};

/// Requests that may wait in one shard; further ones are refused.
const WAITING_MAX: usize = 65_536;

const BUSY: &str = "BUSY too much waits for other replicas";
const NOBODY: &str = "CLUSTERDOWN No replica of this key's partition can be reached";

/// A client's command for one partition.
pub(in crate::driver) struct Ask {
    pub(in crate::driver) room: RoomId,
    /// How many replicas have to have it, if it writes.
    pub(in crate::driver) write: Level,
    /// How many have to be asked, if it reads.
    pub(in crate::driver) read: Level,
    pub(in crate::driver) words: Vec<Bytes>,
    pub(in crate::driver) given: oneshot::Sender<Given<Answered>>,
}

/// Who waits for a reply.
pub(super) enum Asker {
    /// A client of this node.
    Client(oneshot::Sender<Given<Answered>>),
    /// A node that asked for a client of its own.
    Node {
        replica: ReplicaId,
        /// Its number for it.
        id: u64,
    },
}

/// A request that is not answered yet.
pub(super) struct Waiting {
    pub(super) asker: Asker,
    pub(super) room: RoomId,
    levels: (Level, Level),
    /// Nothing, once the replica that is here does it.
    words: Vec<Bytes>,
    reads: bool,
    until_ms: u64,
    /// Who is asked, and who was before.
    target: Option<ReplicaId>,
    tried: BTreeSet<ReplicaId>,
}

fn error(text: &'static str) -> Reply {
    Reply::Error(Bytes::from_static(text.as_bytes()))
}

impl Eventual {
    /// Takes clients' commands.
    pub(in crate::driver) fn ask(&mut self, asks: Vec<Ask>, now_ms: u64) {
        for ask in asks {
            let asker = Asker::Client(ask.given);
            self.begin(asker, ask.room, (ask.write, ask.read), ask.words, now_ms);
        }
    }

    /// Takes a command that another node's client wants done.
    pub(super) fn ask_for(
        &mut self,
        replica: ReplicaId,
        room: RoomId,
        id: u64,
        levels: (Level, Level),
        words: Vec<Bytes>,
        now_ms: u64,
    ) {
        let asker = Asker::Node { replica, id };
        self.begin(asker, room, levels, words, now_ms);
    }

    fn begin(
        &mut self,
        asker: Asker,
        room: RoomId,
        levels: (Level, Level),
        words: Vec<Bytes>,
        now_ms: u64,
    ) {
        if self.waiting.len() >= WAITING_MAX {
            match asker {
                // Whoever asked may have gone.
                Asker::Client(given) => drop(given.send(Given::Busy)),
                Asker::Node { replica, id } => {
                    let reply = Some(error("BUSY too many requests wait here"));
                    self.send(replica, room, &Parcel::Response { id, reply });
                }
            }
            return;
        }
        let flags = command::find(&words).map_or(Flags::NONE, |command| command.flags);
        let waiting = Waiting {
            asker,
            room,
            levels,
            words,
            reads: !flags.has(Flags::WRITE),
            until_ms: now_ms.saturating_add(self.tools.request_timeout_ms),
            target: None,
            tried: BTreeSet::new(),
        };
        self.last_id += 1;
        let request = self.last_id;
        self.waiting.insert(request, waiting);
        if !self.serves(room) {
            self.ask_elsewhere(request);
            return;
        }
        if flags.has(Flags::WRITE) && self.lacks_space {
            self.reply(request, error(NO_SPACE));
            return;
        }
        if flags.has(Flags::DENYOOM) && self.tools.memory.is_full(self.tools.shards) {
            self.reply(request, error(OUT_OF_MEMORY));
            return;
        }
        let is_full = flags.has(Flags::WRITE) && self.budget.is_full();
        if is_full || self.has_piled_up() {
            self.reply(request, error(BUSY));
            return;
        }
        self.ask_here(request);
    }

    fn ask_here(&mut self, request: u64) {
        let Some(waiting) = self.waiting.get_mut(&request) else {
            return;
        };
        let (id, (write, read)) = (waiting.room, waiting.levels);
        let Some(room) = self.rooms.get_mut(&id) else {
            self.ask_elsewhere(request);
            return;
        };
        let words = waiting.words.clone();
        let asked = room
            .partition
            .request(request, words, write, read, clock::wall_ms());
        self.touched.insert(id);
        match asked {
            Ok(()) => waiting.words = Vec::new(),
            Err(refused @ (Refused::Busy | Refused::Ahead { .. })) => {
                self.reply(request, Reply::Error(refused.to_string().into()));
            }
            Err(Refused::Filling | Refused::Behind) => self.ask_elsewhere(request),
        }
    }

    /// Has the nearest other replica do it that was not asked yet.
    fn ask_elsewhere(&mut self, request: u64) {
        let Some(waiting) = self.waiting.get_mut(&request) else {
            return;
        };
        let room = waiting.room;
        // Only a client's own node looks further: nothing goes in circles.
        if let Asker::Node { replica, id } = waiting.asker {
            self.waiting.remove(&request);
            self.send(replica, room, &Parcel::Response { id, reply: None });
            return;
        }
        let place = self.tools.layout.places.get(&room.partition);
        let staying = place.map(|place| place.staying()).unwrap_or_default();
        let order = place.map(|place| &place.order[..]).unwrap_or_default();
        let next = order.iter().copied().find(|replica| {
            *replica != self.tools.replica
                && staying.contains(replica)
                && !self.unreachable.contains(replica)
                && !waiting.tried.contains(replica)
        });
        waiting.target = next;
        let Some(next) = next else {
            self.reply(request, error(NOBODY));
            return;
        };
        waiting.tried.insert(next);
        let (write, read) = waiting.levels;
        let parcel = Parcel::Request {
            id: request,
            write,
            read,
            words: waiting.words.clone(),
        };
        self.send(next, room, &parcel);
    }

    /// Another node has answered; without a reply it has done nothing.
    pub(super) fn answered(
        &mut self,
        from: ReplicaId,
        room: RoomId,
        request: u64,
        reply: Option<Reply>,
    ) {
        let asked = self.waiting.get(&request);
        if asked.is_none_or(|waiting| waiting.target != Some(from) || waiting.room != room) {
            return;
        }
        match reply {
            Some(reply) => self.reply(request, reply),
            None => self.ask_elsewhere(request),
        }
    }

    /// A node can't be reached any more: what it was asked may have been done there.
    pub(super) fn lost(&mut self, replica: ReplicaId) {
        let asked = self.waiting.iter();
        let asked = asked.filter(|(_, waiting)| waiting.target == Some(replica));
        let asked: Vec<(u64, bool)> = asked.map(|(id, waiting)| (*id, waiting.reads)).collect();
        for (request, reads) in asked {
            match reads {
                true => self.ask_elsewhere(request),
                false => self.forget(request),
            }
        }
    }

    /// Nobody knows what became of a request.
    fn forget(&mut self, request: u64) {
        if let Some(waiting) = self.waiting.remove(&request)
            && let Asker::Client(given) = waiting.asker
        {
            // Whoever asked may have gone.
            let _ = given.send(Given::Unknown);
        }
    }

    /// Gives up what has waited for too long.
    pub(super) fn give_up(&mut self, now_ms: u64) {
        // They wait equally long, so the first ones are over first.
        while let Some((request, waiting)) = self.waiting.first_key_value()
            && waiting.until_ms <= now_ms
        {
            let request = *request;
            self.forget(request);
        }
    }
}
