use std::time::Duration;

use axum::http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Node;
use crate::{face::Limits, proto::etcdserverpb as pb};

/// Makes an HTTP/1.1 request on a connection of its own.
pub(super) async fn request(
    node: &Node,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let io = TokioIo::new(node.connect());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    drop(atoll_world::task::spawn(connection));
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(bytes::Bytes::from(body.to_owned()));
    let response = sender
        .send_request(request.body(body).unwrap())
        .await
        .unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(node: &Node, path: &str) -> (u16, String) {
    request(node, "GET", path, &[], "").await
}

#[tokio::test]
async fn health_is_told_in_etcds_words() {
    let node = Node::new();
    assert_eq!(
        get(&node, "/health").await,
        (200, r#"{"health":"true","reason":""}"#.to_owned())
    );
    node.fake.state.lock().leader = None;
    let (status, body) = get(&node, "/health").await;
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({"health": "false", "reason": "RAFT NO LEADER"}));
    assert_eq!(get(&node, "/health?serializable=true").await.0, 200);
    node.fake.state.lock().alarms = vec![pb::AlarmMember {
        member_id: 1,
        alarm: pb::AlarmType::Nospace as i32,
    }];
    let (status, body) = get(&node, "/health?serializable=true").await;
    assert_eq!(status, 503);
    assert!(body.contains("ALARM NOSPACE"), "{body}");
    assert_eq!(
        get(&node, "/health?serializable=true&exclude=NOSPACE")
            .await
            .0,
        200
    );
    assert_eq!(request(&node, "POST", "/health", &[], "").await.0, 405);
}

#[tokio::test]
async fn checks_have_etcds_names() {
    let node = Node::new();
    assert_eq!(get(&node, "/livez").await, (200, "ok\n".to_owned()));
    let (status, body) = get(&node, "/readyz?verbose").await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n\
         [+]non_learner ok\nok\n"
    );
    node.fake.state.lock().learner = true;
    let (status, body) = get(&node, "/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body.contains("[-]non_learner failed: not supported for learner\n"),
        "{body}"
    );
    assert_eq!(get(&node, "/readyz?exclude=non_learner").await.0, 200);
    assert_eq!(get(&node, "/readyz/linearizable_read").await.0, 200);
}

#[tokio::test]
async fn version_and_metrics_are_there_and_nothing_else_is() {
    let node = Node::new();
    let (status, body) = get(&node, "/version").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["etcdserver"]), (200, &json!("3.7.0")));
    assert_eq!(body["atoll_feature_level"], 1);
    assert_eq!(
        get(&node, "/metrics").await,
        (200, "atoll_up 1\n".to_owned())
    );
    assert_eq!(get(&node, "/nothing").await.0, 404);
}

#[tokio::test]
async fn foreign_pages_are_kept_out() {
    let node = Node::new();
    let origin = [("origin", "http://evil.example")];
    assert_eq!(
        request(&node, "POST", "/v3/kv/put", &origin, "{}").await.0,
        403
    );
    let rebound = [("host", "evil.example:2379")];
    assert_eq!(request(&node, "GET", "/health", &rebound, "").await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let node = Node::with(Limits {
        header_read_timeout: Duration::from_secs(3),
        ..Default::default()
    });
    for said in [
        "",
        "PRI * HT",
        "GET /health HTTP/1.1\r\nhost: localhost\r\n",
    ] {
        let mut stream = node.connect();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Ends only because the other side closes.
        let _ = stream.read_to_end(&mut rest).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_is_let_go() {
    let node = Node::new();
    let mut stream = node.connect();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.unwrap();
    let begun = atoll_world::clock::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let limits = Limits::default();
    let wanted = limits.keepalive_interval + limits.keepalive_timeout;
    let lasted = atoll_world::clock::now() - begun;
    assert!(lasted >= wanted && lasted < wanted * 2, "{lasted:?}");
}

#[tokio::test]
async fn grpc_health_is_served() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let node = Node::new();
    let mut client = HealthClient::new(node.channel().await);
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    assert_eq!(
        client.check(check("")).await.unwrap().into_inner().status,
        1
    );
    let status = client.check(check("x")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let node = Node::new();
    let mut stream = node.connect();
    let mut garbage = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    garbage.extend([0xff; 64]);
    stream.write_all(&garbage).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(get(&node, "/livez").await.0, 200);
}
