//! The fields of `gateway.toml`, as they are written. What is said here about each one is what
//! docs/gateway.md says.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::core::config::{ClusterLimits, ListenerLimits, OutlierPolicy, Rate, Retries, Timeouts};

/// The whole file. Every table may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    /// The zone of this node, for backends that prefer endpoints in it. Default: none.
    pub(super) zone: Option<String>,
    /// Where the gateway listens, by name.
    pub(super) listeners: BTreeMap<String, Listener>,
    /// Who answers, by name.
    pub(super) backends: BTreeMap<String, Backend>,
    /// What is asked of requests, by name.
    pub(super) policies: BTreeMap<String, Policy>,
    /// Which requests go where.
    pub(super) routes: Vec<Route>,
}

/// A socket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// `HOST:PORT`.
    pub(super) address: String,
    /// `http` or `tcp`.
    pub(super) protocol: String,
    /// For `tcp`: the backend that connections go to.
    pub(super) backend: Option<String>,
    /// For `http`: the routes of Ingresses are served here, too. Default false.
    #[serde(default)]
    pub(super) serves_ingresses: bool,
    /// Connections begin with a PROXY protocol header, version 1 or 2, in front of TLS, and are
    /// refused without. Default false.
    #[serde(default)]
    pub(super) proxy_protocol: bool,
    /// With `proxy_protocol`: the networks of those who may send it; others are refused; empty:
    /// all. Default empty.
    #[serde(default)]
    pub(super) proxies: Vec<String>,
    /// For `http`: callers are proxies whose `Forwarded` and `X-Forwarded-*` are kept and added
    /// to. Default false: they are replaced.
    #[serde(default)]
    pub(super) trusts_forwarded: bool,
    /// For `http`: of requests without a `traceparent`, so many in a hundred get one that says
    /// that the trace is recorded. 0 to 100, default 100.
    #[serde(default = "hundred")]
    pub(super) traces_percent: u32,
    /// Networks that may connect; empty: all. Default empty.
    #[serde(default)]
    pub(super) allow: Vec<String>,
    /// Networks that may not. Default empty.
    #[serde(default)]
    pub(super) deny: Vec<String>,
    /// Certificates. Default: no TLS.
    pub(super) tls: Option<Tls>,
    /// What clients may take.
    #[serde(default)]
    pub(super) limits: ListenerLimits,
}

fn hundred() -> u32 {
    100
}

/// TLS of a listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// At least one.
    pub(super) certificates: Vec<Certificate>,
    /// What is shown to who asks for no name, or for one that no certificate is for: `first`, the
    /// first certificate, or `refuse`, nothing. Default `first`.
    #[serde(default = "first")]
    pub(super) unknown_name: String,
    /// A file with the certificates, as PEM, of those who issue clients' certificates. Default:
    /// clients are not asked for one.
    pub(super) client_ca: Option<String>,
    /// With `client_ca`: `required`, or `optional`. Default `required`.
    pub(super) client_certificate: Option<String>,
}

fn first() -> String {
    "first".to_owned()
}

/// A certificate and its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// A file with the chain as PEM, the own certificate first.
    pub(super) cert: String,
    /// A file with the key as PEM (PKCS #8, PKCS #1 or SEC 1).
    pub(super) key: String,
    /// The names that it is shown for, exact or `*.NAME`. Default: those that stand in it.
    #[serde(default)]
    pub(super) names: Vec<String>,
}

/// Endpoints that do the same, and how they are used.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    /// Who answers. Default: nobody but the Service's.
    #[serde(default)]
    pub(super) endpoints: Vec<Endpoint>,
    /// A port of a Service, `NAMESPACE/NAME:PORT`, by its number or its name: its endpoints.
    /// Default: none.
    pub(super) service: Option<String>,
    /// What endpoints speak: `http1`, or `http2` (as for gRPC; with `tls` by ALPN). Default: what
    /// the Service says, or `http1`.
    pub(super) protocol: Option<String>,
    /// Connections to endpoints are under TLS. Default: they are not.
    pub(super) tls: Option<BackendTls>,
    /// How one is chosen: `round-robin`, `weighted`, `random`, `two-choices`, `least-requests`.
    /// Default `least-requests`.
    pub(super) balancer: Option<String>,
    /// What keeps a client at its endpoint: `source`, `header NAME`, `cookie NAME`, or `session
    /// NAME`, a cookie that the gateway makes. In place of `balancer`. Default: nothing.
    pub(super) affinity: Option<String>,
    /// Endpoints in the gateway's `zone` come first. Default false.
    #[serde(default)]
    pub(super) prefers_zone: bool,
    /// For listeners of `tcp`: connections to endpoints begin with a PROXY protocol header of
    /// this version, 1 or 2. Default: none.
    pub(super) proxy_protocol: Option<u8>,
    /// How long to wait.
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    /// What is tried again.
    #[serde(default)]
    pub(super) retries: Retries,
    /// After so many milliseconds without an answer, a request that may be done twice is sent to
    /// another endpoint as well. 1 to 86,400,000. Default: never.
    pub(super) hedge_after_ms: Option<u64>,
    /// What is asked of endpoints to learn whether they work. Default: nothing.
    pub(super) health: Option<Health>,
    /// When an endpoint that answers badly is left out for a while. Default: never.
    pub(super) outliers: Option<OutlierPolicy>,
    /// How much it may be asked at one time.
    #[serde(default)]
    pub(super) limits: ClusterLimits,
}

/// One that answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    /// `ADDRESS:PORT`; names are not looked up.
    pub(super) address: String,
    /// Its share. 0 to 65,536, default 1; 0 gets nothing.
    #[serde(default = "one")]
    pub(super) weight: u32,
    /// Where it stands. Default: nowhere.
    pub(super) zone: Option<String>,
    /// It gets nothing new as long as another one is there. Default false.
    #[serde(default)]
    pub(super) draining: bool,
}

fn one() -> u32 {
    1
}

/// TLS of connections to endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BackendTls {
    /// Whom endpoints have to prove to be. Default: `NAME.NAMESPACE.svc` of the Service, or the
    /// address of each.
    pub(super) server_name: Option<String>,
    /// `system`, the machine's own authorities, or a file with the certificates, as PEM, of those
    /// who issue endpoints' certificates. Default `system`.
    pub(super) ca: Option<String>,
    /// A file with the chain, as PEM, that is shown to endpoints that ask for one. Default: none.
    pub(super) cert: Option<String>,
    /// With `cert`: a file with its key as PEM.
    pub(super) key: Option<String>,
    /// Nobody has to prove anything: whoever answers is believed. Not together with `ca`. Default
    /// false.
    pub(super) accepts_any_certificate: bool,
}

/// Health checks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// `tcp`, `http` or `grpc`.
    pub(super) probe: String,
    /// For `http`: what is asked for. Default `/`.
    pub(super) path: Option<String>,
    /// For `http`: the `Host` field. Default: the endpoint's address.
    pub(super) host: Option<String>,
    /// For `grpc`: the service that is asked about. Default: the server as a whole.
    pub(super) service: Option<String>,
    /// From one to the next. Default 5,000.
    pub(super) interval_ms: Option<u64>,
    /// How long an answer may take. Default 1,000.
    pub(super) timeout_ms: Option<u64>,
    /// As many good ones in a row bring an endpoint back. Default 2.
    pub(super) healthy_after: Option<u32>,
    /// As many bad ones in a row take it out. Default 3.
    pub(super) unhealthy_after: Option<u32>,
}

/// What is asked of requests.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Policy {
    /// Networks that may ask; empty: all. Default empty.
    pub(super) allow: Vec<String>,
    /// Networks that may not. Default empty.
    pub(super) deny: Vec<String>,
    /// Requests without TLS are sent to this port with it. Default: they are answered.
    pub(super) https_port: Option<u16>,
    /// The longest body, bytes. Default: any.
    pub(super) body_bytes_max: Option<u64>,
    /// How many requests. Default: any.
    pub(super) rate: Option<PolicyRate>,
    /// Names and passwords. Default: none are asked for.
    pub(super) basic: Option<Basic>,
    /// Tokens. Default: none are asked for.
    pub(super) jwt: Option<Jwt>,
}

/// A rate of requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyRate {
    /// In the long run. At least 1.
    pub(super) per_second: u32,
    /// At once. At least 1. Default: as `per_second`.
    pub(super) burst: Option<u32>,
    /// Whose requests are counted together: `all`, `source` or `header NAME`. Default `source`.
    pub(super) by: Option<String>,
    /// Who counts: each `node` for itself, or the `cluster`. Default `node`.
    pub(super) scope: Option<String>,
}

impl PolicyRate {
    pub(super) fn rate(&self) -> Rate {
        Rate {
            per_second: self.per_second,
            burst: self.burst.unwrap_or(self.per_second),
        }
    }
}

/// Names and passwords.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Basic {
    /// A file that `htpasswd -B` has written.
    pub(super) users: String,
    /// What browsers show to people. Default `atoll`.
    pub(super) realm: Option<String>,
}

/// Tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jwt {
    /// A file with a JSON Web Key Set.
    pub(super) jwks: String,
    /// What `iss` has to be. Default: anything.
    pub(super) issuer: Option<String>,
    /// What `aud` has to name, one of these. Default: anything.
    #[serde(default)]
    pub(super) audiences: Vec<String>,
    /// How far clocks may be apart, seconds. 0 to 3,600, default 30.
    pub(super) leeway_s: Option<u64>,
}

/// Which requests go to a backend.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Exact, or `*.NAME` for exactly one label more. Default: all hosts.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    /// Default `/`.
    pub(super) path: Option<String>,
    /// `prefix`, by segments, or `exact`. Default `prefix`.
    #[serde(rename = "match")]
    pub(super) matches: Option<String>,
    /// Default: all methods.
    #[serde(default)]
    pub(super) methods: Vec<String>,
    /// Fields that have to be there, each with its value. Default: none.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// The listeners that it is for. Default: all of this file that speak `http`.
    #[serde(default)]
    pub(super) listeners: Vec<String>,
    /// Where they go.
    pub(super) backend: String,
    /// What is asked of them. Default: nothing.
    pub(super) policy: Option<String>,
}
