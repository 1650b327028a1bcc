//! Connections to one endpoint that are kept between requests.
//!
//! HTTP/1.1: a stack, so that the one used last is used next and those that are not needed age
//! and go. HTTP/2: one connection for everybody, opened by who comes first.

use std::sync::Arc;

use atoll_world::task;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;

use super::{Spawner, body::Outgoing, send::ConnectError};
use crate::driver::{
    Shared, Start,
    idle::Idle,
    open::{Speaks, connect_to},
    state::{ClusterState, EndpointState},
};

/// The head of an answer, bytes, and the fields in it.
const ANSWER_HEAD_BYTES_MAX: usize = 256 * 1024;
const ANSWER_FIELDS_MAX: usize = 256;
/// What an endpoint may send ahead on an HTTP/2 connection, and on one stream of it.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// What is kept of a request's body that the endpoint does not take yet, on one stream.
const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Sends requests on one HTTP/1.1 connection.
pub(super) type Http1 = http1::SendRequest<Outgoing>;
/// Sends requests on one HTTP/2 connection.
pub(super) type Http2 = http2::SendRequest<Outgoing>;

/// The connections of one endpoint that are free for a request.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Kept>>,
    shared: Mutex<Option<Http2>>,
    /// Held by who opens the shared one.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Kept {
    sender: Http1,
    since_ms: u64,
}

/// A connection that is in use, and where it goes afterwards.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) sender: Http1,
    pub(super) endpoint: Arc<EndpointState>,
    pub(super) idle_max: usize,
    pub(super) start: Start,
}

impl Lease {
    /// Keeps the connection for the next request.
    pub(super) fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.endpoint.pool.idle.lock();
        if idle.len() < self.idle_max {
            idle.push(Kept {
                sender: self.sender,
                since_ms: self.start.elapsed_ms(),
            });
        }
    }
}

impl Pool {
    /// A connection of HTTP/1.1 that takes a request now.
    pub(super) fn take(&self, idle_ms_max: u64, now_ms: u64) -> Option<Http1> {
        let mut idle = self.idle.lock();
        let mut place = idle.len();
        while place > 0 {
            place -= 1;
            let kept = &idle[place];
            let is_old = now_ms.saturating_sub(kept.since_ms) > idle_ms_max;
            if kept.sender.is_ready() && !is_old {
                return Some(idle.remove(place).sender);
            }
            if kept.sender.is_closed() || is_old {
                idle.remove(place);
            }
        }
        None
    }

    /// Lets connections go that are closed, or have not been used for long.
    pub(crate) fn sweep(&self, idle_ms_max: u64, now_ms: u64) {
        self.idle.lock().retain(|kept| {
            let is_old = now_ms.saturating_sub(kept.since_ms) > idle_ms_max;
            !kept.sender.is_closed() && !is_old
        });
        let mut shared = self.shared.lock();
        if shared.as_ref().is_some_and(Http2::is_closed) {
            *shared = None;
        }
    }

    /// How many are kept.
    pub(crate) fn kept(&self) -> usize {
        self.idle.lock().len()
    }

    /// The connection of HTTP/2, if there is one.
    pub(super) fn open_shared(&self) -> Option<Http2> {
        let shared = self.shared.lock();
        shared
            .as_ref()
            .filter(|sender| !sender.is_closed())
            .cloned()
    }
}

/// Opens a connection of HTTP/1.1.
///
/// # Errors
/// The endpoint can't be reached, or the cluster has as many as it may have.
pub(super) async fn connect_http1(
    endpoint: &EndpointState,
    cluster: &ClusterState,
    shared: &Shared,
) -> Result<Http1, ConnectError> {
    let limits = &cluster.config.limits;
    let waiting = cluster.load.pending.take(limits.pending_max);
    let _waiting = waiting.ok_or(ConnectError::Limited)?;
    let permit = cluster.load.connections.take(limits.connections_max);
    let permit = permit.ok_or(ConnectError::Limited)?;
    let stream = connect_to(endpoint, cluster, Speaks::Http1, &[], shared).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER_HEAD_BYTES_MAX)
        .max_headers(ANSWER_FIELDS_MAX)
        .handshake(TokioIo::new(Idle::new(stream, silence_ms(cluster), false)))
        .await
        .map_err(ConnectError::Handshake)?;
    drop(task::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an endpoint broke");
        }
        drop(permit);
    }));
    Ok(sender)
}

/// Opens the endpoint's connection of HTTP/2, unless somebody else has just done it.
///
/// # Errors
/// The endpoint can't be reached, or the cluster has as many as it may have.
pub(super) async fn connect_http2(
    endpoint: &EndpointState,
    cluster: &ClusterState,
    shared: &Shared,
) -> Result<Http2, ConnectError> {
    let limits = &cluster.config.limits;
    let waiting = cluster.load.pending.take(limits.pending_max);
    let _waiting = waiting.ok_or(ConnectError::Limited)?;
    let _opening = endpoint.pool.opening.lock().await;
    if let Some(sender) = endpoint.pool.open_shared() {
        return Ok(sender);
    }
    let permit = cluster.load.connections.take(limits.connections_max);
    let permit = permit.ok_or(ConnectError::Limited)?;
    let stream = connect_to(endpoint, cluster, Speaks::Http2, &[], shared).await?;
    let idle = Idle::new(stream, silence_ms(cluster), true);
    let (sender, connection) = http2::Builder::new(Spawner)
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(idle))
        .await
        .map_err(ConnectError::Handshake)?;
    *endpoint.pool.shared.lock() = Some(sender.clone());
    drop(task::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an endpoint broke");
        }
        drop(permit);
    }));
    Ok(sender)
}

/// An answer may be waited for longer than a body may be silent.
fn silence_ms(cluster: &ClusterState) -> u64 {
    let timeouts = &cluster.config.timeouts;
    timeouts.idle_ms.max(timeouts.response_ms)
}
