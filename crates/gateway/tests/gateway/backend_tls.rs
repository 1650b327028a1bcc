//! TLS with endpoints: whom the gateway believes, what it shows, and what is under it.

use std::time::Duration;

use atoll_gateway::core::config::{Backend, BackendTls, Cluster, HealthCheck, Probe, ProxyVersion};
use atoll_world::{
    net::{self, TlsAcceptor},
    pki::{
        Authority, LEAF_LIFE,
        tls::{self, ByName, ClientCertificate, ShownCertificate, Trusted},
    },
    task,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    access::hear,
    clients::{Client1, connect, read_exactly},
    endpoints::{Served, accept, greet, https},
    rig::{Rig, cluster, in_time, raw, route, until, web},
};

const NAME: &str = "shop.example";
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

fn shown() -> ShownCertificate {
    ShownCertificate::self_signed(NAME).unwrap()
}

fn acceptor(shown: &ShownCertificate, alpn: &[&[u8]]) -> TlsAcceptor {
    let certificates = ByName {
        fallback: Some(shown.clone()),
        ..ByName::default()
    };
    let served = tls::named_listener_config(certificates, None, alpn).unwrap();
    TlsAcceptor::new(Some(served), None)
}

/// An endpoint that shows this, and tells what it was asked in.
async fn endpoint(acceptor: TlsAcceptor) -> Served {
    https(acceptor, |request: Request<Incoming>| async move {
        let text = format!("{:?} {:?}", request.version(), request.uri().scheme_str());
        Response::new(Full::new(Bytes::from(text)))
    })
    .await
}

/// Called for this name, believing only who shows this.
fn believing(name: &str, shown: &ShownCertificate) -> BackendTls {
    BackendTls {
        server_name: Some(name.to_owned()),
        trusted: Trusted::Roots(shown.chain().to_vec()),
        shown: None,
        wraps_tcp: true,
    }
}

fn under(endpoint: &Served, tls: BackendTls) -> Cluster {
    Cluster {
        tls: Some(tls),
        ..cluster(&[endpoint.address])
    }
}

async fn get(rig: &Rig, path: &str) -> (StatusCode, String) {
    let mut client = Client1::connect(rig.address("web").await).await;
    let answer = client.get(path).await;
    (answer.status, answer.text)
}

#[tokio::test]
async fn both_versions_of_http_are_agreed_on() {
    let shown = shown();
    let endpoint = endpoint(acceptor(&shown, ALPN)).await;
    for (backend, expected) in [
        (Backend::Http1, "HTTP/1.1 None"),
        (Backend::Http2, "HTTP/2.0 Some(\"https\")"),
    ] {
        let mut cluster = under(&endpoint, believing(NAME, &shown));
        cluster.backend = backend;
        let rig = Rig::start(web(cluster));
        for _ in 0..3 {
            assert_eq!(get(&rig, "/").await, (StatusCode::OK, expected.to_owned()));
        }
        assert_eq!(rig.stats().endpoint_handshake_failures.get(), 0);
    }
}

#[tokio::test]
async fn who_is_not_believed_is_told_of_and_hears_nothing() {
    let (shown, other) = (shown(), shown());
    let good = endpoint(acceptor(&shown, ALPN)).await;
    let mute = endpoint(acceptor(&shown, &[])).await;
    let plain = greet("no TLS here").await;
    let no_http2 = Backend::Http2;
    for (endpoint, backend, tls, advice) in [
        (
            &good,
            Backend::Http1,
            believing("b.example", &shown),
            "its certificate is for other names",
        ),
        (
            &good,
            Backend::Http1,
            believing(NAME, &other),
            "set ca / backend-tls-ca-secret",
        ),
        (
            &plain,
            Backend::Http1,
            believing(NAME, &shown),
            "it speaks no TLS at this port",
        ),
        (
            &mute,
            no_http2,
            believing(NAME, &shown),
            "set protocol / the Service's appProtocol",
        ),
    ] {
        let (lines, _here) = hear("off,atoll_gateway=warn");
        let mut cluster = under(endpoint, tls);
        cluster.backend = backend;
        cluster.retries.attempts_max = 0;
        let told = "the endpoint and the gateway did not come to TLS\n".to_owned();
        // Other tests may come by the place where it is told for the first time just now, and find
        // that nobody listens.
        while lines.text().is_empty() {
            tracing::callsite::rebuild_interest_cache();
            let rig = Rig::start(web(cluster.clone()));
            for turn in 1..=2 {
                let answer = get(&rig, "/").await;
                assert_eq!(answer, (StatusCode::BAD_GATEWAY, told.clone()));
                assert_eq!(rig.stats().endpoint_handshake_failures.get(), turn);
            }
        }
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "it is told once: {text}");
        assert!(text.contains(advice), "{text}");
    }
}

#[tokio::test]
async fn anybody_is_believed_only_where_that_is_said() {
    let endpoint = endpoint(acceptor(&shown(), ALPN)).await;
    let nobody = BackendTls {
        trusted: Trusted::Roots(Vec::new()),
        ..believing(NAME, &shown())
    };
    let rig = Rig::start(web(under(&endpoint, nobody.clone())));
    assert_eq!(get(&rig, "/").await.0, StatusCode::BAD_GATEWAY);
    let anybody = BackendTls {
        trusted: Trusted::Anybody,
        ..nobody
    };
    let rig = Rig::start(web(under(&endpoint, anybody)));
    assert_eq!(get(&rig, "/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn endpoints_may_ask_for_a_certificate() {
    let (own, authority) = (shown(), Authority::create().unwrap());
    let certificates = ByName {
        fallback: Some(own.clone()),
        ..ByName::default()
    };
    let roots = authority.trust().clients;
    let clients = Some((&roots[..], ClientCertificate::Required));
    let served = tls::named_listener_config(certificates, clients, ALPN).unwrap();
    let endpoint = endpoint(TlsAcceptor::new(Some(served), None)).await;
    let gateway = authority.issue_client("gateway", LEAF_LIFE).unwrap();
    let gateway = ShownCertificate::from_pem(&gateway.chain_pem(), gateway.key_pem()).unwrap();
    for backend in [Backend::Http1, Backend::Http2] {
        for (given, expected) in [
            (None, StatusCode::BAD_GATEWAY),
            (Some(shown()), StatusCode::BAD_GATEWAY),
            (Some(gateway.clone()), StatusCode::OK),
        ] {
            let tls = BackendTls {
                shown: given,
                ..believing(NAME, &own)
            };
            let mut cluster = under(&endpoint, tls);
            cluster.backend = backend;
            let rig = Rig::start(web(cluster));
            assert_eq!(get(&rig, "/").await.0, expected, "{backend:?}");
            let is_counted = rig.stats().endpoint_handshake_failures.get() > 0;
            if backend == Backend::Http1 {
                assert_eq!(is_counted, expected == StatusCode::BAD_GATEWAY);
            }
        }
    }
}

#[tokio::test]
async fn no_connection_is_another_set_ups() {
    let (shown, other) = (shown(), shown());
    let endpoint = endpoint(acceptor(&shown, ALPN)).await;
    let mut config = web(under(&endpoint, believing(NAME, &shown)));
    let doubting = under(&endpoint, believing(NAME, &other));
    config.clusters.insert("b".to_owned(), doubting.clone());
    config.routes.push(route("/b", "b"));
    let mut rig = Rig::start(config);
    let kept = |rig: &Rig, name: &str| rig.gateway.endpoints()[name][0].kept;
    assert_eq!(get(&rig, "/").await.0, StatusCode::OK);
    until("the connection to be kept", || kept(&rig, "a") == 1).await;
    // The one at the same address that is open is the other cluster's.
    assert_eq!(get(&rig, "/b").await.0, StatusCode::BAD_GATEWAY);
    // And the same cluster doesn't use it when it believes somebody else.
    rig.send({
        let mut config = rig.config.clone();
        config.clusters.insert("a".to_owned(), doubting);
        config
    });
    until("the new endpoint", || kept(&rig, "a") == 0).await;
    assert_eq!(get(&rig, "/").await.0, StatusCode::BAD_GATEWAY);
    // A snapshot that says the same again changes nothing.
    rig.change(|_| {}).await;
    assert_eq!(get(&rig, "/").await.0, StatusCode::OK);
    until("the connection to be kept", || kept(&rig, "a") == 1).await;
    let before = endpoint.connections();
    let other = greet("x").await;
    rig.change(|config| {
        config
            .clusters
            .insert("c".to_owned(), cluster(&[other.address]));
    })
    .await;
    assert_eq!(get(&rig, "/").await.0, StatusCode::OK);
    assert_eq!(endpoint.connections(), before);
}

#[tokio::test]
async fn connections_are_under_it_behind_their_proxy_header() {
    let shown = shown();
    let acceptor = acceptor(&shown, &[]);
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n";
    let endpoint = accept(move |mut incoming, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut first = vec![0; header.len()];
            incoming.read_exact(&mut first).await.unwrap();
            let mut stream = incoming.handshake(&acceptor).await.unwrap();
            stream.write_all(&first).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let mut cluster = under(&endpoint, believing(NAME, &shown));
    cluster.sends_proxy_header = Some(ProxyVersion::V1);
    let mut config = raw(cluster);
    config.listeners[0].proxies = Some(Default::default());
    let rig = Rig::start(config);
    let mut stream = connect(rig.address("raw").await).await;
    stream.write_all(header).await.unwrap();
    let heard = read_exactly(&mut stream, header.len()).await;
    assert_eq!(heard.as_bytes(), header);
}

#[tokio::test]
async fn clients_of_services_speak_tls_with_endpoints_themselves() {
    let shown = shown();
    let acceptor = acceptor(&shown, &[]);
    let endpoint = accept(move |incoming, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = incoming.handshake(&acceptor).await {
                let _ = stream.write_all(b"hello").await;
            }
        }
    })
    .await;
    let tls = BackendTls {
        wraps_tcp: false,
        ..believing(NAME, &shown)
    };
    let mut cluster = under(&endpoint, tls);
    cluster.health = Some(HealthCheck {
        interval_ms: 10,
        ..HealthCheck::new(Probe::Tcp)
    });
    let rig = Rig::start(raw(cluster));
    let address = rig.address("raw").await.to_string();
    // By checks as well, which are under it.
    until("some checks", || endpoint.connections() > 5).await;
    assert!(rig.gateway.endpoints()["a"][0].is_up);
    let config = tls::client_config(shown.chain(), None, &[]).unwrap();
    let connecting = net::connect_tls(&address, NAME, config, Duration::from_secs(5));
    let mut stream = in_time("a handshake", connecting).await.unwrap();
    assert_eq!(read_exactly(&mut stream, 5).await, "hello");
}

#[tokio::test]
async fn checks_are_under_it() {
    let (shown, other) = (shown(), shown());
    let endpoint = endpoint(acceptor(&shown, ALPN)).await;
    let probe = Probe::Http {
        path: "/".to_owned(),
        host: None,
    };
    let mut cluster = under(&endpoint, believing(NAME, &shown));
    cluster.health = Some(HealthCheck {
        interval_ms: 10,
        ..HealthCheck::new(probe)
    });
    let mut config = web(cluster.clone());
    cluster.tls = Some(believing(NAME, &other));
    config.clusters.insert("b".to_owned(), cluster);
    let rig = Rig::start(config);
    rig.address("web").await;
    let is_up = |name: &str| rig.gateway.endpoints()[name][0].is_up;
    until("the one that is not believed", || !is_up("b")).await;
    assert!(is_up("a"));
    assert_eq!(get(&rig, "/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn as_many_as_the_cluster_may_have_wait_for_a_connection() {
    // Takes connections, and says nothing in the handshake.
    let silent = accept(|mut incoming, _| async move {
        let mut sink = [0; 64];
        while let Ok(1..) = incoming.read(&mut sink).await {}
    })
    .await;
    let mut cluster = under(&silent, believing(NAME, &shown()));
    cluster.limits.pending_max = 1;
    let rig = Rig::start(web(cluster));
    let address = rig.address("web").await;
    let first = task::spawn(async move { Client1::connect(address).await.get("/").await });
    until("the first one", || silent.connections() == 1).await;
    assert_eq!(get(&rig, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((rig.stats().limited.get(), silent.connections()), (1, 1));
    first.abort();
}
