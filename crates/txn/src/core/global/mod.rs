//! Global transactions: participants outside (databases, services) that all do their part, or
//! none does.
//!
//! ```text
//!  client ── begin, enlist, commit ──▶ coordinator ── write over version v ──▶ log (the cluster)
//!                                         │    ◀───────── written, conflict ──────┘
//!                                         ├── prepare, pre-commit, commit, abort ──▶ participant
//!                                         ◀── yes, no, read-only, committed, aborted ──┘
//! ```
//!
//! A coordinator's crash leaves nobody waiting longer than it takes another node to notice: what
//! it has decided is a [`Record`] in the replicated log, written by compare-and-set *before*
//! anybody is told, and any node goes on from there. [`coordinator`] tells how transactions come
//! to their ends, [`record`] what the log holds of them, [`participant`] what the other side
//! does, and [`scenario`] shows, step by step, what two-phase commit with a single coordinator
//! and three-phase commit in a network that is cut in two come to.
//!
//! What safety rests on:
//! 1. A transaction's id is never used twice, and its record never decided twice: whoever
//!    decides writes over the version that the votes belong to.
//! 2. Nobody, participant or client, is told of a decision before it is in the log.
//! 3. A record is deleted only after every participant has acknowledged the outcome. So what
//!    participants hold of a transaction without a record is to be aborted, and clients that ask
//!    for it learn that nothing is known of it.
//! 4. A participant that has voted yes keeps its promise through crashes, and does nothing of
//!    its own accord; in three-phase commit [`ByPeers`](Termination::ByPeers) it may, by rules
//!    that hold as long as silence means death.
//! 5. A participant does and undoes its part once, however often it is told, and nothing after
//!    it has aborted.
//!
//! Keys of the control plane take part by the write of the decision itself ([`keys`]): they vote
//! last, and are never in doubt.
//!
//! Times decide only when something is tried or given up, with the one exception in 4.
//!
//! Of 1 it follows who draws ids: a node, when a client asks for a new transaction. Ids that clients
//! drew could come again with a late message, after their transaction was forgotten.

mod backoff;
mod codec;
pub mod coordinator;
pub mod keys;
mod message;
pub mod participant;
pub mod record;
pub mod scenario;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod types;

pub use codec::CodecError;
pub use coordinator::Coordinator;
pub use message::{Order, Report};
pub use record::Record;
pub use settings::{Rules, Settings};
pub use types::{ABSENT, Branch, Kind, Outcome, Place, Termination, TransactionId, Version};
