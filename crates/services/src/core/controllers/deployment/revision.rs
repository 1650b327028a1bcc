//! Revisions: each template that a Deployment has had is a ReplicaSet, and the one that it has now
//! has the highest number. A template that comes back gets its ReplicaSet back, with a new number.

use serde_json::{Value, json};

use super::{
    Rollout,
    sets::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY, Set},
    template::{self, HASH_LABEL},
};
use crate::core::{
    controllers::owners::controller_reference,
    kinds::{DEPLOYMENTS, REPLICA_SETS},
    object,
};

/// How much is kept of the revisions that a ReplicaSet was.
const HISTORY_BYTES_MAX: usize = 2_000;

/// Annotations that belong to one object alone.
const OWN_ANNOTATIONS: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// There is something else with the name that the new ReplicaSet would have.
pub(super) struct Collision;

/// Parts the ReplicaSets, oldest first, into the one with the Deployment's template and the rest.
pub(super) fn split(deployment: &Value, mut sets: Vec<Set>) -> (Option<Set>, Vec<Set>) {
    sets.sort_by_cached_key(Set::age);
    let wanted = template::essence(&deployment["spec"]["template"]);
    let is_wanted = |set: &Set| template::essence(&set.object["spec"]["template"]) == wanted;
    let new = sets.iter().position(is_wanted).map(|at| sets.remove(at));
    (new, sets)
}

/// Brings the present ReplicaSet's annotations up to date.
pub(super) fn sync(rollout: &mut Rollout<'_>) {
    let next = next_revision(&rollout.old);
    let Some(new) = &mut rollout.new else {
        return;
    };
    copy_annotations(rollout.deployment, new);
    let revision = new.revision();
    if revision < next {
        if object::annotation(&new.object, REVISION).is_some() {
            note_history(new, revision);
        }
        new.annotate(REVISION, next.to_string());
    }
    let min_ready_s = rollout.numbers.min_ready_s;
    if new.object["spec"]["minReadySeconds"]
        .as_u64()
        .unwrap_or_default()
        != min_ready_s
    {
        new.object["spec"]["minReadySeconds"] = json!(min_ready_s);
    }
}

fn next_revision(old: &[Set]) -> i64 {
    let highest = old.iter().map(Set::revision).max();
    highest.unwrap_or_default().saturating_add(1)
}

fn copy_annotations(deployment: &Value, set: &mut Set) {
    let annotations = deployment["metadata"]["annotations"].as_object();
    for (key, value) in annotations.into_iter().flatten() {
        if !OWN_ANNOTATIONS.contains(&key.as_str()) {
            set.annotate(key, value.as_str().unwrap_or_default().to_owned());
        }
    }
}

fn note_history(set: &mut Set, revision: i64) {
    let before = object::annotation(&set.object, REVISION_HISTORY).unwrap_or_default();
    let mut history = match before {
        "" => revision.to_string(),
        before => format!("{before},{revision}"),
    };
    while history.len() > HISTORY_BYTES_MAX {
        history = history
            .split_once(',')
            .map_or("", |(_, rest)| rest)
            .to_owned();
    }
    set.annotate(REVISION_HISTORY, history);
}

/// Makes a ReplicaSet of the Deployment's template, with no pods yet.
pub(super) fn new_set(rollout: &Rollout<'_>) -> Result<Set, Collision> {
    let deployment = rollout.deployment;
    let template = &deployment["spec"]["template"];
    let collisions = deployment["status"]["collisionCount"].as_i64();
    let hash = template::hash(&template::essence(template), collisions.unwrap_or_default());
    let namespace = object::namespace(deployment);
    let name = format!("{}-{hash}", object::name(deployment));
    if rollout.view.get(&REPLICA_SETS, namespace, &name).is_some() {
        return Err(Collision);
    }
    let mut template = template.clone();
    let labels = object::meta_mut(&mut template).entry("labels");
    labels.or_insert_with(|| json!({}))[HASH_LABEL] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    object::child_mut(&mut selector, "matchLabels").insert(HASH_LABEL.to_owned(), json!(hash));
    let object = json!({
        "apiVersion": REPLICA_SETS.api_version(),
        "kind": REPLICA_SETS.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [controller_reference(&DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": rollout.numbers.min_ready_s,
            "selector": selector,
            "template": template,
        },
    });
    let mut set = Set::new(object);
    copy_annotations(deployment, &mut set);
    set.annotate(REVISION, next_revision(&rollout.old).to_string());
    set.note_size(&rollout.numbers);
    Ok(set)
}
