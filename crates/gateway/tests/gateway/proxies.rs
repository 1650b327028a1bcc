//! PROXY headers in front of TLS, and whom they are believed.

use std::{collections::BTreeSet, time::Duration};

use atoll_gateway::core::{
    config::{Certificate, Config, HashKey, Policy, Tls},
    sources::{Sources, networks},
};
use atoll_world::{
    net::{self, NetError, Stream},
    pki::tls::{self, ShownCertificate},
    task,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::{
    clients::{Client1, connect, read_all},
    endpoints::{Served, greet, http},
    rig::{Rig, cluster, in_time, raw, until, web},
};

const NAME: &str = "a.example";

/// A listener that has TLS and expects a header, and what it shows.
fn behind(mut config: Config) -> (Config, ShownCertificate) {
    let shown = ShownCertificate::self_signed(NAME).unwrap();
    config.listeners[0].tls = Some(Tls {
        certificates: vec![Certificate {
            names: Vec::new(),
            shown: shown.clone(),
        }],
        ..Tls::default()
    });
    config.listeners[0].proxies = Some(Sources::default());
    config.listeners[0].limits.head_ms = 300;
    (config, shown)
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.9 1111 443\r\n").into_bytes()
}

/// Version 2 from 192.0.2.1, with an extension behind the addresses.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\xc0\0\x02\x09\x04\x57\x01\xbb\x04\0\x01x";
/// The proxy itself speaks.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn shake(
    rig: &Rig,
    listener: &str,
    header: &[u8],
    shown: &ShownCertificate,
) -> Result<Stream, NetError> {
    let address = rig.address(listener).await.to_string();
    let config = tls::client_config(shown.chain(), None, &[]).unwrap();
    let limit = Duration::from_secs(5);
    let connecting = net::connect_tls_behind(&address, header, NAME, config, limit);
    in_time("a handshake", connecting).await
}

async fn client(rig: &Rig, header: &[u8], shown: &ShownCertificate) -> Client1 {
    let stream = shake(rig, "web", header, shown).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    drop(task::spawn(connection));
    Client1(sender)
}

/// Says whom it was told the client is.
async fn tells_client() -> Served {
    http(|request: Request<Incoming>| async move {
        let field = |name| request.headers()[name].to_str().unwrap_or("").to_owned();
        let text = [field("x-forwarded-for"), field("x-forwarded-proto")].join(" ");
        Response::new(Full::new(Bytes::from(text)))
    })
    .await
}

#[tokio::test]
async fn the_header_stands_in_front_of_tls() {
    let endpoint = tells_client().await;
    let (mut config, shown) = behind(web(cluster(&[endpoint.address])));
    config.listeners[0].sources.deny = networks("192.0.2.66").unwrap();
    let rig = Rig::start(config);
    for (header, expected) in [
        (v1("192.0.2.1"), "192.0.2.1 https"),
        (V2.to_vec(), "192.0.2.1 https"),
        (LOCAL.to_vec(), "127.0.0.1 https"),
    ] {
        let mut client = client(&rig, &header, &shown).await;
        assert_eq!(client.get("/").await.text, expected);
    }
    assert_eq!(rig.stats().forbidden.get(), 0);
    // Lists are about who the header says it is; a handshake would be too much honour.
    assert!(shake(&rig, "web", &v1("192.0.2.66"), &shown).await.is_err());
    until("the count", || rig.stats().forbidden.get() == 1).await;
    assert_eq!(rig.stats().handshake_failures.get(), 0);
}

#[tokio::test]
async fn without_a_good_header_there_is_no_handshake() {
    let endpoint = greet("hello").await;
    let (config, shown) = behind(raw(cluster(&[endpoint.address])));
    let rig = Rig::start(config);
    let too_long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x20\0";
    for header in [&b""[..], b"PROXY TCP4 x\r\n", too_long] {
        assert!(shake(&rig, "raw", header, &shown).await.is_err());
    }
    // Nor for who takes too long to say it.
    let mut slow = connect(rig.address("raw").await).await;
    slow.write_all(b"PROXY TCP4 1").await.unwrap();
    assert_eq!(read_all(&mut slow).await, "");
    assert_eq!(rig.stats().handshake_failures.get(), 0);
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn only_proxies_are_believed() {
    let endpoint = greet("hello").await;
    let (mut config, shown) = behind(raw(cluster(&[endpoint.address])));
    let from = |text| Sources {
        allow: networks(text).unwrap(),
        deny: Vec::new(),
    };
    config.listeners[0].proxies = Some(from("10.0.0.0/8"));
    let rig = Rig::start(config.clone());
    // Who is in the header may come, but not who sends it.
    assert!(shake(&rig, "raw", &v1("10.0.0.1"), &shown).await.is_err());
    until("the count", || rig.stats().forbidden.get() == 1).await;
    config.listeners[0].proxies = Some(from("10.0.0.0/8, 127.0.0.1"));
    let rig = Rig::start(config);
    assert!(shake(&rig, "raw", &v1("10.0.0.1"), &shown).await.is_ok());
}

#[tokio::test]
async fn affinity_is_by_the_client_of_the_header() {
    let served = [greet("a").await, greet("b").await, greet("c").await];
    let mut cluster = cluster(&served.each_ref().map(|it| it.address));
    cluster.policy = Policy::Maglev(HashKey::Source);
    let (config, shown) = behind(raw(cluster));
    let rig = Rig::start(config);
    let mut reached = BTreeSet::new();
    for host in 0..24 {
        let header = v1(&format!("192.0.2.{host}"));
        let mut heard = BTreeSet::new();
        for _ in 0..2 {
            let mut stream = shake(&rig, "raw", &header, &shown).await.unwrap();
            heard.insert(crate::clients::read_exactly(&mut stream, 1).await);
        }
        assert_eq!(heard.len(), 1, "one client, one endpoint");
        reached.append(&mut heard);
    }
    assert_eq!(reached.len(), 3, "many clients, all endpoints");
}
