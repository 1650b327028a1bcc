//! Endpoints that do the same, and how they are used.

use std::net::SocketAddr;

use atoll_world::pki::tls::{ShownCertificate, Trusted};
use hyper::header::HeaderName;
use serde::Deserialize;

/// The most endpoints that one cluster may have.
pub const ENDPOINTS_MAX: usize = 4_096;
/// The largest weight of an endpoint.
pub const WEIGHT_MAX: u32 = 65_536;

/// Endpoints that do the same, and how they are used.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Who answers.
    pub endpoints: Vec<Endpoint>,
    /// What endpoints speak, for requests of HTTP.
    pub backend: Backend,
    /// Connections to them are under TLS.
    pub tls: Option<BackendTls>,
    /// How one is chosen.
    pub policy: Policy,
    /// Endpoints in the gateway's own zone come first.
    pub prefers_zone: bool,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retries: Retries,
    /// What is asked twice at the same time.
    pub hedge: Option<Hedge>,
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
    /// HTTP/2, as for gRPC: without TLS without asking first (`appProtocol: kubernetes.io/h2c`),
    /// with TLS by ALPN.
    Http2,
}

/// How endpoints are called under TLS. Clusters share no connections, and sessions only
/// where they believe and show the same, so that nobody is believed because another one believed
/// him.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendTls {
    /// Whom an endpoint has to prove to be; `None`: the address that it was called by.
    pub server_name: Option<String>,
    /// Who has to have issued its certificate.
    pub trusted: Trusted,
    /// What is shown to who asks for a certificate (mutual TLS).
    pub shown: Option<ShownCertificate>,
    /// Connections of TCP listeners are under it, too. Otherwise their clients speak TLS with
    /// endpoints themselves, if at all, and this is for requests and health checks.
    pub wraps_tcp: bool,
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
    /// A cookie that the gateway makes when it is missing, of this name.
    Session(String),
}

/// How long a cluster's endpoints are waited for.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Attempts after the first. Default 2; 0: none.
    pub attempts_max: u32,
    /// Retries for every hundred requests. Default 20.
    pub budget_percent: u32,
    /// Retries in a second that are always there. Default 10.
    pub budget_per_second: u32,
    /// Answers that are taken for none, by their status; default none. The last attempt's is
    /// passed on as it is.
    pub statuses: Vec<u16>,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts_max: 2,
            budget_percent: 20,
            budget_per_second: 10,
            statuses: Vec::new(),
        }
    }
}

/// A second attempt at another endpoint while the first one still runs; who answers first is
/// heard. Only what may be done twice is asked twice: the method is idempotent, and there is no
/// body. It is paid from the budget of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// For so long the first is waited for alone.
    pub after_ms: u64,
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
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
