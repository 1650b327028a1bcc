//! The other side: what participants of each kind do, as far as coordinators depend on it.
//!
//! They are models for the simulation, and say to those who write participants what is asked of
//! them. Each is a function of its orders: what [`step`](Prepared::step) returns is told to the
//! coordinator, and by then everything that it rests on has been written durably. That an order
//! is lost in a crash between the two, or its report, comes to the same as a lost message.
//!
//! - [`Prepared`]: a database with prepared transactions, like PostgreSQL.
//! - [`Callback`]: a service with callbacks for prepare, commit and abort.
//! - [`ThreePhase`]: who can run the extra phase, and end a transaction among its peers.
//! - [`Steps`]: who does and undoes a saga's steps.

mod callback;
mod prepared;
mod steps;
mod termination;
mod three_phase;

pub use callback::Callback;
pub use prepared::Prepared;
pub use steps::Steps;
pub use termination::{PeerMessage, Told};
pub use three_phase::{Action, State, ThreePhase, Timing};

use super::types::{Branch, Outcome};

/// What a participant's own rules say to what it is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Will {
    /// It can be done.
    Can,
    /// It can't: a constraint, or no stock.
    Cannot,
    /// There is nothing to commit.
    ReadOnly,
}

/// What became visible at a participant, for whoever checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Of which transaction.
    pub branch: Branch,
    /// Committed or done; aborted or undone, after it was prepared or done.
    pub outcome: Outcome,
}
