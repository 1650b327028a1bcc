//! Who is answered what: those who asked, those who wait in line, and those who have to be sent
//! elsewhere.

use atoll_base::id::ReplicaId;

use super::{
    Applied, AppliedBy, Changed, Outcome, Partition, Read, Response, StateMachine, Wish, name,
    waiters::Waiter,
};
use crate::core::{chance, data::Milliseconds, paxos::Refused, sessions::Origin};

impl<M: StateMachine> Partition<M> {
    pub(super) fn answer_reads(&mut self, wall_ms: Milliseconds) {
        let applied = self.state.applied.index;
        let now_ms = self.state.now_ms.max(wall_ms);
        let mut is_held_up = false;
        for (index, waiting) in std::mem::take(&mut self.due) {
            let operation = &waiting.request.operation;
            if let Some(reply) = self.state.machine.waits_no_more(operation) {
                let outcome = Outcome::Done(reply);
                self.respond(waiting.from, waiting.request.origin, outcome);
                continue;
            }
            // What comes after one that has to wait was asked for later.
            let machine = &self.state.machine;
            is_held_up = is_held_up || index <= applied && machine.is_held_up(operation, index);
            if index > applied || is_held_up && !machine.passes(operation) {
                self.due.push_back((index, waiting));
                continue;
            }
            let seed = chance::next(&mut self.chance);
            match self.state.machine.read(now_ms, seed, operation) {
                Read::Reply(reply) => {
                    let outcome = Outcome::Done(reply);
                    self.respond(waiting.from, waiting.request.origin, outcome);
                }
                Read::After(first) if self.replica.owned().is_some() => {
                    let last = self.replica.durable().log.last().index;
                    self.propose(first);
                    self.due.push_back((last.next(), waiting));
                }
                Read::After(_) => {
                    let outcome = Outcome::NotOwner(self.replica.owner());
                    self.respond(waiting.from, waiting.request.origin, outcome);
                }
            }
        }
    }

    /// What waits here for somebody who is not the owner any more is sent on; if it was logged,
    /// the next owner knows its reply.
    pub(super) fn send_away(&mut self) {
        self.owned_up_to = None;
        let owner = self.replica.owner();
        for (_, (origin, waits)) in std::mem::take(&mut self.waiting) {
            for from in waits {
                self.respond(from, origin, Outcome::NotOwner(owner));
            }
        }
        for waiter in self.waiters.take() {
            for from in waiter.from {
                self.respond(from, waiter.origin, Outcome::NotOwner(owner));
            }
        }
        for (_, read) in std::mem::take(&mut self.due) {
            self.respond(read.from, read.request.origin, Outcome::NotOwner(owner));
        }
        for (from, origin) in self.take_held_up() {
            self.respond(from, origin, Outcome::NotOwner(owner));
        }
        self.holding.clear();
    }

    /// The partition is to be held here no longer: tells everybody who waits.
    pub fn close(mut self) -> Vec<(ReplicaId, Response<M::Reply>)> {
        self.send_away();
        let held = std::mem::take(&mut self.held).into_values();
        let held = held.map(|(waiting, _)| waiting);
        let reads = std::mem::take(&mut self.reads).into_values();
        for waiting in held.chain(reads) {
            let outcome = Outcome::NotOwner(None);
            self.respond(waiting.from, waiting.request.origin, outcome);
        }
        self.responses
    }

    /// Answers everybody who waits for a request.
    pub(super) fn answer(&mut self, origin: &Origin, applied: AppliedBy<M>) {
        let outcome = match applied {
            Applied::Waits(wish) => return self.have_wait(origin, wish),
            Applied::Done(reply) => Outcome::Done(reply),
            Applied::Nothing(reply) => Outcome::Nothing(reply),
            Applied::Stale => Outcome::Stale,
        };
        if let Some(waiter) = self.end_waiting(origin, &outcome) {
            // It did not take everything, perhaps.
            self.wake(Changed::Keys(waiter.keys));
        }
    }

    /// Puts a request that found nothing to do into the line, unless it is there.
    fn have_wait(&mut self, origin: &Origin, wish: Wish<M::Key>) {
        let Some((origin, from)) = self.waiting.swap_remove(&name(origin)) else {
            return;
        };
        let is_owner = self.replica.owned().is_some();
        for to in &from {
            let outcome = match is_owner {
                true => Outcome::Waits {
                    again: wish.again.clone(),
                    last: wish.last.clone(),
                },
                false => Outcome::NotOwner(self.replica.owner()),
            };
            self.respond(*to, origin, outcome);
        }
        if is_owner {
            self.waiters.insert(Waiter {
                origin,
                from,
                again: wish.again,
                last: wish.last,
                since_ms: wish.since_ms,
                keys: wish.keys,
            });
        }
    }

    /// Has those tried again who wait for what was changed.
    pub(super) fn wake(&mut self, changed: Changed<M::Key>) {
        let woken = match changed {
            Changed::Keys(keys) => self.waiters.of_keys(&keys),
            Changed::Everything => self.waiters.of_all_keys(),
        };
        self.has_woken |= !woken.is_empty();
        self.queue.extend(woken);
    }

    /// Tells everybody who waits for a request what came of it; gives back its place in the line.
    fn end_waiting(
        &mut self,
        origin: &Origin,
        outcome: &Outcome<M::Reply>,
    ) -> Option<Waiter<M::Key>> {
        let name = name(origin);
        let asked = self.waiting.swap_remove(&name);
        let waiter = self.waiters.remove(&name);
        let waits = waiter.iter().map(|waiter| (waiter.origin, &waiter.from));
        let waits = asked
            .iter()
            .map(|(origin, from)| (*origin, from))
            .chain(waits);
        for (origin, from) in waits {
            let told = from.iter().map(|to| (*to, outcome.clone()));
            let told = told.map(|(to, outcome)| (to, Response { origin, outcome }));
            self.responses.extend(told);
        }
        waiter
    }

    /// Says that a request was not logged. One that waits is asked for again: it was not refused
    /// before.
    pub(super) fn refuse(&mut self, origin: &Origin, refused: Refused) {
        self.holding.remove(&name(origin));
        let outcome = match refused {
            Refused::Busy if self.waiters.get_mut(&name(origin)).is_some() => {
                Outcome::NotOwner(None)
            }
            refused => refusal(refused),
        };
        self.end_waiting(origin, &outcome);
    }

    /// Says whether a node can be reached.
    pub fn link(&mut self, replica: ReplicaId, is_up: bool, now_ms: u64) {
        self.replica.link(replica, is_up, now_ms);
        if !is_up {
            self.waiters.forget(replica);
        }
    }

    pub(super) fn respond(&mut self, to: ReplicaId, origin: Origin, outcome: Outcome<M::Reply>) {
        self.responses.push((to, Response { origin, outcome }));
    }
}

pub(super) fn refusal<R>(refused: Refused) -> Outcome<R> {
    match refused {
        Refused::NotOwner(owner) => Outcome::NotOwner(owner),
        Refused::Busy => Outcome::Busy,
    }
}
