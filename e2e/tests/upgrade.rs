//! A rolling upgrade under load, with real processes: the cluster's feature level rises when
//! the last node has come back with a version that serves it, and an older one is refused
//! from then on. `control.feature_level_max` stands for the older version.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use atoll_e2e::{
    cluster::{Cluster, join_entry},
    command::{Entry, Server},
    node::{Error, Node},
};
use common::{Load, all_vote, leader, nothing_lost, status, until};

const WRITERS: usize = 6;
const WRITES: u64 = 200;
const OLD: &str = "1";
const NEW: u32 = 3;

fn server() -> Server {
    Server {
        kind: atoll_e2e::command::Kind::Atoll,
        path: atoll_e2e::command::atoll_path().to_path_buf(),
    }
}

/// Where the cluster stands and what the node serves, as the node says.
async fn levels(node: &Node) -> Option<(u32, u32)> {
    let status = status(&node.endpoint()).await?;
    Some((status.atoll_feature_level, status.atoll_feature_level_max))
}

/// Nobody is without a leader, and everybody has (nearly) everything.
async fn settled(cluster: &Cluster) {
    leader(cluster).await;
    until("every node is ready", async || {
        for node in &cluster.nodes {
            status(&node.endpoint()).await.filter(|it| it.leader != 0)?;
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn the_level_rises_with_the_last_node_and_nothing_is_lost() {
    let mut cluster =
        Cluster::start_with(&server(), 3, &[("ATOLL_CONTROL_FEATURE_LEVEL_MAX", OLD)])
            .await
            .unwrap();
    all_vote(&cluster).await;
    for node in &cluster.nodes {
        assert_eq!(levels(node).await, Some((1, 1)));
    }

    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    load.more(WRITES).await;
    // Followers first, the leader last, as docs/operations.md says.
    let first = leader(&cluster).await;
    let order = [(first + 1) % 3, (first + 2) % 3, first];
    for (step, &index) in order.iter().enumerate() {
        for node in &cluster.nodes {
            let (level, _) = levels(node).await.unwrap();
            assert_eq!(level, 1, "{step} of 3 nodes are new");
        }
        let node = &mut cluster.nodes[index];
        node.stop().await.unwrap();
        node.set_environment(&[]);
        node.start(&Entry::Again).await.unwrap();
        settled(&cluster).await;
        load.more(WRITES).await;
    }
    until("every node stands at the new level", async || {
        for node in &cluster.nodes {
            (levels(node).await? == (NEW, NEW)).then_some(())?;
        }
        Some(())
    })
    .await;
    load.more(WRITES).await;
    let acknowledged = load.stop().await;
    for node in &cluster.nodes {
        nothing_lost(&node.endpoint(), &acknowledged).await;
    }

    // Back to the old version, in order or after a crash: it says why it does not start.
    let (level, node) = (format!("at feature level {NEW}"), &mut cluster.nodes[0]);
    for crash in [false, true] {
        if crash {
            node.kill();
        } else {
            node.stop().await.unwrap();
        }
        node.set_environment(&[("ATOLL_CONTROL_FEATURE_LEVEL_MAX", OLD)]);
        let said = refused(node, &Entry::Again).await;
        assert!(said.contains(&level), "{said}");
        assert!(said.contains("serves level 1 only"), "{said}");
        node.set_environment(&[]);
        node.start(&Entry::Again).await.unwrap();
    }

    // An old one is not let in either, and the token is not used up by its attempt.
    let entry = join_entry(&cluster.nodes[0], 1).unwrap();
    let mut late = Node::new(server(), cluster.dir(), "late").unwrap();
    late.set_environment(&[("ATOLL_CONTROL_FEATURE_LEVEL_MAX", OLD)]);
    let said = refused(&mut late, &entry).await;
    assert!(said.contains(&level), "{said}");
    assert!(said.contains("serves level 1 only"), "{said}");
    late.set_environment(&[]);
    late.spawn(&entry).unwrap();
    until("the newcomer serves", async || levels(&late).await).await;
}

/// Starts a node that must end instead of serving; answers what it said at the end.
async fn refused(node: &mut Node, entry: &Entry) -> String {
    match node.start(entry).await {
        Err(Error::Ended { log, .. }) => log,
        other => panic!("it should have ended: {other:?}"),
    }
}
