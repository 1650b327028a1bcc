//! Clients: one that says exactly what it is told, and those of a library.

use std::net::SocketAddr;

use atoll_world::{
    net::{self, Stream},
    task,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{endpoints::Spawner, rig::in_time};

pub(crate) type AnyBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub(crate) fn body(text: impl Into<Bytes>) -> AnyBody {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed()
}

pub(crate) async fn connect(address: SocketAddr) -> Stream {
    let limit = std::time::Duration::from_secs(5);
    net::connect(&address.to_string(), limit).await.unwrap()
}

/// What comes until the other side is done.
pub(crate) async fn read_all(stream: &mut Stream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    in_time("the end", async {
        // A reset is an end as well.
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..read]);
        }
    })
    .await;
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn read_exactly(stream: &mut Stream, bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    in_time("bytes", stream.read_exact(&mut buffer))
        .await
        .unwrap();
    String::from_utf8(buffer).unwrap()
}

/// Sends this and gives what comes until the other side is done.
pub(crate) async fn ask_raw(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = connect(address).await;
    let _ = stream.write_all(request.as_ref()).await;
    read_all(&mut stream).await
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn whole(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let collected = in_time("a body", body.collect()).await.unwrap();
    let trailers = collected.trailers().cloned();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(collected.to_bytes().to_vec()).unwrap(),
        trailers,
    }
}

/// A connection of HTTP/1.1.
pub(crate) struct Client1(pub(crate) http1::SendRequest<AnyBody>);

impl Client1 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TokioIo::new(connect(address).await);
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        drop(task::spawn(connection.with_upgrades()));
        Client1(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<AnyBody>) -> Response<Incoming> {
        in_time("an answer", async {
            self.0.ready().await.unwrap();
            self.0.send_request(request).await.unwrap()
        })
        .await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "a");
        whole(self.send(request.body(body("")).unwrap()).await).await
    }

    pub(crate) async fn post(&mut self, path: &str, text: impl Into<Bytes>) -> Answer {
        let request = Request::post(path).header("host", "a");
        whole(self.send(request.body(body(text)).unwrap()).await).await
    }
}

/// A connection of HTTP/2.
pub(crate) async fn connect_http2(address: SocketAddr) -> http2::SendRequest<AnyBody> {
    let stream = TokioIo::new(connect(address).await);
    let (sender, connection) = http2::handshake(Spawner, stream).await.unwrap();
    drop(task::spawn(connection));
    sender
}
