//! Objects whose owners are gone. One plan looks at one object, as a dependent and as an owner:
//!
//! - As a dependent: if all its owners are gone, or wait for it to go, it is deleted. If some are
//!   gone or wait and others stay, it loses the references to the former.
//! - As an owner that is being deleted: with the finalizer `foregroundDeletion` it waits until no
//!   dependent with `blockOwnerDeletion` is left; with `orphan` it takes the references to itself
//!   out of its dependents.
//!
//! Owners that own each other don't hang: who would wait for itself takes `blockOwnerDeletion` out
//! of its references first. (Kubernetes documentation, "Garbage Collection"; design "Synchronous
//! Garbage Collection".)

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    owners,
    world::{self, BURST, Change, Plan, Step, View},
};
use crate::core::{
    kinds::{KINDS, Kind},
    lifecycle::{Deletion, FOREGROUND, ORPHAN, Propagation},
    object::{self, Name},
    versions,
};

/// How many objects that wait for one another are looked at; if there are more, they count as a
/// cycle, so that nothing hangs.
const WAITING_MAX: usize = 10_000;

/// What to do about one object.
pub(super) fn plan(view: &dyn View, key: &Name) -> Plan {
    let Some(found) = view.get(key.kind, &key.namespace, &key.name) else {
        return Plan::default();
    };
    if !object::is_being_deleted(&found) {
        return Plan::of(of_dependent(view, key.kind, &found).into_iter().collect());
    }
    if has_finalizer(&found, ORPHAN) {
        return Plan::of(let_go(view, key.kind, &found));
    }
    let mut steps = Vec::new();
    if has_finalizer(&found, FOREGROUND) {
        let is_blocked = dependents(view, object::uid(&found))
            .any(|(_, dependent)| blocks(&dependent, object::uid(&found)));
        match is_blocked {
            true => steps.extend(unblock(view, key.kind, &found)),
            false => steps.push(without_finalizer(key.kind, &found, FOREGROUND)),
        }
    }
    Plan::of(steps)
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object::finalizers(object).any(|one| one == finalizer)
}

/// Whether it is being deleted after its dependents.
fn is_waiting(object: &Value) -> bool {
    object::is_being_deleted(object) && has_finalizer(object, FOREGROUND)
}

/// Every object with an owner of this uid.
fn dependents<'a>(
    view: &'a dyn View,
    owner_uid: &'a str,
) -> impl Iterator<Item = (&'static Kind, Arc<Value>)> + 'a {
    KINDS.iter().flat_map(move |kind| {
        let found = view.by_owner(kind, owner_uid).into_iter();
        found.map(move |object| (*kind, object))
    })
}

/// Whether an owner has to wait for it.
fn blocks(dependent: &Value, owner_uid: &str) -> bool {
    owners::owners(dependent)
        .any(|owner| owner["uid"] == owner_uid && owner["blockOwnerDeletion"] == true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Stays,
    Waits,
    Gone,
}

fn look_up(view: &dyn View, dependent: &Value, reference: &Value) -> Owner {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let Some(kind) = versions::kept_by_name(text("apiVersion"), text("kind")) else {
        // Nobody here knows of such objects: nobody here can say that it is gone.
        return Owner::Stays;
    };
    let namespace = match (kind.is_namespaced, object::namespace(dependent)) {
        (false, _) => "",
        // What is in no namespace can't be owned by what is in one; nothing follows from that.
        (true, "") => return Owner::Stays,
        (true, namespace) => namespace,
    };
    let found = view.get(kind, namespace, text("name"));
    match found.filter(|owner| object::uid(owner) == text("uid")) {
        None => Owner::Gone,
        Some(owner) if is_waiting(&owner) => Owner::Waits,
        Some(_) => Owner::Stays,
    }
}

fn of_dependent(view: &dyn View, kind: &'static Kind, found: &Value) -> Option<Step> {
    let states: Vec<Owner> = owners::owners(found)
        .map(|reference| look_up(view, found, reference))
        .collect();
    if states.iter().all(|state| *state == Owner::Stays) {
        return None;
    }
    if states.contains(&Owner::Stays) {
        let object = owners::without_owners(found, |reference| {
            look_up(view, found, reference) != Owner::Stays
        });
        return Some(Step::Update { kind, object });
    }
    let has_dependents = || dependents(view, object::uid(found)).next().is_some();
    let propagation = match states.contains(&Owner::Waits) && has_dependents() {
        true => {
            if let Some(step) = unblock(view, kind, found) {
                return Some(step);
            }
            Some(Propagation::Foreground)
        }
        false => None,
    };
    Some(Step::Delete {
        name: Name::of(kind, found),
        deletion: Deletion {
            uid: Some(object::uid(found).to_owned()),
            // If its owners change meanwhile, it may have one that stays.
            resource_version: Some(object::meta(found, "resourceVersion").to_owned()),
            propagation,
            ..Deletion::default()
        },
    })
}

/// If an object waits, or would wait, for itself, its owners need not wait for it.
fn unblock(view: &dyn View, kind: &'static Kind, found: &Value) -> Option<Step> {
    let is_blocking = owners::owners(found).any(|owner| owner["blockOwnerDeletion"] == true);
    if !is_blocking || !is_in_cycle(view, object::uid(found)) {
        return None;
    }
    let mut object = found.clone();
    let references = object["metadata"]["ownerReferences"].as_array_mut();
    for reference in references.into_iter().flatten() {
        if reference["blockOwnerDeletion"] == true {
            reference["blockOwnerDeletion"] = json!(false);
        }
    }
    Some(Step::Update { kind, object })
}

/// Whether what an object waits for waits, in the end, for the object.
fn is_in_cycle(view: &dyn View, uid: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![uid.to_owned()];
    while let Some(owner_uid) = next.pop() {
        for (_, dependent) in dependents(view, &owner_uid) {
            if !blocks(&dependent, &owner_uid) {
                continue;
            }
            let its_uid = object::uid(&dependent);
            if its_uid == uid || seen.len() > WAITING_MAX {
                return true;
            }
            if is_waiting(&dependent) && seen.insert(its_uid.to_owned()) {
                next.push(its_uid.to_owned());
            }
        }
    }
    false
}

/// Takes an owner out of its dependents, and its finalizer when that is done.
fn let_go(view: &dyn View, kind: &'static Kind, owner: &Value) -> Vec<Step> {
    let uid = object::uid(owner);
    let mut steps: Vec<Step> = dependents(view, uid)
        .take(BURST)
        .map(|(kind, dependent)| Step::Update {
            kind,
            object: owners::without_owners(&dependent, |reference| reference["uid"] == uid),
        })
        .collect();
    if steps.is_empty() {
        steps.push(without_finalizer(kind, owner, ORPHAN));
    }
    steps
}

fn without_finalizer(kind: &'static Kind, object: &Value, finalizer: &str) -> Step {
    let left: Vec<Value> = object::finalizers(object)
        .filter(|one| *one != finalizer)
        .map(|one| json!(one))
        .collect();
    let mut object = object.clone();
    let meta = object::meta_mut(&mut object);
    match left.is_empty() {
        true => meta.remove("finalizers"),
        false => meta.insert("finalizers".to_owned(), Value::Array(left)),
    };
    Step::Update { kind, object }
}

/// Which objects a change is about: the object itself if it is owned, or ends as an owner; the
/// dependents of an owner that is gone or has begun to wait; the owners that wait for a dependent.
pub(super) fn touched(view: &dyn View, change: &Change<'_>) -> Vec<Name> {
    let mut keys = Vec::new();
    let uid = change.sides().next().map(object::uid).unwrap_or_default();
    let has_other_owners = references(change.old) != references(change.new);
    let waited = change.old.is_some_and(is_waiting);
    let waits = change.new.is_some_and(is_waiting);
    if let Some(new) = change.new {
        let ends = object::is_being_deleted(new) && (waits || has_finalizer(new, ORPHAN));
        if ends || has_other_owners {
            keys.push(Name::of(change.kind, new));
        }
    }
    let is_replaced = change.sides().any(|side| object::uid(side) != uid);
    if change.new.is_none() || is_replaced || (waits && !waited) {
        keys.extend(dependents(view, uid).map(|(kind, it)| Name::of(kind, &it)));
    }
    if has_other_owners || change.new.is_none() || (waits && !waited) {
        waiting_owners(view, change, &mut keys);
    }
    if let (Some(owner), true) = (change.old, has_other_owners) {
        // It may be the last one that a letting go owner had to wait for.
        letting_go(view, owner, &mut keys);
    }
    keys
}

fn references(side: Option<&Value>) -> Option<&Vec<Value>> {
    side?["metadata"]["ownerReferences"].as_array()
}

fn waiting_owners(view: &dyn View, change: &Change<'_>, keys: &mut Vec<Name>) {
    for side in change.sides() {
        for (kind, owner) in owners_of(view, side) {
            if is_waiting(&owner) {
                world::push_once(keys, Name::of(kind, &owner));
            }
        }
    }
}

fn letting_go(view: &dyn View, dependent: &Value, keys: &mut Vec<Name>) {
    for (kind, owner) in owners_of(view, dependent) {
        if object::is_being_deleted(&owner) && has_finalizer(&owner, ORPHAN) {
            world::push_once(keys, Name::of(kind, &owner));
        }
    }
}

fn owners_of(view: &dyn View, dependent: &Value) -> Vec<(&'static Kind, Arc<Value>)> {
    let find = |reference: &Value| {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let kind = versions::kept_by_name(text("apiVersion"), text("kind"))?;
        let namespace = match kind.is_namespaced {
            true => object::namespace(dependent),
            false => "",
        };
        let owner = view.get(kind, namespace, text("name"))?;
        (object::uid(&owner) == text("uid")).then_some((kind, owner))
    };
    owners::owners(dependent).filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kinds::CONFIG_MAPS;

    struct OneDependent;

    impl View for OneDependent {
        fn get(&self, _: &'static Kind, _: &str, _: &str) -> Option<Arc<Value>> {
            None
        }

        fn list(&self, _: &'static Kind, _: Option<&str>) -> Vec<Arc<Value>> {
            Vec::new()
        }

        fn by_owner(&self, kind: &'static Kind, owner_uid: &str) -> Vec<Arc<Value>> {
            let is_its = kind == &CONFIG_MAPS && owner_uid == "u-old";
            let dependent = json!({"metadata": {"name": "dependent", "namespace": "default"}});
            is_its.then(|| Arc::new(dependent)).into_iter().collect()
        }
    }

    #[test]
    fn dependents_are_woken_when_another_object_has_taken_the_name() {
        let object = |uid: &str| json!({"metadata": {"name": "owner", "uid": uid}});
        let (old, new) = (object("u-old"), object("u-new"));
        let woken = |new: &Value| {
            let change = Change {
                kind: &CONFIG_MAPS,
                old: Some(&old),
                new: Some(new),
            };
            let names = touched(&OneDependent, &change).into_iter();
            names.map(|name| name.name).collect::<Vec<_>>()
        };
        assert_eq!(woken(&new), ["dependent"]);
        assert!(woken(&old).is_empty());
    }
}
