//! What transactions over several partitions do in one of them: two-phase commit whose
//! participants and whose decision are replicated (Gray and Lamport, "Consensus on Transaction
//! Commit", 2006, section 2; Corbett et al., "Spanner", 2012, section 4.2.1).
//!
//! [`Prepare`] locks keys and tells what the transaction's commands would come to; nothing of
//! that is to be seen yet. The transaction is committed when its home partition, which is one of
//! its participants, has applied a [`Decide`](Transact::Decide) that says so, before anything
//! else that says otherwise. The others hear of it by [`Finish`](Transact::Finish), and do the
//! commands for good, at the moment and by the chance of their preparation: what is locked is
//! what it was, so they come to what was told.
//!
//! Where home's part is known from the beginning, it is asked last, and does it and decides in one
//! entry ([`Commit`](Transact::Commit)): nothing has to be locked there (Gray and Reuter,
//! "Transaction Processing", 1993, section 12.6, last agent).
//!
//! Anybody may end a transaction whose coordinator is gone: `Decide` to abort, at home, answers
//! what was decided before, if anything was, and otherwise settles it. An aborted transaction is
//! remembered at home, so that what its coordinator sent and comes late commits nothing.
//!
//! Locks are exclusive, and a transaction that meets one is told so: no two wait for each other.
//! Single commands do wait, in line: see [`Partition`](crate::core::partition::Partition). So
//! does a transaction that has met too many, partition by partition in their order.
//!
//! What is decided outside of the partitions altogether is in `branches`.

mod branches;
mod operation;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atoll_base::id::PartitionId;
use bytes::Bytes;
use foldhash::fast::RandomState;

use super::{Answered, Call, CommandMoment, Machine, Terms, of_step};
use crate::core::{
    command::Effects,
    data::{Absences, Key, Milliseconds},
    paxos::LogIndex,
    reply::Reply,
};

pub use branches::{BranchId, Settlement, Standing};
pub use operation::{Locks, Prepare, Transact, TransactionId};
pub(super) use wanted::{Wanted, databases_of, names_databases, prepares, wanted};

/// Transactions that hold locks in a partition at one time.
const PREPARED_MAX: usize = 4_096;
/// Decisions that a partition remembers at one time.
const DECISIONS_MAX: usize = 65_536;

/// What a step of a transaction comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Transacted {
    /// Everything is locked.
    Prepared {
        /// When the commands are done, by the partition's time.
        now_ms: Milliseconds,
        /// What those of this step will come to.
        replies: Vec<Reply>,
    },
    /// Home has done its commands, and the transaction is committed.
    Committed {
        /// When they were done, by the partition's time.
        now_ms: Milliseconds,
        /// What they came to.
        replies: Vec<Reply>,
    },
    /// Another transaction holds what was wanted, or others wait for it; that transaction, if it
    /// is known.
    Conflict(Option<TransactionId>),
    /// A watched key had changed.
    Changed,
    /// It is decided.
    Decided {
        /// Whether it is committed.
        commits: bool,
        /// Who took part, as far as home was told.
        participants: Vec<PartitionId>,
    },
    /// It holds nothing here any more, or is remembered no more.
    Done,
    /// This attempt is held for a branch: only whoever decides outside ends it.
    Held(TransactionId),
    /// A branch has ended.
    Settled {
        /// Whether it was committed.
        commits: bool,
        /// The attempt that was held before, if one was.
        id: Option<TransactionId>,
        /// Who took part in that, as long as some of them may not know.
        participants: Vec<PartitionId>,
    },
}

/// A transaction that holds locks.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The partition that decides.
    pub home: PartitionId,
    /// All that take part; at home only.
    pub participants: Vec<PartitionId>,
    /// When it came: the time and the chance that its commands are done with.
    pub(in crate::core) now_ms: Milliseconds,
    pub(in crate::core) seed: u64,
    /// The entry that it came with.
    pub(in crate::core) index: LogIndex,
    pub(in crate::core) terms: Terms,
    pub(in crate::core) locks_everything: bool,
    pub(in crate::core) keys: Vec<(usize, Key)>,
    pub(in crate::core) calls: Vec<Call>,
    /// The branch that it is an attempt of, if it is to be decided outside.
    pub branch: Option<BranchId>,
}

/// What was decided at home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it was committed.
    pub commits: bool,
    /// Who took part; of a transaction that never came here nobody knows.
    pub participants: Vec<PartitionId>,
}

/// All transactions that a partition knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transactions {
    prepared: BTreeMap<TransactionId, Prepared>,
    /// Who has locked a key, and everything.
    keys: HashMap<(usize, Key), TransactionId, RandomState>,
    everything: Option<TransactionId>,
    decisions: BTreeMap<TransactionId, Decision>,
    /// How branches stand whose home is here.
    branches: BTreeMap<BranchId, Standing>,
}

impl Transactions {
    /// Those that hold locks.
    pub fn prepared(&self) -> impl ExactSizeIterator<Item = (TransactionId, &Prepared)> {
        self.prepared.iter().map(|(id, prepared)| (*id, prepared))
    }

    /// What was decided here and is remembered.
    pub fn decisions(&self) -> impl ExactSizeIterator<Item = (TransactionId, &Decision)> {
        self.decisions.iter().map(|(id, decision)| (*id, decision))
    }

    /// The same of one.
    pub fn decision(&self, id: TransactionId) -> Option<&Decision> {
        self.decisions.get(&id)
    }

    /// Whether nothing is known of any.
    pub fn is_empty(&self) -> bool {
        self.prepared.is_empty() && self.decisions.is_empty() && self.branches.is_empty()
    }

    /// Puts a transaction back, as [`prepared`](Self::prepared) told of it; false if something
    /// of it is locked already.
    pub(in crate::core) fn restore_prepared(&mut self, id: TransactionId, it: Prepared) -> bool {
        let is_free = (!it.locks() || self.everything.is_none())
            && (!it.locks_everything || self.keys.is_empty())
            && it.keys.iter().all(|key| !self.keys.contains_key(key));
        for key in &it.keys {
            self.keys.insert(key.clone(), id);
        }
        if it.locks_everything {
            self.everything = Some(id);
        }
        is_free && self.prepared.insert(id, it).is_none()
    }

    /// Puts a decision back.
    pub(in crate::core) fn restore_decision(&mut self, id: TransactionId, it: Decision) -> bool {
        self.decisions.insert(id, it).is_none()
    }

    /// Whether a key is locked.
    pub(super) fn locks(&self, database: usize, key: &[u8]) -> bool {
        !self.prepared.is_empty()
            && (self.everything.is_some() || self.keys.contains_key(&(database, Key::from(key))))
    }

    /// Whether anything is locked.
    pub(super) fn locks_any(&self) -> bool {
        !self.prepared.is_empty()
    }

    /// A transaction other than this one that holds something of what is wanted, and held it at
    /// this entry.
    fn holder(
        &self,
        wanted: &Wanted,
        own: Option<TransactionId>,
        as_of: LogIndex,
    ) -> Option<TransactionId> {
        let is_other = |id: &TransactionId| {
            let since = self.prepared.get(id).map(|prepared| prepared.index);
            Some(*id) != own && since.is_some_and(|since| since <= as_of)
        };
        let wants_some = !matches!(wanted, Wanted::Keys(keys) if keys.is_empty());
        if let Some(id) = self.everything.filter(|id| wants_some && is_other(id)) {
            return Some(id);
        }
        match wanted {
            Wanted::Everything => {
                let mut locking = self.prepared.iter().filter(|(_, it)| it.locks());
                locking.find(|(id, _)| is_other(id)).map(|(id, _)| *id)
            }
            Wanted::Keys(keys) => keys
                .iter()
                .filter_map(|(database, key)| self.keys.get(&(*database, Key::from(&key[..]))))
                .copied()
                .find(is_other),
        }
    }

    fn release(&mut self, id: TransactionId) -> Option<Prepared> {
        let prepared = self.prepared.remove(&id)?;
        for key in &prepared.keys {
            self.keys.remove(key);
        }
        self.everything = self.everything.filter(|holder| *holder != id);
        Some(prepared)
    }
}

impl Machine {
    /// Transactions over several partitions, as far as they are here.
    pub fn transactions(&self) -> &Transactions {
        &self.transactions
    }

    /// The same, out of a snapshot.
    pub(in crate::core) fn with_transactions(self, transactions: Transactions) -> Self {
        Machine {
            transactions,
            ..self
        }
    }

    /// Since when keys are missing.
    pub(in crate::core) fn absences(&self) -> &Absences {
        &self.absences
    }

    /// The same, out of a snapshot.
    pub(in crate::core) fn with_absences(self, absences: Absences) -> Self {
        Machine { absences, ..self }
    }

    /// Whether a transaction that was here at this entry keeps an operation from being done.
    pub(super) fn is_locked(&self, operation: &Bytes, as_of: LogIndex) -> bool {
        !self.transactions.prepared.is_empty()
            && wanted(operation).is_some_and(|wanted| {
                let holder = self.transactions.holder(&wanted, None, as_of);
                holder.is_some()
            })
    }

    /// Why a step is not logged, if it need not be. Not so a step that commits: it may be in the
    /// log already, and be asked for again because no answer came.
    pub(super) fn refuses_step(&self, operation: &Bytes) -> Option<Answered> {
        if self.transactions.prepared.is_empty() {
            return None;
        }
        let prepare = prepares(operation).filter(|prepare| !prepare.waits)?;
        if prepare
            .branch
            .is_some_and(|branch| self.transactions.branches.contains_key(&branch))
        {
            // An attempt of the same holds it, or did; that is what is to be told.
            return None;
        }
        let (wanted, own) = (Wanted::of(&prepare), Some(prepare.id));
        let holder = self.transactions.holder(&wanted, own, LogIndex(u64::MAX));
        holder.map(|holder| Answered::Transacted(Transacted::Conflict(Some(holder))))
    }

    /// Notes that the coordinator of a transaction is at work on it. That is no part of the
    /// state: it is asked as a read, which nobody logs.
    pub(super) fn tend(&mut self, id: TransactionId) -> Answered {
        if self.transactions.prepared.contains_key(&id) {
            self.tended.insert(id);
        }
        Answered::Transacted(Transacted::Done)
    }

    /// Transactions whose coordinators were heard of since this was last asked.
    pub fn take_tended(&mut self) -> BTreeSet<TransactionId> {
        std::mem::take(&mut self.tended)
    }

    pub(super) fn transact(
        &mut self,
        at: CommandMoment,
        transact: Transact,
        effects: &mut Effects,
    ) -> Answered {
        Answered::Transacted(match transact {
            Transact::Prepare(prepare) => self.prepare(at, prepare),
            Transact::Commit(prepare) => self.commit(at, prepare, effects),
            Transact::Decide { id, commits } => self.decide_transaction(at, id, commits, effects),
            Transact::Finish { id, .. } if self.transactions.is_held(id) => Transacted::Held(id),
            Transact::Finish { id, commits } => {
                self.end(at, id, commits, effects);
                Transacted::Done
            }
            Transact::Hold { id, branch } => self.hold(id, branch),
            Transact::Settle { branch, how } => self.settle(at, branch, how, effects),
            Transact::ForgetBranches(branches) => {
                self.forget_branches(&branches);
                Transacted::Done
            }
            Transact::Forget(ids) => {
                for id in ids {
                    self.transactions.decisions.remove(&id);
                }
                Transacted::Done
            }
        })
    }

    /// Why what a step wants can't be had, if it can't.
    fn objects(&mut self, at: CommandMoment, prepare: &Prepare) -> Option<Transacted> {
        let id = prepare.id;
        let here = &self.transactions;
        if let Some(decision) = here.decisions.get(&id) {
            return Some(decision.told());
        }
        if let Some(told) = prepare.branch.and_then(|branch| here.told_of(branch)) {
            return Some(told);
        }
        let is_new = !here.prepared.contains_key(&id);
        let is_too_many =
            here.prepared.len() >= PREPARED_MAX || here.decisions.len() >= DECISIONS_MAX;
        if is_new && is_too_many {
            return Some(Transacted::Conflict(None));
        }
        let wanted = Wanted::of(prepare);
        if let Some(holder) = here.holder(&wanted, Some(id), LogIndex(u64::MAX)) {
            return Some(Transacted::Conflict(Some(holder)));
        }
        let stands = self.stands(at, &prepare.watched);
        (!stands).then_some(Transacted::Changed)
    }

    /// Prepares and decides in one: others have taken hold, and nothing here has to be held.
    fn commit(&mut self, at: CommandMoment, prepare: Prepare, effects: &mut Effects) -> Transacted {
        if let Some(objection) = self.objects(at, &prepare) {
            return objection;
        }
        let replies = self.run_calls(at, &prepare.calls, effects);
        let decision = Decision {
            commits: true,
            participants: prepare.participants,
        };
        self.transactions.decisions.insert(prepare.id, decision);
        let now_ms = at.now_ms;
        Transacted::Committed { now_ms, replies }
    }

    fn prepare(&mut self, at: CommandMoment, prepare: Prepare) -> Transacted {
        if let Some(objection) = self.objects(at, &prepare) {
            return objection;
        }
        let (id, wanted) = (prepare.id, Wanted::of(&prepare));
        let terms = self.terms;
        let prepared = self.transactions.prepared.entry(id);
        let prepared = prepared.or_insert_with(|| Prepared {
            home: prepare.home,
            participants: Vec::new(),
            now_ms: at.now_ms,
            seed: at.seed,
            index: LogIndex(at.version),
            terms,
            locks_everything: false,
            keys: Vec::new(),
            calls: Vec::new(),
            branch: prepare.branch,
        });
        prepared.participants.extend(prepare.participants);
        match wanted {
            Wanted::Everything => {
                prepared.locks_everything = true;
                self.transactions.everything = Some(id);
            }
            Wanted::Keys(keys) => {
                for (database, key) in keys {
                    let key = (database, Key::from(&key[..]));
                    if self.transactions.keys.insert(key.clone(), id).is_none() {
                        prepared.keys.push(key);
                    }
                }
            }
        }
        let told = prepared.calls.len();
        prepared.calls.extend(prepare.calls);
        let (now_ms, calls) = (prepared.now_ms, prepared.calls.clone());
        let at = prepared.moment(at);
        if calls.len() == told {
            let replies = Vec::new();
            return Transacted::Prepared { now_ms, replies };
        }
        // Those that were told before are done again: what they did is not kept.
        self.keyspace.begin_undo();
        let replies = self.run_calls(at, &calls, &mut Effects::default());
        self.keyspace.undo();
        let replies = replies.into_iter().skip(told).collect();
        Transacted::Prepared { now_ms, replies }
    }

    fn run_calls(
        &mut self,
        at: CommandMoment,
        calls: &[Call],
        effects: &mut Effects,
    ) -> Vec<Reply> {
        let calls = calls.iter().enumerate();
        calls
            .map(|(place, call)| self.call(of_step(at, place), call, effects))
            .collect()
    }

    fn decide_transaction(
        &mut self,
        at: CommandMoment,
        id: TransactionId,
        commits: bool,
        effects: &mut Effects,
    ) -> Transacted {
        if let Some(decision) = self.transactions.decisions.get(&id) {
            return decision.told();
        }
        if self.transactions.is_held(id) {
            return Transacted::Held(id);
        }
        // What is not prepared here can't be committed: it was aborted, and that is forgotten.
        let ended = self.end(at, id, commits, effects);
        let decision = Decision {
            commits: commits && ended.is_some(),
            participants: ended.unwrap_or_default(),
        };
        let told = decision.told();
        self.transactions.decisions.insert(id, decision);
        told
    }

    /// Does what was prepared, or lets it be, and lets go; tells who takes part, if it was.
    fn end(
        &mut self,
        at: CommandMoment,
        id: TransactionId,
        commits: bool,
        effects: &mut Effects,
    ) -> Option<Vec<PartitionId>> {
        let prepared = self.transactions.release(id)?;
        self.held_for_long.remove(&id);
        if commits {
            self.terms = prepared.terms;
            self.run_calls(prepared.moment(at), &prepared.calls, effects);
        }
        // Whoever waits for one of these may go on, whether or not it was changed.
        self.changed.extend(prepared.keys);
        self.has_changed_databases |= prepared.locks_everything;
        Some(prepared.participants)
    }
}

impl Prepared {
    /// Whether it is in anybody's way. Home may have nothing to do but to decide.
    fn locks(&self) -> bool {
        self.locks_everything || !self.keys.is_empty()
    }

    /// The moment of its commands, in an entry.
    fn moment(&self, at: CommandMoment) -> CommandMoment {
        CommandMoment {
            now_ms: self.now_ms,
            seed: self.seed,
            ..at
        }
    }
}

impl Decision {
    fn told(&self) -> Transacted {
        Transacted::Decided {
            commits: self.commits,
            participants: self.participants.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
