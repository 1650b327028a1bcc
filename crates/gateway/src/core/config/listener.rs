//! Where the gateway listens, and what clients may do there.

use atoll_world::pki::tls::{ClientCertificate, ShownCertificate};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use crate::core::sources::Sources;

/// A socket that is listened on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// By which it is known from one snapshot to the next.
    pub name: String,
    /// `host:port`; port 0 takes any free one.
    pub address: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Connections are under TLS.
    pub tls: Option<Tls>,
    /// Who may connect: clients, as a PROXY header tells them where there has to be one.
    pub sources: Sources,
    /// Connections come from these and begin with a PROXY protocol header, version 1 or 2, in
    /// front of TLS; others are refused. `None`: there is no such header.
    pub proxies: Option<Sources>,
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
        /// Callers are other proxies: what their `Forwarded` and `X-Forwarded-*` fields say is
        /// kept and added to. Otherwise those fields are replaced.
        trusts_forwarded: bool,
        /// Of requests that come without a trace (W3C's `traceparent`), so many in a hundred get
        /// one that says that it is recorded; the others get one that says it is not.
        traces_percent: u32,
    },
}

impl Listener {
    /// A listener without TLS, for everybody, with the usual limits.
    pub fn new(name: &str, address: &str, protocol: Protocol) -> Self {
        Listener {
            name: name.to_owned(),
            address: address.to_owned(),
            protocol,
            tls: None,
            sources: Sources::default(),
            proxies: None,
            limits: ListenerLimits::default(),
        }
    }
}

/// The certificates of a listener, and what clients have to show. A later snapshot's are those
/// of later handshakes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// Of two for the same name the first is shown.
    pub certificates: Vec<Certificate>,
    /// What is shown to who asks for no name, or for one that no certificate is for.
    pub fallback: Fallback,
    /// What clients have to show; `None`: nothing.
    pub clients: Option<ClientTrust>,
}

/// A certificate, and whom it is shown to.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// For these names, each one exact or `*.` and a name; none: for those that stand in it.
    pub names: Vec<String>,
    /// The certificate and its key.
    pub shown: ShownCertificate,
}

/// What is shown where no certificate is for the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The first of all.
    #[default]
    First,
    /// One that the gateway made for itself, which nobody trusts.
    SelfSigned,
    /// Nothing: the handshake fails.
    Refuse,
}

/// Which certificates clients show (mutual TLS).
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTrust {
    /// They are issued under one of these.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whether they have to.
    pub demand: ClientCertificate,
}

/// What clients of a listener may take, in time and in memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
