//! Clients that take too much, or too long.

use atoll_gateway::core::config::ListenerLimits;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::io::AsyncWriteExt;

use crate::{
    clients::{Client1, ask_raw, connect, connect_http2, read_all, read_exactly},
    endpoints::{Served, http, serve},
    rig::{Rig, cluster, in_time, until, web},
};

async fn works() -> Served {
    http(|request: Request<Incoming>| async {
        let _ = request.into_body().collect().await;
        Response::new(Full::new(Bytes::from("ok")))
    })
    .await
}

fn quick() -> ListenerLimits {
    ListenerLimits {
        head_ms: 200,
        keep_alive_ms: 200,
        body_idle_ms: 200,
        send_stall_ms: 200,
        head_bytes_max: 8_192,
        ..ListenerLimits::default()
    }
}

async fn rig_with(limits: ListenerLimits) -> (Rig, Served) {
    let endpoint = works().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].limits = limits;
    (Rig::start(config), endpoint)
}

#[tokio::test]
async fn heads_are_bounded() {
    let (rig, endpoint) = rig_with(quick()).await;
    let address = rig.address("web").await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    assert!(ask_raw(address, long).await.starts_with("HTTP/1.1 431 "));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    assert!(ask_raw(address, many).await.starts_with("HTTP/1.1 431 "));
    let endless = format!("GET /{} HTTP/1.1\r\n", "y".repeat(100_000));
    let answer = ask_raw(address, endless).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
    assert_eq!(endpoint.connections(), 0);
    let ok = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask_raw(address, ok).await.ends_with("ok"));
}

#[tokio::test]
async fn who_dawdles_is_cut_off() {
    let (rig, endpoint) = rig_with(quick()).await;
    let address = rig.address("web").await;
    // Nothing at all, a part of a head, and one byte after the other.
    assert_eq!(ask_raw(address, "").await, "");
    assert_eq!(ask_raw(address, "GET / HTTP/1.1\r\nHost: a\r\n").await, "");
    let mut stream = connect(address).await;
    in_time("the cut", async {
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        while stream.write_all(b"X: y\r\n").await.is_ok() {
            atoll_world::clock::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(endpoint.connections(), 0);
    // A body that does not come.
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    let answer = ask_raw(address, request).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
        "{answer}"
    );
    // Between requests it just ends.
    let answer = ask_raw(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("ok"), "{answer}");
    until("all to be gone", || {
        rig.stats().connections_open.open() == 0
    })
    .await;
    assert_eq!(rig.gateway.endpoints()["a"][0].open, 0);
}

#[tokio::test]
async fn who_waits_for_a_slow_answer_does_not_dawdle() {
    let endpoint = http(|_: Request<Incoming>| async {
        atoll_world::clock::sleep(std::time::Duration::from_millis(700)).await;
        Response::new(Full::new(Bytes::from("slow")))
    })
    .await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].limits = quick();
    let rig = Rig::start(config);
    let mut client = Client1::connect(rig.address("web").await).await;
    assert_eq!(client.get("/").await.text, "slow");
    assert_eq!(client.get("/").await.text, "slow");
}

#[tokio::test]
async fn as_many_connections_as_the_listener_may_have() {
    let (rig, _endpoint) = rig_with(ListenerLimits {
        connections_max: 1,
        ..quick()
    })
    .await;
    let address = rig.address("web").await;
    let mut first = connect(address).await;
    until("the first", || rig.stats().connections_open.open() == 1).await;
    assert_eq!(read_all(&mut connect(address).await).await, "");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    first.write_all(request).await.unwrap();
    assert_eq!(read_exactly(&mut first, 15).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let endpoint = serve(|mut stream, _| async move {
        crate::endpoints::read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let part = vec![b'x'; 65_536];
        while stream.write_all(&part).await.is_ok() {}
    })
    .await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].limits = quick();
    let rig = Rig::start(config);
    let mut stream = connect(rig.address("web").await).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    until("the request", || rig.stats().requests_open.open() == 1).await;
    until("the cut", || rig.stats().connections_open.open() == 0).await;
    assert_eq!(rig.stats().requests_open.open(), 0);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (rig, endpoint) = rig_with(ListenerLimits {
        resets_max: 10,
        ..ListenerLimits::default()
    })
    .await;
    let address = rig.address("web").await;
    let mut stream = connect(address).await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // Requests (GET, http, /, and an authority "a"), each reset in the same breath.
    for stream_id in (0..2_000u32).map(|it| 2 * it + 1) {
        let id = stream_id.to_be_bytes();
        let head = b"\x82\x86\x84\x41\x01a";
        bytes.extend_from_slice(&[0, 0, head.len() as u8, 1, 5]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(&[0, 0, 4, 3, 0]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&[0, 0, 0, 8]);
    }
    let _ = stream.write_all(&bytes).await;
    // GOAWAY says ENHANCE_YOUR_CALM, if it can be read at all.
    let _ = read_all(&mut stream).await;
    until("the end", || rig.stats().connections_open.open() == 0).await;
    assert!(endpoint.connections() <= 10, "{}", endpoint.connections());
    // Others are served as before.
    let mut client = connect_http2(address).await;
    let request = Request::get("http://a/")
        .body(crate::clients::body(""))
        .unwrap();
    let response = in_time("an answer", client.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
