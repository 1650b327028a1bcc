//! What nobody should send to the Kubernetes API, sent to a real node by HTTP: each is refused in
//! words or costs little, and the node goes on serving others meanwhile.
// Edge of the house: real processes and sockets.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{cell::Cell, time::Duration};

use atoll_e2e::{
    cluster::Cluster,
    command::Server,
    kubernetes::{Answer, Api, Method},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(60);
/// What a request may have at most, in bytes (docs/services.md).
const BODY_BYTES_MAX: usize = 3 << 20;
/// How many send at once what costs most: some 90 MB each, in memory.
const SENDERS: usize = 6;
/// What they may add to a node's memory, in KiB: it works on two at a time.
const GROWTH_KIB_MAX: u64 = 350 << 10;

#[tokio::test]
async fn bad_objects_are_refused_in_words_and_cost_little() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    let pid = cluster.nodes[0].pid().unwrap();
    unknown_fields_are_told_as_asked(&mut api).await;
    wrong_types_are_named(&mut api).await;
    metadata_is_bounded(&mut api).await;
    bombs_are_not_unfolded(&mut api).await;
    protobuf_that_lies_is_refused(&mut api).await;
    names_lead_nowhere(&mut api).await;
    paths_stay_in_their_volumes(&mut api).await;
    owners_in_a_circle_go(&mut api).await;
    many_labels_hold_up_nobody(&api, pid).await;
    assert!(cluster.nodes[0].is_running());
    let left = api.get(MAPS).await.json();
    let names = left["items"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|it| &it["metadata"]["name"]).collect();
    assert_eq!(names, ["ignored", "warned"], "nothing of the rest was made");
}

async fn send(api: &Api, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let body: Vec<u8> = body.into();
    let sent = api.send(Method::POST, path, kind, body.into()).await;
    sent.unwrap()
}

/// It was refused with this status, and says why in so many words and not many more.
fn refused(answer: &Answer, status: u16, words: &str) {
    let told = answer.json();
    let message = told["message"].as_str().unwrap_or_default();
    let shown: String = answer.body.chars().take(500).collect();
    assert_eq!(answer.status, status, "{words}: {shown}");
    assert_eq!(told["kind"], "Status", "{words}: {shown}");
    assert!(message.contains(words), "{words}: {shown}");
    assert!(answer.body.len() < 64 << 10, "{} bytes", answer.body.len());
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

async fn unknown_fields_are_told_as_asked(api: &mut Api) {
    let with = |name: &str| {
        let mut map = map(name);
        map["dataa"] = json!({"a": "b"});
        map
    };
    let strict = format!("{MAPS}?fieldValidation=Strict");
    refused(
        &api.post(&strict, &with("strict")).await,
        400,
        "strict decoding error: unknown field \"dataa\"",
    );
    let warned = api.post(MAPS, &with("warned")).await;
    assert_eq!(warned.status, 201, "{}", warned.body);
    assert!(
        warned.warnings[0].contains("unknown field"),
        "{:?}",
        warned.warnings
    );
    let ignored = format!("{MAPS}?fieldValidation=Ignore");
    let ignored = api.post(&ignored, &with("ignored")).await;
    assert_eq!(ignored.status, 201, "{}", ignored.body);
    assert!(ignored.warnings.is_empty(), "{:?}", ignored.warnings);
    for made in [warned, ignored] {
        assert!(made.json()["dataa"].is_null(), "{}", made.body);
    }
    refused(
        &api.post(&format!("{MAPS}?fieldValidation=strict"), &map("x"))
            .await,
        400,
        "fieldValidation",
    );
    let mut many = map("many");
    for number in 0..50_000 {
        many[format!("field{number}")] = json!(1);
    }
    refused(&api.post(&strict, &many).await, 400, "unknown field");
}

async fn wrong_types_are_named(api: &mut Api) {
    let cases = [
        (json!({"metadata": "x"}), "ConfigMap.metadata"),
        (
            json!({"metadata": {"name": ["x"]}}),
            "ObjectMeta.metadata.name of type string",
        ),
        (
            json!({"metadata": {"name": "x"}, "data": {"a": 1}}),
            "ConfigMap.data of type string",
        ),
        (
            json!({"metadata": {"name": "x"}, "immutable": "yes"}),
            "ConfigMap.immutable of type bool",
        ),
        (json!("x"), "cannot unmarshal string"),
        (json!({"kind": "Secret", "apiVersion": "v1"}), "ConfigMap"),
    ];
    for (object, words) in cases {
        refused(&api.post(MAPS, &object).await, 400, words);
    }
    let wrong = send(api, MAPS, "text/html", "<html>").await;
    refused(&wrong, 415, "accepted media types");
}

async fn metadata_is_bounded(api: &mut Api) {
    let annotated = |bytes: usize| {
        let mut map = map("annotated");
        map["metadata"]["annotations"] =
            json!({"a": "x".repeat(bytes / 2 - 1), "b": "x".repeat(bytes / 2 - 1)});
        map
    };
    let dry = format!("{MAPS}?dryRun=All");
    let most = api.post(&dry, &annotated(256 << 10)).await;
    assert_eq!(most.status, 201, "as many as there may be");
    refused(
        &api.post(&dry, &annotated((256 << 10) + 2)).await,
        422,
        "metadata.annotations: Too long: may not be more than 262144 bytes",
    );
    let mut labelled = map("labelled");
    labelled["metadata"]["labels"] = json!({"a": "x".repeat(64)});
    refused(
        &api.post(&dry, &labelled).await,
        422,
        "must be no more than 63 bytes",
    );
}

/// Anchors of which each holds the one before many times over.
fn aliases(levels: usize) -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: aliases}\nl0: &l0 [x]\n".to_owned();
    for level in 1..=levels {
        let below = format!("*l{}, ", level - 1).repeat(10);
        text += &format!("l{level}: &l{level} [{below}]\n");
    }
    text
}

async fn bombs_are_not_unfolded(api: &mut Api) {
    const DEPTH: usize = 100_000;
    let begun = Instant::now();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        refused(&send(api, MAPS, JSON, deep.clone()).await, 400, "recursion");
        refused(&send(api, MAPS, YAML, deep).await, 400, "yaml: ");
    }
    let dashes = "- ".repeat(DEPTH);
    refused(&send(api, MAPS, YAML, dashes).await, 400, "yaml: ");
    refused(&send(api, MAPS, YAML, aliases(9)).await, 400, "yaml: ");
    let circle = "metadata: &m {name: x, labels: *m}";
    refused(&send(api, MAPS, YAML, circle).await, 400, "yaml: ");

    // What each operation copies, the next one copies twice.
    let doubling: Vec<Value> = (0..64)
        .map(|step| json!({"op": "copy", "from": "/data", "path": format!("/data/{step}")}))
        .collect();
    let patch = serde_json::to_vec(&doubling).unwrap();
    let patched = api
        .send(
            Method::PATCH,
            &format!("{MAPS}/warned"),
            "application/json-patch+json",
            patch.into(),
        )
        .await
        .unwrap();
    assert!((400..500).contains(&patched.status), "{}", patched.status);
    assert!(begun.elapsed() < WAIT, "{:?}", begun.elapsed());
}

/// A `runtime.Unknown` of a `ConfigMap`, around any bytes.
fn envelope(object: &[u8]) -> Vec<u8> {
    let meta = b"\x0a\x02v1\x12\x09ConfigMap";
    let mut body = b"k8s\0\x0a".to_vec();
    body.push(u8::try_from(meta.len()).unwrap());
    body.extend_from_slice(meta);
    body.push(0x12);
    body.push(u8::try_from(object.len()).unwrap());
    body.extend_from_slice(object);
    body
}

async fn protobuf_that_lies_is_refused(api: &mut Api) {
    let sound = envelope(b"\x0a\x03\x0a\x01x");
    let dry = format!("{MAPS}?dryRun=All");
    let made = send(api, &dry, PROTOBUF, sound.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let lies: [(&str, Vec<u8>); 6] = [
        ("metadata that is longer", envelope(b"\x0a\x7f\x0a\x01x")),
        (
            "2^63 bytes of metadata",
            envelope(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx"),
        ),
        ("a number without end", envelope(&[0xff; 20])),
        ("a group", envelope(b"\x0b\x0b\x0b")),
        (
            "an envelope that is longer",
            b"k8s\0\x12\xff\xff\xff\x7f".to_vec(),
        ),
        ("no text", envelope(b"\x0a\x03\x0a\x01\xff")),
    ];
    for (what, body) in lies {
        let answer = send(api, &dry, PROTOBUF, body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.body);
    }
    // Cut anywhere, it is refused or lacks what it needs.
    for end in 0..sound.len() {
        let answer = send(api, &dry, PROTOBUF, &sound[..end]).await;
        assert!(
            [400, 422].contains(&answer.status),
            "{end}: {}",
            answer.body
        );
    }
}

async fn names_lead_nowhere(api: &mut Api) {
    let long = "a".repeat(300);
    let names = [
        "..",
        ".",
        "../../secrets/x",
        "a/b",
        "%2e%2e%2fsecrets",
        "a\0b",
        "a\nb",
        "a b",
        &long,
    ];
    for name in names {
        let told = api.post(MAPS, &map(name)).await;
        assert!([400, 422].contains(&told.status), "{name:?}: {}", told.body);
        let mut prefixed = map("");
        prefixed["metadata"] = json!({"generateName": format!("{name}/")});
        let told = api.post(MAPS, &prefixed).await;
        assert!([400, 422].contains(&told.status), "{name:?}: {}", told.body);
        let mut elsewhere = map("x");
        elsewhere["metadata"]["namespace"] = json!(name);
        let told = api.post(MAPS, &elsewhere).await;
        assert_eq!(told.status, 400, "{name:?}: {}", told.body);
    }
    let paths = [
        "..%2f..%2fsecrets%2fx",
        "%2e%2e",
        "%2e%2e%2fsecrets",
        "%2E%2E%2F%2E%2E%2F",
        "a%00b",
        "%ff%fe",
        "..;x",
        "%zz",
        &long,
    ];
    for name in paths {
        let path = format!("{MAPS}/{name}");
        let found = api.get(&path).await;
        assert!(
            (400..500).contains(&found.status),
            "{name}: {} {}",
            found.status,
            found.body
        );
        let made = api.apply(&path, &map("x")).await;
        assert!(
            (400..500).contains(&made.status),
            "{name}: {} {}",
            made.status,
            made.body
        );
        let path = format!("/api/v1/namespaces/{name}/configmaps/x");
        let status = api.get(&path).await.status;
        assert!((400..500).contains(&status), "{name}: {status}");
    }
}

async fn paths_stay_in_their_volumes(api: &mut Api) {
    let pod = |volume: Value, mount: Value| {
        json!({"metadata": {"name": "out"}, "spec": {
            "volumes": [volume],
            "containers": [{"name": "c", "command": ["true"], "volumeMounts": [mount]}],
        }})
    };
    let plain = json!({"name": "v", "mountPath": "/v"});
    let cases = [
        (
            pod(
                json!({"name": "v", "hostPath": {"path": "/tmp/../etc"}}),
                plain.clone(),
            ),
            "hostPath.path: Invalid value: \"/tmp/../etc\": must not contain '..'",
        ),
        (
            pod(
                json!({"name": "v", "emptyDir": {}}),
                json!({"name": "v", "mountPath": "/v", "subPath": "../x"}),
            ),
            "subPath: Invalid value: \"../x\": must not contain '..'",
        ),
        (
            pod(
                json!({"name": "v", "emptyDir": {}}),
                json!({"name": "v", "mountPath": "/v", "subPath": "/etc"}),
            ),
            "subPath: Invalid value: \"/etc\": must be a relative path",
        ),
        (
            pod(
                json!({"name": "v", "configMap": {"name": "m",
                    "items": [{"key": "k", "path": "../../x"}]}}),
                plain.clone(),
            ),
            "items[0].path: Invalid value: \"../../x\": must not contain '..'",
        ),
        (
            pod(json!({"name": "../v", "emptyDir": {}}), plain),
            "spec.volumes[0].name: Invalid value: \"../v\"",
        ),
    ];
    for (pod, words) in cases {
        refused(&api.post(PODS, &pod).await, 422, words);
    }
    for key in ["../x", "..", ".", "a/b", "a\0"] {
        let mut map = map("keys");
        map["data"] = json!({key: "x"});
        refused(&api.post(MAPS, &map).await, 422, "data");
    }
}

/// Makes maps that own each other in a circle, deletes the first and waits until all are gone.
async fn circle(api: &mut Api, names: &[&str], propagation: &str) {
    let mut uids = Vec::new();
    for name in names {
        let made = api.post(MAPS, &map(name)).await;
        uids.push(made.json()["metadata"]["uid"].as_str().unwrap().to_owned());
    }
    for (at, name) in names.iter().enumerate() {
        let owner = (at + 1) % names.len();
        let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": names[owner],
            "uid": uids[owner], "blockOwnerDeletion": true}]);
        let owned = api
            .merge(
                &format!("{MAPS}/{name}"),
                &json!({"metadata": {"ownerReferences": owners}}),
            )
            .await;
        assert_eq!(owned.status, 200, "{}", owned.body);
    }
    let options = json!({"propagationPolicy": propagation});
    let deleted = api
        .delete_as(&format!("{MAPS}/{}", names[0]), &options)
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    for name in names {
        let is_gone = |found: &Value| found["code"] == 404;
        api.until(&format!("{MAPS}/{name}"), WAIT, is_gone).await;
    }
}

async fn owners_in_a_circle_go(api: &mut Api) {
    for propagation in ["Background", "Foreground"] {
        circle(api, &["self"], propagation).await;
        circle(api, &["a", "b"], propagation).await;
        circle(api, &["a", "b", "c"], propagation).await;
    }
}

/// A map with labels up to so many bytes of JSON.
fn labelled(bytes: usize) -> Vec<u8> {
    let mut text = r#"{"metadata":{"name":"labelled","labels":{"a":"""#.to_owned();
    let mut number = 0;
    while text.len() + 20 < bytes {
        text += &format!(",\"{number:x}\":\"\"");
        number += 1;
    }
    (text + "}}}").into_bytes()
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB").trim();
    peak.parse().unwrap()
}

async fn many_labels_hold_up_nobody(api: &Api, pid: u32) {
    let million = labelled(1_000_000 * 12);
    refused(
        &send(api, MAPS, JSON, million).await,
        413,
        "limit is 3145728",
    );

    let before = memory_kib(pid);
    let mut most = labelled(BODY_BYTES_MAX);
    most.resize(BODY_BYTES_MAX, b' ');
    let sent = async {
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (api, most) = (api.clone(), most.clone());
            // On a machine that is busy a connection may come too late to be heard.
            senders.spawn(common::until("an answer", async move || {
                let most = most.clone().into();
                api.send(Method::POST, MAPS, JSON, most).await.ok()
            }));
        }
        let mut read = 0;
        while let Some(answer) = senders.join_next().await {
            match answer.unwrap() {
                busy if busy.status == 429 => refused(&busy, 429, "try again later"),
                answer => {
                    refused(&answer, 422, "metadata.labels: Too many");
                    read += 1;
                }
            }
        }
        assert!(read > 0);
    };
    let answered = Cell::new(0);
    let others = async {
        loop {
            common::until("an answer for another one", async || {
                let path = "/api/v1/namespaces/default";
                let asked = api.send(Method::GET, path, "", Vec::new().into());
                (asked.await.ok()?.status == 200).then_some(())
            })
            .await;
            answered.update(|count| count + 1);
        }
    };
    tokio::select! {
        () = sent => {}
        () = others => {}
    }
    assert!(answered.get() > 0, "others are served meanwhile");
    let growth = memory_kib(pid).saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB");
}
