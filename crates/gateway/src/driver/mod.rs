//! Moves bytes: connections in, requests on, answers back. Decisions are `core`'s.
//!
//! The binary's snapshots come in at `gateway.rs`, which makes a [`table::Table`] of each and
//! opens and closes listeners; everything else looks at the newest table when it needs one and
//! keeps what it has begun with.

use std::sync::Arc;

use atoll_world::clock::{self, Instant};
use tokio::sync::watch;

use self::{passwords::Passwords, stats::Stats, table::Table};
use crate::api::SharedCounter;

pub(crate) mod gateway;
mod gather;
mod guarded;
mod health;
mod http;
mod idle;
mod limit;
mod listener;
mod open;
mod passwords;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod table;
mod tcp;
mod tls;

/// What every connection of a gateway knows.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) table: watch::Receiver<Arc<Table>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) start: Start,
    pub(crate) passwords: Arc<Passwords>,
    /// What all nodes count together.
    pub(crate) counter: Option<Arc<dyn SharedCounter>>,
}

impl Shared {
    /// What is in force now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.borrow().clone()
    }
}

/// When the gateway began: the zero of all times that `core` is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start(Instant);

impl Start {
    pub(crate) fn now() -> Self {
        Start(clock::now())
    }

    pub(crate) fn elapsed_us(self) -> u64 {
        u64::try_from(clock::now().duration_since(self.0).as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn elapsed_ms(self) -> u64 {
        self.elapsed_us() / 1_000
    }
}

/// What is asked of the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Go on.
    Open,
    /// Answer what is open, take nothing new.
    Drain,
    /// End now.
    Cut,
}

/// Waits for a stage. A listener that is gone cuts nobody.
pub(crate) async fn reached(stages: &mut watch::Receiver<Stage>, wanted: Stage) {
    let is_reached = |stage: &Stage| *stage == wanted || *stage == Stage::Cut;
    if stages.wait_for(is_reached).await.is_err() {
        std::future::pending::<()>().await;
    }
}
