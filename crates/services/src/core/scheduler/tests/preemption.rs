//! Who goes for whom.

use serde_json::{Value, json};

use super::town::{Town, asks, labelled, merge, node, pod};

fn rated(name: &str, priority: i32, cpu: &str) -> Value {
    let mut spec = asks(cpu, "1Mi");
    spec["priority"] = json!(priority);
    pod(name, spec)
}

#[test]
fn a_pod_preempts_waits_and_gets_the_room() {
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(rated("low", 1, "3"), "n1");
    town.placed(rated("same", 5, "1"), "n1");
    town.pod(rated("a", 5, "2"));
    assert_eq!(
        town.turn(),
        ["a preempts low on n1: 0/1 nodes are available: 1 Insufficient cpu."]
    );
    // Nobody else while it goes; what it leaves beside is for the next, and no more.
    town.pod(rated("late", 2, "1"));
    assert_eq!(
        town.later(2_000),
        [
            "a: 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node.",
            "late preempts nobody on n1: 0/1 nodes are available: 1 Insufficient cpu.",
        ]
    );
    town.pod(rated("later", 2, "1"));
    assert!(town.turn()[0].starts_with("later: "));
    town.gone("Pod", "low");
    let told = town.later(10_000);
    assert_eq!(told[..2], ["a on n1", "late on n1"]);
    assert!(
        told[2].starts_with("later: ") && told.len() == 3,
        "{told:?}"
    );
}

#[test]
fn the_room_is_kept_from_the_less_important_only() {
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(rated("low", 1, "4"), "n1");
    town.pod(rated("a", 5, "4"));
    assert_eq!(town.turn().len(), 1);
    town.gone("Pod", "low");
    // It rests still when two others come.
    town.pod(rated("b", 4, "1"));
    town.pod(rated("c", 6, "2"));
    let told = town.turn();
    assert_eq!(told[0], "c on n1");
    assert!(
        told[1].starts_with("b: 0/1 nodes are available: 1 Insufficient cpu. preemption:"),
        "{told:?}"
    );
    // There is no room any more, and nobody to go: nothing is kept.
    assert!(town.later(1_000)[0].starts_with("a: "));
    assert_eq!(town.later(1_000), ["b on n1"]);
}

#[test]
fn as_few_and_as_unimportant_as_possible_go() {
    // Of one node: the most important are spared first.
    let mut town = Town::of_nodes(&["n1"]);
    for (name, priority, cpu) in [("p1", 1, "1"), ("p2", 2, "1"), ("p3", 3, "2")] {
        town.placed(rated(name, priority, cpu), "n1");
    }
    town.pod(rated("a", 9, "2"));
    assert!(town.turn()[0].starts_with("a preempts p2 p1 on n1"));
    // Of several nodes: the one whose most important victim is the least important.
    type Pods<'a> = &'a [(&'a str, i32, &'a str)];
    let table: [(Pods<'_>, Pods<'_>, &str); 4] = [
        (&[("x", 3, "4")], &[("y", 2, "4")], "a preempts y on n2"),
        (&[("x", 2, "4")], &[("y", 3, "4")], "a preempts x on n1"),
        // The smaller sum, then the fewer.
        (
            &[("x", 2, "2"), ("w", 2, "2")],
            &[("y", 2, "2"), ("z", 1, "2")],
            "a preempts y z on n2",
        ),
        (
            &[("x", 2, "2"), ("w", 2, "2")],
            &[("y", 2, "4")],
            "a preempts y on n2",
        ),
    ];
    for (one, two, expected) in table {
        let mut town = Town::of_nodes(&["n1", "n2"]);
        for (pods, node) in [(one, "n1"), (two, "n2")] {
            for (name, priority, cpu) in pods {
                town.placed(rated(name, *priority, cpu), node);
            }
        }
        town.pod(rated("a", 9, "4"));
        let told = town.turn();
        assert!(told[0].starts_with(expected), "{told:?}, not {expected}");
    }
}

/// A budget of the pods with this name, of which so many may go.
fn budget(app: &str, allowed: i64) -> Value {
    json!({
        "metadata": {"name": app, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    })
}

#[test]
fn those_go_last_whom_a_budget_wants_to_keep() {
    type Pods<'a> = &'a [(&'a str, i32, &'a str, &'a str)];
    // Name, priority, CPU and budget of the pods of two nodes; who goes for one core, four cores.
    let table: [(Pods<'_>, Pods<'_>, &str, &str); 5] = [
        // Of one node the others go first, however important.
        (
            &[("x", 1, "2", "kept"), ("y", 2, "2", "")],
            &[],
            "y on n1",
            "y x on n1",
        ),
        // Of several nodes the one where the fewest go against their budgets.
        (
            &[("x", 1, "4", "kept")],
            &[("y", 2, "4", "")],
            "y on n2",
            "y on n2",
        ),
        (
            &[("x", 1, "2", "kept"), ("y", 1, "2", "kept")],
            &[("z", 2, "4", "kept")],
            "y on n1",
            "z on n2",
        ),
        // What a budget allows is for the most important.
        (
            &[
                ("x", 3, "1", ""),
                ("y", 2, "1", "one"),
                ("z", 1, "2", "one"),
            ],
            &[],
            "y on n1",
            "x y z on n1",
        ),
        // One that nobody keeps any more goes as before.
        (
            &[("x", 1, "2", "gone"), ("y", 2, "2", "")],
            &[],
            "x on n1",
            "y x on n1",
        ),
    ];
    for (one, two, of_one, of_all) in table {
        for (cpu, expected) in [("1", of_one), ("4", of_all)] {
            let mut town = Town::of_nodes(&["n1", "n2"]);
            if two.is_empty() {
                town.gone("Node", "n2");
            }
            for (app, allowed) in [("kept", 0), ("one", 1), ("gone", 0)] {
                town.set("PodDisruptionBudget", budget(app, allowed));
            }
            for (pods, node) in [(one, "n1"), (two, "n2")] {
                for (name, priority, cpu, app) in pods {
                    let pod = rated(name, *priority, cpu);
                    town.placed(labelled(pod, json!({"app": app})), node);
                }
            }
            // A new leader knows the same, and forgets what is gone.
            town.objects.retain(|(_, _, name), _| name != "gone");
            let mut scheduler = std::mem::take(&mut town.scheduler);
            scheduler.resync(&town);
            town.scheduler = scheduler;
            town.pod(rated("a", 9, cpu));
            let told = town.turn();
            let expected = format!("a preempts {expected}");
            assert!(told[0].starts_with(&expected), "{told:?}, not {expected}");
        }
    }
}

#[test]
fn of_equals_those_go_that_run_for_the_shortest_time() {
    for (first, second, expected) in [("01", "02", "n2"), ("02", "01", "n1")] {
        let mut town = Town::of_nodes(&["n1", "n2"]);
        for (name, on, day) in [("x", "n1", first), ("y", "n2", second)] {
            let mut pod = rated(name, 1, "4");
            pod["status"]["startTime"] = json!(format!("2026-01-{day}T00:00:00Z"));
            town.placed(pod, on);
        }
        town.pod(rated("a", 9, "4"));
        assert!(town.turn()[0].contains(&format!("on {expected}:")));
    }
}

#[test]
fn nobody_goes_where_that_does_not_help_or_is_not_wanted() {
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(rated("low", 1, "4"), "n1");
    let mut never = rated("never", 9, "1");
    never["spec"]["preemptionPolicy"] = json!("Never");
    town.pod(never);
    town.pod(rated("large", 9, "5"));
    town.pod(rated("same", 1, "1"));
    assert_eq!(
        town.turn(),
        [
            "large: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
            "never: 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
            "same: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ]
    );
    // Even without all that may go there is not enough.
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(rated("low", 1, "1"), "n1");
    town.placed(rated("high", 9, "3"), "n1");
    town.pod(rated("a", 5, "2"));
    assert_eq!(
        town.turn(),
        [
            "a: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu."
        ]
    );
}

#[test]
fn ports_anti_affinity_and_spreading_are_reasons_to_go() {
    let app = |pod: Value| labelled(pod, json!({"app": "x"}));
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "minDomains": 2, "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]});
    let port =
        json!({"containers": [{"name": "c", "image": "", "ports": [{"containerPort": 80}]}]});
    let with = |name: &str, priority: i32, more: &Value| {
        let mut pod = rated(name, priority, "1m");
        merge(&mut pod["spec"], more.clone());
        app(pod)
    };
    let none = json!({});
    for (low, high) in [
        (&none, &apart),
        (&apart, &none),
        (&none, &spread),
        (&port, &port),
    ] {
        let mut town = Town::of_nodes(&["n1"]);
        town.placed(with("low", 1, low), "n1");
        town.placed(pod("bystander", json!({"priority": 1})), "n1");
        town.pod(with("a", 5, high));
        assert!(
            town.turn()[0].starts_with("a preempts low on n1"),
            "{low} {high}"
        );
        town.gone("Pod", "low");
        assert_eq!(town.later(10_000), ["a on n1"], "{low} {high}");
    }
}

#[test]
fn a_new_leader_knows_where_room_is_made() {
    let mut town = Town::of_nodes(&["n1", "n2"]);
    for on in ["n1", "n2"] {
        town.placed(rated(&format!("low-{on}"), 1, "4"), on);
    }
    town.pod(rated("a", 5, "4"));
    let told = town.turn();
    let on = told[0]
        .split(" on ")
        .nth(1)
        .map(|rest| rest[..2].to_owned())
        .expect("a node");
    let mut scheduler = super::super::Scheduler::default();
    scheduler.resync(&town);
    town.scheduler = scheduler;
    // The one that was asked to go is going still.
    assert!(town.turn()[0].contains("terminating pod on the nominated node"));
    town.gone("Pod", &format!("low-{on}"));
    assert_eq!(town.later(1_000), [format!("a on {on}")]);
    town.set("Node", node("n3", json!({})));
}

#[test]
fn ports_are_kept_too() {
    let process = |name: &str, priority: i32| {
        let mut pod = rated(name, priority, "1m");
        pod["spec"]["containers"][0]["image"] = json!("host");
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
        pod
    };
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(process("low", 1), "n1");
    town.pod(process("a", 5));
    assert!(town.turn()[0].starts_with("a preempts low"));
    town.gone("Pod", "low");
    town.pod(process("b", 4));
    assert!(
        town.turn()[0].starts_with("b: 0/1 nodes are available: 1 node(s) didn't have free ports")
    );
    assert_eq!(town.later(1_000), ["a on n1"]);
}

#[test]
fn the_last_of_its_kind_may_go_for_the_next() {
    let together = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let mut high = rated("a", 5, "4");
    merge(&mut high["spec"], together);
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(labelled(rated("low", 1, "4"), json!({"app": "x"})), "n1");
    town.pod(labelled(high, json!({"app": "x"})));
    assert!(town.turn()[0].starts_with("a preempts low on n1"));
    town.gone("Pod", "low");
    assert_eq!(town.later(1_000), ["a on n1"]);
}

#[test]
fn nothing_is_kept_for_who_was_outdone() {
    let mut town = Town::of_nodes(&["n1"]);
    town.placed(rated("low", 1, "4"), "n1");
    town.pod(rated("less", 3, "4"));
    assert!(town.turn()[0].starts_with("less preempts low"));
    town.pod(rated("more", 9, "3"));
    assert!(town.turn()[0].starts_with("more preempts nobody"));
    town.gone("Pod", "low");
    town.pod(rated("small", 2, "1"));
    assert_eq!(town.turn(), ["small on n1"]);
}

#[test]
fn what_was_kept_is_free_when_its_pod_goes_elsewhere() {
    let together = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    let x = |name: &str| labelled(rated(name, 9, "1"), json!({"app": "x"}));
    let mut town = Town::of_nodes(&["n1", "n2"]);
    town.edit("Node", "n2", |node| {
        node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}])
    });
    town.placed(x("x1"), "n1");
    town.placed(rated("low", 1, "2"), "n1");
    let mut high = rated("a", 5, "3");
    merge(&mut high["spec"], together);
    high["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    town.pod(high);
    town.pod(rated("b", 4, "1"));
    let told = town.turn();
    assert!(
        told[0].starts_with("a preempts low on n1") && told[1].starts_with("b: "),
        "{told:?}"
    );
    // Both try again, since somebody begins to go.
    town.later(3_000);
    // There is company on the other node, too.
    town.placed(x("x2"), "n2");
    assert_eq!(town.later(5_000), ["a on n2"]);
    assert_eq!(town.later(0), ["b on n1"]);
}
