//! What the binary may ask: to start a gateway, where it listens, what it counts, to stop it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use atoll_world::{
    clock,
    task::{self, JoinHandle},
};
use tokio::sync::watch;

use crate::{
    core::config::Config,
    driver::{
        Shared, Stage, Start,
        gateway::{Addresses, Follower},
        stats::Stats,
        table::Table,
    },
};

/// What a counter came to.
pub type Counted<'a> = Pin<Box<dyn Future<Output = Option<u64>> + Send + 'a>>;

/// Counters that all nodes of the cluster share, for rates of requests.
pub trait SharedCounter: fmt::Debug + Send + Sync + 'static {
    /// Adds to a counter and says what it came to; `None`: that can't be told now. A counter is 0
    /// until somebody adds to it, and may be forgotten `life_ms` milliseconds later. It is not
    /// waited for longer than a tenth of a second.
    fn add<'a>(&'a self, counter: &'a str, amount: u32, life_ms: u64) -> Counted<'a>;
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    shared: Shared,
    addresses: watch::Receiver<Addresses>,
    stop: watch::Sender<Stage>,
    following: JoinHandle<()>,
}

/// What is known about an endpoint's connections and requests now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Requests or connections that are open.
    pub open: u32,
    /// HTTP/1.1 connections that are kept for the next request.
    pub kept: usize,
    /// Health checks hold it for working.
    pub is_up: bool,
    /// It is left out because of how it answered.
    pub is_ejected: bool,
    /// How long it takes to answer, in microseconds; 0: it has not yet.
    pub latency_us: u64,
}

impl Gateway {
    /// Starts a gateway that does what the newest snapshot says. Listeners open and close as
    /// snapshots come; a connection never ends because of one, but by draining when its listener
    /// is gone. A snapshot that contradicts itself is refused, and the one before stays. Rates of
    /// the whole cluster are counted by `counter`; without one, each node counts for itself.
    pub fn start(
        config: watch::Receiver<Arc<Config>>,
        counter: Option<Arc<dyn SharedCounter>>,
    ) -> Self {
        let (table, tables) = watch::channel(Arc::new(Table::empty()));
        let (addresses, heard) = watch::channel(Addresses::new());
        let (stop, stopped) = watch::channel(Stage::Open);
        let shared = Shared {
            table: tables,
            stats: Arc::default(),
            start: Start::now(),
            passwords: Arc::default(),
            counter,
        };
        let follower = Follower {
            shared: shared.clone(),
            table,
            addresses,
            config,
            stop: stopped,
            open: BTreeMap::new(),
            refused: BTreeSet::new(),
            closed: Vec::new(),
            checks: BTreeMap::new(),
        };
        Gateway {
            shared,
            addresses: heard,
            stop,
            following: task::spawn(follower.run()),
        }
    }

    /// Where listeners listen, by name: those that could be opened.
    pub fn addresses(&self) -> watch::Receiver<BTreeMap<String, SocketAddr>> {
        self.addresses.clone()
    }

    /// What it counts.
    pub fn stats(&self) -> Arc<Stats> {
        self.shared.stats.clone()
    }

    /// The endpoints of the snapshot in force, by cluster.
    pub fn endpoints(&self) -> BTreeMap<String, Vec<EndpointStatus>> {
        let now_ms = self.shared.start.elapsed_ms();
        let table = self.shared.table();
        let clusters = table.clusters.iter();
        clusters
            .map(|(name, cluster)| {
                let endpoints = cluster.endpoints.iter();
                let statuses = endpoints.map(|endpoint| endpoint.status(now_ms));
                (name.clone(), statuses.collect())
            })
            .collect()
    }

    /// Takes no new connections and requests, answers those that are open, and cuts off what is
    /// not done after `grace`.
    pub async fn stop(self, grace: Duration) {
        self.stop.send_replace(Stage::Drain);
        let mut following = self.following;
        if clock::timeout(grace, &mut following).await.is_ok() {
            return;
        }
        self.stop.send_replace(Stage::Cut);
        if let Err(error) = following.await {
            tracing::warn!(%error, "the gateway's task ended badly");
        }
    }
}
