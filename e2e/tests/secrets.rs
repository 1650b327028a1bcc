//! Secrets on real nodes: nobody reads them in the log, a backup or the files, and they can be
//! read after the authority was replaced.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Server},
    kubernetes::Api,
    node::{Node, run},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::until;
use serde_json::{Value, json};

/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(90);
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const PODS: &str = "/api/v1/namespaces/default/pods";
const WORD: &str = "a-word-that-nobody-may-read";

/// `atoll ca …`, asked of one node.
fn ca(node: &Node, what: &str) -> std::process::Command {
    let mut command = node.atoll(&["--output", "json", "ca"]);
    command.arg(what);
    command
}

async fn phase(node: &Node, phase: &str) {
    until("every member is ready", async || {
        let printed = run(&mut ca(node, "status")).ok()?;
        let status: Value = serde_json::from_str(&printed).unwrap();
        (status["phase"] == phase && status["ready"] == true).then_some(())
    })
    .await;
}

/// Files below a folder in which a text stands, as it is or as base64.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let encoded = STANDARD.encode(text);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = fs::read(&path) {
            let has = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
            if has(text) || has(&encoded) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn secrets_are_sealed_and_outlive_their_authority() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    let secret = json!({"metadata": {"name": "login"}, "stringData": {"word": WORD}});
    let made = api.post(SECRETS, &secret).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["data"]["word"], STANDARD.encode(WORD));
    let listed = api.get(SECRETS).await.json();
    assert_eq!(listed["items"][0]["data"]["word"], STANDARD.encode(WORD));

    // A program gets it; what it prints is the only place where it stands.
    let pod = json!({"metadata": {"name": "reader", "labels": {"app": "reader"}}, "spec": {
        "restartPolicy": "Never",
        "containers": [{
            "name": "app",
            "command": ["sh", "-c", "test -n \"$WORD\" && test \"$WORD\" = \"$(cat login/word)\" && echo same with it"],
            "env": [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "word"}}}],
            "volumeMounts": [{"name": "login", "mountPath": "/login"}],
        }],
        "volumes": [{"name": "login", "secret": {"secretName": "login"}}],
    }});
    let made = api.post(PODS, &pod).await;
    assert_eq!(made.status, 201, "{}", made.body);
    api.log_until("reader", WAIT, |log| log.contains("same with it"))
        .await;
    let deleted = api.delete(&format!("{PODS}/reader")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    api.pods_until("reader", WAIT, BTreeMap::is_empty).await;

    // Neither the files of the nodes nor a backup show it.
    let file = cluster.dir().join("backup");
    let first = &cluster.nodes[0];
    let mut save = Server::under_test().command();
    save.args(["snapshot", "save", "--endpoint", &first.endpoint()]);
    run(save.arg(&file)).unwrap();
    until("nothing is left of the pod", async || {
        let found = files_with(cluster.dir(), WORD);
        found.is_empty().then_some(())
    })
    .await;

    // With another authority, and after all nodes were started again.
    run(&mut ca(&cluster.nodes[0], "rotate")).unwrap();
    phase(&cluster.nodes[1], "switched").await;
    run(&mut ca(&cluster.nodes[1], "finish")).unwrap();
    phase(&cluster.nodes[2], "steady").await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    for node in &mut cluster.nodes {
        node.spawn(&Entry::Again).unwrap();
    }
    for node in &mut cluster.nodes {
        node.ready().await.unwrap();
        let read = Api::of(node).get(&format!("{SECRETS}/login")).await;
        assert_eq!(read.status, 200, "{}", read.body);
        assert_eq!(read.json()["data"]["word"], STANDARD.encode(WORD));
    }
}
