use super::*;

const NOW_MS: u64 = 1_767_225_600_000;

fn pod(phase: &str, is_ready: bool) -> Value {
    let ready = if is_ready { "True" } else { "False" };
    json!({
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    })
}

fn budget(name: &str, changes: &[(&str, Value)]) -> Arc<Value> {
    let mut budget = json!({
        "metadata": {"name": name, "namespace": "default", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": 2, "disruptionsAllowed": 1, "currentHealthy": 3,
            "desiredHealthy": 2, "expectedPods": 3},
    });
    for (path, value) in changes {
        let (parent, field) = path.split_once('.').unwrap();
        budget[parent][field] = value.clone();
    }
    Arc::new(budget)
}

#[test]
fn an_eviction_takes_a_disruption_of_the_budget() {
    let evicted = decide(&pod("Running", true), &[budget("b", &[])], NOW_MS).unwrap();
    let status = &evicted.budget.unwrap()["status"];
    assert_eq!(status["disruptionsAllowed"], 0);
    assert_eq!(
        status["disruptedPods"],
        json!({"web-1": "2026-01-01T00:00:00Z"})
    );
    assert_eq!(
        status["conditions"],
        json!([{"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
            "message": "", "observedGeneration": 2,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    );
    assert!(!evicted.needs_same_pod);
    let told = &evicted.pod["status"]["conditions"][1];
    assert_eq!(told["type"], "DisruptionTarget");
    assert_eq!(told["reason"], "EvictionByEvictionAPI");
}

#[test]
fn who_does_no_harm_asks_nobody() {
    let none = budget("b", &[("status.disruptionsAllowed", json!(0))]);
    let mut going = pod("Running", true);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut other = pod("Running", true);
    other["metadata"]["labels"]["app"] = json!("other");
    for (pod, needs_same_pod) in [
        (pod("Succeeded", false), false),
        (pod("Failed", false), false),
        (pod("Pending", false), true),
        (going, false),
        (other, false),
    ] {
        let evicted = decide(&pod, std::slice::from_ref(&none), NOW_MS).unwrap();
        assert_eq!(
            (evicted.budget, evicted.needs_same_pod),
            (None, needs_same_pod),
            "{pod}"
        );
    }
}

#[test]
fn an_unready_pod_goes_where_the_budget_is_kept_or_says_so() {
    let unready = pod("Running", false);
    let none = ("status.disruptionsAllowed", json!(0));
    let sick = ("status.currentHealthy", json!(1));
    let always = ("spec.unhealthyPodEvictionPolicy", json!("AlwaysAllow"));
    let if_healthy = ("spec.unhealthyPodEvictionPolicy", json!("IfHealthyBudget"));
    for (changes, goes) in [
        (vec![none.clone()], true),
        (vec![none.clone(), sick.clone()], false),
        (vec![none.clone(), sick.clone(), always], true),
        (vec![none.clone(), sick, if_healthy], false),
        (vec![none, ("status.desiredHealthy", json!(0))], false),
    ] {
        let decided = decide(&unready, &[budget("b", &changes)], NOW_MS);
        match decided {
            Ok(evicted) => assert!(goes && evicted.budget.is_none() && evicted.needs_same_pod),
            Err(_) => assert!(!goes, "{changes:?}"),
        }
    }
}

#[test]
fn refusals_read_as_kubernetes_writes_them() {
    let refused = |changes: &[(&str, Value)]| {
        let failure = decide(&pod("Running", true), &[budget("b", changes)], NOW_MS);
        failure.unwrap_err()
    };
    let none = ("status.disruptionsAllowed", json!(0));
    let failure = refused(std::slice::from_ref(&none));
    assert_eq!(failure.code(), 429);
    assert_eq!(
        failure.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let condition = |reason: &str, message: &str| {
        let all = json!([{"type": "DisruptionAllowed", "status": "False", "reason": reason,
            "message": message}]);
        ("status.conditions", all)
    };
    for (changes, cause, retry_after_s) in [
        (
            vec![none.clone(), ("status.currentHealthy", json!(2))],
            "The disruption budget b needs 2 healthy pods and has 2 currently",
            0,
        ),
        (
            vec![none.clone(), condition("SyncFailed", "why")],
            "The disruption budget b does not allow evicting pods currently because it failed sync: why",
            0,
        ),
        (
            vec![none, condition("InsufficientPods", "")],
            "The disruption budget b does not allow evicting pods currently",
            0,
        ),
        (
            vec![("status.observedGeneration", json!(1))],
            "The disruption budget b is still being processed by the server.",
            10,
        ),
    ] {
        let failure = refused(&changes);
        assert_eq!(failure.details.causes[0].message, cause);
        assert_eq!(failure.details.causes[0].reason, "DisruptionBudget");
        assert_eq!(failure.details.retry_after_s, retry_after_s);
    }
    let negative = refused(&[("status.disruptionsAllowed", json!(-1))]);
    assert_eq!(
        (negative.code(), negative.message.as_str()),
        (
            403,
            "poddisruptionbudget.policy \"b\" is forbidden: pdb disruptions allowed is negative"
        )
    );
    let crowd: Map<String, Value> = (0..=DISRUPTED_MAX)
        .map(|at| (format!("p{at}"), json!("2026-01-01T00:00:00Z")))
        .collect();
    assert_eq!(
        refused(&[("status.disruptedPods", json!(crowd))]).code(),
        403
    );
    let two = decide(
        &pod("Running", true),
        &[budget("a", &[]), budget("b", &[])],
        NOW_MS,
    );
    assert_eq!(two.unwrap_err().code(), 500);
}

#[test]
fn selectors_say_whom_a_budget_is_about() {
    let of = |selector: Value| covers(&budget("b", &[("spec.selector", selector)]), &pod("", true));
    assert!(of(json!({})), "an empty one is about all");
    assert!(!of(Value::Null), "none is about none");
    assert!(!of(json!({"matchLabels": {"app": "x"}})));
    assert!(!of(
        json!({"matchExpressions": [{"key": "app", "operator": "Odd"}]})
    ));
}
