//! One real node: what it acknowledged is there after any end.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::fs;

use atoll_control::proto::etcdserverpb::SnapshotRequest;
use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    node::{Node, run},
};
use common::{Load, get, maintenance, nothing_lost, put};

const WRITERS: usize = 8;
const WRITES: u64 = 300;

#[tokio::test]
async fn finds_everything_acknowledged_after_kill_9() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut counts = vec![0; WRITERS];
    for _ in 0..3 {
        let load = Load::start(&cluster.endpoints(), WRITERS, Some(&counts));
        load.more(WRITES).await;
        cluster.nodes[0].kill();
        counts = load.stop().await;
        cluster.nodes[0].start(&Entry::Again).await.unwrap();
        nothing_lost(&cluster.nodes[0].endpoint(), &counts).await;
    }
}

#[tokio::test]
async fn stops_cleanly_and_finds_everything() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let endpoint = cluster.nodes[0].endpoint();
    put(&endpoint, "a", "1").await;
    put(&endpoint, "a", "2").await;
    let before = get(&endpoint, "a").await;
    assert_eq!(
        before,
        (Some("2".to_owned()), 3),
        "a fresh store's first put is revision 2"
    );
    cluster.nodes[0].stop().await.unwrap();
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    assert_eq!(get(&endpoint, "a").await, before);
}

#[tokio::test]
async fn a_snapshot_makes_a_new_node() {
    let server = Server::under_test();
    let cluster = Cluster::start(&server, 1).await.unwrap();
    let endpoint = cluster.nodes[0].endpoint();
    for number in 0..100 {
        put(&endpoint, &format!("k/{number}"), &number.to_string()).await;
    }
    let stream = maintenance(&endpoint).snapshot(SnapshotRequest {}).await;
    let mut stream = stream.unwrap().into_inner();
    let mut copy = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        copy.extend_from_slice(&part.blob);
    }
    let file = cluster.dir().join("copy");
    fs::write(&file, copy).unwrap();

    let mut other = Node::new(server.clone(), cluster.dir(), "restored").unwrap();
    run(&mut server.restore(other.layout(), &file)).unwrap();
    other.start(&Entry::Again).await.unwrap();
    for number in 0..100 {
        let (value, _) = get(&other.endpoint(), &format!("k/{number}")).await;
        assert_eq!(value, Some(number.to_string()));
    }
}
