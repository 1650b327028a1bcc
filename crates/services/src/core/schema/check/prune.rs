//! Brings an object into the form in which it is kept, which is what decoding it into Kubernetes'
//! types and encoding it again would leave: no unknown fields, no nulls, no empty values where
//! empty means absent, quantities and times in their one form. So two bodies that mean the same
//! are kept the same, and a controller does not see changes where there are none.

use serde_json::{Map, Value};

use super::{is_zero_time, quantity};
use crate::core::{
    schema::{Field, Scalar, Shape, schema},
    time::{format_rfc3339, format_rfc3339_micro, parse_rfc3339_us},
};

/// Brings an object of a type into that form. Free JSON is left as it is, and so is a value that
/// does not fit, which [`super::check`] tells.
pub fn prune(type_name: &str, object: &mut Value) {
    if let (Some(known), Value::Object(fields)) = (schema().get(type_name), object) {
        prune_fields(known.name, fields);
    }
}

fn prune_fields(type_name: &str, fields: &mut Map<String, Value>) {
    let Some(owner) = schema().get(type_name) else {
        return;
    };
    fields.retain(|key, value| {
        let Some(field) = owner.field(key) else {
            return false;
        };
        prune_value(&field.shape, value);
        !(value.is_null() || field.omits_empty() && is_empty(field, value))
    });
}

fn prune_value(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Scalar(scalar), value) => prune_scalar(*scalar, value),
        (Shape::Type(name), Value::Object(fields)) => prune_fields(name, fields),
        (Shape::List(item), Value::Array(items)) => {
            items.iter_mut().for_each(|value| prune_item(item, value));
        }
        (Shape::Map(item), Value::Object(entries)) => {
            entries
                .values_mut()
                .for_each(|value| prune_item(item, value));
        }
        _ => {}
    }
}

/// An item can't be absent: in place of null there is the empty value.
fn prune_item(shape: &Shape, value: &mut Value) {
    if value.is_null() {
        *value = match shape {
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString) => 0.into(),
            Shape::Scalar(Scalar::Double) => 0.0.into(),
            Shape::Scalar(Scalar::Bool) => false.into(),
            Shape::Scalar(Scalar::Quantity) => "0".into(),
            Shape::Scalar(Scalar::Any | Scalar::Time | Scalar::MicroTime) => Value::Null,
            Shape::Scalar(Scalar::String | Scalar::Bytes) => "".into(),
            Shape::Type(_) | Shape::Map(_) => Value::Object(Map::new()),
            Shape::List(_) => Value::Array(Vec::new()),
        };
    }
    prune_value(shape, value);
}

fn prune_scalar(scalar: Scalar, value: &mut Value) {
    let pruned = match (scalar, &*value) {
        (Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString, Value::Number(number)) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .and_then(whole)
            .map(Value::from),
        (Scalar::Quantity, Value::String(text)) => quantity::canonical(text).ok().map(Value::from),
        (Scalar::Quantity, Value::Number(number)) => quantity::canonical(&number.to_string())
            .ok()
            .map(Value::from),
        (Scalar::Time | Scalar::MicroTime, Value::String(text)) if is_zero_time(text) => {
            Some(Value::Null)
        }
        (Scalar::Time, Value::String(text)) => {
            parse_rfc3339_us(text).map(|us| format_rfc3339(us / 1000).into())
        }
        (Scalar::MicroTime, Value::String(text)) => {
            parse_rfc3339_us(text).map(|us| format_rfc3339_micro(us).into())
        }
        _ => None,
    };
    if let Some(pruned) = pruned {
        *value = pruned;
    }
}

/// `3.0` as 3, as arithmetic in patches may leave it.
pub(super) fn whole(number: f64) -> Option<i64> {
    /// Up to 2^53 every integer is a float.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

fn is_empty(field: &Field, value: &Value) -> bool {
    match (&field.shape, value) {
        (Shape::Scalar(Scalar::Any | Scalar::Quantity), _) => false,
        (_, Value::Bool(value)) => !value,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Array(items)) => items.is_empty(),
        (Shape::Map(_), Value::Object(entries)) => entries.is_empty(),
        _ => false,
    }
}
