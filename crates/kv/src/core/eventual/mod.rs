//! Eventual keyspaces: any replica takes writes, both sides of a network partition go on, and all
//! replicas come to the same state once they hear of each other again.
//!
//! A partition of such a keyspace has N replicas that are equal: no owner, no log. A command is
//! executed by one of them, from what it holds; what it changed goes to the others as a *delta*,
//! an item of the same form as the state, and merging deltas in any order, any number of times,
//! gives the same ([`item`]). How many replicas have to have it before the client is answered is
//! for each request to say ([`quorum`]); those that can't be reached get it later from a queue
//! ([`hints`]) or, when that was full, too old or lost, from a comparison of trees of digests
//! ([`merkle`], [`sync`]), which finds and mends whatever differs. Exchanges also tell up to
//! where every member has everything ([`membership`]): up to there tombstones are collected.
//!
//! What is promised:
//! 1. Replicas that have the same writes have the same state, byte by byte.
//! 2. A write that was answered is lost only with all replicas that had it: with W = 1 that may
//!    be one.
//! 3. What was removed does not come back, for a tombstone stays until all members have it, and
//!    who is no member is not listened to.
//! 4. An increment counts once, on whichever side it was made, unless the counter was set or
//!    deleted meanwhile ([`item`] says which increments go with it).
//!
//! What these rest on, and the caller has to keep:
//! - A replica that may have forgotten what it told others comes back under another id, empty.
//!   So everything that a message speaks for is synced before it is sent.
//! - A replica that was a member and is no more, and becomes one again, does so with a new copy
//!   under a number that none of its copies had ([`Life`]).
//! - A replica that is new to a partition that holds something begins empty and is filled before
//!   it takes writes.
//! - Configurations are numbered, and one replica at least goes over from one to the next.

mod ahead;
mod author;
pub mod budget;
pub mod bundle;
mod clock;
mod error;
pub mod hints;
pub mod item;
pub mod membership;
pub mod merkle;
pub mod message;
pub mod noted;
pub mod partition;
pub mod quorum;
pub mod replica;
pub mod sync;
#[cfg(test)]
mod tests;
mod wire;

pub use author::{Author, Life};
pub use clock::{Ahead, Clock, DRIFT_MS_MAX, Stamp};
pub use error::DecodeError;
