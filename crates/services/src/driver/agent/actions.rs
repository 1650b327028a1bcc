//! Probes and hooks that ask over the network: HTTP, TCP, gRPC health checks. How long they may
//! take is the caller's to say.

use std::{sync::Arc, time::Duration};

use atoll_world::{
    clock,
    net::{self, Stream},
    pki::tls,
    task,
};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request, header::HOST},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use crate::core::agent::Action;

/// How long a connection may take to come about; the caller's limit is mostly shorter.
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// So many bytes of an answer are looked at.
const ANSWER_BYTES_MAX: usize = 10 << 10;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// Does it.
///
/// # Errors
/// What was wrong, in words.
pub(super) async fn act(action: Action) -> Result<(), String> {
    match action {
        Action::Tcp { host, port } => {
            let connected = net::connect(&with_port(&host, port)?, CONNECT_MAX).await;
            connected.map(drop).map_err(|error| error.to_string())
        }
        Action::Http {
            host,
            port,
            path,
            is_tls,
            headers,
        } => http(&with_port(&host, port)?, &path, is_tls, headers).await,
        Action::Grpc {
            host,
            port,
            service,
        } => grpc(&with_port(&host, port)?, service).await,
        Action::Sleep { seconds } => {
            clock::sleep(Duration::from_secs(seconds)).await;
            Ok(())
        }
        Action::Exec { .. } => Err("a program is run by whoever runs containers".to_owned()),
    }
}

fn with_port(host: &str, port: u16) -> Result<String, String> {
    match host {
        "" => Err("the pod has no address yet".to_owned()),
        host if host.contains(':') && !host.starts_with('[') => Ok(format!("[{host}]:{port}")),
        host => Ok(format!("{host}:{port}")),
    }
}

async fn http(
    address: &str,
    path: &str,
    is_tls: bool,
    headers: Vec<(String, String)>,
) -> Result<(), String> {
    let stream = connect(address, is_tls).await?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    let connection = task::spawn(connection);
    let mut request = Request::get(path).header(HOST, address);
    let fields = request.headers_mut().ok_or("the path can't be asked for")?;
    let agent = HeaderValue::from_static("kube-probe/1.37");
    fields.insert(axum::http::header::USER_AGENT, agent);
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        fields.insert(name, value);
    }
    let request = request
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    connection.abort();
    let status = answer.map_err(|error| error.to_string())?.status().as_u16();
    match status {
        200..400 => Ok(()),
        status => Err(format!("HTTP probe failed with statuscode: {status}")),
    }
}

async fn connect(address: &str, is_tls: bool) -> Result<Stream, String> {
    let connected = match is_tls {
        false => net::connect(address, CONNECT_MAX).await,
        true => {
            let config = tls::unverified_config(&[b"http/1.1"]);
            let config = config.map_err(|error| error.to_string())?;
            net::connect_tls(address, "localhost", Arc::clone(&config), CONNECT_MAX).await
        }
    };
    connected.map_err(|error| error.to_string())
}

async fn grpc(address: &str, service: String) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let stream = connect(address, false).await?;
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| told(&error))?;
    let connection = task::spawn(connection);
    let request = HealthCheckRequest { service };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(request.encoded_len()).unwrap_or(u32::MAX));
    framed.put_slice(&request.encode_to_vec());
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(framed.freeze()))
        .map_err(|error| told(&error))?;
    let answered = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| told(&error))?;
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok::<Bytes, String>(body.to_bytes())
    };
    let body = answered.await;
    connection.abort();
    let body = body?;
    // One byte of compression, four of length.
    let message = body.get(5..).ok_or("the service has no health check")?;
    let answer = HealthCheckResponse::decode(message).map_err(|error| told(&error))?;
    match answer.status {
        SERVING => Ok(()),
        other => Err(format!("service unhealthy (responded with status {other})")),
    }
}
