//! The pure state machine of the control plane.
//!
//! Commands of the replicated log come in, [`effects::Effects`] and replies go out; the same
//! commands in the same order give the same state on every node. No async, clock, thread,
//! I/O, randomness or iteration in hash order. It must never know who carries the log or
//! where the rows are kept.

pub mod auth;
mod both;
pub mod check;
pub mod effects;
pub mod error;
pub(crate) mod guard;
pub mod hash;
pub(crate) mod history;
pub(crate) mod intervals;
pub mod keyspace;
pub mod lease;
pub mod lessor;
pub mod level;
pub mod machine;
pub mod members;
pub(crate) mod proposers;
pub mod range;
pub mod reclaim;
pub mod restore;
pub(crate) mod rows;
pub mod session;
pub mod txn;
pub mod watch;
pub(crate) mod write;

#[cfg(test)]
mod testing;

pub use effects::{RESERVED_PREFIX, Space};
