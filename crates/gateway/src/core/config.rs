//! What the gateway does: listeners, routes and clusters, as one immutable snapshot.
//!
//! A snapshot comes whole and is never changed; a later one takes its place. [`Config::check`]
//! finds what contradicts itself, so that a bad snapshot is refused as a whole and the one
//! before it stays in force.

use std::{collections::BTreeMap, net::SocketAddr};

use atoll_world::net::TlsAcceptor;
use hyper::{Method, header::HeaderName};

mod check;

pub use check::ConfigError;

/// The most endpoints that one cluster may have.
pub const ENDPOINTS_MAX: usize = 4_096;
/// The largest weight of an endpoint.
pub const WEIGHT_MAX: u32 = 65_536;

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

/// A socket that is listened on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// By which it is known from one snapshot to the next.
    pub name: String,
    /// `host:port`; port 0 takes any free one.
    pub address: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Connections begin with a PROXY protocol header, version 1 or 2, and are refused without.
    pub expects_proxy_header: bool,
    /// What one connection may take.
    pub limits: ListenerLimits,
}

/// What is spoken on a listener.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// Bytes, handed to an endpoint of this cluster.
    Tcp {
        /// The cluster's name.
        cluster: String,
    },
    /// HTTP/1.1 and HTTP/2, handed to whichever cluster the routes name.
    Http {
        /// With TLS; certificates are chosen by server name in its resolver.
        tls: Option<TlsAcceptor>,
        /// Callers are other proxies: what their `Forwarded` and `X-Forwarded-*` fields say is
        /// kept and added to. Otherwise those fields are replaced.
        trusts_forwarded: bool,
    },
}

/// What clients of a listener may take, in time and in memory.
#[derive(Clone, Debug)]
pub struct ListenerLimits {
    /// Connections open at one time; more are closed at once. Default 16,384.
    pub connections_max: usize,
    /// The head of a request, bytes. Default 65,536, at least 8,192.
    pub head_bytes_max: usize,
    /// Fields in the head of a request. Default 100.
    pub fields_max: usize,
    /// From the first byte of a head to its last, and from accepting to the first. Default 10 s.
    pub head_ms: u64,
    /// Between one request and the next. Default 75 s.
    pub keep_alive_ms: u64,
    /// While a request's body is waited for, and nothing comes. Default 60 s.
    pub body_idle_ms: u64,
    /// While something is to be sent, and the client takes nothing. Default 60 s.
    pub send_stall_ms: u64,
    /// Requests open at one time on one HTTP/2 connection. Default 128.
    pub streams_max: u32,
    /// Streams that a client opened and reset again before they were looked at; one more ends
    /// its connection. Default 20.
    pub resets_max: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits {
            connections_max: 16_384,
            head_bytes_max: 65_536,
            fields_max: 100,
            head_ms: 10_000,
            keep_alive_ms: 75_000,
            body_idle_ms: 60_000,
            send_stall_ms: 60_000,
            streams_max: 128,
            resets_max: 20,
        }
    }
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

/// Endpoints that do the same, and how they are used.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Who answers.
    pub endpoints: Vec<Endpoint>,
    /// What endpoints speak, for requests of HTTP.
    pub backend: Backend,
    /// How one is chosen.
    pub policy: Policy,
    /// Endpoints in the gateway's own zone come first.
    pub prefers_zone: bool,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retries: Retries,
    /// What is asked of endpoints to learn whether they work.
    pub health: Option<HealthCheck>,
    /// What is learned about endpoints from how they answer.
    pub outliers: Option<OutlierPolicy>,
    /// How much the cluster may be asked at one time.
    pub limits: ClusterLimits,
    /// The PROXY protocol header that connections to endpoints begin with (listeners of TCP).
    pub sends_proxy_header: Option<ProxyVersion>,
}

/// One that answers.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// Its share, for policies that weigh. 0 gets nothing.
    pub weight: u32,
    /// Where it stands.
    pub zone: Option<String>,
    /// It ends what it has, and gets nothing new as long as another is there.
    pub is_draining: bool,
}

impl Endpoint {
    /// An endpoint of weight 1, without a zone.
    pub fn new(address: SocketAddr) -> Self {
        Endpoint {
            address,
            weight: 1,
            zone: None,
            is_draining: false,
        }
    }
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS and without asking first (`appProtocol: kubernetes.io/h2c`), as gRPC.
    Http2,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// By weight, evenly mixed.
    Weighted,
    /// By chance.
    Random,
    /// Of two drawn by chance, the one that is expected to be done first: by its latency (an
    /// exponentially weighted mean) and by how much it has open.
    TwoChoices,
    /// The one that has the least open for its weight.
    LeastRequests,
    /// The same one for the same key.
    Maglev(HashKey),
}

/// What a consistent hash is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Source,
    /// A field of the request; the client's address when it is missing.
    Header(HeaderName),
    /// A cookie of the request; the client's address when it is missing.
    Cookie(String),
}

/// How long a cluster's endpoints are waited for.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a connection. Default 2 s.
    pub connect_ms: u64,
    /// From the request to the head of the answer, retries included. Default 60 s.
    pub response_ms: u64,
    /// While a body or a tunnel is open, and nothing goes either way. Default 300 s.
    pub idle_ms: u64,
    /// For which a connection without a request is kept. Default 60 s.
    pub pool_idle_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect_ms: 2_000,
            response_ms: 60_000,
            idle_ms: 300_000,
            pool_idle_ms: 60_000,
        }
    }
}

/// What is tried again, elsewhere where there is another place.
#[derive(Clone, Debug)]
pub struct Retries {
    /// Attempts after the first. Default 2; 0: none.
    pub attempts_max: u32,
    /// Retries for every hundred requests. Default 20.
    pub budget_percent: u32,
    /// Retries in a second that are always there. Default 10.
    pub budget_per_second: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts_max: 2,
            budget_percent: 20,
            budget_per_second: 10,
        }
    }
}

/// What is asked of an endpoint to learn whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What.
    pub probe: Probe,
    /// From one to the next. Default 5 s.
    pub interval_ms: u64,
    /// How long an answer may take. Default 1 s.
    pub timeout_ms: u64,
    /// As many good ones in a row bring an endpoint back. Default 2.
    pub healthy_after: u32,
    /// As many bad ones in a row take it out. Default 3.
    pub unhealthy_after: u32,
}

impl HealthCheck {
    /// The defaults, with this probe.
    pub fn new(probe: Probe) -> Self {
        HealthCheck {
            probe,
            interval_ms: 5_000,
            timeout_ms: 1_000,
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

/// A question to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It takes a connection.
    Tcp,
    /// It answers GET with a status of 200 to 399.
    Http {
        /// What is asked for.
        path: String,
        /// The `Host` field; the endpoint's address if none.
        host: Option<String>,
    },
    /// `grpc.health.v1.Health/Check` says SERVING.
    Grpc {
        /// Of this service; empty: of the server.
        service: String,
    },
}

/// When an endpoint that answers badly is left out for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierPolicy {
    /// As many errors in a row. Default 5.
    pub consecutive_errors: u32,
    /// For this long the first time; longer each time after. Default 30 s.
    pub ejection_ms: u64,
    /// Never longer than this. Default 300 s.
    pub ejection_ms_max: u64,
    /// Never more than this part of the endpoints; one may always be. Default 50.
    pub ejected_percent_max: u32,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        OutlierPolicy {
            consecutive_errors: 5,
            ejection_ms: 30_000,
            ejection_ms_max: 300_000,
            ejected_percent_max: 50,
        }
    }
}

/// How much a cluster may be asked at one time. What is more is refused at once.
#[derive(Clone, Debug)]
pub struct ClusterLimits {
    /// Connections to its endpoints. Default 4,096.
    pub connections_max: u32,
    /// Requests that are open. Default 4,096.
    pub requests_max: u32,
    /// Requests that wait for a connection. Default 1,024.
    pub pending_max: u32,
    /// Connections without a request that are kept for each endpoint. Default 64.
    pub idle_per_endpoint_max: usize,
    /// Requests in a second.
    pub rate: Option<Rate>,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        ClusterLimits {
            connections_max: 4_096,
            requests_max: 4_096,
            pending_max: 1_024,
            idle_per_endpoint_max: 64,
            rate: None,
        }
    }
}

/// A rate of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
