//! Objects are given as what differs from a good one: a JSON merge patch on it.

mod jobs;
mod pod_specs;
mod pods;
mod services;
mod workloads;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{defaults, kinds, kinds::Kind, status::FieldError},
    *,
};

/// A kind that is not served yet.
fn kind(group: &'static str, name: &'static str) -> Kind {
    Kind {
        group,
        version: "v1",
        kind: name,
        plural: "",
        singular: "",
        short_names: &[],
        is_namespaced: true,
        is_in_all: false,
        type_name: "",
        subresources: &[],
    }
}

/// Puts a patch on a value: null takes away, a list goes in as it is (RFC 7396).
fn patched(mut value: Value, patch: &Value) -> Value {
    let Value::Object(fields) = patch else {
        return patch.clone();
    };
    if !value.is_object() {
        value = json!({});
    }
    for (field, patch) in fields {
        let old = value[field].take();
        value[field] = patched(old, patch);
        if patch.is_null() {
            value.as_object_mut().expect("a map").remove(field);
        }
    }
    value
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// Each patch on a good object makes these errors, and no others.
fn check(kind: &Kind, good: &Value, table: &[(Value, &[&str])]) {
    let mut whole = good.clone();
    defaults::default(kind, &mut whole);
    assert_eq!(texts(&create(kind, &whole)), [""; 0], "the good one");
    for (patch, expected) in table {
        let mut object = patched(good.clone(), patch);
        defaults::default(kind, &mut object);
        assert_eq!(texts(&create(kind, &object)), *expected, "{patch}");
    }
}

/// Each patch on an object that is kept makes these errors, and no others.
fn check_update(kind: &Kind, good: &Value, table: &[(Value, &[&str])]) {
    let mut old = good.clone();
    defaults::default(kind, &mut old);
    assert_eq!(texts(&update(kind, &old, &old)), [""; 0], "nothing changes");
    for (patch, expected) in table {
        let mut new = patched(old.clone(), patch);
        defaults::default(kind, &mut new);
        assert_eq!(texts(&update(kind, &new, &old)), *expected, "{patch}");
    }
}

fn config_map() -> Value {
    json!({"metadata": {"name": "c", "namespace": "n"}, "data": {"a": "b"}})
}

#[test]
fn names_of_objects() {
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let name = format!("metadata.name: Invalid value: \"A\": {subdomain}");
    let prefix = format!("metadata.generateName: Invalid value: \"AB-\": {subdomain}");
    check(
        &kinds::CONFIG_MAPS,
        &config_map(),
        &[
            (json!({"metadata": {"name": "a.b"}}), &[]),
            (json!({"metadata": {"name": "A"}}), &[&name]),
            (
                json!({"metadata": {"name": null}}),
                &["metadata.name: Required value: name or generateName is required"],
            ),
            (json!({"metadata": {"generateName": "a-"}}), &[]),
            (json!({"metadata": {"generateName": "AB-"}}), &[&prefix]),
            (
                json!({"metadata": {"namespace": null}}),
                &["metadata.namespace: Required value"],
            ),
            (
                json!({"metadata": {"namespace": "a.b"}}),
                &["metadata.namespace: Invalid value: \"a.b\": must not contain dots"],
            ),
        ],
    );
    let of = |kind: &Kind, name: &str| create(kind, &json!({"metadata": {"name": name}})).len();
    assert_eq!(of(&kinds::NAMESPACES, "a.b"), 1, "a namespace is a label");
    assert_eq!(of(&kinds::NODES, "a.b"), 0);
    let in_one = json!({"metadata": {"name": "a", "namespace": "n"}});
    let told = texts(&create(&kinds::NODES, &in_one));
    assert_eq!(
        told,
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn what_all_objects_have() {
    let big = "x".repeat(256 << 10);
    let many: serde_json::Map<String, Value> = (0..=LABELS_MAX)
        .map(|index| (format!("a{index}"), json!("")))
        .collect();
    let owner =
        json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true});
    let event = json!({"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"});
    let event_told = format!(
        "metadata.ownerReferences[0]: Invalid value: {event}: /v1, Kind=Event is disallowed from being an owner"
    );
    let two = json!([owner, owner]);
    let two_told = format!(
        "metadata.ownerReferences: Invalid value: {two}: Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and Pod/p"
    );
    let finalizer = "metadata.finalizers: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    check(
        &kinds::CONFIG_MAPS,
        &config_map(),
        &[
            (json!({"metadata": {"labels": {"a/b": "c", "d": ""}}}), &[]),
            (
                json!({"metadata": {"labels": {"a/b/c": "d"}}}),
                &[
                    "metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                ],
            ),
            (
                json!({"metadata": {"labels": many}}),
                &["metadata.labels: Too many: 1001: must have at most 1000 items"],
            ),
            (
                json!({"metadata": {"annotations": {"A.io/b": "any thing"}}}),
                &[],
            ),
            (
                json!({"metadata": {"annotations": {"a": big}}}),
                &["metadata.annotations: Too long: may not be more than 262144 bytes"],
            ),
            (json!({"metadata": {"ownerReferences": [owner]}}), &[]),
            (json!({"metadata": {"ownerReferences": two}}), &[&two_told]),
            (
                json!({"metadata": {"ownerReferences": [event]}}),
                &[&event_told],
            ),
            (
                json!({"metadata": {"ownerReferences": [{"kind": "Pod", "name": "p"}]}}),
                &[
                    "metadata.ownerReferences[0].apiVersion: Required value: must not be empty",
                    "metadata.ownerReferences[0].uid: Required value: must not be empty",
                ],
            ),
            (
                json!({"metadata": {"finalizers": ["a.io/b", "orphan"]}}),
                &[],
            ),
            (json!({"metadata": {"finalizers": ["a b"]}}), &[finalizer]),
            (
                json!({"metadata": {"finalizers": ["orphan", "foregroundDeletion"]}}),
                &[
                    "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
                ],
            ),
        ],
    );
    let kept = json!({"metadata": {
        "name": "c", "namespace": "n", "uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z",
        "deletionTimestamp": "2020-01-01T00:00:00Z", "finalizers": ["a.io/b"], "generation": 2,
    }});
    check_update(
        &kinds::CONFIG_MAPS,
        &kept,
        &[
            (json!({"metadata": {"finalizers": []}}), &[]),
            (
                json!({"metadata": {"finalizers": ["a.io/b", "a.io/c"]}}),
                &[
                    "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.io/c\"}",
                ],
            ),
            (
                json!({"metadata": {"name": "d", "uid": "v"}}),
                &[
                    "metadata.name: Invalid value: \"d\": field is immutable",
                    "metadata.uid: Invalid value: \"v\": field is immutable",
                ],
            ),
            (
                json!({"metadata": {"deletionTimestamp": null}}),
                &["metadata.deletionTimestamp: Invalid value: null: field is immutable"],
            ),
            (
                json!({"metadata": {"generation": 1}}),
                &["metadata.generation: Invalid value: 1: must not be decremented"],
            ),
        ],
    );
}

#[test]
fn config_maps_and_secrets() {
    let big = "x".repeat(DATA_BYTES_MAX + 1);
    check(
        &kinds::CONFIG_MAPS,
        &config_map(),
        &[
            (
                json!({"data": {"a": null, "..": "x"}}),
                &["data[..]: Invalid value: \"..\": must not be '..'"],
            ),
            (
                json!({"binaryData": {"a": "AA=="}}),
                &["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
            ),
            (
                json!({"data": {"a": big}}),
                &["[]: Too long: may not be more than 1048576 bytes"],
            ),
        ],
    );
    let locked = patched(config_map(), &json!({"immutable": true}));
    check_update(
        &kinds::CONFIG_MAPS,
        &locked,
        &[
            (json!({"metadata": {"labels": {"a": "b"}}}), &[]),
            (
                json!({"data": {"a": "c"}}),
                &["data: Forbidden: field is immutable when `immutable` is set"],
            ),
            (
                json!({"immutable": null}),
                &["immutable: Forbidden: field is immutable when `immutable` is set"],
            ),
        ],
    );
    let secret = kind("", "Secret");
    check(
        &secret,
        &config_map(),
        &[
            (
                json!({"type": "kubernetes.io/tls"}),
                &[
                    "data[tls.crt]: Required value",
                    "data[tls.key]: Required value",
                ],
            ),
            (
                json!({"type": "kubernetes.io/basic-auth", "data": {"username": ""}}),
                &[],
            ),
        ],
    );
    check_update(
        &secret,
        &config_map(),
        &[(
            json!({"type": "x"}),
            &["type: Invalid value: \"x\": field is immutable"],
        )],
    );
}

/// Objects with fields that are looked at, and anything in them.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!("")),
        Just(json!("a$")),
        any::<i64>().prop_map(|number| json!(number)),
    ];
    let names = [
        "metadata",
        "spec",
        "template",
        "status",
        "containers",
        "initContainers",
        "volumes",
        "resources",
        "limits",
        "requests",
        "ports",
        "httpGet",
        "livenessProbe",
        "strategy",
        "rollingUpdate",
        "env",
        "valueFrom",
        "fieldRef",
        "fieldPath",
        "selector",
        "matchLabels",
        "name",
        "affinity",
        "podAffinity",
        "tolerations",
        "clusterIPs",
        "data",
        "schedule",
        "type",
        "jobTemplate",
        "topologySpreadConstraints",
        "ownerReferences",
        "finalizers",
        "labels",
    ];
    leaf.prop_recursive(8, 96, 5, move |inner| {
        let field = prop::sample::select(names.to_vec());
        let map = prop::collection::btree_map(field, inner.clone(), 0..6);
        prop_oneof![
            3 => map.prop_map(|map| json!(map)),
            1 => prop::collection::vec(inner, 0..3).prop_map(|list| json!(list)),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_makes_it_panic(new in anything(), old in anything()) {
        let soon = [
            kind("batch", "Job"), kind("batch", "CronJob"), kind("apps", "StatefulSet"),
            kind("apps", "DaemonSet"), kind("", "Secret"), kind("networking.k8s.io", "Ingress"),
        ];
        for kind in kinds::KINDS.iter().copied().chain(&soon) {
            let errors = create(kind, &new).len() + update(kind, &new, &old).len();
            prop_assert!(errors > 0, "{} is never good", kind.kind);
        }
    }
}
