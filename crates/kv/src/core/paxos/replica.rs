//! The replica: its state, and the four verbs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use atoll_base::id::ReplicaId;

use super::{
    configuration::Configuration,
    durable::{Durable, Record, Snapshot},
    message::Message,
    owner::Owner,
    settings::Settings,
    takeover::{Asking, Candidate},
    types::{Ballot, Entry, LogIndex, Position},
};
use crate::core::chance;

/// Names a read to whoever asked for it.
pub type ReadId = u64;

/// How much of the log is held in memory after it is applied, for replicas that lack it; others
/// need a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// So many bytes of payloads are always held, and seldom more than twice as many.
    pub bytes: u64,
    /// So many are held for a replica that the owner sends to and that lags behind.
    pub lagging_bytes: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Tail {
            bytes: 16 << 10,
            lagging_bytes: 256 << 10,
        }
    }
}

/// One replica of one partition's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub(super) id: ReplicaId,
    pub(super) settings: Settings,
    pub(super) durable: Durable,
    pub(super) role: Role,
    /// Whether the owner of the promised ballot was heard of.
    pub(super) follows: bool,
    /// Up to where the log is known to be the same as that of the promised ballot's owner.
    pub(super) verified: LogIndex,
    /// Up to where it is known to be committed.
    pub(super) commit: LogIndex,
    /// Up to where entries were handed out to be applied.
    pub(super) handed_out: LogIndex,
    /// The highest round heard of.
    pub(super) round: u64,
    /// When somebody else's Prepare was answered.
    pub(super) prepared_at_ms: Option<u64>,
    /// Replicas that can't be reached, as the links say.
    pub(super) unreachable: BTreeSet<ReplicaId>,
    /// Somebody through whom the owner can be reached, where the way is cut.
    pub(super) relay: Option<ReplicaId>,
    /// Who asked whether an owner can be reached, and was not told that it can't.
    pub(super) asked_by: BTreeMap<ReplicaId, Ballot>,
    pub(super) now_ms: u64,
    random: u64,
    records: Vec<Record>,
    written: u64,
    synced: u64,
    /// To be sent at once.
    outbox: Vec<(ReplicaId, Message)>,
    /// To be sent, in order, once so many records are synced.
    outbox_synced: VecDeque<(u64, ReplicaId, Message)>,
    pub(super) reads: Vec<(ReadId, LogIndex)>,
    pub(super) failed_reads: Vec<ReadId>,
    /// Who waits for a snapshot, and under which ballot.
    pub(super) snapshots_asked: BTreeMap<ReplicaId, Ballot>,
    snapshots_told: BTreeSet<ReplicaId>,
}

/// What a replica is just now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Follows whoever owns the promised ballot.
    Follower,
    /// Can't reach the owner, and asks who can.
    Asking(Asking),
    /// Asks for a ballot.
    Candidate(Candidate),
    /// Holds the ballot.
    Owner(Owner),
}

/// What has to be done.
#[derive(Debug, Default)]
pub struct Ready {
    /// To be written to the journal, in order, and synced at every level of durability but for
    /// entries; then [`Done::Synced`].
    pub records: Vec<Record>,
    /// The number of the last record that was ever handed out.
    pub written: u64,
    /// To be sent; may be lost, doubled or late.
    pub messages: Vec<(ReplicaId, Message)>,
    /// To be applied, in order, after what [`Record::Install`] among the records brings.
    pub committed: Vec<Entry>,
    /// Reads that may be answered from the state, once it has applied the index.
    pub reads: Vec<(ReadId, LogIndex)>,
    /// Reads that somebody else has to answer.
    pub failed_reads: Vec<ReadId>,
    /// Replicas that need the state: [`Replica::send_snapshot`].
    pub snapshots: Vec<ReplicaId>,
}

impl Ready {
    /// Adds what was handed out after this.
    pub fn append(&mut self, later: Ready) {
        self.records.extend(later.records);
        self.written = later.written;
        self.messages.extend(later.messages);
        self.committed.extend(later.committed);
        self.reads.extend(later.reads);
        self.failed_reads.extend(later.failed_reads);
        self.snapshots.extend(later.snapshots);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.messages.is_empty()
            && self.committed.is_empty()
            && self.reads.is_empty()
            && self.failed_reads.is_empty()
            && self.snapshots.is_empty()
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Records up to this number are synced.
    Synced(u64),
    /// The replica's own snapshot of this position is synced; the log up to it is not needed.
    Snapshot(Position),
}

/// Why a proposal or a read is refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another replica may own the ballot.
    #[error("this replica does not own the partition's ballot")]
    NotOwner(Option<ReplicaId>),
    /// Too many entries wait for their commit.
    #[error("too many writes of this partition wait for a majority")]
    Busy,
}

/// What came of the wish that a replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// It is under way.
    Begun,
    /// The replica owns the ballot.
    Owner,
    /// This one is about to own it, or can be reached and owns it.
    Forward(ReplicaId),
    /// The replica has no vote.
    NoVoter,
}

impl Replica {
    /// A replica as it comes out of its journal, its state restored up to the log's base.
    /// `seed` is for the pauses between its attempts.
    pub fn new(id: ReplicaId, durable: Durable, settings: Settings, seed: u64) -> Self {
        let base = durable.log.base().index;
        let mut replica = Replica {
            id,
            settings,
            role: Role::Follower,
            follows: false,
            verified: base,
            commit: base,
            handed_out: base,
            round: durable.promised.round,
            prepared_at_ms: None,
            unreachable: BTreeSet::new(),
            relay: None,
            asked_by: BTreeMap::new(),
            now_ms: 0,
            random: seed,
            records: Vec::new(),
            written: 0,
            synced: 0,
            outbox: Vec::new(),
            outbox_synced: VecDeque::new(),
            reads: Vec::new(),
            failed_reads: Vec::new(),
            snapshots_asked: BTreeMap::new(),
            snapshots_told: BTreeSet::new(),
            durable,
        };
        if !settings.rules.forgets_ownership && replica.durable.promised.replica == id {
            replica.become_owner(replica.durable.promised, LogIndex::default());
        }
        replica
    }

    /// Its id.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// Its limits and times.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it has durably, or is about to.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Its newest configuration.
    pub fn configuration(&self) -> &Configuration {
        &self.durable.configuration
    }

    /// Up to where its log is committed, as far as it knows.
    pub fn commit(&self) -> LogIndex {
        self.commit
    }

    /// The ballot it owns.
    pub fn owned(&self) -> Option<Ballot> {
        match &self.role {
            Role::Owner(owner) => Some(owner.ballot),
            _ => None,
        }
    }

    /// Who owns the ballot, as far as it knows; or is about to, if `is_candidate`.
    pub fn owner(&self) -> Option<ReplicaId> {
        match &self.role {
            Role::Owner(_) => Some(self.id),
            _ => self.follows.then_some(self.durable.promised.replica),
        }
    }

    /// Whether it tries to own the ballot.
    pub fn is_taking_over(&self) -> bool {
        matches!(self.role, Role::Asking(_) | Role::Candidate(_))
    }

    /// Somebody through whom the owner can be reached, found when this replica could not.
    pub fn relay(&self) -> Option<ReplicaId> {
        self.relay.filter(|_| self.follows)
    }

    /// Whether a replica can be reached, as its link says; the replica itself always.
    pub fn reaches(&self, replica: ReplicaId) -> bool {
        !self.unreachable.contains(&replica)
    }

    /// Takes a message.
    pub fn step(&mut self, from: ReplicaId, message: Message, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        match message {
            Message::Prepare {
                ballot,
                configuration,
                last,
                commit,
            } => self.on_prepare(from, ballot, configuration, last, commit),
            Message::Promise {
                ballot,
                last,
                commit,
                tail,
            } => self.on_promise(from, ballot, last, commit, tail),
            Message::Nack {
                ballot,
                promised,
                configuration,
            } => self.on_nack(ballot, promised, configuration),
            Message::Fetch { ballot, after } => self.on_fetch(from, ballot, after),
            Message::Tail {
                ballot,
                previous,
                entries,
            } => self.on_tail(from, ballot, previous, entries),
            Message::Accept {
                ballot,
                configuration,
                previous,
                entries,
                commit,
            } => self.on_accept(from, ballot, configuration, previous, entries, commit),
            Message::Ack { ballot, matched } => self.on_ack(from, ballot, matched),
            Message::Need {
                ballot,
                from: index,
            } => self.on_need(from, ballot, index),
            Message::Commit { ballot, commit } => self.on_commit(from, ballot, commit),
            Message::Snapshot {
                ballot,
                configuration,
                snapshot,
            } => self.on_snapshot(from, ballot, configuration, snapshot),
            Message::Confirm { ballot, round } => self.on_confirm(from, ballot, round),
            Message::Confirmed { ballot, round } => self.on_confirmed(from, ballot, round),
            Message::Ask { ballot } => self.on_ask(from, ballot),
            Message::Probe { ballot, asker } => self.on_probe(from, ballot, asker),
            Message::Alive { ballot, asker } => self.on_alive(from, ballot, asker),
            Message::OwnerDown { ballot } => self.on_owner_down(from, ballot),
        }
    }

    /// Takes the time, of a clock that does not go back.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        match &self.role {
            Role::Follower => {}
            Role::Asking(_) => self.tick_asking(),
            Role::Candidate(_) => self.tick_candidate(),
            Role::Owner(_) => self.tick_owner(),
        }
    }

    /// When [`tick`](Self::tick) has something to do, if ever.
    pub fn wants_tick_at_ms(&self) -> Option<u64> {
        match &self.role {
            Role::Follower => None,
            Role::Asking(asking) => Some(asking.until_ms),
            Role::Candidate(candidate) => Some(candidate.retry_at_ms),
            Role::Owner(owner) => owner.wants_tick_at_ms(self.id, self.commit, &self.settings),
        }
    }

    /// What has to be done now. Each thing is handed out once.
    pub fn ready(&mut self) -> Ready {
        self.flush();
        // What it tells itself may lead to more.
        while let Some((number, ..)) = self.outbox_synced.front()
            && *number <= self.synced
            && let Some((_, to, message)) = self.outbox_synced.pop_front()
        {
            if to == self.id {
                self.step(self.id, message, self.now_ms);
                self.flush();
            } else {
                self.outbox.push((to, message));
            }
        }
        let told = &mut self.snapshots_told;
        let snapshots = self
            .snapshots_asked
            .keys()
            .copied()
            .filter(|to| told.insert(*to))
            .collect();
        Ready {
            records: std::mem::take(&mut self.records),
            written: self.written,
            messages: std::mem::take(&mut self.outbox),
            committed: self.hand_out(),
            reads: std::mem::take(&mut self.reads),
            failed_reads: std::mem::take(&mut self.failed_reads),
            snapshots,
        }
    }

    /// Hears what was done.
    pub fn advance(&mut self, done: Done) {
        match done {
            Done::Synced(number) => self.synced = self.synced.max(number),
            Done::Snapshot(base) => {
                let here = self.durable.log.base().index;
                if base.index > here && base.index <= self.handed_out {
                    self.persist(Record::Compact(base));
                }
            }
        }
    }

    /// Forgets entries that are applied, once more of them are held than is to be kept for
    /// replicas that lack them.
    pub fn forget(&mut self, tail: &Tail) {
        let held_bytes = self.durable.log.held_bytes();
        if held_bytes <= 2 * tail.bytes {
            return;
        }
        let mut up_to = self.handed_out;
        if held_bytes <= tail.lagging_bytes
            && let Role::Owner(owner) = &self.role
        {
            up_to = up_to.min(owner.matched_by_all());
        }
        self.durable.log.forget(up_to, tail.bytes);
    }

    /// Entries to be applied.
    fn hand_out(&mut self) -> Vec<Entry> {
        let log = &self.durable.log;
        let mut entries = Vec::new();
        while self.handed_out < self.commit {
            let index = self.handed_out.next();
            let entry = log.entry(index);
            // Before the start it would be in the state already.
            assert!(entry.is_some(), "committed entry {index} is not in the log");
            entries.extend(entry.cloned());
            self.handed_out = index;
        }
        entries
    }

    /// Says whether another replica can be reached just now. A link that came up lets an owner
    /// look what the other one lacks.
    pub fn link(&mut self, replica: ReplicaId, is_up: bool, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if !is_up {
            self.unreachable.insert(replica);
            self.tell_owner_down(replica);
            self.prepare_if_all_down();
        } else {
            self.unreachable.remove(&replica);
            if let Role::Owner(owner) = &mut self.role {
                owner.look_again(replica);
            }
        }
        self.link_of_candidate(replica, is_up);
    }

    /// Says that the control plane has decided a configuration. An owner asks for a ballot under
    /// it at once; where the owner has no vote any more, the first who has one does.
    pub fn configure(&mut self, configuration: Configuration, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if configuration.number <= self.durable.configuration.number {
            return;
        }
        let was_at_it = matches!(self.role, Role::Owner(_) | Role::Candidate(_));
        self.adopt(configuration);
        if was_at_it && self.durable.configuration.is_voter(self.id) {
            self.stand(0);
        } else if was_at_it {
            self.follow();
            self.follows = false;
        } else if self.follows && self.is_first_heir() {
            self.stand(0);
        }
    }

    fn is_first_heir(&self) -> bool {
        let configuration = &self.durable.configuration;
        !configuration.is_voter(self.durable.promised.replica)
            && configuration.voters().iter().next() == Some(self.id)
    }

    /// Gives the state that [`Ready::snapshots`] asked for.
    pub fn send_snapshot(&mut self, to: ReplicaId, snapshot: Snapshot) {
        self.snapshots_told.remove(&to);
        let Some(ballot) = self.snapshots_asked.remove(&to) else {
            return;
        };
        if ballot == self.durable.promised {
            let configuration = self.durable.configuration.clone();
            self.send(
                to,
                Message::Snapshot {
                    ballot,
                    configuration,
                    snapshot,
                },
            );
        }
    }

    /// Changes what must not be forgotten, and has it written.
    pub(super) fn persist(&mut self, record: Record) {
        self.durable.apply(record.clone());
        self.records.push(record);
        self.written += 1;
    }

    /// Sends a message that speaks for nothing unwritten.
    pub(super) fn send(&mut self, to: ReplicaId, message: Message) {
        self.outbox.push((to, message));
    }

    /// Sends a message once everything written so far is synced.
    pub(super) fn send_synced(&mut self, to: ReplicaId, message: Message) {
        self.outbox_synced.push_back((self.written, to, message));
    }

    /// Takes over a newer configuration. Says whether it is one.
    pub(super) fn adopt(&mut self, configuration: Configuration) -> bool {
        let is_news = configuration.number > self.durable.configuration.number;
        if is_news {
            self.persist(Record::Configure(configuration));
        }
        is_news
    }

    /// What was to be said under a lower ballot does not help anybody any more.
    pub(super) fn forget_unsaid(&mut self) {
        self.outbox_synced.clear();
    }

    /// Gives up whatever it is, and follows.
    pub(super) fn follow(&mut self) {
        if let Role::Owner(owner) = std::mem::replace(&mut self.role, Role::Follower) {
            self.failed_reads.extend(owner.reads());
        }
        self.snapshots_asked.clear();
        self.snapshots_told.clear();
        self.relay = None;
    }

    /// Refuses a ballot.
    pub(super) fn nack(&mut self, to: ReplicaId, ballot: Ballot) {
        let message = Message::Nack {
            ballot,
            promised: self.durable.promised,
            configuration: self.durable.configuration.clone(),
        };
        self.send(to, message);
    }

    /// A number below `bound`, for pauses.
    pub(super) fn random_below(&mut self, bound: u64) -> u64 {
        chance::next(&mut self.random) % bound.max(1)
    }
}
