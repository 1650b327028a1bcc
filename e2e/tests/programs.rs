//! Programs that use transactions by the client crate, against real processes.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use atoll_client::{Client, Error, Transaction};
use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    node::Node,
};
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use common::{all_placed, all_vote, connected, until};
use serde_json::json;

async fn client(node: &Node) -> Client {
    until("a node serves programs", async || {
        let client = Client::connect(&node.endpoint()).await.ok()?;
        client.begin().get("nothing").await.ok()?;
        Some(client)
    })
    .await
}

async fn number(txn: &Transaction, key: &str) -> Result<i64, Error> {
    let text = txn.get(key).await?.unwrap_or_default();
    Ok(String::from_utf8(text.to_vec())
        .unwrap()
        .parse()
        .unwrap_or(0))
}

#[tokio::test]
async fn programs_read_and_write_whole_or_not_at_all() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let client = client(node).await;

    // What it wrote itself it sees; others do when it is committed.
    let txn = client.begin();
    txn.put("seat:1", "ann");
    txn.put("seat:2", "bob");
    txn.put("{hall}:a", "1");
    assert_eq!(
        txn.get("seat:1").await.unwrap().as_deref(),
        Some(&b"ann"[..])
    );
    assert_eq!(client.begin().get("seat:1").await.unwrap(), None);
    assert!(client.commit(txn).await.unwrap());
    let mut redis = connected(node).await;
    let seat: String = redis::cmd("GET").arg("seat:2").query(&mut redis).unwrap();
    assert_eq!(seat, "bob");

    let txn = client.begin();
    txn.delete("seat:2");
    txn.put("seat:3", "cat");
    let names: Vec<String> = txn
        .scan("seat:")
        .await
        .unwrap()
        .into_iter()
        .map(|(name, value)| String::from_utf8([name, value].concat()).unwrap())
        .collect();
    assert_eq!(names, ["seat:1ann", "seat:3cat"]);
    assert!(client.commit(txn).await.unwrap());

    // By JSON, as other gateways of this kind have it: bytes in base64.
    let body = json!({"keys": [BASE64.encode("seat:1")]});
    let (code, told) = node.post("/v1/txn/read", &body).await.unwrap();
    assert_eq!((code, &told["found"][0]["exists"]), (200, &json!(true)));
    assert_eq!(told["found"][0]["value"], BASE64.encode("ann"));
    let version = told["found"][0]["version"].clone();
    let commit = json!({
        "read": [{"key": BASE64.encode("seat:1"), "version": version}],
        "writes": [{"key": BASE64.encode("seat:1"), "delete": true}],
    });
    for expected in [json!({"committed": true}), json!({})] {
        let told = node.post("/v1/txn/commit", &commit).await.unwrap();
        assert_eq!(told, (200, expected));
    }
    let body = json!({"prefix": BASE64.encode("seat:")});
    let (code, told) = node.post("/v1/txn/scan", &body).await.unwrap();
    assert_eq!((code, told["found"].as_array().unwrap().len()), (200, 1));

    // A value that is no string is told as such.
    redis::cmd("RPUSH")
        .arg("list")
        .arg(1)
        .exec(&mut redis)
        .unwrap();
    let refused = client.begin().get("list").await.unwrap_err().to_string();
    assert!(refused.contains("WRONGTYPE"), "{refused}");
}

#[tokio::test]
async fn what_was_read_stands_or_nothing_is_done() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let client = client(node).await;

    // Two that read the same, and write what the other has read.
    let set = client.begin();
    set.put("ann:on-call", "yes");
    set.put("bob:on-call", "yes");
    assert!(client.commit(set).await.unwrap());
    let mut both = Vec::new();
    for leaves in ["ann:on-call", "bob:on-call"] {
        let txn = client.begin();
        txn.get("ann:on-call").await.unwrap();
        txn.get("bob:on-call").await.unwrap();
        txn.put(leaves, "no");
        both.push(txn);
    }
    let mut done = Vec::new();
    for txn in both {
        done.push(client.commit(txn).await.unwrap());
    }
    assert_eq!(done, [true, false]);

    // Names that come, and a key that was there for a moment.
    for prefix in ["seat:", "{hall}:"] {
        let looked = client.begin();
        assert_eq!(looked.scan(prefix).await.unwrap(), []);
        looked.put("free", "yes");
        let other = client.begin();
        other.put(format!("{prefix}1"), "taken");
        assert!(client.commit(other).await.unwrap());
        assert!(!client.commit(looked).await.unwrap(), "{prefix}");
    }
    let looked = client.begin();
    assert_eq!(looked.get("ticket").await.unwrap(), None);
    looked.put("free", "yes");
    for text in [Some("here"), None] {
        let other = client.begin();
        match text {
            Some(text) => other.put("ticket", text),
            None => other.delete("ticket"),
        }
        assert!(client.commit(other).await.unwrap());
    }
    assert!(!client.commit(looked).await.unwrap());
    assert_eq!(client.begin().get("free").await.unwrap(), None);

    // What only reads is compared, too.
    let reads = client.begin();
    reads.get("ticket").await.unwrap();
    reads.scan("seat:").await.unwrap();
    assert!(client.commit(reads).await.unwrap());
}

#[tokio::test]
async fn what_is_committed_under_one_name_is_done_once() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let client = client(&cluster.nodes[0]).await;
    let order = || {
        let txn = client.begin();
        txn.put("order:7", "one book");
        txn
    };
    assert!(client.commit_as(order(), b"order 7").await.unwrap());
    let taken = client.begin();
    taken.delete("order:7");
    assert!(client.commit(taken).await.unwrap());
    // Its client heard nothing, and asks again.
    assert!(client.commit_as(order(), b"order 7").await.unwrap());
    assert_eq!(client.begin().get("order:7").await.unwrap(), None);
    let other = client.begin();
    other.put("order:7", "two books");
    assert!(client.commit_as(other, b"order 7").await.unwrap());
    assert_eq!(client.begin().get("order:7").await.unwrap(), None);
}

const ACCOUNTS: u64 = 12;
const EACH: i64 = 100;

async fn sum(client: &Client) -> i64 {
    let sum = client.transact(|txn| async move {
        let mut sum = 0;
        for account in 0..ACCOUNTS {
            sum += number(&txn, &format!("account:{account}")).await?;
        }
        Ok::<_, Error>(sum)
    });
    sum.await.unwrap()
}

/// Moves money about.
async fn move_about(client: Client, seed: u64) {
    for round in 0..60 {
        let (from, to) = (
            (seed + 5 * round) % ACCOUNTS,
            (seed + 7 * round + 1) % ACCOUNTS,
        );
        let moved = client.transact(|txn| async move {
            let (from, to) = (format!("account:{from}"), format!("account:{to}"));
            if from == to {
                return Ok(());
            }
            let (one, other) = (number(&txn, &from).await?, number(&txn, &to).await?);
            txn.put(from, (one - 3).to_string());
            txn.put(to, (other + 3).to_string());
            Ok::<_, Error>(())
        });
        moved.await.unwrap();
    }
}

#[tokio::test]
async fn no_money_is_lost_when_a_node_dies() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    all_placed(&cluster.nodes[0]).await;
    for node in &cluster.nodes {
        client(node).await;
    }
    let urls: Vec<String> = cluster.nodes.iter().map(Node::endpoint).collect();
    let client = Client::balanced(urls.iter().map(String::as_str)).unwrap();
    let open = client.begin();
    for account in 0..ACCOUNTS {
        open.put(format!("account:{account}"), EACH.to_string());
    }
    assert!(client.commit(open).await.unwrap());
    let movers: Vec<_> = (0..6)
        .map(|seed| tokio::spawn(move_about(client.clone(), seed)))
        .collect();
    let all = EACH * i64::try_from(ACCOUNTS).unwrap();
    assert_eq!(sum(&client).await, all);
    cluster.nodes[0].kill();
    assert_eq!(sum(&client).await, all);
    // Nobody heard of it.
    for mover in movers {
        mover.await.unwrap();
    }
    assert_eq!(sum(&client).await, all);
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    assert_eq!(sum(&client).await, all);
}
