//! One step of a field's path, as `fieldsV1` writes it: `f:NAME` a field, `k:{"name":"x"}` the
//! item of these keys, `v:"x"` the item of this value, `i:0` the item at this place.

use std::fmt;

use serde_json::{Map, Value};

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathElement {
    /// A field, or a key of a map.
    Field(String),
    /// The item with these keys: a JSON object, in canonical form.
    Key(String),
    /// The item that is this scalar: JSON, in canonical form.
    Value(String),
    /// The item at this place.
    Index(i64),
}

impl PathElement {
    /// The item with these keys.
    pub(crate) fn key(keys: &Map<String, Value>) -> PathElement {
        let keys = keys
            .iter()
            .map(|(name, value)| (name.clone(), canonical(value)));
        PathElement::Key(Value::Object(keys.collect()).to_string())
    }

    /// The item that is this value.
    pub(crate) fn value(value: &Value) -> PathElement {
        PathElement::Value(canonical(value).to_string())
    }

    /// As it stands in `fieldsV1`.
    pub(crate) fn to_text(&self) -> String {
        match self {
            PathElement::Field(name) => format!("f:{name}"),
            PathElement::Key(keys) => format!("k:{keys}"),
            PathElement::Value(value) => format!("v:{value}"),
            PathElement::Index(at) => format!("i:{at}"),
        }
    }

    /// Reads it; nothing if it is of a kind that is not known, which a later version may have.
    ///
    /// # Errors
    /// Why it can't be read.
    pub(crate) fn parse(text: &str) -> Result<Option<PathElement>, String> {
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(format!("missing colon: {text}"));
        };
        Ok(Some(match kind {
            "f" => PathElement::Field(rest.to_owned()),
            "k" => match serde_json::from_str(rest).map_err(|error| error.to_string())? {
                Value::Object(keys) => PathElement::key(&keys),
                _ => return Err(format!("keys that are no object: {text}")),
            },
            "v" => {
                PathElement::value(&serde_json::from_str(rest).map_err(|error| error.to_string())?)
            }
            "i" => PathElement::Index(rest.parse().map_err(|_| format!("no index: {text}"))?),
            _ => return Ok(None),
        }))
    }
}

/// As messages show it: `.spec`, `[name="x"]`, `[="x"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(f, "[{}]", keys.join(","))
            }
            PathElement::Value(value) => write!(f, "[={value}]"),
            PathElement::Index(at) => write!(f, "[{at}]"),
        }
    }
}

/// One form for equal numbers, so that `80` and `80.0` are one key.
fn canonical(value: &Value) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value.as_f64() {
        Some(number) if !value.is_i64() && number.fract() == 0.0 && number.abs() <= EXACT_MAX => {
            #[allow(clippy::cast_possible_truncation)] // it is whole, and small enough
            Value::from(number as i64)
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_written_and_shown() {
        let cases = [
            ("f:spec", "f:spec", ".spec"),
            ("f:a:b", "f:a:b", ".a:b"),
            ("f:", "f:", "."),
            (
                r#"k:{"protocol":"TCP","port":80}"#,
                r#"k:{"port":80,"protocol":"TCP"}"#,
                r#"[port=80,protocol="TCP"]"#,
            ),
            (r#"k:{"port":80.0}"#, r#"k:{"port":80}"#, "[port=80]"),
            (r#"v:"x""#, r#"v:"x""#, r#"[="x"]"#),
            ("v:1", "v:1", "[=1]"),
            ("i:7", "i:7", "[7]"),
        ];
        for (text, written, shown) in cases {
            let element = PathElement::parse(text).unwrap().unwrap();
            assert_eq!(
                (element.to_text().as_str(), element.to_string().as_str()),
                (written, shown)
            );
        }
    }

    #[test]
    fn what_is_unknown_is_ignored_and_what_is_wrong_refused() {
        assert_eq!(PathElement::parse("x:1"), Ok(None));
        for wrong in ["", "f", "é:a", "name", "k:[]", "k:{", "v:", "i:x"] {
            assert!(PathElement::parse(wrong).is_err(), "{wrong}");
        }
    }
}
