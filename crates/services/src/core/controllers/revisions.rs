//! The revisions of a workload's pod template, as StatefulSets and DaemonSets keep them: one
//! ControllerRevision for each template that there was, the present one with the highest number
//! (Kubernetes API "ControllerRevision"; `kubectl rollout history` and `undo` read them).
//!
//! A revision's `data` is a strategic merge patch that brings the template back,
//! `{"spec":{"template":{…,"$patch":"replace"}}}`: `undo` sends it to the server as it stands, and
//! finds revisions by the labels of the template and by their controller. A template that comes
//! back gets its revision back, with a new number.
//!
//! The name follows from the owner's name and the template, so that who plans the same again
//! makes the same. Where something else has the name, a salt makes it another one.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    essence::without_empty,
    owners::{self, hash_text},
    world::{self, Change, Step, View},
};
use crate::core::{
    kinds::{CONTROLLER_REVISIONS, Kind, PODS},
    object::{self, Name},
    selector::LabelSelector,
};

/// The label of pods that says of which revision they are.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";
/// The label of revisions that says their hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// How long the hash is.
const HASH_LENGTH: usize = 10;
/// How much of the owner's name stands before the hash, so that the whole is a label.
const PREFIX_LENGTH_MAX: usize = 63 - 1 - HASH_LENGTH;
/// How many are kept beside those in use if nothing is said.
const HISTORY_LIMIT: usize = 10;
/// What makes the template's patch replace all that is there.
const DIRECTIVE: &str = "$patch";
/// Annotations that belong to the owner alone; revisions get the others.
const OWN_ANNOTATIONS: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.daemonset.template.generation",
    super::stateful_set::PLACES,
    super::stateful_set::PLACES_GONE,
];

/// The revisions of one workload, while a plan is made.
pub(super) struct History {
    /// All of them as they are once the steps are done, the oldest first. The last one is that of
    /// the present template.
    pub(super) revisions: Vec<Arc<Value>>,
    /// Adoptions and releases, and what makes the present template's revision the newest one.
    pub(super) steps: Vec<Step>,
    /// What `status.collisionCount` is to be.
    pub(super) collisions: i64,
}

/// Brings the revisions of a workload, which is not being deleted, up to its template. `kind`: the
/// owner's.
pub(super) fn sync(
    view: &dyn View,
    kind: &'static Kind,
    owner: &Value,
    selector: &LabelSelector,
) -> History {
    let claims = owners::claim(view, kind, owner, &CONTROLLER_REVISIONS, selector);
    let mut history = History {
        revisions: claims.owned,
        steps: claims.steps,
        collisions: collisions(owner),
    };
    history.revisions.sort_by_cached_key(|it| age(it));
    let wanted = essence(&owner["spec"]["template"]);
    let is_wanted = |it: &Arc<Value>| essence(&it["data"]["spec"]["template"]) == wanted;
    let at = history.revisions.iter().rposition(is_wanted);
    let next = history
        .revisions
        .last()
        .map_or(0, |it| number(it))
        .saturating_add(1);
    match at {
        Some(at) if at + 1 == history.revisions.len() => {}
        Some(at) => history.renumber(at, next),
        None => history.add(view, kind, owner, &wanted, next),
    }
    history
}

impl History {
    /// The one of the present template.
    pub(super) fn update(&self) -> &Value {
        self.revisions.last().expect("it was made, if need be")
    }

    /// The one of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        let mut all = self.revisions.iter();
        all.find(|it| object::name(it) == name).map(|it| &**it)
    }

    /// An old revision becomes the newest.
    fn renumber(&mut self, at: usize, number: i64) {
        let mut object = (*self.revisions.remove(at)).clone();
        object["revision"] = json!(number);
        // If it is adopted in the same plan, that is one write.
        let is_adoption = |step: &Step| match step {
            Step::Update { object: it, .. } => object::name(it) == object::name(&object),
            _ => false,
        };
        self.steps.retain(|step| !is_adoption(step));
        self.steps.push(Step::Update {
            kind: &CONTROLLER_REVISIONS,
            object: object.clone(),
        });
        self.revisions.push(Arc::new(object));
    }

    fn add(
        &mut self,
        view: &dyn View,
        kind: &'static Kind,
        owner: &Value,
        essence: &Value,
        number: i64,
    ) {
        let namespace = object::namespace(owner);
        let is_free = |(_, hash): &(i64, String)| {
            let name = name(owner, hash);
            view.get(&CONTROLLER_REVISIONS, namespace, &name).is_none()
        };
        let hashes = (self.collisions..).map(|salt| (salt, hash(essence, salt)));
        let (salt, hash) = { hashes }
            .find(is_free)
            .expect("there are more names than objects");
        self.collisions = salt;
        let object = revision(kind, owner, &hash, number);
        self.steps.push(Step::Create {
            kind: &CONTROLLER_REVISIONS,
            object: object.clone(),
        });
        self.revisions.push(Arc::new(object));
    }

    /// Deletes the oldest of those that are not in use, if there are more than
    /// `spec.revisionHistoryLimit` of them. `live`: the names of those in use; the newest always
    /// is.
    pub(super) fn truncation(&self, owner: &Value, live: &BTreeSet<&str>) -> Vec<Step> {
        let limit = owner["spec"]["revisionHistoryLimit"].as_u64();
        let limit = limit.map_or(HISTORY_LIMIT, |it| {
            usize::try_from(it).unwrap_or(usize::MAX)
        });
        let (_, before) = self.revisions.split_last().expect("the newest is there");
        let idle: Vec<&Arc<Value>> = before
            .iter()
            .filter(|it| !live.contains(object::name(it)) && !object::is_being_deleted(it))
            .collect();
        let surplus = idle.len().saturating_sub(limit);
        let oldest = idle.into_iter().take(surplus);
        oldest
            .map(|it| world::delete(&CONTROLLER_REVISIONS, it))
            .collect()
    }
}

/// The template that a revision brings back.
pub(super) fn template(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove(DIRECTIVE);
    }
    template
}

/// The hash in a revision's name.
pub(super) fn hash_of(revision: &Value) -> &str {
    let label = object::label(revision, HASH_LABEL);
    label
        .or_else(|| object::label(revision, REVISION_LABEL))
        .unwrap_or_default()
}

fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or_default()
}

/// In order of number; what was made elsewhere may have one number twice.
fn age(revision: &Value) -> (i64, String, String) {
    let meta = |field| object::meta(revision, field).to_owned();
    (number(revision), meta("creationTimestamp"), meta("name"))
}

fn collisions(owner: &Value) -> i64 {
    let count = owner["status"]["collisionCount"].as_i64();
    count.unwrap_or_default().clamp(0, i64::from(i32::MAX))
}

fn hash(essence: &Value, salt: i64) -> String {
    // JSON of the same value is the same text: its fields are in order.
    let text = format!("{essence}/{salt}");
    hash_text(text.as_bytes(), HASH_LENGTH)
}

fn name(owner: &Value, hash: &str) -> String {
    let prefix = object::name(owner);
    let prefix = &prefix[..prefix.floor_char_boundary(PREFIX_LENGTH_MAX)];
    format!("{prefix}-{hash}")
}

fn revision(kind: &'static Kind, owner: &Value, hash: &str, number: i64) -> Value {
    let template = &owner["spec"]["template"];
    let mut labels = template["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[HASH_LABEL] = json!(hash);
    labels[REVISION_LABEL] = json!(hash);
    let mut data = template.clone();
    data[DIRECTIVE] = json!("replace");
    let mut object = json!({
        "apiVersion": CONTROLLER_REVISIONS.api_version(),
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": name(owner, hash),
            "namespace": object::namespace(owner),
            "labels": labels,
            "ownerReferences": [owners::controller_reference(kind, owner)],
        },
        "data": {"spec": {"template": data}},
        "revision": number,
    });
    let annotations = owner["metadata"]["annotations"].as_object();
    let annotations: Map<String, Value> = annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = Value::Object(annotations);
    }
    object
}

/// A template without what makes no difference.
fn essence(template: &Value) -> Value {
    let mut template = without_empty(template);
    if let Some(fields) = template.as_object_mut() {
        fields.remove(DIRECTIVE);
        if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("creationTimestamp");
        }
        if fields
            .get("metadata")
            .is_some_and(|meta| *meta == json!({}))
        {
            fields.remove("metadata");
        }
    }
    template
}

/// Which workloads of a kind that keeps revisions a change is about: itself, or whose the pod or
/// the revision is, or whose it could become.
pub(super) fn touched(view: &dyn View, kind: &'static Kind, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    if change.kind == kind {
        keys.extend(change.name());
    } else if change.kind == &PODS || change.kind == &CONTROLLER_REVISIONS {
        for object in change.sides() {
            workloads_of(view, kind, object, &mut keys);
        }
    }
    keys
}

fn workloads_of(view: &dyn View, kind: &'static Kind, object: &Value, keys: &mut Vec<Name>) {
    let namespace = object::namespace(object);
    if let Some(owner) = object::controller(object) {
        let name = owner["name"].as_str().unwrap_or_default();
        let found = view.get(kind, namespace, name);
        if let Some(found) = found.filter(|found| owner["uid"] == object::uid(found)) {
            world::push_once(keys, Name::of(kind, &found));
        }
        return;
    }
    for found in view.list(kind, Some(namespace)) {
        let selector = LabelSelector::from_json(&found["spec"]["selector"]);
        if selector.is_ok_and(|selector| owners::selects(&selector, object)) {
            world::push_once(keys, Name::of(kind, &found));
        }
    }
}

#[cfg(test)]
mod tests;
