//! What replicas of a partition tell each other.

use atoll_base::id::ReplicaId;

use super::{
    configuration::Configuration,
    durable::Snapshot,
    types::{Ballot, Entry, LogIndex, Position},
};

/// A message. Every one names the ballot that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Phase 1: promise me this ballot.
    Prepare {
        /// The ballot asked for.
        ballot: Ballot,
        /// The configuration it is asked under.
        configuration: Configuration,
        /// Where the asker's log ends.
        last: Position,
        /// Up to where the asker knows its log to be committed.
        commit: LogIndex,
    },
    /// No lower ballot will be answered; this is what I have.
    Promise {
        /// The ballot promised.
        ballot: Ballot,
        /// Where my log ends.
        last: Position,
        /// Up to where I know it to be committed.
        commit: LogIndex,
        /// My entries after the asker's commit, if my log is further and they fit.
        tail: Vec<Entry>,
    },
    /// A higher ballot was promised.
    Nack {
        /// The ballot that is refused.
        ballot: Ballot,
        /// The one that was promised.
        promised: Ballot,
        /// The newest configuration known.
        configuration: Configuration,
    },
    /// A candidate's: send me your log after this index.
    Fetch {
        /// The candidate's ballot, which the receiver has promised.
        ballot: Ballot,
        /// Up to where the candidate's log is committed, so the same.
        after: LogIndex,
    },
    /// The answer to Fetch, in parts.
    Tail {
        /// The candidate's ballot.
        ballot: Ballot,
        /// What the first of the entries follows.
        previous: Position,
        /// Entries.
        entries: Vec<Entry>,
    },
    /// Phase 2: add these entries. Without entries: a look whether the log is the same.
    Accept {
        /// The owner's ballot.
        ballot: Ballot,
        /// The owner's configuration.
        configuration: Configuration,
        /// What the first of the entries follows.
        previous: Position,
        /// Entries.
        entries: Vec<Entry>,
        /// Up to where the owner knows its log to be committed.
        commit: LogIndex,
    },
    /// My log is the owner's up to here, and synced.
    Ack {
        /// The owner's ballot.
        ballot: Ballot,
        /// Up to where.
        matched: LogIndex,
    },
    /// What should have come before is missing or differs: begin here.
    Need {
        /// The owner's ballot.
        ballot: Ballot,
        /// The first index to send.
        from: LogIndex,
    },
    /// Committed up to here; sent when no Accept carries it.
    Commit {
        /// The owner's ballot.
        ballot: Ballot,
        /// Up to where.
        commit: LogIndex,
    },
    /// Everything up to a base, for a replica that is too far behind.
    Snapshot {
        /// The owner's ballot, or that of the candidate that fetches.
        ballot: Ballot,
        /// The sender's configuration.
        configuration: Configuration,
        /// The state.
        snapshot: Snapshot,
    },
    /// An owner's: does my ballot still stand?
    Confirm {
        /// The owner's ballot.
        ballot: Ballot,
        /// The round's number.
        round: u64,
    },
    /// It does, as far as I know.
    Confirmed {
        /// The owner's ballot.
        ballot: Ballot,
        /// The round's number.
        round: u64,
    },
    /// I can't reach the owner of this ballot. Can you?
    Ask {
        /// The owner's ballot.
        ballot: Ballot,
    },
    /// To the owner: somebody can't reach you. Do you make progress?
    Probe {
        /// The owner's ballot.
        ballot: Ballot,
        /// Who can't.
        asker: ReplicaId,
    },
    /// From the owner to whom it can be reached by, and from there to the asker: a quorum
    /// answers the owner.
    Alive {
        /// The owner's ballot.
        ballot: Ballot,
        /// Who could not reach the owner.
        asker: ReplicaId,
    },
    /// I can't reach the owner of this ballot either.
    OwnerDown {
        /// The owner's ballot.
        ballot: Ballot,
    },
}
