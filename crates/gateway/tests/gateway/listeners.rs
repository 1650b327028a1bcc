//! Listeners that come and go, TLS, and the end.

use std::{sync::Arc, time::Duration};

use atoll_gateway::core::config::{Certificate, Cluster, Tls};
use atoll_world::{
    net,
    pki::{Authority, LEAF_LIFE, tls},
    task,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    clients::{Client1, body, read_all, whole},
    endpoints::{Served, Spawner, http},
    rig::{Rig, cluster, in_time, listener, plain_http, until, web},
};

async fn tells_scheme() -> Served {
    http(|request: Request<Incoming>| async move {
        let scheme = request.headers()["x-forwarded-proto"].clone();
        Response::new(Full::new(Bytes::copy_from_slice(scheme.as_bytes())))
    })
    .await
}

#[tokio::test]
async fn listeners_follow_the_snapshots() {
    let endpoint = tells_scheme().await;
    let mut rig = Rig::start(web(cluster(&[endpoint.address])));
    let first = rig.address("web").await;
    let mut old = Client1::connect(first).await;
    assert_eq!(old.get("/").await.status, StatusCode::OK);
    // Another name for the same address, and one more.
    let address = first.to_string();
    rig.change(|config| {
        config.listeners[0].name = "renamed".to_owned();
        config.listeners[0].address = address;
        config.listeners.push(listener("second", plain_http()));
    })
    .await;
    assert_eq!(rig.address("renamed").await, first);
    let second = rig.address("second").await;
    for address in [first, second] {
        assert_eq!(
            Client1::connect(address).await.get("/").await.status,
            StatusCode::OK
        );
    }
    // The one that was idle on the listener that is gone was let go.
    in_time("the end", async {
        while !old.0.is_closed() {
            task::yield_now().await;
        }
    })
    .await;
    // What contradicts itself changes nothing.
    let before = rig.config.clone();
    let mut wrong = before.clone();
    wrong.routes[0].cluster = "nobody".to_owned();
    rig.send(wrong);
    rig.send(before);
    assert_eq!(
        Client1::connect(second).await.get("/").await.status,
        StatusCode::OK
    );
    // A cluster that is new, and routes to it, are there at once on open connections.
    let mut client = Client1::connect(second).await;
    rig.change(|config| {
        config.clusters.insert("b".to_owned(), Cluster::default());
        config.routes[0].cluster = "b".to_owned();
    })
    .await;
    assert_eq!(
        client.get("/").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_taken_address_is_tried_again() {
    let taken = net::listen("127.0.0.1:0").await.unwrap();
    let endpoint = tells_scheme().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].address = taken.local_address().to_string();
    config.listeners.push(listener("other", plain_http()));
    let rig = Rig::start(config);
    rig.address("other").await;
    assert!(!rig.gateway.addresses().borrow().contains_key("web"));
    let address = taken.local_address();
    drop(taken);
    assert_eq!(rig.address("web").await, address);
}

#[tokio::test]
async fn tls_with_both_versions_of_http() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let node = atoll_base::id::NodeId(1);
    let server = authority
        .issue_node(node, &["127.0.0.1".to_owned()], LEAF_LIFE)
        .unwrap();
    let client = authority.issue_client("alice", LEAF_LIFE).unwrap();
    let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let shown = tls::ShownCertificate::from_pem(&server.chain_pem(), server.key_pem()).unwrap();
    let endpoint = tells_scheme().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].tls = Some(Tls {
        certificates: vec![Certificate {
            names: Vec::new(),
            shown,
        }],
        ..Tls::default()
    });
    let rig = Rig::start(config);
    let address = rig.address("web").await.to_string();
    let limit = Duration::from_secs(5);
    for offered in alpn {
        let asked = tls::client_config(&trust.roots, Some(&client), &[offered]).unwrap();
        let stream = net::connect_tls(&address, "127.0.0.1", asked, limit)
            .await
            .unwrap();
        assert_eq!(stream.alpn(), Some(offered));
        let request = Request::get("https://a.example/").header("host", "a.example");
        let request = request.body(body("")).unwrap();
        let response = if offered == b"h2" {
            let (mut sender, connection) = http2::handshake(Spawner, TokioIo::new(stream))
                .await
                .unwrap();
            drop(task::spawn(connection));
            in_time("an answer", sender.send_request(request)).await
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            drop(task::spawn(connection));
            in_time("an answer", sender.send_request(request)).await
        };
        assert_eq!(whole(response.unwrap()).await.text, "https");
    }
    // Who has agreed on HTTP/2 and speaks something else hears nothing.
    let asked = tls::client_config(&trust.roots, Some(&client), &alpn[..1]).unwrap();
    let mut stream = net::connect_tls(&address, "127.0.0.1", asked, limit)
        .await
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn a_stop_answers_what_is_open() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, told_go) = (asked.clone(), go.clone());
    let endpoint = http(move |_: Request<Incoming>| {
        let (told, go) = (told.clone(), told_go.clone());
        async move {
            told.notify_one();
            go.notified().await;
            Response::new(Full::new(Bytes::from("late")))
        }
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let address = rig.address("web").await;
    let mut client = Client1::connect(address).await;
    let waiting = task::spawn(async move { client.get("/").await });
    in_time("the request", asked.notified()).await;
    let mut addresses = rig.gateway.addresses();
    let stopping = task::spawn(rig.gateway.stop(Duration::from_secs(20)));
    in_time("no listener", addresses.wait_for(|it| it.is_empty()))
        .await
        .unwrap();
    let refused = net::connect(&address.to_string(), Duration::from_secs(5)).await;
    assert!(refused.is_err());
    go.notify_one();
    assert_eq!(waiting.await.unwrap().text, "late");
    in_time("the stop", stopping).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let endpoint = http(|_: Request<Incoming>| async {
        std::future::pending::<()>().await;
        Response::new(Full::new(Bytes::new()))
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let address = rig.address("web").await;
    let mut client = Client1::connect(address).await;
    let request = Request::get("/")
        .header("host", "a")
        .body(body(""))
        .unwrap();
    let sending = client.0.send_request(request);
    let stats = rig.stats();
    let waiting = task::spawn(sending);
    until("the request", || stats.requests_open.open() == 1).await;
    in_time("the stop", rig.gateway.stop(Duration::from_millis(50))).await;
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(stats.requests_open.open(), 0);
}
