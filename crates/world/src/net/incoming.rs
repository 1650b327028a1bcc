//! Connections as they are accepted: what stands in front is read, and then it is decided whether
//! they are under TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::RwLock;
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::LazyConfigAcceptor;

use super::{HANDSHAKE_TIMEOUT, NetError, Stream, stream::Kind, within};
use crate::pki::tls::PEER_ALPN;

/// An accepted connection, of which it is not decided yet what it carries. What stands in front
/// of everything else, as a PROXY header, is read from it directly; nothing behind it may be.
#[derive(Debug)]
pub struct Incoming {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
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

impl AsyncRead for Incoming {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buf)
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
