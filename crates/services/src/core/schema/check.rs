//! Bodies that come from outside: JSON or YAML is parsed ([`parse_json`], [`parse_yaml`]), held
//! against its type ([`check`]) and brought into the form in which it is kept ([`prune`]). What
//! does not fit is told in the words of Kubernetes' decoder, as clients show them.
//!
//! Invariant: what [`check`] finds nothing wrong with and [`prune`] has seen has a value of the
//! right shape in every field that is there, and no `null` outside of free JSON.

mod json;
mod prune;
mod quantity;
#[cfg(test)]
mod tests;
mod yaml;

pub use json::parse_json;
pub use prune::prune;
use serde_json::Value;
pub use yaml::parse_yaml;

use super::{Scalar, Shape, schema};
use crate::core::time::parse_rfc3339_us;

/// How many unknown or duplicate fields are told at most, as in Kubernetes.
const TOLD_MAX: usize = 100;

/// What is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Fields that the type does not have, as `unknown field "spec.foo"`: refused by strict
    /// validation, else dropped.
    pub unknown: Vec<String>,
    /// Values that do not fit, as `json: cannot unmarshal …`: always refused.
    pub wrong: Vec<String>,
}

impl Checked {
    /// What strict validation refuses and `Warn` warns of: unknown fields, and those duplicate
    /// ones that [`parse_json`] found in fields that are known.
    pub fn strict(&self, duplicates: &[String]) -> Vec<String> {
        let is_known = |duplicate: &&String| {
            let path = quoted(duplicate);
            !self
                .unknown
                .iter()
                .any(|unknown| is_within(path, quoted(unknown)))
        };
        let duplicates = duplicates.iter().filter(is_known);
        self.unknown.iter().chain(duplicates).cloned().collect()
    }
}

/// The path in `unknown field "spec.foo"`.
fn quoted(text: &str) -> &str {
    let (_, behind) = text.split_once('"').unwrap_or(("", text));
    behind.strip_suffix('"').unwrap_or(behind)
}

fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The reason of a refusal for what strict validation found.
pub fn strict_decoding_error(found: &[String]) -> String {
    format!("strict decoding error: {}", found.join(", "))
}

/// The message of a refusal (400) of a body that can't be an object of a kind.
pub fn cannot_be_handled(api_version: &str, kind: &str, why: &str) -> String {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}")
}

/// Holds an object against a type. `null` is as good as nothing.
pub fn check(type_name: &str, object: &Value) -> Checked {
    let mut walk = Walk {
        found: Checked::default(),
        path: Vec::new(),
    };
    if let Some(known) = schema().get(type_name) {
        walk.value(&Shape::Type(known.name), object, "");
    }
    walk.found
}

/// A step of a path.
enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

struct Walk<'a> {
    found: Checked,
    path: Vec<Step<'a>>,
}

impl<'a> Walk<'a> {
    /// `owner` is the type whose field leads here.
    fn value(&mut self, shape: &Shape, value: &'a Value, owner: &str) {
        match (shape, value) {
            (_, Value::Null) => {}
            (Shape::Scalar(scalar), _) => self.scalar(*scalar, value, owner),
            (Shape::Type(name), Value::Object(fields)) => {
                for (key, value) in fields {
                    self.field(name, key, value);
                }
            }
            (Shape::List(item), Value::Array(items)) => {
                for (index, value) in items.iter().enumerate() {
                    self.step(Step::Index(index), |walk| walk.value(item, value, owner));
                }
            }
            (Shape::Map(item), Value::Object(entries)) => {
                for (key, value) in entries {
                    self.step(Step::Key(key), |walk| walk.value(item, value, owner));
                }
            }
            _ => self.mismatch(value, owner, &go_type(shape)),
        }
    }

    fn field(&mut self, type_name: &str, key: &'a str, value: &'a Value) {
        let field = schema().get(type_name).and_then(|owner| owner.field(key));
        self.step(Step::Field(key), |walk| match field {
            Some(field) => walk.value(&field.shape, value, type_name),
            None if walk.found.unknown.len() < TOLD_MAX => {
                let unknown = format!("unknown field \"{}\"", walk.full_path());
                walk.found.unknown.push(unknown);
            }
            None => {}
        });
    }

    fn step(&mut self, step: Step<'a>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }

    fn scalar(&mut self, scalar: Scalar, value: &Value, owner: &str) {
        match (scalar, value) {
            (Scalar::Any, _)
            | (Scalar::String | Scalar::IntOrString, Value::String(_))
            | (Scalar::Bool, Value::Bool(_))
            | (Scalar::Double, Value::Number(_)) => {}
            (Scalar::Int32 | Scalar::IntOrString, Value::Number(number))
                if number
                    .as_i64()
                    .is_some_and(|number| i32::try_from(number).is_ok()) => {}
            (Scalar::Int64, Value::Number(number)) if number.is_i64() => {}
            (Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString, Value::Number(number)) => {
                let number = format!("number {number}");
                self.mismatch_of(&number, owner, &go_type(&Shape::Scalar(scalar)));
            }
            (Scalar::Quantity, _) => self.quantity(value),
            (Scalar::Time | Scalar::MicroTime, Value::String(text)) => self.time(scalar, text),
            (Scalar::Bytes, Value::String(text)) => self.bytes(text),
            _ => self.mismatch(value, owner, &go_type(&Shape::Scalar(scalar))),
        }
    }

    fn quantity(&mut self, value: &Value) {
        let read = match value {
            Value::String(text) => quantity::canonical(text),
            Value::Number(number) => quantity::canonical(&number.to_string()),
            _ => Err(quantity::BAD_FORM),
        };
        self.found.wrong.extend(read.err().map(str::to_owned));
    }

    fn time(&mut self, scalar: Scalar, text: &str) {
        if parse_rfc3339_us(text).is_none() && !is_zero_time(text) {
            let layout = match scalar {
                Scalar::Time => "2006-01-02T15:04:05Z07:00",
                _ => "2006-01-02T15:04:05.000000Z07:00",
            };
            self.found.wrong.push(format!(
                "parsing time {text:?} as {layout:?}: not such a time"
            ));
        }
    }

    fn bytes(&mut self, text: &str) {
        if let Err(at) = read_base64(text) {
            self.found
                .wrong
                .push(format!("illegal base64 data at input byte {at}"));
        }
    }

    fn mismatch(&mut self, value: &Value, owner: &str, go_type: &str) {
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.mismatch_of(is, owner, go_type);
    }

    fn mismatch_of(&mut self, is: &str, owner: &str, go_type: &str) {
        let fields = self.path.iter().filter_map(|step| match step {
            Step::Field(name) => Some(*name),
            Step::Key(_) | Step::Index(_) => None,
        });
        let fields: Vec<&str> = fields.collect();
        let place = match owner.rsplit('.').next() {
            Some(owner) if !owner.is_empty() => {
                format!("struct field {owner}.{}", fields.join("."))
            }
            _ => "value".to_owned(),
        };
        let wrong = format!("json: cannot unmarshal {is} into Go {place} of type {go_type}");
        self.found.wrong.push(wrong);
    }

    fn full_path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) | Step::Key(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) | Step::Key(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

/// What Go's decoder calls a shape.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(Scalar::String | Scalar::Time | Scalar::MicroTime) => "string".to_owned(),
        Shape::Scalar(Scalar::Int32 | Scalar::IntOrString) => "int32".to_owned(),
        Shape::Scalar(Scalar::Int64) => "int64".to_owned(),
        Shape::Scalar(Scalar::Bool) => "bool".to_owned(),
        Shape::Scalar(Scalar::Double) => "float64".to_owned(),
        Shape::Scalar(Scalar::Bytes) => "[]uint8".to_owned(),
        Shape::Scalar(Scalar::Quantity) => "resource.Quantity".to_owned(),
        Shape::Scalar(Scalar::Any) => "interface {}".to_owned(),
        Shape::Type(name) => name
            .split_once('.')
            .map_or(*name, |(_, name)| name)
            .to_owned(),
        Shape::List(item) => format!("[]{}", go_type(item)),
        Shape::Map(item) if **item == Shape::Scalar(Scalar::Quantity) => {
            "v1.ResourceList".to_owned()
        }
        Shape::Map(item) => format!("map[string]{}", go_type(item)),
    }
}

/// How Go writes a time that was never set.
fn is_zero_time(text: &str) -> bool {
    text == "0001-01-01T00:00:00Z"
}

/// Reads base64, in which lines may be broken.
///
/// # Errors
/// The byte at which it ends to be base64.
pub(super) fn read_base64(text: &str) -> Result<Vec<u8>, usize> {
    use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
    let whole: String = text
        .chars()
        .filter(|letter| !matches!(letter, '\r' | '\n'))
        .collect();
    STANDARD.decode(&whole).map_err(|error| match error {
        DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => whole.len() / 4 * 4,
    })
}
