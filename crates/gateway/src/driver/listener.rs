//! One listener: connections are accepted, counted, and served in tasks of their own, by what
//! the snapshot in force says of the listener in that moment.

use std::sync::Arc;

use atoll_world::{
    net::{Incoming, Listener as Socket, TlsAcceptor},
    task,
};
use hyper::header::HeaderValue;
use tokio::sync::watch;

use super::{
    Shared, Stage,
    http::serve::{self, Client},
    reached,
    tcp::{self, Ends},
};
use crate::core::{
    breaker::Gauge,
    config::{Listener, Protocol},
    fields,
    proxy_header::Header,
};

/// Accepts connections until the listener is closed.
pub(crate) async fn run(
    name: String,
    socket: Socket,
    shared: Shared,
    stages: watch::Receiver<Stage>,
) {
    let connections = Gauge::default();
    let mut closing = stages.clone();
    let mut closed = std::pin::pin!(reached(&mut closing, Stage::Drain));
    loop {
        let incoming = tokio::select! {
            incoming = socket.accept() => incoming,
            () = &mut closed => return,
        };
        let table = shared.table();
        let config = table.config.listeners.iter().find(|it| it.name == name);
        let Some(config) = config else { continue };
        let Some(place) =
            connections.take(u32::try_from(config.limits.connections_max).unwrap_or(u32::MAX))
        else {
            shared.stats.limited.add_one();
            continue;
        };
        let counted = shared.stats.connections_open.enter();
        let connection = Connection {
            config: config.clone(),
            acceptor: table.acceptor(&name).cloned(),
            shared: shared.clone(),
            stages: stages.clone(),
            local: socket.local_address(),
        };
        drop(task::spawn(async move {
            connection.serve(incoming).await;
            drop((place, counted));
        }));
    }
}

struct Connection {
    config: Listener,
    acceptor: Option<TlsAcceptor>,
    shared: Shared,
    stages: watch::Receiver<Stage>,
    local: std::net::SocketAddr,
}

impl Connection {
    async fn serve(self, mut incoming: Incoming) {
        let peer = incoming.peer_address();
        let limits = self.config.limits.clone();
        let protocol = self.config.protocol.clone();
        let Some(ends) = self.ends(&mut incoming).await else {
            return;
        };
        if !self.config.sources.permit(ends.source.ip()) {
            return self.shared.stats.forbidden.add_one();
        }
        let stream = match &self.acceptor {
            // In a box, like what a connection's task does for a moment only: it takes its room
            // as long as the connection lasts.
            Some(acceptor) => match Box::pin(incoming.handshake(acceptor)).await {
                Ok(stream) => stream,
                Err(error) => {
                    self.shared.stats.handshake_failures.add_one();
                    return tracing::debug!(%peer, %error, "no TLS");
                }
            },
            None => incoming.plain(),
        };
        match protocol {
            Protocol::Tcp { cluster } => {
                let served = tcp::serve(stream, ends, &cluster, &self.shared, self.stages).await;
                if let Err(error) = served {
                    tracing::debug!(%peer, %error, "a connection ended badly");
                }
            }
            Protocol::Http {
                trusts_forwarded,
                traces_percent,
            } => {
                let address = ends.source.ip().to_canonical().to_string();
                let client = Client {
                    fields: fields::Client {
                        address: HeaderValue::try_from(address).expect("an address is ASCII"),
                        is_tls: stream.is_tls(),
                        is_trusted: trusts_forwarded,
                    },
                    shared: self.shared,
                    address: ends.source,
                    listener: self.config.name,
                    traces_percent,
                    gate: Arc::default(),
                    stages: self.stages,
                };
                if let Err(error) = serve::serve(stream, client, &limits).await {
                    tracing::debug!(%peer, %error, "a connection ended badly");
                }
            }
        }
    }

    /// Whom the connection is between: what its PROXY header says, where there has to be one. It
    /// stands in front of TLS. `None`: there is none, or it is nobody's who may send one.
    async fn ends(&self, incoming: &mut Incoming) -> Option<Ends> {
        let peer = incoming.peer_address();
        let own = Ends {
            source: peer,
            destination: self.local,
        };
        let Some(proxies) = &self.config.proxies else {
            return Some(own);
        };
        if !proxies.permit(peer.ip()) {
            self.shared.stats.forbidden.add_one();
            tracing::debug!(%peer, "it is none of the proxies in front of this listener");
            return None;
        }
        match tcp::read_proxy_header(incoming, self.config.limits.head_ms).await {
            Ok(Header::Local) => Some(own),
            Ok(Header::Proxied {
                source,
                destination,
            }) => Some(Ends {
                source,
                destination,
            }),
            Err(error) => {
                tracing::debug!(%peer, %error, "no PROXY header");
                None
            }
        }
    }
}
