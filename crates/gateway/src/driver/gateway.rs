//! Follows the snapshots: tables are made, listeners opened and closed, health checks begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use atoll_world::{
    clock, net,
    task::{self, JoinHandle},
};
use tokio::sync::watch;

use super::{Shared, Stage, health, listener, table::Table};
use crate::core::config::Config;

/// How often connections that nobody uses are looked for, and listeners that could not be
/// opened are tried again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Where listeners listen, by name.
pub(crate) type Addresses = BTreeMap<String, SocketAddr>;

/// The task that follows the snapshots.
pub(crate) struct Follower {
    pub(crate) shared: Shared,
    pub(crate) table: watch::Sender<Arc<Table>>,
    pub(crate) addresses: watch::Sender<Addresses>,
    pub(crate) config: watch::Receiver<Arc<Config>>,
    pub(crate) stop: watch::Receiver<Stage>,
    pub(crate) open: BTreeMap<String, Open>,
    /// Listeners that could not be opened so far.
    pub(crate) refused: BTreeSet<String>,
    /// What connections of closed listeners still hear.
    pub(crate) closed: Vec<watch::Sender<Stage>>,
    pub(crate) checks: BTreeMap<String, JoinHandle<()>>,
}

/// A listener that is open.
pub(crate) struct Open {
    /// As it was asked for.
    address: String,
    stages: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
}

impl Follower {
    /// Follows until the gateway is stopped.
    pub(crate) async fn run(mut self) {
        let mut has_config = true;
        let mut stop = self.stop.clone();
        self.take_config().await;
        loop {
            let has_changed = tokio::select! {
                changed = self.config.changed(), if has_config => {
                    // Whoever made snapshots may be gone; the last one stays in force.
                    has_config = changed.is_ok();
                    has_config
                }
                () = clock::sleep(SWEEP_INTERVAL) => false,
                // A gateway that nobody holds any more is stopped as well.
                _ = stop.wait_for(|stage| *stage != Stage::Open) => break,
            };
            if has_changed {
                self.take_config().await;
            } else {
                self.sweep().await;
            }
        }
        self.end().await;
    }

    async fn take_config(&mut self) {
        let config = self.config.borrow_and_update().clone();
        if let Err(error) = config.check() {
            tracing::error!(%error, "the gateway's configuration is refused; the last one stays");
            return;
        }
        let now_ms = self.shared.start.elapsed_ms();
        let next = Table::next(config, &self.table.borrow(), now_ms);
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the gateway's certificates are refused; the last ones stay");
                return;
            }
        };
        self.table.send_replace(Arc::new(next));
        self.settle_listeners().await;
        self.settle_checks();
    }

    async fn settle_listeners(&mut self) {
        let config = self.table.borrow().config.clone();
        let wanted: BTreeMap<_, _> = config
            .listeners
            .iter()
            .map(|it| (it.name.as_str(), it.address.as_str()))
            .collect();
        let gone: Vec<String> = self
            .open
            .iter()
            .filter(|(name, open)| wanted.get(name.as_str()) != Some(&open.address.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        // Closed before others are opened, which may want the same address.
        for name in gone {
            self.close(&name).await;
        }
        self.refused
            .retain(|name| wanted.contains_key(name.as_str()));
        for (name, address) in wanted {
            if !self.open.contains_key(name) {
                self.open(name, address).await;
            }
        }
    }

    async fn open(&mut self, name: &str, address: &str) {
        let socket = match net::listen(address).await {
            Ok(socket) => socket,
            Err(error) => {
                // Told once; several nodes of one machine want the same addresses for good.
                if self.refused.insert(name.to_owned()) {
                    tracing::warn!(listener = name, %error, "cannot listen; will try again");
                }
                return;
            }
        };
        self.refused.remove(name);
        let local = socket.local_address();
        let (stages, heard) = watch::channel(Stage::Open);
        let running = listener::run(name.to_owned(), socket, self.shared.clone(), heard);
        let open = Open {
            address: address.to_owned(),
            stages,
            accepting: task::spawn(running),
        };
        self.open.insert(name.to_owned(), open);
        self.addresses.send_modify(|it| {
            it.insert(name.to_owned(), local);
        });
        tracing::info!(listener = name, address = %local, "the gateway listens");
    }

    /// Takes no new connections; those that are open end when they are done.
    async fn close(&mut self, name: &str) {
        let Some(open) = self.open.remove(name) else {
            return;
        };
        self.addresses.send_modify(|it| {
            it.remove(name);
        });
        open.stages.send_replace(Stage::Drain);
        // The socket is the task's.
        if let Err(error) = open.accepting.await {
            tracing::warn!(listener = name, %error, "a listener's task ended badly");
        }
        self.closed.push(open.stages);
        tracing::info!(listener = name, "the gateway listens there no more");
    }

    fn settle_checks(&mut self) {
        self.checks.retain(|_, check| !check.is_finished());
        let table = self.table.borrow().clone();
        let checked: BTreeSet<_> = table
            .clusters
            .values()
            .filter(|it| it.config.health.is_some())
            .map(|it| it.name.clone())
            .collect();
        self.checks.retain(|name, check| {
            let stays = checked.contains(name);
            if !stays {
                check.abort();
            }
            stays
        });
        for name in checked {
            let shared = &self.shared;
            let begin = || task::spawn(health::watch(name.clone(), shared.clone()));
            self.checks.entry(name.clone()).or_insert_with(begin);
        }
    }

    async fn sweep(&mut self) {
        let table = self.table.borrow().clone();
        let now_ms = self.shared.start.elapsed_ms();
        for cluster in table.clusters.values() {
            for endpoint in &cluster.endpoints {
                endpoint
                    .pool
                    .sweep(cluster.config.timeouts.pool_idle_ms, now_ms);
            }
        }
        self.closed.retain(|stages| !stages.is_closed());
        self.settle_listeners().await;
    }

    /// Closes everything, waits until connections are done, and cuts off those that are not
    /// when the gateway says so.
    async fn end(mut self) {
        for check in self.checks.values() {
            check.abort();
        }
        let names: Vec<_> = self.open.keys().cloned().collect();
        for name in names {
            self.close(&name).await;
        }
        let done = futures_util::future::join_all(self.closed.iter().map(|it| it.closed()));
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = done => return,
            _ = stop.wait_for(|stage| *stage == Stage::Cut) => {}
        }
        for stages in &self.closed {
            stages.send_replace(Stage::Cut);
        }
        futures_util::future::join_all(self.closed.iter().map(|it| it.closed())).await;
    }
}
