//! A lock holder that is paused for longer than its lease, as real processes: its lock goes to
//! the next, and what it writes late is refused.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use atoll_e2e::{cluster::Cluster, command::Server, node::Node};
use common::connected;
use redis::{Connection, RedisResult};
use rustix::process::{Pid, Signal, kill_process_group};

/// `atoll lock` with a command that says its token and waits to be ended.
fn holder(node: &Node, name: &str, more: &[&str]) -> Child {
    use std::os::unix::process::CommandExt as _;
    let mut command = node.atoll(&["lock", name, "--ttl-s", "2"]);
    command.args(more);
    command.args([
        "--",
        "sh",
        "-c",
        "echo $ATOLL_LOCK_REVISION; exec sleep 600",
    ]);
    command.process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The token, once the lock is held.
fn token(holder: &mut Child) -> i64 {
    let mut line = String::new();
    let told = holder.stdout.as_mut().unwrap();
    BufReader::new(told).read_line(&mut line).unwrap();
    line.trim().parse().unwrap()
}

fn signal(holder: &Child, signal: Signal) {
    let group = Pid::from_raw(holder.id().try_into().unwrap()).unwrap();
    kill_process_group(group, signal).unwrap();
}

fn write(client: &mut Connection, token: i64, value: &str) -> RedisResult<String> {
    redis::cmd("ATOLL.FENCED")
        .arg("backup:fence")
        .arg(token)
        .arg("SET")
        .arg("backup:state")
        .arg(value)
        .query(client)
}

#[tokio::test]
async fn what_a_paused_holder_writes_late_is_refused() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let mut client = connected(node).await;
    let mut first = holder(node, "backup", &[]);
    let early = token(&mut first);
    assert_eq!(write(&mut client, early, "first").unwrap(), "OK");
    // `atoll lock` goes on no more: it neither renews its lease nor ends its command.
    signal(&first, Signal::STOP);
    let mut second = holder(node, "backup", &[]);
    let late = token(&mut second);
    assert!(late > early);
    assert_eq!(write(&mut client, late, "second").unwrap(), "OK");
    let refused = write(&mut client, early, "first again").unwrap_err();
    assert_eq!(refused.code(), Some("FENCED"));
    let state: String = redis::cmd("GET")
        .arg("backup:state")
        .query(&mut client)
        .unwrap();
    assert_eq!(state, "second");
    // Awake, the first finds that its lock is lost, ends its command, and says so.
    signal(&first, Signal::CONT);
    assert_eq!(first.wait().unwrap().code(), Some(5));
    signal(&second, Signal::TERM);
    second.wait().unwrap();
}

#[tokio::test]
async fn several_hold_what_is_shared_and_what_has_permits() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    for more in [["--shared"].as_slice(), &["--permits", "2"]] {
        let name = more[0].trim_start_matches('-');
        let mut holders = [holder(node, name, more), holder(node, name, more)];
        let tokens: Vec<i64> = holders.iter_mut().map(token).collect();
        let mut alone = holder(node, name, &[]);
        for held in &mut holders {
            signal(held, Signal::TERM);
            held.wait().unwrap();
        }
        let last = token(&mut alone);
        assert!(tokens.iter().all(|shared| *shared < last));
        signal(&alone, Signal::TERM);
        alone.wait().unwrap();
    }
}
