//! The clusters of a snapshot with what is remembered about their endpoints.
//!
//! They are made of a snapshot and of those before it: an endpoint (a cluster's name and an
//! address) that is in both keeps its connections, its latency, and what is known about
//! its health. One that is gone lives on in the requests that it has. What is called under another
//! TLS is another endpoint.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use atoll_world::{
    pki::{PkiError, tls::Calling},
    random,
};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::{Shared, http::pool::Pool, stats::Stats, tls::Callings};
use crate::api::EndpointStatus;
use crate::core::{
    balance::{Balancer, Candidates, Latency, Member},
    breaker::Gauge,
    bucket::Bucket,
    budget::Budget,
    config::{Cluster, HealthCheck},
    health::Health,
    outlier::Record,
    reach::Reach,
};

/// A cluster and its endpoints.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) name: String,
    pub(crate) config: Cluster,
    /// In the order of the config's endpoints.
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    /// Whether they are in the gateway's zone, in the same order; empty: nobody asks.
    is_near: Vec<bool>,
    balancer: Balancer,
    pub(crate) load: Arc<Load>,
    /// By what endpoints are called under TLS, with the sessions that it knows.
    pub(super) calling: Option<Arc<Calling>>,
}

/// What a cluster is doing, whatever snapshot asked for it.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) connections: Gauge,
    pub(crate) requests: Gauge,
    pub(crate) pending: Gauge,
    pub(crate) budget: Budget,
    pub(crate) bucket: Bucket,
}

/// An endpoint, whatever snapshot names it.
#[derive(Debug)]
pub(crate) struct EndpointState {
    pub(crate) address: SocketAddr,
    /// Requests or connections that are open.
    pub(crate) open: Gauge,
    pub(crate) latency: Latency,
    pub(crate) pool: Pool,
    /// Whether it takes connections.
    pub(crate) reach: Reach,
    is_up: AtomicBool,
    health: Mutex<Health>,
    ejected_until_ms: AtomicU64,
    record: Mutex<Record>,
    /// There was no TLS with it the last time, and that was told.
    pub(super) is_distrusted: AtomicBool,
}

impl ClusterState {
    /// A cluster of a snapshot after what it was before.
    ///
    /// # Errors
    /// It can't be called as it should be.
    pub(super) fn next(
        name: &str,
        config: &Cluster,
        zone: Option<&str>,
        before: Option<&Arc<ClusterState>>,
        now_ms: u64,
        callings: &mut Callings,
    ) -> Result<Self, PkiError> {
        let load = before.map(|it| it.load.clone());
        let before = before.filter(|it| it.config.tls == config.tls);
        let calling = config.tls.as_ref().map(|tls| callings.of(tls));
        let known = before.map(|it| it.endpoints.as_slice()).unwrap_or_default();
        let mut known: BTreeMap<_, _> = known.iter().map(|it| (it.address, it.clone())).collect();
        let endpoints: Vec<_> = config
            .endpoints
            .iter()
            .map(|endpoint| {
                let new = || Arc::new(EndpointState::new(endpoint.address));
                known.entry(endpoint.address).or_insert_with(new).clone()
            })
            .collect();
        if config.health.is_none() {
            // Nobody would ever find out that they are back.
            endpoints.iter().for_each(|endpoint| endpoint.presume_up());
        }
        let members = config.endpoints.iter().map(|endpoint| Member {
            identity: xxh3_64(endpoint.address.to_string().as_bytes()),
            weight: endpoint.weight,
        });
        let members: Vec<_> = members.collect();
        let near = |zone: &str| {
            let zones = config.endpoints.iter().map(|it| it.zone.as_deref());
            zones.map(|it| it == Some(zone)).collect()
        };
        let is_near = zone.filter(|_| config.prefers_zone).map(near);
        Ok(ClusterState {
            name: name.to_owned(),
            balancer: Balancer::new(&config.policy, &members, random::u64()),
            endpoints,
            is_near: is_near.unwrap_or_default(),
            load: load.unwrap_or_else(|| Arc::new(Load::new(config, now_ms))),
            calling: calling.transpose()?,
            config: config.clone(),
        })
    }

    /// An endpoint for a request with this key, rather none of `tried`.
    pub(crate) fn pick(&self, key: u64, tried: &[usize], now_ms: u64) -> Option<usize> {
        let random = random::u64();
        let pick = |rank, tried| {
            let view = View {
                cluster: self,
                rank,
                tried,
                now_ms,
            };
            self.balancer.pick(&view, key, random)
        };
        let ranks = if self.is_near.is_empty() {
            &Rank::ALL[1..]
        } else {
            &Rank::ALL[..]
        };
        let found = ranks.iter().find_map(|rank| pick(*rank, tried));
        let found = match found {
            None if !tried.is_empty() => ranks.iter().find_map(|rank| pick(*rank, &[])),
            found => found,
        };
        found.inspect(|place| self.endpoints[*place].reach.asked(now_ms))
    }

    /// An endpoint answered well, in this time.
    pub(crate) fn succeeded(&self, endpoint: &EndpointState, taken_us: u64, now_us: u64) {
        endpoint.latency.observe(taken_us, now_us);
        endpoint.reach.reached();
        if let Some(policy) = &self.config.outliers {
            let mut record = endpoint.record.lock();
            if !record.is_spotless() {
                record.succeeded(policy, now_us / 1_000);
            }
        }
    }

    /// An endpoint answered badly, or not at all.
    pub(crate) fn failed(&self, endpoint: &EndpointState, now_ms: u64, stats: &Stats) {
        let Some(policy) = &self.config.outliers else {
            return;
        };
        let is_out = |it: &&Arc<EndpointState>| it.is_ejected(now_ms);
        let ejected = self.endpoints.iter().filter(is_out).count();
        let mut record = endpoint.record.lock();
        let until_ms = record.failed(policy, now_ms, ejected, self.endpoints.len());
        if let Some(until_ms) = until_ms {
            endpoint.ejected_until_ms.store(until_ms, Ordering::Relaxed);
            stats.ejections.add_one();
            tracing::info!(
                cluster = %self.name,
                endpoint = %endpoint.address,
                for_ms = until_ms - now_ms,
                "an endpoint answers badly and is left out for a while"
            );
        }
    }
}

impl Load {
    fn new(config: &Cluster, now_ms: u64) -> Self {
        Load {
            connections: Gauge::default(),
            requests: Gauge::default(),
            pending: Gauge::default(),
            budget: Budget::new(&config.retries, now_ms),
            bucket: Bucket::new(),
        }
    }
}

impl EndpointState {
    fn new(address: SocketAddr) -> Self {
        EndpointState {
            address,
            open: Gauge::default(),
            latency: Latency::default(),
            pool: Pool::default(),
            reach: Reach::default(),
            is_up: AtomicBool::new(true),
            health: Mutex::default(),
            ejected_until_ms: AtomicU64::new(0),
            record: Mutex::default(),
            is_distrusted: AtomicBool::new(false),
        }
    }

    /// What is known about it.
    pub(crate) fn status(&self, now_ms: u64) -> EndpointStatus {
        EndpointStatus {
            address: self.address,
            open: self.open.open(),
            kept: self.pool.kept(),
            is_up: self.is_up.load(Ordering::Relaxed),
            is_ejected: self.is_ejected(now_ms),
            latency_us: self.latency.mean_us(),
        }
    }

    fn presume_up(&self) {
        if !self.is_up.swap(true, Ordering::Relaxed) {
            *self.health.lock() = Health::default();
        }
    }

    fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms.load(Ordering::Relaxed)
    }

    /// A health check came out.
    pub(crate) fn checked(
        &self,
        check: &HealthCheck,
        is_good: bool,
        cluster: &str,
        shared: &Shared,
    ) {
        let mut health = self.health.lock();
        if !health.observe(check, is_good) {
            return;
        }
        let is_up = health.is_up();
        self.is_up.store(is_up, Ordering::Relaxed);
        if !is_up {
            shared.stats.health_failures.add_one();
        }
        tracing::info!(%cluster, endpoint = %self.address, is_up, "an endpoint's health changed");
    }
}

/// Who may be picked. Each rank is asked only when nobody is there in the one before.
#[derive(Clone, Copy, Debug)]
enum Rank {
    /// Who works, in this zone.
    Near,
    /// Who works.
    Working,
    /// Those that are ending, when no other one works (Kubernetes' KEP-1669).
    Draining,
    /// Those that answered badly a while ago, or took no connection: better than nobody.
    Ejected,
}

impl Rank {
    const ALL: [Rank; 4] = [Rank::Near, Rank::Working, Rank::Draining, Rank::Ejected];
}

/// A cluster's endpoints at the moment of a pick.
struct View<'a> {
    cluster: &'a ClusterState,
    rank: Rank,
    tried: &'a [usize],
    now_ms: u64,
}

impl Candidates for View<'_> {
    fn count(&self) -> usize {
        self.cluster.endpoints.len()
    }

    fn is_usable(&self, place: usize) -> bool {
        let config = &self.cluster.config.endpoints[place];
        let state = &self.cluster.endpoints[place];
        if config.weight == 0 || self.tried.contains(&place) {
            return false;
        }
        if !state.is_up.load(Ordering::Relaxed) {
            return false;
        }
        let fits = match self.rank {
            Rank::Near => self.cluster.is_near[place] && !config.is_draining,
            Rank::Working => !config.is_draining,
            Rank::Draining => config.is_draining,
            Rank::Ejected => return true,
        };
        fits && !state.is_ejected(self.now_ms) && !state.reach.is_away(self.now_ms)
    }

    fn weight(&self, place: usize) -> u32 {
        self.cluster.config.endpoints[place].weight
    }

    fn open(&self, place: usize) -> u32 {
        self.cluster.endpoints[place].open.open()
    }

    fn latency_us(&self, place: usize) -> u64 {
        self.cluster.endpoints[place].latency.mean_us()
    }
}
