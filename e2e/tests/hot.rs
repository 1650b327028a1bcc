//! Hot data with real processes and a client that Redis's users have: one node, three nodes, a
//! node that dies.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    node::{Node, run},
};
use common::{all_placed, all_vote, connected, until};
use redis::Connection;
use serde_json::Value;

const KEYS: u64 = 60;

fn set(connection: &mut Connection, key: &str, value: &str) -> String {
    redis::cmd("SET")
        .arg(key)
        .arg(value)
        .query(connection)
        .unwrap()
}

fn get(connection: &mut Connection, key: &str) -> Option<String> {
    redis::cmd("GET").arg(key).query(connection).unwrap()
}

#[tokio::test]
async fn one_node_keeps_what_it_was_told() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut client = connected(&cluster.nodes[0]).await;
    assert_eq!(set(&mut client, "message", "Hello World"), "OK");
    assert_eq!(get(&mut client, "message").as_deref(), Some("Hello World"));
    let length: u64 = redis::cmd("RPUSH")
        .arg("list")
        .arg(&["a", "b", "c"])
        .query(&mut client)
        .unwrap();
    assert_eq!(length, 3);
    let _: u64 = redis::cmd("HSET")
        .arg("hash")
        .arg(&["field", "value"])
        .query(&mut client)
        .unwrap();
    let _: u64 = redis::cmd("ZADD")
        .arg("sorted")
        .arg(&["2", "b", "1", "a"])
        .query(&mut client)
        .unwrap();
    let (count, text): (u64, String) = redis::pipe()
        .atomic()
        .cmd("INCRBY")
        .arg("{t}n")
        .arg(5)
        .cmd("GET")
        .arg("{t}n")
        .query(&mut client)
        .unwrap();
    assert_eq!((count, &*text), (5, "5"));
    let wrong = redis::cmd("INCR").arg("list").query::<u64>(&mut client);
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .contains("wrong kind of value")
    );

    cluster.nodes[0].kill();
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    let mut client = connected(&cluster.nodes[0]).await;
    assert_eq!(get(&mut client, "message").as_deref(), Some("Hello World"));
    let list: Vec<String> = redis::cmd("LRANGE")
        .arg("list")
        .arg(&["0", "-1"])
        .query(&mut client)
        .unwrap();
    assert_eq!(list, ["a", "b", "c"]);
    let sorted: Vec<String> = redis::cmd("ZRANGE")
        .arg("sorted")
        .arg(&["0", "-1"])
        .query(&mut client)
        .unwrap();
    assert_eq!(sorted, ["a", "b"]);
    let size: u64 = redis::cmd("DBSIZE").query(&mut client).unwrap();
    assert_eq!(size, 5);
}

/// A client that counts keys up, one after the other, until it is told to stop; a count is noted
/// once it was acknowledged.
fn count_up(
    mut client: Connection,
    worker: usize,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<(BTreeMap<String, u64>, Duration)> {
    std::thread::spawn(move || {
        let mut counts = BTreeMap::new();
        let mut longest = Duration::ZERO;
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let key = format!("count:{worker}:{}", round % KEYS);
            let begin = Instant::now();
            let count: u64 = redis::cmd("INCR").arg(&key).query(&mut client).unwrap();
            longest = longest.max(begin.elapsed());
            counts.insert(key, count);
        }
        (counts, longest)
    })
}

#[tokio::test]
async fn a_node_that_dies_takes_nothing_with_it() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let mut first = connected(&cluster.nodes[0]).await;
    for key in 0..KEYS {
        set(&mut first, &format!("before:{key}"), "here");
    }
    all_placed(&cluster.nodes[0]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for worker in 0..4 {
        let client = connected(&cluster.nodes[1 + worker % 2]).await;
        workers.push(count_up(client, worker, stop.clone()));
    }
    // It owns partitions, as it was asked first.
    for key in 0..KEYS {
        set(&mut first, &format!("more:{key}"), "here");
    }
    cluster.nodes[0].kill();
    let mut second = connected(&cluster.nodes[1]).await;
    for key in 0..KEYS {
        set(&mut second, &format!("after:{key}"), "here");
    }
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    let mut again = connected(&cluster.nodes[0]).await;
    for key in 0..KEYS {
        set(&mut again, &format!("again:{key}"), "here");
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        let (counts, longest) = worker.join().unwrap();
        println!("{} counts, the longest took {longest:?}", counts.len());
        for (key, count) in counts {
            let found: u64 = redis::cmd("GET").arg(&key).query(&mut again).unwrap();
            assert_eq!(found, count, "{key}");
        }
    }
    for when in ["before", "more", "after", "again"] {
        for key in 0..KEYS {
            let found = get(&mut again, &format!("{when}:{key}"));
            assert_eq!(found.as_deref(), Some("here"), "{when}:{key}");
        }
    }
}

/// What `atoll status` tells of hot data.
fn hot_status(node: &Node) -> Value {
    node.told(&["status"]).unwrap()["hot"].take()
}

fn all_here(node: &mut Connection) {
    for key in 0..KEYS {
        let found = get(node, &format!("key:{key}"));
        assert_eq!(found.as_deref(), Some("here"), "key:{key}");
    }
}

#[tokio::test]
async fn a_node_is_drained_and_removed_and_nothing_is_lost() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let mut first = connected(&cluster.nodes[0]).await;
    for key in 0..KEYS {
        set(&mut first, &format!("key:{key}"), "here");
    }
    all_placed(&cluster.nodes[0]).await;
    let ids: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| node.id().unwrap())
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let client = connected(&cluster.nodes[1]).await;
    let worker = count_up(client, 1, stop.clone());

    let drain = ["--output", "json", "node", "drain", &ids[2], "--wait"];
    let printed = run(&mut cluster.nodes[0].atoll(&drain)).unwrap();
    let drained: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(drained["partitions_left"], 0, "{printed}");
    assert_eq!(drained["replicas"], 2, "{printed}");
    assert_eq!(drained["failures_survived"], 0, "{printed}");
    stop.store(true, Ordering::Relaxed);
    let (counts, longest) = worker.join().unwrap();
    println!("{} counts, the longest took {longest:?}", counts.len());
    let hot = hot_status(&cluster.nodes[0]);
    assert_eq!(hot["draining"][0]["partitions_left"], 0, "{hot}");
    assert_eq!(hot["replicas_max"], 2, "{hot}");
    let text = run(&mut cluster.nodes[0].atoll(&["status"])).unwrap();
    let line = format!("drained: {} holds no hot data", ids[2]);
    assert!(text.contains(&line), "{text}");
    // It still serves clients, from what the others hold, also after a start.
    let mut third = connected(&cluster.nodes[2]).await;
    all_here(&mut third);
    cluster.nodes[2].kill();
    cluster.nodes[2].start(&Entry::Again).await.unwrap();
    let mut third = connected(&cluster.nodes[2]).await;
    all_here(&mut third);
    for (key, count) in &counts {
        let found: u64 = redis::cmd("GET").arg(key).query(&mut third).unwrap();
        assert_eq!(found, *count, "{key}");
    }

    // Without one of the two others, nobody could serve anything.
    let refused = run(&mut cluster.nodes[0].atoll(&["node", "remove", &ids[1]]));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no majority"), "{refused}");
    let next = format!("atoll node drain {} --wait", ids[1]);
    assert!(refused.contains(&next), "{refused}");

    let removed = run(&mut cluster.nodes[0].atoll(&["node", "remove", &ids[2]])).unwrap();
    let told = format!("node {} is no longer part of the cluster", ids[2]);
    assert_eq!(removed.trim(), told);
    cluster.nodes[2].kill();
    until("nobody knows it any more", async || {
        let hot = hot_status(&cluster.nodes[0]);
        (hot["draining"].as_array()?.is_empty() && hot["moving"] == 0).then_some(())
    })
    .await;
    all_here(&mut first);

    // Of two, one can be drained, and the other not then.
    run(&mut cluster.nodes[0].atoll(&["node", "drain", &ids[1]])).unwrap();
    let refused = run(&mut cluster.nodes[0].atoll(&["node", "drain", &ids[0]]));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("atoll node undrain"), "{refused}");
    let undrain = ["node", "undrain", &ids[1]];
    run(&mut cluster.nodes[0].atoll(&undrain)).unwrap();
    until("it is not drained any more", async || {
        let hot = hot_status(&cluster.nodes[0]);
        hot["draining"].as_array()?.is_empty().then_some(())
    })
    .await;
    all_here(&mut first);
}
