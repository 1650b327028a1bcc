//! One partition of hot data under faults: the replicas, their coordinators and the control
//! plane's steps, as pure cores on a simulated network and disk, one event after the other.
//!
//! A run is a function of its seed: clients work while a [`plan`] is carried out, then everything
//! is healed and has to answer again. Entries and states at equal places of the log have to be
//! equal on all nodes, and every key's calls must have an order.

mod control;
mod history;
mod network;
mod node;
pub mod plan;
pub mod promise;
mod registers;
pub mod replay;
mod world;

use std::panic::AssertUnwindSafe;

use atoll_kv::core::paxos::{Rules, Settings};
use atoll_world::random::Stream;
use serde::{Deserialize, Serialize};

use plan::Step;
use world::{Conditions, World};

/// Nodes.
const NODES: usize = 5;
/// Replicas of the partition.
const REPLICAS: usize = 3;
/// For so long things go wrong.
const STORM_US: u64 = 1_500_000;

/// A mistake made on purpose, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Planted {
    /// Entries of a ballot are accepted after a higher one was promised.
    AcceptsLowerBallots,
    /// A new owner gives older entries its own ballot.
    RestampsEntries,
    /// A restarted owner goes on under its old ballot.
    GoesOnAfterRestart,
    /// The joint configuration is left before both majorities have committed in it.
    LeavesJointEarly,
    /// Which requests were applied is known to the owner alone.
    ForgetsSessions,
    /// A read without the owner does not heed what is not applied yet.
    IgnoresPending,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 6] = [
        Planted::AcceptsLowerBallots,
        Planted::RestampsEntries,
        Planted::GoesOnAfterRestart,
        Planted::LeavesJointEarly,
        Planted::ForgetsSessions,
        Planted::IgnoresPending,
    ];

    fn rules(planted: Option<Planted>) -> Rules {
        let mut rules = Rules::default();
        match planted {
            Some(Planted::AcceptsLowerBallots) => rules.compares_promise = false,
            Some(Planted::RestampsEntries) => rules.keeps_births = false,
            Some(Planted::GoesOnAfterRestart) => rules.forgets_ownership = false,
            Some(Planted::ForgetsSessions) => rules.replicates_sessions = false,
            Some(Planted::IgnoresPending) => rules.heeds_pending = false,
            Some(Planted::LeavesJointEarly) | None => {}
        }
        rules
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What must not be, each with the property it contradicts.
    pub violations: Vec<String>,
    /// Keys for which the search for an order was given up.
    pub undecided: usize,
    /// Calls of clients, and how many of them were answered.
    pub calls: (usize, usize),
    /// Entries of the log.
    pub entries: usize,
    /// How often a replica came to own a ballot.
    pub takeovers: usize,
    /// Finished moves to other nodes.
    pub moves: usize,
    /// Reads that were answered without an owner.
    pub looks: usize,
    /// Snapshots that replicas were sent.
    pub snapshots: usize,
    /// Sums up every event of the run.
    pub trace: u64,
}

/// The plan of a seed's run.
pub fn plan(seed: u64) -> Vec<Step> {
    plan::draw(&mut Stream::new(seed ^ 0x506c_616e), STORM_US)
}

/// Runs a seed.
pub fn run(seed: u64) -> Report {
    run_plan(seed, &plan(seed), None)
}

/// Runs a plan.
pub fn run_plan(seed: u64, steps: &[Step], planted: Option<Planted>) -> Report {
    let mut random = Stream::new(seed ^ 0x5365_7474);
    let settings = Settings {
        // Small, so that logs are sent in parts.
        accept_bytes_max: random.range(1..2_000),
        in_flight_max: random.range(1..16),
        uncommitted_max: random.range(4..256),
        rules: Planted::rules(planted),
        ..Settings::default()
    };
    let run = || World::new(seed, settings, steps, planted, Conditions::STORM).run();
    let found = crate::scenario::catch(AssertUnwindSafe(run));
    match found {
        Ok(report) => report,
        Err(panicked) => Report {
            violations: vec![format!("no panic: {panicked}")],
            ..Report::default()
        },
    }
}
