use serde_json::json;

use super::*;
use crate::core::schema;

const TABLE: &str = "
v1.Thing
  1 kind string
  2 metadata v1.Meta
  3 spec v1.Spec
v1.Meta
  1 labels {}string
  2 finalizers []string merge list=set
v1.Spec
  1 containers []v1.Container merge=name list=map:name
  2 ports []v1.Port merge=port list=map:port,protocol
  3 args []string
  4 strategy v1.Strategy retainKeys
  5 selector v1.Selector replace
  6 nested [][]string merge
  7 free any
  8 keyless []v1.Port merge
v1.Container
  1 name! string
  2 image string
  3 env []v1.Env merge=name
  4 command []string
v1.Env
  1 name! string
  2 value string
v1.Port
  1 port! int32
  2 name string
v1.Strategy
  1 type string
  2 rollingUpdate v1.Rolling
v1.Rolling
  1 maxSurge int32
v1.Selector
  1 matchLabels {}string
";

fn try_spec(live: Value, change: Value) -> Result<Value, Failure> {
    let schema = schema::parse(TABLE).unwrap();
    let (live, change) = (json!({"spec": live}), json!({"spec": change}));
    patch(&schema, "v1.Thing", &live, &change).map(|mut new| new["spec"].take())
}

#[track_caller]
fn spec(live: Value, change: Value, expected: Value) {
    let told = format!("{live} + {change}");
    assert_eq!(try_spec(live, change).unwrap(), expected, "{told}");
}

#[test]
fn fields_are_set_and_null_removes() {
    spec(
        json!({"args": ["a"], "strategy": {"type": "x", "rollingUpdate": {"maxSurge": 1}}}),
        json!({"strategy": {"type": null, "rollingUpdate": {"maxSurge": 2}}, "gone": null}),
        json!({"args": ["a"], "strategy": {"rollingUpdate": {"maxSurge": 2}}}),
    );
    // Nothing of a null is left where there was nothing either.
    spec(
        json!({}),
        json!({"strategy": {"type": null}}),
        json!({"strategy": {}}),
    );
}

#[test]
fn lists_without_a_key_are_replaced() {
    spec(
        json!({"args": ["a", "b"]}),
        json!({"args": ["c"]}),
        json!({"args": ["c"]}),
    );
    spec(
        json!({"free": [1, 2]}),
        json!({"free": [3]}),
        json!({"free": [3]}),
    );
}

#[test]
fn items_are_merged_by_their_key() {
    spec(
        json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}]}]}),
        json!({"containers": [
            {"name": "a", "image": "1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "3"}]},
            {"name": "b"},
        ]}),
    );
    // The key may be a number. What is new stands as in the patch, before what is not in it.
    spec(
        json!({"ports": [{"port": 80, "name": "a"}, {"port": 443, "name": "b"}]}),
        json!({"ports": [{"port": 443, "name": "tls"}, {"port": 8080}]}),
        json!({"ports": [{"port": 80, "name": "a"}, {"port": 443, "name": "tls"}, {"port": 8080}]}),
    );
    spec(
        json!({"ports": [{"port": 80}]}),
        json!({"ports": [{"port": 8080}]}),
        json!({"ports": [{"port": 8080}, {"port": 80}]}),
    );
}

#[test]
fn items_are_deleted_and_lists_replaced_by_directive() {
    let live = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]});
    spec(
        live.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "none", "$patch": "delete"}, {"name": "c"}]}),
        json!({"containers": [{"name": "c"}, {"name": "b", "image": "2"}]}),
    );
    spec(
        live.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "c"}, {"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    spec(
        live,
        json!({"containers": [{"name": "a", "$patch": "merge", "image": "3"}]}),
        json!({"containers": [{"name": "a", "image": "3"}, {"name": "b", "image": "2"}]}),
    );
    // Deleting from a list that is not there leaves an empty one.
    spec(
        json!({}),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": []}),
    );
}

#[test]
fn objects_are_replaced_deleted_or_merged_by_directive() {
    let live = json!({"strategy": {"type": "Rolling", "rollingUpdate": {"maxSurge": 1}}});
    let with = |word: &str| json!({"strategy": {"$patch": word, "type": "Recreate", "rollingUpdate": null}});
    spec(
        live.clone(),
        with("replace"),
        json!({"strategy": {"type": "Recreate"}}),
    );
    spec(live.clone(), with("delete"), json!({"strategy": {}}));
    spec(
        live,
        with("merge"),
        json!({"strategy": {"type": "Recreate"}}),
    );
    spec(
        json!({}),
        with("replace"),
        json!({"strategy": {"type": "Recreate"}}),
    );
    // The schema may say that an object is always replaced.
    spec(
        json!({"selector": {"matchLabels": {"a": "1"}}}),
        json!({"selector": {"matchLabels": {"b": "2"}}}),
        json!({"selector": {"matchLabels": {"b": "2"}}}),
    );
}

#[test]
fn retain_keys_drops_what_it_does_not_name() {
    spec(
        json!({"strategy": {"type": "Rolling", "rollingUpdate": {"maxSurge": 1}}}),
        json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
        json!({"strategy": {"type": "Recreate"}}),
    );
    spec(
        json!({}),
        json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
        json!({"strategy": {"type": "Recreate"}}),
    );
}

#[test]
fn scalars_are_merged_as_sets() {
    let schema = schema::parse(TABLE).unwrap();
    let with = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
    let cases = [
        (json!({"finalizers": ["c", "a"]}), json!(["c", "a", "b"])),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!(["b"]),
        ),
        (
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}),
            json!(["c", "b"]),
        ),
        (
            json!({"$setElementOrder/finalizers": ["b", "a"]}),
            json!(["b", "a"]),
        ),
    ];
    for (change, expected) in cases {
        let change = json!({"metadata": change});
        let new = patch(&schema, "v1.Thing", &with(json!(["a", "b"])), &change).unwrap();
        assert_eq!(new, with(expected), "{change}");
    }
}

#[test]
fn order_is_as_the_patch_says() {
    let names =
        |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
    let cases: [(&[&str], Value, &[&str]); 5] = [
        // What the patch does not order stays before and after what it stood before and after.
        (
            &["a", "b", "c"],
            json!({"$setElementOrder/containers": names(&["c", "a"])}),
            &["b", "c", "a"],
        ),
        (
            &["a", "b"],
            json!({"$setElementOrder/containers": names(&["new", "b", "a"]), "containers": names(&["new"])}),
            &["new", "b", "a"],
        ),
        // The directive may come with the deletion of what it no longer names.
        (
            &["a", "b", "c"],
            json!({
                "$setElementOrder/containers": names(&["c", "b"]),
                "containers": [{"name": "a", "$patch": "delete"}],
            }),
            &["c", "b"],
        ),
        // Without the directive, the order of the patch's own items counts.
        (
            &["a", "b", "c"],
            json!({"containers": names(&["c", "a"])}),
            &["b", "c", "a"],
        ),
        (
            &[],
            json!({"$setElementOrder/containers": names(&["b"])}),
            &[],
        ),
    ];
    for (live, change, expected) in cases {
        spec(
            json!({"containers": names(live)}),
            change,
            json!({"containers": names(expected)}),
        );
    }
}

#[test]
fn says_what_is_wrong() {
    let live = json!({
        "containers": [{"name": "a"}], "ports": [{"port": 1}], "nested": [["a"]],
        "strategy": {"type": "x"}, "keyless": [{"port": 1}],
    });
    let cases = [
        (
            json!({"containers": [{"image": "x", "command": ["a", "b"]}]}),
            400,
            "map: map[command:[a b] image:x] does not contain declared merge key: name",
        ),
        (
            json!({"containers": [{"$patch": "delete"}]}),
            400,
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            json!({"strategy": {"$patch": "burn"}}),
            400,
            "unknown patch type: burn in map: map[$patch:burn]",
        ),
        (
            json!({"containers": ["a"]}),
            400,
            "list element types are not identical",
        ),
        (
            json!({"nested": [["b"]]}),
            422,
            "the server rejected our request due to an error in our request",
        ),
        (
            json!({"keyless": [{"port": 1}]}),
            400,
            "cannot merge lists without merge key for keyless",
        ),
        (
            json!({"strategy": {"$retainKeys": "type"}}),
            400,
            "invalid patch format of retainKeys",
        ),
        (
            json!({"strategy": {"$retainKeys": ["rollingUpdate"], "type": "x"}}),
            400,
            "invalid patch format of retainKeys",
        ),
        (
            json!({"$deleteFromPrimitiveList": []}),
            400,
            "invalid patch format of primitive list",
        ),
        (
            json!({"$deleteFromPrimitiveList/args": "a"}),
            400,
            "invalid patch format of primitive list",
        ),
        (
            json!({"$setElementOrder/containers": 1}),
            400,
            "invalid patch format of setElementOrder list",
        ),
        (
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
            400,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
    ];
    for (change, code, message) in cases {
        let failure = try_spec(live.clone(), change.clone()).unwrap_err();
        assert_eq!(
            (failure.code(), failure.message.as_str()),
            (code, message),
            "{change}"
        );
    }
    let schema = schema::parse(TABLE).unwrap();
    assert_eq!(
        patch(&schema, "v1.Thing", &json!({}), &json!([]))
            .unwrap_err()
            .code(),
        400
    );
    let unknown = patch(&schema, "v1.Other", &json!({}), &json!({})).unwrap_err();
    assert_eq!(
        unknown.message,
        "strategic merge patch format is not supported"
    );
}
