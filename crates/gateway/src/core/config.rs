//! What the gateway does: listeners, routes and clusters, as one immutable snapshot.
//!
//! A snapshot comes whole and is never changed; a later one takes its place. [`Config::check`]
//! finds what contradicts itself, so that a bad snapshot is refused as a whole and the one
//! before it stays in force.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{Method, header::HeaderName};

mod check;
mod cluster;
mod listener;
mod policy;

pub use check::ConfigError;
pub use cluster::{
    Backend, BackendTls, Cluster, ClusterLimits, ENDPOINTS_MAX, Endpoint, HashKey, HealthCheck,
    Hedge, OutlierPolicy, Policy, Probe, ProxyVersion, Rate, Retries, Timeouts, WEIGHT_MAX,
};
pub use listener::{Certificate, ClientTrust, Fallback, Listener, ListenerLimits, Protocol, Tls};
pub use policy::{Auth, RateKey, RoutePolicy, RouteRate};

/// One snapshot of everything that the gateway is asked to do.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where it listens. Names are unique.
    pub listeners: Vec<Listener>,
    /// Which requests go where. The order tells nothing but which of two equal routes wins.
    pub routes: Vec<Route>,
    /// What routes and listeners point at, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// The zone of this node, for clusters that prefer endpoints in the caller's zone.
    pub zone: Option<String>,
}

/// Which requests go to a cluster.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which host was asked for.
    pub host: HostMatch,
    /// Which path was asked for.
    pub path: PathMatch,
    /// Fields that have to be there, each with this value.
    pub headers: Vec<(HeaderName, String)>,
    /// The method, if it matters.
    pub method: Option<Method>,
    /// The cluster's name.
    pub cluster: String,
    /// The names of the listeners that it is for; empty: all.
    pub listeners: Arc<[String]>,
    /// What is asked of requests before they take it.
    pub policy: Arc<RoutePolicy>,
}

impl Route {
    /// A route from every listener, for all methods, without conditions.
    pub fn new(host: HostMatch, path: PathMatch, cluster: &str) -> Self {
        Route {
            host,
            path,
            headers: Vec::new(),
            method: None,
            cluster: cluster.to_owned(),
            listeners: Arc::default(),
            policy: Arc::default(),
        }
    }
}

/// Which hosts a route is for. Names are compared without case, and without the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMatch {
    /// This one.
    Exact(String),
    /// `*.` and this: exactly one label in front, as Ingress has it.
    Wildcard(String),
    /// Every host.
    Any,
}

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathMatch {
    /// This one.
    Exact(String),
    /// Those that begin with the segments of this one: `/a` has `/a` and `/a/b`, not `/ab`.
    Prefix(String),
}
