//! Three real nodes: any one of them may die, and nothing acknowledged is lost.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use atoll_control::proto::etcdserverpb::{MemberListRequest, MemberRemoveRequest};
use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
};
use common::{Load, all_vote, get, leader, members, nothing_lost, put, status, until};

const WRITERS: usize = 9;
const WRITES: u64 = 300;

#[tokio::test]
async fn killing_the_leader_under_load_loses_nothing() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    for _ in 0..2 {
        load.more(WRITES).await;
        let index = leader(&cluster).await;
        cluster.nodes[index].kill();
        load.more(WRITES).await;
        cluster.nodes[index].start(&Entry::Again).await.unwrap();
    }
    let counts = load.stop().await;
    for node in &cluster.nodes {
        nothing_lost(&node.endpoint(), &counts).await;
    }
}

#[tokio::test]
async fn all_nodes_killed_at_once_find_everything() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    load.more(WRITES).await;
    for node in &mut cluster.nodes {
        node.kill();
    }
    let counts = load.stop().await;
    for node in &mut cluster.nodes {
        node.spawn(&Entry::Again).unwrap();
    }
    for node in &mut cluster.nodes {
        node.ready().await.unwrap();
        nothing_lost(&node.endpoint(), &counts).await;
    }
}

#[tokio::test]
async fn writes_go_on_without_a_stopped_leader() {
    let cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    load.more(WRITES).await;
    let index = leader(&cluster).await;
    cluster.nodes[index].pause().unwrap();
    load.more(WRITES).await;
    cluster.nodes[index].resume().unwrap();
    load.more(WRITES).await;
    let counts = load.stop().await;
    // The one that was stopped must not answer from its past.
    nothing_lost(&cluster.nodes[index].endpoint(), &counts).await;
}

#[tokio::test]
async fn a_removed_member_is_gone() {
    let cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let first = cluster.nodes[0].endpoint();
    let last = cluster.nodes[2].endpoint();
    let id = status(&last).await.unwrap().header.unwrap().member_id;
    // A server may refuse to shrink for some seconds after it has grown.
    until("the member is removed", async || {
        let request = MemberRemoveRequest { id };
        members(&first).member_remove(request).await.ok()
    })
    .await;
    let request = MemberListRequest::default();
    let list = members(&first).member_list(request).await.unwrap();
    let list = list.into_inner().members;
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|member| member.id != id));
    put(&first, "after", "1").await;
    let (value, _) = get(&cluster.nodes[1].endpoint(), "after").await;
    assert_eq!(value.as_deref(), Some("1"));
}
