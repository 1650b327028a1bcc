//! Who controls whom: `ownerReferences` with `controller: true`. A controller adopts objects that
//! its selector means and that nobody controls, and lets go those that it no longer means
//! (Kubernetes design "ControllerRef"). Also the names of what it makes.

use std::sync::Arc;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::world::{Step, View};
use crate::core::{kinds::Kind, object, selector::LabelSelector};

/// Letters and digits that make no words and are not taken for one another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How long the part of a name is that tells apart what one owner made.
const SUFFIX_LENGTH: usize = 5;
/// How much of the owner's name stands before it, so that the whole is a label.
const BASE_LENGTH_MAX: usize = 63 - SUFFIX_LENGTH;

/// A hash as text that can be a part of a name.
pub(super) fn hash_text(bytes: &[u8], length: usize) -> String {
    let mut left = xxh3_64(bytes);
    let radix = ALPHABET.len() as u64;
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        text.push(char::from(ALPHABET[(left % radix) as usize]));
        left /= radix;
    }
    text
}

/// What the names of an owner's objects begin with.
pub(super) fn base_name(owner: &Value) -> String {
    let mut base = format!("{}-", object::name(owner));
    base.truncate(base.floor_char_boundary(BASE_LENGTH_MAX));
    base
}

/// Names for what an owner makes, without those that are taken. They follow from the owner at one
/// revision: who plans the same again gets the same names, and since its status tells how many
/// there are, what is made in the place of something that is gone gets another one.
pub(super) fn free_names<'a>(
    owner: &'a Value,
    is_taken: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    let base = base_name(owner);
    let name = move |ordinal: u64| {
        let seed = format!("{}/{}/{ordinal}", object::uid(owner), revision(owner));
        format!("{base}{}", hash_text(seed.as_bytes(), SUFFIX_LENGTH))
    };
    (0..).map(name).filter(move |name| !is_taken(name))
}

/// What tells an owner's state from those before it, in seeds of names.
pub(super) fn revision(owner: &Value) -> &str {
    object::meta(owner, "resourceVersion")
}

/// The entry of `ownerReferences` for who controls.
pub(super) fn controller_reference(kind: &'static Kind, owner: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "name": object::name(owner),
        "uid": object::uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether the owner of this uid controls it.
pub(super) fn is_controlled_by(object: &Value, uid: &str) -> bool {
    object::controller(object).is_some_and(|owner| owner["uid"] == uid)
}

/// The entries of `ownerReferences`.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten()
}

/// The object without those owners.
pub(super) fn without_owners(object: &Value, is_dropped: impl Fn(&Value) -> bool) -> Value {
    let left: Vec<Value> = owners(object)
        .filter(|owner| !is_dropped(owner))
        .cloned()
        .collect();
    let mut object = object.clone();
    let meta = object::meta_mut(&mut object);
    match left.is_empty() {
        true => meta.remove("ownerReferences"),
        false => meta.insert("ownerReferences".to_owned(), Value::Array(left)),
    };
    object
}

fn with_owner(object: &Value, reference: &Value) -> Value {
    let all: Vec<Value> = owners(object).chain([reference]).cloned().collect();
    let mut object = object.clone();
    object::meta_mut(&mut object).insert("ownerReferences".to_owned(), Value::Array(all));
    object
}

/// The selector of a workload. None if it can't be read: validation lets none such in, and a plan
/// that told of it would be made again and again.
pub(super) fn selector(owner: &Value) -> Option<LabelSelector> {
    LabelSelector::from_json(&owner["spec"]["selector"]).ok()
}

/// Whether an object has the labels that are wanted.
pub(super) fn selects(selector: &LabelSelector, object: &Value) -> bool {
    selector.matches(object["metadata"]["labels"].as_object())
}

/// What a controller has.
pub(super) struct Claims {
    /// What it controls, once the steps are done, in order of name.
    pub(super) owned: Vec<Arc<Value>>,
    /// Adoptions and releases.
    pub(super) steps: Vec<Step>,
}

/// Finds the objects of a kind that an owner controls. One that is being deleted takes and lets
/// go nothing.
pub(super) fn claim(
    view: &dyn View,
    owner_kind: &'static Kind,
    owner: &Value,
    kind: &'static Kind,
    selector: &LabelSelector,
) -> Claims {
    let (namespace, uid) = (object::namespace(owner), object::uid(owner));
    let is_ending = object::is_being_deleted(owner);
    let mut claims = Claims {
        owned: Vec::new(),
        steps: Vec::new(),
    };
    for found in view.by_owner(kind, uid) {
        if !is_controlled_by(&found, uid) || object::namespace(&found) != namespace {
            continue;
        }
        if selects(selector, &found) {
            claims.owned.push(found);
        } else if !is_ending {
            let object = without_owners(&found, |owner| owner["uid"] == uid);
            claims.steps.push(Step::Update { kind, object });
        }
    }
    if is_ending {
        return claims;
    }
    let reference = controller_reference(owner_kind, owner);
    for found in view.orphans(kind, namespace) {
        if selects(selector, &found) && !object::is_being_deleted(&found) {
            let object = with_owner(&found, &reference);
            claims.owned.push(Arc::new(object.clone()));
            claims.steps.push(Step::Update { kind, object });
        }
    }
    claims
        .owned
        .sort_by(|a, b| object::name(a).cmp(object::name(b)));
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_each_time_and_skip_what_is_taken() {
        let owner = json!({"metadata": {"name": "web", "uid": "u-1"}});
        let free: Vec<String> = free_names(&owner, |_| false).take(3).collect();
        assert_eq!(
            free,
            free_names(&owner, |_| false).take(3).collect::<Vec<_>>()
        );
        let rest: Vec<String> = free_names(&owner, |name| name == free[1]).take(2).collect();
        assert_eq!(rest, [free[0].clone(), free[2].clone()]);
        let other = |uid: &str, version: &str| {
            let meta = json!({"name": "web", "uid": uid, "resourceVersion": version});
            let owner = json!({"metadata": meta});
            free_names(&owner, |_| false).next().unwrap()
        };
        assert_ne!(other("u-2", ""), free[0]);
        // What is gone by now had another name.
        assert_ne!(other("u-1", "1"), other("u-1", "2"));
    }

    #[test]
    fn names_are_labels() {
        let owner = json!({"metadata": {"name": "w".repeat(200), "uid": "u-1"}});
        let name = free_names(&owner, |_| false).next().unwrap();
        assert_eq!(name.len(), 63);
        let suffix = &name.as_bytes()[58..];
        assert!(suffix.iter().all(|byte| ALPHABET.contains(byte)));
    }
}
