//! From JSON to messages. Only what is there is written; a value that does not have its field's
//! shape is left out, which does not come up with objects that were checked.

use serde_json::Value;

use super::{
    MAGIC,
    wire::{put_bytes, put_double, put_integer},
};
use crate::core::{
    schema::{Field, Scalar, Shape, check::read_base64, schema},
    time::parse_rfc3339_us,
};

/// Writes `runtime.Unknown`, with a message in it.
pub(super) fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut meta = Vec::new();
    put_bytes(&mut meta, 1, api_version.as_bytes());
    put_bytes(&mut meta, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    put_bytes(&mut out, 1, &meta);
    put_bytes(&mut out, 2, message);
    out
}

/// Writes an object of a type.
pub(super) fn object(type_name: &str, object: &Value) -> Vec<u8> {
    let known = schema()
        .get(type_name)
        .map_or(&[][..], |owner| &owner.fields);
    let mut out = Vec::new();
    let mut last_within = None;
    for field in known {
        match field.within {
            None => put_field(&mut out, field, object),
            // The fields of such a message follow each other in the table.
            Some(within) if last_within != Some(within) => {
                let of_it = known.iter().filter(|field| field.within == Some(within));
                let mut inner = Vec::new();
                of_it.for_each(|field| put_field(&mut inner, field, object));
                put_bytes(&mut out, within, &inner);
            }
            Some(_) => {}
        }
        last_within = field.within;
    }
    out
}

/// Writes a list: `ListMeta`, and items.
pub(super) fn list(item_type: &str, list: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &object("meta.v1.ListMeta", &list["metadata"]));
    for item in list["items"].as_array().into_iter().flatten() {
        put_bytes(&mut out, 2, &object(item_type, item));
    }
    out
}

fn put_field(out: &mut Vec<u8>, field: &Field, object: &Value) {
    if field.number > 0 {
        put(out, field.number, &field.shape, &object[field.name]);
    }
}

fn put(out: &mut Vec<u8>, number: u32, shape: &Shape, value: &Value) {
    match (shape, value) {
        (Shape::Scalar(scalar), value) => put_scalar(out, number, *scalar, value),
        (Shape::Type(name), Value::Object(_)) => put_bytes(out, number, &object(name, value)),
        (Shape::List(item), Value::Array(items)) => {
            items
                .iter()
                .for_each(|value| put_item(out, number, item, value));
        }
        (Shape::Map(item), Value::Object(entries)) => {
            for (key, value) in entries {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_item(&mut entry, 2, item, value);
                put_bytes(out, number, &entry);
            }
        }
        _ => {}
    }
}

/// An item of a list or map. A list there stands in a message of its own, as number 1.
fn put_item(out: &mut Vec<u8>, number: u32, item: &Shape, value: &Value) {
    if let Shape::List(_) = item {
        let mut wrapped = Vec::new();
        put(&mut wrapped, 1, item, value);
        put_bytes(out, number, &wrapped);
    } else {
        put(out, number, item, value);
    }
}

fn put_scalar(out: &mut Vec<u8>, number: u32, scalar: Scalar, value: &Value) {
    match (scalar, value) {
        (_, Value::Null) => {}
        (Scalar::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Scalar::Bool, Value::Bool(value)) => put_integer(out, number, i64::from(*value)),
        (Scalar::Int32 | Scalar::Int64, value) => {
            value
                .as_i64()
                .into_iter()
                .for_each(|value| put_integer(out, number, value));
        }
        (Scalar::Double, value) => {
            value
                .as_f64()
                .into_iter()
                .for_each(|value| put_double(out, number, value));
        }
        (Scalar::Bytes, Value::String(text)) => {
            put_bytes(out, number, &read_base64(text).unwrap_or_default());
        }
        (Scalar::Time, Value::String(text)) => {
            put_bytes(out, number, &time(text, |_| 0));
        }
        (Scalar::MicroTime, Value::String(text)) => {
            put_bytes(out, number, &time(text, |us| us % 1_000_000 * 1000));
        }
        (Scalar::Quantity, Value::String(text)) => {
            put_bytes(out, number, &one_text(text));
        }
        (Scalar::Quantity, Value::Number(value)) => {
            put_bytes(out, number, &one_text(&value.to_string()));
        }
        (Scalar::IntOrString, value) => put_bytes(out, number, &int_or_string(value)),
        (Scalar::Any, value) => put_bytes(out, number, &one_text(&value.to_string())),
        _ => {}
    }
}

/// A message with a text as number 1: `Quantity`, `RawExtension`, `FieldsV1`.
fn one_text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, text.as_bytes());
    out
}

/// `Timestamp`, with the nanoseconds that are asked for.
fn time(text: &str, nanos: impl FnOnce(i64) -> i64) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(us) = parse_rfc3339_us(text).and_then(|us| i64::try_from(us).ok()) {
        put_integer(&mut out, 1, us / 1_000_000);
        put_integer(&mut out, 2, nanos(us));
    }
    out
}

fn int_or_string(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_integer(&mut out, 1, i64::from(value.is_string()));
    put_integer(&mut out, 2, value.as_i64().unwrap_or_default());
    put_bytes(&mut out, 3, value.as_str().unwrap_or_default().as_bytes());
    out
}
