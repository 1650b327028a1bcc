//! Bodies that take their time, trailers, and WebSockets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use atoll_gateway::core::config::Backend;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONNECTION, HeaderValue, TE, TRAILER, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    clients::{AnyBody, Client1, ask_raw, connect, connect_http2, read_exactly, whole},
    endpoints::{http, read_head, serve},
    rig::{Rig, cluster, in_time, until, web},
};

fn channel() -> (
    http_body_util::channel::Sender<Bytes, std::io::Error>,
    AnyBody,
) {
    let (sender, body) = Channel::new(1);
    (sender, body.map_err(Into::into).boxed())
}

#[tokio::test]
async fn bodies_are_passed_on_as_they_come() {
    // Answers each part of the body as soon as it has come.
    let endpoint = http(|request: Request<Incoming>| async {
        let body = request.into_body();
        let parts = futures_util::stream::unfold(body, |mut body| async {
            let frame = body.frame().await?.ok()?;
            let part = frame.into_data().ok()?;
            let answer = Bytes::from(format!("<{}>", String::from_utf8_lossy(&part)));
            Some((Ok::<_, std::io::Error>(Frame::data(answer)), body))
        });
        Response::new(StreamBody::new(parts))
    })
    .await;
    for backend in [Backend::Http1, Backend::Http2] {
        let mut cluster = cluster(&[endpoint.address]);
        cluster.backend = backend;
        let rig = Rig::start(web(cluster));
        let mut client = connect_http2(rig.address("web").await).await;
        let (mut sender, body) = channel();
        let request = Request::post("http://a/").body(body).unwrap();
        let sending = client.send_request(request);
        let asked = async {
            sender.send_data(Bytes::from("one")).await.unwrap();
            let mut answer = sending.await.unwrap().into_body();
            let mut next = async || {
                let frame = answer.frame().await.unwrap().unwrap();
                frame.into_data().unwrap()
            };
            assert_eq!(next().await, "<one>");
            // The second part is sent only when the first one was answered.
            sender.send_data(Bytes::from("two")).await.unwrap();
            assert_eq!(next().await, "<two>");
            drop(sender);
        };
        in_time("the talk", asked).await;
    }
}

#[tokio::test]
async fn trailers_go_through() {
    let endpoint = http(|request: Request<Incoming>| async {
        let asks = request.headers().get(TE).cloned();
        let came = request.into_body().collect().await.unwrap();
        let sum = came.trailers().and_then(|it| it.get("x-sum").cloned());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert(
            "x-te",
            asks.unwrap_or_else(|| HeaderValue::from_static("none")),
        );
        trailers.insert(
            "x-came",
            sum.unwrap_or_else(|| HeaderValue::from_static("none")),
        );
        let body = Full::new(came.to_bytes()).with_trailers(async move { Some(Ok(trailers)) });
        let mut response = Response::new(body);
        let names = HeaderValue::from_static("grpc-status, x-te, x-came");
        response.headers_mut().insert(TRAILER, names);
        response
    })
    .await;
    for (backend, te) in [(Backend::Http2, "trailers"), (Backend::Http1, "none")] {
        let mut cluster = cluster(&[endpoint.address]);
        cluster.backend = backend;
        let rig = Rig::start(web(cluster));
        let mut client = connect_http2(rig.address("web").await).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let body = Full::new(Bytes::from("message"));
        let body = body.with_trailers(async move { Some(Ok(trailers)) });
        let request = Request::post("http://a/a.Service/Call")
            .header(TE, "trailers")
            .header(TRAILER, "x-sum")
            .header("content-type", "application/grpc")
            .body(body.map_err(|never| match never {}).boxed())
            .unwrap();
        let response = in_time("an answer", client.send_request(request))
            .await
            .unwrap();
        let answer = whole(response).await;
        let trailers = answer.trailers.unwrap_or_default();
        assert_eq!(answer.text, "message");
        if backend == Backend::Http2 {
            assert_eq!(trailers["grpc-status"], "0");
            assert_eq!(trailers["x-te"], te);
            assert_eq!(trailers["x-came"], "7");
        }
    }
}

#[tokio::test]
async fn a_slow_reader_is_waited_for_and_not_read_ahead_for() {
    const PART_BYTES: usize = 64 * 1024;
    const PARTS: usize = 1_024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let endpoint = serve(move |mut stream, _| {
        let sent = counted.clone();
        async move {
            read_head(&mut stream).await;
            let length = PART_BYTES * PARTS;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let part = vec![b'x'; PART_BYTES];
            while stream.write_all(&part).await.is_ok() {
                if sent.fetch_add(PART_BYTES, Ordering::SeqCst) + PART_BYTES == length {
                    break;
                }
            }
        }
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let mut stream = connect(rig.address("web").await).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let start = read_exactly(&mut stream, 15).await;
    assert_eq!(start, "HTTP/1.1 200 OK");
    // The endpoint comes to a halt: what it sent fits into the sockets' buffers.
    let mut last = usize::MAX;
    in_time("the halt", async {
        while last != sent.load(Ordering::SeqCst) {
            last = sent.load(Ordering::SeqCst);
            atoll_world::clock::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    assert!(
        last < PART_BYTES * PARTS / 2,
        "{last} bytes were taken ahead"
    );
    let mut rest = 0;
    let mut buffer = vec![0; PART_BYTES];
    in_time("the rest", async {
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            rest += read;
        }
    })
    .await;
    assert!(rest >= PART_BYTES * PARTS);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let endpoint = serve(|mut stream, _| async move {
        read_head(&mut stream).await;
        let part = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let _ = stream.write_all(part).await;
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let answer = ask_raw(
        rig.address("web").await,
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;
    assert!(
        answer.contains("abc") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
}

async fn websocket_endpoint() -> crate::endpoints::Served {
    http(|mut request: Request<Incoming>| async move {
        let mut response = Response::new(Full::new(Bytes::new()));
        if request.uri().path() == "/no" {
            return response;
        }
        let upgraded = hyper::upgrade::on(&mut request);
        drop(atoll_world::task::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            stream.write_all(b"hello").await.unwrap();
            let mut buffer = [0; 64];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..read]).await.unwrap();
            }
        }));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("sec-websocket-accept", HeaderValue::from_static("x"));
        response
    })
    .await
}

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n";

#[tokio::test]
async fn websockets_are_tunnels() {
    let endpoint = websocket_endpoint().await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let address = rig.address("web").await;
    let mut stream = connect(address).await;
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let head = in_time("the head", read_head(&mut stream)).await.unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-accept: x\r\n",
    ] {
        assert!(head.contains(field), "{head}");
    }
    assert_eq!(read_exactly(&mut stream, 5).await, "hello");
    // What would be refused in a request means nothing in a tunnel.
    stream.write_all(b"\n\r\0GET").await.unwrap();
    assert_eq!(read_exactly(&mut stream, 6).await, "\n\r\0GET");
    let stats = rig.stats();
    assert_eq!((stats.tunnels_open.open(), stats.answers[0].get()), (1, 1));
    drop(stream);
    until("the tunnel's end", || stats.tunnels_open.open() == 0).await;
    until("the connection's end", || {
        stats.connections_open.open() == 0
    })
    .await;
    assert_eq!(rig.gateway.endpoints()["a"][0].open, 0);
}

#[tokio::test]
async fn what_is_no_tunnel_is_not_made_one() {
    let endpoint = websocket_endpoint().await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let address = rig.address("web").await;
    // The endpoint declines, and the connection serves the next request.
    let mut client = Client1::connect(address).await;
    let declined = Request::get("/no")
        .header("host", "a")
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .body(crate::clients::body(""))
        .unwrap();
    assert_eq!(
        whole(client.send(declined).await).await.status,
        StatusCode::OK
    );
    assert_eq!(client.get("/no").await.status, StatusCode::OK);
    // Other protocols are not passed on: the endpoint would have switched.
    let h2c = HANDSHAKE.replace("websocket\r\n", "h2c\r\n");
    let answer = ask_raw(address, h2c.replace("keep-alive", "close")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    // Nor is anything that comes before the answer to the upgrade.
    let answer = ask_raw(
        address,
        format!("{HANDSHAKE}GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    )
    .await;
    assert!(!answer.contains("101"), "{answer}");
    assert_eq!(rig.stats().malformed.get(), 1);
}
