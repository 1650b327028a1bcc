//! What becomes of nodes that are silent, and of the pods on them.

use std::sync::Arc;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

struct Few(Vec<(&'static Kind, Value)>);

impl View for Few {
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let list = self.list(kind, Some(namespace));
        list.into_iter().find(|it| object::name(it) == name)
    }

    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let inside = |it: &Value| namespace.is_none_or(|space| object::namespace(it) == space);
        let found = self.0.iter().filter(|(of, it)| *of == kind && inside(it));
        found.map(|(_, it)| Arc::new(it.clone())).collect()
    }

    fn by_owner(&self, _: &'static Kind, _: &str) -> Vec<Arc<Value>> {
        Vec::new()
    }
}

fn town(tolerations: Value) -> Few {
    Few(vec![
        (
            &kinds::NODES,
            json!({"metadata": {"name": "a"}, "spec": {},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        (
            &kinds::PODS,
            json!({"metadata": {"name": "web", "namespace": "default", "uid": "u"},
                "spec": {"nodeName": "a", "tolerations": tolerations}}),
        ),
    ])
}

/// Does what is planned until nothing is; the pods that went.
fn settle(town: &mut Few, silent_ms: u64, now_ms: u64) -> Vec<Deletion> {
    let silence = Silence::from([("a".to_owned(), silent_ms)]);
    let mut gone = Vec::new();
    for _ in 0..10 {
        let plan = plan(town, &silence, 0, now_ms);
        if plan.steps.is_empty() {
            return gone;
        }
        for step in plan.steps {
            match step {
                Step::Update { object, .. } | Step::UpdateStatus { object, .. } => {
                    town.0[0].1 = object;
                }
                Step::Delete { deletion, .. } => {
                    town.0.truncate(1);
                    gone.push(deletion);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("it never settles");
}

#[test]
fn who_is_silent_is_doubted_and_given_up_and_comes_back() {
    let mut town = town(json!([]));
    assert!(settle(&mut town, 0, NOW_MS).is_empty());
    assert!(settle(&mut town, DOUBTED_MS, NOW_MS).is_empty());
    assert_eq!(town.0[0].1["status"]["conditions"][0]["status"], "Unknown");
    assert_eq!(town.0[0].1["spec"]["taints"][0]["effect"], "NoSchedule");
    let gone = settle(&mut town, GIVEN_UP_MS, NOW_MS);
    assert_eq!(gone.len(), 1);
    assert_eq!(
        (gone[0].grace_s, gone[0].uid.as_deref()),
        (Some(0), Some("u"))
    );
    assert_eq!(gone[0].disruption, Some(Disruption::Taint));
    settle(&mut town, 10, NOW_MS + 60_000);
    assert_eq!(town.0[0].1["status"]["conditions"][0]["status"], "True");
    assert!(town.0[0].1["spec"]["taints"].is_null());
}

#[test]
fn who_tolerates_stays_as_long_as_it_says() {
    let for_60_s = json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 60}]);
    let mut town = town(for_60_s);
    assert!(settle(&mut town, GIVEN_UP_MS, NOW_MS).is_empty());
    let silence = Silence::from([("a".to_owned(), GIVEN_UP_MS)]);
    assert_eq!(plan(&town, &silence, 0, NOW_MS).again_in_ms, Some(60_000));
    assert_eq!(settle(&mut town, GIVEN_UP_MS, NOW_MS + 60_000).len(), 1);
}

#[test]
fn pods_of_a_node_that_is_gone_go_when_its_lease_has_ended() {
    let mut town = town(json!([]));
    town.0.remove(0);
    let silence = Silence::from([("a".to_owned(), GIVEN_UP_MS - 1)]);
    assert_eq!(plan(&town, &silence, 0, NOW_MS).steps, []);
    assert_eq!(plan(&town, &Silence::new(), 0, NOW_MS).steps, []);
    assert_eq!(
        plan(&town, &Silence::new(), GIVEN_UP_MS, NOW_MS)
            .steps
            .len(),
        1
    );
}

#[test]
fn a_new_leader_takes_the_word_of_the_one_before_until_it_has_heard_for_itself() {
    let for_60_s = json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 60}]);
    let mut town = town(for_60_s);
    assert!(settle(&mut town, GIVEN_UP_MS, NOW_MS).is_empty());
    let nobody = Silence::new();
    for unheard_ms in [0, DOUBTED_MS, GIVEN_UP_MS - 1] {
        for now_ms in [NOW_MS + 1_000, NOW_MS + 60_000] {
            let steps = plan(&town, &nobody, unheard_ms, now_ms).steps;
            assert_eq!(steps, [], "after {unheard_ms} ms");
        }
    }
    let steps = plan(&town, &nobody, GIVEN_UP_MS, NOW_MS + 59_000).steps;
    assert_eq!(steps, [], "it was tainted long ago, and stays so");
    let steps = plan(&town, &nobody, GIVEN_UP_MS, NOW_MS + 60_000).steps;
    assert!(matches!(&steps[..], [Step::Delete { .. }]), "{steps:?}");
    settle(&mut town, 10, NOW_MS + 60_000);
    assert_eq!(town.0[0].1["status"]["conditions"][0]["status"], "True");
    assert!(town.0[0].1["spec"]["taints"].is_null());
}

#[test]
fn pods_that_name_a_node_that_never_was_are_not_made_and_deleted_all_the_time() {
    let mut town = town(json!([]));
    town.0.remove(0);
    town.0[0].1["metadata"]["creationTimestamp"] = json!(format_rfc3339(NOW_MS));
    let steps = |now_ms| plan(&town, &Silence::new(), 3_600_000, now_ms).steps.len();
    assert_eq!(steps(NOW_MS + UNKNOWN_NODE_MS - 1), 0);
    assert_eq!(steps(NOW_MS + UNKNOWN_NODE_MS), 1);
}

#[test]
fn a_cordoned_node_takes_no_new_pods_and_keeps_the_old() {
    let mut town = town(json!([]));
    town.0[0].1["spec"]["unschedulable"] = json!(true);
    assert!(settle(&mut town, 0, NOW_MS).is_empty());
    assert_eq!(town.0[0].1["spec"]["taints"][0]["key"], UNSCHEDULABLE);
    town.0[0].1["spec"]["unschedulable"] = json!(false);
    settle(&mut town, 0, NOW_MS);
    assert!(town.0[0].1["spec"]["taints"].is_null());
}
