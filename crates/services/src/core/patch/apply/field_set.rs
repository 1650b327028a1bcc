//! Sets of fields, as trees: what a manager owns (`fieldsV1` of `managedFields`; KEP-555,
//! structured-merge-diff `fieldpath`).
//!
//! A node stands for a field; that it is in the tree only says that something at or below it is
//! in the set. Whether it is itself is `is_member`. Invariant: every node is a member or has a
//! member below it.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Map, Value};

use super::path::PathElement;

/// No object is nested deeper than what the parser of JSON reads.
const DEPTH_MAX: usize = 128;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    is_member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether no field is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a field at a path. The object as a whole, of no path, is in no set.
    pub(crate) fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let node = self.nodes.entry(first.clone()).or_default();
        match rest {
            [] => node.is_member = true,
            rest => node.below.insert(rest),
        }
    }

    /// Adds what is known of one field: whether it is in, and what is below it.
    pub(crate) fn put(&mut self, element: PathElement, is_member: bool, below: FieldSet) {
        let node = Node { is_member, below };
        if !node.is_empty() {
            self.absorb(FieldSet {
                nodes: BTreeMap::from([(element, node)]),
            });
        }
    }

    /// Whether a field of the outermost level is in it.
    pub(crate) fn has(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|node| node.is_member)
    }

    /// What is in it below a field; nothing if there is none.
    pub(crate) fn below(&self, element: &PathElement) -> Option<&FieldSet> {
        self.nodes
            .get(element)
            .map(|node| &node.below)
            .filter(|below| !below.is_empty())
    }

    /// What is in either.
    pub(crate) fn union(&self, other: &FieldSet) -> FieldSet {
        let mut union = self.clone();
        union.absorb(other.clone());
        union
    }

    /// The same, in its place.
    pub(crate) fn absorb(&mut self, other: FieldSet) {
        if self.nodes.is_empty() {
            self.nodes = other.nodes;
            return;
        }
        for (element, theirs) in other.nodes {
            match self.nodes.entry(element) {
                Entry::Vacant(place) => {
                    place.insert(theirs);
                }
                Entry::Occupied(mut mine) => {
                    let mine = mine.get_mut();
                    mine.is_member |= theirs.is_member;
                    mine.below.absorb(theirs.below);
                }
            }
        }
    }

    /// What is in both.
    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |mine, theirs| Node {
            is_member: mine.is_member && theirs.is_some_and(|node| node.is_member),
            below: theirs.map_or_else(FieldSet::default, |node| {
                mine.below.intersection(&node.below)
            }),
        })
    }

    /// What is in this one only. That a field is in the other says nothing of what is below it.
    pub(crate) fn difference(&self, other: &FieldSet) -> FieldSet {
        let mut difference = self.clone();
        difference.subtract(other);
        difference
    }

    /// The same, in its place.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        for (element, theirs) in &other.nodes {
            let Some(mine) = self.nodes.get_mut(element) else {
                continue;
            };
            mine.is_member &= !theirs.is_member;
            mine.below.subtract(&theirs.below);
            if mine.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// Takes the fields of the other out, and all that is below them.
    fn cut(&mut self, other: &FieldSet) {
        for (element, theirs) in &other.nodes {
            let Some(mine) = self.nodes.get_mut(element) else {
                continue;
            };
            mine.below.cut(&theirs.below);
            if theirs.is_member || mine.is_empty() {
                self.nodes.remove(element);
            }
        }
    }

    /// What is in this one, without the fields of the other and all that is below them.
    pub(crate) fn without(mut self, other: &FieldSet) -> FieldSet {
        self.cut(other);
        self
    }

    fn combine(&self, other: &FieldSet, with: impl Fn(&Node, Option<&Node>) -> Node) -> FieldSet {
        let nodes = self
            .nodes
            .iter()
            .map(|(element, node)| (element.clone(), with(node, other.nodes.get(element))));
        FieldSet {
            nodes: nodes.filter(|(_, node)| !node.is_empty()).collect(),
        }
    }

    /// The path of each field in it, as messages show them: `.spec.containers[name="a"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.add_paths("", &mut paths);
        paths
    }

    fn add_paths(&self, before: &str, paths: &mut Vec<String>) {
        for (element, node) in &self.nodes {
            let path = format!("{before}{element}");
            if node.is_member {
                paths.push(path.clone());
            }
            node.below.add_paths(&path, paths);
        }
    }

    /// As `fieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let fields = self.nodes.iter().map(|(element, node)| {
            let mut below = node.below.to_json();
            if node.is_member && !node.below.is_empty() {
                below["."] = Value::Object(Map::new());
            }
            (element.to_text(), below)
        });
        Value::Object(fields.collect())
    }

    /// Reads `fieldsV1`.
    ///
    /// # Errors
    /// Why it can't be read.
    pub(crate) fn from_json(fields: &Value) -> Result<FieldSet, String> {
        FieldSet::read(fields, DEPTH_MAX)
    }

    fn read(fields: &Value, levels: usize) -> Result<FieldSet, String> {
        let fields = fields
            .as_object()
            .ok_or_else(|| format!("no set of fields: {fields}"))?;
        let levels = levels.checked_sub(1).ok_or("too many levels of fields")?;
        let mut set = FieldSet::default();
        for (text, below) in fields.iter().filter(|(text, _)| *text != ".") {
            if let Some(element) = PathElement::parse(text)? {
                let below_set = FieldSet::read(below, levels)?;
                let is_member = below_set.is_empty() || below.get(".").is_some();
                set.put(element, is_member, below_set);
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn set(fields: Value) -> FieldSet {
        FieldSet::from_json(&fields).unwrap()
    }

    #[test]
    fn fields_v1_is_read_and_written() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {
                "k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}},
            }},
            "f:finalizers": {"v:\"x\"": {}, "i:0": {}},
        });
        let read = set(fields.clone());
        assert_eq!(read.to_json(), fields);
        assert_eq!(
            read.paths(),
            [
                ".finalizers[=\"x\"]",
                ".finalizers[0]",
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.containers[name=\"a\"]",
                ".spec.containers[name=\"a\"].image",
                ".spec.containers[name=\"a\"].name",
            ]
        );
        // What a later version may have is passed over.
        assert!(set(json!({"x:new": {"f:a": {}}, ".": {}})).is_empty());
        for wrong in [
            json!(1),
            json!({"f:a": 1}),
            json!({"a": {}}),
            json!({"k:{": {}}),
        ] {
            assert!(FieldSet::from_json(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_of_endless_depth_is_refused() {
        let deep = |levels| (0..levels).fold(json!({}), |below, _| json!({"f:a": below}));
        assert!(FieldSet::from_json(&deep(DEPTH_MAX - 1)).is_ok());
        assert!(FieldSet::from_json(&deep(DEPTH_MAX)).is_err());
    }

    #[test]
    fn a_parent_is_not_its_children() {
        let parent = set(json!({"f:a": {}}));
        let child = set(json!({"f:a": {"f:b": {}}}));
        assert_eq!(
            parent.union(&child),
            set(json!({"f:a": {".": {}, "f:b": {}}}))
        );
        assert!(parent.intersection(&child).is_empty());
        assert_eq!(parent.difference(&child), parent);
        assert_eq!(child.difference(&parent), child);
        assert!(child.clone().without(&parent).is_empty());
        assert_eq!(parent.clone().without(&child), parent);
    }

    fn sets() -> impl Strategy<Value = FieldSet> {
        let element = prop::sample::select(vec!["a", "b", "c"]);
        let path = prop::collection::vec(element, 1..4);
        prop::collection::vec(path, 0..8).prop_map(|paths| {
            let mut set = FieldSet::default();
            for path in paths {
                let path: Vec<PathElement> = path
                    .iter()
                    .map(|name| PathElement::Field((*name).to_owned()))
                    .collect();
                set.insert(&path);
            }
            set
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn sets_behave_as_sets(a in sets(), b in sets()) {
            prop_assert_eq!(FieldSet::from_json(&a.to_json()).expect("just written"), a.clone());
            prop_assert_eq!(a.union(&b), b.union(&a));
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
            prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
            prop_assert!(a.difference(&b).intersection(&b).is_empty());
            prop_assert!(a.clone().without(&b).difference(&a.difference(&b)).is_empty());
            prop_assert_eq!(a.difference(&b).paths().len() + a.intersection(&b).paths().len(), a.paths().len());
        }
    }
}
