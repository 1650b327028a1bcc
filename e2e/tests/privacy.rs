//! The folder of a real node: closed to other users of the machine, whatever is in it and whoever
//! opened it; but for pods that are other users, which pass to what is their own.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server, data_dir},
    kubernetes::Api,
};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
const WAIT: Duration = Duration::from_secs(90);
/// Where pods are.
const PASSED: [&str; 2] = ["pods", "claims"];

fn rights(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The mask of this process, with which nodes are started.
fn mask() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.unwrap().trim().to_owned()
}

/// Nobody else may look into anything; where a node is root's, others may pass where pods are.
fn assert_closed(node: &Path) {
    let is_root = rustix::process::geteuid().is_root();
    let passed = if is_root { 0o711 } else { 0o700 };
    assert_eq!(rights(node), passed);
    for entry in fs::read_dir(node).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match PASSED.contains(&name) {
            true => assert_eq!(rights(&path), passed, "{name}"),
            false => assert_eq!(rights(&path) & 0o077, 0, "{name}"),
        }
    }
    for file in fs::read_dir(node.join("pki")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "key") {
            assert_eq!(rights(&path), 0o600, "{}", path.display());
        }
    }
}

fn pod(name: &str, context: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "securityContext": context,
        "volumes": [{"name": "v", "configMap": {"name": "words"}}],
        "containers": [{
            "name": "app",
            "command": ["sh", "-c", "cat v/word && echo mask $(umask) && exec sleep 1000"],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }],
    }})
}

#[tokio::test]
async fn a_node_s_folder_is_private() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    // Only what is the node's own is to keep others out.
    open(cluster.dir(), 0o711);
    let node = data_dir(cluster.nodes[0].layout());
    let mut api = Api::of(&cluster.nodes[0]);
    api.node_of(&cluster.nodes[0].id().unwrap(), WAIT).await;
    let words = json!({"metadata": {"name": "words"}, "data": {"word": "read\n"}});
    api.post("/api/v1/namespaces/default/configmaps", &words)
        .await;
    let mut pods = vec![("own", json!({}), 0o700)];
    if rustix::process::geteuid().is_root() {
        pods.push(("other", json!({"runAsUser": 65_534}), 0o711));
    }
    for (name, context, passed) in &pods {
        let made = api.post(PODS, &pod(name, context)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        // The mask is the one that the node was started with, not its own.
        let log = api.log_until(name, WAIT, |log| log.contains("mask")).await;
        assert_eq!(log, format!("read\nmask {}\n", mask()));
        let uid = made.json()["metadata"]["uid"].as_str().unwrap().to_owned();
        assert_eq!(rights(&node.join("pods").join(uid)), *passed, "{name}");
    }
    assert_closed(&node);

    // As an earlier version has left it, or somebody by mistake.
    cluster.nodes[0].stop().await.unwrap();
    for name in ["", "pki", "store-0", "journal"] {
        open(&node.join(name), 0o755);
    }
    open(&node.join("node.json"), 0o644);
    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    assert_closed(&node);
    assert!(
        cluster.nodes[0]
            .log_tail()
            .contains("could be read by other users"),
        "it is told"
    );
}
