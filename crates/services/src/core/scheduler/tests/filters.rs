//! What keeps pods from nodes, one thing after the other, and what is told of it.

use serde_json::{Value, json};

use super::town::{Town, asks, node, pod};

const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

/// What becomes of one pod in a town with one node and some pods on it.
fn outcome(node: Value, there: &[Value], pod: Value) -> String {
    let mut town = Town::new();
    town.set("Node", node);
    for there in there {
        town.placed(there.clone(), "n1");
    }
    town.pod(pod);
    let told = town.turn();
    assert_eq!(told.len(), 1, "{told:?}");
    told[0].clone()
}

fn refused(reason: &str, preemption: &str) -> String {
    format!(
        "a: 0/1 nodes are available: 1 {reason}. preemption: 0/1 nodes are available: 1 {preemption}."
    )
}

#[test]
fn resources() {
    let lacking = |name: &str| refused(&format!("Insufficient {name}"), NO_VICTIMS);
    let never = |name: &str| refused(&format!("Insufficient {name}"), NOT_HELPFUL);
    let on = || "a on n1".to_owned();
    let gpu = |count: u32| json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"example.com/gpu": count}}}]});
    let gpus = json!({"status": {"allocatable": {"example.com/gpu": "2"}}});
    let few = json!({"status": {"allocatable": {"pods": "1"}}});
    let disk = json!({"containers": [{"name": "c", "image": "i",
        "resources": {"requests": {"ephemeral-storage": "1Gi"}}}]});
    let table = [
        (json!({}), vec![], asks("4", "8Gi"), on()),
        (json!({}), vec![], asks("4001m", "1Gi"), never("cpu")),
        (json!({}), vec![], asks("1", "9Gi"), never("memory")),
        (json!({}), vec![pod("x", asks("2", "1Gi"))], asks("2", "1Gi"), on()),
        (json!({}), vec![pod("x", asks("2", "1Gi"))], asks("2001m", "1Gi"), lacking("cpu")),
        (json!({}), vec![pod("x", asks("2", "8Gi"))], asks("1", "1"), lacking("memory")),
        // Who asks for nothing has room where there is none.
        (json!({}), vec![pod("x", asks("9", "9Gi"))], json!({}), on()),
        (json!({}), vec![], gpu(1), never("example.com/gpu")),
        (gpus.clone(), vec![pod("x", gpu(1))], gpu(1), on()),
        (gpus, vec![pod("x", gpu(2))], gpu(1), lacking("example.com/gpu")),
        (few, vec![pod("x", json!({}))], json!({}), refused("Too many pods", NO_VICTIMS)),
        (json!({}), vec![], disk, never("ephemeral-storage")),
        (
            json!({}), vec![pod("x", asks("4", "8Gi"))], asks("1", "1Gi"),
            "a: 0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.".to_owned(),
        ),
    ];
    for (more, there, spec, expected) in table {
        assert_eq!(
            outcome(node("n1", more), &there, pod("a", spec.clone())),
            expected,
            "{spec}"
        );
    }
}

#[test]
fn pods_that_have_ended_use_nothing() {
    let mut ended = pod("x", asks("4", "1Gi"));
    ended["status"]["phase"] = json!("Succeeded");
    assert_eq!(
        outcome(node("n1", json!({})), &[ended], pod("a", asks("4", "1Gi"))),
        "a on n1"
    );
}

#[test]
fn taints_and_unschedulable_nodes() {
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": effect, "timeAdded": "2026-01-01T00:00:00Z"}]}});
    let tolerates = |key: &str| json!({"tolerations": [{"key": key, "operator": "Exists"}]});
    let untolerated = refused("node(s) had untolerated taint {k: v}", NOT_HELPFUL);
    let unreachable = json!({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}});
    let cordoned = json!({"spec": {"unschedulable": true}});
    let table = [
        (taint("NoSchedule"), json!({}), untolerated.clone()),
        (taint("NoExecute"), json!({}), untolerated.clone()),
        (taint("PreferNoSchedule"), json!({}), "a on n1".to_owned()),
        (taint("NoSchedule"), tolerates("k"), "a on n1".to_owned()),
        (taint("NoSchedule"), tolerates("l"), untolerated),
        (
            unreachable,
            json!({}),
            refused(
                "node(s) had untolerated taint {node.kubernetes.io/unreachable: }",
                NOT_HELPFUL,
            ),
        ),
        (
            cordoned.clone(),
            json!({}),
            refused("node(s) were unschedulable", NOT_HELPFUL),
        ),
        (
            cordoned,
            tolerates("node.kubernetes.io/unschedulable"),
            "a on n1".to_owned(),
        ),
    ];
    for (more, spec, expected) in table {
        assert_eq!(
            outcome(node("n1", more.clone()), &[], pod("a", spec.clone())),
            expected,
            "{more} {spec}"
        );
    }
}

#[test]
fn node_selectors() {
    let zoned = || node("n1", json!({"metadata": {"labels": {"zone": "a"}}}));
    let refused = refused(
        "node(s) didn't match Pod's node affinity/selector",
        NOT_HELPFUL,
    );
    let required = |operator: &str| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": operator, "values": ["a"]}]}]}}}})
    };
    for (spec, expected) in [
        (json!({"nodeSelector": {"zone": "a"}}), "a on n1".to_owned()),
        (json!({"nodeSelector": {"zone": "b"}}), refused.clone()),
        (required("In"), "a on n1".to_owned()),
        (required("NotIn"), refused),
    ] {
        assert_eq!(
            outcome(zoned(), &[], pod("a", spec.clone())),
            expected,
            "{spec}"
        );
    }
}

fn process(name: &str, port: u16) -> Value {
    pod(
        name,
        json!({"containers": [{"name": "c", "image": "", "ports": [{"containerPort": port}]}]}),
    )
}

#[test]
fn processes_of_one_machine_have_ports_of_their_own() {
    let refused = refused(
        "node(s) didn't have free ports for the requested pod ports",
        NO_VICTIMS,
    );
    let plain = || node("n1", json!({}));
    let image = pod(
        "a",
        json!({"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]}),
    );
    let host = pod(
        "a",
        json!({"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 8080, "hostPort": 80}]}]}),
    );
    let udp = pod(
        "a",
        json!({"containers": [{"name": "c", "image": "host", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]}),
    );
    let mut free = process("a", 80);
    free["metadata"]["annotations"] = json!({"atoll.dev/free-ports": "true"});
    for (it, expected) in [
        (process("a", 80), refused.clone()),
        (process("a", 81), "a on n1".to_owned()),
        (image, "a on n1".to_owned()),
        (host, refused),
        (udp, "a on n1".to_owned()),
        (free, "a on n1".to_owned()),
    ] {
        assert_eq!(
            outcome(plain(), &[process("x", 80)], it.clone()),
            expected,
            "{it}"
        );
    }
}

#[test]
fn nodes_of_one_machine_share_its_ports() {
    let on = |name: &str, machine: &str| {
        node(
            name,
            json!({"metadata": {"labels": {"kubernetes.io/hostname": machine}}}),
        )
    };
    let mut town = Town::new();
    for it in [on("n1", "m1"), on("n2", "m1"), on("n3", "m2")] {
        town.set("Node", it);
    }
    town.placed(process("x", 80), "n1");
    town.pod(process("a", 80));
    assert_eq!(town.turn(), ["a on n3"]);
    town.pod(process("b", 80));
    assert_eq!(
        town.turn(),
        [
            "b: 0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
        ]
    );
    // A node moves to another machine, and its pods' ports with it.
    town.set("Node", on("n1", "m3"));
    assert_eq!(town.later(1_000), ["b on n2"]);
}

#[test]
fn all_reasons_are_counted_over_all_nodes() {
    let mut town = Town::of_nodes(&["n1", "n2", "n3", "n4"]);
    town.set("Node", node("n5", json!({"spec": {"unschedulable": true}})));
    for (name, on) in [("w", "n1"), ("x", "n2"), ("y", "n3"), ("z", "n4")] {
        town.placed(pod(name, asks("4", "1Gi")), on);
    }
    town.pod(pod("a", asks("1", "1Gi")));
    assert_eq!(
        town.turn(),
        [
            "a: 0/5 nodes are available: 1 node(s) were unschedulable, 4 Insufficient cpu. preemption: 0/5 nodes are available: 1 Preemption is not helpful for scheduling, 4 No preemption victims found for incoming pod."
        ]
    );
    let mut empty = Town::new();
    empty.pod(pod("a", json!({})));
    assert_eq!(empty.turn(), ["a: no nodes available to schedule pods"]);
}
