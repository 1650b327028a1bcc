//! The accept loops: clients on one listener, peers and joiners on the other.

use std::sync::Arc;

use atoll_control::{
    driver::control::Control,
    face::{self, Connection, Limits, Router},
};
use atoll_kv::{driver::Kv, face::server::Server};
use atoll_services::face::Api;
use atoll_world::{
    net::{Incoming, Listener, NetError, Stream},
    peers::tls::TlsPeers,
    task,
};
use axum::{body::Body, http::Request};
use hyper::body::Incoming as RequestBody;
use tokio::sync::watch;

use super::{Acceptor, join::Door};

/// Serves clients until the node stops.
pub(super) async fn clients(
    listener: Listener,
    tls: Option<Acceptor>,
    router: Router<Control>,
    mut stopped: watch::Receiver<bool>,
) {
    let loopback = listener.local_address().ip().is_loopback();
    loop {
        let incoming = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            incoming = listener.accept() => incoming,
        };
        let (router, tls, stopped) = (router.clone(), tls.clone(), stopped.clone());
        task::spawn(async move {
            let stream = match shake(incoming, tls.as_ref()).await {
                Ok(stream) => stream,
                Err(error) => {
                    return tracing::debug!(%error, "a client did not get through the handshake");
                }
            };
            client(stream, router, loopback, stopped).await;
        });
    }
}

async fn shake(incoming: Incoming, tls: Option<&Acceptor>) -> Result<Stream, NetError> {
    match tls {
        Some(acceptor) => incoming.handshake(acceptor).await,
        None => Ok(incoming.plain()),
    }
}

async fn client(
    stream: Stream,
    router: Router<Control>,
    loopback: bool,
    mut stopped: watch::Receiver<bool>,
) {
    let connection = Connection {
        peer_common_name: stream.peer_common_name(),
        loopback,
        tls: stream.is_tls(),
    };
    let shutdown = async move {
        // An error means that the node is gone, which is the same.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = face::serve_connection(stream, router, connection, shutdown).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "a client's connection ended"
        );
    }
}

/// Serves clients of the Kubernetes API until the node stops.
pub(super) async fn kubernetes(
    listener: Listener,
    tls: Acceptor,
    api: Api<Control>,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let loopback = listener.local_address().ip().is_loopback();
    let limits = Arc::new(limits);
    loop {
        let incoming = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            incoming = listener.accept() => incoming,
        };
        let (api, tls, limits) = (api.clone(), tls.clone(), limits.clone());
        let mut stopped = stopped.clone();
        task::spawn(async move {
            let stream = match incoming.handshake(&tls).await {
                Ok(stream) => stream,
                Err(error) => {
                    return tracing::debug!(%error, "a client did not get through the handshake");
                }
            };
            let connection = Arc::new(Connection {
                peer_common_name: stream.peer_common_name(),
                loopback,
                tls: true,
            });
            let answer = move |request: Request<RequestBody>| {
                api.clone()
                    .answer(request.map(Body::new), connection.clone())
            };
            let shutdown = async move {
                // An error means that the node is gone, which is the same.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            let served = face::serve_requests(stream, &limits, answer, shutdown).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a client's connection ended");
            }
        });
    }
}

/// Serves peers and joiners until the node stops.
pub(super) async fn peers(
    listener: Listener,
    acceptor: Acceptor,
    peers: Arc<TlsPeers>,
    door: Door,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let incoming = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            incoming = listener.accept() => incoming,
        };
        let (acceptor, peers, door) = (acceptor.clone(), peers.clone(), door.clone());
        task::spawn(async move {
            match incoming.handshake(&acceptor).await {
                Ok(stream) if stream.is_peer_link() => peers.accept(stream),
                Ok(stream) => door.serve(stream).await,
                Err(error) => tracing::debug!(%error, "a peer did not get through the handshake"),
            }
        });
    }
}

/// Serves Redis clients until the node stops.
pub(super) async fn redis(
    listener: Listener,
    tls: Option<Acceptor>,
    server: Server<Kv>,
    mut stopped: watch::Receiver<bool>,
) {
    let local = listener.local_address();
    loop {
        let incoming = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            incoming = listener.accept() => incoming,
        };
        let (server, tls, mut stopped) = (server.clone(), tls.clone(), stopped.clone());
        task::spawn(async move {
            let peer = incoming.peer_address();
            let stream = match shake(incoming, tls.as_ref()).await {
                Ok(stream) => stream,
                Err(error) => {
                    return tracing::debug!(%error, "a client did not get through the handshake");
                }
            };
            let shutdown = async move {
                // An error means that the node is gone, which is the same.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            };
            if let Err(error) = server.serve_connection(stream, peer, local, shutdown).await {
                tracing::debug!(%peer, %error, "a client's connection ended");
            }
        });
    }
}
