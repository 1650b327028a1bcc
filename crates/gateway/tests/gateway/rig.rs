//! What every test stands on: a gateway whose snapshots the test makes.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use atoll_gateway::{
    Gateway, Stats,
    core::config::{Cluster, Config, Endpoint, HostMatch, Listener, PathMatch, Protocol, Route},
};
use atoll_world::clock;
use tokio::sync::watch;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match clock::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took too long"),
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    in_time(what, async {
        while !is_so() {
            clock::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    sender: watch::Sender<Arc<Config>>,
    pub(crate) config: Config,
}

pub(crate) fn listener(name: &str, protocol: Protocol) -> Listener {
    Listener::new(name, "127.0.0.1:0", protocol)
}

pub(crate) fn plain_http() -> Protocol {
    Protocol::Http {
        trusts_forwarded: false,
        traces_percent: 100,
    }
}

pub(crate) fn cluster(endpoints: &[SocketAddr]) -> Cluster {
    Cluster {
        endpoints: endpoints.iter().copied().map(Endpoint::new).collect(),
        ..Cluster::default()
    }
}

pub(crate) fn route(path: &str, cluster: &str) -> Route {
    Route::new(HostMatch::Any, PathMatch::Prefix(path.to_owned()), cluster)
}

/// One listener `web`, whose requests all go to the cluster `a`.
pub(crate) fn web(cluster: Cluster) -> Config {
    Config {
        listeners: vec![listener("web", plain_http())],
        routes: vec![route("/", "a")],
        clusters: BTreeMap::from([("a".to_owned(), cluster)]),
        zone: None,
    }
}

/// One listener `raw`, whose connections all go to the cluster `a`.
pub(crate) fn raw(cluster: Cluster) -> Config {
    let protocol = Protocol::Tcp {
        cluster: "a".to_owned(),
    };
    Config {
        listeners: vec![listener("raw", protocol)],
        clusters: BTreeMap::from([("a".to_owned(), cluster)]),
        ..Config::default()
    }
}

impl Rig {
    pub(crate) fn start(config: Config) -> Self {
        config.check().unwrap();
        let (sender, receiver) = watch::channel(Arc::new(config.clone()));
        Rig {
            gateway: Gateway::start(receiver, None),
            sender,
            config,
        }
    }

    /// Where a listener listens, once it does.
    pub(crate) async fn address(&self, listener: &str) -> SocketAddr {
        let mut addresses = self.gateway.addresses();
        let found = in_time("a listener", async {
            let addresses = addresses.wait_for(|it| it.contains_key(listener)).await;
            addresses.unwrap()[listener]
        });
        found.await
    }

    /// Has the config in force changed, and waits until the endpoints are so.
    pub(crate) async fn change(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.sender.send_replace(Arc::new(self.config.clone()));
        let wanted = || {
            let clusters = self.config.clusters.iter();
            let addresses = |it: &Cluster| it.endpoints.iter().map(|it| it.address).collect();
            let pairs = clusters.map(|(name, it)| (name.clone(), addresses(it)));
            pairs.collect::<BTreeMap<String, Vec<SocketAddr>>>()
        };
        until("the snapshot", || {
            let clusters = self.gateway.endpoints().into_iter();
            let pairs = clusters.map(|(name, it)| (name, it.iter().map(|it| it.address).collect()));
            pairs.collect::<BTreeMap<_, Vec<_>>>() == wanted()
        })
        .await;
    }

    /// Puts this in force, if it is accepted.
    pub(crate) fn send(&self, config: Config) {
        self.sender.send_replace(Arc::new(config));
    }

    pub(crate) fn stats(&self) -> Arc<Stats> {
        self.gateway.stats()
    }
}
