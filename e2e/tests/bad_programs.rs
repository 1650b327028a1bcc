//! Programs that do what nobody should, as pods of a real node: each costs a bounded part of the
//! machine, the node goes on looking after the others, and nothing of them is left.
// Edge of the house: real processes and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use atoll_e2e::{
    cluster::Cluster,
    command::{Server, data_dir},
    kubernetes::Api,
};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";
/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(90);
/// What a container may have at a time (docs/services.md).
const PROCESSES_MAX: usize = 4_096;
/// What is kept of what a program writes: five files of 10 MiB (docs/services.md), and what
/// else is in the folder of a pod.
const LOG_BYTES_MAX: u64 = (50 << 20) + (1 << 20);

#[tokio::test]
async fn bad_programs_cost_what_they_may_and_leave_nothing() {
    let mut cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let mut api = Api::of(&cluster.nodes[0]);
    let folder = data_dir(cluster.nodes[0].layout());
    api.node_of(&cluster.nodes[0].id().unwrap(), WAIT).await;
    a_log_that_fills_is_cut(&mut api, &folder).await;
    who_ignores_the_signal_is_killed(&mut api).await;
    a_probe_that_hangs_has_failed(&mut api).await;
    a_mount_that_leads_out_is_not_made(&mut api).await;
    who_forks_without_end_is_bounded(&mut api).await;
    assert!(cluster.nodes[0].is_running());
    // It looks after pods as ever.
    make(&mut api, pod("after", "echo well")).await;
    phase(&mut api, "after", "Succeeded").await;
}

fn pod(name: &str, script: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 2,
        "containers": [{"name": "app", "command": ["sh", "-c", script]}],
    }})
}

/// Makes a pod; its uid.
async fn make(api: &mut Api, pod: Value) -> String {
    let made = api.post(PODS, &pod).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn phase(api: &mut Api, name: &str, phase: &str) -> Value {
    let is_so = |pod: &Value| pod["status"]["phase"] == phase;
    api.until(&format!("{PODS}/{name}"), WAIT, is_so).await
}

/// Deletes a pod and waits until it is gone.
async fn end(api: &mut Api, name: &str) {
    let path = format!("{PODS}/{name}");
    api.delete(&path).await;
    api.until(&path, WAIT, |found| found["code"] == 404).await;
}

/// What all files below a folder take.
fn bytes_of(folder: &Path) -> u64 {
    let entries: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|it| it.unwrap().path()).collect(),
        Err(_) => return 0,
    };
    let size = |path: &PathBuf| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => bytes_of(path),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.iter().map(size).sum()
}

/// The processes of which one of the arguments is this word.
fn processes(word: &str) -> usize {
    let has_it = |folder: PathBuf| {
        // It may have ended meanwhile.
        let arguments = fs::read(folder.join("cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        arguments.any(|argument| argument == word.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap();
    all.filter(|entry| entry.as_ref().is_ok_and(|it| has_it(it.path())))
        .count()
}

async fn a_log_that_fills_is_cut(api: &mut Api, node: &Path) {
    // More than twice what is kept.
    let uid = make(api, pod("full", "yes I fill it | head -c 130000000")).await;
    let folder = node.join("pods").join(uid);
    phase(api, "full", "Succeeded").await;
    let kept = bytes_of(&folder);
    assert!((10 << 20..LOG_BYTES_MAX).contains(&kept), "{kept} bytes");
    let last = api.get(&format!("{PODS}/full/log?tailLines=1")).await;
    assert_eq!(last.status, 200, "{}", last.body);
    assert!("I fill it\n".contains(&last.body), "{}", last.body);
    end(api, "full").await;
    let what = "the end of what it wrote";
    common::until(what, async || (bytes_of(&folder) == 0).then_some(())).await;
}

async fn who_ignores_the_signal_is_killed(api: &mut Api) {
    const WORD: &str = "1000.71";
    let script = format!("trap '' TERM INT HUP; sleep {WORD} & echo deaf; while :; do wait; done");
    make(api, pod("deaf", &script)).await;
    api.log_until("deaf", WAIT, |log| log.contains("deaf"))
        .await;
    assert_eq!(processes(WORD), 1);
    end(api, "deaf").await;
    assert_eq!(processes(WORD), 0, "a pod that is gone has no processes");
}

async fn a_probe_that_hangs_has_failed(api: &mut Api) {
    const WORD: &str = "1000.72";
    let mut hangs = pod("hangs", "while :; do sleep 0.2; done");
    hangs["spec"]["restartPolicy"] = json!("Always");
    hangs["spec"]["containers"][0]["livenessProbe"] = json!({
        "exec": {"command": ["sleep", WORD]},
        "timeoutSeconds": 1, "periodSeconds": 1, "failureThreshold": 3,
    });
    make(api, hangs).await;
    let mut most = 0;
    common::until("a restart", async || {
        most = most.max(processes(WORD));
        let found = api.get(&format!("{PODS}/hangs")).await.json();
        let count = found["status"]["containerStatuses"][0]["restartCount"].as_u64();
        (count >= Some(1)).then_some(())
    })
    .await;
    // The next one may begin while the one before is still being ended.
    assert!((1..=2).contains(&most), "{most} at a time");
    let path = "/api/v1/namespaces/default/events?fieldSelector=reason%3DUnhealthy";
    let events = api.get(path).await;
    assert!(events.body.contains("Liveness probe"), "{}", events.body);
    end(api, "hangs").await;
    let what = "the end of its probes";
    common::until(what, async || (processes(WORD) == 0).then_some(())).await;
}

async fn a_mount_that_leads_out_is_not_made(api: &mut Api) {
    let mut out = pod("out", "true");
    out["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    out["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "v", "mountPath": "/v/../../../../escaped"}]);
    make(api, out).await;
    let events = "/api/v1/namespaces/default/events?fieldSelector=reason%3DFailedMount";
    let told = |found: &Value| {
        let message = found["items"][0]["message"].as_str().unwrap_or_default();
        message.contains("leads out of its volume")
    };
    api.until(events, WAIT, told).await;
    let waits = api.get(&format!("{PODS}/out")).await.json();
    assert_eq!(waits["status"]["phase"], "Pending");
    end(api, "out").await;
}

async fn who_forks_without_end_is_bounded(api: &mut Api) {
    const WORD: &str = "1000.73";
    let nodes = api.get("/api/v1/nodes").await;
    if nodes.body.contains("LimitsMissing") {
        eprintln!("not tested: no groups can be made here");
        return;
    }
    // It ends by itself if nobody holds it up. In a command, `$$` is one `$`.
    let script = format!(
        "i=0; while [ $i -lt {} ]; do sleep {WORD} & i=$((i+1)); echo $i; done",
        PROCESSES_MAX + 1_000
    );
    make(api, pod("bomb", &script)).await;
    // Others are served meanwhile.
    make(api, pod("beside", "echo well")).await;
    let ended = phase(api, "bomb", "Failed").await;
    phase(api, "beside", "Succeeded").await;
    let log = api.get(&format!("{PODS}/bomb/log")).await.body;
    let counts = log.lines().filter_map(|line| line.parse::<usize>().ok());
    let most = counts.max().unwrap_or_default();
    assert!((1_000..PROCESSES_MAX).contains(&most), "{most}: {ended}");
    assert!(log.contains("ork"), "{log}");
    let what = "the end of all that it has made";
    common::until(what, async || (processes(WORD) == 0).then_some(())).await;
}
