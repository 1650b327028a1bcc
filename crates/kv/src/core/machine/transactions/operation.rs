//! What the partitions of a transaction are asked, as entries of the log and messages hold it.

use atoll_base::id::{PartitionId, ReplicaId};
use bytes::Bytes;

use super::{
    super::{
        Call,
        parts::{read_call, read_keys, read_watched, write_call, write_keys, write_watched},
    },
    branches::{BranchId, Settlement},
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    sessions::Session,
};

/// Names a transaction over several partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// Who coordinates it.
    pub session: Session,
    /// Its number there; never used for another transaction.
    pub number: u64,
}

/// What a transaction takes hold of in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locks {
    /// These keys of databases.
    Keys(Vec<(usize, Bytes)>),
    /// All keys, those included that are not there.
    Everything,
}

/// Locks keys for a transaction, and has commands ready to be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// Which transaction.
    pub id: TransactionId,
    /// The partition that decides.
    pub home: PartitionId,
    /// All partitions that take part; only the one that decides is told.
    pub participants: Vec<PartitionId>,
    /// What is locked, until the transaction ends.
    pub locks: Locks,
    /// Database, key and version of each watched key of this partition; they are locked, too.
    pub watched: Vec<(usize, Bytes, u64)>,
    /// Commands on keys that are locked by now. They follow those that the transaction brought
    /// here before.
    pub calls: Vec<Call>,
    /// Whether it waits in line, as single commands do, where something is locked. Whoever waits
    /// so asks one partition after the other, in their order, so no two wait for each other.
    pub waits: bool,
    /// The branch that it is an attempt of, if it is to be decided outside.
    pub branch: Option<BranchId>,
}

/// A step of a transaction over several partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transact {
    /// Take hold of keys, and tell what commands would come to.
    Prepare(Prepare),
    /// At home, once everybody else has taken hold: do these commands, and the transaction is
    /// committed; unless that was decided before, or something is in the way.
    Commit(Prepare),
    /// At home: the transaction is committed, or is not, unless that was decided before.
    Decide {
        /// Which transaction.
        id: TransactionId,
        /// Whether it is to be committed.
        commits: bool,
    },
    /// Elsewhere: do what was decided at home, and let go.
    Finish {
        /// Which transaction.
        id: TransactionId,
        /// Whether it was committed.
        commits: bool,
    },
    /// At home: nobody will ask about these any more.
    Forget(Vec<TransactionId>),
    /// At home: this attempt has prepared all of a branch, and nobody here ends it any more.
    Hold {
        /// Which attempt.
        id: TransactionId,
        /// Of what.
        branch: BranchId,
    },
    /// At home: a branch has ended outside, or is to be refused there.
    Settle {
        /// Which branch.
        branch: BranchId,
        /// How.
        how: Settlement,
    },
    /// At home: nothing of these branches will come any more.
    ForgetBranches(Vec<BranchId>),
}

/// What marks a step. One that takes hold for a branch says so before everything else.
const PREPARE: u8 = 0;
const DECIDE: u8 = 1;
const FINISH: u8 = 2;
const FORGET: u8 = 3;
const PREPARE_BRANCH: u8 = 4;
const HOLD: u8 = 5;
const SETTLE: u8 = 6;
const FORGET_BRANCHES: u8 = 7;
const COMMIT: u8 = 8;

impl Transact {
    pub(in crate::core::machine) fn write(&self, writer: &mut Writer) {
        match self {
            Transact::Prepare(prepare) => {
                match &prepare.branch {
                    None => {
                        writer.byte(PREPARE);
                    }
                    Some(branch) => branch.write(writer.byte(PREPARE_BRANCH)),
                }
                prepare.write(writer);
            }
            Transact::Commit(prepare) => prepare.write(writer.byte(COMMIT)),
            Transact::Decide { id, commits } => {
                id.write(writer.byte(DECIDE).byte(u8::from(*commits)));
            }
            Transact::Finish { id, commits } => {
                id.write(writer.byte(FINISH).byte(u8::from(*commits)));
            }
            Transact::Forget(ids) => {
                writer.byte(FORGET).length(ids.len());
                for id in ids {
                    id.write(writer);
                }
            }
            Transact::Hold { id, branch } => {
                id.write(writer.byte(HOLD));
                branch.write(writer);
            }
            Transact::Settle { branch, how } => {
                branch.write(writer.byte(SETTLE).byte(how.mark()));
            }
            Transact::ForgetBranches(branches) => {
                writer.byte(FORGET_BRANCHES).length(branches.len());
                for branch in branches {
                    branch.write(writer);
                }
            }
        }
    }

    pub(in crate::core::machine) fn read(reader: &mut Reader) -> Result<Transact, CodecError> {
        Ok(match reader.byte()? {
            PREPARE => Transact::Prepare(Prepare::read(reader, None)?),
            PREPARE_BRANCH => {
                let branch = BranchId::read(reader)?;
                Transact::Prepare(Prepare::read(reader, Some(branch))?)
            }
            COMMIT => Transact::Commit(Prepare::read(reader, None)?),
            DECIDE => Transact::Decide {
                commits: reader.flag()?,
                id: TransactionId::read(reader)?,
            },
            FINISH => Transact::Finish {
                commits: reader.flag()?,
                id: TransactionId::read(reader)?,
            },
            FORGET => Transact::Forget(
                (0..reader.count(3)?)
                    .map(|_| TransactionId::read(reader))
                    .collect::<Result<_, _>>()?,
            ),
            HOLD => Transact::Hold {
                id: TransactionId::read(reader)?,
                branch: BranchId::read(reader)?,
            },
            SETTLE => Transact::Settle {
                how: Settlement::of_mark(reader.byte()?)?,
                branch: BranchId::read(reader)?,
            },
            FORGET_BRANCHES => Transact::ForgetBranches(
                (0..reader.count(17)?)
                    .map(|_| BranchId::read(reader))
                    .collect::<Result<_, _>>()?,
            ),
            mark => return Err(CodecError::Mark(mark)),
        })
    }
}

impl Prepare {
    fn write(&self, writer: &mut Writer) {
        self.id.write(writer);
        writer.number(self.home.0.into());
        writer.length(self.participants.len());
        for participant in &self.participants {
            writer.number(participant.0.into());
        }
        match &self.locks {
            Locks::Keys(keys) => write_keys(writer.byte(0), keys),
            Locks::Everything => {
                writer.byte(1);
            }
        }
        write_watched(writer, &self.watched);
        writer.length(self.calls.len());
        for call in &self.calls {
            write_call(writer, call);
        }
        writer.byte(u8::from(self.waits));
    }

    fn read(reader: &mut Reader, branch: Option<BranchId>) -> Result<Prepare, CodecError> {
        Ok(Prepare {
            id: TransactionId::read(reader)?,
            home: reader.partition()?,
            participants: (0..reader.count(1)?)
                .map(|_| reader.partition())
                .collect::<Result<_, _>>()?,
            locks: match reader.byte()? {
                0 => Locks::Keys(read_keys(reader)?),
                1 => Locks::Everything,
                mark => return Err(CodecError::Mark(mark)),
            },
            watched: read_watched(reader)?,
            calls: (0..reader.count(3)?)
                .map(|_| read_call(reader))
                .collect::<Result<_, _>>()?,
            waits: reader.flag()?,
            branch,
        })
    }
}

impl TransactionId {
    pub(in crate::core) fn write(&self, writer: &mut Writer) {
        writer
            .number(self.session.replica.0)
            .number(self.session.boot)
            .number(self.number);
    }

    pub(in crate::core) fn read(reader: &mut Reader) -> Result<TransactionId, CodecError> {
        Ok(TransactionId {
            session: Session {
                replica: ReplicaId(reader.number()?),
                boot: reader.number()?,
            },
            number: reader.number()?,
        })
    }
}
