//! Golden files: what this version writes is what docs/formats/golden holds, and what is there
//! is read as it was meant. A file, once released, never changes; a new version gets a new one.

mod backup;
mod corpora;
mod log;
mod peers;
mod state;

use std::collections::BTreeMap;

use atoll_world::golden::golden;
use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::{
    log::types::DecodeError,
    proto::{
        etcdserverpb as pb,
        internal::{
            Anonymous, Command, Identity, Origin, System, User, command::Op, identity::Who,
        },
        raft,
    },
};

/// Version 2 is refused where 1 is known, and both are told.
fn assert_refuses_2_for_1(error: &DecodeError) {
    assert!(matches!(
        error,
        DecodeError::Newer {
            found: 2,
            known: 1,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("version 2") && text.contains("up to 1"),
        "{text}"
    );
}

fn identity(who: Who) -> Identity {
    Identity { who: Some(who) }
}

fn system() -> Identity {
    identity(Who::System(System {}))
}

fn anonymous() -> Identity {
    identity(Who::Anonymous(Anonymous {}))
}

fn user() -> Identity {
    identity(Who::User(User {
        name: "alice".into(),
        auth_revision: 4,
    }))
}

fn command(sequence: u64, identity: Identity, op: Op) -> Command {
    Command {
        origin: Some(Origin {
            node: 0xc109_18f7_0f50_e155,
            boot: 3,
            sequence,
            answered_below: sequence.saturating_sub(2),
        }),
        identity: Some(identity),
        op: Some(op),
    }
}

fn put(key: &'static str, value: impl Into<Bytes>, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        value: value.into(),
        lease,
        ..pb::PutRequest::default()
    }
}

/// A cluster of three, of which the last does not vote yet.
fn nodes() -> BTreeMap<u64, raft::Node> {
    let node = |name: &str, port: u16| raft::Node {
        name: name.into(),
        peer_urls: vec![format!("https://10.0.0.1:{port}")],
        client_urls: vec![format!("http://10.0.0.1:{}", port - 1)],
        feature_level_min: 1,
        feature_level_max: 2,
    };
    BTreeMap::from([
        (1, node("one", 2380)),
        (2, node("two", 2390)),
        (0xc109_18f7_0f50_e155, node("three", 2400)),
    ])
}
