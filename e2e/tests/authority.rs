//! The authority of a cluster of real processes is replaced under load, while nodes die.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{fs, path::PathBuf, process::Command, time::Duration};

use atoll_e2e::{
    cluster::{Cluster, join_entry},
    command::{Entry, Kind, Server, atoll_path, data_dir},
    node::{Node, run},
};
use atoll_world::{net, pki};
use common::{Load, all_vote, nothing_lost, until};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

const WRITERS: usize = 9;
const WRITES: u64 = 300;

fn server() -> Server {
    Server {
        kind: Kind::Atoll,
        path: atoll_path().to_path_buf(),
    }
}

/// `atoll ca …`, asked of one node.
fn ca(node: &Node, arguments: &[&str]) -> Command {
    let mut command = node.atoll(&["--output", "json", "ca"]);
    command.args(arguments);
    command
}

/// Waits until every member has done what a phase asks of it.
async fn ready(node: &Node, phase: &str) -> Value {
    until("every member is ready", async || {
        let printed = run(&mut ca(node, &["status"])).ok()?;
        let status: Value = serde_json::from_str(&printed).unwrap();
        (status["phase"] == phase && status["ready"] == true).then_some(status)
    })
    .await
}

/// What a node has logged.
fn log(node: &Node) -> String {
    fs::read_to_string(node.layout().dir.join("node.log")).unwrap()
}

fn pki_dir(node: &Node) -> PathBuf {
    data_dir(node.layout()).join("pki")
}

/// Whether a node is let in as `identity` on another one's listener for peers.
async fn links(to: &Node, identity: &pki::Identity, trust: &pki::Trust) -> bool {
    let own = pki::files::load_identity(&pki_dir(to), "node").unwrap();
    let name = pki::node_dns_name(own.facts().unwrap().node_id().unwrap());
    let config = pki::tls::peer_client_config(identity, trust).unwrap();
    let address = format!("127.0.0.1:{}", to.layout().peer_port);
    let wait = Duration::from_secs(10);
    let Ok(mut stream) = net::connect_tls(&address, &name, config, wait).await else {
        return false;
    };
    // TLS 1.3 refuses a caller after its handshake is done. Who is let in and says no hello is
    // told so, after a while.
    let mut byte = [0];
    stream.read_exact(&mut byte).await.is_ok()
}

#[tokio::test]
async fn the_authority_is_replaced_under_load_and_the_old_one_opens_no_door() {
    let mut cluster = Cluster::start(&server(), 3).await.unwrap();
    all_vote(&cluster).await;
    let old_token = join_entry(&cluster.nodes[0], 1).unwrap();
    let old_identity = pki::files::load_identity(&pki_dir(&cluster.nodes[1]), "node").unwrap();
    let old_trust = pki::files::load_trust(&pki_dir(&cluster.nodes[1])).unwrap();
    assert!(links(&cluster.nodes[0], &old_identity, &old_trust).await);
    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    load.more(WRITES).await;

    let before: Vec<usize> = cluster.nodes.iter().map(|node| log(node).len()).collect();
    // Nobody dies: no link and no handshake fails from the first step to the last.
    run(&mut ca(&cluster.nodes[0], &["rotate"])).unwrap();
    load.more(WRITES).await;
    let switched = ready(&cluster.nodes[1], "switched").await;
    assert_eq!(switched["other_root"], old_trust.fingerprint().to_string());
    load.more(WRITES).await;
    run(&mut ca(&cluster.nodes[2], &["finish"])).unwrap();
    let steady = ready(&cluster.nodes[0], "steady").await;
    assert_eq!(steady["root"], switched["root"]);
    for (node, before) in cluster.nodes.iter().zip(before) {
        let said = log(node).split_off(before);
        assert!(said.contains("follows the cluster's authority"), "{said}");
        for word in ["refused", "handshake", "cannot be reached", "ERROR"] {
            assert!(!said.contains(word), "{word}: {said}");
        }
    }

    // The second time, a node dies at each step, and comes back.
    run(&mut ca(&cluster.nodes[0], &["rotate"])).unwrap();
    cluster.nodes[1].kill();
    load.more(WRITES).await;
    cluster.nodes[1].start(&Entry::Again).await.unwrap();
    ready(&cluster.nodes[0], "switched").await;
    cluster.nodes[0].kill();
    load.more(WRITES).await;
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    let switched = ready(&cluster.nodes[0], "switched").await;
    cluster.nodes[2].kill();
    run_until_done(&cluster.nodes[0], "finish").await;
    load.more(WRITES).await;
    cluster.nodes[2].start(&Entry::Again).await.unwrap();
    let steady = ready(&cluster.nodes[2], "steady").await;
    assert_eq!(steady["root"], switched["root"]);

    let counts = load.stop().await;
    for node in &cluster.nodes {
        nothing_lost(&node.endpoint(), &counts).await;
        let trust = pki::files::load_trust(&pki_dir(node)).unwrap();
        assert_eq!(steady["root"], trust.fingerprint().to_string());
        assert_eq!((trust.roots.len(), trust.nodes.len()), (1, 1));
        // The old certificate is none any more, whomever its holder trusts.
        let lenient = old_trust.with(&trust);
        assert!(!links(node, &old_identity, &lenient).await);
        let own = pki::files::load_identity(&pki_dir(&cluster.nodes[1]), "node").unwrap();
        assert!(links(node, &own, &trust).await);
    }
    // Nor is a token that names the old root; a new one is.
    let mut late = Node::new(server(), cluster.dir(), "late").unwrap();
    let refused = late.start(&old_token).await.unwrap_err().to_string();
    assert!(refused.contains("has to be made anew"), "{refused}");
    late.spawn(&join_entry(&cluster.nodes[0], 1).unwrap())
        .unwrap();
    until("the late one shows the new authority", async || {
        let steady = ready(&cluster.nodes[0], "steady").await;
        (steady["nodes"].as_array().unwrap().len() == 4).then_some(())
    })
    .await;
}

/// While a leader is missing the cluster may say that it cannot.
async fn run_until_done(node: &Node, what: &str) {
    until("it is done", async || run(&mut ca(node, &[what])).ok()).await;
}

#[tokio::test]
async fn a_cluster_made_from_a_snapshot_has_an_authority_of_its_own() {
    let cluster = Cluster::start(&server(), 1).await.unwrap();
    let first = &cluster.nodes[0];
    run(&mut ca(first, &["rotate"])).unwrap();
    let old = ready(first, "switched").await;
    let file = cluster.dir().join("snapshot");
    let mut save = server().command();
    save.args(["snapshot", "save", "--endpoint", &first.endpoint()]);
    run(save.arg(&file)).unwrap();

    let mut node = Node::new(server(), cluster.dir(), "restored").unwrap();
    run(&mut server().restore(node.layout(), &file)).unwrap();
    node.start(&Entry::Again).await.unwrap();
    let new = ready(&node, "steady").await;
    assert!(new["root"] != old["root"] && new["root"] != old["other_root"]);
    // And it can be replaced there.
    run(&mut ca(&node, &["rotate"])).unwrap();
    let switched = ready(&node, "switched").await;
    assert_eq!(switched["other_root"], new["root"]);
}
