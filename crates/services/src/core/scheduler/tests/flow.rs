//! How pods come, wait, and go on.

use serde_json::json;

use super::{
    super::{Decision, Scheduler},
    town::{Town, asks, node, pod},
};

#[test]
fn a_pod_that_waits_is_tried_again_when_there_is_room() {
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(pod("x", asks("4", "1Gi")), "n1");
    town.pod(pod("a", asks("1", "1Gi")));
    assert_eq!(town.turn().len(), 1);
    assert_eq!(town.scheduler.waiting(), (1, 0));
    // Nothing helped.
    assert_eq!(town.later(60_000), [""; 0]);
    // Another node comes, a pod goes, a node grows, a taint goes.
    town.set(
        "Node",
        node("n2", json!({"status": {"allocatable": {"cpu": "100m"}}})),
    );
    assert_eq!(town.scheduler.next_ms(), Some(0));
    assert!(town.turn()[0].starts_with("a: 0/2 nodes are available: 2 Insufficient cpu."));
    town.edit("Node", "n2", |node| {
        node["status"]["allocatable"]["cpu"] = json!("1")
    });
    assert_eq!(town.turn(), [""; 0], "it rests");
    assert_eq!(town.later(2_000), ["a on n2"]);
    town.pod(pod("b", asks("1", "1Gi")));
    assert_eq!(town.turn().len(), 1);
    town.gone("Pod", "x");
    assert_eq!(town.later(1_000), ["b on n1"]);
    assert_eq!(
        (town.scheduler.next_ms(), town.scheduler.waiting()),
        (None, (0, 0))
    );
}

#[test]
fn the_same_is_told_once() {
    let mut town = Town::of_nodes(&["n1"]);
    town.pod(pod("a", asks("5", "1Gi")));
    assert_eq!(town.turn().len(), 1);
    town.edit("Node", "n1", |node| {
        node["metadata"]["labels"]["x"] = json!("y")
    });
    assert_eq!(town.later(2_000), [""; 0]);
    town.edit("Node", "n1", |node| {
        node["spec"]["unschedulable"] = json!(true)
    });
    assert_eq!(town.later(10_000).len(), 1);
}

#[test]
fn what_was_decided_counts_until_it_was_refused() {
    let mut town = Town::of_nodes(&["n1"]);
    town.pod(pod("a", asks("3", "1Gi")));
    let decided = town.decide();
    let [Decision::Bind { pod: target, node }] = &decided[..] else {
        panic!("{decided:?}")
    };
    assert_eq!(
        (
            target.name.name.as_str(),
            target.uid.as_str(),
            node.as_str()
        ),
        ("a", "uid-a", "n1")
    );
    // Its object does not say so yet, but the room is taken.
    town.edit("Pod", "a", |pod| {
        pod["metadata"]["labels"] = json!({"x": "y"})
    });
    town.pod(pod("b", asks("3", "1Gi")));
    assert!(town.turn()[0].starts_with("b: "));
    town.scheduler.bound(target, false, town.now_ms);
    // Both rest, then the first by name has its turn.
    let told = town.later(1_000);
    assert_eq!(told[0], "a on n1");
    assert_eq!(told.len(), 1, "{told:?}");
    // It is told of twice: nothing happens.
    town.scheduler.bound(target, false, town.now_ms);
    assert_eq!(
        town.scheduler
            .snapshot()
            .room("n1")
            .map(|(_, used)| used.milli_cpu),
        Some(3_000)
    );
}

#[test]
fn pods_that_go_or_end_leave_their_room() {
    let mut town = Town::of_nodes(&["n1"]);
    let used = |town: &Town| {
        town.scheduler
            .snapshot()
            .room("n1")
            .map(|(_, used)| (used.milli_cpu, used.pods))
    };
    for name in ["a", "b", "c"] {
        town.pod(pod(name, asks("1", "1Gi")));
    }
    assert_eq!(town.turn().len(), 3);
    assert_eq!(used(&town), Some((3_000, 3)));
    town.gone("Pod", "a");
    assert_eq!(used(&town), Some((2_000, 2)));
    town.edit("Pod", "b", |pod| pod["status"]["phase"] = json!("Failed"));
    assert_eq!(used(&town), Some((1_000, 1)));
    // It comes back by the same name as another.
    let mut again = pod("c", asks("2", "1Gi"));
    again["metadata"]["uid"] = json!("another");
    town.pod(again);
    assert_eq!(used(&town), Some((0, 0)));
    assert_eq!(town.turn(), ["c on n1"]);
    assert_eq!(used(&town), Some((2_000, 1)));
    // A node that goes and comes finds its pods.
    town.gone("Node", "n1");
    assert_eq!(used(&town), None);
    town.set("Node", node("n1", json!({})));
    assert_eq!(used(&town), Some((2_000, 1)));
}

#[test]
fn pods_that_are_not_ours_are_left_alone() {
    let mut town = Town::of_nodes(&["n1"]);
    town.pod(pod("gated", json!({"schedulingGates": [{"name": "g"}]})));
    town.pod(pod("other", json!({"schedulerName": "other"})));
    assert_eq!(town.turn(), [""; 0]);
    town.edit("Pod", "gated", |pod| {
        pod["spec"]["schedulingGates"] = json!([])
    });
    assert_eq!(town.turn(), ["gated on n1"]);
    town.pod(pod("a", asks("5", "1Gi")));
    town.turn();
    town.edit("Pod", "a", |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
    });
    assert_eq!(town.scheduler.waiting(), (0, 0));
}

#[test]
fn turns_are_bounded() {
    let mut town = Town::of_nodes(&["n1"]);
    for number in 0..10 {
        town.pod(pod(&format!("p{number}"), json!({})));
    }
    assert_eq!(town.scheduler.schedule(3, town.now_ms).len(), 3);
    assert_eq!(town.scheduler.waiting(), (7, 7));
    assert_eq!(town.scheduler.schedule(100, town.now_ms).len(), 7);
}

#[test]
fn who_missed_something_looks_at_everything_anew() {
    let mut town = Town::of_nodes(&["n1", "n2"]);
    for name in ["a", "b", "c"] {
        town.placed(pod(name, asks("1", "1Gi")), "n1");
    }
    town.pod(pod("w", asks("5", "1Gi")));
    town.turn();
    // Unseen by the scheduler.
    town.objects
        .retain(|(_, _, name), _| name != "a" && name != "n2" && name != "w");
    let mut missed = std::mem::take(&mut town.scheduler);
    missed.resync(&town);
    let mut fresh = Scheduler::default();
    fresh.resync(&town);
    for scheduler in [&missed, &fresh] {
        assert_eq!(scheduler.snapshot().node_count(), 1);
        assert_eq!(scheduler.waiting().0, 0);
        assert_eq!(
            scheduler
                .snapshot()
                .room("n1")
                .map(|(_, used)| used.milli_cpu),
            Some(2_000)
        );
    }
}

#[test]
fn pods_that_are_alike_fit_nowhere_alike() {
    let mut town = Town::of_nodes(&["n1"]);
    for name in ["a", "b"] {
        town.pod(pod(name, asks("5", "1Gi")));
    }
    let mut other = pod("c", asks("5", "1Gi"));
    other["spec"]["nodeSelector"] = json!({"none": "such"});
    town.pod(other);
    let told = town.turn();
    assert_eq!(told[0][3..], told[1][3..]);
    assert!(told[2].contains("node affinity/selector"));
    // What is remembered holds no longer than it is true.
    town.set(
        "Node",
        node("n2", json!({"status": {"allocatable": {"cpu": "10"}}})),
    );
    assert_eq!(town.later(1_000)[..2], ["a on n2", "b on n2"]);
}
