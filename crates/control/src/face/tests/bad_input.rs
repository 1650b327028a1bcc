//! What clients may do wrong, and what it costs: an error for them, nothing for others.

use std::time::Duration;

use axum::http::{Request, header};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::{Node, pages};
use crate::{
    face::{Limits, unary},
    proto::{etcdserverpb as pb, v3lockpb},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const RST_STREAM: u8 = 3;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_uint(payload.len() as u64, 3);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u32(stream);
    bytes.put_slice(payload);
    bytes.to_vec()
}

/// An HTTP/2 connection by hand, after its preface and empty settings.
async fn raw(node: &Node) -> DuplexStream {
    let mut stream = node.connect();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// The next frame: kind and payload.
async fn next(stream: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    (head[3], payload)
}

/// The payload of the first frame of this kind.
async fn until(stream: &mut DuplexStream, kind: u8) -> Vec<u8> {
    loop {
        let (found, payload) = next(stream).await;
        if found == kind {
            return payload;
        }
    }
}

async fn is_well(node: &Node) {
    let (status, _) = pages::request(node, "GET", "/livez", &[], "").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_a_connection_may_have_open_is_told_at_its_beginning() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let node = Node::new();
    let mut stream = raw(&node).await;
    let settings = until(&mut stream, SETTINGS).await;
    let told = |id: u16| {
        let mut pairs = settings.chunks(6);
        let pair = pairs.find(|pair| pair[..2] == id.to_be_bytes());
        u32::from_be_bytes(pair.expect("it is told")[2..].try_into().unwrap())
    };
    let limits = Limits::default();
    assert_eq!(
        told(MAX_CONCURRENT_STREAMS),
        limits.streams_per_connection_max
    );
    assert_eq!(told(MAX_HEADER_LIST_SIZE), limits.header_list_bytes_max);
    assert_eq!(told(INITIAL_WINDOW_SIZE), limits.receive_window_bytes);
}

#[tokio::test]
async fn rapid_resets_end_their_own_connection() {
    const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    const END_HEADERS: u8 = 4;
    // POST, http, / from HPACK's static table.
    const REQUEST: [u8; 3] = [0x83, 0x86, 0x84];
    let node = Node::new();
    let mut stream = raw(&node).await;
    let mut flood = Vec::new();
    for request in 0..=Limits::default().pending_resets_max as u32 {
        let id = 2 * request + 1;
        flood.extend(frame(HEADERS, END_HEADERS, id, &REQUEST));
        flood.extend(frame(RST_STREAM, 0, id, &CANCEL));
    }
    stream.write_all(&flood).await.unwrap();
    let goaway = until(&mut stream, GOAWAY).await;
    assert_eq!(goaway[4..8], ENHANCE_YOUR_CALM);
    is_well(&node).await;
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_their_own_connection() {
    let node = Node::new();
    for wrong in [
        // Longer than was agreed.
        [&[0xff, 0xff, 0xff, 0, 0][..], &1_u32.to_be_bytes()].concat(),
        // Data of a request that never began.
        frame(0, 0, 1, b"data"),
        // Settings that are no pairs.
        frame(SETTINGS, 0, 0, &[1, 2, 3]),
        // Headers that HPACK does not know.
        frame(HEADERS, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let mut stream = raw(&node).await;
        stream.write_all(&wrong).await.unwrap();
        until(&mut stream, GOAWAY).await;
        let mut rest = Vec::new();
        // To the end of the connection; a reset is one, too.
        let _ = stream.read_to_end(&mut rest).await;
    }
    is_well(&node).await;
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused() {
    let node = Node::new();
    let long = "x".repeat(Limits::default().http1_buffer_bytes_max);
    let (status, _) = pages::request(&node, "GET", "/livez", &[("long", &long)], "").await;
    assert_eq!(status, 431);
    is_well(&node).await;
}

#[tokio::test]
async fn a_body_over_the_limit_of_the_gateway_is_refused() {
    let node = Node::with(Limits {
        request_bytes_max: 1 << 10,
        grpc_overhead_bytes: 1 << 10,
        ..Limits::default()
    });
    // Twice what a message may have: JSON is longer.
    let put = |bytes: usize| format!(r#"{{"key":"Zm9v","value":"{}"}}"#, "A".repeat(bytes));
    let (status, body) = pages::request(&node, "POST", "/v3/kv/put", &[], &put(4 << 10)).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("etcdserver: request is too large"), "{body}");
    let (status, body) = pages::request(&node, "POST", "/v3/kv/put", &[], &put(512)).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let node = Node::new();
    let mut stream = node.connect();
    let begun = atoll_world::clock::now();
    let head = "POST /v3/kv/put HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 504");
    assert_eq!(
        atoll_world::clock::now() - begun,
        Limits::default().body_read_timeout
    );
}

/// Makes a gRPC call without a client's own ideas of time; answers code and message.
async fn call_within(node: &Node, path: &str, message: &[u8], wait: &str) -> (String, String) {
    let mut body = vec![0; unary::PREFIX_BYTES];
    body[1..].copy_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(message);
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header("grpc-timeout", wait)
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let connection = std::sync::Arc::new(node.connection.clone());
    let answer = node
        .router
        .clone()
        .answer(request, connection)
        .await
        .unwrap();
    let (parts, body) = answer.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned();
    let told = |name: &str| {
        let value = parts
            .headers
            .get(name)
            .or(trailers.as_ref().and_then(|all| all.get(name)));
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    (told("grpc-status"), told("grpc-message"))
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_its_client_stops_waiting() {
    let node = Node::new();
    for id in [1, 2] {
        super::recipes::grant(&node, id).await;
    }
    let lock = |lease| v3lockpb::LockRequest {
        name: "l".into(),
        lease,
    };
    let path = "/v3lockpb.Lock/Lock";
    let held = call_within(&node, path, &lock(1).encode_to_vec(), "1H").await;
    assert_eq!(held.0, "0");
    let begun = atoll_world::clock::now();
    let (code, text) = call_within(&node, path, &lock(2).encode_to_vec(), "1500m").await;
    assert_eq!(
        (code.as_str(), text.as_str()),
        ("4", "context%20deadline%20exceeded")
    );
    assert_eq!(
        atoll_world::clock::now() - begun,
        Duration::from_millis(1_500)
    );
    // The short way looks at it, too; whoever says nonsense is told.
    let range = pb::RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let path = "/etcdserverpb.KV/Range";
    assert_eq!(
        call_within(&node, path, &range.encode_to_vec(), "1S")
            .await
            .0,
        "0"
    );
    let (code, text) = call_within(&node, path, &range.encode_to_vec(), "soon").await;
    assert_eq!(code, "13");
    assert!(text.contains("malformed%20grpc-timeout"), "{text}");
}

// Paused time passes only while everybody waits.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_holds_up_nobody() {
    let node = Node::new();
    // As many questions as fit, whose answers nobody takes.
    let mut deaf = node.connect();
    let question = "GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let mut taken = 0;
    // The pipe is full once the node stops reading for want of room for its answers.
    while let Ok(sent) =
        tokio::time::timeout(Duration::from_millis(200), deaf.write(question.as_bytes())).await
    {
        taken += sent.unwrap();
        assert!(taken < 64 << 20, "the node reads on without end");
    }
    is_well(&node).await;
}
