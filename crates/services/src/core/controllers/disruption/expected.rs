//! How many pods a budget expects, and how many of them are to be healthy. Where it says a part
//! of all, or how many may be missing, "all" is what the controllers of its pods ask for: so the
//! number does not sink with the pods.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::core::{
    controllers::{
        scale,
        share::{self, Round},
        world::View,
    },
    kinds::{DEPLOYMENTS, Kind, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS},
    object, versions,
};

/// The kinds whose scale counts.
pub(super) const KINDS: [&Kind; 4] = [
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &REPLICATION_CONTROLLERS,
    &STATEFUL_SETS,
];

/// The numbers of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// So many pods there are to be.
    pub(super) pods: i64,
    /// So many of them are to be healthy.
    pub(super) healthy: i64,
    /// Whether a pod could not be counted since nobody controls it.
    pub(super) has_unmanaged: bool,
}

/// Finds them out.
///
/// # Errors
/// How many pods there are to be is not known, in Kubernetes' words.
pub(super) fn count(
    view: &dyn View,
    budget: &Value,
    pods: &[Arc<Value>],
) -> Result<Expected, String> {
    let spec = &budget["spec"];
    let (least, most_missing) = (&spec["minAvailable"], &spec["maxUnavailable"]);
    if !most_missing.is_null() {
        let (all, has_unmanaged) = scales(view, pods)?;
        return Ok(Expected {
            pods: all,
            healthy: (all - amount(most_missing, all)?).max(0),
            has_unmanaged,
        });
    }
    match least {
        Value::Null => Ok(Expected::default()),
        Value::Number(number) => Ok(Expected {
            pods: i64::try_from(pods.len()).unwrap_or(i64::MAX),
            healthy: number.as_i64().unwrap_or_default(),
            has_unmanaged: false,
        }),
        least => {
            let (all, has_unmanaged) = scales(view, pods)?;
            Ok(Expected {
                pods: all,
                healthy: amount(least, all)?,
                has_unmanaged,
            })
        }
    }
}

/// A number, or a percentage of all, rounded up.
fn amount(value: &Value, all: i64) -> Result<i64, String> {
    share::of(value, all, Round::Up).ok_or_else(|| {
        "invalid value for IntOrString: invalid type: string is not a percentage".to_owned()
    })
}

/// The sum of what the controllers of the pods ask for; and whether a pod has none.
fn scales(view: &dyn View, pods: &[Arc<Value>]) -> Result<(i64, bool), String> {
    let mut scales: BTreeMap<String, i64> = BTreeMap::new();
    let mut has_unmanaged = false;
    for pod in pods {
        match object::controller(pod) {
            None => has_unmanaged = true,
            Some(owner) => {
                let (uid, replicas) = scale_of(view, pod, owner)?;
                scales.insert(uid, replicas);
            }
        }
    }
    let sum = scales
        .values()
        .fold(0_i64, |sum, one| sum.saturating_add(*one));
    Ok((sum, has_unmanaged))
}

/// The scale of what controls a pod: its Deployment's, where there is one, since a rollout has
/// pods of several ReplicaSets.
fn scale_of(view: &dyn View, pod: &Value, owner: &Value) -> Result<(String, i64), String> {
    let version = owner["apiVersion"].as_str().unwrap_or_default();
    let kind_name = owner["kind"].as_str().unwrap_or_default();
    let Some(kind) = scale::kind_of(owner) else {
        return Err(match versions::by_name(version, kind_name) {
            Some(kind) => {
                let resource = match kind.group {
                    "" => kind.plural.to_owned(),
                    group => format!("{}.{group}", kind.plural),
                };
                format!("{resource} does not implement the scale subresource")
            }
            None => format!("no matches for kind {kind_name:?} in version {version:?}"),
        });
    };
    let namespace = object::namespace(pod);
    let found = owned_by(view, kind, namespace, owner);
    let found =
        found.ok_or_else(|| format!("found no controllers for pod {:?}", object::name(pod)))?;
    let above = object::controller(&found)
        .filter(|above| kind == &REPLICA_SETS && scale::kind_of(above) == Some(&DEPLOYMENTS))
        .and_then(|above| owned_by(view, &DEPLOYMENTS, namespace, above));
    let counted = above.unwrap_or(found);
    Ok((object::uid(&counted).to_owned(), scale::replicas(&counted)))
}

/// The object that an owner reference means.
fn owned_by(
    view: &dyn View,
    kind: &'static Kind,
    namespace: &str,
    owner: &Value,
) -> Option<Arc<Value>> {
    let name = owner["name"].as_str().unwrap_or_default();
    let found = view.get(kind, namespace, name);
    found.filter(|found| owner["uid"] == object::uid(found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_rounded_up() {
        for (value, all, expected) in [
            (json!(3), 10, 3),
            (json!("50%"), 7, 4),
            (json!("1%"), 7, 1),
            (json!("0%"), 7, 0),
            (json!("100%"), 7, 7),
        ] {
            assert_eq!(amount(&value, all), Ok(expected), "{value}");
        }
        for wrong in [json!("50"), json!("x%"), json!("-1%"), json!(true)] {
            assert!(amount(&wrong, 7).is_err(), "{wrong}");
        }
    }
}
