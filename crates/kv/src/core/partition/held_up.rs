//! Requests that wait until others let go of what they hold.
//!
//! The first that has to wait makes all that come after it wait, reads and writes each among
//! themselves, so that what a client sent in order is done in order. Requests that take hold, or
//! let go, wait for nobody, unless they say so: one that would take what others wait for is told
//! so, and comes again later.
//!
//! What is in the log and not applied yet holds, too: an owner logs nothing that would meet, when
//! it is applied, what was not there when it was logged.

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{Batch, Name, Outcome, Partition, StateMachine, Waiting, name};
use crate::core::{
    data::Milliseconds,
    paxos::{Ballot, Payload},
    sessions::{Known, Origin},
};

/// A write that has to wait.
#[derive(Clone, Debug)]
pub(super) struct HeldUp {
    waiting: Waiting,
    /// Others who asked for the same.
    also: Vec<ReplicaId>,
}

/// What takes hold as soon as it is applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// The ballot that it was gathered under. Under another the log may be another.
    under: Option<Ballot>,
    requests: Vec<(Name, Bytes)>,
}

impl Holding {
    pub(super) fn remove(&mut self, name: &Name) {
        self.requests.retain(|(other, _)| other != name);
    }

    pub(super) fn clear(&mut self) {
        *self = Holding::default();
    }
}

impl<M: StateMachine> Partition<M> {
    /// Takes care of a write that has to wait, or that others wait for, and was not logged yet;
    /// false if it is to be logged now.
    pub(super) fn holds_up(&mut self, waiting: &Waiting) -> bool {
        let origin = waiting.request.origin;
        let name = name(&origin);
        self.gather_holding();
        let operation = &waiting.request.operation;
        let machine = &self.state.machine;
        let takes_hold = machine.takes_hold(operation);
        if takes_hold && !machine.waits_in_line(operation) {
            let mut held_up = self.held_up.iter();
            let is_awaited =
                held_up.any(|other| machine.collides(&other.waiting.request.operation, operation));
            // It may be in the log already, by an owner before this one.
            let stands_back = is_awaited && !self.has_inherited();
            if stands_back && let Some(reply) = machine.stands_back() {
                self.respond(waiting.from, origin, Outcome::Done(reply));
                return true;
            }
            self.holding.requests.push((name, operation.clone()));
            return false;
        }
        let known = self.held_up.iter_mut();
        let mut known = known.filter(|other| super::name(&other.waiting.request.origin) == name);
        if let Some(known) = known.next() {
            // Something else under its name takes its place: it was withdrawn, or its time is over.
            known
                .waiting
                .request
                .operation
                .clone_from(&waiting.request.operation);
            if known.waiting.from != waiting.from && !known.also.contains(&waiting.from) {
                known.also.push(waiting.from);
            }
            return true;
        }
        let has_to_wait = !self.held_up.is_empty() || self.is_held_up(operation);
        if has_to_wait {
            self.held_up.push_back(HeldUp {
                waiting: waiting.clone(),
                also: Vec::new(),
            });
        } else if takes_hold {
            self.holding.requests.push((name, operation.clone()));
        }
        has_to_wait
    }

    fn is_held_up(&self, operation: &Bytes) -> bool {
        let machine = &self.state.machine;
        let mut holding = self.holding.requests.iter();
        machine.is_held_up(operation, self.state.applied.index)
            || holding.any(|(_, holder)| machine.collides(operation, holder))
    }

    /// After something was applied: those who need not wait any more go on.
    pub(super) fn let_go_on(&mut self) {
        if self.held_up.is_empty() {
            return;
        }
        // Or what goes on now would be put into the line that is looked at.
        self.gather_holding();
        let mut line = std::mem::take(&mut self.held_up);
        while let Some(next) = line.pop_front() {
            if self.is_held_up(&next.waiting.request.operation) {
                line.push_front(next);
                break;
            }
            for from in next.also {
                self.serve(Waiting {
                    from,
                    request: next.waiting.request.clone(),
                });
            }
            self.serve(next.waiting);
        }
        self.held_up = line;
    }

    /// What is held has been held for too long: those who wait for it wait no more, and those who
    /// came after them need not.
    pub fn refuse_held_up(&mut self, wall_ms: Milliseconds) {
        let has_inherited = self.has_inherited();
        let line = std::mem::take(&mut self.held_up);
        for next in line {
            // What an owner before this one has logged is done, or will be.
            let origin = next.waiting.request.origin;
            let is_new = !has_inherited && self.state.sessions.look(&origin) == Known::New;
            let machine = &self.state.machine;
            let refusal = machine.waits_no_more(&next.waiting.request.operation);
            let Some(reply) = refusal.filter(|_| is_new) else {
                self.held_up.push_back(next);
                continue;
            };
            for from in std::iter::once(next.waiting.from).chain(next.also) {
                self.respond(from, origin, Outcome::Done(reply.clone()));
            }
        }
        self.let_go_on();
        self.answer_reads(wall_ms);
    }

    /// Takes all that wait, to be sent elsewhere.
    pub(super) fn take_held_up(&mut self) -> Vec<(ReplicaId, Origin)> {
        let held_up = std::mem::take(&mut self.held_up).into_iter();
        held_up
            .flat_map(|HeldUp { waiting, also }| {
                let origin = waiting.request.origin;
                let from = std::iter::once(waiting.from).chain(also);
                from.map(move |from| (from, origin))
            })
            .collect()
    }

    /// Once under each ballot: what is in the log, and takes hold when it is applied.
    fn gather_holding(&mut self) {
        let under = self.replica.owned();
        if self.holding.under == under {
            return;
        }
        self.holding.clear();
        self.holding.under = under;
        let log = &self.replica.durable().log;
        let mut index = self.state.applied.index.next();
        while let Some(entry) = log.entry(index) {
            // Whoever applies what is no batch says so.
            if let Payload::Batch(bytes) = &entry.payload
                && let Ok(batch) = Batch::decode(bytes.clone())
            {
                let holds = batch.requests.into_iter();
                let holds = holds.filter(|(_, logged)| self.state.machine.takes_hold(logged));
                let holds = holds.map(|(origin, logged)| (name(&origin), logged));
                self.holding.requests.extend(holds);
            }
            index = index.next();
        }
        let queued = self.queue.iter();
        let queued = queued.filter(|(_, queued)| self.state.machine.takes_hold(queued));
        let queued = queued.map(|(origin, queued)| (name(origin), queued.clone()));
        self.holding.requests.extend(queued);
    }
}
