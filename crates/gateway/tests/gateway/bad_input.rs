//! Endpoints and clients that speak nonsense.

use atoll_gateway::core::config::{Backend, ListenerLimits};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::io::AsyncWriteExt;

use crate::{
    clients::{Client1, body, connect, connect_http2, read_all},
    endpoints::{http, read_head, serve},
    frames::{CONTINUATION, END_STREAM, GET, HEADERS, PING, SETTINGS, begin, frame},
    rig::{Rig, cluster, in_time, until, web},
};

/// What endpoints answer with, and which no client gets to see.
const NONSENSE: [&str; 9] = [
    "",
    "hello\r\n\r\n",
    "HTTP/1.1 abc OK\r\n\r\n",
    "HTTP/1.1 99 Low\r\n\r\n",
    "HTTP/9.9 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
];

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

#[tokio::test]
async fn nonsense_of_an_endpoint_is_its_fault() {
    for nonsense in NONSENSE {
        let endpoint = serve(move |mut stream, _| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(nonsense.as_bytes()).await;
        })
        .await;
        let rig = Rig::start(web(cluster(&[endpoint.address])));
        let mut client = Client1::connect(rig.address("web").await).await;
        let answer = client.get("/").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{nonsense:?}");
        assert!(!answer.text.contains("hello"), "{}", answer.text);
        // The client's connection goes on.
        assert_eq!(client.get("/").await.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn who_spoke_nonsense_is_not_asked_on_that_connection_again() {
    for nonsense in NONSENSE.into_iter().filter(|it| !it.is_empty()) {
        // It leaves the connection open, and would answer there as it should.
        let endpoint = serve(move |mut stream, number| async move {
            let mut answer = if number == 0 { nonsense } else { GOOD };
            while read_head(&mut stream).await.is_some() {
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
                answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            }
        })
        .await;
        let mut cluster = cluster(&[endpoint.address]);
        cluster.retries.attempts_max = 0;
        let rig = Rig::start(web(cluster));
        let mut client = Client1::connect(rig.address("web").await).await;
        let answer = client.get("/").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{nonsense:?}");
        assert_eq!(client.get("/").await.text, "good", "{nonsense:?}");
        assert_eq!(endpoint.connections(), 2, "{nonsense:?}");
    }
}

/// What comes behind an answer is nobody's: the next one on the connection would be given to
/// somebody who asked for something else.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_given_to_nobody() {
    let endpoint = serve(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            let two = format!("{GOOD}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            if stream.write_all(two.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let mut client = Client1::connect(rig.address("web").await).await;
    for number in 1..=50 {
        assert_eq!(client.get("/").await.text, "good");
        assert_eq!(endpoint.connections(), number);
    }
}

#[tokio::test]
async fn heads_of_answers_are_bounded() {
    let endpoint = serve(|mut stream, _| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X: yyyyyyyyyyyyyyyy\r\n").await.is_ok() {}
    })
    .await;
    let mut cluster = cluster(&[endpoint.address]);
    cluster.retries.attempts_max = 0;
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    assert_eq!(client.get("/").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_http2() {
    let endpoint = serve(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let mut cluster = cluster(&[endpoint.address]);
    cluster.backend = Backend::Http2;
    let rig = Rig::start(web(cluster));
    let mut client = Client1::connect(rig.address("web").await).await;
    assert_eq!(client.get("/").await.status, StatusCode::BAD_GATEWAY);
}

/// A literal field without indexing, `x: ` and 100 bytes.
const FIELD: [u8; 104] = {
    let mut field = [b'y'; 104];
    field[0] = 0;
    field[1] = 1;
    field[2] = b'x';
    field[3] = 100;
    field
};

#[tokio::test]
async fn floods_of_http2_end() {
    let endpoint =
        http(|_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("ok"))) }).await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].limits = ListenerLimits {
        head_bytes_max: 8_192,
        send_stall_ms: 500,
        ..ListenerLimits::default()
    };
    let rig = Rig::start(config);
    let address = rig.address("web").await;
    // A head that never ends, by frames with fields and by frames with none; settings and pings
    // whose answers nobody reads.
    let endless = [
        frame(CONTINUATION, 0, 1, &FIELD),
        frame(CONTINUATION, 0, 1, &[]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PING, 0, 0, &[0; 8]),
    ];
    for part in endless {
        let mut stream = connect(address).await;
        let mut bytes = begin();
        if part[3] == CONTINUATION {
            bytes.extend(frame(HEADERS, END_STREAM, 1, GET));
        }
        stream.write_all(&bytes).await.unwrap();
        let many = part.repeat(1_000);
        in_time("the cut", async {
            while stream.write_all(&many).await.is_ok() {}
        })
        .await;
        drop(stream);
        until("the end", || rig.stats().connections_open.open() == 0).await;
    }
    assert_eq!(endpoint.connections(), 0);
    // A head that is too long, and ends: others on the connection go on.
    let mut client = connect_http2(address).await;
    let long = Request::get("http://a/").header("x", "y".repeat(10_000));
    let response = client.send_request(long.body(body("")).unwrap());
    if let Ok(response) = in_time("an answer", response).await {
        assert_eq!(
            response.status(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        );
    }
    let mut client = connect_http2(address).await;
    let short = Request::get("http://a/").body(body("")).unwrap();
    let response = in_time("an answer", client.send_request(short)).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let rig = Rig::start(web(cluster(&[])));
    let address = rig.address("web").await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut stream = connect(address).await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
    }
}
