//! The cluster listener with real processes and a cluster client: it goes straight to owners,
//! and finds others when one dies.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    node::Node,
};
use common::{WAIT, all_placed, all_vote, until};
use redis::{Connection, ErrorKind, ServerErrorKind, Value, cluster::ClusterClientBuilder};

const KEYS: u64 = 100;
const SLOTS: u16 = 16_384;

fn url(node: &Node) -> String {
    format!("redis://127.0.0.1:{}/", node.layout().redis_cluster_port)
}

fn connect(url: &str) -> redis::RedisResult<Connection> {
    let connection = redis::Client::open(url)?.get_connection()?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(connection)
}

/// The nodes' lines in CLUSTER NODES.
fn lines(connection: &mut Connection) -> redis::RedisResult<Vec<String>> {
    let text: String = redis::cmd("CLUSTER").arg("NODES").query(connection)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Waits until every running node tells of so many nodes that can be reached.
async fn all_known(cluster: &mut Cluster, count: usize) {
    for at in 0..cluster.nodes.len() {
        if !cluster.nodes[at].is_running() {
            continue;
        }
        let url = url(&cluster.nodes[at]);
        until("every node knows where the others are", async || {
            let lines = lines(&mut connect(&url).ok()?).ok()?;
            let up = lines.iter().filter(|line| !line.contains("fail"));
            (up.count() == count).then_some(())
        })
        .await;
    }
}

/// The slots' owners as a node tells them: the first node of each range.
fn owners(connection: &mut Connection) -> BTreeMap<u16, (String, u16)> {
    let ranges: Vec<Vec<Value>> = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query(connection)
        .unwrap();
    let mut owners = BTreeMap::new();
    for range in ranges {
        let bound = |at: usize| redis::from_redis_value_ref::<u16>(&range[at]).unwrap();
        for node in &range[2..] {
            let Value::Array(node) = node else {
                panic!("{node:?} is no node");
            };
            let host: String = redis::from_redis_value_ref(&node[0]).unwrap();
            assert!(!host.is_empty(), "an address is always announced");
        }
        let Value::Array(owner) = &range[2] else {
            panic!("{range:?} has no owner");
        };
        let host: String = redis::from_redis_value_ref(&owner[0]).unwrap();
        let port: u16 = redis::from_redis_value_ref(&owner[1]).unwrap();
        for slot in bound(0)..=bound(1) {
            let before = owners.insert(slot, (host.clone(), port));
            assert_eq!(before, None, "slot {slot} is told twice");
        }
    }
    assert_eq!(owners.len(), usize::from(SLOTS));
    owners
}

#[tokio::test]
async fn a_cluster_client_lives_through_the_death_of_an_owner() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    all_placed(&cluster.nodes[0]).await;
    all_known(&mut cluster, 3).await;
    let urls: Vec<String> = cluster.nodes.iter().map(url).collect();
    let maker = ClusterClientBuilder::new(urls.clone())
        .connection_timeout(Duration::from_secs(2))
        .response_timeout(Duration::from_secs(10))
        .retries(16)
        .build()
        .unwrap();
    let mut client = maker.get_connection().unwrap();
    for key in 0..KEYS {
        redis::cmd("SET")
            .arg(format!("k{key}"))
            .arg(key)
            .exec(&mut client)
            .unwrap();
    }

    // Whoever does not own a key says who does, and that one serves it.
    let mut connections: Vec<Connection> = urls.iter().map(|url| connect(url).unwrap()).collect();
    let mut moved = 0;
    let mut serving = BTreeSet::new();
    for key in 0..KEYS {
        let key = format!("k{key}");
        for at in 0..connections.len() {
            let asked = redis::cmd("GET")
                .arg(&key)
                .query::<String>(&mut connections[at]);
            let Err(error) = asked else {
                serving.insert(at);
                continue;
            };
            assert_eq!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::Moved),
                "{error}"
            );
            let (address, _) = error.redirect_node().unwrap();
            let owner = urls.iter().position(|url| url.contains(address)).unwrap();
            assert_ne!(owner, at, "it sent the client back to itself");
            let found: String = redis::cmd("GET")
                .arg(&key)
                .query(&mut connections[owner])
                .unwrap();
            assert_eq!(format!("k{found}"), key);
            moved += 1;
        }
    }
    assert!(
        moved >= KEYS,
        "{moved} times a client was sent to the owner"
    );

    // Replicas read for those who want that, soon after it was written.
    let key = "k0";
    for connection in &mut connections {
        redis::cmd("READONLY").exec(connection).unwrap();
    }
    until("two replicas and the owner read", async || {
        let mut reading = 0;
        for connection in &mut connections {
            let found = redis::cmd("GET").arg(key).query::<String>(connection);
            reading += u64::from(found.is_ok_and(|found| found == "0"));
        }
        (reading == 3).then_some(())
    })
    .await;
    let sum: u64 = connections
        .iter_mut()
        .map(|it| redis::cmd("DBSIZE").query::<u64>(it).unwrap())
        .sum();
    assert_eq!(sum, KEYS, "each counts what it owns");

    // One that owns something dies.
    let victim = *serving.first().unwrap();
    cluster.nodes[victim].kill();
    let mut longest = Duration::ZERO;
    for key in 0..KEYS {
        let begin = Instant::now();
        let mut incr = redis::cmd("INCRBY");
        incr.arg(format!("k{key}")).arg(1000);
        // This client tells of a node that refuses connections instead of asking another for the
        // slots; made anew, it does.
        while let Err(error) = incr.exec(&mut client) {
            assert!(error.is_io_error(), "k{key}: {error}");
            assert!(begin.elapsed() < WAIT, "k{key}: {error}");
            client = maker.get_connection().unwrap();
        }
        longest = longest.max(begin.elapsed());
    }
    println!("the longest call after the kill took {longest:?}");
    for key in 0..KEYS {
        let found: u64 = redis::cmd("GET")
            .arg(format!("k{key}"))
            .query(&mut client)
            .unwrap();
        // A client that tried again may have been heard twice, as with every Redis.
        assert!(
            found >= key + 1000 && (found - key).is_multiple_of(1000),
            "k{key} is {found}"
        );
    }
    let survivor = (victim + 1) % 3;
    let port = cluster.nodes[victim].layout().redis_cluster_port;
    let mut connection = connect(&urls[survivor]).unwrap();
    let told = owners(&mut connection);
    assert!(
        told.values().all(|(_, other)| *other != port),
        "nobody is sent to the dead"
    );

    // It comes back, and is one of them again.
    cluster.nodes[victim].start(&Entry::Again).await.unwrap();
    all_known(&mut cluster, 3).await;
    for key in 0..KEYS {
        redis::cmd("SET")
            .arg(format!("k{key}"))
            .arg("again")
            .exec(&mut client)
            .unwrap();
        let found: String = redis::cmd("GET")
            .arg(format!("k{key}"))
            .query(&mut client)
            .unwrap();
        assert_eq!(found, "again");
    }
}

#[tokio::test]
async fn one_node_is_a_cluster_of_its_own() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    all_known(&mut cluster, 1).await;
    let url = url(&cluster.nodes[0]);
    let mut connection = connect(&url).unwrap();
    let told = owners(&mut connection);
    let port = cluster.nodes[0].layout().redis_cluster_port;
    assert!(
        told.values()
            .all(|owner| *owner == ("127.0.0.1".to_owned(), port))
    );
    let info: String = redis::cmd("CLUSTER")
        .arg("INFO")
        .query(&mut connection)
        .unwrap();
    assert!(info.contains("cluster_state:ok"), "{info}");
    let id: String = redis::cmd("CLUSTER")
        .arg("MYID")
        .query(&mut connection)
        .unwrap();
    cluster.nodes[0].kill();
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    all_known(&mut cluster, 1).await;
    let mut connection = connect(&url).unwrap();
    let again: String = redis::cmd("CLUSTER")
        .arg("MYID")
        .query(&mut connection)
        .unwrap();
    assert_eq!(id, again, "its name stays");
    let select = redis::cmd("SELECT").arg(1).exec(&mut connection);
    assert!(
        select
            .unwrap_err()
            .to_string()
            .contains("not allowed in cluster mode")
    );
}
