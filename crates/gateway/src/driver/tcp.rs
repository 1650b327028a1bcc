//! Connections of TCP listeners: an endpoint is picked, connected to, and bytes go both ways
//! until both sides are done. One side may end while the other still speaks (half close). A
//! snapshot that comes meanwhile changes nothing for a connection that is open.

use std::{net::SocketAddr, time::Duration};

use atoll_world::{
    clock,
    net::{NetError, Stream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, copy_bidirectional},
    sync::watch,
};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Shared, Stage,
    idle::Idle,
    open::{Speaks, connect_to},
    reached,
    state::ClusterState,
};
use crate::core::{
    breaker::Permit,
    proxy_header::{self, HEADER_BYTES_MAX, Header, Parsed},
};

/// Why a connection was not served to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TcpError {
    /// The snapshot in force has no such cluster.
    #[error("the cluster is gone")]
    NoCluster,
    /// Nobody to connect to.
    #[error("no endpoint is available")]
    NoEndpoint,
    /// As many connections as the cluster may have.
    #[error("the cluster has as many connections as it may have")]
    Limited,
    /// The endpoints that were tried.
    #[error("could not connect: {0}")]
    Connect(#[source] NetError),
    /// It broke, or was silent for too long.
    #[error("the connection broke: {0}")]
    Broke(#[source] std::io::Error),
}

/// Reads the PROXY header that a connection begins with, and nothing behind it.
///
/// # Errors
/// There is none, or it did not come in time.
pub(crate) async fn read_proxy_header(
    stream: &mut (impl AsyncRead + Unpin),
    limit_ms: u64,
) -> std::io::Result<Header> {
    let read = async {
        let mut bytes = Vec::with_capacity(64);
        loop {
            match proxy_header::parse(&bytes).map_err(std::io::Error::other)? {
                Parsed::Header(header) => return Ok(header),
                Parsed::Needs(more) => {
                    let filled = bytes.len();
                    assert!(filled + more <= HEADER_BYTES_MAX, "headers are bounded");
                    bytes.resize(filled + more, 0);
                    stream.read_exact(&mut bytes[filled..]).await?;
                }
            }
        }
    };
    let limit = Duration::from_millis(limit_ms);
    clock::timeout(limit, read)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Who a connection is between, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The client.
    pub(crate) source: SocketAddr,
    /// Where it connected to.
    pub(crate) destination: SocketAddr,
}

/// Serves a connection to its end.
///
/// # Errors
/// It was not served, or it broke.
pub(crate) async fn serve(
    mut client: Stream,
    ends: Ends,
    cluster: &str,
    shared: &Shared,
    mut stages: watch::Receiver<Stage>,
) -> Result<(), TcpError> {
    let table = shared.table();
    let cluster = table.clusters.get(cluster).ok_or(TcpError::NoCluster)?;
    let cluster = cluster.clone();
    drop(table);
    shared.stats.tcp_connections.add_one();
    let taken = cluster
        .load
        .connections
        .take(cluster.config.limits.connections_max);
    let Some(_connection) = taken else {
        shared.stats.limited.add_one();
        return Err(TcpError::Limited);
    };
    let (endpoint, _open) = connect(&cluster, ends, shared).await?;
    let mut endpoint = Idle::new(endpoint, cluster.config.timeouts.idle_ms, false);
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut endpoint) => {
            copied.map(|_| ()).map_err(TcpError::Broke)
        }
        () = reached(&mut stages, Stage::Cut) => Ok(()),
    }
}

async fn connect(
    cluster: &ClusterState,
    ends: Ends,
    shared: &Shared,
) -> Result<(Stream, Permit), TcpError> {
    let key = xxh3_64(ends.source.ip().to_string().as_bytes());
    let version = cluster.config.sends_proxy_header;
    let preface = version.map(|it| proxy_header::encode(it, ends.source, ends.destination));
    let preface = preface.unwrap_or_default();
    let mut tried = Vec::new();
    let mut error = TcpError::NoEndpoint;
    // Nothing was sent yet, so that the next one can always be tried.
    for attempt in 0..=cluster.config.retries.attempts_max {
        let now_ms = shared.start.elapsed_ms();
        let picked = cluster.pick(key, &tried, now_ms);
        let Some(place) = picked.filter(|it| !tried.contains(it)) else {
            break;
        };
        if attempt > 0 {
            shared.stats.retries.add_one();
        }
        let endpoint = &cluster.endpoints[place];
        let open = endpoint.open.enter();
        let started_us = shared.start.elapsed_us();
        match connect_to(endpoint, cluster, Speaks::Bytes, &preface, shared).await {
            Ok(stream) => {
                let now_us = shared.start.elapsed_us();
                cluster.succeeded(endpoint, now_us - started_us, now_us);
                return Ok((stream, open));
            }
            Err(failed) => error = TcpError::Connect(failed),
        }
        tried.push(place);
    }
    Err(error)
}
