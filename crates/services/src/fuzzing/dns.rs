//! What the name server reads: messages of clients, replies of resolvers, the machine's file.

use std::{net::Ipv4Addr, sync::LazyLock};

use hickory_proto::op::{Message, MessageType};
use serde_json::json;

use crate::core::{
    dns::{
        Index, RECORDS_MAX, Zone,
        message::{Follow, Outcome, Query, Transport},
        resolv_conf,
    },
    kinds,
};

/// What the question to a resolver has.
const ID: u16 = 7;

/// The first byte chooses what the rest is.
pub fn dns_message(bytes: &[u8]) {
    match bytes.split_first() {
        Some((b'q', message)) => {
            question(message, Transport::Udp);
            question(message, Transport::Tcp);
        }
        Some((b'r', message)) => reply(message),
        Some((b'f', text)) => file(&String::from_utf8_lossy(text)),
        _ => {}
    }
}

fn zone() -> Zone {
    Zone::new("cluster.local", Some(Ipv4Addr::LOCALHOST.into())).expect("a zone")
}

/// Some of each kind, one with more addresses than fit.
fn index() -> &'static Index {
    static INDEX: LazyLock<Index> = LazyLock::new(|| {
        let mut index = Index::default();
        let ports = json!([{"name": "http", "port": 80}]);
        for (name, spec) in [
            ("web", json!({"clusterIP": "127.64.1.2", "ports": ports})),
            ("db", json!({"clusterIP": "None"})),
            (
                "out",
                json!({"type": "ExternalName", "externalName": "example.com"}),
            ),
            (
                "in",
                json!({"type": "ExternalName", "externalName": "in.default.svc.cluster.local"}),
            ),
        ] {
            let service = json!({"metadata": {"namespace": "default", "name": name}, "spec": spec});
            index.change(&kinds::SERVICES, None, Some(&service));
        }
        let endpoints = (0..2_000_u32).map(|at| {
            let address = Ipv4Addr::from(0x0a00_0000 + at);
            json!({"addresses": [address.to_string()], "hostname": format!("db-{at}")})
        });
        let labels = json!({"kubernetes.io/service-name": "db"});
        let slice = json!({"metadata": {"namespace": "default", "name": "s", "labels": labels},
            "endpoints": endpoints.collect::<Vec<_>>(), "ports": ports});
        index.change(&kinds::ENDPOINT_SLICES, None, Some(&slice));
        index
    });
    &INDEX
}

/// Whatever is asked, the reply can be read, is for the question, and fits.
fn question(bytes: &[u8], transport: Transport) {
    let told = |reply: &[u8]| {
        assert!(transport == Transport::Tcp || reply.len() <= 1_232);
        assert_eq!(reply[..2], bytes[..2], "the id");
        let reply = Message::from_vec(reply).expect("a message of ours");
        assert_eq!(reply.message_type, MessageType::Response);
        // An alias may come before the rest.
        assert!(reply.answers.len() <= RECORDS_MAX + 8);
    };
    let query = match Query::read(bytes, transport) {
        Ok(query) => query,
        Err(None) => return,
        Err(Some(reply)) => return told(&reply),
    };
    told(&query.failed(hickory_proto::op::ResponseCode::ServFail));
    match query.answer(index(), &zone()) {
        Outcome::Reply(reply) => told(&reply),
        Outcome::Forward => {
            let forwarded = query.forwarded(ID);
            assert_eq!(forwarded[2..], bytes[2..]);
            assert!(Query::read(&forwarded, transport).is_ok());
        }
        Outcome::Follow(follow) => {
            assert!(Query::read(&follow.question(ID), transport).is_ok());
            told(&query.joined(*follow, None));
        }
    }
}

/// A question of ours, as a client sends it.
fn asked(name: &str) -> Query {
    let mut bytes = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label is short"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    Query::read(&bytes, Transport::Udp).expect("a question of ours")
}

fn followed() -> (Query, Box<Follow>) {
    let query = asked("out.default.svc.cluster.local");
    match query.answer(index(), &zone()) {
        Outcome::Follow(follow) => (query, follow),
        other => panic!("it leads outside: {other:?}"),
    }
}

/// Whatever a resolver says, what the client hears fits and has its id.
fn reply(bytes: &[u8]) {
    if let Some(relayed) = asked("example.com").relayed(ID, bytes.to_vec()) {
        assert!(relayed.len() <= 512 && relayed[..2] == [0, 9]);
    }
    let (query, follow) = followed();
    if let Some(reply) = follow.read(ID, bytes) {
        let joined = query.joined(*follow, Some(reply));
        assert!(joined.len() <= 512);
        let joined = Message::from_vec(&joined).expect("a message of ours");
        assert_eq!((joined.id, joined.queries.len()), (9, 1));
    }
}

/// Whatever the machine's file says, a pod's is bounded, and names the cluster's server first.
fn file(text: &str) {
    let pod = json!({"metadata": {"namespace": "shop"}});
    let server = Some(Ipv4Addr::LOCALHOST.into());
    let written = resolv_conf(&pod, "cluster.local", server, text);
    let mut lines = written.lines();
    let search = lines.next().unwrap_or_default();
    assert!(search.starts_with("search shop.svc.cluster.local svc.cluster.local cluster.local"));
    assert!(search.len() <= 2_048 + "search ".len());
    assert_eq!(lines.next(), Some("nameserver 127.0.0.1"));
    assert_eq!(lines.collect::<Vec<_>>(), ["options ndots:5"]);
}
