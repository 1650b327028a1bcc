//! What a replica may not forget, and the records that change it.

use bytes::Bytes;

use super::{
    configuration::Configuration,
    log::Log,
    types::{Ballot, Entry, LogIndex, Position},
};

/// A state that holds everything up to a base.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The last entry that it holds; committed.
    pub base: Position,
    /// The encoded state.
    pub state: Bytes,
}

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// No lower ballot is answered any more.
    Promise(Ballot),
    /// A newer configuration.
    Configure(Configuration),
    /// What is after an index is cut, and these entries come in its place.
    Append {
        /// The index.
        after: LogIndex,
        /// The entries; at least one.
        entries: Vec<Entry>,
    },
    /// A snapshot from another replica takes the place of the state and of the log up to its
    /// base. It is synced before this record is.
    Install(Snapshot),
    /// The replica's own snapshot, synced before, holds the log up to here.
    Compact(Position),
}

/// What a replica knows after a restart. The same records that are written to the journal are
/// applied to it, when they are made and when they are read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The newest configuration that the replica has heard of.
    pub configuration: Configuration,
    /// The highest ballot promised.
    pub promised: Ballot,
    /// The log.
    pub log: Log,
}

impl Durable {
    /// Of a replica that has nothing yet, as the control plane places it. It answers no ballot
    /// of an older configuration: it may have held this partition before, and have promised not
    /// to.
    pub fn new(configuration: Configuration) -> Self {
        Durable {
            promised: Ballot {
                configuration: configuration.number,
                ..Ballot::default()
            },
            configuration,
            log: Log::default(),
        }
    }

    /// Applies one record.
    ///
    /// # Panics
    /// The record does not follow the ones before: the journal's reader has to make sure.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Promise(ballot) => self.promised = ballot,
            Record::Configure(configuration) => self.configuration = configuration,
            Record::Append { after, entries } => self.log.replace_after(after, entries),
            Record::Install(Snapshot { base, .. }) | Record::Compact(base) => {
                self.log.begin_at(base);
            }
        }
    }
}
