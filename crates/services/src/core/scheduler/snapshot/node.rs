//! A node as the scheduler sees it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    super::{
        amounts::{self, Amounts, Scored},
        hash,
        pod::Pod,
    },
    machines::MachineId,
};

/// So many sets of taints more than twice the nodes are kept of nodes that have changed.
const SPARE_TAINT_SETS_MAX: usize = 64;
/// The taint that stands for `spec.unschedulable`.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A node's place in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Slot(pub(in super::super) u32);

impl Slot {
    /// As a place in a vector.
    pub(in super::super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of taints' place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct TaintSetId(pub(in super::super) usize);

/// What a node's object says.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Facts {
    pub(in super::super) allocatable: Amounts,
    pub(in super::super) labels: Map<String, Value>,
    pub(in super::super) taints: TaintSetId,
    pub(in super::super) is_unschedulable: bool,
}

/// A node, or pods that say that they are on one.
#[derive(Debug)]
pub(in super::super) struct Node {
    pub(in super::super) name: String,
    /// Of its name.
    pub(in super::super) hash: u64,
    /// None: there is no such node.
    pub(in super::super) facts: Option<Facts>,
    pub(in super::super) used: Amounts,
    pub(in super::super) scored: Scored,
    pub(in super::super) pods: Vec<Arc<Pod>>,
    pub(in super::super) machine: MachineId,
}

impl Node {
    pub(super) fn new(name: &str, machine: MachineId) -> Node {
        Node {
            name: name.to_owned(),
            hash: hash::of(name),
            facts: None,
            used: Amounts::default(),
            scored: Scored::default(),
            pods: Vec::new(),
            machine,
        }
    }

    pub(super) fn add(&mut self, pod: Arc<Pod>) {
        self.used.add(&pod.requests.sure);
        self.scored.add(pod.requests.scored);
        self.pods.push(pod);
    }

    pub(super) fn remove(&mut self, pod: &Arc<Pod>) {
        let place = self.pods.iter().position(|it| Arc::ptr_eq(it, pod));
        let place = place.expect("a pod is on the node where it was placed");
        self.pods.swap_remove(place);
        self.used.subtract(&pod.requests.sure);
        self.scored.subtract(pod.requests.scored);
    }
}

/// The sets of taints that nodes have: there are few, and each pod looks at each once.
#[derive(Debug, Default)]
pub(in super::super) struct TaintSets {
    by_text: BTreeMap<String, TaintSetId>,
    sets: Vec<Value>,
}

impl TaintSets {
    fn id(&mut self, taints: Value) -> TaintSetId {
        let text = taints.to_string();
        if let Some(id) = self.by_text.get(&text) {
            return *id;
        }
        let id = TaintSetId(self.sets.len());
        self.by_text.insert(text, id);
        self.sets.push(taints);
        id
    }

    /// The taints, as a node has them.
    pub(in super::super) fn get(&self, id: TaintSetId) -> &Value {
        &self.sets[id.0]
    }

    /// How many there are.
    pub(in super::super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Forgets those that no node has any more, if there are many.
    pub(super) fn tidy<'a>(&mut self, nodes: usize, facts: impl Iterator<Item = &'a mut Facts>) {
        if self.sets.len() <= 2 * nodes + SPARE_TAINT_SETS_MAX {
            return;
        }
        let old = std::mem::take(self);
        for facts in facts {
            facts.taints = self.id(old.get(facts.taints).clone());
        }
    }
}

/// Reads a node's object.
pub(super) fn facts(node: &Value, sets: &mut TaintSets) -> Facts {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    // When a taint was added does not matter here.
    let taints =
        taints.map(|it| json!({"key": it["key"], "value": it["value"], "effect": it["effect"]}));
    Facts {
        allocatable: amounts::allocatable(node),
        labels: node["metadata"]["labels"]
            .as_object()
            .cloned()
            .unwrap_or_default(),
        taints: sets.id(taints.collect()),
        is_unschedulable: node["spec"]["unschedulable"] == true,
    }
}

/// The taint of a node that somebody wants no new pods on.
pub(in super::super) fn unschedulable_taint() -> Value {
    json!([{"key": UNSCHEDULABLE, "effect": "NoSchedule"}])
}
