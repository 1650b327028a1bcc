//! What holds of objects on their way to be kept, whoever made them.

use serde_json::{Value, json};

use crate::core::{
    defaults,
    kinds::{self, Kind},
    lifecycle::{self, Birth, Deletion},
    names, object,
    patch::{self, PatchType, apply},
    schema::{
        check::{self, Checked},
        proto, schema,
    },
    table::{self, Include},
    validate,
};

/// When all of this happens, in milliseconds since the epoch.
pub(super) const NOW_MS: u64 = 1_767_323_045_000;
pub(super) const WRITER: apply::Writer<'static> = apply::Writer {
    manager: "fuzzer",
    subresource: "",
    now: "2026-01-02T03:04:05Z",
};

/// The form in which an object is kept, if it has the schema's types. It has one, in which
/// nothing is wrong, and which is read from the store as it was written.
pub(super) fn held(kind: &'static Kind, object: &Value, duplicates: &[String]) -> Option<Value> {
    let checked = check::check(kind.type_name, object);
    drop(checked.strict(duplicates));
    if !checked.wrong.is_empty() {
        return None;
    }
    let mut kept = object.clone();
    check::prune(kind.type_name, &mut kept);
    let again = check::check(kind.type_name, &kept);
    assert_eq!(again, Checked::default(), "{kept}");
    has_form(kind, &kept);
    in_json(&kept);
    Some(kept)
}

/// It is in the form in which objects are kept.
fn has_form(kind: &'static Kind, object: &Value) {
    let mut pruned = object.clone();
    check::prune(kind.type_name, &mut pruned);
    assert_eq!(&pruned, object);
}

/// It is the same after it was written as JSON and read again.
pub(super) fn in_json(object: &Value) {
    let (read, duplicates) = check::parse_json(object.to_string().as_bytes()).expect("it is JSON");
    assert_eq!(duplicates, Vec::<String>::new());
    // The last digit of a float may be lost; the API's types have none but in free JSON.
    if !has_floats(object) {
        assert_eq!(&read, object);
    }
}

fn has_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_floats),
        Value::Object(fields) => fields.values().any(has_floats),
        _ => false,
    }
}

/// An object as it is made; none if it is refused.
pub(super) fn made(kind: &'static Kind, mut object: Value) -> Option<Value> {
    lifecycle::create(kind, "default", &mut object, birth()).ok()?;
    let name = object::name(&object);
    if name.is_empty() || !names::path_segment(name).is_empty() {
        return None;
    }
    default(kind, &mut object);
    apply::update(schema(), kind.type_name, None, &mut object, &WRITER);
    validate::create(kind, &object).is_empty().then_some(object)
}

fn birth() -> Birth {
    Birth {
        now_ms: NOW_MS,
        uid: "00000000-0000-4000-8000-000000000001".to_owned(),
        suffix: "abcde".to_owned(),
    }
}

/// Sets defaults, which a second time does nothing.
fn default(kind: &'static Kind, object: &mut Value) {
    defaults::default(kind, object);
    let once = object.clone();
    defaults::default(kind, object);
    assert_eq!(*object, once, "to default again changes nothing");
}

/// A new state of a live object as it is kept; none if it is refused.
pub(super) fn written(
    kind: &'static Kind,
    live: &Value,
    mut new: Value,
    is_noted: bool,
) -> Option<Value> {
    lifecycle::update(kind, live, &mut new, None).ok()?;
    default(kind, &mut new);
    if !validate::update(kind, &new, live).is_empty() {
        return None;
    }
    if is_noted {
        apply::update(schema(), kind.type_name, Some(live), &mut new, &WRITER);
    }
    kept(kind, &new);
    Some(new)
}

/// What holds of an object that is kept.
pub(super) fn kept(kind: &'static Kind, object: &Value) {
    has_form(kind, object);
    in_json(object);
    let mut same = object.clone();
    let updated = lifecycle::update(kind, object, &mut same, None);
    updated.expect("nothing is different");
    default(kind, &mut same);
    assert_eq!(same, *object, "a write of the same changes nothing");
    let errors = validate::update(kind, &same, object);
    assert_eq!(errors, [], "what was good stays so");

    for include in [Include::Metadata, Include::Object, Include::None] {
        let table = table::table(kind, &[object], NOW_MS, include, &json!({}));
        let cells = table["rows"][0]["cells"].as_array().map(Vec::len);
        let columns = table["columnDefinitions"].as_array().map(Vec::len);
        assert_eq!(cells, columns);
    }
    let encoded = proto::encode(&kind.api_version(), kind.kind, kind.type_name, object);
    let decoded = proto::decode(&encoded).expect("a body of ours");
    assert_eq!(as_in_a_message(decoded), as_in_a_message(object.clone()));
    for patch_type in [PatchType::Merge, PatchType::Strategic] {
        let patched = patch::patch(schema(), kind.type_name, patch_type, object, &json!({}));
        assert_eq!(patched.as_ref(), Ok(object), "a patch of nothing");
    }
    let deleted = lifecycle::delete(kind, object, 1, &Deletion::default(), NOW_MS);
    drop(deleted.expect("it is this one"));
}

/// In a message an empty list is no list, and bytes have no lines.
fn as_in_a_message(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::String(text) => text.retain(|letter| !matches!(letter, '\r' | '\n')),
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(fields) => {
                fields.retain(|_, value| *value != json!([]));
                fields.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    strip(&mut value);
    value
}

/// Objects as they are kept, for patches.
pub(super) fn live() -> [(&'static Kind, Value); 3] {
    let container = json!({"name": "web", "image": "host", "command": ["/bin/web"],
        "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "protocol": "TCP"}]});
    let labels = json!({"app": "web"});
    let of = |kind: &'static Kind, spec: Value| {
        let meta = json!({"name": "web", "labels": labels, "finalizers": ["a.example/one"]});
        let mut object = json!({"metadata": meta, "spec": spec});
        check::prune(kind.type_name, &mut object);
        (kind, made(kind, object).expect("it is a good one"))
    };
    let pod = json!({"containers": [container], "tolerations": [{"key": "a"}]});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    [
        of(&kinds::PODS, pod),
        of(
            &kinds::DEPLOYMENTS,
            json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": template}),
        ),
        of(
            &kinds::SERVICES,
            json!({"clusterIP": "127.64.0.9", "clusterIPs": ["127.64.0.9"], "selector": labels, "ports": ports}),
        ),
    ]
}
