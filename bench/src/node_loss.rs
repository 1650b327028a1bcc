//! Kills nodes that run pods, and tells how long it takes until others run what replaces them.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Kind, Server},
    kubernetes::{Api, Pod},
};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    error::{Error, Result},
    report::median,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
/// The app that the pods are of.
const APP: &str = "web";
/// No pod is given up before.
const WAIT: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, Args)]
pub(crate) struct NodeLossOptions {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    pub(crate) atoll: PathBuf,
    /// Directory on the disk to use.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) disk: PathBuf,
    /// How often a node is killed.
    #[arg(long, default_value_t = 20)]
    pub(crate) kills: usize,
    /// Size of the cluster.
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: usize,
    /// How many pods there are.
    #[arg(long, default_value_t = 6)]
    pub(crate) pods: usize,
}

/// All kills.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Losses {
    pub(crate) nodes: usize,
    pub(crate) pods: usize,
    pub(crate) kills: Vec<Loss>,
}

/// One kill of a node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Loss {
    /// How many pods it ran.
    pub(crate) lost: usize,
    /// From the kill until as many pods as before were ready on other nodes.
    pub(crate) replaced_ms: f64,
}

/// Kills nodes, one after the other.
pub(crate) async fn run(options: &NodeLossOptions) -> Result<Losses> {
    if options.nodes < 3 {
        let why = "a node can be spared from 3 nodes up".to_owned();
        return Err(Error::Options(why));
    }
    let path = options.atoll.canonicalize();
    let server = Server {
        kind: Kind::Atoll,
        path: path.map_err(Error::io("find the atoll binary"))?,
    };
    let mut cluster = Cluster::start_in(&server, options.nodes, &options.disk).await?;
    let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
    let mut names = Vec::new();
    for (api, node) in apis.iter_mut().zip(&cluster.nodes) {
        names.push(api.node_of(&node.id()?, WAIT).await);
    }
    let made = apis[0].post(DEPLOYMENTS, &deployment(options.pods)).await;
    if made.status != 201 {
        return Err(Error::Answer(made.body));
    }
    let mut losses = Losses {
        nodes: options.nodes,
        pods: options.pods,
        kills: Vec::new(),
    };
    for number in 0..options.kills {
        let pods = apis[0]
            .pods_until(APP, WAIT, |pods| ready(pods) == options.pods)
            .await;
        // In turn, but only one that has something to lose.
        let runs = |at: &usize| pods.values().any(|pod| pod.node == names[*at]);
        let in_turn = (0..options.nodes).map(|at| (number + at) % options.nodes);
        let victim = in_turn.into_iter().find(runs).unwrap_or(0);
        let lost = pods
            .values()
            .filter(|pod| pod.node == names[victim])
            .count();
        let survivor = (victim + 1) % options.nodes;
        cluster.nodes[victim].kill();
        let killed = Instant::now();
        let elsewhere = |now: &BTreeMap<String, Pod>| {
            let moved = now.values().filter(|pod| pod.node != names[victim]);
            moved.filter(|pod| pod.is_ready && !pod.is_going).count() == options.pods
        };
        apis[survivor].pods_until(APP, WAIT, elsewhere).await;
        let loss = Loss {
            lost,
            replaced_ms: killed.elapsed().as_secs_f64() * 1e3,
        };
        eprintln!(
            "kill {}: {lost} pods, {:.0} ms",
            number + 1,
            loss.replaced_ms
        );
        losses.kills.push(loss);
        cluster.nodes[victim].start(&Entry::Again).await?;
        let node = format!("/api/v1/nodes/{}", names[victim]);
        apis[survivor].until(&node, WAIT, takes_pods).await;
    }
    let deleted = apis[0].delete(&format!("{DEPLOYMENTS}/{APP}")).await;
    if deleted.status != 200 {
        return Err(Error::Answer(deleted.body));
    }
    apis[0].pods_until(APP, WAIT, BTreeMap::is_empty).await;
    Ok(losses)
}

fn ready(pods: &BTreeMap<String, Pod>) -> usize {
    let ready = pods.values().filter(|pod| pod.is_ready && !pod.is_going);
    ready.count()
}

fn takes_pods(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
    ready.is_some_and(|ready| ready["status"] == "True") && node["spec"]["taints"].is_null()
}

fn deployment(pods: usize) -> Value {
    json!({
        "metadata": {"name": APP},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": {"app": APP}},
            "template": {
                "metadata": {"labels": {"app": APP}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "app", "command": ["sleep", "86400"]}],
                },
            },
        },
    })
}

pub(crate) fn table(losses: &Losses) -> String {
    let times: Vec<f64> = losses.kills.iter().map(|kill| kill.replaced_ms).collect();
    let mut text = format!(
        "{:>6}{:>6}{:>8}{:>12}{:>10}{:>10}\n",
        "nodes", "pods", "kills", "median ms", "min ms", "max ms"
    );
    let _ = writeln!(
        text,
        "{:>6}{:>6}{:>8}{:>12.0}{:>10.0}{:>10.0}",
        losses.nodes,
        losses.pods,
        times.len(),
        median(&times),
        times.iter().copied().fold(f64::INFINITY, f64::min),
        times.iter().copied().fold(0.0, f64::max),
    );
    text
}
