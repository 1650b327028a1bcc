//! What the pods around say: affinity, anti-affinity and spreading.

use serde_json::{Value, json};

use super::town::{Town, labelled, merge, node, pod};

fn apart(kind: &str, key: &str, app: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]}}})
}

/// Two nodes in zone `a` and one in `b`.
fn zones() -> Town {
    let mut town = Town::new();
    for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
        town.set(
            "Node",
            node(name, json!({"metadata": {"labels": {"zone": zone}}})),
        );
    }
    town
}

#[test]
fn anti_affinity_holds_for_those_who_come_and_those_who_are_there() {
    let app = |name: &str, app: &str, spec: Value| labelled(pod(name, spec), json!({"app": app}));
    // Who comes wants to be apart.
    let mut town = zones();
    town.placed(app("x", "x", json!({})), "n1");
    town.pod(app("a", "a", apart("podAntiAffinity", "zone", "x")));
    assert_eq!(town.turn(), ["a on n3"]);
    town.pod(app("b", "b", apart("podAntiAffinity", "zone", "a")));
    assert!(["b on n1", "b on n2"].contains(&town.turn()[0].as_str()));
    // Who is there wants to be apart.
    let mut town = zones();
    town.placed(app("x", "x", apart("podAntiAffinity", "zone", "a")), "n1");
    town.pod(app("a", "a", json!({})));
    assert_eq!(town.turn(), ["a on n3"]);
    town.gone("Node", "n3");
    town.pod(app("b", "a", json!({})));
    town.pod(app("c", "c", json!({})));
    let told = town.turn();
    assert_eq!(
        told[0],
        "b: 0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    );
    assert!(told[1].starts_with("c on n"));
    // Who is there changes its labels.
    let mut town = zones();
    town.placed(app("x", "x", json!({})), "n1");
    town.edit("Pod", "x", |pod| {
        pod["metadata"]["labels"]["app"] = json!("y")
    });
    town.pod(app("a", "a", apart("podAntiAffinity", "none", "x")));
    town.pod(app("b", "b", apart("podAntiAffinity", "zone", "y")));
    assert!(town.turn().contains(&"b on n3".to_owned()));
    town.edit("Pod", "x", |pod| {
        pod["metadata"]["labels"]["app"] = json!("z")
    });
    town.edit("Node", "n3", |node| {
        node["spec"]["unschedulable"] = json!(true)
    });
    town.pod(app("c", "c", apart("podAntiAffinity", "zone", "y")));
    assert!(town.turn()[0].starts_with("c on n"));
    // Each of one kind on another node.
    let mut town = zones();
    for name in ["a", "b", "c", "d"] {
        town.pod(app(
            name,
            "x",
            apart("podAntiAffinity", "kubernetes.io/hostname", "x"),
        ));
    }
    let told = town.turn();
    assert_eq!(
        told[3],
        "d: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    );
    assert_eq!(told.iter().filter(|told| told.contains(" on n")).count(), 3);
}

#[test]
fn affinity_finds_company_and_the_first_may_begin() {
    let app = |name: &str, app: &str, spec: Value| labelled(pod(name, spec), json!({"app": app}));
    let mut town = zones();
    town.pod(app("a", "a", apart("podAffinity", "zone", "x")));
    assert_eq!(
        town.turn(),
        [
            "a: 0/3 nodes are available: 3 node(s) didn't match pod affinity rules. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ]
    );
    // Company comes, and it is tried again.
    town.placed(app("x", "x", json!({})), "n3");
    assert_eq!(town.later(1_000), ["a on n3"]);
    // The first of its kind begins somewhere, the others follow.
    town.pod(app("f", "f", apart("podAffinity", "zone", "f")));
    let first = town.turn()[0].clone();
    let zone = |told: &str| told.ends_with("n3");
    for name in ["g", "h"] {
        town.pod(app(name, "f", apart("podAffinity", "zone", "f")));
        assert_eq!(zone(&town.turn()[0]), zone(&first));
    }
    // A node without the label is no place.
    town.set("Node", node("n0", json!({})));
    town.pod(app("i", "i", apart("podAffinity", "none", "i")));
    assert!(town.turn()[0].contains("4 node(s) didn't match pod affinity rules"));
}

#[test]
fn affinity_looks_into_the_namespaces_that_it_names() {
    let mut town = zones();
    town.set(
        "Namespace",
        json!({"metadata": {"name": "other", "labels": {"team": "t"}}}),
    );
    let mut there = labelled(pod("x", json!({})), json!({"app": "x"}));
    there["metadata"]["namespace"] = json!("other");
    town.placed(there, "n3");
    let term = |more: Value| {
        let mut term =
            json!({"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "zone"});
        merge(&mut term, more);
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    town.pod(pod("a", term(json!({"namespaces": ["other"]}))));
    town.pod(pod(
        "b",
        term(json!({"namespaceSelector": {"matchLabels": {"team": "t"}}})),
    ));
    town.pod(pod("c", term(json!({}))));
    town.pod(pod(
        "d",
        term(json!({"namespaceSelector": {"matchLabels": {"team": "u"}}})),
    ));
    let told = town.turn();
    assert_eq!(told[..2], ["a on n3", "b on n3"]);
    assert!(
        told[2].contains("affinity rules") && told[3].contains("affinity rules"),
        "{told:?}"
    );
    // The namespace's labels change.
    town.set(
        "Namespace",
        json!({"metadata": {"name": "other", "labels": {"team": "u"}}}),
    );
    assert_eq!(town.later(1_000), ["d on n3"]);
}

fn spread(more: Value) -> Value {
    let mut rule = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "s"}}});
    merge(&mut rule, more);
    json!({"topologySpreadConstraints": [rule]})
}

#[test]
fn spread_pods_differ_by_no_more_than_the_skew() {
    let app = |name: &str, spec: Value| labelled(pod(name, spec), json!({"app": "s"}));
    let skewed = "node(s) didn't match pod topology spread constraints";
    let mut town = zones();
    town.placed(app("x", json!({})), "n1");
    town.pod(app("a", spread(json!({}))));
    assert_eq!(town.turn(), ["a on n3"]);
    town.placed(app("y", json!({})), "n2");
    town.pod(app("b", spread(json!({}))));
    assert_eq!(town.turn(), ["b on n3"]);
    // Zone b is closed: a is too full for one more.
    town.placed(app("z", json!({})), "n2");
    town.edit("Node", "n3", |node| {
        node["spec"]["unschedulable"] = json!(true)
    });
    town.pod(app("c", spread(json!({}))));
    let told = town.turn();
    assert!(
        told[0].contains("1 node(s) were unschedulable")
            && told[0].contains(&format!("2 {skewed}")),
        "{told:?}"
    );
    // A larger skew, and nodes that the pod may not have do not count.
    town.pod(app("d", spread(json!({"maxSkew": 2}))));
    assert!(town.turn()[0].starts_with("d on n"));
    let mut only_a = spread(json!({}));
    only_a["nodeSelector"] = json!({"zone": "a"});
    town.pod(app("e", only_a.clone()));
    assert!(town.turn()[0].starts_with("e on n"));
    only_a["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    town.pod(app("f", only_a));
    assert!(town.turn()[0].contains(skewed));
}

#[test]
fn spreading_asks_for_domains_and_labels() {
    let app = |name: &str, spec: Value| labelled(pod(name, spec), json!({"app": "s"}));
    let mut town = zones();
    town.placed(app("x", json!({})), "n1");
    town.placed(app("y", json!({})), "n3");
    // With fewer domains than asked for, the emptiest counts as empty.
    town.pod(app("a", spread(json!({"minDomains": 3}))));
    assert!(town.turn()[0].contains("3 node(s) didn't match pod topology spread constraints."));
    town.pod(app("b", spread(json!({"topologyKey": "none"}))));
    assert!(town.turn()[0].contains(
        "3 node(s) didn't match pod topology spread constraints (missing required label). preemption: 0/3 nodes are available: 3 Preemption is not helpful"
    ));
    // Taints count only if that is asked.
    town.edit("Node", "n3", |node| {
        node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}])
    });
    town.placed(app("z", json!({})), "n2");
    town.pod(app("c", spread(json!({}))));
    assert!(town.turn()[0].contains("2 node(s) didn't match pod topology spread constraints"));
    town.pod(app("d", spread(json!({"nodeTaintsPolicy": "Honor"}))));
    assert!(town.turn()[0].starts_with("d on n"));
    // Pods that are being deleted do not count.
    for name in ["x", "z", "d"] {
        town.edit("Pod", name, |it| {
            it["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
        });
    }
    town.now_ms += 1_000;
    town.pod(app("e", spread(json!({}))));
    assert!(town.turn().iter().any(|told| told.starts_with("c on n")));
}
