use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::schema;

#[test]
fn types_are_known_by_their_content_type() {
    let known = [
        ("application/json-patch+json", PatchType::Json),
        (
            "application/merge-patch+json; charset=utf-8",
            PatchType::Merge,
        ),
        (
            "application/strategic-merge-patch+json",
            PatchType::Strategic,
        ),
        ("application/apply-patch+yaml", PatchType::Apply),
    ];
    for (name, kind) in known {
        assert_eq!(PatchType::from_content_type(name).unwrap(), kind);
    }
    let failure = PatchType::from_content_type("application/json").unwrap_err();
    assert_eq!(failure.code(), 415);
    assert!(
        failure
            .message
            .contains("accepted media types include: application/json-patch+json, ")
    );
}

#[test]
fn each_type_reads_the_same_patch_its_own_way() {
    let schema = schema::parse("v1.Thing\n  1 finalizers []string merge\n").unwrap();
    let live = json!({"finalizers": ["a"]});
    let change = json!({"finalizers": ["b"]});
    let run = |kind, change: &Value| patch(&schema, "v1.Thing", kind, &live, change);
    assert_eq!(
        run(PatchType::Merge, &change).unwrap(),
        json!({"finalizers": ["b"]})
    );
    assert_eq!(
        run(PatchType::Strategic, &change).unwrap(),
        json!({"finalizers": ["b", "a"]})
    );
    assert_eq!(run(PatchType::Json, &change).unwrap_err().code(), 400);
    let change = json!([{"op": "add", "path": "/finalizers/0", "value": "b"}]);
    assert_eq!(
        run(PatchType::Json, &change).unwrap(),
        json!({"finalizers": ["b", "a"]})
    );
    assert_eq!(run(PatchType::Merge, &change).unwrap_err().code(), 400);
}

#[test]
fn an_object_stays_an_object() {
    let schema = schema::parse("v1.Thing\n").unwrap();
    let change = json!([{"op": "replace", "path": "", "value": "text"}]);
    let failure = patch(&schema, "v1.Thing", PatchType::Json, &json!({}), &change).unwrap_err();
    assert_eq!(failure.code(), 422);
    assert_eq!(decode(b"{").unwrap_err().code(), 400);
}

/// JSON in which fields and directives of a patch are likely.
pub(super) fn garbage() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "a",
        "name",
        "spec",
        "metadata",
        "labels",
        "containers",
        "ports",
        "port",
        "finalizers",
        "delete",
        "replace",
        "merge",
        "test",
        "copy",
        "/a",
        "/spec/containers/0",
        "/-",
        "",
        "f:spec",
        "k:{\"name\":\"a\"}",
        "v:1",
        "v:\"a\"",
        "i:0",
        ".",
        "f:",
        "k:[]",
        "x:y",
        "FieldsV1",
        "Update",
        "Apply",
        "v1",
        "managedFields",
        "é:é",
    ]);
    let key = prop::sample::select(vec![
        "$patch",
        "$retainKeys",
        "$deleteFromPrimitiveList/finalizers",
        "$setElementOrder/containers",
        "$setElementOrder/finalizers",
        "$setElementOrder",
        "op",
        "path",
        "from",
        "value",
        "name",
        "spec",
        "metadata",
        "labels",
        "containers",
        "ports",
        "port",
        "protocol",
        "finalizers",
        "managedFields",
        "manager",
        "operation",
        "apiVersion",
        "time",
        "fieldsType",
        "fieldsV1",
        "subresource",
        "f:spec",
        "f:metadata",
        "f:labels",
        "k:{\"name\":\"a\"}",
        "v:1",
        "i:0",
        ".",
        "k:{",
        "v:",
        "x",
        "status",
        "replicas",
        "template",
        "selector",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn garbage_never_panics(live in garbage(), change in garbage()) {
        let schema = schema::parse(apply::tests::TABLE).expect("the table is right");
        for kind in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
            let changes = [change.clone(), json!([change]), json!({"spec": change, "metadata": change})];
            for change in &changes {
                if let Ok(new) = patch(&schema, "apps.v1.Thing", kind, &live, change) {
                    prop_assert!(new.is_object());
                }
            }
        }
    }
}
