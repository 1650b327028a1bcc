//! `atoll demo services`, and the second part of `atoll demo`: a web service of three replicas
//! behind the gateways, and a node that dies under load together with its pods, as a machine
//! does.
//!
//! Everything goes the way of any client: objects are applied by the Kubernetes API, requests
//! come to the HTTP listeners of the nodes that survive. Two Ingresses lead to the same Service,
//! one with the gateway's retries and one without, so that it is seen what these are worth.

use std::{collections::BTreeSet, env, time::Duration};

use atoll_world::clock;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    kube::Api,
    nodes::{COUNT, Nodes},
    requests::{Count, Link, Requests},
    show::Screen,
    web,
};
use crate::{error::CliError, kube::is_true, output::View};

const NAME: &str = "demo-web";
const PODS: &str = "/api/v1/namespaces/default/pods?labelSelector=app%3Ddemo-web";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/demo-web";
const SERVICE: &str = "/api/v1/namespaces/default/services/demo-web";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";

/// The host of the route that has the gateway's own number of retries.
const WITH_RETRIES: &str = "with-retries.demo";
/// The host of the route that has none.
const WITHOUT_RETRIES: &str = "without-retries.demo";

/// Pods for every node.
const REPLICAS: usize = COUNT;
/// How long the replicas may take until all are ready and every gateway knows them.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the load runs before the kill, and after three replicas are ready again.
const CALM: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    replicas: usize,
    /// The node that died, with its replica.
    killed: String,
    /// The nodes whose gateways were asked.
    asked: Vec<String>,
    /// From the kill until as many replicas as before were ready on other nodes.
    ready_again_ms: f64,
    with_retries: Count,
    without_retries: Count,
}

/// Plays it.
///
/// # Errors
/// A node ends by itself; something is not ready in time.
pub(super) async fn play(
    nodes: &mut Nodes,
    clients: u64,
    screen: &mut Screen,
) -> Result<Told, CliError> {
    let victim = nodes.all_back().await?;
    let (asked, gateways): (Vec<String>, Vec<String>) = nodes
        .list()
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != victim)
        .map(|(_, node)| (node.name.clone(), node.http_address()))
        .unzip();
    let killed = nodes.list()[victim].name.clone();
    let api = Api::of(&nodes.list()[(victim + 1) % COUNT].folder())?;
    screen.say(&format!(
        "A web service of {REPLICAS} replicas is applied by the Kubernetes API."
    ))?;
    apply(nodes, &api).await?;
    all_heard(nodes, &api, &gateways).await?;
    screen.say(&format!(
        "There is one on each node. Requests come to the gateways of {}: {clients} clients by a \
         route with retries, {clients} by one without.",
        asked.join(" and ")
    ))?;
    let loads =
        [WITH_RETRIES, WITHOUT_RETRIES].map(|host| Requests::start(&gateways, host, clients));
    clock::sleep(CALM).await;
    nodes.kill_with_pods(victim).await;
    let begin = clock::now();
    screen.say(&format!(
        "kill -9 of {killed}, which leads, and of its replica"
    ))?;
    let what = "the replicas are ready on the nodes that survive";
    nodes
        .until(what, begin + READY_TIMEOUT, async |_: &mut Nodes| {
            let nodes = ready_nodes(&api).await;
            nodes.iter().filter(|node| **node != killed).count() == REPLICAS
        })
        .await?;
    let ready_again_ms = (clock::now() - begin).as_secs_f64() * 1e3;
    screen.say(&format!("{REPLICAS} replicas are ready again."))?;
    clock::sleep(CALM).await;
    let [with, without] = loads;
    let (with_retries, without_retries) = tokio::join!(with.stop(), without.stop());
    Ok(Told {
        replicas: REPLICAS,
        killed,
        asked,
        ready_again_ms,
        with_retries,
        without_retries,
    })
}

/// Applies the objects, as soon as a node takes them.
async fn apply(nodes: &mut Nodes, api: &Api) -> Result<(), CliError> {
    let program = env::current_exe()
        .map_err(|error| CliError::failed(format!("cannot find this program: {error}"), ""))?;
    let objects = [
        (
            DEPLOYMENT.to_owned(),
            deployment(&program.to_string_lossy()),
        ),
        (SERVICE.to_owned(), service()),
        ingress("with-retries", WITH_RETRIES, json!({})),
        ingress(
            "without-retries",
            WITHOUT_RETRIES,
            json!({"atoll.dev/retries": "0"}),
        ),
    ];
    // Pods go where there is a Node, so all of them are there before.
    let deadline = clock::now() + READY_TIMEOUT;
    let there = async |_: &mut Nodes| {
        let list = api.get("/api/v1/nodes").await.unwrap_or_default();
        let nodes = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        nodes.iter().filter(|node| takes_pods(node)).count() == COUNT
    };
    nodes
        .until("three nodes take pods", deadline, there)
        .await?;
    for (path, object) in &objects {
        api.apply(path, object).await?;
    }
    Ok(())
}

/// Waits until there is a replica on each node, and each gateway has led requests to all of them
/// by both routes.
async fn all_heard(nodes: &mut Nodes, api: &Api, gateways: &[String]) -> Result<(), CliError> {
    let deadline = clock::now() + READY_TIMEOUT;
    let what = "three replicas are ready, one on each node";
    nodes
        .until(what, deadline, async |_: &mut Nodes| {
            let nodes = ready_nodes(api).await;
            nodes.len() == REPLICAS && nodes.iter().collect::<BTreeSet<_>>().len() == COUNT
        })
        .await?;
    for gateway in gateways {
        for host in [WITH_RETRIES, WITHOUT_RETRIES] {
            let mut link = Link::new(gateway.clone(), host);
            let mut heard = BTreeSet::new();
            let what = format!("all replicas have answered at {gateway}");
            nodes
                .until(&what, deadline, async |_: &mut Nodes| {
                    heard.extend(link.ask().await);
                    heard.len() == REPLICAS
                })
                .await?;
        }
    }
    Ok(())
}

/// The node of each replica that is ready.
async fn ready_nodes(api: &Api) -> Vec<String> {
    // A node that does not tell now is asked again.
    let list = api.get(PODS).await.unwrap_or_default();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let ready = pods
        .iter()
        .filter(|pod| is_true(pod, "Ready") && pod["metadata"]["deletionTimestamp"].is_null());
    let node = |pod: &Value| pod["spec"]["nodeName"].as_str().map(str::to_owned);
    ready.filter_map(node).collect()
}

fn takes_pods(node: &Value) -> bool {
    is_true(node, "Ready") && node["spec"]["taints"].is_null()
}

fn deployment(program: &str) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let labels = json!({"app": NAME});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                // All nodes are on this machine, so that a port is free once.
                "metadata": {"labels": labels, "annotations": {"atoll.dev/free-ports": "true"}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    // For the same reason nodes are told apart by their ids, and not by the name
                    // of their host.
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "atoll.dev/node-id",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels},
                    }],
                    "containers": [{
                        "name": "web",
                        "command": [program, "demo", "web"],
                        "env": [field(web::POD, "metadata.name"), field(web::HOST, "status.hostIP")],
                        "ports": [{"name": "http", "containerPort": 80}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME},
            "ports": [{"name": "http", "port": 8_000, "targetPort": "http"}]},
    })
}

/// One route, and its path in the API.
fn ingress(name: &str, host: &str, annotations: Value) -> (String, Value) {
    let backend = json!({"service": {"name": NAME, "port": {"name": "http"}}});
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"rules": [{"host": host,
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
    });
    (format!("{INGRESSES}/{name}"), object)
}

impl View for Told {
    fn text(&self) -> String {
        let (with, without) = (&self.with_retries, &self.without_retries);
        let row = |name: &str, of: fn(&Count) -> String| {
            format!("\n  {name:<16}  {:>14}  {:>14}", of(with), of(without))
        };
        let mut text = format!(
            "
  web service       {} replicas; {} died, with one of them; all were ready again after {:.1} s
                    (asked: the gateways of {})

                      with retries         without",
            self.replicas,
            self.killed,
            self.ready_again_ms / 1e3,
            self.asked.join(", "),
        );
        text += &row("requests", |it| it.requests.to_string());
        text += &row("failed", |it| it.failed.to_string());
        text += &row("longest wait", |it| format!("{:.0} ms", it.longest_ms));
        for (name, count) in [("with", with), ("without", without)] {
            for (why, times) in &count.reasons {
                text += &format!("\n    {times} {name} retries: {why}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let count = |failed| Count {
            requests: 1_000,
            failed,
            reasons: (0..failed).map(|it| (format!("50{it}"), 7)).collect(),
            longest_ms: 31.4,
        };
        Told {
            replicas: 3,
            killed: "node-2".into(),
            asked: vec!["node-1".into(), "node-3".into()],
            ready_again_ms: 7_310.0,
            with_retries: count(0),
            without_retries: count(2),
        }
    }

    #[test]
    fn the_story_is_told_to_people() {
        let text = told().text();
        for part in [
            "3 replicas; node-2 died, with one of them; all were ready again after 7.3 s\n",
            "asked: the gateways of node-1, node-3",
            "  failed                         0               2\n",
            "\n    7 without retries: 501",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn and_to_programs() {
        let json = serde_json::to_value(told()).unwrap();
        assert_eq!(json["without_retries"]["failed"], 2);
        assert_eq!(json["ready_again_ms"], 7_310.0);
    }

    #[test]
    fn a_pod_is_ready_when_it_says_so() {
        let node = |status: &str| {
            json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": status}]}})
        };
        assert!(takes_pods(&node("True")));
        assert!(!takes_pods(&node("Unknown")));
        assert!(!is_true(&json!({}), "Ready"));
    }
}
