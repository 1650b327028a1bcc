//! What has a number of replicas: the kinds with a `scale` subresource, how many pods an object
//! of theirs asks for, and which pods these are.

use serde_json::Value;

use crate::core::{
    kinds::{KINDS, Kind, REPLICATION_CONTROLLERS, Subresource},
    selector::LabelSelector,
};

/// The kind that a reference of `apiVersion` and `kind` names, if its objects can be scaled. As
/// in Kubernetes, any version of its group will do.
pub fn kind_of(reference: &Value) -> Option<&'static Kind> {
    let version = reference["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let is_named = |kind: &&&'static Kind| reference["kind"] == kind.kind && kind.group == group;
    let found = KINDS.iter().find(is_named).copied();
    found.filter(|kind| kind.has(Subresource::Scale))
}

/// How many replicas are to be.
pub fn replicas(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1).max(0)
}

/// Which pods are its: a ReplicationController's selector is a plain map, others' are
/// LabelSelectors.
///
/// # Errors
/// What of the selector can't be, in words.
pub fn selector(kind: &Kind, object: &Value) -> Result<LabelSelector, String> {
    let selector = &object["spec"]["selector"];
    if kind != &REPLICATION_CONTROLLERS {
        return LabelSelector::from_json(selector);
    }
    let labels = selector.as_object().filter(|labels| !labels.is_empty());
    Ok(labels.map_or_else(LabelSelector::nothing, LabelSelector::from_map))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::kinds::{DEPLOYMENTS, REPLICA_SETS};

    #[test]
    fn references_name_what_can_be_scaled() {
        for (version, kind, expected) in [
            ("apps/v1", "Deployment", Some(&DEPLOYMENTS)),
            ("apps/v1beta2", "ReplicaSet", Some(&REPLICA_SETS)),
            (
                "v1",
                "ReplicationController",
                Some(&REPLICATION_CONTROLLERS),
            ),
            ("apps/v1", "ReplicationController", None),
            ("apps/v1", "DaemonSet", None),
            ("other/v1", "Deployment", None),
        ] {
            let reference = json!({"apiVersion": version, "kind": kind});
            assert_eq!(kind_of(&reference), expected, "{reference}");
        }
    }

    #[test]
    fn the_older_kind_has_a_plain_map() {
        let labels = json!({"app": "web"});
        let labels = labels.as_object();
        let map = json!({"spec": {"selector": {"app": "web"}}});
        let found = selector(&REPLICATION_CONTROLLERS, &map).unwrap();
        assert!(found.matches(labels));
        let none = json!({"spec": {"selector": {}}});
        let found = selector(&REPLICATION_CONTROLLERS, &none).unwrap();
        assert!(!found.matches(labels), "an empty one selects nothing");
        let wrapped = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}});
        let found = selector(&REPLICA_SETS, &wrapped).unwrap();
        assert!(found.matches(labels));
    }
}
