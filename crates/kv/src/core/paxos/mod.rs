//! One partition's replicated log: Multi-Paxos with ballots on demand, no leases, no election
//! timers, no heartbeats.
//!
//! Prepare and Promise, Accept and Ack are phases 1 and 2 of Paxos (Lamport, "Paxos Made
//! Simple", 2001, sections 2.2 and 3). The log is contiguous and every entry keeps the ballot
//! that it was born under, so that phase 1 adopts one whole log instead of slots one by one:
//! the one with the highest (last birth, last index), as a Raft voter would judge it (Ongaro and
//! Ousterhout 2014, section 5.4). Entries of the owner's own ballot are counted, earlier ones
//! commit with them (section 5.4.2). Configurations come from outside, numbered, and a number is
//! the leading part of every ballot (Lamport, Malkhi and Zhou, "Vertical Paxos", 2009).
//!
//! [`Replica`] has four verbs: [`step`](Replica::step) takes a message, [`tick`](Replica::tick)
//! takes the time, [`ready`](Replica::ready) hands out what has to be done,
//! [`advance`](Replica::advance) hears what was. A message that speaks for something written is
//! handed out only after that was synced.
//!
//! What safety rests on:
//! 1. A replica that promised a ballot answers no lower one, and promises outlive a crash.
//! 2. A ballot has one owner, once: it is used only after its promise was synced, and never
//!    again after a restart.
//! 3. An entry's birth never changes; equal (birth, index) means equal logs up to there.
//! 4. A replica cuts its log only where an entry differs, and never at or below its commit.
//! 5. An owner counts only entries of its own ballot.
//! 6. `new` follows a joint configuration only with the proof that an entry was committed under
//!    it by both majorities ([`Voters::Stable`]).

mod acceptor;
mod configuration;
mod durable;
mod forgotten;
mod log;
mod message;
mod owner;
mod progress;
mod replica;
mod settings;
mod takeover;
#[cfg(test)]
mod tests;
mod types;

pub use configuration::{Configuration, Members, Proof, StepError, Voters};
pub use durable::{Durable, Record, Snapshot};
pub use forgotten::Forgotten;
pub use log::Log;
pub use message::Message;
pub use replica::{Done, ReadId, Ready, Refused, Replica, Tail, TakeOver};
pub use settings::{Rules, Settings};
pub use types::{Ballot, Entry, LogIndex, Payload, Position};
