//! When two values mean the same, however they are written: fields that are not there, null or
//! empty are one, and quantities are compared by how much they are (as `apiequality.Semantic`
//! compares objects of Go, which know no difference between what is absent and what is zero).

use serde_json::{Map, Value};

use super::super::quantity;

/// Fields of quantities.
const OF_QUANTITIES: [&str; 5] = ["limits", "requests", "overhead", "capacity", "allocatable"];
/// Selectors: one that is not there and an empty one are opposites.
const SELECTORS: [&str; 4] = [
    "labelSelector",
    "namespaceSelector",
    "podSelector",
    "selector",
];
/// Fields that are as good as absent where they are `false` or 0.
const PLAIN: [&str; 10] = [
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "readOnly",
    "stdin",
    "tty",
];

/// Whether two values mean the same.
pub(super) fn are_equal(left: &Value, right: &Value) -> bool {
    is_same("", left, right)
}

/// Recurses only as deep as the values are, which their parser bounds.
fn is_same(field: &str, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) if OF_QUANTITIES.contains(&field) => {
            are_same_quantities(left, right)
        }
        (Value::Object(left), Value::Object(right)) => {
            let of_left = left.keys().chain(right.keys());
            of_left
                .into_iter()
                .all(|key| is_same(key, of(left, key), of(right, key)))
        }
        (Value::Array(left), Value::Array(right)) => {
            let is_each = |(left, right)| is_same("", left, right);
            left.len() == right.len() && left.iter().zip(right).all(is_each)
        }
        (left, right) => left == right || is_empty(field, left) && is_empty(field, right),
    }
}

fn are_same_quantities(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    let is_each = |key: &String| {
        let (left, right) = (of(left, key), of(right, key));
        left == right || quantity::of(left).is_some() && quantity::of(left) == quantity::of(right)
    };
    left.keys().chain(right.keys()).all(is_each)
}

fn of<'a>(object: &'a Map<String, Value>, key: &str) -> &'a Value {
    object.get(key).unwrap_or(&Value::Null)
}

fn is_empty(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && !SELECTORS.contains(&field),
        Value::Bool(_) | Value::Number(_) => {
            PLAIN.contains(&field) && (*value == false || *value == 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_that_mean_the_same() {
        let table = [
            (json!({"a": 1}), json!({"a": 1}), true),
            (json!({"a": 1}), json!({"a": 2}), false),
            (json!({"a": 1}), json!({}), false),
            (json!({"a": ""}), json!({}), true),
            (json!({"a": null}), json!({}), true),
            (json!({"a": []}), json!({"a": {}}), true),
            (json!({"a": [1]}), json!({"a": [1, 2]}), false),
            (json!({"a": {"b": {}}}), json!({"a": {}}), true),
            (json!({"runAsUser": 0}), json!({}), false),
            (
                json!({"automountServiceAccountToken": false}),
                json!({}),
                false,
            ),
            (
                json!({"hostNetwork": false, "hostPort": 0}),
                json!({}),
                true,
            ),
            (json!({"hostNetwork": true}), json!({}), false),
            (json!({"namespaceSelector": {}}), json!({}), false),
            (
                json!({"limits": {"cpu": "1000m"}}),
                json!({"limits": {"cpu": 1}}),
                true,
            ),
            (
                json!({"limits": {"cpu": "1"}}),
                json!({"limits": {"cpu": "2"}}),
                false,
            ),
            (
                json!({"limits": {"cpu": "1"}}),
                json!({"limits": {}}),
                false,
            ),
            (
                json!({"limits": {"cpu": "x"}}),
                json!({"limits": {"cpu": "y"}}),
                false,
            ),
            (json!({"cpu": "1000m"}), json!({"cpu": "1"}), false),
        ];
        for (left, right, expected) in table {
            assert_eq!(are_equal(&left, &right), expected, "{left} {right}");
            assert_eq!(are_equal(&right, &left), expected, "{right} {left}");
        }
    }
}
