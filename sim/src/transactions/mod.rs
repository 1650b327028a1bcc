//! Transactions over several partitions under faults: three nodes with real shards, journals and
//! coordinators, on simulated disks and links and on virtual time.
//!
//! A run: clients of all nodes work on a few keys that lie in many partitions, by MULTI, WATCH,
//! scripts, RENAME, COPY, MSETNX and single commands, and others have the same keys take part in
//! transactions that are decided outside, while nodes die, are cut off and come back. Then
//! everything is healed and has to answer again. All that clients saw has to have one order that
//! fits the times of their calls: strict serializability, checked by search over the whole state.

mod clients;
mod cluster;
mod history;
mod outside;
mod plan;

use std::{sync::Arc, time::Duration};

use atoll_world::{clock, random, random::Stream, task};

use clients::Client;
use cluster::{Cluster, NODES};
use history::{History, KEYS};
use outside::Decider;

/// For so long things go wrong.
const STORM: Duration = Duration::from_millis(1_200);
/// Clients of each node.
const CLIENTS: usize = 2;
/// Who decide outside.
const DECIDERS: usize = 1;
/// After the storm everything has to answer within this time.
const HEALED_WITHIN: Duration = Duration::from_secs(20);

/// A mistake made on purpose, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A client counts what it was refused as done.
    BelievesRefusals,
    /// A client does not watch what it reads before it writes.
    WatchesNothing,
    /// Commands of a transaction are sent one by one.
    SplitsTransactions,
    /// What is aborted outside is counted as done.
    BelievesAborts,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 4] = [
        Planted::BelievesRefusals,
        Planted::WatchesNothing,
        Planted::SplitsTransactions,
        Planted::BelievesAborts,
    ];
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What must not be, each with the property it contradicts.
    pub violations: Vec<String>,
    /// Whether the search for an order was given up.
    pub undecided: bool,
    /// Transactions that were begun, done, refused with nothing done, and of which nobody knows.
    pub counts: Counts,
    /// Sums up every delivery of the run.
    pub trace: u64,
}

/// What became of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub begun: usize,
    /// They were answered.
    pub done: usize,
    /// Nothing was done: a watched key had changed, or they were refused.
    pub refused: usize,
    /// Nobody knows.
    pub unknown: usize,
}

/// Runs a seed.
pub fn run(seed: u64, planted: Option<Planted>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    let report = runtime.block_on(async {
        random::seed_thread(seed);
        storm(seed, planted).await
    });
    random::unseed_thread();
    report
}

async fn storm(seed: u64, planted: Option<Planted>) -> Report {
    let mut chance = Stream::new(seed ^ 0x5472_616e);
    let cluster = Arc::new(Cluster::new(seed));
    let history = Arc::new(History::default());
    let ends_at = clock::now() + STORM;
    let mut working = Vec::new();
    for number in 0..NODES * CLIENTS {
        let client = Client {
            number,
            home: number % NODES,
            cluster: cluster.clone(),
            history: history.clone(),
            chance: Stream::new(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9)),
            planted,
        };
        working.push(task::spawn(client.work(ends_at)));
    }
    let mut deciding = Vec::new();
    for number in NODES * CLIENTS..NODES * CLIENTS + DECIDERS {
        let decider = Decider {
            number,
            cluster: cluster.clone(),
            history: history.clone(),
            chance: Stream::new(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9)),
            planted,
        };
        deciding.push(task::spawn(decider.work(ends_at)));
    }
    plan::carry_out(&cluster, &mut chance, ends_at).await;
    cluster.heal();
    let healed_at = clock::now();
    for decider in deciding {
        let left = HEALED_WITHIN.saturating_sub(clock::now() - healed_at);
        match clock::timeout(left, decider).await {
            Ok(ended) => ended.expect("who decides only ends"),
            Err(_) => history.violate("what is decided outside ends".to_owned()),
        }
    }
    for client in working {
        // A client that panicked says so on its own.
        client.await.expect("clients only end");
    }
    let looker = Client {
        number: NODES * CLIENTS + DECIDERS,
        home: 0,
        cluster: cluster.clone(),
        history: history.clone(),
        chance,
        planted: None,
    };
    let looked = clock::timeout(HEALED_WITHIN, looker.look_everywhere()).await;
    let (mut violations, undecided, counts) = history.check();
    if looked.is_err() {
        let waited_s = HEALED_WITHIN.as_secs();
        violations.push(format!(
            "everything answers again: not all {KEYS} keys within {waited_s} s after the storm"
        ));
    }
    let trace = cluster.fingerprint();
    cluster.end().await;
    Report {
        violations,
        undecided,
        counts,
        trace,
    }
}
