//! Commands: the table of what there is, and what each does to a keyspace.
//!
//! A command is a function of its arguments and a [`Context`]: keyspace, database, time and
//! chance. The same command on the same keyspace with the same time and seed does the same on
//! every replica. Checks come before changes: a command that fails has changed nothing.

mod acl;
pub(in crate::core) mod args;
mod bits;
mod blocking;
mod cluster;
mod context;
mod databases;
mod dump;
mod error;
mod fenced;
mod geo;
mod hashes;
mod hyperloglog;
mod keys;
mod lists;
mod sample;
mod scan;
mod scripting;
mod server;
mod session;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod table;

#[cfg(test)]
mod accounting;
#[cfg(test)]
mod noise;
#[cfg(test)]
pub(crate) mod testing;

pub use blocking::{Wait, awaited_keys, awaited_type, found_nothing, wait_of};
pub use cluster::{NO_SLOT, NO_SLOT_OR_COUNT, slot_of};
pub use context::{Context, Effects, Event, EventClass, Moment};
pub use error::CommandError;
pub use fenced::fenced_by;
pub use scripting::runs_scripts;
pub use streams::fix_last_ids;
pub use table::{Command, Flags, Group, KeyPlaces, all, find};

use super::reply::Reply;

/// What a command comes to.
pub type Executed = Result<Reply, CommandError>;
