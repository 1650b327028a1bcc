//! Which node is chosen where several are possible.

use serde_json::{Value, json};

use super::{
    super::{Packing, Settings},
    town::{Town, asks, labelled, node, pod},
};

#[test]
fn room_decides_one_way_or_the_other() {
    for (packing, expected) in [
        (Packing::LeastAllocated, "a on n2"),
        (Packing::MostAllocated, "a on n1"),
    ] {
        let mut town = Town::with(Settings {
            packing,
            ..Settings::default()
        });
        for name in ["n1", "n2"] {
            town.set("Node", node(name, json!({})));
        }
        town.placed(pod("x", asks("2", "4Gi")), "n1");
        town.pod(pod("a", asks("1", "2Gi")));
        assert_eq!(town.turn(), [expected]);
    }
}

#[test]
fn cpu_and_memory_are_used_evenly() {
    // Both have the same sum of room left; the pod evens one out.
    let mut town = Town::of_nodes(&["n1", "n2"]);
    town.placed(pod("x", asks("2", "1")), "n1");
    town.placed(pod("y", asks("1m", "4Gi")), "n2");
    town.pod(pod("a", asks("2", "1Gi")));
    assert_eq!(town.turn(), ["a on n2"]);
}

#[test]
fn pods_like_some_nodes_more() {
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
    for chosen in ["n1", "n2", "n3"] {
        let mut town = Town::of_nodes(&["n1", "n2", "n3"]);
        town.edit("Node", chosen, |node| {
            node["metadata"]["labels"]["disk"] = json!("ssd")
        });
        town.pod(pod("a", preferred.clone()));
        assert_eq!(town.turn(), [format!("a on {chosen}")]);
    }
}

#[test]
fn nodes_that_would_rather_not_are_taken_last() {
    for avoided in ["n1", "n2"] {
        let mut town = Town::of_nodes(&["n1", "n2"]);
        town.edit("Node", avoided, |node| {
            node["spec"]["taints"] = json!([{"key": "k", "effect": "PreferNoSchedule"}]);
        });
        for name in ["a", "b", "c"] {
            town.pod(pod(name, json!({})));
        }
        assert!(town.turn().iter().all(|told| !told.ends_with(avoided)));
    }
}

#[test]
fn company_is_sought_and_avoided_both_ways() {
    let soft = |kind: &str| {
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "x"}},
                "topologyKey": "kubernetes.io/hostname"}}]}}})
    };
    let hard = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let x = |name: &str, spec: Value| labelled(pod(name, spec), json!({"app": "x"}));
    let table = [
        // What who comes likes, and what those like who are there.
        (x("there", json!({})), pod("a", soft("podAffinity")), true),
        (
            x("there", json!({})),
            pod("a", soft("podAntiAffinity")),
            false,
        ),
        (pod("there", soft("podAffinity")), x("a", json!({})), true),
        (
            pod("there", soft("podAntiAffinity")),
            x("a", json!({})),
            false,
        ),
        (pod("there", hard), x("a", json!({})), true),
    ];
    for (there, comes, is_together) in table {
        for name in ["n1", "n2"] {
            let mut town = Town::of_nodes(&["n1", "n2"]);
            town.placed(there.clone(), name);
            town.pod(comes.clone());
            let told = town.turn();
            assert_eq!(told[0].ends_with(name), is_together, "{there} {comes}");
        }
    }
}

/// Two zones with two nodes each.
fn zones() -> Town {
    let mut town = Town::new();
    for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b")] {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        town.set("Node", node(name, json!({"metadata": {"labels": labels}})));
    }
    town
}

fn places(told: &[String]) -> [usize; 4] {
    ["n1", "n2", "n3", "n4"].map(|node| told.iter().filter(|told| told.ends_with(node)).count())
}

#[test]
fn pods_of_one_owner_are_spread_over_nodes_and_zones() {
    let mut town = zones();
    let owned = |name: &str| {
        let mut pod = pod(name, asks("1m", "1"));
        pod["metadata"]["ownerReferences"] = json!([{"uid": "owner", "controller": true}]);
        pod
    };
    let zones_of_two = |number: usize| {
        let mut town = zones();
        for name in ["x", "y"] {
            town.pod(owned(&format!("{name}{number}")));
        }
        let [one, two, three, four] = places(&town.turn());
        (one + two, three + four)
    };
    assert!((0..20).all(|number| zones_of_two(number) == (1, 1)));
    for name in ["a", "b"] {
        town.pod(owned(name));
    }
    let [one, two, three, four] = places(&town.turn());
    for name in ["c", "d", "e", "f", "g", "h"] {
        town.pod(owned(name));
    }
    let more = places(&town.turn());
    let all = [one, two, three, four]
        .into_iter()
        .zip(more)
        .map(|(one, more)| one + more);
    assert_eq!(all.collect::<Vec<_>>(), [2, 2, 2, 2]);
}

#[test]
fn pods_that_go_are_no_company() {
    for number in 0..20 {
        let owned = |name: &str| {
            let mut pod = pod(&format!("{name}{number}"), asks("1m", "1"));
            pod["metadata"]["ownerReferences"] = json!([{"uid": "owner", "controller": true}]);
            pod
        };
        let mut town = Town::of_nodes(&["n1", "n2"]);
        for (name, on) in [("a", "n1"), ("b", "n2"), ("c", "n2")] {
            town.placed(owned(name), on);
        }
        // One is gone, one is going.
        town.gone("Pod", &format!("b{number}"));
        town.edit("Pod", &format!("c{number}"), |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        });
        town.pod(owned("d"));
        assert_eq!(town.turn(), [format!("d{number} on n2")]);
    }
}

#[test]
fn pods_that_would_better_be_spread_are() {
    let mut town = zones();
    let spec = json!({"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
        "topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "s"}}}]});
    for name in ["x", "y"] {
        town.placed(labelled(pod(name, json!({})), json!({"app": "s"})), "n1");
    }
    for name in ["a", "b"] {
        town.pod(labelled(pod(name, spec.clone()), json!({"app": "s"})));
    }
    let [one, two, ..] = places(&town.turn());
    assert_eq!(one + two, 0);
    // It need not be.
    for name in ["n3", "n4"] {
        town.edit("Node", name, |node| {
            node["spec"]["unschedulable"] = json!(true)
        });
    }
    town.pod(labelled(pod("c", spec), json!({"app": "s"})));
    assert!(town.turn()[0].starts_with("c on n"));
}

#[test]
fn equals_are_chosen_from_evenly_and_always_the_same() {
    let run = || {
        let mut town = Town::new();
        for node_name in ["n1", "n2", "n3", "n4"] {
            town.set(
                "Node",
                node(
                    node_name,
                    json!({"status": {"allocatable": {"cpu": "400", "memory": "8000Gi"}}}),
                ),
            );
        }
        // So small that no score changes.
        for number in 0..100 {
            town.pod(pod(&format!("p{number}"), asks("1m", "1Ki")));
        }
        town.turn()
    };
    let told = run();
    assert_eq!(told, run());
    assert!(
        places(&told).iter().all(|count| (10..40).contains(count)),
        "{:?}",
        places(&told)
    );
}

#[test]
fn of_many_nodes_each_turn_looks_at_others() {
    let mut town = Town::with(Settings {
        nodes_percent: Some(1),
        ..Settings::default()
    });
    for number in 0..150 {
        town.set("Node", node(&format!("n{number}"), json!({})));
        town.pod(pod(&format!("p{number}"), asks("1", "1Gi")));
    }
    let told = town.turn();
    let nodes = told.iter().filter_map(|told| told.split(" on ").nth(1));
    let nodes: std::collections::BTreeSet<&str> = nodes.collect();
    assert!(nodes.len() > 120, "{} nodes", nodes.len());
}
