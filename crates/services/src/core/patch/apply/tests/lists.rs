//! Who owns what in lists, and in what is owned as a whole.

use super::*;

#[test]
fn items_have_their_own_owners() {
    let mut story = Story::new();
    let item = |name: &str, image: &str| json!({"name": name, "image": image});
    story
        .apply("a", json!({"template": {"containers": [item("one", "1"), item("two", "1")]}}))
        .apply("b", json!({"template": {"containers": [item("side", "1"), {"name": "one", "env": [{"name": "X", "value": "1"}]}]}}));
    let names = |story: &Story| -> Vec<Value> {
        let items = story.live()["spec"]["template"]["containers"]
            .as_array()
            .unwrap();
        items.iter().map(|item| item["name"].clone()).collect()
    };
    assert_eq!(names(&story), ["side", "one", "two"]);
    story.owns(&[
        (
            "a",
            "Apply",
            json!({"f:spec": {"f:template": {"f:containers": {
                "k:{\"name\":\"one\"}": {".": {}, "f:image": {}, "f:name": {}},
                "k:{\"name\":\"two\"}": {".": {}, "f:image": {}, "f:name": {}},
            }}}}),
        ),
        (
            "b",
            "Apply",
            json!({"f:spec": {"f:template": {"f:containers": {
                "k:{\"name\":\"one\"}": {".": {}, "f:name": {}, "f:env": {
                    "k:{\"name\":\"X\"}": {".": {}, "f:name": {}, "f:value": {}},
                }},
                "k:{\"name\":\"side\"}": {".": {}, "f:image": {}, "f:name": {}},
            }}}}),
        ),
    ]);
    // An item goes with its last owner, a field of it with its own.
    story
        .apply("a", json!({"template": {"containers": [{"name": "one"}]}}))
        .has_spec(json!({
            "template": {"containers": [
                item("side", "1"),
                {"name": "one", "env": [{"name": "X", "value": "1"}]},
            ]},
        }));
    story
        .apply("b", json!({}))
        .has_spec(json!({"template": {"containers": [{"name": "one"}]}}));
}

#[test]
fn the_order_of_items_is_the_appliers() {
    let ports =
        |ports: &[u16]| -> Value { ports.iter().map(|port| json!({"port": port})).collect() };
    let cases: [(&[u16], &[u16], &[u16]); 4] = [
        (&[1, 2, 3], &[3, 9, 1], &[2, 3, 9, 1]),
        (&[1, 2], &[9, 2], &[1, 9, 2]),
        (&[1, 2, 3], &[2], &[1, 2, 3]),
        (&[1, 2, 3], &[2, 1], &[2, 3, 1]),
    ];
    for (before, applied, after) in cases {
        let mut story = Story::new();
        story
            .update("hand", |new| {
                new["spec"] = json!({"template": {"ports": ports(before)}})
            })
            .apply("a", json!({"template": {"ports": ports(applied)}}))
            .has_spec(json!({"template": {"ports": ports(after)}}));
    }
}

#[test]
fn keys_that_are_left_out_have_their_default() {
    let mut story = Story::new();
    story
        .update("hand", |new| {
            new["spec"] = json!({"template": {"ports": [
                {"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"},
            ]}});
        })
        .apply(
            "a",
            json!({"template": {"ports": [{"port": 53, "name": "dns"}]}}),
        )
        .has_spec(json!({"template": {"ports": [
            {"port": 53, "protocol": "TCP", "name": "dns"}, {"port": 53, "protocol": "UDP"},
        ]}}));
    let key = r#"k:{"port":53,"protocol":"TCP"}"#;
    let entry = &story.live()["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        entry["f:spec"]["f:template"]["f:ports"],
        json!({key: {".": {}, "f:name": {}, "f:port": {}}})
    );
}

#[test]
fn sets_have_owners_by_value() {
    let mut story = Story::new();
    let with = |finalizers: Value| {
        let mut object = Story::object(json!({}));
        object["metadata"]["finalizers"] = finalizers;
        object
    };
    story
        .try_apply("a", &with(json!(["x", "y"])), false)
        .unwrap();
    story
        .try_apply("b", &with(json!(["y", "z"])), false)
        .unwrap();
    assert_eq!(
        story.live()["metadata"]["finalizers"],
        json!(["x", "y", "z"])
    );
    let of_b = &story.live()["metadata"]["managedFields"][1]["fieldsV1"];
    assert_eq!(
        of_b["f:metadata"]["f:finalizers"],
        json!({"v:\"y\"": {}, "v:\"z\"": {}})
    );
    story.try_apply("a", &with(json!([])), false).unwrap();
    assert_eq!(story.live()["metadata"]["finalizers"], json!(["y", "z"]));
}

#[test]
fn atomic_values_have_one_owner() {
    let mut story = Story::new();
    story.apply("a", json!({"selector": {"x": "1"}, "args": ["a", "b"]}));
    assert_eq!(
        story
            .refused("b", json!({"selector": {"y": "2"}, "args": ["a"]}))
            .details
            .causes
            .len(),
        2
    );
    story
        .force("b", json!({"selector": {"y": "2"}}))
        .has_spec(json!({"selector": {"y": "2"}, "args": ["a", "b"]}));
}
