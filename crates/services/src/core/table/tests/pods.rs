use serde_json::{Value, json};

use super::rows;
use crate::core::{
    kinds,
    table::{Include, table},
};

fn pod(spec: Value, status: Value) -> Value {
    json!({
        "metadata": { "name": "p", "creationTimestamp": "2026-01-02T00:05:00Z" },
        "spec": spec,
        "status": status,
    })
}

/// Ready, status, restarts.
fn pod_cells(pod: &Value) -> [String; 3] {
    let row = rows(&kinds::PODS, &[pod]).remove(0);
    [row[1].clone(), row[2].clone(), row[3].clone()]
}

#[test]
fn a_pod_tells_what_its_containers_do() {
    let two = json!({ "containers": [{ "name": "a" }, { "name": "b" }] });
    let running = json!({ "name": "a", "ready": true, "state": { "running": {} } });
    let completed =
        json!({ "name": "b", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } });
    let crashed = json!({
        "name": "b",
        "restartCount": 4,
        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "exitCode": 1, "finishedAt": "2026-01-02T00:05:00Z" } },
    });
    let ended = |terminated: Value| json!({ "name": "b", "state": { "terminated": terminated } });
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let cases = [
        (json!({ "phase": "Pending" }), ["0/2", "Pending", "0"]),
        (
            json!({ "phase": "Pending", "conditions": [
                { "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" },
            ] }),
            ["0/2", "SchedulingGated", "0"],
        ),
        (
            json!({ "phase": "Failed", "reason": "Evicted" }),
            ["0/2", "Evicted", "0"],
        ),
        (
            json!({ "phase": "Running", "containerStatuses": [running, running] }),
            ["2/2", "Running", "0"],
        ),
        (
            json!({ "phase": "Running", "containerStatuses": [running, crashed] }),
            ["1/2", "CrashLoopBackOff", "4 (5m ago)"],
        ),
        (
            json!({ "phase": "Running", "containerStatuses": [running, completed] }),
            ["1/2", "NotReady", "0"],
        ),
        (
            json!({
                "phase": "Running",
                "containerStatuses": [running, completed],
                "conditions": ready,
            }),
            ["1/2", "Running", "0"],
        ),
        (
            json!({ "phase": "Failed", "containerStatuses": [
                completed, ended(json!({ "exitCode": 137, "reason": "OOMKilled" })),
            ] }),
            ["0/2", "OOMKilled", "0"],
        ),
        (
            json!({ "phase": "Failed", "containerStatuses": [ended(json!({ "exitCode": 3 }))] }),
            ["0/2", "ExitCode:3", "0"],
        ),
        (
            json!({ "phase": "Failed", "containerStatuses": [ended(json!({ "signal": 9 }))] }),
            ["0/2", "Signal:9", "0"],
        ),
        (
            json!({ "phase": "Succeeded", "containerStatuses": [completed, completed] }),
            ["0/2", "Completed", "0"],
        ),
    ];
    for (status, expected) in cases {
        assert_eq!(
            pod_cells(&pod(two.clone(), status.clone())),
            expected,
            "{status}"
        );
    }
}

#[test]
fn a_pod_tells_how_far_its_init_containers_are() {
    let spec = json!({
        "initContainers": [{ "name": "i" }, { "name": "side", "restartPolicy": "Always" }],
        "containers": [{ "name": "a" }],
    });
    let done =
        json!({ "name": "i", "restartCount": 2, "state": { "terminated": { "exitCode": 0 } } });
    let waits = json!({ "name": "i", "state": { "waiting": { "reason": "PodInitializing" } } });
    let pulls = json!({ "name": "i", "state": { "waiting": { "reason": "ErrImagePull" } } });
    let failed = json!({ "name": "i", "restartCount": 2, "state": {
        "terminated": { "exitCode": 1, "reason": "Error" },
    } });
    let side = json!({ "name": "side", "restartCount": 1, "started": true, "ready": true, "state": {
        "running": {},
    } });
    let side_waits = json!({ "name": "side", "state": { "running": {} } });
    let running = json!([{ "name": "a", "ready": true, "state": { "running": {} } }]);
    let cases = [
        (
            json!([waits, side_waits]),
            json!([]),
            ["0/2", "Init:0/2", "0"],
        ),
        (json!([pulls]), json!([]), ["0/2", "Init:ErrImagePull", "0"]),
        (json!([failed]), json!([]), ["0/2", "Init:Error", "2"]),
        (
            json!([done, side_waits]),
            json!([]),
            ["0/2", "Init:1/2", "2"],
        ),
        (json!([done, side]), running, ["2/2", "Running", "1"]),
    ];
    for (init, containers, expected) in cases {
        let phase = if containers == json!([]) {
            "Pending"
        } else {
            "Running"
        };
        let status = json!({
            "phase": phase,
            "initContainerStatuses": init,
            "containerStatuses": containers,
        });
        assert_eq!(pod_cells(&pod(spec.clone(), status)), expected, "{init}");
    }
}

#[test]
fn a_pod_that_is_being_deleted_says_so_unless_it_has_ended() {
    let cases = [
        ("Running", "", "Terminating"),
        ("Running", "NodeLost", "Unknown"),
        ("Succeeded", "", "Succeeded"),
    ];
    for (phase, reason, expected) in cases {
        let mut pod = pod(json!({}), json!({ "phase": phase, "reason": reason }));
        pod["metadata"]["deletionTimestamp"] = "2026-01-02T00:09:00Z".into();
        assert_eq!(pod_cells(&pod)[1], expected);
    }
    let ended = pod(json!({}), json!({ "phase": "Succeeded" }));
    let table = table(&kinds::PODS, &[&ended], 0, Include::None, &json!({}));
    assert_eq!(table["rows"][0]["conditions"][0]["type"], "Completed");
}

#[test]
fn a_wide_pod_tells_where_it_is() {
    let spec = json!({
        "nodeName": "n1",
        "readinessGates": [{ "conditionType": "x/y" }, { "conditionType": "x/z" }],
    });
    let status = json!({
        "podIPs": [{ "ip": "10.1.0.9" }],
        "nominatedNodeName": "n2",
        "conditions": [{ "type": "x/z", "status": "True" }],
    });
    let row = rows(&kinds::PODS, &[&pod(spec, status)]).remove(0);
    assert_eq!(row[4..], ["5m", "10.1.0.9", "n1", "n2", "1/2"]);
    let row = rows(&kinds::PODS, &[&pod(json!({}), json!({}))]).remove(0);
    assert_eq!(row[5..], ["<none>"; 4]);
}
