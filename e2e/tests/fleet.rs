//! Nodes that are simulated: many in one process, each a Node of its own, whose pods come and go
//! as those of real ones do.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::Server,
    kubernetes::{Api, Pod},
};
use serde_json::{Value, json};

/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(90);
const NODES: &str = "/api/v1/nodes";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const FLEET: usize = 10;
const PODS: usize = 60;

/// The simulated nodes that are ready, by the id of the one that simulates them.
fn ready(list: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut ready: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list["items"].as_array().into_iter().flatten() {
        let conditions = node["status"]["conditions"].as_array();
        let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
        let labels = &node["metadata"]["labels"];
        if labels["atoll.dev/simulated"] == "true"
            && conditions.is_some_and(|all| all.iter().any(is_ready))
            && node["spec"]["taints"].is_null()
        {
            let text = |of: &Value| of.as_str().unwrap().to_owned();
            let of = ready.entry(text(&labels["atoll.dev/node-id"])).or_default();
            of.insert(text(&node["metadata"]["name"]));
        }
    }
    ready
}

fn run_on(pods: &BTreeMap<String, Pod>, is_fit: impl Fn(&str) -> bool) -> usize {
    let ready = pods.values().filter(|pod| pod.is_ready && !pod.is_going);
    ready.filter(|pod| is_fit(&pod.node)).count()
}

#[tokio::test]
async fn pods_of_simulated_nodes_run_and_move_when_their_process_dies() {
    let fleet = FLEET.to_string();
    let environment = [
        ("ATOLL_SERVICES_SIMULATED_NODES", fleet.as_str()),
        ("ATOLL_SERVICES_RUN_PODS", "false"),
    ];
    let mut cluster = Cluster::start_with(&Server::under_test(), 3, &environment)
        .await
        .unwrap();
    let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
    let all = |list: &Value| {
        let ready = ready(list);
        ready.len() == 3 && ready.values().all(|nodes| nodes.len() == FLEET)
    };
    let nodes = ready(&apis[0].until(NODES, WAIT, all).await);
    let made = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "command": ["nothing", "of", "this", "machine"],
                    "resources": {"requests": {"cpu": "8", "memory": "1Gi"}}}]},
            },
        },
    });
    let made = apis[0].post(DEPLOYMENTS, &made).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let pods = apis[0]
        .pods_until("web", WAIT, |pods| run_on(pods, |_| true) == PODS)
        .await;
    let used: BTreeSet<&str> = pods.values().map(|pod| pod.node.as_str()).collect();
    let known: BTreeSet<&str> = nodes.values().flatten().map(String::as_str).collect();
    assert_eq!(used, known, "two on each");
    let lost = &nodes[&cluster.nodes[2].id().unwrap()];
    cluster.nodes[2].kill();
    let moved = |pods: &BTreeMap<String, Pod>| run_on(pods, |node| !lost.contains(node));
    apis[0]
        .pods_until("web", WAIT, |pods| moved(pods) == PODS)
        .await;
    let deleted = apis[0].delete(&format!("{DEPLOYMENTS}/web")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    apis[0].pods_until("web", WAIT, BTreeMap::is_empty).await;
}
