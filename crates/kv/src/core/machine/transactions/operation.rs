//! What the partitions of a transaction are asked, as entries of the log and messages hold it.

use atoll_base::id::{PartitionId, ReplicaId};
use bytes::Bytes;

use super::super::{
    Call,
    parts::{read_call, read_keys, read_watched, write_call, write_keys, write_watched},
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
}

/// A step of a transaction over several partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transact {
    /// Take hold of keys, and tell what commands would come to.
    Prepare(Prepare),
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
}

impl Transact {
    pub(in crate::core::machine) fn write(&self, writer: &mut Writer) {
        match self {
            Transact::Prepare(prepare) => {
                writer.byte(0);
                prepare.id.write(writer);
                writer.number(prepare.home.0.into());
                writer.length(prepare.participants.len());
                for participant in &prepare.participants {
                    writer.number(participant.0.into());
                }
                match &prepare.locks {
                    Locks::Keys(keys) => write_keys(writer.byte(0), keys),
                    Locks::Everything => {
                        writer.byte(1);
                    }
                }
                write_watched(writer, &prepare.watched);
                writer.length(prepare.calls.len());
                for call in &prepare.calls {
                    write_call(writer, call);
                }
                writer.byte(u8::from(prepare.waits));
            }
            Transact::Decide { id, commits } => {
                id.write(writer.byte(1).byte(u8::from(*commits)));
            }
            Transact::Finish { id, commits } => {
                id.write(writer.byte(2).byte(u8::from(*commits)));
            }
            Transact::Forget(ids) => {
                writer.byte(3).length(ids.len());
                for id in ids {
                    id.write(writer);
                }
            }
        }
    }

    pub(in crate::core::machine) fn read(reader: &mut Reader) -> Result<Transact, CodecError> {
        Ok(match reader.byte()? {
            0 => Transact::Prepare(Prepare {
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
            }),
            1 => Transact::Decide {
                commits: reader.flag()?,
                id: TransactionId::read(reader)?,
            },
            2 => Transact::Finish {
                commits: reader.flag()?,
                id: TransactionId::read(reader)?,
            },
            3 => Transact::Forget(
                (0..reader.count(3)?)
                    .map(|_| TransactionId::read(reader))
                    .collect::<Result<_, _>>()?,
            ),
            mark => return Err(CodecError::Mark(mark)),
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
