//! Certificates by server name, changes of them, and those of clients.

use std::time::Duration;

use atoll_gateway::core::config::{Certificate, ClientTrust, Config, Fallback, Tls};
use atoll_world::{
    net::{self, NetError, Stream},
    pki::{
        Authority, Identity, LEAF_LIFE,
        tls::{self, ClientCertificate, ShownCertificate},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    endpoints::{Served, greet},
    rig::{Rig, cluster, in_time, raw, until},
};

fn shown(name: &str) -> ShownCertificate {
    ShownCertificate::self_signed(name).unwrap()
}

/// Connects, asking for a name, and trusting nobody but this one.
async fn connect(
    rig: &Rig,
    name: &str,
    trusted: &ShownCertificate,
    identity: Option<&Identity>,
) -> Result<Stream, NetError> {
    let address = rig.address("raw").await.to_string();
    let config = tls::client_config(&trusted.chain()[..1], identity, &[]).unwrap();
    let limit = Duration::from_secs(5);
    in_time(
        "a handshake",
        net::connect_tls(&address, name, config, limit),
    )
    .await
}

async fn hears(stream: &mut Stream) -> Option<String> {
    let mut buffer = [0; 5];
    let read = in_time("a greeting", stream.read_exact(&mut buffer)).await;
    read.ok()
        .map(|_| String::from_utf8_lossy(&buffer).into_owned())
}

async fn greets() -> (Served, Config) {
    let endpoint = greet("hello").await;
    let config = raw(cluster(&[endpoint.address]));
    (endpoint, config)
}

fn served(names: &[&str], shown: &ShownCertificate) -> Certificate {
    Certificate {
        names: names.iter().map(|it| (*it).to_owned()).collect(),
        shown: shown.clone(),
    }
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let (_endpoint, mut config) = greets().await;
    let (own, wild, listed) = (
        shown("own.example"),
        shown("*.wild.example"),
        shown("*.c.example"),
    );
    let tls = |fallback| Tls {
        certificates: vec![
            served(&[], &own),
            served(&[], &wild),
            served(&["A.c.example"], &listed),
        ],
        fallback,
        clients: None,
    };
    config.listeners[0].tls = Some(tls(Fallback::First));
    let rig = Rig::start(config.clone());
    for (name, trusted, is_shown) in [
        ("own.example", &own, true),
        ("x.wild.example", &wild, true),
        ("a.c.example", &listed, true),
        ("own.example", &wild, false),
        // One label more, and not two; and only the names that were listed.
        ("x.y.wild.example", &wild, false),
        ("b.c.example", &listed, false),
    ] {
        let connected = connect(&rig, name, trusted, None).await;
        assert_eq!(connected.is_ok(), is_shown, "{name}");
        if let Ok(mut stream) = connected {
            assert_eq!(hears(&mut stream).await.as_deref(), Some("hello"));
        }
    }
    let unknown = connect(&rig, "unknown.example", &own, None)
        .await
        .unwrap_err();
    let told = format!("{unknown:?}");
    assert!(
        told.contains("NotValidForName"),
        "the first is shown: {told}"
    );

    config.listeners[0].tls = Some(tls(Fallback::Refuse));
    let rig = Rig::start(config.clone());
    let unknown = connect(&rig, "unknown.example", &own, None)
        .await
        .unwrap_err();
    assert!(
        !format!("{unknown:?}").contains("InvalidCertificate"),
        "{unknown:?}"
    );
    assert!(connect(&rig, "own.example", &own, None).await.is_ok());
    until("the count", || rig.stats().handshake_failures.get() == 1).await;

    config.listeners[0].tls = Some(Tls {
        fallback: Fallback::SelfSigned,
        ..Tls::default()
    });
    let rig = Rig::start(config);
    let unknown = connect(&rig, "own.example", &own, None).await.unwrap_err();
    assert!(
        format!("{unknown:?}").contains("InvalidCertificate"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_new_certificate_drops_nobody() {
    let (_endpoint, mut config) = greets().await;
    let (old, new) = (shown("a.example"), shown("a.example"));
    let tls = |shown| Tls {
        certificates: vec![served(&[], shown)],
        ..Tls::default()
    };
    config.listeners[0].tls = Some(tls(&old));
    let mut rig = Rig::start(config);
    let before = rig.address("raw").await;
    let mut open = connect(&rig, "a.example", &old, None).await.unwrap();
    assert_eq!(hears(&mut open).await.as_deref(), Some("hello"));
    let other = greet("other").await;
    rig.change(|config| {
        config.listeners[0].tls = Some(tls(&new));
        // By what it can be told that the snapshot is in force.
        config
            .clusters
            .insert("b".to_owned(), cluster(&[other.address]));
    })
    .await;
    assert!(connect(&rig, "a.example", &old, None).await.is_err());
    let mut later = connect(&rig, "a.example", &new, None).await.unwrap();
    assert_eq!(hears(&mut later).await.as_deref(), Some("hello"));
    open.write_all(b"still").await.unwrap();
    assert_eq!(hears(&mut open).await.as_deref(), Some("still"));
    assert_eq!(rig.address("raw").await, before);
}

#[tokio::test]
async fn clients_show_certificates() {
    let (_endpoint, mut config) = greets().await;
    let own = shown("a.example");
    let (ours, theirs) = (Authority::create().unwrap(), Authority::create().unwrap());
    let [alice, mallory] = [&ours, &theirs].map(|it| it.issue_client("alice", LEAF_LIFE).unwrap());
    for demand in [ClientCertificate::Required, ClientCertificate::Optional] {
        config.listeners[0].tls = Some(Tls {
            certificates: vec![served(&[], &own)],
            fallback: Fallback::First,
            clients: Some(ClientTrust {
                roots: ours.trust().clients,
                demand,
            }),
        });
        let rig = Rig::start(config.clone());
        let is_optional = demand == ClientCertificate::Optional;
        let cases = [
            (Some(&alice), true),
            (Some(&mallory), false),
            (None, is_optional),
        ];
        for (identity, expected) in cases {
            // With TLS 1.3 a client hears of it only after its side of the handshake.
            let heard = match connect(&rig, "a.example", &own, identity).await {
                Ok(mut stream) => hears(&mut stream).await,
                Err(_) => None,
            };
            assert_eq!(heard.is_some(), expected, "{demand:?} {identity:?}");
        }
    }
}

#[tokio::test]
async fn a_set_up_that_can_t_be_is_refused() {
    let (_endpoint, mut config) = greets().await;
    config.listeners[0].tls = Some(Tls {
        certificates: vec![served(&[], &shown("a.example"))],
        ..Tls::default()
    });
    let rig = Rig::start(config.clone());
    rig.address("raw").await;
    // Nobody could issue anything: the snapshot before stays.
    let mut wrong = config.clone();
    wrong.listeners[0].name = "wrong".to_owned();
    wrong.listeners[0].tls.as_mut().unwrap().clients = Some(ClientTrust {
        roots: Vec::new(),
        demand: ClientCertificate::Required,
    });
    rig.send(wrong);
    let mut right = config;
    right.listeners[0].name = "right".to_owned();
    rig.send(right);
    rig.address("right").await;
    assert!(!rig.gateway.addresses().borrow().contains_key("wrong"));
}
