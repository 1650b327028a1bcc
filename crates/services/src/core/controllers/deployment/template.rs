//! When two pod templates are the same. A Deployment's present ReplicaSet is the one with its
//! template; the hash only makes its name and label.

use serde_json::Value;

use crate::core::controllers::{essence::without_empty, owners::hash_text};

/// The label that tells a ReplicaSet's pods from those of its siblings.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// How long the hash is.
const HASH_LENGTH: usize = 10;

/// A template without what makes no difference.
pub(super) fn essence(template: &Value) -> Value {
    let mut template = without_empty(template);
    if let Some(meta) = template["metadata"].as_object_mut() {
        meta.remove("creationTimestamp");
        if let Some(labels) = meta.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
    }
    template
}

/// A hash of a template's essence. A count of collisions makes it another one.
pub(super) fn hash(essence: &Value, collisions: i64) -> String {
    // JSON of the same value is the same text: its fields are in order.
    let text = format!("{essence}/{collisions}");
    hash_text(text.as_bytes(), HASH_LENGTH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_clients_add_and_leave_out_makes_no_difference() {
        let written = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a", "env": [{"name": "E", "value": ""}]}]},
        });
        let read_back = json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "web", HASH_LABEL: "x"}},
            "spec": {"containers": [{"name": "a", "env": [{"name": "E"}], "resources": {}}]},
        });
        assert_eq!(essence(&written), essence(&read_back));
        assert_eq!(hash(&essence(&written), 0), hash(&essence(&read_back), 0));
        assert_ne!(hash(&essence(&written), 0), hash(&essence(&written), 1));
        for (path, value) in [
            ("/metadata/labels/app", json!("api")),
            ("/spec/containers/0/name", json!("b")),
            ("/spec/containers/0/env/0/value", json!("1")),
        ] {
            let mut other = written.clone();
            *other.pointer_mut(path).unwrap() = value;
            assert_ne!(essence(&written), essence(&other));
        }
    }
}
