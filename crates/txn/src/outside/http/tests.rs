//! Services on this machine, good ones and bad ones.

use atoll_base::id::NodeId;
use atoll_world::{
    net::{Listener, TlsAcceptor},
    pki::{self, Authority, tls::ClientCertificate},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::core::global::{Branch, Place as Part, TransactionId};

fn http(list: &str) -> Http {
    let hosts = Hosts::parse(list, true).expect("a list");
    Http::new(ClusterId(7), hosts, None)
}

fn call(name: String, order: Order) -> Call {
    Call {
        branch: Branch {
            transaction: TransactionId(0xabc),
            place: Part(1),
        },
        name,
        attempt: 2,
        order,
    }
}

fn prepare(payload: &str) -> Order {
    Order::Prepare {
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        peers: Vec::new(),
    }
}

/// Answers one request with these bytes; what was asked.
async fn serve_once(listener: Listener, answer: Vec<u8>) -> String {
    let stream = listener.accept().await.plain();
    serve(stream, answer).await
}

async fn serve(mut stream: Stream, answer: Vec<u8>) -> String {
    let mut asked = Vec::new();
    let mut buffer = [0; 4_096];
    while !asked.ends_with(b"}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => asked.extend_from_slice(&buffer[..count]),
        }
    }
    // Who hangs up early does not hear all of it.
    let _ = stream.write_all(&answer).await;
    let _ = stream.flush().await;
    String::from_utf8_lossy(&asked).into_owned()
}

async fn told(answer: &[u8], order: Order) -> (Option<Report>, String) {
    let listener = net::listen("127.0.0.1:0").await.expect("a port");
    let name = format!("http://{}/orders/", listener.local_address());
    let serving = task::spawn(serve_once(listener, answer.to_vec()));
    let report = http("").tell(call(name, order)).await;
    (report, serving.await.expect("it served"))
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn an_order_is_a_post_and_its_answer_a_report() {
    let answer = ok(r#"{"report":"yes","note":"as you like"}"#);
    let (report, asked) = told(&answer, prepare(r#"{"take":3}"#)).await;
    assert_eq!(report, Some(Report::Yes));
    let (head, body) = asked.split_once("\r\n\r\n").expect("a request");
    assert!(
        head.starts_with("POST /orders/prepare HTTP/1.1\r\n"),
        "{head}"
    );
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let expected = serde_json::json!({
        "version": 1,
        "cluster": ClusterId(7).to_string(),
        "transaction": "00000000000000000000000000000abc",
        "branch": 1,
        "order": "prepare",
        "attempt": 2,
        "payload": "{\"take\":3}",
    });
    assert_eq!(body, expected);
    let (report, asked) = told(&ok(r#"{"report":"read-only"}"#), Order::Ask).await;
    assert_eq!(report, Some(Report::ReadOnly));
    assert!(asked.starts_with("POST /orders/ask ") && !asked.contains("payload"));
    let (report, _) = told(&ok(r#"{"report":"yes","known":3}"#), Order::Ask).await;
    assert_eq!(report, Some(Report::YesAmong(3)));
}

#[tokio::test]
async fn what_is_no_report_is_no_answer() {
    let huge = ok(&format!(
        r#"{{"report":"yes","more":"{}"}}"#,
        "x".repeat(100_000)
    ));
    let deep = ok(&format!(r#"{{"more":{}"#, "[".repeat(10_000)));
    let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    for wrong in [
        &b"HTTP/1.1 500 Oh\r\ncontent-length: 16\r\n\r\n{\"report\":\"yes\"}"[..],
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"report\":\"yes\"}",
        b"SSH-2.0-no\r\n",
        b"",
        &ok(r#"{"report":"perhaps"}"#),
        &ok(r#"["yes"]"#),
        &ok(""),
        &huge,
        &deep,
        headers.as_bytes(),
    ] {
        let (report, _) = told(wrong, Order::Commit).await;
        let text = String::from_utf8_lossy(&wrong[..wrong.len().min(80)]);
        assert_eq!(report, None, "{text}");
    }
}

#[test]
fn names_are_checked() {
    let http = http("");
    assert!(http.check("http://127.0.0.1:80/a", b"x").is_ok());
    assert!(http.check("http://localhost", b"").is_ok());
    for wrong in [
        "127.0.0.1:80",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://127.0.0.1/",
        "http://a:b@127.0.0.1/",
        "http://127.0.0.1/a?b=c",
        "http://127.0.0.1/a#b",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http:///a",
        "/a",
        "",
    ] {
        assert!(http.check(wrong, b"").is_err(), "{wrong}");
    }
    assert!(http.check("http://127.0.0.1/", b"\xff").is_err());
    let listed = self::http("10.0.0.1:8080");
    assert!(listed.check("http://10.0.0.1:8080/x", b"").is_ok());
    assert!(listed.check("http://10.0.0.1/x", b"").is_err());
}

/// Calls a service by https that an authority vouches for; what came of it.
async fn told_by_tls(authority: &Authority, trusted: &Authority, host: &str) -> Option<Report> {
    let identity = authority
        .issue_node(NodeId(1), &["localhost".to_owned()], pki::LEAF_LIFE)
        .expect("a certificate");
    let config = pki::tls::listener_config(
        &identity,
        &authority.trust(),
        ClientCertificate::Optional,
        &[b"http/1.1"],
    );
    let acceptor = TlsAcceptor::new(Some(config.expect("a listener")), None);
    let listener = net::listen("127.0.0.1:0").await.expect("a port");
    let name = format!("https://{host}:{}/", listener.local_address().port());
    let serving = task::spawn(async move {
        if let Ok(stream) = listener.accept().await.handshake(&acceptor).await {
            serve(stream, ok(r#"{"report":"committed"}"#)).await;
        }
    });
    let roots = pki::certificates_to_pem(&trusted.trust().roots);
    let tls = crate::outside::tls(&roots).expect("roots");
    let hosts = Hosts::parse("", true).expect("this machine");
    let http = Http::new(ClusterId(7), hosts, Some(tls));
    let report = http.tell(call(name, Order::Commit)).await;
    serving.await.expect("it served");
    report
}

#[tokio::test]
async fn services_prove_by_tls_who_they_are() {
    let (known, strange) = (
        Authority::create().expect("one"),
        Authority::create().expect("another"),
    );
    let proved = told_by_tls(&known, &known, "localhost").await;
    assert_eq!(proved, Some(Report::Committed));
    assert_eq!(told_by_tls(&strange, &known, "localhost").await, None);
    assert_eq!(
        told_by_tls(&known, &known, "127.0.0.1").await,
        None,
        "another name"
    );
}
