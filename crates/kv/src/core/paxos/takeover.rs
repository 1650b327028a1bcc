//! Taking over: ask whether somebody reaches the owner, then ask for a ballot.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::ReplicaId;

use super::{
    configuration::Configuration,
    message::Message,
    replica::{Replica, Role, TakeOver},
    types::{Ballot, Entry, LogIndex, Position},
};

/// Asks who reaches the owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asking {
    /// The owner's ballot.
    owner: Ballot,
    /// Nobody is waited for longer.
    pub(super) until_ms: u64,
    /// Who can't reach it.
    down: BTreeSet<ReplicaId>,
}

/// Asks for a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidate {
    pub(super) ballot: Ballot,
    promises: BTreeMap<ReplicaId, Promised>,
    /// Whose log is being fetched, and where it ends.
    fetching: Option<(ReplicaId, Position)>,
    attempts: u32,
    pub(super) retry_at_ms: u64,
    /// Up to where the log is known to be committed, once it is fetched.
    commit: LogIndex,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Promised {
    last: Position,
    commit: LogIndex,
    tail: Vec<Entry>,
}

impl Replica {
    /// Somebody can't get an answer from the owner, or there is none: take its place, unless it
    /// turns out to be well.
    pub fn take_over(&mut self, now_ms: u64) -> TakeOver {
        self.now_ms = self.now_ms.max(now_ms);
        match &self.role {
            Role::Owner(_) => return TakeOver::Owner,
            Role::Asking(_) | Role::Candidate(_) => return TakeOver::Begun,
            Role::Follower => {}
        }
        if !self.durable.configuration.is_voter(self.id) {
            return TakeOver::NoVoter;
        }
        let promised = self.durable.promised;
        let is_fresh = self
            .prepared_at_ms
            .is_some_and(|at_ms| self.now_ms < at_ms + self.settings.sticky_ms);
        if is_fresh && promised.replica != self.id && !self.unreachable.contains(&promised.replica)
        {
            return TakeOver::Forward(promised.replica);
        }
        if self.follows && promised.replica != self.id {
            self.ask();
        } else {
            self.prepare(0);
        }
        TakeOver::Begun
    }

    fn ask(&mut self) {
        let owner = self.durable.promised;
        self.role = Role::Asking(Asking {
            owner,
            until_ms: self.now_ms + self.settings.hedge_ms,
            down: BTreeSet::from([self.id, owner.replica]),
        });
        // The asker's way may be cut, and this replica's not.
        if !self.unreachable.contains(&owner.replica) {
            let asker = self.id;
            self.send(
                owner.replica,
                Message::Probe {
                    ballot: owner,
                    asker,
                },
            );
        }
        for voter in self.durable.configuration.voters().iter() {
            if voter != self.id && voter != owner.replica {
                self.send(voter, Message::Ask { ballot: owner });
            }
        }
        self.prepare_if_all_down();
    }

    /// Prepares once nobody who is left could reach the owner.
    pub(super) fn prepare_if_all_down(&mut self) {
        let Role::Asking(asking) = &self.role else {
            return;
        };
        let is_out =
            |replica| asking.down.contains(&replica) || self.unreachable.contains(&replica);
        let owner = asking.owner.replica;
        let all_down = self.durable.configuration.voters().iter().all(is_out);
        if all_down && self.unreachable.contains(&owner) {
            self.prepare(0);
        }
    }

    pub(super) fn on_ask(&mut self, from: ReplicaId, ballot: Ballot) {
        let owner = ballot.replica;
        if ballot < self.durable.promised {
            self.nack(from, ballot);
        } else if self.unreachable.contains(&owner) {
            self.send(from, Message::OwnerDown { ballot });
        } else if owner != self.id {
            let asker = from;
            self.send(owner, Message::Probe { ballot, asker });
        } else {
            // It is the owner's own link to the asker that works in one direction.
            self.on_probe(from, ballot, from);
        }
    }

    pub(super) fn on_alive(&mut self, from: ReplicaId, ballot: Ballot, asker: ReplicaId) {
        if asker != self.id {
            self.send(asker, Message::Alive { ballot, asker });
            return;
        }
        if let Role::Asking(asking) = &self.role
            && asking.owner == ballot
        {
            self.role = Role::Follower;
            self.relay = Some(from);
        }
    }

    pub(super) fn on_owner_down(&mut self, from: ReplicaId, ballot: Ballot) {
        if let Role::Asking(asking) = &mut self.role
            && asking.owner == ballot
        {
            asking.down.insert(from);
            self.prepare_if_all_down();
        }
    }

    pub(super) fn tick_asking(&mut self) {
        let Role::Asking(asking) = &self.role else {
            return;
        };
        if self.now_ms >= asking.until_ms {
            self.prepare(0);
        }
    }

    /// Asks for a ballot that is higher than all that were heard of.
    pub(super) fn prepare(&mut self, attempts: u32) {
        let ballot = Ballot {
            configuration: self.durable.configuration.number,
            round: self.round + 1,
            replica: self.id,
        };
        self.promise(ballot);
        let pause_ms = self.settings.retry_ms << attempts.min(6);
        let retry_at_ms = self.now_ms + pause_ms + self.random_below(pause_ms);
        self.role = Role::Candidate(Candidate {
            ballot,
            promises: BTreeMap::new(),
            fetching: None,
            attempts,
            retry_at_ms,
            commit: self.commit,
        });
        let (last, commit) = (self.durable.log.last(), self.commit);
        let configuration = self.durable.configuration.clone();
        for voter in configuration.voters().iter() {
            if voter == self.id {
                self.send_promise(voter, ballot, last, commit);
            } else {
                let configuration = configuration.clone();
                self.send_synced(
                    voter,
                    Message::Prepare {
                        ballot,
                        configuration,
                        last,
                        commit,
                    },
                );
            }
        }
    }

    pub(super) fn on_promise(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        last: Position,
        commit: LogIndex,
        tail: Vec<Entry>,
    ) {
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        if candidate.ballot != ballot || candidate.fetching.is_some() {
            return;
        }
        let promised = Promised { last, commit, tail };
        candidate.promises.insert(from, promised);
        let promises = &candidate.promises;
        let configuration: &Configuration = &self.durable.configuration;
        if ballot.configuration != configuration.number
            || !configuration.is_quorum(|replica| promises.contains_key(&replica))
        {
            return;
        }
        self.adopt_best();
    }

    /// Goes on with the log that holds all that can have been committed.
    fn adopt_best(&mut self) {
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        let commits = candidate.promises.values().map(|promised| promised.commit);
        candidate.commit = commits.max().unwrap_or_default();
        let best = candidate
            .promises
            .iter()
            .max_by_key(|(replica, promised)| (promised.last, **replica == self.id));
        let Some((best, promised)) = best else {
            return;
        };
        let (best, last, tail) = (*best, promised.last, promised.tail.clone());
        if last == self.durable.log.last() {
            self.own();
            return;
        }
        candidate.fetching = Some((best, last));
        match self.durable.log.position(self.commit) {
            Some(previous) if !tail.is_empty() => {
                let ballot = self.durable.promised;
                self.on_tail(best, ballot, previous, tail);
            }
            _ => self.fetch_more(best),
        }
    }

    pub(super) fn on_tail(
        &mut self,
        from: ReplicaId,
        ballot: Ballot,
        previous: Position,
        entries: Vec<Entry>,
    ) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        if candidate.ballot != ballot || candidate.fetching.map(|(best, _)| best) != Some(from) {
            return;
        }
        let end = LogIndex(previous.index.0 + entries.len() as u64);
        // Where it does not begin at what is the same already, it answers an older question.
        if self.merge(previous, entries).is_ok() {
            self.verified = self.verified.max(end);
            self.fetch_more(from);
        }
    }

    /// Goes on fetching, or owns the ballot when all is there.
    pub(super) fn fetch_more(&mut self, from: ReplicaId) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        let Some((best, last)) = candidate.fetching else {
            return;
        };
        if best != from {
            return;
        }
        let log = &self.durable.log;
        if log.position(last.index) == Some(last) {
            self.own();
            return;
        }
        let ballot = candidate.ballot;
        // Up to here the log is the same: what was committed, and what was fetched since.
        let after = self.verified;
        let retry_at_ms = self.now_ms + self.settings.fetch_ms;
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.retry_at_ms = retry_at_ms;
        }
        self.send(best, Message::Fetch { ballot, after });
    }

    /// The ballot is promised by a quorum and the log is complete.
    fn own(&mut self) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        let (ballot, commit) = (candidate.ballot, candidate.commit);
        self.become_owner(ballot, commit);
    }

    pub(super) fn on_nack(
        &mut self,
        ballot: Ballot,
        promised: Ballot,
        configuration: Configuration,
    ) {
        self.round = self.round.max(promised.round);
        let is_own = match &self.role {
            Role::Candidate(candidate) => candidate.ballot == ballot,
            Role::Owner(owner) => owner.ballot == ballot,
            Role::Asking(asking) => asking.owner == ballot,
            Role::Follower => false,
        };
        if !is_own || promised < ballot {
            return;
        }
        self.adopt(configuration);
        match &mut self.role {
            // Somebody else is at it: wait a while, then outbid them if they did not get it.
            Role::Candidate(candidate) => {
                let pause_ms = self.settings.retry_ms << candidate.attempts.min(6);
                let until_ms = self.now_ms + self.random_below(pause_ms * 2);
                if let Role::Candidate(candidate) = &mut self.role {
                    candidate.retry_at_ms = candidate.retry_at_ms.max(until_ms);
                }
            }
            // The owner that can't be reached is not the owner any more.
            Role::Asking(_) => self.prepare(0),
            _ => {
                self.follow();
                self.follows = false;
            }
        }
    }

    pub(super) fn tick_candidate(&mut self) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        if self.now_ms < candidate.retry_at_ms {
            return;
        }
        let attempts = candidate.attempts + 1;
        if attempts < self.settings.attempts_max && self.durable.configuration.is_voter(self.id) {
            self.prepare(attempts);
        } else {
            self.follow();
        }
    }
}
