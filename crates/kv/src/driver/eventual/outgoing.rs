//! What waits for the journal, and what goes out.

use atoll_base::id::ReplicaId;

use super::{Eventual, requests::Asker};
use crate::{
    core::{
        eventual::bundle::{Bundle, Parcel, RoomId},
        machine::Answered,
        partition::Given,
        reply::Reply,
    },
    driver::links::BUNDLE_BYTES_MAX,
};

/// What rests on records that are not durable yet.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) parcels: Vec<(ReplicaId, RoomId, Parcel)>,
    /// Requests by their numbers.
    pub(super) answers: Vec<(u64, Reply)>,
}

impl Held {
    fn append(&mut self, mut other: Held) {
        self.parcels.append(&mut other.parcels);
        self.answers.append(&mut other.answers);
    }
}

impl Eventual {
    /// The number of the last append; 0 before the first.
    pub(in crate::driver) fn last_append(&self) -> u64 {
        self.appends
    }

    /// The number of the append that comes next.
    pub(in crate::driver) fn next_append(&self) -> u64 {
        self.appends + 1
    }

    /// The records that were taken were appended, with others, under that number.
    pub(in crate::driver) fn appended(&mut self) {
        self.appends += 1;
        let held = std::mem::take(&mut self.gathered);
        self.held.push_back((self.appends, held));
    }

    /// There was nothing to append: what was gathered waits for what was appended before.
    pub(in crate::driver) fn not_appended(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        match self.held.back_mut() {
            Some((_, held)) => held.append(gathered),
            None => self.let_out(gathered),
        }
    }

    /// Everything up to an append is as durable as it has to be.
    pub(in crate::driver) fn synced(&mut self, append: u64) {
        while self
            .held
            .front()
            .is_some_and(|(number, _)| *number <= append)
            && let Some((_, held)) = self.held.pop_front()
        {
            self.let_out(held);
        }
    }

    fn let_out(&mut self, held: Held) {
        for (to, room, parcel) in held.parcels {
            self.send(to, room, &parcel);
        }
        for (request, reply) in held.answers {
            self.reply(request, reply);
        }
    }

    /// Answers whoever waits for a request.
    pub(super) fn reply(&mut self, request: u64, reply: Reply) {
        let Some(waiting) = self.waiting.remove(&request) else {
            return;
        };
        match waiting.asker {
            Asker::Client(given) => {
                // Whoever asked may have gone.
                let _ = given.send(Given::Reply(Answered::Reply(reply)));
            }
            Asker::Node { replica, id } => {
                let reply = Some(reply);
                self.send(replica, waiting.room, &Parcel::Response { id, reply });
            }
        }
    }

    /// Puts a parcel into the bundle for a node.
    pub(super) fn send(&mut self, to: ReplicaId, room: RoomId, parcel: &Parcel) {
        let own = self.tools.replica;
        let bundle = self.bundles.entry(to);
        let bundle = bundle.or_insert_with(|| Bundle::new(own));
        bundle.add(room, parcel);
        if bundle.bytes() >= BUNDLE_BYTES_MAX
            && let Some(bundle) = self.bundles.remove(&to)
        {
            self.tools.links.send_parcels(to, bundle);
        }
    }

    /// Sends what was put into bundles.
    pub(in crate::driver) fn flush(&mut self) {
        for (to, bundle) in std::mem::take(&mut self.bundles) {
            self.tools.links.send_parcels(to, bundle);
        }
    }
}
