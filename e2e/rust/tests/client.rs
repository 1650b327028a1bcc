//! Each service through the `etcd-client` crate.

use std::time::Duration;

use atoll_e2e_rust::{Served, refusal};
use etcd_client::{
    AlarmAction, AlarmType, Compare, CompareOp, DeleteOptions, EventType, GetOptions, LockOptions,
    Permission, ProclaimOptions, PutOptions, ResignOptions, SortOrder, SortTarget, Txn, TxnOp,
    WatchOptions,
};
use tokio::time::timeout;

/// No single wait takes longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn kv() {
    let served = Served::start().await;
    let mut client = served.client().await;
    client.put("r/a", "1", None).await.unwrap();
    let options = PutOptions::new().with_prev_key();
    let put = client.put("r/a", "2", Some(options)).await.unwrap();
    assert_eq!(put.prev_key().unwrap().value(), b"1");
    client.put("r/b", "3", None).await.unwrap();
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Key, SortOrder::Descend);
    let all = client.get("r/", Some(options)).await.unwrap();
    let keys: Vec<&[u8]> = all.kvs().iter().map(|kv| kv.key()).collect();
    assert_eq!(keys, [b"r/b", b"r/a"]);
    assert_eq!(all.kvs()[1].version(), 2);
    let options = GetOptions::new().with_prefix().with_count_only();
    assert_eq!(client.get("r/", Some(options)).await.unwrap().count(), 2);
    let options = DeleteOptions::new().with_prefix();
    assert_eq!(
        client.delete("r/", Some(options)).await.unwrap().deleted(),
        2
    );
    let refused = refusal(client.put("", "x", None).await);
    assert_eq!(refused, "etcdserver: key is not provided");
}

#[tokio::test]
async fn txn() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let create = Txn::new()
        .when([Compare::create_revision("t", CompareOp::Equal, 0)])
        .and_then([TxnOp::put("t", "made", None)])
        .or_else([TxnOp::get("t", None)]);
    assert!(client.txn(create.clone()).await.unwrap().succeeded());
    let again = client.txn(create).await.unwrap();
    assert!(!again.succeeded());
    assert_eq!(again.op_responses().len(), 1);
}

#[tokio::test]
async fn watch() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let options = WatchOptions::new().with_prefix().with_prev_key();
    let mut events = client.watch("w/", Some(options)).await.unwrap();
    client.put("w/a", "1", None).await.unwrap();
    client.delete("w/a", None).await.unwrap();
    let mut seen = Vec::new();
    let mut events_id = 0;
    while seen.len() < 2 {
        let answer = timeout(WAIT, events.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        events_id = answer.watch_id();
        seen.extend(answer.events().iter().map(|event| event.event_type()));
    }
    assert_eq!(seen, [EventType::Put, EventType::Delete]);
    events.cancel(events_id).await.unwrap();
    let answer = timeout(WAIT, events.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(answer.canceled());
}

#[tokio::test]
async fn lease() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let id = client.lease_grant(60, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(id);
    client.put("l", "x", Some(options)).await.unwrap();
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await.unwrap();
    keeper.keep_alive().await.unwrap();
    let answer = timeout(WAIT, answers.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(answer.ttl(), 60);
    assert_eq!(client.leases().await.unwrap().leases().len(), 1);
    client.lease_revoke(id).await.unwrap();
    assert!(client.get("l", None).await.unwrap().kvs().is_empty());
    let refused = refusal(client.lease_revoke(id).await);
    assert_eq!(refused, "etcdserver: requested lease not found");
}

#[tokio::test]
async fn lock_waits_for_its_holder() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let first = client.lease_grant(60, None).await.unwrap().id();
    let second = client.lease_grant(60, None).await.unwrap().id();
    let options = LockOptions::new().with_lease(first);
    let held = client.lock("lock", Some(options)).await.unwrap();
    let mut other = client.clone();
    let waiting = tokio::spawn(async move {
        let options = LockOptions::new().with_lease(second);
        other.lock("lock", Some(options)).await
    });
    client.unlock(held.key()).await.unwrap();
    let got = timeout(WAIT, waiting).await.unwrap().unwrap().unwrap();
    assert_ne!(got.key(), held.key());
    client.unlock(got.key()).await.unwrap();
}

#[tokio::test]
async fn election() {
    let served = Served::start().await;
    let mut client = served.client().await;
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let won = client.campaign("vote", "first", lease).await.unwrap();
    let leader = won.leader().unwrap().clone();
    let options = ProclaimOptions::new().with_leader(leader.clone());
    client.proclaim("again", Some(options)).await.unwrap();
    let seen = client.leader("vote").await.unwrap();
    assert_eq!(seen.kv().unwrap().value(), b"again");
    let mut observed = client.observe("vote").await.unwrap();
    let first = timeout(WAIT, observed.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(first.kv().unwrap().value(), b"again");
    let options = ResignOptions::new().with_leader(leader);
    client.resign(Some(options)).await.unwrap();
    let refused = refusal(client.leader("vote").await);
    assert_eq!(refused, "election: no leader");
}

#[tokio::test]
async fn cluster_and_maintenance() {
    let served = Served::start().await;
    let mut client = served.client().await;
    client.put("m", "1", None).await.unwrap();
    let members = client.member_list().await.unwrap();
    assert_eq!(members.members().len(), 1);
    let status = client.status().await.unwrap();
    assert_eq!(status.leader(), members.members()[0].id());
    assert!(!status.version().is_empty() && status.db_size() > 0);
    let hash = client.hash_kv(0).await.unwrap().hash();
    assert_eq!(client.hash_kv(0).await.unwrap().hash(), hash);
    client.defragment().await.unwrap();
    let alarms = client.alarm(AlarmAction::Get, AlarmType::None, None).await;
    assert!(alarms.unwrap().alarms().is_empty());
    let mut snapshot = client.snapshot().await.unwrap();
    let mut bytes = 0;
    while let Some(part) = timeout(WAIT, snapshot.message()).await.unwrap().unwrap() {
        bytes += part.blob().len();
    }
    assert!(bytes > 0);
}

#[tokio::test]
async fn auth() {
    let served = Served::start().await;
    let mut client = served.client().await;
    client.role_add("root").await.unwrap();
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("reader").await.unwrap();
    let permission = Permission::read("open/").with_prefix();
    client
        .role_grant_permission("reader", permission)
        .await
        .unwrap();
    client.user_add("ann", "pass", None).await.unwrap();
    client.user_grant_role("ann", "reader").await.unwrap();
    client.auth_enable().await.unwrap();

    let mut root = served.login("root", "secret").await.unwrap();
    root.put("open/a", "1", None).await.unwrap();
    let mut ann = served.login("ann", "pass").await.unwrap();
    assert_eq!(ann.get("open/a", None).await.unwrap().count(), 1);
    let denied = "etcdserver: permission denied";
    assert_eq!(refusal(ann.put("open/a", "2", None).await), denied);
    assert_eq!(refusal(ann.get("shut", None).await), denied);
    let refused = refusal(client.get("open/a", None).await);
    assert_eq!(refused, "etcdserver: user name is empty");
    let wrong = served.login("ann", "guess").await.err();
    assert!(wrong.is_some_and(|error| error.to_string().contains("authentication failed")));
    root.auth_disable().await.unwrap();
}
