//! Transactions with services outside, with real processes: nodes that bring them to their ends
//! are killed between votes and decision, and between decision and telling, and the services end
//! alike, and so does the nodes' own hot data.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;
#[path = "outside/keys.rs"]
mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::Server,
    node::{Error, Node},
};
use common::{all_placed, all_vote, connected, leader, until};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A service outside: remembers each branch, in the words of the protocol.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    url: String,
    /// `true`: prepared, and in doubt.
    branches: BTreeMap<String, Branch>,
    refuses: bool,
    /// These orders it does not answer.
    deaf_to: BTreeSet<&'static str>,
    /// How often each order came.
    heard: BTreeMap<String, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    Prepared,
    Committed,
    Aborted,
}

impl State {
    /// What it answers.
    fn report(&mut self, order: &Value) -> Option<&'static str> {
        let word = order["order"].as_str().unwrap();
        *self.heard.entry(word.to_owned()).or_default() += 1;
        if self.deaf_to.contains(word) {
            return None;
        }
        let branch = format!("{}/{}", order["transaction"], order["branch"]);
        let known = self.branches.get(&branch).copied();
        let (next, report) = match (word, known) {
            ("prepare", None) if self.refuses => (Some(Branch::Aborted), "no"),
            ("prepare", None | Some(Branch::Prepared)) => (Some(Branch::Prepared), "yes"),
            ("prepare", Some(Branch::Aborted)) => (known, "no"),
            ("pre-commit", Some(Branch::Prepared)) => (known, "pre-committed"),
            // A saga's step.
            ("do", None) if self.refuses => (Some(Branch::Aborted), "failed"),
            ("do", None) => (Some(Branch::Committed), "done"),
            ("ask", None) => (None, "not-done"),
            ("do" | "ask", Some(Branch::Committed)) => (known, "done"),
            ("compensate", _) => (Some(Branch::Aborted), "compensated"),
            ("commit", None) => (None, "unknown"),
            ("commit", Some(Branch::Prepared)) => (Some(Branch::Committed), "committed"),
            ("abort", None | Some(Branch::Prepared)) => (Some(Branch::Aborted), "aborted"),
            (_, Some(Branch::Committed)) => (known, "committed"),
            (_, Some(Branch::Aborted)) => (known, "aborted"),
            other => panic!("no order: {other:?}"),
        };
        if let Some(next) = next {
            self.branches.insert(branch, next);
        }
        Some(report)
    }
}

impl Service {
    async fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Service::default();
        service.0.lock().unwrap().url = format!("http://{}/it", listener.local_addr().unwrap());
        let serving = service.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                // A node that is killed hangs up in the middle.
                tokio::spawn(async move { serving.answer(stream).await });
            }
        });
        service
    }

    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut asked = Vec::new();
        let body = loop {
            let mut buffer = [0; 4_096];
            let count = stream.read(&mut buffer).await.ok().filter(|it| *it > 0)?;
            asked.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&asked);
            let Some((_, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            if let Ok(body) = serde_json::from_str::<Value>(body) {
                break body;
            }
        };
        let report = self.0.lock().unwrap().report(&body)?;
        let body = json!({ "report": report }).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()
    }

    fn url(&self) -> String {
        self.0.lock().unwrap().url.clone()
    }

    fn refuse(&self) {
        self.0.lock().unwrap().refuses = true;
    }

    fn deafen(&self, to: &[&'static str]) {
        self.0.lock().unwrap().deaf_to = to.iter().copied().collect();
    }

    fn heard(&self, order: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .heard
            .get(order)
            .copied()
            .unwrap_or(0)
    }

    /// How its branches stand.
    fn branches(&self) -> Vec<Branch> {
        self.0.lock().unwrap().branches.values().copied().collect()
    }
}

async fn two() -> [Service; 2] {
    [Service::start().await, Service::start().await]
}

/// All branches of both have ended so.
async fn ended(services: &[Service; 2], as_one: Branch) {
    until("both have ended", async || {
        let is_so = |it: &Service| it.branches() == [as_one];
        services.iter().all(is_so).then_some(())
    })
    .await;
}

fn begin(node: &Node, services: &[Service]) -> String {
    begin_a("two-phase", node, services)
}

fn begin_a(kind: &str, node: &Node, services: &[Service]) -> String {
    let begun = node.told(&["txn", "begin", "--kind", kind]).unwrap();
    let id = begun["id"].as_str().unwrap().to_owned();
    for (number, service) in services.iter().enumerate() {
        let url = service.url();
        let words = ["txn", "enlist", &id, "--http", &url, "--payload", "work"];
        assert_eq!(node.told(&words).unwrap()["branch"], number);
    }
    id
}

/// Asks for a commit, and does not wait for the answer.
fn commit_begins(node: &Node, id: &str) -> Child {
    let mut command = node.atoll(&["txn", "commit", id]);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().unwrap()
}

async fn three() -> Cluster {
    let cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    cluster
}

/// Has a node carry out a call of the coordinator by JSON; the answer's status, and its body.
async fn post(node: &Node, call: &str, body: Value) -> (u16, Value) {
    let path = format!("/v1/transactions/{call}");
    node.post(&path, &body).await.unwrap()
}

/// Asks for a commit by JSON, which a participant does not agree to.
async fn is_refused_by_a_participant(node: &Node, id: &str) {
    let expected = json!({"outcome": "ABORTED", "reason": "PARTICIPANT"});
    let told = post(node, "commit", json!({"id": id})).await;
    assert_eq!(told, (200, expected));
}

/// Asks a node for a commit, and kills it when the first service has voted and the second was
/// asked. When this returns, the second one votes if it is asked again.
async fn the_coordinator_dies_between_votes(node: &mut Node, services: &[Service; 2], id: &str) {
    services[1].deafen(&["prepare"]);
    let mut asking = commit_begins(node, id);
    until("one has voted, and the other was asked", async || {
        let voted = services[0].branches() == [Branch::Prepared];
        (voted && services[1].heard("prepare") > 0).then_some(())
    })
    .await;
    node.kill();
    asking.wait().unwrap();
    assert_eq!(services[0].branches(), [Branch::Prepared]);
    services[1].deafen(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_all_do_their_part_or_none() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let services = two().await;
    let id = begin(node, &services);
    let told = node.told(&["txn", "commit", &id, "--until-ended"]).unwrap();
    assert_eq!(
        told,
        json!({"outcome": "committed", "reason": "none", "mixed": false})
    );
    ended(&services, Branch::Committed).await;

    // By JSON, and one of them can't.
    let services = two().await;
    services[1].refuse();
    let (code, begun) = post(node, "begin", json!({"timeout_ms": "5000"})).await;
    assert_eq!(code, 200, "{begun}");
    let id = begun["id"].as_str().unwrap();
    for service in &services {
        let body = json!({"id": id, "http": {"url": service.url(), "payload": "{\"x\":1}"}});
        assert_eq!(post(node, "enlist", body).await.0, 200);
    }
    is_refused_by_a_participant(node, id).await;
    ended(&services, Branch::Aborted).await;
    assert!(matches!(
        node.told(&["txn", "commit", id]),
        Err(Error::Command { status, .. }) if status.code() == Some(1)
    ));
    let shown = node.told(&["txn", "show", id]).unwrap();
    assert_eq!(shown["participants"][0]["name"], services[0].url());
    assert_eq!(
        node.told(&["txn", "list"])
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        node.told(&["txn", "list", "--in-doubt"]).unwrap(),
        json!([])
    );

    // What makes no sense is refused, and says why.
    for (path, body, code) in [
        (
            "enlist",
            json!({"id": id, "http": {"url": "http://10.1.2.3/"}}),
            400,
        ),
        (
            "enlist",
            json!({"id": id, "http": {"url": services[0].url()}}),
            400,
        ),
        ("enlist", json!({"id": id}), 400),
        ("commit", json!({"id": "zz"}), 400),
        ("commit", json!({"id": "0".repeat(32)}), 404),
        ("begin", json!({"kind": "FOUR_PHASE"}), 400),
        ("begin", json!({"timeout_ms": "99999999999"}), 400),
        ("nothing", json!({}), 404),
    ] {
        let (found, told) = post(node, path, body.clone()).await;
        assert_eq!(found, code, "{path} {body}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_dies_between_votes_and_decision_and_the_client_goes_on_elsewhere() {
    let mut cluster = three().await;
    let services = two().await;
    let id = begin(&cluster.nodes[0], &services);
    the_coordinator_dies_between_votes(&mut cluster.nodes[0], &services, &id).await;
    let told = cluster.nodes[1].told(&["txn", "commit", &id]).unwrap();
    assert_eq!(told["outcome"], "committed");
    ended(&services, Branch::Committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_dies_before_it_decides_and_what_was_prepared_is_given_up() {
    let mut cluster = three().await;
    let services = two().await;
    let id = begin(&cluster.nodes[0], &services);
    services[1].deafen(&["prepare"]);
    let mut asking = commit_begins(&cluster.nodes[0], &id);
    until("one has voted", async || {
        (services[0].branches() == [Branch::Prepared]).then_some(())
    })
    .await;
    cluster.nodes[0].kill();
    asking.wait().unwrap();
    // Nobody asks for it any more.
    ended(&services, Branch::Aborted).await;
    let shown = cluster.nodes[1].told(&["txn", "show", &id]).unwrap();
    assert_eq!(
        (&shown["outcome"], &shown["reason"]),
        (&json!("aborted"), &json!("timeout"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_dies_after_it_has_decided_and_another_node_tells_the_rest() {
    let mut cluster = three().await;
    let services = two().await;
    // The one that looks after others' transactions dies itself.
    let first = leader(&cluster).await;
    let id = begin(&cluster.nodes[first], &services);
    services[1].deafen(&["commit"]);
    let told = cluster.nodes[first].told(&["txn", "commit", &id]).unwrap();
    assert_eq!(told["outcome"], "committed");
    until("one has committed, and the other was told", async || {
        let committed = services[0].branches() == [Branch::Committed];
        (committed && services[1].heard("commit") > 0).then_some(())
    })
    .await;
    let other = &cluster.nodes[(first + 1) % 3];
    until("it is in doubt", async || {
        let listed = other.told(&["txn", "list", "--in-doubt"]).ok()?;
        (listed[0]["id"] == *id).then_some(())
    })
    .await;
    cluster.nodes[first].kill();
    services[1].deafen(&[]);
    ended(&services, Branch::Committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_ends_what_does_not_answer_and_that_is_kept() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let services = two().await;
    let id = begin(node, &services);
    services[1].deafen(&["commit"]);
    node.told(&["txn", "commit", &id]).unwrap();
    let words = [
        "txn",
        "resolve",
        &id,
        "1",
        "aborted",
        "--remark",
        "burnt down",
    ];
    node.told(&words).unwrap();
    let shown = until("it has ended", async || {
        let shown = node.told(&["txn", "show", &id]).ok()?;
        (shown["phase"] == "ended").then_some(shown)
    })
    .await;
    assert_eq!(shown["mixed"], true);
    assert_eq!(shown["participants"][1]["standing"], "by-hand");
    let line = &shown["audit"][0];
    assert_eq!(line["what"], "participant 1 aborted: burnt down");
    assert_eq!(line["by"], "somebody (logins are off)");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_phase_commit_tells_all_that_all_have_voted_yes() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let services = two().await;
    let id = begin_a("three-phase", node, &services);
    let told = node.told(&["txn", "commit", &id, "--until-ended"]).unwrap();
    assert_eq!(told["outcome"], "committed");
    for service in &services {
        assert_eq!(service.branches(), [Branch::Committed]);
        assert_eq!(service.heard("pre-commit"), 1);
    }
    let shown = node.told(&["txn", "show", &id]).unwrap();
    assert_eq!(shown["kind"], "three-phase");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sagas_steps_are_undone_in_the_opposite_order_also_by_another_node() {
    let mut cluster = three().await;
    let services = [
        Service::start().await,
        Service::start().await,
        Service::start().await,
    ];
    let id = begin_a("saga", &cluster.nodes[0], &services);
    services[2].refuse();
    services[1].deafen(&["compensate"]);
    let mut asking = commit_begins(&cluster.nodes[0], &id);
    until(
        "the last step has failed, and the second is to be undone",
        async || (services[1].heard("compensate") > 0).then_some(()),
    )
    .await;
    assert_eq!(services[0].branches(), [Branch::Committed]);
    cluster.nodes[0].kill();
    asking.wait().unwrap();
    services[1].deafen(&[]);
    until("all is undone", async || {
        let undone = |it: &Service| it.branches() == [Branch::Aborted];
        services.iter().all(undone).then_some(())
    })
    .await;
    let shown = until("it has ended", async || {
        let shown = cluster.nodes[1].told(&["txn", "show", &id]).ok()?;
        (shown["phase"] == "ended").then_some(shown)
    })
    .await;
    assert_eq!(
        (&shown["outcome"], &shown["reason"]),
        (&json!("aborted"), &json!("participant"))
    );
    assert_eq!(
        services[2].heard("compensate"),
        0,
        "what failed was never done"
    );
}

/// The value of a key at a node, if nobody keeps it locked.
async fn value(node: &Node, key: &str) -> Option<i64> {
    let mut redis = connected(node).await;
    redis
        .set_read_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    redis::cmd("GET").arg(key).query(&mut redis).ok()
}

async fn finds(node: &Node, alpha: i64, beta: i64) {
    until("hot data is as it should be", async || {
        let found = (value(node, "alpha").await, value(node, "beta").await);
        (found == (Some(alpha), Some(beta))).then_some(())
    })
    .await;
}

async fn open_accounts(node: &Node) {
    let mut redis = connected(node).await;
    let mut mset = redis::cmd("MSET");
    let told: String = mset
        .arg(&["alpha", "10", "beta", "10"])
        .query(&mut redis)
        .unwrap();
    assert_eq!(told, "OK");
}

/// Begins a transaction in which a service takes part, and hot data moves so much from one key to
/// another, in another partition.
async fn begin_a_transfer(node: &Node, service: &Service, amount: i64) -> String {
    let id = begin(node, std::slice::from_ref(service));
    let (take, give) = (
        format!("DECRBY alpha {amount}"),
        format!("INCRBY beta {amount}"),
    );
    let words = [
        "txn",
        "enlist",
        &id,
        "--redis",
        &take,
        "--redis",
        &give,
        "--at-least",
        "0",
    ];
    // Not before every node knows how.
    let told = until("hot data takes part", async || node.told(&words).ok()).await;
    assert_eq!(told["branch"], 1);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_data_and_a_service_do_their_part_or_none() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    open_accounts(node).await;
    let service = Service::start().await;
    let id = begin_a_transfer(node, &service, 3).await;
    let told = node.told(&["txn", "commit", &id, "--until-ended"]).unwrap();
    assert_eq!(told["outcome"], "committed");
    assert_eq!(service.branches(), [Branch::Committed]);
    finds(node, 7, 13).await;
    let shown = node.told(&["txn", "show", &id]).unwrap();
    assert_eq!(shown["participants"][1]["name"], "atoll:hot");

    // There is too little, and nothing is done anywhere.
    let service = Service::start().await;
    let id = begin_a_transfer(node, &service, 8).await;
    assert!(matches!(
        node.told(&["txn", "commit", &id]),
        Err(Error::Command { status, .. }) if status.code() == Some(1)
    ));
    until("the service has ended", async || {
        (service.branches() == [Branch::Aborted]).then_some(())
    })
    .await;
    // The service can't; by JSON, in another database.
    let service = Service::start().await;
    service.refuse();
    let id = begin(node, std::slice::from_ref(&service));
    let hot = json!({"commands": [
        {"words": ["SET", "alpha", "1"], "database": 2, "equals": "OK"},
        {"raw": ["SU5DUg==", "YWxwaGE="], "at_least": "-5"},
    ]});
    let told = post(node, "enlist", json!({"id": id, "hot": hot})).await;
    assert_eq!(told, (200, json!({"branch": 1})));
    is_refused_by_a_participant(node, &id).await;
    finds(node, 7, 13).await;

    // What hot data can't do as a part is refused, and says why.
    let two_phase = begin(node, &[]);
    let saga = begin_a("saga", node, &[]);
    let peers = begin_a("three-phase-peers", node, &[]);
    for (id, command, why) in [
        (
            &two_phase,
            json!({"words": ["EVAL", "return 1", "1", "a"]}),
            "script",
        ),
        (&two_phase, json!({"words": ["BLPOP", "a", "0"]}), "wait"),
        (&two_phase, json!({"words": ["FLUSHALL"]}), "keys"),
        (
            &two_phase,
            json!({"words": ["GET", "a"], "database": 32}),
            "linearizable",
        ),
        (&two_phase, json!({}), "is no command"),
        (&saga, json!({"words": ["GET", "a"]}), "saga"),
        (&peers, json!({"words": ["GET", "a"]}), "peers"),
    ] {
        let body = json!({"id": id, "hot": {"commands": [command]}});
        let (code, told) = post(node, "enlist", body).await;
        let text = told["message"].as_str().unwrap_or_default();
        assert_eq!((code, text.contains(why)), (400, true), "{why}: {told}");
    }
}

/// Three nodes whose first coordinates, and dies when hot data has voted; the service has not.
async fn hot_data_votes_and_the_coordinator_dies(service: &Service) -> (Cluster, String) {
    let mut cluster = three().await;
    all_placed(&cluster.nodes[0]).await;
    open_accounts(&cluster.nodes[1]).await;
    service.deafen(&["prepare"]);
    let id = begin_a_transfer(&cluster.nodes[0], service, 3).await;
    let mut asking = commit_begins(&cluster.nodes[0], &id);
    until("hot data has voted", async || {
        let locked = value(&cluster.nodes[1], "alpha").await.is_none();
        (locked && service.heard("prepare") > 0).then_some(())
    })
    .await;
    cluster.nodes[0].kill();
    asking.wait().unwrap();
    (cluster, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_dies_when_hot_data_has_voted_and_the_client_goes_on_elsewhere() {
    let service = Service::start().await;
    let (cluster, id) = hot_data_votes_and_the_coordinator_dies(&service).await;
    // Nobody else ends it.
    for node in &cluster.nodes[1..] {
        assert_eq!(value(node, "alpha").await, None);
        assert_eq!(value(node, "beta").await, None);
    }
    service.deafen(&[]);
    let told = cluster.nodes[1].told(&["txn", "commit", &id]).unwrap();
    assert_eq!(told["outcome"], "committed");
    finds(&cluster.nodes[2], 7, 13).await;
    assert_eq!(service.branches(), [Branch::Committed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_dies_when_hot_data_has_voted_and_nobody_goes_on() {
    let service = Service::start().await;
    let (cluster, _) = hot_data_votes_and_the_coordinator_dies(&service).await;
    service.deafen(&[]);
    finds(&cluster.nodes[1], 10, 10).await;
    until("the service has ended", async || {
        (service.branches() == [Branch::Aborted]).then_some(())
    })
    .await;
}
