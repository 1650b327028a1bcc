//! The owner of a ballot: adds entries, counts who has them, confirms reads.

use std::collections::BTreeMap;

use atoll_base::id::ReplicaId;

use super::{
    configuration::{Proof, Voters},
    durable::Record,
    message::Message,
    progress::{Pace, Progress},
    replica::{ReadId, Refused, Replica, Role},
    settings::Settings,
    types::{Ballot, Entry, LogIndex, Payload, Position},
};

/// What an owner keeps in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) ballot: Ballot,
    /// Its first entry. Reads wait until that is committed.
    first: LogIndex,
    /// Voters and learners, itself included.
    peers: BTreeMap<ReplicaId, Progress>,
    learners: Vec<ReplicaId>,
    /// The last round of confirmation.
    round: u64,
    /// When the last round began.
    confirm_at_ms: u64,
    reads: Vec<Read>,
    /// Who wants to know whether a quorum answers: through whom, for whom, in which round.
    probes: Vec<(ReplicaId, ReplicaId, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Read {
    id: ReadId,
    /// The commit index when it arrived.
    index: LogIndex,
    /// The round that confirms it, once that has begun.
    round: Option<u64>,
}

impl Owner {
    /// Up to where everybody that it sends to has the log.
    pub(super) fn matched_by_all(&self) -> LogIndex {
        let matched = self.peers.values().map(|progress| progress.matched);
        matched.min().unwrap_or_default()
    }

    pub(super) fn reads(self) -> impl Iterator<Item = ReadId> {
        self.reads.into_iter().map(|read| read.id)
    }

    /// A link came up: whatever was on its way is lost.
    pub(super) fn look_again(&mut self, replica: ReplicaId) {
        if let Some(progress) = self.peers.get_mut(&replica) {
            progress.probe(LogIndex::default());
        }
    }

    pub(super) fn wants_tick_at_ms(
        &self,
        own: ReplicaId,
        commit: LogIndex,
        settings: &Settings,
    ) -> Option<u64> {
        let peers = self
            .peers
            .iter()
            .filter(|(replica, _)| **replica != own)
            .filter_map(|(_, progress)| progress.due_at_ms(commit, settings));
        let confirming = self
            .waits_for_confirmation()
            .then_some(self.confirm_at_ms + settings.resend_ms);
        peers.chain(confirming).min()
    }

    fn waits_for_confirmation(&self) -> bool {
        !self.probes.is_empty() || self.reads.iter().any(|read| read.round.is_some())
    }
}

impl Replica {
    /// Adds a batch of commands to the log.
    ///
    /// # Errors
    /// This replica is not the owner, or too much waits already.
    pub fn propose(&mut self, payload: Payload) -> Result<LogIndex, Refused> {
        let Role::Owner(owner) = &self.role else {
            return Err(Refused::NotOwner(self.owner()));
        };
        let ballot = owner.ballot;
        let uncommitted = self
            .durable
            .log
            .last()
            .index
            .0
            .saturating_sub(self.commit.0);
        if uncommitted >= self.settings.uncommitted_max {
            return Err(Refused::Busy);
        }
        Ok(self.append(ballot, payload))
    }

    /// Asks for a moment at which the state is what a linearizable read may see:
    /// [`Ready::reads`](super::Ready::reads) or [`Ready::failed_reads`](super::Ready::failed_reads).
    ///
    /// # Errors
    /// This replica is not the owner.
    pub fn read(&mut self, id: ReadId) -> Result<(), Refused> {
        let hint = self.owner();
        let commit = self.commit;
        let Role::Owner(owner) = &mut self.role else {
            return Err(Refused::NotOwner(hint));
        };
        // What earlier owners committed is known once the first entry is.
        let index = commit.max(owner.first);
        owner.reads.push(Read {
            id,
            index,
            round: None,
        });
        Ok(())
    }

    /// Replicas that get the log and have no vote, so that they have it before they get one.
    pub fn set_learners(&mut self, mut learners: Vec<ReplicaId>) {
        let next = self.durable.log.last().index.next();
        let voters = self.durable.configuration.voters();
        learners.retain(|learner| !voters.contains(*learner));
        let now_ms = self.now_ms;
        if let Role::Owner(owner) = &mut self.role {
            owner
                .peers
                .retain(|replica, _| voters.contains(*replica) || learners.contains(replica));
            for learner in &learners {
                let new = || Progress::new(next, now_ms);
                owner.peers.entry(*learner).or_insert_with(new);
            }
            owner.learners = learners;
        }
    }

    /// How far a replica has got, if this one is the owner and sends to it.
    pub fn matched(&self, replica: ReplicaId) -> Option<LogIndex> {
        match &self.role {
            Role::Owner(owner) => owner.peers.get(&replica).map(|progress| progress.matched),
            _ => None,
        }
    }

    /// That an entry was committed under the joint configuration, once one was.
    pub fn joint_proof(&self) -> Option<Proof> {
        let Role::Owner(owner) = &self.role else {
            return None;
        };
        let configuration = &self.durable.configuration;
        let is_joint = matches!(configuration.voters, Voters::Joint { .. })
            && owner.ballot.configuration == configuration.number;
        (is_joint && self.commit >= owner.first).then_some(Proof {
            committed: Position {
                birth: owner.ballot,
                index: owner.first,
            },
        })
    }

    /// The ballot is this replica's: its log is the one to go on with, and `commit` of it is
    /// known to be committed.
    pub(super) fn become_owner(&mut self, ballot: Ballot, commit: LogIndex) {
        let last = self.durable.log.last();
        self.commit = self.commit.max(commit.min(last.index));
        self.verified = last.index;
        self.follows = true;
        let first = last.index.next();
        let now_ms = self.now_ms;
        let peers = self
            .durable
            .configuration
            .voters()
            .iter()
            .map(|replica| (replica, Progress::new(first, now_ms)))
            .collect();
        if !self.settings.rules.keeps_births {
            self.restamp(ballot);
        }
        self.role = Role::Owner(Owner {
            ballot,
            first,
            peers,
            learners: Vec::new(),
            round: 0,
            confirm_at_ms: now_ms,
            reads: Vec::new(),
            probes: Vec::new(),
        });
        self.append(ballot, Payload::Nothing);
    }

    /// Breaks the rule that births are kept.
    fn restamp(&mut self, birth: Ballot) {
        let after = self.commit;
        let mut entries = self.durable.log.tail(after.next(), usize::MAX);
        for entry in &mut entries {
            entry.position.birth = birth;
        }
        if !entries.is_empty() {
            self.persist(Record::Append { after, entries });
        }
    }

    fn append(&mut self, birth: Ballot, payload: Payload) -> LogIndex {
        let after = self.durable.log.last().index;
        let position = Position {
            birth,
            index: after.next(),
        };
        self.persist(Record::Append {
            after,
            entries: vec![Entry { position, payload }],
        });
        self.verified = position.index;
        // Its own vote counts when its own disk has the entry, like any other.
        self.send_synced(
            self.id,
            Message::Ack {
                ballot: birth,
                matched: position.index,
            },
        );
        position.index
    }

    /// Sends what there is to send.
    pub(super) fn flush(&mut self) {
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        let log = &self.durable.log;
        let last = log.last().index;
        let configuration = &self.durable.configuration;
        let mut letters = Vec::new();
        for (replica, progress) in &mut owner.peers {
            if *replica == self.id {
                continue;
            }
            while progress.may_send(self.settings.in_flight_max)
                && (progress.next <= last || matches!(progress.pace, Pace::Probe { .. }))
            {
                let Some(previous) = log.position(progress.next.previous()) else {
                    progress.pace = Pace::Snapshot;
                    progress.heard_at_ms = self.now_ms;
                    self.snapshots_asked.insert(*replica, owner.ballot);
                    break;
                };
                let entries = log.tail(progress.next, self.settings.accept_bytes_max);
                let end = LogIndex(previous.index.0 + entries.len() as u64);
                progress.sent(end, self.commit, self.now_ms);
                letters.push((
                    *replica,
                    Message::Accept {
                        ballot: owner.ballot,
                        configuration: configuration.clone(),
                        previous,
                        entries,
                        commit: self.commit,
                    },
                ));
            }
        }
        if owner.reads.iter().any(|read| read.round.is_none()) {
            owner.round += 1;
            for read in &mut owner.reads {
                read.round.get_or_insert(owner.round);
            }
            owner.confirm_at_ms = self.now_ms;
            letters.extend(confirmations(owner, self.id));
        }
        for (to, message) in letters {
            self.send(to, message);
        }
        self.release_reads();
    }

    pub(super) fn on_ack(&mut self, from: ReplicaId, ballot: Ballot, matched: LogIndex) {
        let now_ms = self.now_ms;
        let last = self.durable.log.last().index;
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        if owner.ballot != ballot || matched > last {
            return;
        }
        if let Some(progress) = owner.peers.get_mut(&from)
            && progress.acked(matched, now_ms)
        {
            self.count();
        }
    }

    /// Commits what a quorum has, if it is of the own ballot.
    fn count(&mut self) {
        let Role::Owner(owner) = &self.role else {
            return;
        };
        assert_eq!(
            owner.ballot.configuration, self.durable.configuration.number,
            "votes are counted under the configuration that the ballot was asked under"
        );
        let matched = |replica| {
            let progress: Option<&Progress> = owner.peers.get(&replica);
            progress.map_or(LogIndex::default(), |progress| progress.matched)
        };
        let reached = self.durable.configuration.reached_by_quorum(matched);
        let is_own = self
            .durable
            .log
            .position(reached)
            .is_some_and(|position| position.birth == owner.ballot);
        if reached > self.commit && is_own {
            self.commit = reached;
        }
    }

    pub(super) fn on_need(&mut self, from: ReplicaId, ballot: Ballot, index: LogIndex) {
        let last = self.durable.log.last().index;
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        if owner.ballot != ballot {
            return;
        }
        if let Some(progress) = owner.peers.get_mut(&from) {
            // Asked from there already. A replica that lost what it had synced would say so as
            // often as it is asked, so that is left to the clock.
            if index <= progress.matched && progress.probes_match() {
                return;
            }
            progress.heard_at_ms = self.now_ms;
            if progress.pace != Pace::Snapshot {
                progress.probe(index.min(last.next()));
            }
        }
    }

    pub(super) fn on_confirmed(&mut self, from: ReplicaId, ballot: Ballot, round: u64) {
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        if owner.ballot != ballot || round > owner.round {
            return;
        }
        if let Some(progress) = owner.peers.get_mut(&from) {
            progress.confirmed = progress.confirmed.max(round);
        }
    }

    /// Hands out reads whose round a quorum has answered.
    fn release_reads(&mut self) {
        let own = self.id;
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        if !owner.waits_for_confirmation() {
            return;
        }
        let round = owner.round;
        let confirmed = self.durable.configuration.reached_by_quorum(|replica| {
            if replica == own {
                round
            } else {
                let progress = owner.peers.get(&replica);
                progress.map_or(0, |progress| progress.confirmed)
            }
        });
        owner.reads.retain(|read| {
            let is_ready = read.round.is_some_and(|round| round <= confirmed);
            if is_ready {
                self.reads.push((read.id, read.index));
            }
            !is_ready
        });
        let ballot = owner.ballot;
        let mut alive = Vec::new();
        owner.probes.retain(|(via, asker, round)| {
            if *round <= confirmed {
                alive.push((*via, *asker));
            }
            *round > confirmed
        });
        for (via, asker) in alive {
            self.send(via, Message::Alive { ballot, asker });
        }
    }

    pub(super) fn on_probe(&mut self, from: ReplicaId, ballot: Ballot, asker: ReplicaId) {
        let own = self.id;
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        if owner.ballot != ballot || owner.probes.len() >= PROBES_MAX {
            return;
        }
        owner.round += 1;
        owner.probes.push((from, asker, owner.round));
        owner.confirm_at_ms = self.now_ms;
        for (to, message) in confirmations(owner, own) {
            self.send(to, message);
        }
    }

    pub(super) fn tick_owner(&mut self) {
        let now_ms = self.now_ms;
        let resend_ms = self.settings.resend_ms;
        let (own, commit) = (self.id, self.commit);
        let Role::Owner(owner) = &mut self.role else {
            return;
        };
        let mut letters = Vec::new();
        for (replica, progress) in &mut owner.peers {
            let due = progress.due_at_ms(commit, &self.settings);
            if *replica == own || due.is_none_or(|due_ms| now_ms < due_ms) {
                continue;
            }
            progress.heard_at_ms = now_ms;
            if progress.waits() {
                self.snapshots_asked.remove(replica);
                progress.probe(LogIndex::default());
            } else {
                // What was committed since the last Accept.
                progress.told = commit;
                let ballot = owner.ballot;
                letters.push((*replica, Message::Commit { ballot, commit }));
            }
        }
        if owner.waits_for_confirmation() && now_ms >= owner.confirm_at_ms + resend_ms {
            owner.confirm_at_ms = now_ms;
            letters.extend(confirmations(owner, own));
        }
        for (to, message) in letters {
            self.send(to, message);
        }
    }
}

/// So many questions whether the owner is alive are answered at a time.
const PROBES_MAX: usize = 64;

fn confirmations(owner: &Owner, own: ReplicaId) -> Vec<(ReplicaId, Message)> {
    owner
        .peers
        .keys()
        .filter(|replica| **replica != own && !owner.learners.contains(replica))
        .map(|replica| {
            let message = Message::Confirm {
                ballot: owner.ballot,
                round: owner.round,
            };
            (*replica, message)
        })
        .collect()
}
