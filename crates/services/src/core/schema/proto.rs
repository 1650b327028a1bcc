//! Bodies of `application/vnd.kubernetes.protobuf`: read into JSON ([`decode`]), and written from
//! it ([`encode`], [`encode_list`]). An envelope (`k8s\0` and a `runtime.Unknown`) tells the
//! `apiVersion` and the kind; the message in it follows the [`super::schema`]'s numbers.
//!
//! Kubernetes' clients write every field that is no pointer in Go, so that a zero there says
//! nothing: it is dropped here, as Go drops it from JSON.
//!
//! Source: "Kubernetes Protobuf encoding" of the API concepts; generated.proto.

mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::fmt;

use serde_json::Value;

use super::{check::prune, schema};
use crate::core::versions;

const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtoError {
    /// The envelope does not begin as it has to.
    NoMagic,
    /// There is no such type.
    UnknownKind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its kind.
        kind: String,
    },
    /// It ends within a value, or has more than there is room for.
    Truncated,
    /// What a value is not.
    Malformed(&'static str),
    /// Messages stand within messages too often.
    TooDeep,
}

impl fmt::Display for ProtoError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtoError::NoMagic => out.write_str(
                "provided data does not appear to be a protobuf message, expected prefix \
                 [107 56 115 0]",
            ),
            ProtoError::UnknownKind { api_version, kind } => {
                write!(
                    out,
                    "no kind {kind:?} is registered for version {api_version:?}"
                )
            }
            ProtoError::Truncated => out.write_str("unexpected EOF"),
            ProtoError::Malformed(what) => write!(out, "proto: not {what}"),
            ProtoError::TooDeep => out.write_str("proto: messages are nested too deeply"),
        }
    }
}

impl std::error::Error for ProtoError {}

/// Reads a body. The object has its `apiVersion` and `kind`, and is pruned.
///
/// # Errors
/// The bytes are no object of a known type.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtoError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtoError::NoMagic)?;
    let envelope = read::envelope(envelope)?;
    let (api_version, kind) = (envelope.api_version, envelope.kind);
    let type_name = type_of(&api_version, &kind).ok_or_else(|| ProtoError::UnknownKind {
        api_version: api_version.clone(),
        kind: kind.clone(),
    })?;
    let mut object = read::object(type_name, envelope.raw)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    let mut object = Value::Object(object);
    prune(type_name, &mut object);
    Ok(object)
}

/// Writes an object of a type.
pub fn encode(api_version: &str, kind: &str, type_name: &str, object: &Value) -> Vec<u8> {
    write::envelope(api_version, kind, &write::object(type_name, object))
}

/// Writes a list, as `PodList`, whose items are of a type.
pub fn encode_list(api_version: &str, kind: &str, item_type: &str, list: &Value) -> Vec<u8> {
    write::envelope(api_version, kind, &write::list(item_type, list))
}

/// The type of an `apiVersion` and a kind: of those that are served, of those that stand in
/// bodies of subresources, and of those that every group has.
fn type_of(api_version: &str, kind: &str) -> Option<&'static str> {
    if let Some(served) = versions::by_name(api_version, kind) {
        return Some(served.type_name);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    let name = match kind {
        "DeleteOptions" | "Status" => format!("meta.v1.{kind}"),
        _ => format!("{group}.{version}.{kind}"),
    };
    let known = schema().get(&name)?;
    // Only an object of its own has its kind in the envelope.
    known
        .field("kind")
        .filter(|field| field.number == 0)
        .map(|_| known.name)
}
