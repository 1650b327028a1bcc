use atoll_control::proto::etcdserverpb::{DeleteRangeRequest, PutRequest};
use bytes::Bytes;

use super::*;
use crate::{
    client::{
        Retry,
        redis::{Link, Reply},
    },
    demo::port::{Door, Etcd, Redis},
    node::tests::Lone,
};

/// How long a healthy node may take for a few writes.
const WRITES_MAX: Duration = Duration::from_secs(30);

/// A load of two clients that has written three keys each, at least.
async fn written<P: Port>(port: P) -> Load<P> {
    let load = Load::start(port, 1, 2);
    let worked = async {
        while load.tally.lock().acknowledged.iter().any(|n| *n < 3) {
            clock::sleep(RETRY_PAUSE).await;
        }
    };
    clock::timeout(WRITES_MAX, worked).await.expect("it writes");
    load.stop().await;
    let losses = load.losses(0).await.unwrap();
    assert_eq!(losses, Losses::default());
    let summary = load.summary(&losses);
    assert_eq!((summary.lost, summary.missed_reads), (0, 0));
    assert!(summary.acknowledged >= 6 && summary.reads > 0);
    assert!(summary.longest_gap_ms > 0.0);
    load
}

#[tokio::test]
async fn what_somebody_takes_away_or_changes_is_lost() {
    let lone = Lone::start(&[]).await;
    let client = lone.root();
    let load = written(Etcd(vec![client.clone()])).await;
    let gone = DeleteRangeRequest {
        key: key(0, 1).into(),
        ..Default::default()
    };
    client
        .call(Retry::Never, gone, |node, request| async move {
            node.kv().delete_range(request).await
        })
        .await
        .unwrap();
    assert_eq!(load.losses(0).await.unwrap().count, 1);
    let changed = PutRequest {
        key: key(1, 0).into(),
        value: value(0, 0).into(),
        ..Default::default()
    };
    client
        .call(Retry::Never, changed, |node, request| async move {
            node.kv().put(request).await
        })
        .await
        .unwrap();
    assert_eq!(load.losses(0).await.unwrap().count, 2);
    lone.life.stop().await;
}

#[tokio::test]
async fn so_it_is_at_the_redis_port() {
    let lone = Lone::start(&[]).await;
    let options = lone.options();
    let address = lone.node().redis_address.to_string();
    let door = Door {
        options: options.clone(),
        address: address.clone(),
    };
    let load = written(Redis::new(vec![door])).await;
    let mut link = Link::open(&options, Some(&address)).await.unwrap();
    let gone = [Bytes::from_static(b"DEL"), key(0, 1).into()];
    assert_eq!(link.ask(&gone).await.unwrap(), Reply::Integer(1));
    let (changed, to) = (key(1, 0).into(), Bytes::from_static(b"x"));
    let change = [Bytes::from_static(b"SET"), changed, to];
    assert_eq!(link.ask(&change).await.unwrap(), Reply::Done);
    let losses = load.losses(0).await.unwrap();
    assert_eq!(losses.count, 2);
    assert_eq!(
        losses.examples,
        [
            "demo/00000/000000000001 is not there",
            "demo/00001/000000000000 holds \"x\""
        ]
    );
    lone.life.stop().await;
}
