//! One client's connection: HTTP/1.1 or HTTP/2, told by its first bytes, or by what was agreed on
//! with TLS; with the listener's limits.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use atoll_world::net::Stream;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::sync::watch;

use super::{Spawner, forward};
use crate::{
    core::{config::ListenerLimits, fields},
    driver::{
        Shared, Stage,
        guarded::{Gate, Guarded},
        reached,
    },
};

/// What a client may send ahead on an HTTP/2 connection, and on one stream of it.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What is kept of an answer that the client does not take yet, on one stream.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Streams that a client made faulty before its HTTP/2 connection ends.
const FAULTY_STREAMS_MAX: usize = 100;
/// When a quiet HTTP/2 connection is asked whether it is still there, and for how long.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a connection ended, if not because one side was done with it.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke: {0}")]
pub(crate) struct ConnectionError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A client's connection, as its requests know it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) shared: Shared,
    pub(crate) address: SocketAddr,
    /// The listener that it came to.
    pub(crate) listener: String,
    /// New traces that are recorded, of a hundred.
    pub(crate) traces_percent: u32,
    /// What endpoints are told about it.
    pub(crate) fields: fields::Client,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stages: watch::Receiver<Stage>,
}

/// Serves a connection to its end, or until it has drained.
///
/// # Errors
/// It broke, or the client did not keep to the protocol or to the limits.
pub(crate) async fn serve(
    stream: Stream,
    client: Client,
    limits: &ListenerLimits,
) -> Result<(), ConnectionError> {
    let mut builder = auto::Builder::new(Spawner);
    builder
        .http1()
        // Silence is noticed by what guards the connection.
        .header_read_timeout(None)
        .max_headers(limits.fields_max)
        .max_buf_size(limits.head_bytes_max);
    let head_bytes_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(head_bytes_max)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(limits.resets_max)
        .max_local_error_reset_streams(FAULTY_STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let (gate, mut stages) = (client.gate.clone(), client.stages.clone());
    let stats = client.shared.stats.clone();
    let client = Arc::new(client);
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(forward::answer(&client, request).await) }
    });
    let is_http2 = stream.alpn() == Some(b"h2");
    let io = TokioIo::new(Guarded::new(stream, gate, limits, stats, is_http2));
    let mut drain = stages.clone();
    let mut serving = pin!(builder.serve_connection_with_upgrades(io, service));
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = reached(&mut drain, Stage::Drain) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                served = serving.as_mut() => served,
                () = reached(&mut stages, Stage::Cut) => Ok(()),
            }
        }
    };
    served.map_err(ConnectionError)
}
