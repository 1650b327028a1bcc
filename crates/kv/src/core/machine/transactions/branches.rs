//! Transactions over several partitions that are parts of larger ones, which are decided outside:
//! by votes of databases and services, and by whoever counts them.
//!
//! Such a part is a *branch*. What it locks and tells is the same, and the attempts to prepare it
//! are transactions of their own: one whose coordinator dies on the way is ended by anybody. When
//! all partitions have prepared, home is asked to [`Hold`](super::Transact::Hold) it, in the place
//! of a decision. From then on nobody here may end that attempt: who asks home is told that it is
//! held, be it that its coordinator is gone or that owners change. Only
//! [`Settle`](super::Transact::Settle) ends it, which whoever decides outside has sent.
//!
//! Home is found by the branch's name alone, so that whoever knows the name can end the branch.
//! How a branch has ended is remembered for as long as anything of it may come late: what comes
//! twice is done once, and an attempt that comes after the end is held no more.

use bytes::Bytes;

use super::{Decision, Machine, Transacted, TransactionId, Transactions, Wanted, wanted};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    command::{Effects, Moment as CommandMoment},
    data::Key,
};

/// Branches that a partition remembers at one time.
const BRANCHES_MAX: usize = 65_536;

/// Names a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId {
    /// The transaction that is decided outside; drawn at random.
    pub transaction: u128,
    /// Which part of it.
    pub place: u16,
}

/// How a branch is to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// What is held is done.
    Commit,
    /// Nothing is done, now or later.
    Abort,
    /// The same, unless it is held: whoever prepares may say so, since nobody outside was told yet
    /// that it can be committed.
    Refuse,
}

/// How a branch stands at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This attempt has prepared all of it, and waits to be told how it ends.
    Held(TransactionId),
    /// It has ended.
    Ended {
        /// Whether it was committed.
        commits: bool,
        /// The attempt that was held before, if one was.
        id: Option<TransactionId>,
    },
}

impl BranchId {
    pub(in crate::core) fn write(&self, writer: &mut Writer) {
        writer
            .raw(&self.transaction.to_le_bytes())
            .number(self.place.into());
    }

    pub(in crate::core) fn read(reader: &mut Reader) -> Result<BranchId, CodecError> {
        let mut transaction = [0; 16];
        for byte in &mut transaction {
            *byte = reader.byte()?;
        }
        let place = u16::try_from(reader.number()?);
        Ok(BranchId {
            transaction: u128::from_le_bytes(transaction),
            place: place.map_err(|_| CodecError::Number)?,
        })
    }
}

impl Settlement {
    pub(super) fn mark(self) -> u8 {
        match self {
            Settlement::Commit => 0,
            Settlement::Abort => 1,
            Settlement::Refuse => 2,
        }
    }

    pub(super) fn of_mark(mark: u8) -> Result<Settlement, CodecError> {
        match mark {
            0 => Ok(Settlement::Commit),
            1 => Ok(Settlement::Abort),
            2 => Ok(Settlement::Refuse),
            mark => Err(CodecError::Mark(mark)),
        }
    }
}

impl Standing {
    pub(in crate::core) fn write(&self, writer: &mut Writer) {
        match self {
            Standing::Held(id) => id.write(writer.byte(0)),
            Standing::Ended { commits, id } => {
                writer.byte(1).byte(u8::from(*commits));
                writer.byte(u8::from(id.is_some()));
                if let Some(id) = id {
                    id.write(writer);
                }
            }
        }
    }

    pub(in crate::core) fn read(reader: &mut Reader) -> Result<Standing, CodecError> {
        Ok(match reader.byte()? {
            0 => Standing::Held(TransactionId::read(reader)?),
            1 => Standing::Ended {
                commits: reader.flag()?,
                id: match reader.flag()? {
                    true => Some(TransactionId::read(reader)?),
                    false => None,
                },
            },
            mark => return Err(CodecError::Mark(mark)),
        })
    }
}

impl Transactions {
    /// Branches whose home is here, as far as they are remembered.
    pub fn branches(&self) -> impl ExactSizeIterator<Item = (BranchId, Standing)> {
        self.branches.iter().map(|(id, standing)| (*id, *standing))
    }

    /// Whether this attempt is held, and nobody here may end it.
    pub fn is_held(&self, id: TransactionId) -> bool {
        let branch = self.prepared.get(&id).and_then(|prepared| prepared.branch);
        let standing = branch.and_then(|branch| self.branches.get(&branch));
        standing == Some(&Standing::Held(id))
    }

    /// Whether anything here is of a branch.
    pub(in crate::core) fn knows_branches(&self) -> bool {
        let mut prepared = self.prepared.values();
        !self.branches.is_empty() || prepared.any(|prepared| prepared.branch.is_some())
    }

    /// Puts a branch back, after what is prepared; false if it stands as none can.
    pub(in crate::core) fn restore_branch(&mut self, branch: BranchId, it: Standing) -> bool {
        let is_first = self.branches.insert(branch, it).is_none();
        let is_right = match it {
            Standing::Held(id) => self.is_held(id),
            Standing::Ended { .. } => true,
        };
        is_first && is_right
    }

    /// What is told of a branch that is known.
    pub(super) fn told_of(&self, branch: BranchId) -> Option<Transacted> {
        Some(match *self.branches.get(&branch)? {
            Standing::Held(id) => Transacted::Held(id),
            Standing::Ended { commits, id } => {
                let decision = id.and_then(|id| self.decisions.get(&id));
                Transacted::Settled {
                    commits,
                    id,
                    // Who has forgotten the decision has told everybody.
                    participants: decision
                        .map(|decision| decision.participants.clone())
                        .unwrap_or_default(),
                }
            }
        })
    }
}

impl Machine {
    /// Says that an attempt of a branch has had its locks for so long that nobody is to wait for
    /// it any more.
    pub fn set_held_for_long(&mut self, id: TransactionId) {
        let prepared = self.transactions.prepared.get(&id);
        if prepared.is_some_and(|prepared| prepared.branch.is_some()) {
            self.held_for_long.insert(id);
        }
    }

    /// Another node owns the partition, and says by itself whom nobody is to wait for.
    pub fn forget_held_for_long(&mut self) {
        self.held_for_long.clear();
    }

    /// One of those that an operation would have to wait for.
    pub(in crate::core::machine) fn held_for_long(
        &self,
        operation: &Bytes,
    ) -> Option<TransactionId> {
        if self.held_for_long.is_empty() {
            return None;
        }
        let wanted = wanted(operation)?;
        let here = &self.transactions;
        let is_long = |id: &TransactionId| self.held_for_long.contains(id);
        match &wanted {
            Wanted::Keys(keys) if keys.is_empty() => None,
            _ if here.everything.as_ref().is_some_and(is_long) => here.everything,
            Wanted::Everything => {
                let locks =
                    |id: &&TransactionId| here.prepared.get(id).is_some_and(super::Prepared::locks);
                self.held_for_long.iter().find(locks).copied()
            }
            Wanted::Keys(keys) => keys
                .iter()
                .filter_map(|(database, key)| here.keys.get(&(*database, Key::from(&key[..]))))
                .copied()
                .find(is_long),
        }
    }

    /// Keeps an attempt for its branch, if nothing is known of either that speaks against it.
    pub(super) fn hold(&mut self, id: TransactionId, branch: BranchId) -> Transacted {
        let here = &mut self.transactions;
        if let Some(told) = here.told_of(branch) {
            return told;
        }
        if let Some(decision) = here.decisions.get(&id) {
            return decision.told();
        }
        let prepared = here.prepared.get(&id);
        if prepared.is_none_or(|prepared| prepared.branch != Some(branch)) {
            // It was aborted, and that is forgotten.
            return Transacted::Decided {
                commits: false,
                participants: Vec::new(),
            };
        }
        if here.branches.len() >= BRANCHES_MAX {
            return Transacted::Conflict(None);
        }
        here.branches.insert(branch, Standing::Held(id));
        Transacted::Held(id)
    }

    /// Ends a branch, unless it has ended.
    pub(super) fn settle(
        &mut self,
        at: CommandMoment,
        branch: BranchId,
        how: Settlement,
        effects: &mut Effects,
    ) -> Transacted {
        let standing = self.transactions.branches.get(&branch).copied();
        let ended = match (standing, how) {
            (Some(Standing::Ended { .. }), _) | (Some(Standing::Held(_)), Settlement::Refuse) => {
                None
            }
            (Some(Standing::Held(id)), Settlement::Commit | Settlement::Abort) => {
                let commits = how == Settlement::Commit;
                let participants = self.end(at, id, commits, effects).unwrap_or_default();
                let decision = Decision {
                    commits,
                    participants,
                };
                // The others' owners ask for the attempt, not for the branch.
                self.transactions.decisions.insert(id, decision);
                Some(Standing::Ended {
                    commits,
                    id: Some(id),
                })
            }
            // Nothing is held of it, or not any more.
            (None, Settlement::Commit) => return Transacted::Done,
            (None, _) if self.transactions.branches.len() >= BRANCHES_MAX => {
                return Transacted::Conflict(None);
            }
            (None, Settlement::Abort | Settlement::Refuse) => Some(Standing::Ended {
                commits: false,
                id: None,
            }),
        };
        if let Some(ended) = ended {
            self.transactions.branches.insert(branch, ended);
        }
        // It is known by now.
        let told = self.transactions.told_of(branch);
        told.unwrap_or(Transacted::Done)
    }

    /// Forgets branches of which nothing comes any more. What is held is never forgotten.
    pub(super) fn forget_branches(&mut self, branches: &[BranchId]) {
        for branch in branches {
            let standing = self.transactions.branches.get(branch);
            if matches!(standing, Some(Standing::Ended { .. })) {
                self.transactions.branches.remove(branch);
            }
        }
    }
}
