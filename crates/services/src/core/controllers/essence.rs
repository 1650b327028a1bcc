//! What of a template makes a difference. Clients that read an object into structs and write it
//! back (`kubectl rollout undo`) leave out what is empty and add empty structs. So nulls, empty
//! texts and lists, and an empty `metadata` or `resources` count as not there.

use serde_json::Value;

/// A value without what is empty.
/// The depth is bounded, as that of all JSON that was parsed is.
pub(super) fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter(|(field, value)| !is_empty(field, value))
                .map(|(field, value)| (field.clone(), without_empty(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(without_empty).collect(),
        scalar => scalar.clone(),
    }
}

fn is_empty(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && matches!(field, "metadata" | "resources"),
        _ => false,
    }
}
