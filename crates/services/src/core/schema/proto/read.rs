//! From messages to JSON. What the table does not know is skipped; what stands twice is merged,
//! as protobuf has it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    ProtoError,
    wire::{Reader, Wire},
};
use crate::core::{
    schema::{Scalar, Shape, check::parse_json, schema},
    time::{format_rfc3339, format_rfc3339_micro},
};

/// How deep messages may stand in each other; the API's types are less than half so deep.
const DEPTH_MAX: usize = 64;

/// What is around an object.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) raw: &'a [u8],
}

/// Reads `runtime.Unknown`.
pub(super) fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, ProtoError> {
    let mut envelope = Envelope::default();
    let mut unknown = Reader::new(bytes);
    while let Some((number, wire)) = unknown.record()? {
        match number {
            1 => {
                let mut meta = Reader::new(wire.bytes()?);
                while let Some((number, wire)) = meta.record()? {
                    match number {
                        1 => envelope.api_version = wire.text()?.to_owned(),
                        2 => envelope.kind = wire.text()?.to_owned(),
                        _ => {}
                    }
                }
            }
            2 => envelope.raw = wire.bytes()?,
            3 if !wire.bytes()?.is_empty() => {
                return Err(ProtoError::Malformed("a content encoding that is known"));
            }
            _ => {}
        }
    }
    Ok(envelope)
}

/// Reads an object of a type.
pub(super) fn object(type_name: &str, message: &[u8]) -> Result<Map<String, Value>, ProtoError> {
    let mut object = Map::new();
    fields(type_name, None, message, DEPTH_MAX, &mut object)?;
    Ok(object)
}

/// Reads a message's fields into an object; `within`: of which message in the type's own.
fn fields(
    type_name: &str,
    within: Option<u32>,
    message: &[u8],
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), ProtoError> {
    let depth = depth.checked_sub(1).ok_or(ProtoError::TooDeep)?;
    let known = schema()
        .get(type_name)
        .map_or(&[][..], |owner| &owner.fields);
    let mut records = Reader::new(message);
    while let Some((number, wire)) = records.record()? {
        let is_it = |(at, of): (u32, Option<u32>)| (at, of) == (number, within);
        if let Some(field) = known
            .iter()
            .find(|field| is_it((field.number, field.within)))
        {
            let value = object.entry(field.name).or_insert(Value::Null);
            read(&field.shape, wire, depth, value)?;
        } else if within.is_none() && known.iter().any(|field| field.within == Some(number)) {
            fields(type_name, Some(number), wire.bytes()?, depth, object)?;
        }
    }
    Ok(())
}

/// Reads a record into a value, which may have something of earlier ones.
fn read(shape: &Shape, wire: Wire<'_>, depth: usize, value: &mut Value) -> Result<(), ProtoError> {
    match shape {
        Shape::Scalar(scalar) => *value = read_scalar(*scalar, wire)?,
        Shape::Type(name) => fields(name, None, wire.bytes()?, depth, as_object(value))?,
        Shape::List(item) => {
            if value.is_null() {
                *value = Value::Array(Vec::new());
            }
            if let Value::Array(items) = value {
                read_items(item, wire, depth, items)?;
            }
        }
        Shape::Map(item) => {
            let (key, entry) = map_entry(item, wire.bytes()?, depth)?;
            as_object(value).insert(key, entry);
        }
    }
    Ok(())
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

/// One item, or many numbers in one record.
fn read_items(
    item: &Shape,
    wire: Wire<'_>,
    depth: usize,
    items: &mut Vec<Value>,
) -> Result<(), ProtoError> {
    let is_number = matches!(
        item,
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool)
    );
    match wire {
        Wire::Bytes(packed) if is_number => {
            let mut packed = Reader::new(packed);
            while !packed.is_at_end() {
                let mut value = Value::Null;
                read(item, Wire::Varint(packed.varint()?), depth, &mut value)?;
                items.push(value);
            }
        }
        _ => items.push(read_item(item, wire, depth)?),
    }
    Ok(())
}

/// An item of a list or map. A list there stands in a message of its own, as number 1.
fn read_item(item: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, ProtoError> {
    let mut value = Value::Null;
    let Shape::List(_) = item else {
        read(item, wire, depth, &mut value)?;
        return Ok(value);
    };
    let mut wrapped = Reader::new(wire.bytes()?);
    while let Some((number, wire)) = wrapped.record()? {
        if number == 1 {
            read(item, wire, depth, &mut value)?;
        }
    }
    Ok(value)
}

fn map_entry(item: &Shape, entry: &[u8], depth: usize) -> Result<(String, Value), ProtoError> {
    let (mut key, mut value) = (String::new(), Value::Null);
    let mut records = Reader::new(entry);
    while let Some((number, wire)) = records.record()? {
        match number {
            1 => key = wire.text()?.to_owned(),
            2 => value = read_item(item, wire, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn read_scalar(scalar: Scalar, wire: Wire<'_>) -> Result<Value, ProtoError> {
    Ok(match scalar {
        Scalar::String => wire.text()?.into(),
        // The upper half of an int32 is its sign.
        Scalar::Int32 => (wire.varint()? as i32).into(),
        Scalar::Int64 => wire.varint()?.cast_signed().into(),
        Scalar::Bool => (wire.varint()? != 0).into(),
        Scalar::Double => match wire {
            Wire::Fixed64(bytes) => f64::from_le_bytes(bytes).into(),
            _ => return Err(ProtoError::Malformed("a double")),
        },
        Scalar::Bytes => STANDARD.encode(wire.bytes()?).into(),
        Scalar::Time => {
            time(wire.bytes()?)?.map_or(Value::Null, |us| format_rfc3339(us / 1000).into())
        }
        Scalar::MicroTime => {
            time(wire.bytes()?)?.map_or(Value::Null, |us| format_rfc3339_micro(us).into())
        }
        Scalar::Quantity => quantity(wire.bytes()?)?,
        Scalar::IntOrString => int_or_string(wire.bytes()?)?,
        Scalar::Any => any(wire.bytes()?)?,
    })
}

/// `Timestamp`: seconds and nanoseconds; nothing in it, or a time before 1970, is none.
fn time(message: &[u8]) -> Result<Option<u64>, ProtoError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut records = Reader::new(message);
    while let Some((number, wire)) = records.record()? {
        match number {
            1 => seconds = wire.varint()?.cast_signed(),
            2 => nanos = wire.varint()?.cast_signed(),
            _ => {}
        }
    }
    let us = u64::try_from(seconds).ok().zip(u64::try_from(nanos).ok());
    let us =
        us.and_then(|(seconds, nanos)| seconds.checked_mul(1_000_000)?.checked_add(nanos / 1000));
    Ok(us.filter(|_| !message.is_empty()))
}

/// `Quantity`: a text; none is zero.
fn quantity(message: &[u8]) -> Result<Value, ProtoError> {
    let mut text = "";
    let mut records = Reader::new(message);
    while let Some((number, wire)) = records.record()? {
        if number == 1 {
            text = wire.text()?;
        }
    }
    Ok(if text.is_empty() { "0" } else { text }.into())
}

/// `IntOrString`: which of both, and both.
fn int_or_string(message: &[u8]) -> Result<Value, ProtoError> {
    let (mut is_text, mut integer, mut text) = (false, 0, "");
    let mut records = Reader::new(message);
    while let Some((number, wire)) = records.record()? {
        match number {
            1 => is_text = wire.varint()? == 1,
            2 => integer = wire.varint()? as i32,
            3 => text = wire.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { integer.into() })
}

/// `RawExtension` and `FieldsV1`: JSON.
fn any(message: &[u8]) -> Result<Value, ProtoError> {
    let mut raw: &[u8] = &[];
    let mut records = Reader::new(message);
    while let Some((number, wire)) = records.record()? {
        if number == 1 {
            raw = wire.bytes()?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    parse_json(raw)
        .map(|(value, _)| value)
        .map_err(|_| ProtoError::Malformed("JSON"))
}
