//! Transactions over keys of any partitions, with real processes and a client that Redis's users
//! have: the node that coordinates dies, and nothing is half done.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    node::Node,
};
use common::{all_placed, all_vote, connected, run};
use redis::{Connection, RedisResult};

const ACCOUNTS: u64 = 40;
const EACH: i64 = 100;

fn account(number: u64) -> String {
    format!("account:{}", number % ACCOUNTS)
}

fn open_accounts(client: &mut Connection) {
    let mut mset = redis::cmd("MSET");
    for number in 0..ACCOUNTS {
        mset.arg(account(number)).arg(EACH);
    }
    let told: String = mset.query(client).unwrap();
    assert_eq!(told, "OK");
}

/// All accounts as they were at one moment.
fn sum(client: &mut Connection) -> i64 {
    let mut pipe = redis::pipe();
    pipe.atomic();
    for number in 0..ACCOUNTS {
        pipe.cmd("GET").arg(account(number));
    }
    let balances: Vec<i64> = pipe.query(client).unwrap();
    balances.iter().sum()
}

fn transfer(client: &mut Connection, from: u64, to: u64) -> RedisResult<(i64, i64)> {
    redis::pipe()
        .atomic()
        .cmd("DECRBY")
        .arg(account(from))
        .arg(3)
        .cmd("INCRBY")
        .arg(account(to))
        .arg(3)
        .query(client)
}

/// A client that moves money about until it is told to stop, or its node is gone.
fn move_about(
    mut client: Connection,
    seed: u64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for round in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let (from, to) = (seed + 7 * round, seed + 3 * round + 1);
            match transfer(&mut client, from, to) {
                Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
                Err(error) if error.is_io_error() => return,
                // Nothing was done, or nobody knows: the sum stands either way.
                Err(_) => {}
            }
        }
    })
}

#[tokio::test]
async fn money_moves_and_none_is_lost_when_the_node_that_moves_it_dies() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    all_placed(&cluster.nodes[0]).await;
    let mut look = connected(&cluster.nodes[1]).await;
    open_accounts(&mut look);
    let all = EACH * i64::try_from(ACCOUNTS).unwrap();
    assert_eq!(sum(&mut look), all);

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut workers = Vec::new();
    for worker in 0..6_usize {
        let client = connected(&cluster.nodes[worker % 3]).await;
        let seed = worker as u64;
        workers.push(move_about(client, seed, stop.clone(), Arc::clone(&done)));
    }
    let moved = |least| {
        let done = Arc::clone(&done);
        common::until("money moves", async move || {
            (done.load(Ordering::Relaxed) >= least).then_some(())
        })
    };
    moved(50).await;
    cluster.nodes[0].kill();
    assert_eq!(sum(&mut look), all);
    let before = done.load(Ordering::Relaxed);
    moved(before + 50).await;
    assert_eq!(sum(&mut look), all);
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    let mut again = connected(&cluster.nodes[0]).await;
    assert_eq!(sum(&mut again), all);
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(sum(&mut again), all);
}

async fn start_one() -> (Cluster, Connection) {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node: &Node = &cluster.nodes[0];
    let client = connected(node).await;
    (cluster, client)
}

#[tokio::test]
async fn commands_of_one_thread_work_on_a_thousand_partitions() {
    let (cluster, mut client) = start_one().await;
    let mut other = connected(&cluster.nodes[0]).await;
    let one = &mut client;
    let _: () = run(one, "SADD left a b c").unwrap();
    let _: () = run(one, "SADD right b c d").unwrap();
    assert_eq!(run::<u64>(one, "SINTERSTORE both left right").unwrap(), 2);
    assert_eq!(run::<u64>(one, "SMOVE left right a").unwrap(), 1);
    assert_eq!(run::<u64>(one, "SCARD right").unwrap(), 4);
    let _: () = run(one, "RPUSH queue first second").unwrap();
    let moved: String = run(one, "LMOVE queue doing LEFT RIGHT").unwrap();
    assert_eq!(moved, "first");
    assert_eq!(run::<String>(one, "RENAME doing done").unwrap(), "OK");
    assert_eq!(run::<u64>(one, "EXISTS doing done").unwrap(), 1);
    assert_eq!(run::<u64>(one, "MSETNX done 1 fresh 2").unwrap(), 0);
    assert_eq!(run::<u64>(one, "EXISTS fresh").unwrap(), 0);

    // WATCH: somebody else is quicker.
    let _: () = run(one, "MSET x 1 y 2").unwrap();
    let _: () = run(one, "WATCH x").unwrap();
    let _: () = run(&mut other, "SET x 5").unwrap();
    let _: () = run(one, "MULTI").unwrap();
    let _: () = run(one, "SET y 3").unwrap();
    let _: () = run(one, "SET z 4").unwrap();
    let told: Option<Vec<String>> = run(one, "EXEC").unwrap();
    assert_eq!(told, None);
    let found: Vec<Option<String>> = run(one, "MGET x y z").unwrap();
    assert_eq!(found, [Some("5".into()), Some("2".into()), None]);

    // What can't be had says so, and does nothing.
    let refused = run::<String>(one, "BLPOP nowhere elsewhere 1").unwrap_err();
    assert_eq!(refused.code(), Some("CROSSSLOT"));
}

/// Ends itself after about so many seconds of work.
const SLOW: &str = "local began = os.clock() \
                    redis.call('decrby', KEYS[1], 3) \
                    while os.clock() - began < tonumber(ARGV[1]) do end \
                    return redis.call('incrby', KEYS[2], 3)";

fn script(client: &mut Connection, from: u64, to: u64, seconds: f64) -> RedisResult<i64> {
    redis::cmd("EVAL")
        .arg(SLOW)
        .arg(2)
        .arg(account(from))
        .arg(account(to))
        .arg(seconds)
        .query(client)
}

#[tokio::test]
async fn scripts_run_over_keys_of_any_partitions_and_can_be_ended() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    all_placed(&cluster.nodes[0]).await;
    let mut look = connected(&cluster.nodes[1]).await;
    open_accounts(&mut look);
    let all = EACH * i64::try_from(ACCOUNTS).unwrap();
    // Longer than locks are left to somebody who says nothing.
    for node in 0..3 {
        let mut client = connected(&cluster.nodes[node]).await;
        let (from, to) = (node as u64, 20 + node as u64);
        assert_eq!(script(&mut client, from, to, 0.4).unwrap(), EACH + 3);
        assert_eq!(sum(&mut look), all);
    }
    let mut client = connected(&cluster.nodes[0]).await;
    let endless = std::thread::spawn(move || script(&mut client, 5, 25, 1e9));
    let mut killer = connected(&cluster.nodes[0]).await;
    common::until("a script to end", async move || {
        let told: RedisResult<String> = redis::cmd("SCRIPT").arg("KILL").query(&mut killer);
        told.ok()
    })
    .await;
    let ended = endless.join().unwrap().unwrap_err().to_string();
    assert!(ended.contains("Script killed by user"), "{ended}");
    assert_eq!(sum(&mut look), all);
    let (five, other): (i64, i64) = redis::cmd("MGET")
        .arg(account(5))
        .arg(account(25))
        .query(&mut look)
        .unwrap();
    assert_eq!((five, other), (EACH, EACH));
    cluster.nodes[0].kill();
}
