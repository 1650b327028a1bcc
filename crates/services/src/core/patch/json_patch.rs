//! JSON patches (RFC 6902), by the crate `json-patch`, one operation after the other. Here are
//! the bounds around it: how many operations there may be, how much may be copied, how deep the
//! object may become, since all that handles it later recurses.

use std::{io, slice};

use json_patch::{Patch, PatchOperation, TestOperation, jsonptr::Pointer};
use serde::Deserialize;
use serde_json::Value;

use super::{malformed, rejected};
use crate::core::status::{Failure, Reason};

/// A patch has at most so many operations, as with Kubernetes.
const OPERATIONS_MAX: usize = 10_000;

/// Its copies and moves touch at most so many bytes of JSON, as with Kubernetes (which counts
/// copies only; a move costs us the same).
const COPIED_BYTES_MAX: usize = 3 << 20;

/// No operation puts anything deeper than the parser would have let through.
const DEPTH_MAX: usize = 128;

/// Applies the operations; all of them, or none.
///
/// # Errors
/// If the patch is no list of operations (400), has too many of them (413), or one of them
/// fails (422).
pub(super) fn patch(live: &Value, patch: &Value) -> Result<Value, Failure> {
    if let Some(count) = patch
        .as_array()
        .map(Vec::len)
        .filter(|count| *count > OPERATIONS_MAX)
    {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {count}"
        );
        return Err(Failure::new(Reason::RequestEntityTooLarge, message));
    }
    let Patch(operations) = Patch::deserialize(patch).map_err(malformed)?;
    let mut new = live.clone();
    let mut copied_bytes = 0;
    for operation in &operations {
        if tests_for_absence(&new, operation) {
            continue;
        }
        let put = match operation {
            PatchOperation::Add(add) => Some(&add.value),
            PatchOperation::Replace(replace) => Some(&replace.value),
            PatchOperation::Copy(copy) => at(&new, &copy.from),
            PatchOperation::Move(from) => at(&new, &from.from),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
        };
        if let Some(value) = put {
            if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_)) {
                copied_bytes += bytes(value);
            }
            let levels = operation.path().count();
            if copied_bytes > COPIED_BYTES_MAX || is_deeper(value, DEPTH_MAX.saturating_sub(levels))
            {
                return Err(rejected());
            }
        }
        json_patch::patch_unsafe(&mut new, slice::from_ref(operation)).map_err(|_| rejected())?;
    }
    Ok(new)
}

/// `test` for null holds where nothing is: Kubernetes has it so, and clients use it.
fn tests_for_absence(object: &Value, operation: &PatchOperation) -> bool {
    matches!(operation, PatchOperation::Test(TestOperation { path, value })
        if value.is_null() && at(object, path).is_none())
}

fn at<'a>(object: &'a Value, path: &Pointer) -> Option<&'a Value> {
    object.pointer(path.as_str())
}

/// How long a value is as JSON.
fn bytes(value: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("counting never fails");
    count.0
}

/// Whether a value has more than so many levels; a scalar has none.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let below = |child| levels == 0 || is_deeper(child, levels - 1);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(below),
        Value::Object(fields) => levels == 0 || fields.values().any(below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The appendix of RFC 6902: what works.
    #[test]
    fn patches_as_the_rfc_shows() {
        let cases = [
            // A.1, A.2: adding a member, an item
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                json!({"baz": "qux", "foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                json!({"foo": ["bar", "qux", "baz"]}),
            ),
            // A.3, A.4: removing them
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "remove", "path": "/baz"}]),
                json!({"foo": "bar"}),
            ),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                json!({"foo": ["bar", "baz"]}),
            ),
            // A.5: replacing
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                json!({"baz": "boo", "foo": "bar"}),
            ),
            // A.6, A.7: moving
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
            ),
            (
                json!({"foo": ["all", "grass", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                json!({"foo": ["all", "cows", "eat", "grass"]}),
            ),
            // A.8, A.14: testing, with escapes in the path
            (
                json!({"baz": "qux", "foo": ["a", 2, "c"], "/": 9, "~1": 10}),
                json!([
                    {"op": "test", "path": "/baz", "value": "qux"},
                    {"op": "test", "path": "/foo/1", "value": 2},
                    {"op": "test", "path": "/~01", "value": 10},
                    {"op": "remove", "path": "/~1"},
                ]),
                json!({"baz": "qux", "foo": ["a", 2, "c"], "~1": 10}),
            ),
            // A.10, A.11, A.16: nested, unknown members ignored, an item at the end
            (
                json!({"foo": ["bar"]}),
                json!([
                    {"op": "add", "path": "/child", "value": {"grandchild": {}}, "xyz": 123},
                    {"op": "add", "path": "/foo/-", "value": ["abc", "def"]},
                    {"op": "copy", "from": "/foo/0", "path": "/copy"},
                ]),
                json!({"foo": ["bar", ["abc", "def"]], "child": {"grandchild": {}}, "copy": "bar"}),
            ),
            // Kubernetes' own: null stands for what is not there
            (
                json!({"a": 1}),
                json!([{"op": "test", "path": "/b", "value": null}]),
                json!({"a": 1}),
            ),
        ];
        for (object, operations, expected) in cases {
            assert_eq!(
                patch(&object, &operations).unwrap(),
                expected,
                "{operations}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let object = json!({"foo": "bar", "baz": ["a"], "/": 9, "~1": 10});
        let cases = [
            // A.9, A.12, A.15: a test that fails, a parent that is not there, other types
            (json!([{"op": "test", "path": "/foo", "value": "x"}]), 422),
            (json!([{"op": "add", "path": "/no/where", "value": 1}]), 422),
            (json!([{"op": "test", "path": "/~01", "value": "10"}]), 422),
            (json!([{"op": "remove", "path": "/none"}]), 422),
            (json!([{"op": "replace", "path": "/none", "value": 1}]), 422),
            (json!([{"op": "add", "path": "/baz/7", "value": 1}]), 422),
            (json!([{"op": "copy", "from": "/none", "path": "/a"}]), 422),
            (json!([{"op": "twist", "path": "/foo"}]), 400),
            (json!([{"op": "add", "path": "/a"}]), 400),
            (json!([{"op": "add", "path": "no slash", "value": 1}]), 400),
            (json!({"op": "remove", "path": "/foo"}), 400),
        ];
        for (operations, code) in cases {
            let failure = patch(&object, &operations).unwrap_err();
            assert_eq!(failure.code(), code, "{operations}");
        }
        let failure = patch(&object, &json!([{"op": "remove", "path": "/none"}])).unwrap_err();
        let expected = "the server rejected our request due to an error in our request";
        assert_eq!(
            (
                failure.to_string().as_str(),
                failure.to_json()["reason"].as_str()
            ),
            (expected, Some("Invalid"))
        );
    }

    #[test]
    fn is_bounded() {
        let test = json!({"op": "test", "path": "/a", "value": 1});
        let object = json!({"a": 1});
        assert!(patch(&object, &json!(vec![test.clone(); OPERATIONS_MAX])).is_ok());
        let failure = patch(&object, &json!(vec![test; OPERATIONS_MAX + 1])).unwrap_err();
        assert_eq!(failure.code(), 413);
        assert!(
            failure.message.ends_with("JSON patch is 10000, got 10001"),
            "{failure}"
        );

        // Each copy doubles what there is.
        let doubling: Vec<Value> = (0..40)
            .map(|at| json!({"op": "copy", "from": "/a", "path": format!("/a/{at}")}))
            .collect();
        assert_eq!(
            patch(&json!({"a": {}}), &json!(doubling))
                .unwrap_err()
                .code(),
            422
        );

        let digging: Vec<Value> = (1..2_000)
            .map(|at| json!({"op": "add", "path": "/a".repeat(at), "value": {}}))
            .collect();
        assert!(patch(&json!({}), &json!(digging[..DEPTH_MAX - 1])).is_ok());
        assert_eq!(patch(&json!({}), &json!(digging)).unwrap_err().code(), 422);

        let burying: Vec<Value> = (0..2_000)
            .flat_map(|_| {
                [
                    json!({"op": "move", "from": "/a", "path": "/b"}),
                    json!({"op": "add", "path": "/a", "value": {}}),
                    json!({"op": "move", "from": "/b", "path": "/a/a"}),
                ]
            })
            .collect();
        assert_eq!(
            patch(&json!({"a": {}}), &json!(burying))
                .unwrap_err()
                .code(),
            422
        );
    }
}
