//! What a person on call does, with real processes: the demonstration, restoring a snapshot,
//! replacing a dead voter, going on after the majority is gone.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{path::Path, process::Command};

use atoll_control::proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    AuthenticateRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, MemberListRequest, PutRequest,
    RangeRequest, auth_client::AuthClient, lease_client::LeaseClient,
};
use atoll_e2e::{
    cluster::{Cluster, join_entry},
    command::{Entry, Server, atoll_path, data_dir},
    node::{Node, run},
};
use common::{
    Load, all_placed, all_vote, channel, get, kv, leader, members, nothing_lost, put, status, until,
};
use tonic::Request;

const WRITERS: usize = 9;
const WRITES: u64 = 300;

fn server() -> Server {
    Server {
        kind: atoll_e2e::command::Kind::Atoll,
        path: atoll_path().to_path_buf(),
    }
}

fn atoll(arguments: &[&str]) -> Command {
    let mut command = server().command();
    command.args(arguments);
    command
}

fn save(node: &Node, file: &Path, more: &[&str]) {
    let endpoint = node.endpoint();
    let mut command = atoll(&["snapshot", "save", "--endpoint", &endpoint]);
    run(command.arg(file).args(more)).unwrap();
}

/// Starts a node in a directory made from a snapshot.
async fn restored(parent: &Path, name: &str, file: &Path, more: &[&str]) -> Node {
    let mut node = Node::new(server(), parent, name).unwrap();
    run(server().restore(node.layout(), file).args(more)).unwrap();
    node.start(&Entry::Again).await.unwrap();
    node
}

/// Adds so many nodes to the cluster of the first one, and returns when all of them vote.
async fn grow(nodes: &mut Vec<Node>, parent: &Path, names: &[&str]) {
    let entry = join_entry(&nodes[0], names.len()).unwrap();
    let from = nodes.len();
    for name in names {
        let mut node = Node::new(server(), parent, name).unwrap();
        node.spawn(&entry).unwrap();
        nodes.push(node);
    }
    for node in &mut nodes[from..] {
        node.ready().await.unwrap();
    }
    voters(&nodes[0].endpoint(), nodes.len()).await;
}

/// Waits until the cluster has so many voters and nobody else.
async fn voters(endpoint: &str, count: usize) {
    until("that many voters", async || {
        let request = MemberListRequest::default();
        let list = members(endpoint).member_list(request).await.ok()?;
        let list = list.into_inner().members;
        (list.len() == count && list.iter().all(|member| !member.is_learner)).then_some(())
    })
    .await;
}

#[test]
fn both_sides_of_a_cluster_are_shown() {
    let printed = run(&mut atoll(&["demo", "cap", "--output", "json"])).unwrap();
    let story: Vec<serde_json::Value> = serde_json::from_str(&printed).unwrap();
    let told = |cluster: &str, keyspace: &str| {
        let steps = story.iter();
        let steps = steps.filter(|it| it["cluster"] == cluster && it["keyspace"] == keyspace);
        steps
            .map(|it| it["told"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(told("node-3 alone", "eventual"), ["105", "105"]);
    assert_eq!(told("node-1 and node-2", "linearizable"), ["93"]);
    assert_eq!(told("whole again", "linearizable"), ["93"; 3]);
    assert_eq!(told("whole again", "eventual"), ["112"; 3]);
}

#[test]
fn the_demonstration_loses_nothing() {
    let mut command = atoll(&["demo", "--duration-s", "6", "--clients", "8"]);
    let printed = run(command.args(["--output", "json"])).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(summary["lost"], 0, "{printed}");
    assert_eq!(summary["kills"], 1, "{printed}");
    assert_eq!(summary["nodes_asked"].as_array().unwrap().len(), 2);
    for port in ["etcd", "redis"] {
        let port = &summary[port];
        assert!(port["acknowledged"].as_u64().unwrap() > 0, "{printed}");
        assert!(port["reads"].as_u64().unwrap() > 0, "{printed}");
        assert_eq!(
            (&port["lost"], &port["missed_reads"]),
            (&0.into(), &0.into())
        );
        assert!(port["longest_gap_ms"].as_f64().unwrap() > 0.0, "{printed}");
    }
    // Who was killed owned hot data, and others took it over.
    let owned = &summary["killed"][0]["partitions_owned"];
    assert!(owned.as_u64().unwrap() > 0, "{printed}");
    let keys = &summary["killed_owners_keys"];
    assert!(keys["acknowledged"].as_u64().unwrap() > 0, "{printed}");
    assert!(keys["longest_gap_ms"].as_f64().unwrap() > 0.0, "{printed}");
    // And a machine that dies costs requests of those alone who have them not tried again.
    let services = &summary["services"];
    assert_eq!(services["replicas"], 3, "{printed}");
    assert_eq!(services["asked"].as_array().unwrap().len(), 2, "{printed}");
    assert_eq!(services["with_retries"]["failed"], 0, "{printed}");
    for route in ["with_retries", "without_retries"] {
        let count = &services[route];
        assert!(count["requests"].as_u64() > Some(100), "{printed}");
        assert!(count["failed"].as_u64() < count["requests"].as_u64());
    }
}

#[tokio::test]
async fn a_restored_snapshot_grows_into_a_cluster_that_has_it() {
    let cluster = Cluster::start(&server(), 1).await.unwrap();
    let first = &cluster.nodes[0];
    for number in 0..50 {
        put(
            &first.endpoint(),
            &format!("key/{number}"),
            &number.to_string(),
        )
        .await;
    }
    let (_, revision) = get(&first.endpoint(), "key/0").await;
    let file = cluster.dir().join("snapshot");
    save(first, &file, &[]);
    put(&first.endpoint(), "key/later", "not in it").await;

    let mut nodes = vec![restored(cluster.dir(), "restored", &file, &[]).await];
    grow(&mut nodes, cluster.dir(), &["second", "third"]).await;
    let (value, now) = get(&nodes[0].endpoint(), "key/later").await;
    assert_eq!((value, now), (None, revision));
    for node in &nodes {
        for number in [0, 49] {
            let (value, _) = get(&node.endpoint(), &format!("key/{number}")).await;
            assert_eq!(value, Some(number.to_string()), "{}", node.layout().name);
        }
    }
    // Revisions that somebody saw after the snapshot can be left free.
    let more = ["--bump-revision", "1000", "--mark-compacted"];
    let raised = restored(cluster.dir(), "raised", &file, &more).await;
    let (value, now) = get(&raised.endpoint(), "key/49").await;
    assert_eq!((value.as_deref(), now), (Some("49"), revision + 1_000));
    let old = RangeRequest {
        key: "key/49".into(),
        revision,
        ..RangeRequest::default()
    };
    let refused = kv(&raised.endpoint()).range(old).await.unwrap_err();
    assert!(refused.message().contains("compacted"), "{refused}");
}

#[tokio::test]
async fn a_restored_snapshot_has_the_leases_and_the_users() {
    const TTL_S: i64 = 3_600;
    let cluster = Cluster::start(&server(), 1).await.unwrap();
    let first = &cluster.nodes[0];
    let lease = LeaseGrantRequest { ttl: TTL_S, id: 77 };
    let mut leases = LeaseClient::new(channel(&first.endpoint()));
    leases.lease_grant(lease).await.unwrap();
    let attached = PutRequest {
        key: "leased".into(),
        value: "1".into(),
        lease: 77,
        ..PutRequest::default()
    };
    kv(&first.endpoint()).put(attached).await.unwrap();
    let (_, revision) = get(&first.endpoint(), "leased").await;
    log_in_from_now_on(&first.endpoint()).await;
    let file = cluster.dir().join("snapshot");
    save(first, &file, &["--user", "root:secret"]);

    let node = restored(cluster.dir(), "restored", &file, &[]).await;
    let everybody = RangeRequest {
        key: "leased".into(),
        ..RangeRequest::default()
    };
    let refused = kv(&node.endpoint()).range(everybody.clone()).await;
    assert!(refused.is_err(), "without a login");
    let token = token(&node.endpoint()).await;
    let mut request = Request::new(everybody);
    request
        .metadata_mut()
        .insert("token", token.parse().unwrap());
    let answer = kv(&node.endpoint()).range(request).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!(answer.header.unwrap().revision, revision);
    assert_eq!(
        (answer.kvs[0].mod_revision, answer.kvs[0].lease),
        (revision, 77)
    );
    let mut request = Request::new(LeaseTimeToLiveRequest { id: 77, keys: true });
    request
        .metadata_mut()
        .insert("token", token.parse().unwrap());
    let mut leases = LeaseClient::new(channel(&node.endpoint()));
    let left = leases.lease_time_to_live(request).await.unwrap();
    let left = left.into_inner();
    assert_eq!((left.granted_ttl, left.keys.len()), (TTL_S, 1));
}

async fn log_in_from_now_on(endpoint: &str) {
    let mut auth = AuthClient::new(channel(endpoint));
    let root = || "root".to_owned();
    let add = AuthUserAddRequest {
        name: root(),
        password: "secret".into(),
        ..AuthUserAddRequest::default()
    };
    auth.user_add(add).await.unwrap();
    let role = AuthRoleAddRequest { name: root() };
    auth.role_add(role).await.unwrap();
    let grant = AuthUserGrantRoleRequest {
        user: root(),
        role: root(),
    };
    auth.user_grant_role(grant).await.unwrap();
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
}

async fn token(endpoint: &str) -> String {
    let request = AuthenticateRequest {
        name: "root".into(),
        password: "secret".into(),
    };
    let mut auth = AuthClient::new(channel(endpoint));
    auth.authenticate(request).await.unwrap().into_inner().token
}

#[tokio::test]
async fn a_damaged_snapshot_and_a_full_folder_are_refused() {
    let cluster = Cluster::start(&server(), 1).await.unwrap();
    let first = &cluster.nodes[0];
    put(&first.endpoint(), "a", "1").await;
    let file = cluster.dir().join("snapshot");
    save(first, &file, &[]);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let changed = cluster.dir().join("changed");
    std::fs::write(&changed, bytes).unwrap();

    let node = Node::new(server(), cluster.dir(), "restored").unwrap();
    let refused = run(&mut server().restore(node.layout(), &changed)).unwrap_err();
    assert!(
        refused.to_string().contains("checksum is wrong"),
        "{refused}"
    );
    // What was begun is no obstacle to a second try.
    run(server()
        .restore(node.layout(), &changed)
        .arg("--skip-hash-check"))
    .unwrap();
    let refused = run(&mut server().restore(node.layout(), &file)).unwrap_err();
    assert!(
        refused.to_string().contains("holds a node already"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_dead_voter_is_replaced() {
    let mut cluster = Cluster::start(&server(), 3).await.unwrap();
    all_vote(&cluster).await;
    // Before that, a node may hold all that there is of a partition, and is not let go.
    all_placed(&cluster.nodes[0]).await;
    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    load.more(WRITES).await;
    // The leader, which is the worst case.
    let index = leader(&cluster).await;
    let mut dead = cluster.nodes.remove(index);
    let id = status(&dead.endpoint())
        .await
        .unwrap()
        .header
        .unwrap()
        .member_id;
    dead.kill();
    let first = cluster.nodes[0].endpoint();
    let id = format!("{id:x}");
    until("the dead node is removed", async || {
        run(&mut atoll(&["node", "remove", &id, "--endpoint", &first])).ok()
    })
    .await;
    let parent = cluster.dir().to_path_buf();
    grow(&mut cluster.nodes, &parent, &["fresh"]).await;
    load.more(WRITES).await;
    let counts = load.stop().await;
    for node in &cluster.nodes {
        nothing_lost(&node.endpoint(), &counts).await;
    }
    // And the cluster survives the next failure.
    let index = leader(&cluster).await;
    cluster.nodes[index].kill();
    let left = &cluster.nodes[(index + 1) % 3];
    put(&left.endpoint(), "after", "1").await;
}

#[tokio::test]
async fn one_node_goes_on_after_the_majority_is_gone() {
    let mut cluster = Cluster::start(&server(), 3).await.unwrap();
    all_vote(&cluster).await;
    let load = Load::start(&cluster.endpoints(), WRITERS, None);
    load.more(WRITES).await;
    let counts = load.stop().await;
    // Every node has it all, so that losing any two loses nothing.
    for node in &cluster.nodes {
        nothing_lost(&node.endpoint(), &counts).await;
    }
    for node in &mut cluster.nodes {
        node.kill();
    }
    let left = cluster.nodes.remove(1);
    let dir = data_dir(left.layout()).display().to_string();

    let told = run(&mut atoll(&["recover", "--dir", &dir])).unwrap_err();
    assert!(told.to_string().contains("NOTHING WAS CHANGED"), "{told}");
    assert!(told.to_string().contains("exit status: 2"), "{told}");
    run(&mut atoll(&["recover", "--force", "--dir", &dir])).unwrap();
    let mut nodes = vec![left];
    nodes[0].start(&Entry::Again).await.unwrap();
    voters(&nodes[0].endpoint(), 1).await;
    nothing_lost(&nodes[0].endpoint(), &counts).await;

    // Those that were left behind come back in spite of all: they are a majority of their
    // own, and must not reach the one that went on.
    let (behind, own) = (&mut cluster.nodes, nodes[0].endpoint());
    for node in behind.iter_mut() {
        node.spawn(&Entry::Again).unwrap();
    }
    for node in behind.iter_mut() {
        node.ready().await.unwrap();
    }
    put(&behind[0].endpoint(), "behind", "1").await;
    put(&own, "ahead", "1").await;
    assert_eq!(get(&own, "behind").await.0, None);
    for node in behind.iter_mut() {
        assert_eq!(get(&node.endpoint(), "ahead").await.0, None);
    }
    behind.iter_mut().for_each(Node::kill);

    let parent = cluster.dir().to_path_buf();
    grow(&mut nodes, &parent, &["fresh-1", "fresh-2"]).await;
    for node in &nodes {
        nothing_lost(&node.endpoint(), &counts).await;
    }
}
