//! What is kept of an object: JSON without the resourceVersion, which is the `mod_revision` of its
//! key.

use atoll_control::proto::mvccpb::KeyValue;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::Stored;
use crate::core::{
    object,
    status::{Failure, Reason},
};

/// How large an object may be as JSON, in bytes; what Kubernetes' etcd takes.
const OBJECT_BYTES_MAX: usize = 1_500_000;

/// How deep an object may be nested: less than what is read (serde_json: 127).
const DEPTH_MAX: usize = 100;

/// Whether something is nested deeper than so many levels.
fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels) {
        (Value::Array(_) | Value::Object(_), 0) => true,
        (Value::Array(items), _) => items.iter().any(|it| is_deeper(it, levels - 1)),
        (Value::Object(fields), _) => fields.values().any(|it| is_deeper(it, levels - 1)),
        _ => false,
    }
}

/// What is kept of an object.
///
/// # Errors
/// It is too large, or nested too deep to be read again.
pub(crate) fn encode(object: &Value) -> Result<Bytes, Failure> {
    encode_within(object, OBJECT_BYTES_MAX)
}

/// What is kept of an object on which the server has noted that it is being deleted: one that was
/// taken must not become too large to go.
///
/// # Errors
/// As for any.
pub(crate) fn encode_marked(object: &Value) -> Result<Bytes, Failure> {
    const MARK_BYTES_MAX: usize = 4 << 10;
    encode_within(object, OBJECT_BYTES_MAX + MARK_BYTES_MAX)
}

/// An object without its resourceVersion, which is that of its key.
struct Kept<'a>(&'a Value);

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.0.as_object() else {
            return self.0.serialize(serializer);
        };
        serializer.collect_map(fields.iter().map(|(name, value)| {
            let is_meta = name == "metadata";
            (name, KeptField { value, is_meta })
        }))
    }
}

struct KeptField<'a> {
    value: &'a Value,
    is_meta: bool,
}

impl Serialize for KeptField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value.as_object().filter(|_| self.is_meta) {
            Some(fields) => {
                let stay = |(name, _): &(&String, &Value)| *name != "resourceVersion";
                serializer.collect_map(fields.iter().filter(stay))
            }
            None => self.value.serialize(serializer),
        }
    }
}

fn encode_within(object: &Value, bytes_max: usize) -> Result<Bytes, Failure> {
    if is_deeper(object, DEPTH_MAX) {
        let message = format!("the object is nested deeper than {DEPTH_MAX} levels");
        return Err(Failure::new(Reason::RequestEntityTooLarge, message));
    }
    let encoded = serde_json::to_string(&Kept(object));
    let encoded = encoded.map_err(|error| Failure::internal(error.to_string()))?;
    if encoded.len() > bytes_max {
        return Err(Failure::new(
            Reason::RequestEntityTooLarge,
            format!(
                "the object takes {} bytes as JSON, and may take {bytes_max}",
                encoded.len()
            ),
        ));
    }
    Ok(encoded.into())
}

/// Tells an object of which revision it is.
pub(crate) fn with_revision(mut object: Value, revision: i64) -> Value {
    let version = json!(revision.to_string());
    object::meta_mut(&mut object).insert("resourceVersion".to_owned(), version);
    object
}

/// An object that is not sealed.
///
/// # Errors
/// It can't be read.
pub(super) fn read(kv: &KeyValue) -> Result<Stored, Failure> {
    let object: Value = match serde_json::from_slice(&kv.value) {
        Ok(object @ Value::Object(_)) => object,
        Ok(_) => return Err(unreadable(kv, "it is no object")),
        Err(error) => return Err(unreadable(kv, &error.to_string())),
    };
    Ok(Stored {
        object: with_revision(object, kv.mod_revision),
        revision: kv.mod_revision,
    })
}

/// Says so, and tells the log.
pub(super) fn unreadable(kv: &KeyValue, why: &str) -> Failure {
    let key = String::from_utf8_lossy(&kv.key).into_owned();
    tracing::error!(
        key,
        why,
        "an object can't be read; was it written by a newer version?"
    );
    Failure::internal(format!("the object at {key} can't be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_read_again() {
        let nested = |levels: usize| {
            let mut value = json!({"metadata": {}});
            for _ in 1..levels {
                value = json!({"a": value});
            }
            value
        };
        let kept = encode(&nested(DEPTH_MAX - 1)).unwrap();
        let kv = KeyValue {
            value: kept,
            ..KeyValue::default()
        };
        read(&kv).unwrap();
        assert_eq!(encode(&nested(DEPTH_MAX + 1)).unwrap_err().code(), 413);
    }

    #[test]
    fn an_object_is_kept_without_its_revision() {
        let object = json!({
            "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "7"},
            "spec": {"metadata": {"resourceVersion": "stays"}}, "status": null,
        });
        let mut kept: Value = serde_json::from_slice(&encode(&object).unwrap()).unwrap();
        assert_eq!(kept["metadata"], json!({"name": "a"}));
        object::meta_mut(&mut kept).insert("resourceVersion".to_owned(), json!("7"));
        assert_eq!(kept, object);
    }
}
