//! Connections to endpoints: plain, or under the TLS of their cluster.
//!
//! An endpoint that is not who it should be is counted and told of in the log, with what to do
//! about it: once, until it is believed again.

use std::{sync::atomic::Ordering, time::Duration};

use atoll_world::net::{self, Distrust, NetError, Stream};
use tokio::io::AsyncWriteExt;

use super::{
    Shared,
    state::{ClusterState, EndpointState},
    stats::Stats,
};

/// What is to be spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// What a client of a TCP listener speaks.
    Bytes,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Nothing: it is only seen whether there is somebody.
    Nothing,
}

impl Speaks {
    /// What is asked for by ALPN.
    fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Speaks::Bytes | Speaks::Nothing => &[],
            Speaks::Http1 => &[b"http/1.1"],
            Speaks::Http2 => &[b"h2"],
        }
    }
}

/// Connects to an endpoint, and remembers it if that failed. `preface` is sent first, in front of
/// TLS.
///
/// # Errors
/// It could not be reached in time, or is not who it should be.
pub(crate) async fn connect_to(
    endpoint: &EndpointState,
    cluster: &ClusterState,
    speaks: Speaks,
    preface: &[u8],
    shared: &Shared,
) -> Result<Stream, NetError> {
    let limit = Duration::from_millis(cluster.config.timeouts.connect_ms);
    let connected = open(endpoint, cluster, speaks, preface, limit, &shared.stats).await;
    match &connected {
        Ok(_) => {
            shared.stats.connects.add_one();
            endpoint.reach.reached();
        }
        Err(error) => {
            shared.stats.connect_failures.add_one();
            let now_ms = shared.start.elapsed_ms();
            endpoint.reach.failed(now_ms);
            cluster.failed(endpoint, now_ms, &shared.stats);
            tracing::debug!(cluster = %cluster.name, %error, "an endpoint takes no connection");
        }
    }
    connected
}

/// Opens a connection to an endpoint.
///
/// # Errors
/// It could not be reached in time, or is not who it should be.
pub(super) async fn open(
    endpoint: &EndpointState,
    cluster: &ClusterState,
    speaks: Speaks,
    preface: &[u8],
    limit: Duration,
    stats: &Stats,
) -> Result<Stream, NetError> {
    let address = endpoint.address.to_string();
    let tls = cluster.config.tls.as_ref();
    let tls = tls.filter(|tls| tls.wraps_tcp || speaks != Speaks::Bytes);
    let (Some(tls), Some(calling)) = (tls, &cluster.calling) else {
        let mut stream = net::connect(&address, limit).await?;
        let written = stream.write_all(preface).await;
        written.map_err(|source| NetError::Socket { address, source })?;
        return Ok(stream);
    };
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => endpoint.address.ip().to_string(),
    };
    let config = calling.asking_for(speaks.alpn());
    let opened = net::connect_tls_behind(&address, preface, &name, config, limit).await;
    let opened = opened.and_then(|stream| agreed(stream, speaks));
    match &opened {
        Ok(_) => endpoint.is_distrusted.store(false, Ordering::Relaxed),
        Err(error) => {
            if let Some(why) = error.distrust() {
                distrusted(endpoint, cluster, why, error, stats);
            }
        }
    }
    opened
}

/// HTTP/2 under TLS has to be agreed on (RFC 9113 section 3.2).
fn agreed(stream: Stream, speaks: Speaks) -> Result<Stream, NetError> {
    if speaks != Speaks::Http2 || stream.alpn() == Some(b"h2") {
        return Ok(stream);
    }
    Err(NetError::NotSpoken {
        address: stream.peer_address().to_string(),
        protocol: "h2".to_owned(),
    })
}

/// Counts and tells that there is no TLS with an endpoint.
pub(super) fn distrusted(
    endpoint: &EndpointState,
    cluster: &ClusterState,
    why: Distrust,
    error: &dyn std::fmt::Display,
    stats: &Stats,
) {
    stats.endpoint_handshake_failures.add_one();
    if !endpoint.is_distrusted.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            cluster = %cluster.name,
            endpoint = %endpoint.address,
            %error,
            todo = advice(why),
            "there is no TLS with an endpoint, so it gets no requests"
        );
    }
}

/// What to do about it; settings are those of `gateway.toml` and, behind `/`, annotations.
fn advice(why: Distrust) -> &'static str {
    match why {
        Distrust::Name => {
            "its certificate is for other names: set server_name / backend-tls-server-name to one \
             of them"
        }
        Distrust::Issuer => {
            "set ca / backend-tls-ca-secret to the certificate of who issued its certificate"
        }
        Distrust::Time => "renew its certificate, or set the clocks",
        Distrust::Certificate => {
            "have it show a certificate for a server, and not an authority's own (CA:FALSE)"
        }
        Distrust::Ours => {
            "it does not accept this node's certificate: set cert and key / \
             backend-tls-client-secret to one of an issuer that it trusts"
        }
        Distrust::NoTls => "it speaks no TLS at this port: leave out tls / backend-tls",
        Distrust::Protocol => {
            "it does not speak what it is asked for: set protocol / the Service's appProtocol"
        }
    }
}
