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
    /// Nor longer than this, although the owner can be heard.
    heard_until_ms: u64,
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

/// An owner that can be heard, but has not answered the question whether it is well, is waited
/// for so many hedges at the most: it may hear nobody.
const HEARD_HEDGES_MAX: u64 = 4;

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
        // An owner without a vote has to go, however well it is.
        let may_stay = self.durable.configuration.is_voter(promised.replica);
        if self.follows && may_stay && promised.replica != self.id {
            self.ask();
        } else {
            self.stand(0);
        }
        TakeOver::Begun
    }

    fn ask(&mut self) {
        let owner = self.durable.promised;
        self.role = Role::Asking(Asking {
            owner,
            until_ms: self.now_ms + self.settings.hedge_ms,
            heard_until_ms: self.now_ms + self.settings.hedge_ms * HEARD_HEDGES_MAX,
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
            self.stand(0);
        }
    }

    /// While this replica asks, the owner is heard: it lives, but whether it can be reached is
    /// not known. That shows soon, by its answer or by nobody's.
    pub(super) fn heard_owner(&mut self) {
        if let Role::Asking(asking) = &mut self.role {
            let until_ms = self.now_ms + self.settings.hedge_ms;
            asking.until_ms = asking.until_ms.max(until_ms).min(asking.heard_until_ms);
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
            // Should the link turn out to be broken, the asker hears of it.
            self.asked_by.insert(asker, ballot);
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

    /// Tells those who asked that the owner can't be reached from here either.
    pub(super) fn tell_owner_down(&mut self, owner: ReplicaId) {
        let ballot = self.durable.promised;
        let asked_by = std::mem::take(&mut self.asked_by);
        for (asker, asked) in asked_by {
            if asked.replica != owner {
                self.asked_by.insert(asker, asked);
            } else if asked >= ballot {
                self.send(asker, Message::OwnerDown { ballot: asked });
            }
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
            self.stand(0);
        }
    }

    /// Asks for a ballot, if it still has a vote.
    pub(super) fn stand(&mut self, attempts: u32) {
        if attempts < self.settings.attempts_max && self.durable.configuration.is_voter(self.id) {
            self.prepare(attempts);
        } else {
            self.follow();
        }
    }

    /// A candidate's link changed: it does not wait for somebody who is away, nor longer than it
    /// takes to come back.
    pub(super) fn link_of_candidate(&mut self, replica: ReplicaId, is_up: bool) {
        let pause_ms = self.random_below(self.settings.retry_ms);
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        let is_waited_for = match candidate.fetching {
            Some((best, _)) => best == replica && !is_up,
            None => is_up && !candidate.promises.contains_key(&replica),
        };
        if is_waited_for {
            let at_ms = self.now_ms + pause_ms;
            candidate.retry_at_ms = candidate.retry_at_ms.min(at_ms);
        }
    }

    /// Asks for a ballot that is higher than all that were heard of.
    fn prepare(&mut self, attempts: u32) {
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
        if ballot.configuration == self.durable.configuration.number {
            self.become_owner(ballot, commit);
        } else {
            // Who votes has changed since it was asked for.
            self.stand(candidate.attempts + 1);
        }
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
        let is_news = self.adopt(configuration);
        match &mut self.role {
            // Those who were asked are not those who decide.
            Role::Candidate(candidate) if is_news => {
                let attempts = candidate.attempts + 1;
                self.stand(attempts);
            }
            // Somebody else is at it: wait a while, then outbid them if they did not get it.
            Role::Candidate(candidate) => {
                let pause_ms = self.settings.retry_ms << candidate.attempts.min(6);
                let until_ms = self.now_ms + self.random_below(pause_ms * 2);
                if let Role::Candidate(candidate) = &mut self.role {
                    candidate.retry_at_ms = candidate.retry_at_ms.max(until_ms);
                }
            }
            // The owner that can't be reached is not the owner any more.
            Role::Asking(_) => self.stand(0),
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
        if self.now_ms >= candidate.retry_at_ms {
            self.stand(candidate.attempts + 1);
        }
    }
}
