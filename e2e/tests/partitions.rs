//! Pods on three nodes whose network is cut: a node that nobody hears ends its programs before
//! others run what replaces them, and takes part again when the network is whole.
//!
//! What shows that nothing runs twice are the programs themselves: each holds a file of its pod's
//! name locked as long as it lives, and tells if somebody else held it when it began. The kernel
//! lets go of a lock with the end of the process, so no clock is asked.
//!
//! Namespaces need root and `ip`. Where they can't be made the tests say so, and fail only where
//! CI is `true`.
// Edge of the house: real processes and network namespaces.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::Server,
    kubernetes::{Api, Pod},
    network::Network,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const STATEFUL_SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const SERVICES: &str = "/api/v1/namespaces/default/services";

const NODES: usize = 3;
const REPLICAS: usize = 3;
/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(90);
/// A node that nobody hears is given up after 5.7 s, and what replaces its pods runs within some
/// seconds more: whatever a cut is to end has ended by then.
const LONG: Duration = Duration::from_secs(10);
/// A connection to a pod that can't be reached is given up, and another one tried, before.
const ASK_WAIT: Duration = Duration::from_secs(10);

/// What the program of a pod is told by: not variables of Atoll's.
const POD: &str = "E2E_POD";
const NODE: &str = "E2E_NODE";
/// Different in each cluster, so that programs are told from those of others.
const CLUSTER: &str = "E2E_CLUSTER";
/// The volume of all pods, as programs see it.
const SHARED: &str = "shared";
/// What was told there.
const JOURNAL: &str = "journal";
const TWICE: &str = "TWICE";

/// What pods run: no test of its own, but a program that every machine has which runs these.
#[tokio::test]
async fn runs_in_a_pod() {
    let Ok(pod) = env::var(POD) else {
        return;
    };
    let (host, port) = (env::var("HOST").unwrap(), env::var("PORT").unwrap());
    let shared = Path::new(SHARED);
    let lock = File::create(shared.join(&pod)).unwrap();
    let how = match lock.try_lock() {
        Ok(()) => "alone",
        Err(_) => TWICE,
    };
    let node = env::var(NODE).unwrap();
    let journal = File::options()
        .create(true)
        .append(true)
        .open(shared.join(JOURNAL));
    // At once, so that no lines mix.
    let line = format!("{pod} {node} {how}\n");
    journal.unwrap().write_all(line.as_bytes()).unwrap();
    let port: u16 = port.parse().unwrap();
    let listener = TcpListener::bind((host, port)).await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4_096];
        let _ = stream.read(&mut asked).await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{node}",
            node.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// Three nodes with a StatefulSet, a Deployment and a Service of both, on each node one of each.
struct Stage {
    apis: Vec<Api>,
    /// As Nodes are called.
    names: Vec<String>,
    /// Where the Service is asked.
    doors: Vec<String>,
    shared: tempfile::TempDir,
    cluster: Cluster,
    // After the cluster: the nodes end before their namespaces go.
    network: Network,
}

impl Stage {
    /// None where there can't be one, which is said.
    async fn set() -> Option<Stage> {
        let network = match Network::new(NODES) {
            Ok(network) => network,
            Err(error) => {
                let in_ci = env::var("CI").is_ok_and(|value| value == "true");
                assert!(!in_ci, "{error}");
                eprintln!("NOT TESTED: no network namespaces: {error}");
                return None;
            }
        };
        let settings = [
            ("ATOLL_SECURITY_INSECURE", "true"),
            ("ATOLL_LISTEN_HTTP", "0.0.0.0:8080"),
        ];
        let (server, dir, places) = (Server::under_test(), env::temp_dir(), network.places());
        let cluster = Cluster::start_at(&server, &places, &dir, &settings)
            .await
            .unwrap();
        common::all_vote(&cluster).await;
        let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
        let mut names = Vec::new();
        for (api, node) in apis.iter_mut().zip(&cluster.nodes) {
            names.push(api.node_of(&node.id().unwrap(), WAIT).await);
        }
        let mut stage = Stage {
            apis,
            names,
            doors: Vec::new(),
            shared: tempfile::tempdir().unwrap(),
            cluster,
            network,
        };
        stage.fill().await;
        Some(stage)
    }

    async fn fill(&mut self) {
        let template = self.template();
        let set = json!({
            "metadata": {"name": "set"},
            "spec": {
                "replicas": REPLICAS, "serviceName": "set", "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": "set"}}, "template": labelled(&template, "set"),
            },
        });
        let web = json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"app": "web"}}, "template": labelled(&template, "web"),
            },
        });
        let service = json!({
            "metadata": {"name": "web"},
            "spec": {"type": "NodePort", "selector": {"app": "web"},
                "ports": [{"port": 18_080, "targetPort": "http"}]},
        });
        let api = &mut self.apis[0];
        for (path, object) in [(STATEFUL_SETS, set), (DEPLOYMENTS, web)] {
            let made = api.post(path, &object).await;
            assert_eq!(made.status, 201, "{}", made.body);
        }
        let made = api.post(SERVICES, &service).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let port = &made.json()["spec"]["ports"][0]["nodePort"];
        let places = self.network.places();
        let door = |host| format!("{host}:{port}");
        self.doors = places.iter().map(|place| door(place.host)).collect();
        for app in ["set", "web"] {
            let pods = self.ready(0, app, REPLICAS).await;
            assert_eq!(places_of(&pods).len(), NODES, "they are spread: {pods:?}");
        }
    }

    fn template(&self) -> Value {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        json!({
            "metadata": {"annotations": {"atoll.dev/free-ports": "true"}},
            "spec": {
                "terminationGracePeriodSeconds": 2,
                "volumes": [{"name": SHARED, "hostPath": {"path": self.shared.path()}}],
                "containers": [{
                    "name": "app",
                    "command": [env::current_exe().unwrap(), "--exact", "runs_in_a_pod", "--nocapture"],
                    "env": [field(POD, "metadata.name"), field(NODE, "spec.nodeName"),
                        field("HOST", "status.hostIP"),
                        {"name": CLUSTER, "value": self.shared.path()}],
                    "ports": [{"name": "http", "containerPort": 80}],
                    "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
                    "volumeMounts": [{"name": SHARED, "mountPath": format!("/{SHARED}")}],
                }],
            },
        })
    }

    /// So many pods of an app, neither more nor less, and all ready.
    async fn ready(&mut self, at: usize, app: &str, count: usize) -> BTreeMap<String, Pod> {
        let wanted = |pods: &BTreeMap<String, Pod>| {
            pods.len() == count && pods.values().all(|pod| pod.is_ready && !pod.is_going)
        };
        self.apis[at].pods_until(app, WAIT, wanted).await
    }

    /// The same on other nodes than this one, whose pods may still be told of.
    async fn ready_without(&mut self, at: usize, app: &str, gone: usize) {
        let gone = &self.names[gone];
        let wanted = |pods: &BTreeMap<String, Pod>| {
            let others = pods.values().filter(|pod| pod.node != *gone);
            others.filter(|pod| pod.is_ready && !pod.is_going).count() == REPLICAS
        };
        self.apis[at].pods_until(app, WAIT, wanted).await;
    }

    /// Every node is one that pods are put on.
    async fn all_take_pods(&mut self, at: usize) {
        for name in self.names.clone() {
            let path = format!("/api/v1/nodes/{name}");
            self.apis[at].until(&path, WAIT, takes_pods).await;
        }
    }

    /// Waits until the Service has answered at a node in the name of each of these.
    async fn heard(&self, at: usize, nodes: &[usize]) {
        let mut heard = BTreeSet::new();
        common::until("an answer of each", async || {
            heard.insert(asked(&self.doors[at]).await?);
            let wanted = nodes.iter().map(|node| &self.names[*node]);
            wanted
                .clone()
                .all(|name| heard.contains(name))
                .then_some(())
        })
        .await;
    }

    /// The programs of the cluster that run, by the node that started them.
    fn programs(&self) -> BTreeMap<u32, String> {
        let own = format!("{CLUSTER}={}", self.shared.path().display());
        let mut programs = BTreeMap::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(pid) = name.parse() else { continue };
            // It may end while it is looked at.
            let Ok(environment) = fs::read(path.join("environ")) else {
                continue;
            };
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mut variables = environment.split('\0');
            if !variables.clone().any(|it| it == own) {
                continue;
            }
            let node = variables.find_map(|it| it.strip_prefix(&format!("{NODE}=")));
            programs.insert(pid, node.unwrap_or_default().to_owned());
        }
        programs
    }

    fn programs_at(&self, node: usize) -> BTreeSet<u32> {
        let mut programs = self.programs();
        programs.retain(|_, place| *place == self.names[node]);
        programs.into_keys().collect()
    }

    /// Nothing has ever run while its namesake did.
    fn never_twice(&self) {
        let journal = fs::read_to_string(self.shared.path().join(JOURNAL)).unwrap();
        assert!(journal.lines().count() >= 2 * REPLICAS, "{journal}");
        assert!(!journal.contains(TWICE), "{journal}");
    }

    /// Everything is as it was asked for, on all nodes, and nothing else is there; when it is
    /// deleted nothing is left.
    async fn whole(mut self, at: usize) {
        self.all_take_pods(at).await;
        let more = json!({"spec": {"replicas": 2 * REPLICAS}});
        for (path, app) in [(STATEFUL_SETS, "set"), (DEPLOYMENTS, "web")] {
            let patched = self.apis[at].merge(&format!("{path}/{app}"), &more).await;
            assert_eq!(patched.status, 200, "{}", patched.body);
        }
        let mut there = Vec::new();
        for app in ["set", "web"] {
            let pods = self.ready(at, app, 2 * REPLICAS).await;
            assert_eq!(places_of(&pods).len(), NODES, "not on all: {pods:?}");
            there.extend(pods.into_values().map(|pod| pod.node));
        }
        there.sort();
        common::until("the programs are those of the pods", async || {
            let mut programs: Vec<String> = self.programs().into_values().collect();
            programs.sort();
            (programs == there).then_some(())
        })
        .await;
        self.heard(at, &[0, 1, 2]).await;
        for (path, app) in [(STATEFUL_SETS, "set"), (DEPLOYMENTS, "web")] {
            let deleted = self.apis[at].delete(&format!("{path}/{app}")).await;
            assert_eq!(deleted.status, 200, "{}", deleted.body);
        }
        common::until("no program is left", async || {
            self.programs().is_empty().then_some(())
        })
        .await;
        self.never_twice();
    }
}

fn labelled(template: &Value, app: &str) -> Value {
    let mut template = template.clone();
    template["metadata"]["labels"] = json!({"app": app});
    template
}

fn places_of(pods: &BTreeMap<String, Pod>) -> BTreeSet<String> {
    pods.values().map(|pod| pod.node.clone()).collect()
}

fn takes_pods(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
    ready.is_some_and(|ready| ready["status"] == "True") && node["spec"]["taints"].is_null()
}

/// Asks a node's port of the Service once; on which node the answer was made.
async fn asked(address: &str) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    };
    tokio::time::timeout(ASK_WAIT, ask).await.ok()?
}

#[tokio::test]
async fn a_node_that_is_cut_off_ends_its_pods_before_others_run_them() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    // Who leads has most to forget, and whoever comes after it has heard nobody yet.
    let alone = common::leader(&stage.cluster).await;
    let [one, other] = [(alone + 1) % NODES, (alone + 2) % NODES];
    assert_eq!(stage.programs_at(alone).len(), 2);
    stage.heard(one, &[0, 1, 2]).await;

    stage.network.cut(alone).unwrap();
    for at in [one, other] {
        stage.heard(at, &[one, other]).await;
    }
    for app in ["set", "web"] {
        stage.ready_without(one, app, alone).await;
        // Not by way of the agent that is cut off: by the programs' own parents.
        assert_eq!(stage.programs_at(alone), BTreeSet::new());
    }
    for at in [one, other] {
        stage.heard(at, &[one, other]).await;
    }
    stage.never_twice();

    stage.network.mend(alone).unwrap();
    stage.whole(one).await;
}

#[tokio::test]
async fn a_cut_between_two_nodes_moves_nothing_that_its_leader_hears() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let leader = common::leader(&stage.cluster).await;
    let [one, other] = [(leader + 1) % NODES, (leader + 2) % NODES];
    let before = [
        stage.ready(leader, "set", REPLICAS).await,
        stage.ready(leader, "web", REPLICAS).await,
    ];
    let programs = stage.programs();

    // Both still see the leader, so nobody has a reason to end anything.
    stage.network.lose(one, other).unwrap();
    stage.network.lose(other, one).unwrap();
    let cut = Instant::now();
    while cut.elapsed() < LONG {
        stage.heard(one, &[leader, one]).await;
        stage.heard(other, &[leader, other]).await;
    }
    let after = [
        stage.ready(leader, "set", REPLICAS).await,
        stage.ready(leader, "web", REPLICAS).await,
    ];
    assert_eq!(after, before);
    assert_eq!(stage.programs(), programs);
    stage.network.restore(one, other).unwrap();
    stage.network.restore(other, one).unwrap();
    stage.whole(leader).await;
}

#[tokio::test]
async fn a_node_that_its_leader_cannot_tell_anything_is_as_good_as_cut_off() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let leader = common::leader(&stage.cluster).await;
    let [deaf, third] = [(leader + 1) % NODES, (leader + 2) % NODES];
    let at_third = stage.programs_at(third);
    assert_eq!(at_third.len(), 2);

    // One direction of one link. Whoever leads from here on, two can work together.
    stage.network.lose(leader, deaf).unwrap();
    let cut = Instant::now();
    while cut.elapsed() < LONG {
        stage.heard(third, &[third]).await;
    }
    for app in ["set", "web"] {
        let there = |pods: &BTreeMap<String, Pod>| {
            let ready = pods.values().filter(|pod| pod.is_ready && !pod.is_going);
            ready.count() == REPLICAS
        };
        stage.apis[third].pods_until(app, WAIT, there).await;
    }
    // Who hears everybody has no reason to end anything.
    let at_third_now = stage.programs_at(third);
    assert!(at_third.is_subset(&at_third_now), "{at_third_now:?}");
    stage.never_twice();
    stage.network.restore(leader, deaf).unwrap();
    stage.whole(third).await;
}
