//! Which nodes a pod can come to. A [`Cycle`] is the turn of one pod: what concerns it is
//! computed once, then each node is asked; the reasons of those that say no are told in
//! kube-scheduler's words and order ("Scheduling, Preemption and Eviction").
//!
//! Invariant: [`Cycle::passes`] and [`Cycle::refusal`] agree on every node.

mod around;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use self::around::Around;
pub(super) use self::around::Change;
use super::{
    amounts::Amounts,
    pod::{Pod, Port},
    snapshot::{Facts, Node, Slot, Snapshot, collide, unschedulable_taint},
};
use crate::core::tolerations;

const UNSCHEDULABLE: &str = "node(s) were unschedulable";
const NODE_RULE: &str = "node(s) didn't match Pod's node affinity/selector";
const PORTS: &str = "node(s) didn't have free ports for the requested pod ports";

/// Why a node can't have a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reasons: Vec<Cow<'static, str>>,
    /// Whether it would be the same without the pods that are there.
    pub(super) is_hopeless: bool,
}

impl Refusal {
    fn of(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            reasons: vec![reason.into()],
            is_hopeless: false,
        }
    }

    /// Nobody who goes would help.
    pub(super) fn hopeless(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            is_hopeless: true,
            ..Refusal::of(reason)
        }
    }
}

/// What is kept on a node for pods that others make room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) amounts: Amounts,
    pub(super) ports: BTreeSet<Port>,
}

/// The turn of one pod.
#[derive(Debug)]
pub(super) struct Cycle {
    pub(super) pod: Arc<Pod>,
    /// By the place of the set of taints, as far as it was asked.
    tolerated: Vec<Option<bool>>,
    bears_unschedulable: bool,
    kept: BTreeMap<Slot, Kept>,
    around: Option<Box<Around>>,
}

impl Cycle {
    /// Begins it. `kept` is what the pod has to leave to others.
    pub(super) fn new(
        snapshot: &mut Snapshot,
        pod: &Arc<Pod>,
        kept: BTreeMap<Slot, Kept>,
    ) -> Cycle {
        let has_tolerations = pod.object["spec"]["tolerations"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        let bears = || tolerations::untolerated(&pod.object, &unschedulable_taint()).is_none();
        let mut tolerated = vec![None; snapshot.taint_sets.len()];
        let around = Around::new(snapshot, pod, |snapshot, facts| {
            tolerates(pod, &mut tolerated, snapshot, facts)
        });
        Cycle {
            pod: pod.clone(),
            bears_unschedulable: has_tolerations && bears(),
            tolerated,
            kept,
            around: (!around.is_empty()).then(|| Box::new(around)),
        }
    }

    /// Whether a node can have the pod.
    pub(super) fn passes(&mut self, snapshot: &Snapshot, slot: Slot) -> bool {
        let Some((node, facts)) = snapshot.known(slot) else {
            return false;
        };
        // What is cheap and likely to say no comes first.
        facts
            .allocatable
            .has_room(&self.used(node, slot), &self.pod.requests.sure)
            && (!facts.is_unschedulable || self.bears_unschedulable)
            && self.tolerates(snapshot, facts)
            && self.pod.node_rule.allows(&node.name, &facts.labels)
            && self.has_ports(snapshot, node)
            && self
                .around
                .as_ref()
                .is_none_or(|around| around.refusal(slot).is_none())
    }

    /// Why a node can't have the pod; none if it can, or is no node.
    pub(super) fn refusal(&mut self, snapshot: &Snapshot, slot: Slot) -> Option<Refusal> {
        let (node, facts) = snapshot.known(slot)?;
        if facts.is_unschedulable && !self.bears_unschedulable {
            return Some(Refusal::hopeless(UNSCHEDULABLE));
        }
        let taints = snapshot.taint_sets.get(facts.taints);
        if let Some(taint) = tolerations::untolerated(&self.pod.object, taints) {
            return Some(Refusal::hopeless(told_taint(taint)));
        }
        if !self.pod.node_rule.allows(&node.name, &facts.labels) {
            return Some(Refusal::hopeless(NODE_RULE));
        }
        if !self.has_ports(snapshot, node) {
            return Some(Refusal::of(PORTS));
        }
        let wanted = &self.pod.requests.sure;
        let lacking = facts.allocatable.lacking(&self.used(node, slot), wanted);
        if !lacking.is_empty() {
            let told = |name: &&str| match *name {
                "pods" => "Too many pods".into(),
                "cpu" => "Insufficient cpu".into(),
                "memory" => "Insufficient memory".into(),
                name => format!("Insufficient {name}").into(),
            };
            return Some(Refusal {
                reasons: lacking.iter().map(told).collect(),
                is_hopeless: !facts.allocatable.has_room(&Amounts::default(), wanted),
            });
        }
        self.around.as_ref().and_then(|around| around.refusal(slot))
    }

    /// Tells what would be if another pod came to a node or went. The snapshot must have been
    /// told, too.
    pub(super) fn change(
        &mut self,
        snapshot: &mut Snapshot,
        other: &Pod,
        slot: Slot,
        change: Change,
    ) {
        if let Some(around) = &mut self.around {
            around.change(snapshot, &self.pod, other, slot, change);
        }
    }

    /// Whether the pod bears the taints of a node.
    pub(super) fn tolerates(&mut self, snapshot: &Snapshot, facts: &Facts) -> bool {
        tolerates(&self.pod, &mut self.tolerated, snapshot, facts)
    }

    fn used<'a>(&self, node: &'a Node, slot: Slot) -> Cow<'a, Amounts> {
        match self.kept.get(&slot) {
            None => Cow::Borrowed(&node.used),
            Some(kept) => {
                let mut used = node.used.clone();
                used.add(&kept.amounts);
                Cow::Owned(used)
            }
        }
    }

    fn has_ports(&self, snapshot: &Snapshot, node: &Node) -> bool {
        let ports = &self.pod.ports;
        if ports.is_empty() {
            return true;
        }
        let is_kept = |(slot, kept): (&Slot, &Kept)| {
            snapshot
                .known(*slot)
                .is_some_and(|(it, _)| it.machine == node.machine)
                && kept
                    .ports
                    .iter()
                    .any(|one| ports.iter().any(|port| collide(one, port)))
        };
        snapshot.machines.are_free(node.machine, ports) && !self.kept.iter().any(is_kept)
    }
}

/// Whether a pod bears the taints of a node.
fn tolerates(pod: &Pod, known: &mut [Option<bool>], snapshot: &Snapshot, facts: &Facts) -> bool {
    let taints = || snapshot.taint_sets.get(facts.taints);
    let answer = || tolerations::untolerated(&pod.object, taints()).is_none();
    *known[facts.taints.0].get_or_insert_with(answer)
}

fn told_taint(taint: &Value) -> String {
    let text = |field: &str| taint[field].as_str().unwrap_or_default();
    format!(
        "node(s) had untolerated taint {{{}: {}}}",
        text("key"),
        text("value")
    )
}
