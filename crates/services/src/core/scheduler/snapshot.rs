//! All nodes and what is used of them, kept as objects change: what filters and scores look at.
//! Pods are in it from when a node was chosen for them until they have ended or are gone.
//!
//! Invariants: what a node has in use is the sum over its pods, and so are the ports of machines
//! and all counts. A pod is in it once, by its name. Pods of a node that is not known (yet, or any
//! more) are kept; nothing is placed there.

mod counts;
mod machines;
mod node;
mod topology;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use self::{counts::Counts, machines::Machines, node::TaintSets, topology::Topologies};
pub(super) use self::{
    counts::{Carried, Demand, Matcher, Tally, demands},
    machines::collide,
    node::{Facts, Node, Slot, unschedulable_taint},
    topology::Topology,
};
use super::{
    amounts::Amounts,
    pod::{Key, Pod},
    terms::NamespaceLabels,
};

/// The label that says on which machine a node is.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The labels of all namespaces.
#[derive(Debug, Default)]
pub(super) struct Namespaces(BTreeMap<String, Map<String, Value>>);

impl NamespaceLabels for Namespaces {
    fn labels_of(&self, namespace: &str) -> Option<&Map<String, Value>> {
        self.0.get(namespace)
    }
}

type Placed = BTreeMap<String, (Arc<Pod>, Slot)>;

/// All nodes, and the pods on them.
#[derive(Debug, Default)]
pub struct Snapshot {
    slots: Vec<Option<Node>>,
    by_name: BTreeMap<String, Slot>,
    free: Vec<Slot>,
    /// How many nodes there are; those that only pods speak of are none.
    nodes: usize,
    /// By namespace and name.
    pods: BTreeMap<String, Placed>,
    /// How many pods have which priority.
    priorities: BTreeMap<i32, usize>,
    /// What the tasks of each framework use.
    shares: BTreeMap<String, Amounts>,
    pub(super) namespaces: Namespaces,
    pub(super) machines: Machines,
    pub(super) taint_sets: TaintSets,
    counts: Counts,
    topologies: Topologies,
}

impl Snapshot {
    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes
    }

    /// What a node has for pods, and what of it is used; none if there is no such node.
    pub fn room(&self, node: &str) -> Option<(&Amounts, &Amounts)> {
        let node = self.node(*self.by_name.get(node)?);
        Some((&node.facts.as_ref()?.allocatable, &node.used))
    }

    /// The names of all nodes, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Slot)> {
        let known = self.by_name.iter();
        let known = known.filter(|(_, slot)| self.node(**slot).facts.is_some());
        known.map(|(name, slot)| (name.as_str(), *slot))
    }

    /// A node was made, changed, or is gone. Says whether that matters to pods.
    pub(super) fn node_changed(&mut self, name: &str, object: Option<&Value>) -> bool {
        let facts = object.map(|object| node::facts(object, &mut self.taint_sets));
        if facts.is_none() && !self.by_name.contains_key(name) {
            return false;
        }
        let slot = self.slot_of(name);
        if self.node(slot).facts == facts {
            return false;
        }
        if let Some(facts) = &facts {
            let machine = facts.labels.get(HOSTNAME).and_then(Value::as_str);
            self.move_to_machine(slot, machine.unwrap_or(name).to_owned());
        }
        let node = self.slots[slot.index()]
            .as_mut()
            .expect("it was found by its name");
        self.nodes += usize::from(facts.is_some());
        self.nodes -= usize::from(node.facts.is_some());
        node.facts = facts;
        let labels = node.facts.as_ref().map(|facts| &facts.labels);
        self.topologies.changed(slot, labels, self.nodes);
        self.forget_if_empty(slot);
        let all = self.slots.iter_mut().flatten();
        self.taint_sets
            .tidy(self.nodes, all.filter_map(|node| node.facts.as_mut()));
        true
    }

    fn move_to_machine(&mut self, slot: Slot, name: String) {
        let node = self.slots[slot.index()].as_mut().expect("a node in use");
        let from = node.machine;
        if self.machines.name(from) == name {
            return;
        }
        let to = self.machines.join(&name);
        for pod in &node.pods {
            self.machines.give_back(from, &pod.ports);
            self.machines.take(to, &pod.ports);
        }
        node.machine = to;
        self.machines.leave(from);
    }

    /// The labels of a namespace have changed, or it is gone.
    pub(super) fn namespace_changed(&mut self, name: &str, object: Option<&Value>) -> bool {
        let labels = object.map(|it| {
            it["metadata"]["labels"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        });
        if self.namespaces.0.get(name) == labels.as_ref() {
            return false;
        }
        match labels {
            Some(labels) => self.namespaces.0.insert(name.to_owned(), labels),
            None => self.namespaces.0.remove(name),
        };
        self.counts.namespace_changed();
        true
    }

    /// The names of all namespaces.
    pub(super) fn namespace_names(&self) -> impl Iterator<Item = &String> {
        self.namespaces.0.keys()
    }

    /// The place of a name, made if it has none.
    fn slot_of(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(u32::try_from(self.slots.len() - 1).expect("fewer nodes than 2^32"))
        });
        let machine = self.machines.join(name);
        self.slots[slot.index()] = Some(Node::new(name, machine));
        self.by_name.insert(name.to_owned(), slot);
        slot
    }

    fn forget_if_empty(&mut self, slot: Slot) {
        let node = self.node(slot);
        if node.facts.is_some() || !node.pods.is_empty() {
            return;
        }
        if let Some(node) = self.slots[slot.index()].take() {
            self.machines.leave(node.machine);
            self.by_name.remove(&node.name);
            self.free.push(slot);
        }
    }

    /// A pod is on a node, in place of what was there of its name.
    pub(super) fn place(&mut self, pod: Arc<Pod>, node: &str) {
        self.remove(&pod.key);
        let slot = self.slot_of(node);
        self.put(pod.clone(), slot);
        let inside = self.pods.entry(pod.key.namespace.clone()).or_default();
        inside.insert(pod.key.name.clone(), (pod, slot));
    }

    /// A pod is gone; it comes back if it was there.
    pub(super) fn remove(&mut self, key: &Key) -> Option<(Arc<Pod>, Slot)> {
        let inside = self.pods.get_mut(&key.namespace)?;
        let (pod, slot) = inside.remove(&key.name)?;
        if inside.is_empty() {
            self.pods.remove(&key.namespace);
        }
        self.take(&pod, slot);
        self.forget_if_empty(slot);
        Some((pod, slot))
    }

    /// Counts a pod on a node, which stays known by its name as before.
    pub(super) fn put(&mut self, pod: Arc<Pod>, slot: Slot) {
        let node = self.slots[slot.index()].as_mut().expect("a node in use");
        self.machines.take(node.machine, &pod.ports);
        self.counts.add(&pod, slot, &self.namespaces);
        *self.priorities.entry(pod.priority).or_default() += 1;
        if let Some(framework) = &pod.framework {
            self.shares
                .entry(framework.clone())
                .or_default()
                .add(&pod.requests.sure);
        }
        node.add(pod);
    }

    /// Counts a pod no more. To try what would be without it; [`Snapshot::put`] brings it back.
    pub(super) fn take(&mut self, pod: &Arc<Pod>, slot: Slot) {
        let node = self.slots[slot.index()].as_mut().expect("a node in use");
        self.machines.give_back(node.machine, &pod.ports);
        self.counts.remove(pod, slot, &self.namespaces);
        node.remove(pod);
        if let Some(count) = self.priorities.get_mut(&pod.priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&pod.priority);
            }
        }
        if let Some(framework) = &pod.framework
            && let Some(share) = self.shares.get_mut(framework)
        {
            share.subtract(&pod.requests.sure);
            if share.is_nothing() {
                self.shares.remove(framework);
            }
        }
    }

    /// What the tasks of a framework use; none if there are none.
    pub(super) fn share(&self, framework: &str) -> Option<&Amounts> {
        self.shares.get(framework)
    }

    /// Another object of the same pod.
    pub(super) fn refresh(&mut self, pod: Arc<Pod>) {
        let inside = self.pods.get_mut(&pod.key.namespace);
        let Some((known, slot)) = inside.and_then(|inside| inside.get_mut(&pod.key.name)) else {
            return;
        };
        let node = self.slots[slot.index()].as_mut().expect("a node in use");
        if let Some(on_node) = node.pods.iter_mut().find(|it| Arc::ptr_eq(it, known)) {
            *on_node = pod.clone();
        }
        *known = pod;
    }

    /// A pod that is on a node.
    pub(super) fn pod(&self, key: &Key) -> Option<(&Arc<Pod>, Slot)> {
        let (pod, slot) = self.pods.get(&key.namespace)?.get(&key.name)?;
        Some((pod, *slot))
    }

    /// What names all pods that are on nodes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.pods
            .values()
            .flat_map(|inside| inside.values().map(|(pod, _)| &pod.key))
    }

    /// Whether there is a pod that one of this priority goes before.
    pub(super) fn has_lower(&self, priority: i32) -> bool {
        self.priorities
            .first_key_value()
            .is_some_and(|(lowest, _)| *lowest < priority)
    }

    /// The places of nodes; not all are in use.
    pub(super) fn slots_end(&self) -> usize {
        self.slots.len()
    }

    /// The node of a place, if it is known.
    pub(super) fn known(&self, slot: Slot) -> Option<(&Node, &Facts)> {
        let node = self.slots.get(slot.index())?.as_ref()?;
        Some((node, node.facts.as_ref()?))
    }

    /// The place of a node that is known.
    pub(super) fn slot(&self, name: &str) -> Option<Slot> {
        let slot = *self.by_name.get(name)?;
        self.known(slot).map(|_| slot)
    }

    /// The node of a place that is in use.
    pub(super) fn node(&self, slot: Slot) -> &Node {
        self.slots[slot.index()].as_ref().expect("a node in use")
    }

    /// All nodes that are known.
    pub(super) fn all(&self) -> impl Iterator<Item = (Slot, &Node, &Facts)> {
        (0..).map(Slot).zip(&self.slots).filter_map(|(slot, node)| {
            let node = node.as_ref()?;
            Some((slot, node, node.facts.as_ref()?))
        })
    }

    /// The domains of a topology.
    pub(super) fn topology(&mut self, key: &str) -> Arc<Topology> {
        let nodes = (0..)
            .map(Slot)
            .zip(&self.slots)
            .filter_map(|(slot, node)| Some((slot, &node.as_ref()?.facts.as_ref()?.labels)));
        self.topologies.of(key, nodes)
    }

    /// Visits the terms that pods carry, of the demands wanted, that a pod is meant by, with the
    /// domains of each.
    pub(super) fn each_carried(
        &mut self,
        pod: &Pod,
        is_wanted: fn(Demand) -> bool,
        mut visit: impl FnMut(&Carried, Arc<Topology>),
    ) {
        for carried in self.counts.carried(&pod.key.namespace) {
            let term = &carried.term;
            if !is_wanted(carried.demand)
                || !term.matches(&pod.key.namespace, pod.labels(), &self.namespaces)
            {
                continue;
            }
            let nodes = (0..)
                .map(Slot)
                .zip(&self.slots)
                .filter_map(|(slot, node)| Some((slot, &node.as_ref()?.facts.as_ref()?.labels)));
            visit(carried, self.topologies.of(&term.topology_key, nodes));
        }
    }

    /// How many pods of an owner are on which node, those that are being deleted not counted.
    pub(super) fn of_owner(&self, uid: &str) -> Option<&Tally> {
        self.counts.of_owner(uid)
    }

    /// How many pods a matcher matches on which node.
    pub(super) fn matched(&mut self, matcher: Matcher) -> &Tally {
        let pods = &self.pods;
        self.counts.matched(matcher, &self.namespaces, |scope| {
            let inside: Vec<&Placed> = match scope {
                Some(namespace) => pods.get(namespace).into_iter().collect(),
                None => pods.values().collect(),
            };
            inside
                .into_iter()
                .flat_map(|inside: &Placed| inside.values().map(|(pod, slot)| (&**pod, *slot)))
        })
    }
}
