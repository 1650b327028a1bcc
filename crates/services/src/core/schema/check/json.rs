//! Parses JSON and finds the keys that an object has more than once, which serde_json's `Value`
//! would hide. The last one counts. Depth is bounded by serde_json (128).

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::TOLD_MAX;

/// Parses a body; beside the value, its duplicate keys as `duplicate field "spec.replicas"`.
///
/// # Errors
/// Why it is no JSON.
pub fn parse_json(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let duplicates = RefCell::default();
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let seed = Place {
        duplicates: &duplicates,
        above: None,
        step: Step::Root,
    };
    let value = seed
        .deserialize(&mut parser)
        .map_err(|error| error.to_string())?;
    parser.end().map_err(|error| error.to_string())?;
    Ok((value, duplicates.into_inner()))
}

enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

/// Where a value stands: a list that leads up to the root, so that a path is written only if it
/// is told.
struct Place<'a> {
    duplicates: &'a RefCell<Vec<String>>,
    above: Option<&'a Place<'a>>,
    step: Step<'a>,
}

impl Place<'_> {
    fn below<'b>(&'b self, step: Step<'b>) -> Place<'b> {
        Place {
            duplicates: self.duplicates,
            above: Some(self),
            step,
        }
    }

    fn tell_duplicate(&self, key: &str) {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.len() < TOLD_MAX {
            let told = format!("duplicate field \"{}\"", self.below(Step::Key(key)).path());
            if !duplicates.contains(&told) {
                duplicates.push(told);
            }
        }
    }

    fn path(&self) -> String {
        let mut path = self.above.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(Step::Index(list.len())))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.below(Step::Key(&key)))?;
            if map.contains_key(&key) {
                self.tell_duplicate(&key);
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
