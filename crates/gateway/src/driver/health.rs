//! Active health checks: every cluster that asks for them has one task, which asks all its
//! endpoints at the same time, in every interval anew. What comes out is the endpoint's, and so
//! every listener's and route's.

use std::{net::SocketAddr, time::Duration};

use atoll_world::{clock, net::Stream, task};
use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::{http1, http2},
    header::{CONTENT_TYPE, HOST, TE},
};
use hyper_util::rt::TokioIo;

use super::{
    Shared,
    http::Spawner,
    open::{Speaks, open},
    state::{ClusterState, EndpointState},
};
use crate::core::config::{HealthCheck, Probe};

/// How many endpoints of a cluster are asked at the same time.
const PROBES_MAX: usize = 64;
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4_096;
/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`, as the message's only field.
const SERVING: &[u8] = &[0x08, 0x01];
/// A message of gRPC begins with a flag and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// Asks the endpoints of a cluster, until the cluster or its checks are gone.
pub(crate) async fn watch(cluster: String, shared: Shared) {
    loop {
        let state = shared.table().clusters.get(&cluster).cloned();
        let Some((state, check)) =
            state.and_then(|it| Some((it.clone(), it.config.health.clone()?)))
        else {
            return;
        };
        let (asked, cluster, about) = (&check, &cluster, &shared);
        let of = &state;
        let endpoints = state.endpoints.clone().into_iter();
        let probes = endpoints.map(|endpoint| async move {
            let is_good = ask(&endpoint, of, asked, about).await;
            endpoint.checked(asked, is_good, cluster, about);
        });
        stream::iter(probes)
            .buffer_unordered(PROBES_MAX)
            .collect::<()>()
            .await;
        drop(state);
        clock::sleep(Duration::from_millis(check.interval_ms)).await;
        if shared.table.has_changed().is_err() {
            return;
        }
    }
}

async fn ask(
    endpoint: &EndpointState,
    cluster: &ClusterState,
    check: &HealthCheck,
    shared: &Shared,
) -> bool {
    let limit = Duration::from_millis(check.timeout_ms);
    let address = endpoint.address;
    let speaks = match check.probe {
        Probe::Tcp => Speaks::Nothing,
        Probe::Http { .. } => Speaks::Http1,
        Probe::Grpc { .. } => Speaks::Http2,
    };
    let asked = async {
        let opened = open(endpoint, cluster, speaks, &[], limit, &shared.stats);
        let stream = opened.await.ok()?;
        match &check.probe {
            Probe::Tcp => Some(true),
            Probe::Http { path, host } => {
                let host = host.clone().unwrap_or_else(|| address.to_string());
                ask_http(stream, path, &host).await
            }
            Probe::Grpc { service } => ask_grpc(stream, address, service).await,
        }
    };
    let answer = clock::timeout(limit, asked).await;
    matches!(answer, Ok(Some(true)))
}

async fn ask_http(stream: Stream, path: &str, host: &str) -> Option<bool> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = task::spawn(connection);
    let request = Request::builder().uri(path).header(HOST, host);
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let status = sender.send_request(request).await.ok()?.status();
    connection.abort();
    Some((200..400).contains(&status.as_u16()))
}

async fn ask_grpc(stream: Stream, address: SocketAddr, service: &str) -> Option<bool> {
    let scheme = if stream.is_tls() { "https" } else { "http" };
    let handshake = http2::handshake(Spawner, TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.ok()?;
    let connection = task::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(grpc_request(service)?))
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let is_ok = response.status() == StatusCode::OK;
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let mut message = body.collect().await.ok()?.to_bytes();
    connection.abort();
    if message.len() < GRPC_PREFIX_BYTES {
        return Some(false);
    }
    message.advance(GRPC_PREFIX_BYTES);
    Some(is_ok && message == SERVING)
}

/// `HealthCheckRequest { service = 1 }` in its frame.
fn grpc_request(service: &str) -> Option<Bytes> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // One byte for the length, as service names are short.
        let length = u8::try_from(service.len()).ok().filter(|it| *it < 0x80)?;
        message.extend_from_slice(&[0x0a, length]);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len()).ok()?];
    framed.append(&mut message);
    Some(framed.into())
}
