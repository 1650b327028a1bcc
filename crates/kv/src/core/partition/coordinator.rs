//! Brings requests to the owner, whoever that is, and their answers back.
//!
//! A coordinator knows a hint of who the owner is, which costs a detour when it is wrong and
//! never more. When the owner can't be reached, or does not answer within the hedge, another
//! replica is asked to see to it that there is an owner; whatever was asked before may still be
//! done, and sessions make sure that it is done once.
//!
//! A request that finds nothing to do may wait at the owner ([`Kind::Wait`]). It keeps its
//! number, so that what it took is not lost with an owner: the next one answers the same. When
//! its time is over it is tried once more under that number, which ends it in one way or the
//! other.

use std::collections::BTreeSet;

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{
    hedge::Hedge,
    look::{Look, Seen, Verdict, Votes},
    request::{Outcome, Request, Response},
    waiting::Patience,
};
use crate::core::{
    numbered::Numbered,
    sessions::{Origin, Session},
};

/// Names a task to whoever gave it.
pub type Task = u64;

/// A task's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given<R> {
    /// It was done.
    Reply(R),
    /// It was not done: nobody who could do it was reached.
    Refused,
    /// It was not done: too much waits already.
    Busy,
    /// It may have been done, or be done yet.
    Unknown,
}

/// Brings requests of one node to one partition.
#[derive(Clone, Debug)]
pub struct Coordinator<R> {
    pub(super) session: Session,
    pub(super) next_sequence: u64,
    /// The partition's voters in the ring's order.
    members: Vec<ReplicaId>,
    pub(super) owner: Option<ReplicaId>,
    unreachable: BTreeSet<ReplicaId>,
    hedge: Hedge,
    pub(super) pending: Numbered<Pending<R>>,
    /// Whether replicas are asked what they see before one is asked to take over.
    looks_first: bool,
    looks: Vec<(ReplicaId, Look)>,
    /// Nothing is due before this moment. It is not moved back when a request ends: most do long
    /// before they are due.
    pub(super) due_at_ms: u64,
    /// What waits at an owner.
    pub(super) parked: BTreeSet<u64>,
    requests: Vec<(ReplicaId, Request)>,
    ended: Vec<(Task, Given<R>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Pending<R> {
    pub(super) task: Task,
    reads: bool,
    pub(super) operation: Bytes,
    pub(super) asked: ReplicaId,
    /// Whether it was asked to see to it that there is an owner.
    takes_over: bool,
    /// Who was asked first, and when, as long as it is not known not to be the owner.
    pub(super) first: Option<(ReplicaId, u64)>,
    pub(super) attempts: u32,
    /// When somebody else is asked.
    pub(super) hedge_at_ms: u64,
    pub(super) deadline_ms: u64,
    /// Whether it may have been logged.
    pub(super) may_be_done: bool,
    /// Whether replicas were asked what they see, and what they told, until that is decided.
    has_looked: bool,
    votes: Option<Votes<R>>,
    /// Of a request that may wait.
    pub(super) patience: Option<Patience>,
}

/// How a request is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing, and is not logged.
    Read,
    /// It is logged.
    Write,
    /// The same; where it finds nothing to do it waits until this moment, or for ever.
    Wait {
        /// In the time of `now_ms`.
        until_ms: Option<u64>,
    },
}

impl<R> Pending<R> {
    pub(super) fn due_at_ms(&self) -> u64 {
        self.hedge_at_ms.min(self.deadline_ms)
    }
}

/// After so many detours in a row a request rests: those who were asked don't agree yet.
const DETOURS_MAX: u32 = 6;
/// For so long.
const REST_MS: u64 = 5;
/// So long after a look began somebody is asked to take over all the same.
const LOOK_MS: u64 = 10;

/// So long a replica that has no ballot yet keeps a request; after that it only says who the owner
/// is, be it itself, and who still wants an answer asks again. Nobody asks again so long before a
/// request ends: a replica that was cut off meanwhile does not begin what was given up.
pub(super) const HELD_MS_MAX: u64 = 100;

impl<R: Clone + PartialEq> Coordinator<R> {
    /// For one start of a node. `hedge_ms_min` is the shortest time after which somebody else is
    /// asked.
    pub fn new(session: Session, members: Vec<ReplicaId>, hedge_ms_min: u64) -> Self {
        Coordinator {
            session,
            next_sequence: 1,
            members,
            owner: None,
            unreachable: BTreeSet::new(),
            hedge: Hedge::new(hedge_ms_min),
            pending: Numbered::default(),
            looks_first: false,
            looks: Vec::new(),
            due_at_ms: u64::MAX,
            parked: BTreeSet::new(),
            requests: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Has reads without an owner answered by a quorum, where that can be: see [`Look`].
    pub fn looks_first(mut self) -> Self {
        self.looks_first = true;
        self
    }

    /// Other replicas hold the partition from now on.
    pub fn set_members(&mut self, members: Vec<ReplicaId>) {
        self.owner = self.owner.filter(|owner| members.contains(owner));
        self.members = members;
    }

    /// Who the owner is, as far as answers told.
    pub fn owner(&self) -> Option<ReplicaId> {
        self.owner
    }

    /// Number of requests on their way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// After so long without an answer somebody else is asked: four times what 99 of 100 recent
    /// answers took at the most, within bounds.
    pub fn hedge_ms(&self) -> u64 {
        self.hedge.ms()
    }

    /// Sends a request to the owner; its end comes by [`ended`](Self::ended). An owner is looked
    /// for until `deadline_ms`.
    pub fn submit(
        &mut self,
        task: Task,
        kind: Kind,
        operation: Bytes,
        now_ms: u64,
        deadline_ms: u64,
    ) {
        self.renew_first(now_ms);
        let timeout_ms = deadline_ms.saturating_sub(now_ms);
        let patience = match kind {
            Kind::Wait { until_ms } => Some(Patience::new(until_ms, timeout_ms)),
            Kind::Read | Kind::Write => None,
        };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let Some(to) = self.target(None) else {
            self.ended.push((task, Given::Refused));
            return;
        };
        let pending = Pending {
            task,
            reads: kind == Kind::Read,
            operation,
            asked: to,
            takes_over: false,
            first: (self.owner == Some(to)).then_some((to, now_ms)),
            attempts: 0,
            hedge_at_ms: now_ms + self.hedge.ms(),
            deadline_ms,
            may_be_done: false,
            has_looked: false,
            votes: None,
            patience,
        };
        self.due_at_ms = self.due_at_ms.min(pending.due_at_ms());
        self.pending.insert(sequence, pending);
        // Without an owner known, whoever is asked first shall see to it.
        if self.owner == Some(to) {
            self.send(sequence, to, false);
        } else {
            self.have_taken_over(sequence, to, now_ms);
        }
    }

    /// Asks a replica to see to it that there is an owner; a read first asks all of them what
    /// they see.
    fn have_taken_over(&mut self, sequence: u64, to: ReplicaId, now_ms: u64) {
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        if !self.looks_first || !pending.reads || pending.has_looked {
            pending.votes = None;
            self.send(sequence, to, true);
            return;
        }
        pending.asked = to;
        pending.has_looked = true;
        pending.votes = Some(Votes::new(self.members.len()));
        let operation = pending.operation.clone();
        let origin = self.origin(sequence);
        let look = Look { origin, operation };
        let looks = self.members.iter().map(|member| (*member, look.clone()));
        self.looks.extend(looks);
        self.hedge_at(sequence, now_ms + LOOK_MS);
    }

    /// Takes what a replica sees.
    pub fn seen(&mut self, from: ReplicaId, seen: Seen<R>, now_ms: u64) {
        let sequence = seen.origin.sequence;
        if seen.origin.session != self.session || !self.members.contains(&from) {
            return;
        }
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        let Some(votes) = &mut pending.votes else {
            return;
        };
        votes.add(from, seen);
        match votes.verdict() {
            Verdict::Open => {}
            Verdict::Reply(reply) => {
                self.end(sequence, Given::Reply(reply));
            }
            Verdict::No => {
                let to = pending.asked;
                self.hedge_at(sequence, now_ms + self.hedge.ms());
                self.have_taken_over(sequence, to, now_ms);
            }
        }
    }

    /// Questions what replicas see, to be sent. The own replica is asked in the same way.
    pub fn looks(&mut self) -> Vec<(ReplicaId, Look)> {
        std::mem::take(&mut self.looks)
    }

    fn origin(&self, sequence: u64) -> Origin {
        Origin {
            session: self.session,
            sequence,
            answered_below: self.pending.first().unwrap_or(sequence),
        }
    }

    /// Whom to ask: the owner, or the first that can be reached after the one asked last.
    fn target(&self, asked: Option<ReplicaId>) -> Option<ReplicaId> {
        let is_up = |replica: &ReplicaId| !self.unreachable.contains(replica);
        if let Some(owner) = self.owner.filter(|owner| asked.is_none() && is_up(owner)) {
            return Some(owner);
        }
        let begin = asked
            .and_then(|asked| self.members.iter().position(|member| *member == asked))
            .map_or(0, |place| place + 1);
        let members = self.members.iter().cycle().skip(begin);
        let mut members = members.take(self.members.len()).copied();
        members.find(is_up).or(self.members.first().copied())
    }

    pub(super) fn send(&mut self, sequence: u64, to: ReplicaId, takes_over: bool) {
        let origin = self.origin(sequence);
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        pending.asked = to;
        pending.takes_over = takes_over;
        pending.may_be_done |= !pending.reads;
        let request = Request {
            origin,
            reads: pending.reads,
            takes_over,
            operation: pending.operation.clone(),
        };
        self.requests.push((to, request));
    }

    /// Takes an answer.
    pub fn response(&mut self, from: ReplicaId, response: Response<R>, now_ms: u64) {
        let sequence = response.origin.sequence;
        if response.origin.session != self.session || !self.pending.contains(sequence) {
            return;
        }
        match response.outcome {
            Outcome::Done(reply) => {
                self.owner = Some(from);
                // Anything else tells how long it took to find out whom to ask.
                if let Some(pending) = self.pending.get(sequence)
                    && let Some((first, asked_at_ms)) = pending.first
                    && first == from
                {
                    self.hedge.learn(now_ms.saturating_sub(asked_at_ms));
                }
                self.end(sequence, Given::Reply(reply));
            }
            // Only what was answered is forgotten: somebody got this answer in our name.
            Outcome::Stale => self.end(sequence, Given::Unknown),
            // Links may lose a request, but never double it: one that was sent once is refused
            // for good. One that waited is in the log, and may have been tried again there.
            Outcome::Busy => {
                let may_be_done = self.pending.get(sequence).is_some_and(|pending| {
                    let waited = pending.patience.as_ref().is_some_and(Patience::has_waited);
                    pending.may_be_done && (pending.attempts > 0 || waited)
                });
                let given = if may_be_done {
                    Given::Unknown
                } else {
                    Given::Busy
                };
                self.end(sequence, given);
            }
            Outcome::NotOwner(owner) => self.detour(sequence, from, owner, now_ms),
            Outcome::Waits { again, last } => self.park(sequence, from, (again, last), now_ms),
            Outcome::Nothing(reply) => self.found_nothing(sequence, from, reply, now_ms),
        }
        self.plan_look(now_ms);
    }

    /// Asks whom somebody named, or has somebody take over.
    fn detour(&mut self, sequence: u64, from: ReplicaId, owner: Option<ReplicaId>, now_ms: u64) {
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        pending.first = pending.first.filter(|(first, _)| *first != from);
        if pending.asked != from {
            // An answer to an older question.
            return;
        }
        pending.attempts += 1;
        let (took_over, attempts) = (pending.takes_over, pending.attempts);
        // Who names itself has become the owner meanwhile.
        self.owner = owner.filter(|owner| !self.unreachable.contains(owner));
        if self.rests_for_good(sequence, now_ms) {
            return;
        }
        if attempts.is_multiple_of(DETOURS_MAX) {
            self.hedge_at(sequence, now_ms + REST_MS);
            return;
        }
        self.hedge_at(sequence, now_ms + self.hedge.ms());
        let mut asked = self.unpark_all(from, now_ms);
        asked.push(sequence);
        for sequence in asked {
            if let Some(owner) = self.owner {
                self.send(sequence, owner, false);
            } else {
                // Who was asked to see to it can't.
                let next = self.target(Some(from)).filter(|_| took_over);
                self.have_taken_over(sequence, next.unwrap_or(from), now_ms);
            }
        }
    }

    fn hedge_at(&mut self, sequence: u64, at_ms: u64) {
        if let Some(pending) = self.pending.get_mut(sequence) {
            pending.hedge_at_ms = at_ms;
            self.due_at_ms = self.due_at_ms.min(pending.due_at_ms());
        }
    }

    /// Lets a request rest until its time is over, if it could be begun only when nobody waits for
    /// it any more.
    fn rests_for_good(&mut self, sequence: u64, now_ms: u64) -> bool {
        let pending = self.pending.get(sequence);
        let deadline_ms = pending.map_or(now_ms, |pending| pending.deadline_ms);
        let is_too_late = now_ms + HELD_MS_MAX >= deadline_ms;
        if is_too_late {
            self.hedge_at(sequence, deadline_ms);
        }
        is_too_late
    }

    pub(super) fn end(&mut self, sequence: u64, given: Given<R>) {
        if let Some(pending) = self.pending.remove(sequence) {
            self.parked.remove(&sequence);
            self.ended.push((pending.task, given));
        }
    }

    /// Says whether a node can be reached. What was asked there goes to another at once.
    pub fn link(&mut self, replica: ReplicaId, is_up: bool, now_ms: u64) {
        if is_up {
            self.unreachable.remove(&replica);
            return;
        }
        self.unreachable.insert(replica);
        if self.owner == Some(replica) {
            self.owner = None;
        }
        self.unpark_all(replica, now_ms);
        let asked: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.asked == replica)
            .map(|(sequence, _)| sequence)
            .collect();
        for sequence in asked {
            self.hedge(sequence, now_ms);
        }
    }

    /// Takes the time: requests without an answer go to others, late ones end.
    pub fn tick(&mut self, now_ms: u64) {
        if now_ms < self.due_at_ms {
            return;
        }
        let due = self.pending.iter();
        let due = due.filter(|(_, pending)| pending.due_at_ms() <= now_ms);
        let due: Vec<u64> = due.map(|(sequence, _)| sequence).collect();
        for sequence in due {
            match self.pending.get(sequence) {
                Some(_) if self.parked.contains(&sequence) => self.tick_parked(sequence, now_ms),
                Some(pending) if now_ms < pending.deadline_ms => self.hedge(sequence, now_ms),
                Some(pending) => {
                    // Time was too short for a hedge, but the next request asks somebody else.
                    self.owner = self.owner.filter(|owner| *owner != pending.asked);
                    let given = if pending.reads {
                        Given::Refused
                    } else {
                        Given::Unknown
                    };
                    self.end(sequence, given);
                }
                None => {}
            }
        }
        self.plan_look(now_ms);
        let due = self.pending.iter().map(|(_, pending)| pending.due_at_ms());
        self.due_at_ms = due.min().unwrap_or(u64::MAX);
    }

    /// When [`tick`](Self::tick) may have something to do.
    pub fn wants_tick_at_ms(&self) -> Option<u64> {
        (self.pending.len() > 0).then_some(self.due_at_ms)
    }

    fn hedge(&mut self, sequence: u64, now_ms: u64) {
        self.hedge_at(sequence, now_ms + self.hedge.ms());
        let Some(pending) = self.pending.get_mut(sequence) else {
            return;
        };
        pending.attempts += 1;
        let asked = pending.asked;
        if !self.rests_for_good(sequence, now_ms)
            && let Some(to) = self.target(Some(asked))
        {
            self.have_taken_over(sequence, to, now_ms);
        }
        for sequence in self.unpark_all(asked, now_ms) {
            self.hedge(sequence, now_ms);
        }
    }

    /// Requests to be sent. Those to the own replica are handed to it.
    pub fn requests(&mut self) -> Vec<(ReplicaId, Request)> {
        std::mem::take(&mut self.requests)
    }

    /// Whether there are requests or looks to be sent.
    pub fn has_questions(&self) -> bool {
        !self.requests.is_empty() || !self.looks.is_empty()
    }

    /// Tasks that ended.
    pub fn ended(&mut self) -> Vec<(Task, Given<R>)> {
        std::mem::take(&mut self.ended)
    }
}
