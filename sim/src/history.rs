//! What happened in a run, as seen from outside: calls and answers, watched changes, sightings.
//!
//! Everything is put in by one thread, so that one counter orders it all: a call that returned
//! before another was invoked has the smaller number. Checkers read it when the run is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use atoll_base::id::NodeId;
use atoll_control::core::error::Error;
use parking_lot::Mutex;

/// A key that clients work on, by number.
pub type Key = u8;

/// What is written. Every write of a run has its own value, so that a value names its write.
pub type Value = u64;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write, and tell what was there before.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Value,
    },
    /// Delete, and tell what was there before.
    Delete {
        /// What.
        key: Key,
    },
    /// Write if the key holds what is expected (none: if it does not exist), else read.
    Swap {
        /// Where.
        key: Key,
        /// What it must hold.
        expect: Option<Value>,
        /// What is written.
        value: Value,
    },
    /// Read one key.
    Get {
        /// Which.
        key: Key,
        /// An old state will do.
        serializable: bool,
    },
    /// Read all keys.
    List {
        /// An old state will do.
        serializable: bool,
    },
    /// Read all keys as they were at a revision.
    Past {
        /// Which.
        revision: i64,
    },
    /// Give up what only revisions before this one need.
    Compact {
        /// Which.
        revision: i64,
    },
}

/// A key and what it held, as an answer told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Found {
    pub key: Key,
    pub value: Value,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
}

/// What the cluster answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is written.
    Put {
        /// What was there before.
        before: Option<Found>,
    },
    /// It is gone.
    Deleted {
        /// What was there before.
        before: Option<Found>,
    },
    /// The expectation held, or did not.
    Swap {
        /// It did.
        swapped: bool,
        /// What was there if it did not.
        current: Option<Found>,
    },
    /// What a read found, in order of key.
    Read(Vec<Found>),
    /// It is compacted.
    Compacted,
    /// There is a lease. Never in a history; tenants keep to themselves what they rent.
    Granted {
        /// How long it lasts without being renewed.
        ttl_ms: u64,
    },
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, at a revision.
    Done {
        /// The revision in the answer's header.
        revision: i64,
        /// The answer.
        answer: Answer,
    },
    /// It is certain that it had no effect.
    Refused(Error),
    /// It may have had its effect, or may have it yet.
    Unknown,
}

/// One call of one client.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Call {
    pub client: usize,
    pub node: NodeId,
    pub op: Op,
    /// Place in the order of everything.
    pub invoked: u64,
    pub invoked_ms: u64,
    /// Place in the order of everything; none while it runs.
    pub returned: Option<u64>,
    pub returned_ms: u64,
    pub outcome: Outcome,
}

/// A change that a watcher was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Change {
    pub revision: i64,
    pub key: Key,
    /// None where it was deleted.
    pub value: Option<Value>,
    pub create_revision: i64,
    pub version: i64,
}

/// What a node said of itself at one moment.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Sighting {
    pub node: NodeId,
    pub boot: u64,
    pub term: u64,
    pub leader: Option<NodeId>,
    pub applied_index: u64,
    pub revision: i64,
}

/// A node's hash over its keyspace.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Hash {
    pub node: NodeId,
    pub revision: i64,
    pub compacted: i64,
    pub hash: u32,
}

/// Everything.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct History {
    order: u64,
    pub calls: Vec<Call>,
    /// By node, the changes that its watcher was told of, over all its lives.
    pub watched: BTreeMap<NodeId, Vec<Change>>,
    /// Nodes whose watcher began after a compaction, with the first revision it could be told of.
    pub watched_from: BTreeMap<NodeId, i64>,
    /// Nodes that were removed from the cluster.
    pub retired: BTreeSet<NodeId>,
    pub sightings: Vec<Sighting>,
    pub hashes: Vec<Hash>,
    /// What is wrong whatever the rest says: panics, answers that make no sense.
    pub faults: Vec<String>,
}

impl History {
    fn next(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// The newest revision that every watcher has been told of.
    pub fn watched_by_all(&self) -> i64 {
        let present = self.watched.iter();
        present
            .filter(|(node, _)| !self.retired.contains(node))
            .filter_map(|(_, changes)| changes.last())
            .map(|change| change.revision)
            .min()
            .unwrap_or(0)
    }
}

/// Where a run's tasks put what they see. Clones share it.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// A call begins; the answer names it in [`Recorder::returned`].
    pub fn invoked(&self, client: usize, node: NodeId, op: Op, now_ms: u64) -> usize {
        let mut history = self.0.lock();
        let invoked = history.next();
        history.calls.push(Call {
            client,
            node,
            op,
            invoked,
            invoked_ms: now_ms,
            returned: None,
            returned_ms: 0,
            outcome: Outcome::Unknown,
        });
        history.calls.len() - 1
    }

    /// A call ended. One whose outcome is unknown never returns: its effect may come later.
    pub fn returned(&self, call: usize, outcome: Outcome, now_ms: u64) {
        let mut history = self.0.lock();
        let order = history.next();
        let call = &mut history.calls[call];
        if outcome != Outcome::Unknown {
            call.returned = Some(order);
        }
        call.returned_ms = now_ms;
        call.outcome = outcome;
    }

    /// Looks at, or changes, what there is.
    pub fn with<R>(&self, look: impl FnOnce(&mut History) -> R) -> R {
        look(&mut self.0.lock())
    }

    /// Something is wrong whatever the rest says.
    pub fn fault(&self, what: String) {
        self.0.lock().faults.push(what);
    }

    /// All of it.
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.0.lock())
    }
}
