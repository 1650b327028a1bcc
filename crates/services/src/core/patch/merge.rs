//! Merge patches (RFC 7396): what the patch names is set, `null` removes, lists are replaced.

use serde_json::Value;

use super::malformed;
use crate::core::status::Failure;

/// Merges a patch into an object.
///
/// # Errors
/// If the patch is no object (400): an object of the API can't be replaced by something else.
pub(super) fn patch(live: &Value, patch: &Value) -> Result<Value, Failure> {
    if !patch.is_object() {
        return Err(malformed("a merge patch is an object"));
    }
    let mut new = live.clone();
    json_patch::merge(&mut new, patch);
    Ok(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The appendix of RFC 7396, as far as target and patch are objects.
    #[test]
    fn merges_as_the_rfc_shows() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ];
        for (target, change, expected) in cases {
            assert_eq!(
                patch(&target, &change).unwrap(),
                expected,
                "{target} + {change}"
            );
        }
    }

    #[test]
    fn refuses_what_would_replace_the_object() {
        for change in [json!(["c"]), json!(null), json!("bar")] {
            assert_eq!(
                patch(&json!({"a": "b"}), &change).unwrap_err().code(),
                400,
                "{change}"
            );
        }
    }
}
