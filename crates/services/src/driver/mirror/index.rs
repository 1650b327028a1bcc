//! Objects by what planners ask for all the time: those of an owner, those that nobody controls,
//! and pods by their node. Without it each such question would look at every object there is.
//!
//! Invariant: what is in a group is the newest object, and in no group that it does not belong to.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use serde_json::Value;

use crate::core::{kinds, object};

/// The kind's place, namespace and name.
type Entry = (usize, String, String);
/// In order of kind, namespace and name.
type Group = BTreeMap<Entry, Arc<Value>>;

/// All groups.
#[derive(Default)]
pub(super) struct Index {
    /// By the owner's uid.
    owned: BTreeMap<String, Group>,
    /// What nobody controls.
    orphans: Group,
    /// Pods by the name of the Node that they are bound to.
    on_node: BTreeMap<String, Group>,
}

impl Index {
    /// An object has become another one, is new, or is gone.
    pub(super) fn put(
        &mut self,
        place: usize,
        (namespace, name): (&str, &str),
        old: Option<&Arc<Value>>,
        new: Option<&Arc<Value>>,
    ) {
        let entry = || (place, namespace.to_owned(), name.to_owned());
        for owner in old.into_iter().flat_map(|old| owners(old)) {
            let stays = new.is_some_and(|new| owners(new).any(|it| it == owner));
            if !stays {
                remove(&mut self.owned, owner, &entry());
            }
        }
        for owner in new.into_iter().flat_map(|new| owners(new)) {
            insert(&mut self.owned, owner, entry(), new);
        }
        match new.filter(|new| object::controller(new).is_none()) {
            Some(orphan) => drop(self.orphans.insert(entry(), orphan.clone())),
            None if old.is_some_and(|old| object::controller(old).is_none()) => {
                self.orphans.remove(&entry());
            }
            None => {}
        }
        if std::ptr::eq(kinds::KINDS[place], &kinds::PODS) {
            let (was, is) = (old.and_then(|it| node(it)), new.and_then(|it| node(it)));
            if let Some(was) = was.filter(|was| is != Some(was)) {
                remove(&mut self.on_node, was, &entry());
            }
            if let Some(is) = is {
                insert(&mut self.on_node, is, entry(), new);
            }
        }
    }

    /// The objects of a kind that have an owner of this uid.
    pub(super) fn by_owner(&self, place: usize, owner_uid: &str) -> Vec<Arc<Value>> {
        let of_kind = |group: &Group| {
            let from = (place, String::new(), String::new());
            let all = group.range((Bound::Included(from), Bound::Unbounded));
            all.take_while(|((at, ..), _)| *at == place)
                .map(|(_, object)| object.clone())
                .collect()
        };
        self.owned.get(owner_uid).map(of_kind).unwrap_or_default()
    }

    /// The objects of a kind in a namespace that nobody controls.
    pub(super) fn orphans(&self, place: usize, namespace: &str) -> Vec<Arc<Value>> {
        let from = (place, namespace.to_owned(), String::new());
        let all = self
            .orphans
            .range((Bound::Included(from), Bound::Unbounded));
        all.take_while(|((at, inside, _), _)| *at == place && inside == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The pods that are bound to a Node.
    pub(super) fn on_node(&self, node: &str) -> Vec<Arc<Value>> {
        let group = self.on_node.get(node).into_iter();
        group.flat_map(|group| group.values().cloned()).collect()
    }

    /// The names of the Nodes that pods are bound to.
    pub(super) fn nodes_in_use(&self) -> Vec<String> {
        self.on_node.keys().cloned().collect()
    }
}

/// What a pod is bound to.
fn node(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|it| !it.is_empty())
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let list = object["metadata"]["ownerReferences"].as_array();
    let uids = list
        .into_iter()
        .flatten()
        .map(|owner| owner["uid"].as_str());
    uids.flatten()
}

fn insert(groups: &mut BTreeMap<String, Group>, of: &str, entry: Entry, new: Option<&Arc<Value>>) {
    let Some(new) = new.cloned() else { return };
    match groups.get_mut(of) {
        Some(group) => drop(group.insert(entry, new)),
        None => drop(groups.insert(of.to_owned(), Group::from([(entry, new)]))),
    }
}

fn remove(groups: &mut BTreeMap<String, Group>, of: &str, entry: &Entry) {
    if let Some(group) = groups.get_mut(of) {
        group.remove(entry);
        if group.is_empty() {
            groups.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(owners: &Value, node: Option<&str>) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"name": "p", "namespace": "n", "ownerReferences": owners},
            "spec": {"nodeName": node},
        }))
    }

    #[test]
    fn an_object_is_in_the_groups_that_it_belongs_to_now() {
        let place = kinds::KINDS
            .iter()
            .position(|it| std::ptr::eq(*it, &kinds::PODS))
            .unwrap();
        let of = |uid: &str| json!([{"uid": uid, "controller": true}]);
        let steps = [
            Some(pod(&json!([]), None)),
            Some(pod(&json!([]), Some("a"))),
            Some(pod(&of("u"), Some("a"))),
            Some(pod(&of("w"), Some("b"))),
            None,
        ];
        let mut index = Index::default();
        let mut old = None;
        for (step, new) in steps.into_iter().enumerate() {
            index.put(place, ("n", "p"), old.as_ref(), new.as_ref());
            let is_in = |group: Vec<Arc<Value>>| group.iter().any(|it| Some(it) == new.as_ref());
            let found = [
                is_in(index.orphans(place, "n")),
                is_in(index.on_node("a")),
                is_in(index.on_node("b")),
                is_in(index.by_owner(place, "u")),
                is_in(index.by_owner(place, "w")),
            ];
            let expected = [
                [true, false, false, false, false],
                [true, true, false, false, false],
                [false, true, false, true, false],
                [false, false, true, false, true],
                [false; 5],
            ];
            assert_eq!(found, expected[step], "{step}");
            old = new;
        }
        assert!(index.owned.is_empty() && index.on_node.is_empty() && index.orphans.is_empty());
        assert!(index.orphans(place, "m").is_empty() && index.nodes_in_use().is_empty());
    }
}
