//! Services on real nodes: programs run and end as objects say, and live through the end of the
//! node that looks after them, or move to another one.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use atoll_e2e::{
    cluster::{self, Cluster},
    command::{Entry, Server},
    kubernetes::{Api, Pod},
    node::Node,
    ports,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(90);

fn deployment(name: &str, replicas: u64, script: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [{"name": "app", "command": ["sh", "-c", script]}],
                },
            },
        },
    })
}

/// Says who it is, and goes on until it is ended. In a container's command, `$$` is one `$`.
const TALKS: &str = "echo I am $$$$ with $PORT; while :; do sleep 0.2; done";

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn ready(api: &mut Api, name: &str, count: usize) -> BTreeMap<String, Pod> {
    let wanted = |pods: &BTreeMap<String, Pod>| {
        pods.len() == count && pods.values().all(|pod| pod.is_ready && !pod.is_going)
    };
    api.pods_until(name, WAIT, wanted).await
}

/// The processes that the containers of an app have told they are.
async fn processes(api: &mut Api, pods: &BTreeMap<String, Pod>) -> BTreeSet<u32> {
    let mut pids = BTreeSet::new();
    for name in pods.keys() {
        let log = api
            .log_until(name, WAIT, |log| log.contains(" with "))
            .await;
        let pid = log
            .split_whitespace()
            .nth(2)
            .and_then(|pid| pid.parse().ok());
        pids.insert(pid.unwrap_or_else(|| panic!("{log}")));
    }
    pids
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

async fn all_end(pids: &BTreeSet<u32>) {
    let what = format!("the end of {pids:?}");
    common::until(&what, async || {
        let is_over = !pids.iter().any(|pid| is_alive(*pid));
        is_over.then_some(())
    })
    .await;
}

#[tokio::test]
async fn programs_run_as_a_deployment_says_and_end_with_it() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    let made = api.post(DEPLOYMENTS, &deployment("web", 2, TALKS)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let pods = ready(&mut api, "web", 2).await;
    let pids = processes(&mut api, &pods).await;
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)));

    let scale = json!({"spec": {"replicas": 1}});
    let patched = api.merge(&format!("{DEPLOYMENTS}/web/scale"), &scale).await;
    assert_eq!(patched.status, 200, "{}", patched.body);
    let left = ready(&mut api, "web", 1).await;
    let left = processes(&mut api, &left).await;
    all_end(&pids.difference(&left).copied().collect()).await;
    assert!(left.is_subset(&pids));

    let deleted = api.delete(&format!("{DEPLOYMENTS}/web")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    api.pods_until("web", WAIT, BTreeMap::is_empty).await;
    all_end(&left).await;
}

#[tokio::test]
async fn programs_live_through_the_end_of_their_agent() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    api.post(DEPLOYMENTS, &deployment("web", 2, TALKS)).await;
    let pods = ready(&mut api, "web", 2).await;
    let pids = processes(&mut api, &pods).await;
    for _ in 0..2 {
        cluster.nodes[0].kill();
        cluster.nodes[0].start(&Entry::Again).await.unwrap();
        let after = ready(&mut api, "web", 2).await;
        assert_eq!(after, pods, "the same pods, none of them restarted");
        assert!(pids.iter().all(|pid| is_alive(*pid)));
    }
    // They are its own again: it sees them end, and ends them.
    api.delete(&format!("{PODS}/{}", pods.keys().next().unwrap()))
        .await;
    let renewed = |now: &BTreeMap<String, Pod>| {
        now.len() == 2 && *now != pods && now.values().all(|pod| pod.is_ready && !pod.is_going)
    };
    api.pods_until("web", WAIT, renewed).await;
    api.delete(&format!("{DEPLOYMENTS}/web")).await;
    all_end(&pids).await;
}

#[tokio::test]
async fn nobody_is_served_without_a_credential() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut nobody = Api::of(&cluster.nodes[0]).without_credential();
    for path in [PODS, "/apis", "/openapi/v2", "/api/v1/namespaces"] {
        assert_eq!(nobody.get(path).await.status, 401, "{path}");
    }
    let made = nobody.post(DEPLOYMENTS, &deployment("web", 1, TALKS)).await;
    assert_eq!(made.status, 401);
    assert_eq!(nobody.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    let strict = format!("{DEPLOYMENTS}?fieldValidation=Strict");
    let mut unknown = deployment("web", 1, TALKS);
    unknown["spec"]["replica"] = json!(3);
    let mut wrong = deployment("web", 1, TALKS);
    wrong["spec"]["replicas"] = json!("three");
    let mut negative = deployment("web", 1, TALKS);
    negative["spec"]["replicas"] = json!(-1);
    let cases = [
        (unknown, 400, "unknown field \"spec.replica\""),
        (wrong, 400, "cannot unmarshal string"),
        (negative, 422, "must be greater than or equal to 0"),
        (deployment("../x", 1, TALKS), 400, "invalid name"),
        (deployment("Web", 1, TALKS), 422, "RFC 1123"),
        (json!([]), 400, "cannot unmarshal array"),
    ];
    for (object, status, words) in cases {
        let refused = api.post(&strict, &object).await;
        assert_eq!(refused.status, status, "{}", refused.body);
        let told = refused.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(told.contains(words), "{words}: {told}");
    }
    let large = json!({"metadata": {"name": "large"}, "data": {"x": "y".repeat(2 << 20)}});
    let refused = api
        .post("/api/v1/namespaces/default/configmaps", &large)
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("Too long"));
    assert_eq!(
        api.get("/api/v1/namespaces/default/pods/none").await.status,
        404
    );
}

/// A right is held against the name in the path, so nothing else may be written.
#[tokio::test]
async fn what_is_written_is_what_the_path_names() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    let maps = "/api/v1/namespaces/default/configmaps";
    let map =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let other = api.apply(&format!("{maps}/mine"), &map("other")).await;
    assert_eq!(other.status, 400, "{}", other.body);
    let own = api.apply(&format!("{maps}/mine"), &map("mine")).await;
    assert_eq!(own.status, 201, "{}", own.body);
    assert_eq!(api.get(&format!("{maps}/other")).await.status, 404);

    let tried = api
        .delete_as(&format!("{maps}/mine"), &json!({"dryRun": ["All"]}))
        .await;
    assert_eq!(tried.status, 200, "{}", tried.body);
    assert_eq!(api.get(&format!("{maps}/mine")).await.status, 200);

    let everywhere = json!({"metadata": {"name": "open"}, "spec": {
        "type": "ExternalName", "externalName": "a.example", "clusterIP": "0.0.0.0",
        "ports": [{"port": 8080}]}});
    let made = api
        .post("/api/v1/namespaces/default/services", &everywhere)
        .await;
    assert!(made.json()["spec"]["clusterIP"].is_null(), "{}", made.body);
}

/// On which nodes an app's pods are.
fn places(pods: &BTreeMap<String, Pod>) -> BTreeSet<String> {
    pods.values().map(|pod| pod.node.clone()).collect()
}

#[tokio::test]
async fn pods_of_a_dead_node_run_on_the_others_and_never_on_both() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
    let mut names = Vec::new();
    for (api, node) in apis.iter_mut().zip(&cluster.nodes) {
        let id = node.id().unwrap();
        names.push(api.node_of(&id, WAIT).await);
    }
    apis[0]
        .post(DEPLOYMENTS, &deployment("web", 6, TALKS))
        .await;
    let pods = ready(&mut apis[0], "web", 6).await;
    assert_eq!(places(&pods).len(), 3, "they are spread: {pods:?}");
    let victim = 1;
    let on_victim: BTreeMap<String, Pod> = pods
        .iter()
        .filter(|(_, pod)| pod.node == names[victim])
        .map(|(name, pod)| (name.clone(), pod.clone()))
        .collect();
    let there = processes(&mut apis[victim], &on_victim).await;

    cluster.nodes[victim].kill();
    let survivor = (victim + 1) % 3;
    let moved = |now: &BTreeMap<String, Pod>| {
        now.values()
            .filter(|pod| pod.is_ready && pod.node != names[victim])
            .count()
            == 6
    };
    apis[survivor].pods_until("web", WAIT, moved).await;
    // Its programs are ended by their own parents, since nobody renews its lease: before any
    // other node may run what replaces them.
    assert!(!there.iter().any(|pid| is_alive(*pid)), "{there:?} go on");

    cluster.nodes[victim].start(&Entry::Again).await.unwrap();
    let node = format!("/api/v1/nodes/{}", names[victim]);
    apis[survivor]
        .until(&node, WAIT, |node| {
            let conditions = node["status"]["conditions"].as_array().cloned();
            let ready = conditions
                .unwrap_or_default()
                .into_iter()
                .find(|it| it["type"] == "Ready");
            ready.is_some_and(|ready| ready["status"] == "True") && node["spec"]["taints"].is_null()
        })
        .await;
    assert_eq!(ready(&mut apis[victim], "web", 6).await.len(), 6);
}

#[tokio::test]
async fn a_program_is_run_in_a_pod_of_any_node() {
    let cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
    for (api, node) in apis.iter_mut().zip(&cluster.nodes) {
        api.node_of(&node.id().unwrap(), WAIT).await;
    }
    apis[0]
        .post(DEPLOYMENTS, &deployment("web", 3, TALKS))
        .await;
    let pods = ready(&mut apis[0], "web", 3).await;
    assert_eq!(places(&pods).len(), 3, "they are spread: {pods:?}");
    for api in &apis {
        for pod in pods.keys() {
            let much = [
                "sh",
                "-c",
                "echo $HOSTNAME; head -c 500000 /dev/zero | tr '\\0' x; exit 3",
            ];
            let (printed, status) = api.exec(pod, &much).await;
            assert_eq!(printed.split_once('\n').unwrap().0, pod);
            assert_eq!(printed.len(), pod.len() + 1 + 500_000);
            assert_eq!(status["details"]["causes"][0]["message"], "3", "{status}");
        }
    }
}

#[tokio::test]
async fn a_rollout_goes_on_when_the_leader_dies() {
    const REPLICAS: usize = 4;
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
    for (api, node) in apis.iter_mut().zip(&cluster.nodes) {
        api.node_of(&node.id().unwrap(), WAIT).await;
    }
    let mut web = deployment("web", REPLICAS as u64, TALKS);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    apis[0].post(DEPLOYMENTS, &web).await;
    let before = ready(&mut apis[0], "web", REPLICAS).await;

    let template = json!({"metadata": {"annotations": {"version": "2"}}});
    let update = json!({"spec": {"template": template}});
    apis[0].merge(&format!("{DEPLOYMENTS}/web"), &update).await;
    // In the middle of it, so that what the leader had begun is another one's to go on with.
    let begun = |now: &BTreeMap<String, Pod>| now.keys().any(|name| !before.contains_key(name));
    apis[0].pods_until("web", WAIT, begun).await;
    let leader = common::leader(&cluster).await;
    cluster.nodes[leader].kill();
    let survivor = (leader + 1) % 3;
    let done = |now: &BTreeMap<String, Pod>| {
        let there: Vec<_> = now.iter().filter(|(_, pod)| !pod.is_going).collect();
        assert!(
            there.len() <= REPLICAS + 1,
            "more than there may be: {now:?}"
        );
        there.len() == REPLICAS
            && there
                .iter()
                .all(|(name, pod)| pod.is_ready && !before.contains_key(*name))
    };
    apis[survivor].pods_until("web", WAIT, done).await;
}

/// What the program of a pod is told by: not a variable of Atoll's.
const SERVES: &str = "E2E_SERVES";

/// A small HTTP server, which says who it is: what pods run whose Service is asked. This is no
/// test of its own, but a program that a machine without anything else has.
#[tokio::test]
async fn answers_for_a_pod() {
    let Ok(name) = std::env::var(SERVES) else {
        return;
    };
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4_096];
        let _ = stream.read(&mut asked).await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{name}",
            name.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn server(replicas: u64) -> Value {
    let mut made = deployment("web", replicas, "");
    let template = &mut made["spec"]["template"];
    template["metadata"]["annotations"] = json!({"atoll.dev/free-ports": "true"});
    template["spec"]["containers"] = json!([{
        "name": "app",
        "command": [std::env::current_exe().unwrap().to_str().unwrap(),
            "--exact", "answers_for_a_pod", "--nocapture"],
        "env": [{"name": SERVES, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "ports": [{"name": "http", "containerPort": 80}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    }]);
    made
}

/// Asks once; who has answered.
async fn asked(address: &str, host: &str) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    };
    tokio::time::timeout(Duration::from_secs(2), ask)
        .await
        .ok()?
}

#[tokio::test]
async fn a_service_goes_on_answering_when_a_node_dies() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    let mut apis: Vec<Api> = cluster.nodes.iter().map(Api::of).collect();
    let mut names = Vec::new();
    for (api, node) in apis.iter_mut().zip(&cluster.nodes) {
        names.push(api.node_of(&node.id().unwrap(), WAIT).await);
    }
    apis[0].post(DEPLOYMENTS, &server(3)).await;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 18_080, "targetPort": "http"}]},
    });
    let made = apis[0]
        .post("/api/v1/namespaces/default/services", &service)
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let address = made.json()["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .to_owned();
    let address = format!("{address}:18080");
    let pods = ready(&mut apis[0], "web", 3).await;
    assert_eq!(places(&pods).len(), 3, "they are spread: {pods:?}");
    let heard_all = async |names: &[String]| {
        let mut heard = BTreeSet::new();
        common::until("an answer of each", async || {
            heard.extend(asked(&address, "web").await);
            names.iter().all(|name| heard.contains(name)).then_some(())
        })
        .await;
    };
    heard_all(&names).await;

    // The node that listens for the Service, as it may be: another one does then.
    cluster.nodes[0].kill();
    heard_all(&names[1..]).await;
    let moved = |now: &BTreeMap<String, Pod>| {
        now.values()
            .filter(|pod| pod.is_ready && pod.node != names[0])
            .count()
            == 3
    };
    apis[1].pods_until("web", WAIT, moved).await;
    heard_all(&names[1..]).await;
}

#[tokio::test]
async fn node_ports_and_load_balancers_are_at_every_node() {
    let scratch = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for place in 1..=3 {
        let name = format!("node-{place}");
        let mut node = Node::new(Server::under_test(), scratch.path(), &name).unwrap();
        // Addresses of their own, as machines have.
        node.set_environment(&[
            (
                "ATOLL_LISTEN_HTTP",
                &format!("127.0.1.{place}:{}", ports::free_port()),
            ),
            ("ATOLL_SERVICES_BALANCER_HOST", &format!("127.0.2.{place}")),
        ]);
        nodes.push(node);
    }
    nodes[0].start(&Entry::Found).await.unwrap();
    let entry = cluster::join_entry(&nodes[0], 2).unwrap();
    for node in &mut nodes[1..] {
        node.spawn(&entry).unwrap();
    }
    for node in &mut nodes[1..] {
        node.ready().await.unwrap();
    }
    let mut api = Api::of(&nodes[0]);
    api.post(DEPLOYMENTS, &server(1)).await;
    let balanced = ports::free_port();
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"},
            "ports": [{"port": balanced, "targetPort": "http"}]},
    });
    let path = "/api/v1/namespaces/default/services";
    let made = api.post(path, &service).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let node_port = made.json()["spec"]["ports"][0]["nodePort"]
        .as_u64()
        .unwrap();
    let pods = ready(&mut api, "web", 1).await;
    let runs_at = places(&pods).into_iter().next().unwrap();
    let ways = (1..=3).flat_map(|place| {
        [
            format!("127.0.1.{place}:{node_port}"),
            format!("127.0.2.{place}:{balanced}"),
        ]
    });
    let ways: Vec<_> = ways.collect();
    for address in &ways {
        let answer = common::until("an answer", async || asked(address, "web").await).await;
        assert_eq!(answer, runs_at, "{address}");
    }
    // Who is balanced can be told from the Service.
    let told = async |api: &mut Api| {
        let status = &api.get(&format!("{path}/web")).await.json()["status"];
        let addresses = status["loadBalancer"]["ingress"].as_array().cloned()?;
        (!addresses.is_empty()).then_some(())
    };
    let mut other = Api::of(&nodes[1]);
    common::until("its addresses", async || told(&mut other).await).await;
    // What is no longer asked for is no longer there.
    api.delete(&format!("{path}/web")).await;
    for address in &ways {
        let refused = async || TcpStream::connect(address).await.err().map(|_| ());
        common::until("the listener's end", refused).await;
    }
}

#[tokio::test]
async fn an_ingress_leads_requests_by_host_and_path() {
    let scratch = tempfile::tempdir().unwrap();
    let http = ports::free_port();
    let mut node = Node::new(Server::under_test(), scratch.path(), "gate").unwrap();
    node.set_environment(&[("ATOLL_LISTEN_HTTP", &format!("127.0.0.1:{http}"))]);
    node.start(&Entry::Found).await.unwrap();
    let mut api = Api::of(&node);
    api.post(DEPLOYMENTS, &server(1)).await;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"},
            "ports": [{"name": "web", "port": 80, "targetPort": "http"}]},
    });
    api.post("/api/v1/namespaces/default/services", &service)
        .await;
    let ingress = json!({
        "metadata": {"name": "web"},
        "spec": {"rules": [{"host": "shop.example", "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"name": "web"}}},
        }]}}]},
    });
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let made = api.post(path, &ingress).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let address = format!("127.0.0.1:{http}");
    common::until("an answer", async || asked(&address, "shop.example").await).await;
    assert_eq!(asked(&address, "other.example").await, None);
}
