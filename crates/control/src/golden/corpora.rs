//! Files that the fuzzer's search begins with, made of the golden values. They are written by
//! `ATOLL_WRITE_GOLDEN=1 cargo test -p atoll-control --lib golden`.

use std::path::PathBuf;

use atoll_world::disk;

use super::*;
use crate::log::types;

/// What each target's search begins with: a name, and the bytes.
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |target, name: String, bytes: Vec<u8>| seeds.push((target, name, bytes));

    let token = super::state::TOKEN;
    for (name, text) in [
        ("token", token.to_owned()),
        ("spaces", format!(" {token}\n")),
        ("newer", token.replace("atoll1", "atoll2")),
        ("short", token[..40].to_owned()),
        ("more", format!("{token}.x")),
    ] {
        add("join_token", name.into(), text.into_bytes());
    }

    let whole = super::backup::written(1).to_vec();
    let mut rotten = whole.clone();
    rotten[200] ^= 1;
    add("backup", "newer".into(), super::backup::written(2).to_vec());
    add("backup", "cut".into(), whole[..whole.len() / 2].to_vec());
    add("backup", "rotten".into(), rotten);
    add("backup", "whole".into(), whole);

    for (kind, at) in super::log::records().into_iter().zip(1..) {
        let record = types::encode_record(kind).to_vec();
        add(
            "log_record",
            format!("{at:02}-kind-{}", record[0] >> 3),
            record,
        );
    }
    for (frame, at) in super::peers::conversation().into_iter().zip(1..) {
        let bytes = [&[frame.service.0], &frame.payload[..]].concat();
        add(
            "peer_message",
            format!("{at:02}-service-{}", frame.service.0),
            bytes,
        );
    }

    let batch = super::log::batch();
    for command in &batch.commands {
        let one = crate::proto::internal::Batch {
            commands: vec![command.clone()],
        };
        let sequence = command.origin.expect("commands have one").sequence;
        add(
            "requests",
            format!("op-{:02}", sequence + 9),
            one.encode_to_vec(),
        );
        if let Some(Op::Txn(txn)) = &command.op {
            add("txn", "compare".into(), txn.encode_to_vec());
        }
    }
    add("requests", "every-op".into(), batch.encode_to_vec());
    add(
        "requests",
        "both".into(),
        super::log::both().encode_to_vec(),
    );
    let story = crate::proto::internal::Batch {
        commands: super::state::commands(),
    };
    add("requests", "every-table".into(), story.encode_to_vec());
    for depth in [1, 16, 32, 33, 50] {
        add(
            "txn",
            format!("nested-{depth}"),
            nested(depth).encode_to_vec(),
        );
    }

    for (name, path, json) in [
        (
            "range",
            33,
            r#"{"key":"Zm9v","range_end":"Zm9w","limit":"10","sort_order":"DESCEND"}"#,
        ),
        (
            "put",
            32,
            r#"{"key":"Zm9v","value":"YmFy","lease":"7587848","prev_kv":true}"#,
        ),
        ("nothing", 0, ""),
        ("two", 0, "{} {}"),
        ("unknown-field", 0, r#"{"nope":1}"#),
        ("deep", 0, "[[[[[[[[[[[[[[[[[[[[[[[["),
        (
            "watch",
            50,
            r#"{"create_request":{"key":"Zm9v","filters":["NOPUT"]}}{"cancel_request":{"watch_id":"1"}}"#,
        ),
        (
            "txn",
            34,
            r#"{"compare":[{"result":"EQUAL","target":"VALUE","key":"Zm9v","value":"YmFy"}],"success":[{"request_put":{"key":"Zm9v"}}],"failure":[{"request_txn":{}}]}"#,
        ),
    ] {
        add(
            "gateway_json",
            name.into(),
            [&[path], json.as_bytes()].concat(),
        );
    }

    for (name, text) in [
        ("loopback", "127.0.0.1:2379"),
        ("six", "[::1]:2379\nhttp://[::1]:2379"),
        ("name", "localhost\nhttps://localhost"),
        ("foreign", "localhost:2379\nhttp://evil.example"),
        ("rebound", "evil.example:2379\nhttp://evil.example:2379"),
        ("null", "localhost\nnull"),
    ] {
        add("browser_headers", name.into(), text.into());
    }
    seeds
}

/// A transaction that holds another one, and so on.
pub(super) fn nested(depth: usize) -> pb::TxnRequest {
    let inner = put("key", "value", 0);
    let mut op = pb::request_op::Request::RequestPut(inner);
    let txn = |op| pb::TxnRequest {
        success: vec![pb::RequestOp { request: Some(op) }],
        ..Default::default()
    };
    for _ in 1..depth {
        op = pb::request_op::Request::RequestTxn(txn(op));
    }
    txn(op)
}

#[test]
fn the_search_begins_with_them() {
    let corpora = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let disk = disk::real();
    let writes = std::env::var_os("ATOLL_WRITE_GOLDEN").is_some();
    for (target, name, bytes) in seeds() {
        let path = corpora.join(target).join(&name);
        if writes {
            disk.create_dir_all(&corpora.join(target))
                .expect("the tree is writable");
            disk.write_atomic(&path, &bytes)
                .expect("the tree is writable");
        }
        let stored = disk
            .read_all(&path)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(stored == bytes, "{target}/{name} is what it should be");
    }
}
