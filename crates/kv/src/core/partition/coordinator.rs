//! Brings requests to the owner, whoever that is, and their answers back.
//!
//! A coordinator knows a hint of who the owner is, which costs a detour when it is wrong and
//! never more. When the owner can't be reached, or does not answer within the hedge, another
//! replica is asked to see to it that there is an owner; whatever was asked before may still be
//! done, and sessions make sure that it is done once.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::request::{Outcome, Request, Response};
use crate::core::sessions::{Origin, Session};

/// Names a task to whoever gave it.
pub type Task = u64;

/// A task's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given<R> {
    /// It was done.
    Reply(R),
    /// It was not done.
    Refused,
    /// It may have been done, or be done yet.
    Unknown,
}

/// Brings requests of one node to one partition.
#[derive(Clone, Debug)]
pub struct Coordinator<R> {
    session: Session,
    next_sequence: u64,
    /// The partition's voters in the ring's order.
    members: Vec<ReplicaId>,
    owner: Option<ReplicaId>,
    unreachable: BTreeSet<ReplicaId>,
    hedge_ms: u64,
    pending: BTreeMap<u64, Pending>,
    requests: Vec<(ReplicaId, Request)>,
    ended: Vec<(Task, Given<R>)>,
}

#[derive(Clone, Debug)]
struct Pending {
    task: Task,
    reads: bool,
    operation: Bytes,
    asked: ReplicaId,
    attempts: u32,
    /// When somebody else is asked.
    hedge_at_ms: u64,
    deadline_ms: u64,
    /// Whether it may have been logged.
    may_be_done: bool,
}

/// After so many detours in a row a request waits for the hedge.
const DETOURS_MAX: u32 = 4;

impl<R> Coordinator<R> {
    /// For one start of a node.
    pub fn new(session: Session, members: Vec<ReplicaId>, hedge_ms: u64) -> Self {
        Coordinator {
            session,
            next_sequence: 1,
            members,
            owner: None,
            unreachable: BTreeSet::new(),
            hedge_ms,
            pending: BTreeMap::new(),
            requests: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Other replicas hold the partition from now on.
    pub fn set_members(&mut self, members: Vec<ReplicaId>) {
        self.owner = self.owner.filter(|owner| members.contains(owner));
        self.members = members;
    }

    /// Number of requests on their way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Sends a request to the owner; its end comes by [`ended`](Self::ended).
    pub fn submit(
        &mut self,
        task: Task,
        reads: bool,
        operation: Bytes,
        now_ms: u64,
        deadline_ms: u64,
    ) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let Some(to) = self.target(None) else {
            self.ended.push((task, Given::Refused));
            return;
        };
        self.pending.insert(
            sequence,
            Pending {
                task,
                reads,
                operation,
                asked: to,
                attempts: 0,
                hedge_at_ms: now_ms + self.hedge_ms,
                deadline_ms,
                may_be_done: false,
            },
        );
        // Without an owner known, whoever is asked first shall see to it.
        let takes_over = self.owner.is_none_or(|owner| owner != to);
        self.send(sequence, to, takes_over);
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

    fn send(&mut self, sequence: u64, to: ReplicaId, takes_over: bool) {
        let answered_below = self.pending.keys().next().copied().unwrap_or(sequence);
        let Some(pending) = self.pending.get_mut(&sequence) else {
            return;
        };
        pending.asked = to;
        pending.may_be_done |= !pending.reads;
        let request = Request {
            origin: Origin {
                session: self.session,
                sequence,
                answered_below,
            },
            reads: pending.reads,
            takes_over,
            operation: pending.operation.clone(),
        };
        self.requests.push((to, request));
    }

    /// Takes an answer.
    pub fn response(&mut self, from: ReplicaId, response: Response<R>, now_ms: u64) {
        let sequence = response.origin.sequence;
        if response.origin.session != self.session || !self.pending.contains_key(&sequence) {
            return;
        }
        match response.outcome {
            Outcome::Done(reply) => {
                self.owner = Some(from);
                self.end(sequence, Given::Reply(reply));
            }
            // Only what was answered is forgotten: somebody got this answer in our name.
            Outcome::Stale => self.end(sequence, Given::Unknown),
            Outcome::Busy => {
                let may_be_done = self
                    .pending
                    .get(&sequence)
                    .is_some_and(|pending| pending.attempts > 0 && pending.may_be_done);
                let given = if may_be_done {
                    Given::Unknown
                } else {
                    Given::Refused
                };
                self.end(sequence, given);
            }
            Outcome::NotOwner(owner) => self.detour(sequence, from, owner, now_ms),
        }
    }

    /// Asks whom somebody named, or has somebody take over.
    fn detour(&mut self, sequence: u64, from: ReplicaId, owner: Option<ReplicaId>, now_ms: u64) {
        let Some(pending) = self.pending.get_mut(&sequence) else {
            return;
        };
        if pending.asked != from {
            // An answer to an older question.
            return;
        }
        pending.attempts += 1;
        if pending.attempts.is_multiple_of(DETOURS_MAX) {
            // They don't agree yet: let the hedge decide.
            return;
        }
        pending.hedge_at_ms = now_ms + self.hedge_ms;
        let named = owner.filter(|owner| *owner != from && !self.unreachable.contains(owner));
        match named {
            Some(owner) => {
                self.owner = Some(owner);
                self.send(sequence, owner, false);
            }
            None => {
                self.owner = None;
                self.send(sequence, from, true);
            }
        }
    }

    fn end(&mut self, sequence: u64, given: Given<R>) {
        if let Some(pending) = self.pending.remove(&sequence) {
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
        let asked: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.asked == replica)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in asked {
            self.hedge(sequence, now_ms);
        }
    }

    /// Takes the time: requests without an answer go to others, late ones end.
    pub fn tick(&mut self, now_ms: u64) {
        let late: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| now_ms >= pending.deadline_ms)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in late {
            let reads = self.pending.get(&sequence).is_some_and(|it| it.reads);
            let given = if reads {
                Given::Refused
            } else {
                Given::Unknown
            };
            self.end(sequence, given);
        }
        let due: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| now_ms >= pending.hedge_at_ms)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in due {
            self.hedge(sequence, now_ms);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn wants_tick_at_ms(&self) -> Option<u64> {
        self.pending
            .values()
            .map(|pending| pending.hedge_at_ms.min(pending.deadline_ms))
            .min()
    }

    fn hedge(&mut self, sequence: u64, now_ms: u64) {
        let Some(pending) = self.pending.get_mut(&sequence) else {
            return;
        };
        pending.hedge_at_ms = now_ms + self.hedge_ms;
        pending.attempts += 1;
        let asked = pending.asked;
        if let Some(to) = self.target(Some(asked)) {
            self.send(sequence, to, true);
        }
    }

    /// Requests to be sent. Those to the own replica are handed to it.
    pub fn requests(&mut self) -> Vec<(ReplicaId, Request)> {
        std::mem::take(&mut self.requests)
    }

    /// Tasks that ended.
    pub fn ended(&mut self) -> Vec<(Task, Given<R>)> {
        std::mem::take(&mut self.ended)
    }
}
