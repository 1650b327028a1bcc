//! Sockets: listeners and connections, with TLS or without.
//!
//! A [`Listener`] hands out [`Incoming`] connections at once; the TLS handshake is the
//! connection's own task's work and bounded in time, so that nobody who dawdles holds up the
//! others. One listener can serve peers and clients: what a TLS caller asks for
//! ([`PEER_ALPN`](crate::pki::tls::PEER_ALPN) or not) decides whom it must prove to be. Every connection sends small
//! writes at once and finds out about a dead other side by itself.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where sockets are opened"
)]

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::net::sockopt;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::{clock, random};

mod datagrams;
mod distrust;
mod incoming;
mod stream;
#[cfg(test)]
mod tests;

pub use datagrams::{Datagrams, datagrams_to, listen_datagrams};
pub use distrust::Distrust;
pub use incoming::{Incoming, TlsAcceptor};
use stream::Kind;
pub use stream::Stream;

/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// After this long without traffic a connection is probed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// How far apart the probes are.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// After this many probes without an answer the connection is dead.
const KEEPALIVE_PROBES_MAX: u32 = 3;
/// After this long without an acknowledgement of what was sent it is dead as well.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// From where a simulation draws free ports; the few behind the end are for those that go
/// together.
const SIMULATED_PORTS: std::ops::Range<u16> = 32_768..60_000;
/// How long `accept` waits when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Why a socket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Somebody listens there already.
    #[error("address {address} is taken by another process; use --port-offset or another --listen")]
    AddressTaken {
        /// Where to listen.
        address: String,
    },
    /// The address is none of this machine's.
    #[error("address {address} is not one of this machine's")]
    NotHere {
        /// Where to listen.
        address: String,
    },
    /// Not allowed to listen there.
    #[error("not permitted to listen on {address}: ports below 1024 need a privilege")]
    NotPermitted {
        /// Where to listen.
        address: String,
    },
    /// The text is no `host:port`, or the host has no address.
    #[error("{address} is not an address: {source}")]
    BadAddress {
        /// The text.
        address: String,
        /// What is wrong.
        source: io::Error,
    },
    /// Another error of the operating system.
    #[error("{address}: {source}")]
    Socket {
        /// Which address it was about.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The two sides could not agree on TLS.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// The other side.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("{address} did not answer in {} ms", after.as_millis())]
    Timeout {
        /// The other side.
        address: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The other side agreed on another protocol, or on none.
    #[error("{address} does not agree on {protocol:?}; it offers nothing of it by ALPN")]
    NotSpoken {
        /// The other side.
        address: String,
        /// What it was asked for.
        protocol: String,
    },
    /// The caller asked for a peer link, or for none, where the other is served.
    #[error("{address} asked for a protocol that is not served here")]
    NotServed {
        /// The other side.
        address: String,
    },
}

/// Listens on `host:port` (port 0: any free one).
///
/// # Errors
/// What stands in the way, in words for the person who chose the address.
pub async fn listen(address: &str) -> Result<Listener, NetError> {
    let resolved = resolve(address).await?;
    let bound = TcpListener::bind(&resolved[..]).await;
    let tcp = bound.map_err(|source| NetError::of_bind(address, source))?;
    let local = tcp.local_addr();
    let local = local.map_err(|source| NetError::Socket {
        address: address.to_owned(),
        source,
    })?;
    Ok(Listener { tcp, local })
}

impl NetError {
    /// Why it could not be listened there.
    fn of_bind(address: &str, source: io::Error) -> NetError {
        let address = address.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => NetError::AddressTaken { address },
            io::ErrorKind::AddrNotAvailable => NetError::NotHere { address },
            io::ErrorKind::PermissionDenied => NetError::NotPermitted { address },
            _ => NetError::Socket { address, source },
        }
    }
}

/// So many ports of loopback that nobody listens on right now, all different; in a simulation
/// drawn, since it has no sockets.
///
/// # Errors
/// There are not so many.
pub async fn free_ports(count: usize) -> Result<Vec<u16>, NetError> {
    if random::is_simulated() {
        let first = random::range(SIMULATED_PORTS);
        return Ok((0..count).map(|nth| first + nth as u16).collect());
    }
    let mut listeners = Vec::new();
    for _ in 0..count {
        // Held until all are found, so that none is found twice.
        listeners.push(listen("127.0.0.1:0").await?);
    }
    let ports = listeners.iter().map(|it| it.local_address().port());
    Ok(ports.collect())
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, NetError> {
    let bad = |source| NetError::BadAddress {
        address: address.to_owned(),
        source,
    };
    let resolved: Vec<_> = tokio::net::lookup_host(address)
        .await
        .map_err(bad)?
        .collect();
    if resolved.is_empty() {
        return Err(bad(io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no address",
        )));
    }
    Ok(resolved)
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    local: SocketAddr,
}

impl Listener {
    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// The next connection. What fails about single connections is left out; when the process
    /// is out of file descriptors it waits until one is free.
    pub async fn accept(&self) -> Incoming {
        loop {
            match self.tcp.accept().await {
                Ok((tcp, peer)) => match prepare(&tcp, UNACKNOWLEDGED_MAX) {
                    Ok(()) => return Incoming { tcp, peer },
                    Err(error) => tracing::debug!(%peer, %error, "a connection died at once"),
                },
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(listener = %self.local, %error, "cannot accept connections now");
                    clock::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

fn prepare(tcp: &TcpStream, unacknowledged_max: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(tcp, KEEPALIVE_PROBES_MAX)?;
    #[cfg(target_os = "linux")]
    {
        let unacknowledged_ms = u32::try_from(unacknowledged_max.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(tcp, unacknowledged_ms)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = unacknowledged_max;
    Ok(())
}

async fn within<T>(
    limit: Duration,
    address: &str,
    work: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    match clock::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(NetError::Timeout {
            address: address.to_owned(),
            after: limit,
        }),
    }
}

/// Connects to `host:port` without TLS.
///
/// # Errors
/// `BadAddress`, `Socket`, `Timeout`.
pub async fn connect(address: &str, limit: Duration) -> Result<Stream, NetError> {
    connect_tcp(address, limit, UNACKNOWLEDGED_MAX)
        .await
        .map(|(tcp, peer)| Stream {
            kind: Kind::Plain(tcp),
            peer,
        })
}

/// Connects to `host:port` with TLS; the other side must prove to be `server_name`.
///
/// # Errors
/// `BadAddress`, `Socket`, `Tls`, `Timeout`.
pub async fn connect_tls(
    address: &str,
    server_name: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Stream, NetError> {
    connect_tls_behind(address, &[], server_name, config, limit).await
}

/// As [`connect_tls`]; `preface` is sent in front of the handshake, as a PROXY header.
///
/// # Errors
/// `BadAddress`, `Socket`, `Tls`, `Timeout`.
pub async fn connect_tls_behind(
    address: &str,
    preface: &[u8],
    server_name: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Stream, NetError> {
    let open = async {
        let (mut tcp, peer) = connect_tcp(address, limit, UNACKNOWLEDGED_MAX).await?;
        let written = tcp.write_all(preface).await;
        written.map_err(|source| NetError::Socket {
            address: address.to_owned(),
            source,
        })?;
        begin_tls((tcp, peer), address, server_name, config).await
    };
    within(limit, address, open).await
}

/// As [`connect_tls`], dead after `unacknowledged_max` without an acknowledgement.
pub(crate) async fn connect_tls_with(
    address: &str,
    server_name: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
    unacknowledged_max: Duration,
) -> Result<Stream, NetError> {
    let open = async {
        let connected = connect_tcp(address, limit, unacknowledged_max).await?;
        begin_tls(connected, address, server_name, config).await
    };
    within(limit, address, open).await
}

async fn begin_tls(
    (tcp, peer): (TcpStream, SocketAddr),
    address: &str,
    server_name: &str,
    config: Arc<ClientConfig>,
) -> Result<Stream, NetError> {
    let name =
        ServerName::try_from(server_name.to_owned()).map_err(|error| NetError::BadAddress {
            address: server_name.to_owned(),
            source: io::Error::other(error),
        })?;
    let tls = TlsConnector::from(config).connect(name, tcp).await;
    let tls = tls.map_err(|source| NetError::Tls {
        address: address.to_owned(),
        source,
    })?;
    Ok(Stream {
        kind: Kind::Tls(Box::new(tls.into())),
        peer,
    })
}

async fn connect_tcp(
    address: &str,
    limit: Duration,
    unacknowledged_max: Duration,
) -> Result<(TcpStream, SocketAddr), NetError> {
    let open = async {
        let resolved = resolve(address).await?;
        let failed = |source| NetError::Socket {
            address: address.to_owned(),
            source,
        };
        let tcp = TcpStream::connect(&resolved[..]).await.map_err(failed)?;
        prepare(&tcp, unacknowledged_max).map_err(failed)?;
        let peer = tcp.peer_addr().map_err(failed)?;
        Ok((tcp, peer))
    };
    within(limit, address, open).await
}
