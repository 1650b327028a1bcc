//! Keys of the control plane take part: they are written with what services do, once, or not.

use atoll_control::proto::etcdserverpb::{
    WatchCreateRequest, WatchRequest, watch_client::WatchClient, watch_request::RequestUnion,
};
use futures_util::StreamExt as _;

use super::{
    common::{channel, get, put},
    *,
};

/// Put after all that is looked for.
const MARK: &str = "the end";

/// Has a key take part: put if it is not there yet.
async fn enlist_key(node: &Node, id: &str, key: &str, value: &str) {
    let (compare, put) = (format!("ver(\"{key}\") = 0"), format!("{key}={value}"));
    let words = [
        "txn", "enlist", id, "--keys", "--if", &compare, "--put", &put,
    ];
    until("keys can take part", async || match node.told(&words) {
        // A fresh cluster's level rises in a moment.
        Err(Error::Command { output, .. }) if output.contains("feature level") => None,
        told => Some(told.unwrap()),
    })
    .await;
}

/// What a watch from the first revision on tells of a key, up to a mark that is put now.
async fn changes(node: &Node, key: &str) -> Vec<(String, i64)> {
    let address = node.endpoint();
    let create = WatchCreateRequest {
        key: key.as_bytes().to_vec().into(),
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests stays open, and so does the watch.
    let requests = futures_util::stream::iter([request]).chain(futures_util::stream::pending());
    let mut watch = WatchClient::new(channel(&address));
    let mut told = watch.watch(requests).await.unwrap().into_inner();
    put(&address, key, MARK).await;
    let mut changes = Vec::new();
    loop {
        for event in told.message().await.unwrap().unwrap().events {
            let kv = event.kv.unwrap();
            let value = String::from_utf8(kv.value.to_vec()).unwrap();
            if value == MARK {
                return changes;
            }
            changes.push((value, kv.mod_revision));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_written_with_what_services_do_or_not_at_all() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let services = two().await;
    let id = begin(node, &services);
    enlist_key(node, &id, "orders/7", "paid").await;
    let (_, before) = get(&node.endpoint(), "orders/7").await;
    let told = node.told(&["txn", "commit", &id, "--until-ended"]).unwrap();
    assert_eq!(told["outcome"], "committed");
    ended(&services, Branch::Committed).await;
    let shown = node.told(&["txn", "show", &id]).unwrap();
    let keys = &shown["participants"][2];
    let is_as_it_should = (&keys["name"], &keys["standing"]);
    assert_eq!(is_as_it_should, (&json!("atoll:keys"), &json!("released")));

    // The same key once more, by JSON: it is not as compared, so services undo their part.
    let services = two().await;
    let id = begin(node, &services);
    let part = |key: &str, value: &str| {
        json!({
            "compare": [{"key": key, "target": "VERSION", "result": "EQUAL", "version": "0"}],
            "success": [{"request_put": {"key": key, "value": value}}],
        })
    };
    // orders/7, again; orders/8, new.
    let (seven, eight, again) = ("b3JkZXJzLzc=", "b3JkZXJzLzg=", "YWdhaW4=");
    let body = json!({"id": id, "keys": part(seven, again)});
    let told = post(node, "enlist", body).await;
    assert_eq!(told, (200, json!({"branch": 2})));
    is_refused_by_a_participant(node, &id).await;
    ended(&services, Branch::Aborted).await;
    let (value, after) = get(&node.endpoint(), "orders/7").await;
    assert_eq!((value.as_deref(), after), (Some("paid"), before + 1));
    let paid = ("paid".to_owned(), before + 1);
    assert_eq!(changes(node, "orders/7").await, [paid], "one event");

    // Keys alone; and what makes no sense is refused, and says why.
    let id = begin(node, &[]);
    for (keys, code) in [
        (
            json!({"success": [{"request_put": {"key": "L2F0b2xsL3g="}}]}),
            403,
        ),
        (json!({"success": [{"request_range": {"key": eight}}]}), 400),
        (
            json!({"success": [{"request_put": {"key": eight, "prev_kv": true}}]}),
            400,
        ),
        (
            json!({"success": [{"request_put": {"key": eight}}, {"request_delete_range": {"key": eight}}]}),
            400,
        ),
        (
            json!({"success": [{"request_put": {"key": eight, "lease": "7"}}]}),
            200,
        ),
        (json!({"success": [{"request_put": {"key": eight}}]}), 409),
    ] {
        let body = json!({"id": id, "keys": keys});
        let (found, told) = post(node, "enlist", body).await;
        assert_eq!(found, code, "{keys}: {told}");
    }
    // There is no such lease.
    let (_, told) = post(node, "commit", json!({"id": id})).await;
    assert_eq!(told["outcome"], "ABORTED");
    let id = begin(node, &[]);
    enlist_key(node, &id, "orders/8", "paid").await;
    let told = node.told(&["txn", "commit", &id]).unwrap();
    assert_eq!(told["outcome"], "committed");
    let (value, _) = get(&node.endpoint(), "orders/8").await;
    assert_eq!(value.as_deref(), Some("paid"));
    for kind in ["saga", "three-phase-peers"] {
        let id = begin_a(kind, node, &[]);
        let body = json!({"id": id, "keys": part(eight, again)});
        let (code, told) = post(node, "enlist", body).await;
        assert_eq!(code, 400, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_written_once_by_another_node_when_the_coordinator_dies_before_it_decides() {
    let mut cluster = three().await;
    let services = two().await;
    let id = begin(&cluster.nodes[0], &services);
    enlist_key(&cluster.nodes[0], &id, "orders/7", "paid").await;
    the_coordinator_dies_between_votes(&mut cluster.nodes[0], &services, &id).await;
    let node = &cluster.nodes[1];
    assert_eq!(get(&node.endpoint(), "orders/7").await.0, None);
    let told = node.told(&["txn", "commit", &id]).unwrap();
    assert_eq!(told["outcome"], "committed");
    ended(&services, Branch::Committed).await;
    let changes = changes(node, "orders/7").await;
    assert!(
        matches!(&changes[..], [(value, _)] if value == "paid"),
        "{changes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_as_decided_when_the_leader_dies_after_the_decision() {
    let mut cluster = three().await;
    let services = two().await;
    let first = leader(&cluster).await;
    let id = begin_a("three-phase", &cluster.nodes[first], &services);
    enlist_key(&cluster.nodes[first], &id, "orders/7", "paid").await;
    services[1].deafen(&["commit"]);
    let told = cluster.nodes[first].told(&["txn", "commit", &id]).unwrap();
    assert_eq!(told["outcome"], "committed");
    until("one has committed, and the other was told", async || {
        let committed = services[0].branches() == [Branch::Committed];
        (committed && services[1].heard("commit") > 0).then_some(())
    })
    .await;
    cluster.nodes[first].kill();
    services[1].deafen(&[]);
    ended(&services, Branch::Committed).await;
    let changes = changes(&cluster.nodes[(first + 1) % 3], "orders/7").await;
    assert!(
        matches!(&changes[..], [(value, _)] if value == "paid"),
        "{changes:?}"
    );
}
