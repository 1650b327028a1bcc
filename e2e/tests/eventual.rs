//! Eventual keyspaces with real processes: two sides that never hear of each other while they are
//! apart both take writes, and come to the same.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    node::Node,
};
use common::{all_placed, all_vote, connected, run, until};
use redis::Connection;

/// A client that has chosen the keyspace, once its node has heard of it.
async fn in_carts(node: &Node) -> Connection {
    let mut client = connected(node).await;
    until("the node knows the keyspace", async || {
        run::<String>(&mut client, "SELECT carts").ok()
    })
    .await;
    until("the replica there is filled", async || {
        run::<Option<String>>(&mut client, "GET nothing").ok()
    })
    .await;
    client
}

/// What INFO tells of the keyspace.
fn figure(client: &mut Connection, name: &str) -> Option<u64> {
    let info: String = run(client, "INFO eventual").unwrap();
    let line = info.lines().find(|line| line.contains("name=carts"))?;
    let facts = line.split_once(':')?.1;
    let mut facts = facts.split(',').filter_map(|fact| fact.split_once('='));
    facts.find(|(fact, _)| *fact == name)?.1.parse().ok()
}

#[tokio::test]
async fn two_sides_that_are_apart_go_on_and_come_to_the_same() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    all_placed(&cluster.nodes[0]).await;
    let redis = format!("127.0.0.1:{}", cluster.nodes[0].layout().redis_port);
    let create = [
        "keyspace",
        "create",
        "carts",
        "--consistency",
        "eventual",
        "--redis",
        &redis,
    ];
    let created = cluster.nodes[0].told(&create).unwrap();
    assert_eq!(created["number"], 32);
    let listed = cluster.nodes[0].told(&["keyspace", "list", "--redis", &redis]);
    assert_eq!(listed.unwrap()[0]["consistency"], "eventual");

    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(in_carts(node).await);
    }
    let all = "ATOLL.CONSISTENCY WRITE ALL";
    assert_eq!(run::<String>(&mut clients[0], all).unwrap(), "OK");
    assert_eq!(
        run::<String>(&mut clients[0], "SET a before").unwrap(),
        "OK"
    );
    assert_eq!(run::<u64>(&mut clients[0], "INCRBY n 100").unwrap(), 100);
    assert_eq!(run::<u64>(&mut clients[2], "GET n").unwrap(), 100);

    // One side: one of three, without a majority of anything.
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let alone = &mut clients[2];
    assert_eq!(run::<u64>(alone, "INCRBY n 5").unwrap(), 105);
    assert_eq!(run::<u64>(alone, "SADD s alone").unwrap(), 1);
    assert_eq!(run::<String>(alone, "SET a alone").unwrap(), "OK");
    let refused = run::<String>(alone, "RPUSH list 1")
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("not available in an eventual"),
        "{refused}"
    );
    run::<String>(alone, "ATOLL.CONSISTENCY WRITE QUORUM").unwrap();
    let refused = run::<String>(alone, "SET b x").unwrap_err();
    assert_eq!(refused.code(), Some("NOREPLICAS"));
    // The choice: what is linearizable waits for a majority.
    run::<String>(alone, "SELECT 0").unwrap();
    assert!(run::<String>(alone, "SET linearizable x").is_err());

    // The other side: the other two, which hear nothing of the first.
    cluster.nodes[2].kill();
    for at in [0, 1] {
        cluster.nodes[at].spawn(&Entry::Again).unwrap();
    }
    for at in [0, 1] {
        cluster.nodes[at].ready().await.unwrap();
        clients[at] = in_carts(&cluster.nodes[at]).await;
    }
    assert_eq!(run::<u64>(&mut clients[0], "INCRBY n 7").unwrap(), 107);
    assert_eq!(run::<u64>(&mut clients[1], "SADD s both").unwrap(), 1);

    // Together again.
    cluster.nodes[2].start(&Entry::Again).await.unwrap();
    clients[2] = in_carts(&cluster.nodes[2]).await;
    for (at, client) in clients.iter_mut().enumerate() {
        until(&format!("node {at} has everything"), async || {
            let sum = run::<u64>(client, "GET n").ok()?;
            let members = run::<BTreeSet<String>>(client, "SMEMBERS s").ok()?;
            let last = run::<String>(client, "GET a").ok()?;
            let told = run::<Option<String>>(client, "GET b").ok()??;
            let wanted = BTreeSet::from(["alone".to_owned(), "both".to_owned()]);
            (sum == 112 && members == wanted && last == "alone" && told == "x").then_some(())
        })
        .await;
        until("it knows how far behind it is", async || {
            (figure(client, "unknown")? == 0 && figure(client, "behind_ms")? < 10_000).then_some(())
        })
        .await;
    }
}
