//! Sockets: listeners and connections, with TLS or without.
//!
//! A [`Listener`] hands out [`Incoming`] connections at once; the TLS handshake is the
//! connection's own task's work and bounded in time, so that nobody who dawdles holds up the
//! others. One listener can serve peers and clients: what a TLS caller asks for
//! ([`PEER_ALPN`] or not) decides whom it must prove to be. Every connection sends small
//! writes at once and finds out about a dead other side by itself.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where sockets are opened"
)]

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::RwLock;
use rustix::net::sockopt;
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, ServerName},
    server::Acceptor,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use crate::{
    clock,
    pki::{Facts, tls::PEER_ALPN},
};

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
    let tcp = TcpListener::bind(&resolved[..]).await.map_err(|source| {
        let address = address.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => NetError::AddressTaken { address },
            io::ErrorKind::AddrNotAvailable => NetError::NotHere { address },
            io::ErrorKind::PermissionDenied => NetError::NotPermitted { address },
            _ => NetError::Socket { address, source },
        }
    })?;
    let local = tcp.local_addr();
    let local = local.map_err(|source| NetError::Socket {
        address: address.to_owned(),
        source,
    })?;
    Ok(Listener { tcp, local })
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

/// An accepted connection that has said nothing yet.
#[derive(Debug)]
pub struct Incoming {
    tcp: TcpStream,
    peer: SocketAddr,
}

impl Incoming {
    /// Who called.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// The connection without TLS.
    pub fn plain(self) -> Stream {
        Stream {
            kind: Kind::Plain(self.tcp),
            peer: self.peer,
        }
    }

    /// The connection under TLS. Meant for the connection's own task.
    ///
    /// # Errors
    /// `Tls`, `Timeout`, `NotServed`.
    pub async fn handshake(self, acceptor: &TlsAcceptor) -> Result<Stream, NetError> {
        let Incoming { tcp, peer } = self;
        let shake = async {
            let failed = |source| NetError::Tls {
                address: peer.to_string(),
                source,
            };
            let start = LazyConfigAcceptor::new(Acceptor::default(), tcp)
                .await
                .map_err(failed)?;
            let offers_peer_link = start
                .client_hello()
                .alpn()
                .is_some_and(|mut offered| offered.any(|name| name == PEER_ALPN));
            let config = acceptor
                .config(offers_peer_link)
                .ok_or_else(|| NetError::NotServed {
                    address: peer.to_string(),
                })?;
            let tls = start.into_stream(config).await.map_err(failed)?;
            Ok(Stream {
                kind: Kind::Tls(Box::new(tls.into())),
                peer,
            })
        };
        within(HANDSHAKE_TIMEOUT, &peer.to_string(), shake).await
    }
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

/// The certificates of a listener, which can be replaced while it runs.
#[derive(Clone, Debug, Default)]
pub struct TlsAcceptor(Arc<RwLock<AcceptorConfigs>>);

#[derive(Debug, Default)]
struct AcceptorConfigs {
    clients: Option<Arc<ServerConfig>>,
    peers: Option<Arc<ServerConfig>>,
}

impl TlsAcceptor {
    /// For callers that ask for a peer link and for all others; `None`: not served here.
    pub fn new(clients: Option<Arc<ServerConfig>>, peers: Option<Arc<ServerConfig>>) -> Self {
        TlsAcceptor(Arc::new(RwLock::new(AcceptorConfigs { clients, peers })))
    }

    /// What later handshakes use, as after a renewal.
    pub fn replace(&self, clients: Option<Arc<ServerConfig>>, peers: Option<Arc<ServerConfig>>) {
        *self.0.write() = AcceptorConfigs { clients, peers };
    }

    fn config(&self, offers_peer_link: bool) -> Option<Arc<ServerConfig>> {
        let configs = self.0.read();
        if offers_peer_link {
            configs.peers.clone()
        } else {
            configs.clients.clone()
        }
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
    connect_tls_with(address, server_name, config, limit, UNACKNOWLEDGED_MAX).await
}

/// As [`connect_tls`], dead after `unacknowledged_max` without an acknowledgement.
pub(crate) async fn connect_tls_with(
    address: &str,
    server_name: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
    unacknowledged_max: Duration,
) -> Result<Stream, NetError> {
    let shake = async {
        let name =
            ServerName::try_from(server_name.to_owned()).map_err(|error| NetError::BadAddress {
                address: server_name.to_owned(),
                source: io::Error::other(error),
            })?;
        let (tcp, peer) = connect_tcp(address, limit, unacknowledged_max).await?;
        let tls = TlsConnector::from(config).connect(name, tcp).await;
        let tls = tls.map_err(|source| NetError::Tls {
            address: address.to_owned(),
            source,
        })?;
        Ok(Stream {
            kind: Kind::Tls(Box::new(tls.into())),
            peer,
        })
    };
    within(limit, address, shake).await
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

/// A connection, with TLS or without.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    peer: SocketAddr,
}

#[derive(Debug)]
enum Kind {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

impl Stream {
    /// The other side's address.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it is under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }

    /// The protocol that both sides agreed on in the handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => tls.get_ref().1.alpn_protocol(),
        }
    }

    /// Whether it is a peer link.
    pub fn is_peer_link(&self) -> bool {
        self.alpn() == Some(PEER_ALPN)
    }

    /// The certificate that the other side showed, and which was verified.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => tls.get_ref().1.peer_certificates()?.first(),
        }
    }

    /// What that certificate says: the user of a client, the id of a node.
    pub fn peer_facts(&self) -> Option<Facts> {
        Facts::of(self.peer_certificate()?).ok()
    }

    /// The common name of that certificate: of a client, the user.
    pub fn peer_common_name(&self) -> Option<String> {
        self.peer_facts().map(|facts| facts.common_name)
    }
}

macro_rules! delegate {
    ($self:ident, $io:ident => $call:expr) => {
        match &mut $self.get_mut().kind {
            Kind::Plain($io) => {
                let $io = Pin::new($io);
                $call
            }
            Kind::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(tcp) => tcp.is_write_vectored(),
            Kind::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::id::NodeId;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        pki::{Authority, LEAF_LIFE, tls},
        task,
    };

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_taken_port_says_so_and_what_to_do() {
        let first = listen("127.0.0.1:0").await.unwrap();
        let address = first.local_address().to_string();
        let error = listen(&address).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "address {address} is taken by another process; use --port-offset or another --listen"
            )
        );
        assert!(matches!(
            listen("192.0.2.1:0").await,
            Err(NetError::NotHere { .. })
        ));
        for wrong in ["", "localhost", "127.0.0.1:99999", "no such host:1"] {
            assert!(
                matches!(listen(wrong).await, Err(NetError::BadAddress { .. })),
                "{wrong}"
            );
        }
        drop(first);
        let refused = connect(&address, LIMIT).await.unwrap_err();
        assert!(matches!(refused, NetError::Socket { source, .. }
            if source.kind() == io::ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn plain_connections_carry_bytes() {
        let listener = listen("localhost:0").await.unwrap();
        let address = listener.local_address().to_string();
        let client = task::spawn(async move {
            let mut stream = connect(&address, LIMIT).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut stream = listener.accept().await.plain();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        assert!(!stream.is_tls() && stream.alpn().is_none() && stream.peer_facts().is_none());
        client.await.unwrap();
    }

    #[tokio::test]
    async fn one_listener_for_clients_and_peers() {
        let authority = Authority::create().unwrap();
        let trust = authority.trust();
        let node = NodeId(7);
        let server = authority
            .issue_node(node, &["127.0.0.1".to_owned()], LEAF_LIFE)
            .unwrap();
        let user = authority.issue_client("alice", LEAF_LIFE).unwrap();
        let acceptor = TlsAcceptor::new(
            Some(tls::listener_config(&server, &trust, &[b"h2"]).unwrap()),
            Some(tls::peer_server_config(&server, &trust).unwrap()),
        );
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().to_string();

        let as_user = tls::client_config(&trust.roots, Some(&user), &[b"h2"]).unwrap();
        let (theirs, ours) =
            tokio::join!(connect_tls(&address, "127.0.0.1", as_user, LIMIT), async {
                listener.accept().await.handshake(&acceptor).await
            });
        let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
        assert_eq!(ours.peer_common_name().as_deref(), Some("alice"));
        assert!(ours.is_tls() && !ours.is_peer_link() && theirs.alpn() == Some(b"h2"));
        assert_eq!(theirs.peer_facts().unwrap().node_id(), Some(node));

        let as_peer = tls::peer_client_config(&server, &trust).unwrap();
        let connecting = connect_tls(&address, "atoll-node-7", as_peer.clone(), LIMIT);
        let (theirs, ours) = tokio::join!(connecting, async {
            listener.accept().await.handshake(&acceptor).await
        });
        assert!(theirs.unwrap().is_peer_link());
        assert_eq!(ours.unwrap().peer_facts().unwrap().node_id(), Some(node));

        acceptor.replace(None, None);
        let connecting = connect_tls(&address, "atoll-node-7", as_peer, LIMIT);
        let (theirs, ours) = tokio::join!(connecting, async {
            listener.accept().await.handshake(&acceptor).await
        });
        assert!(matches!(theirs, Err(NetError::Tls { .. })));
        assert!(matches!(ours, Err(NetError::NotServed { .. })));
    }

    #[tokio::test]
    async fn what_is_not_tls_is_told_apart() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().to_string();
        let (client, refused) = tokio::join!(
            async {
                let mut stream = connect(&address, LIMIT).await.unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                stream
            },
            async {
                listener
                    .accept()
                    .await
                    .handshake(&TlsAcceptor::default())
                    .await
            }
        );
        assert!(matches!(refused, Err(NetError::Tls { .. })));
        drop(client);
    }
}
