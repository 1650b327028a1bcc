//! Words that all parts of a global transaction share.

use std::fmt;

/// Names a transaction. Drawn at random by whoever begins it, and never used again: that a
/// transaction of which nothing is known has ended rests on this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u128);

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A participant's place in its transaction, counted from 0 in the order of enlisting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u16);

impl Place {
    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One participant's part of one transaction: what a participant knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Branch {
    /// The whole.
    pub transaction: TransactionId,
    /// The part.
    pub place: Place,
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transaction, self.place)
    }
}

/// Which version of a transaction's record is meant: grows with each write of it and is never
/// given twice, not even after the record was deleted. 0 stands for no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// No record.
pub const ABSENT: Version = Version(0);

/// How a transaction is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Two-phase commit: participants that can prepare.
    TwoPhase,
    /// Three-phase commit: participants that can also be told what will be decided.
    ThreePhase(Termination),
    /// Steps one after the other, undone one by one where one fails.
    Saga,
}

/// How participants of three-phase commit end a transaction whose coordinator is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Termination {
    /// They ask any coordinator, and wait while no majority of the cluster answers them. Safe
    /// whatever the network does.
    ByLog,
    /// They agree among themselves (Skeen 1981): nobody waits, as long as silence means death.
    /// Where the network is cut in two, the sides may decide differently.
    ByPeers,
}

/// How a transaction, or one participant's part of it, has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// All of it is done.
    Committed,
    /// None of it is done, or all was undone.
    Aborted,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Committed => "committed",
            Outcome::Aborted => "aborted",
        })
    }
}
