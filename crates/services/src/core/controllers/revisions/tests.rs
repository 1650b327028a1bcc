use super::*;
use crate::core::{
    kinds::STATEFUL_SETS,
    patch::{self, PatchType},
    schema::schema,
};

struct Few(Vec<Value>);

impl View for Few {
    fn get(&self, kind: &'static Kind, _: &str, name: &str) -> Option<Arc<Value>> {
        let all = self.list(kind, None);
        all.into_iter().find(|it| object::name(it) == name)
    }

    fn list(&self, kind: &'static Kind, _: Option<&str>) -> Vec<Arc<Value>> {
        let all = self.0.iter().filter(|it| it["kind"] == kind.kind);
        all.cloned().map(Arc::new).collect()
    }

    fn by_owner(&self, kind: &'static Kind, uid: &str) -> Vec<Arc<Value>> {
        let mut found = self.list(kind, None);
        found.retain(|it| owners::is_controlled_by(it, uid));
        found
    }
}

fn web(image: &str) -> Value {
    json!({
        "metadata": {
            "name": "web", "namespace": "default", "uid": "u-web",
            "annotations": {
                "kubernetes.io/change-cause": "why",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "atoll.dev/places": "{}",
            },
        },
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

fn sync_of(view: &Few, owner: &Value) -> History {
    let selector = LabelSelector::from_json(&owner["spec"]["selector"]).unwrap();
    sync(view, &STATEFUL_SETS, owner, &selector)
}

/// What is there once the first templates have been.
fn after(images: &[&str]) -> Few {
    let mut few = Few(Vec::new());
    for image in images {
        let history = sync_of(&few, &web(image));
        let all = history.revisions.iter();
        few = Few(all.map(|it| (**it).clone()).collect());
    }
    few
}

fn numbers(history: &History) -> Vec<(&str, i64)> {
    let all = history.revisions.iter();
    all.map(|it| {
        let containers = &it["data"]["spec"]["template"]["spec"]["containers"];
        (containers[0]["image"].as_str().unwrap(), number(it))
    })
    .collect()
}

#[test]
fn a_new_template_is_a_new_revision_with_the_labels_by_which_clients_find_it() {
    let history = sync_of(&after(&["a"]), &web("b"));
    assert_eq!(numbers(&history), [("a", 1), ("b", 2)]);
    assert_eq!(history.steps.len(), 1);
    let revision = history.update();
    let hash = hash_of(revision);
    assert_eq!(object::name(revision), format!("web-{hash}"));
    let labels = json!({"app": "web", HASH_LABEL: hash, REVISION_LABEL: hash});
    assert_eq!(revision["metadata"]["labels"], labels);
    let cause = json!({"kubernetes.io/change-cause": "why"});
    assert_eq!(revision["metadata"]["annotations"], cause);
    let owner = object::controller(revision).unwrap();
    assert_eq!(owner["uid"], "u-web");
    assert_eq!(template(revision), web("b")["spec"]["template"]);
}

#[test]
fn the_data_is_a_patch_that_brings_the_template_back() {
    let history = sync_of(&after(&["a", "b"]), &web("b"));
    let mut live = web("b");
    live["spec"]["template"]["metadata"]["annotations"] = json!({"x": "y"});
    live["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    live["spec"]["replicas"] = json!(3);
    let data = &history.revisions[0]["data"];
    let kind = STATEFUL_SETS.type_name;
    let undone = patch::patch(schema(), kind, PatchType::Strategic, &live, data).unwrap();
    assert_eq!(undone["spec"]["template"], web("a")["spec"]["template"]);
    assert_eq!(undone["spec"]["replicas"], 3);
}

#[test]
fn a_template_that_comes_back_gets_its_revision_back() {
    let view = after(&["a", "b"]);
    let history = sync_of(&view, &web("a"));
    assert_eq!(numbers(&history), [("b", 2), ("a", 3)]);
    assert!(matches!(&history.steps[..], [Step::Update { object, .. }] if object["revision"] == 3));
    // What clients add and leave out makes no difference.
    let mut read_back = web("b");
    read_back["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
    read_back["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    let history = sync_of(&view, &read_back);
    assert_eq!(history.steps, []);
    assert_eq!(numbers(&history), [("a", 1), ("b", 2)]);
}

#[test]
fn one_that_nobody_controls_is_adopted_and_made_the_newest_in_one_write() {
    let mut view = after(&["a", "b"]);
    object::meta_mut(&mut view.0[0]).remove("ownerReferences");
    let history = sync_of(&view, &web("a"));
    let [Step::Update { object, .. }] = &history.steps[..] else {
        panic!("{:?}", history.steps);
    };
    assert!(owners::is_controlled_by(object, "u-web"));
    assert_eq!(object["revision"], 3);
}

#[test]
fn what_has_the_name_already_makes_it_another_one() {
    let mut others = after(&["a"]);
    others.0[0]["metadata"]["ownerReferences"][0]["uid"] = json!("u-other");
    let history = sync_of(&others, &web("a"));
    let name = object::name(history.update());
    assert_ne!(name, object::name(&others.0[0]));
    assert_eq!((history.revisions.len(), history.collisions), (1, 1));
    // The count lasts, and with it the name.
    let mut web = web("a");
    web["status"]["collisionCount"] = json!(1);
    let history = sync_of(&Few(Vec::new()), &web);
    assert_eq!(object::name(history.update()), name);
}

#[test]
fn names_are_labels_however_long_the_owner_s_is() {
    let mut owner = web("a");
    owner["metadata"]["name"] = json!("w".repeat(63));
    let history = sync_of(&Few(Vec::new()), &owner);
    assert_eq!(object::name(history.update()).len(), 63);
}

#[test]
fn the_oldest_go_but_not_those_in_use() {
    let history = sync_of(&after(&["a", "b", "c"]), &web("d"));
    let names: Vec<&str> = history
        .revisions
        .iter()
        .map(|it| object::name(it))
        .collect();
    let mut owner = web("d");
    let gone = |owner: &Value, live: &[&str]| {
        let live = live.iter().copied().collect();
        let steps = history.truncation(owner, &live).into_iter();
        let gone = steps.map(|step| match step {
            Step::Delete { name, .. } => name.name,
            step => panic!("{step:?}"),
        });
        gone.collect::<Vec<_>>()
    };
    assert_eq!(gone(&owner, &[]), [""; 0]);
    owner["spec"]["revisionHistoryLimit"] = json!(1);
    assert_eq!(gone(&owner, &[]), [names[0], names[1]]);
    assert_eq!(gone(&owner, &[names[0]]), [names[1]]);
    owner["spec"]["revisionHistoryLimit"] = json!(0);
    assert_eq!(gone(&owner, &[names[1]]), [names[0], names[2]]);
}
