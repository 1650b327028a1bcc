//! Ballots, places in the log, entries.

use std::fmt;

pub use atoll_base::id::LogIndex;
use atoll_base::id::ReplicaId;
use bytes::Bytes;

/// The right to add to the log, until somebody is promised a higher one. Ordered by its parts
/// in their order: whoever knows a newer configuration outbids all who don't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// The number of the configuration it was asked under.
    pub configuration: u64,
    /// Higher than every round its asker had seen.
    pub round: u64,
    /// Who asked: its owner.
    pub replica: ReplicaId,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.configuration, self.round, self.replica)
    }
}

/// Where a log ends, or an entry stands. Ordered by birth, then index: of two logs the one with
/// the higher last position holds all that can have been committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The ballot that the entry was added under.
    pub birth: Ballot,
    /// Its place.
    pub index: LogIndex,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Nothing: an owner's first entry, which brings the entries before it to commit.
    Nothing,
    /// A batch of commands, encoded.
    Batch(Bytes),
}

impl Payload {
    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Payload::Nothing => 0,
            Payload::Batch(bytes) => bytes.len(),
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place and birth, which never change.
    pub position: Position,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// Its place.
    pub fn index(&self) -> LogIndex {
        self.position.index
    }
}
