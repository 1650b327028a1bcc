//! Who is to go so that a pod of higher priority finds a node ("Pod Priority and Preemption").
//! Of each node that may help, the fewest and least important pods are found whose going makes
//! room; of these nodes, the one that loses least is taken.
//!
//! Invariant: the snapshot is as it was before.

use std::{cmp::Reverse, sync::Arc};

use super::{
    budgets::Budgets,
    filter::{Change, Cycle, Refusal},
    hash,
    message::{NO_VICTIMS, NOT_HELPFUL, Reasons},
    pod::Pod,
    snapshot::{Slot, Snapshot},
};

/// At least so many nodes are tried, as far as there are, before one is chosen.
const CANDIDATES_MIN: usize = 100;
/// At least one in so many.
const CANDIDATES_SHARE: usize = 10;

/// Where room is made, and who goes.
#[derive(Debug)]
pub(super) struct Preemption {
    pub(super) slot: Slot,
    /// The most important first.
    pub(super) victims: Vec<Arc<Pod>>,
}

/// Who goes from a node.
struct Victims {
    /// The most important first.
    pods: Vec<Arc<Pod>>,
    /// How many of them go against their budgets.
    against_budgets: usize,
}

/// What going costs, compared in this order: less is better.
type Loss = (usize, i32, i64, usize, Reverse<u64>);

/// Finds it, or says why it does not help. `refusals` is of all nodes.
pub(super) fn preempt(
    snapshot: &mut Snapshot,
    budgets: &Budgets,
    cycle: &mut Cycle,
    refusals: &[(Slot, Refusal)],
) -> Result<Preemption, Reasons> {
    let mut reasons = Reasons::default();
    let may_help = refusals.iter().filter(|(_, refusal)| !refusal.is_hopeless);
    let slots: Vec<Slot> = may_help.map(|(slot, _)| *slot).collect();
    for _ in slots.len()..refusals.len() {
        reasons.add(NOT_HELPFUL);
    }
    let candidates_max = (slots.len() / CANDIDATES_SHARE).max(CANDIDATES_MIN);
    let pod_hash = hash::of(&cycle.pod.uid);
    // Not always the same nodes, where there are more than are tried.
    let start = if slots.is_empty() {
        0
    } else {
        pod_hash as usize % slots.len()
    };
    let mut found: Vec<(Loss, Reverse<u64>, Preemption)> = Vec::new();
    for slot in slots[start..].iter().chain(&slots[..start]) {
        match victims(snapshot, budgets, cycle, *slot) {
            Ok(victims) if victims.pods.is_empty() => {}
            Ok(victims) => {
                let tie = hash::mix(pod_hash, snapshot.node(*slot).hash);
                let loss = loss(&victims);
                let preemption = Preemption {
                    slot: *slot,
                    victims: victims.pods,
                };
                found.push((loss, Reverse(tie), preemption));
            }
            Err(refusal) => refusal
                .reasons
                .iter()
                .for_each(|reason| reasons.add(reason)),
        }
        if found.len() >= candidates_max {
            break;
        }
    }
    let best = found.into_iter().min_by_key(|(loss, tie, _)| (*loss, *tie));
    best.map(|(.., preemption)| preemption).ok_or(reasons)
}

/// How many go against their budgets, the highest priority among them, the sum of all, how many
/// they are, and since when the oldest of the highest priority runs.
fn loss(victims: &Victims) -> Loss {
    let Victims {
        pods,
        against_budgets,
    } = victims;
    let highest = pods
        .iter()
        .map(|pod| pod.priority)
        .max()
        .unwrap_or(i32::MIN);
    // Shifted, so that one more is never a gain.
    let sum = pods
        .iter()
        .map(|pod| i64::from(pod.priority) - i64::from(i32::MIN) + 1)
        .sum();
    let of_highest = pods.iter().filter(|pod| pod.priority == highest);
    let oldest_ms = of_highest.map(|pod| pod.started_ms).min().unwrap_or(0);
    (
        *against_budgets,
        highest,
        sum,
        pods.len(),
        Reverse(oldest_ms),
    )
}

/// Who has to go from a node; the refusal if it does not help that all go that may.
fn victims(
    snapshot: &mut Snapshot,
    budgets: &Budgets,
    cycle: &mut Cycle,
    slot: Slot,
) -> Result<Victims, Refusal> {
    let priority = cycle.pod.priority;
    let node = snapshot.node(slot);
    let lower = node.pods.iter().filter(|pod| pod.priority < priority);
    let mut lower: Vec<Arc<Pod>> = lower.cloned().collect();
    if lower.is_empty() {
        return Err(Refusal::hopeless(NO_VICTIMS));
    }
    let importance = |pod: &Arc<Pod>| (Reverse(pod.priority), pod.started_ms, pod.key.clone());
    lower.sort_by_cached_key(importance);
    for pod in &lower {
        goes(snapshot, cycle, pod, slot);
    }
    if let Some(refusal) = cycle.refusal(snapshot, slot) {
        for pod in &lower {
            comes(snapshot, cycle, pod, slot);
        }
        return Err(refusal);
    }
    // Those that a budget wants to keep are spared first.
    let (kept, others) = budgets.part(lower);
    let mut victims = Vec::new();
    let mut spare = |pods: Vec<Arc<Pod>>| {
        let before = victims.len();
        for pod in pods {
            comes(snapshot, cycle, &pod, slot);
            if !cycle.passes(snapshot, slot) {
                goes(snapshot, cycle, &pod, slot);
                victims.push(pod);
            }
        }
        victims.len() - before
    };
    let against_budgets = spare(kept);
    spare(others);
    for pod in &victims {
        comes(snapshot, cycle, pod, slot);
    }
    victims.sort_by_cached_key(importance);
    Ok(Victims {
        pods: victims,
        against_budgets,
    })
}

fn goes(snapshot: &mut Snapshot, cycle: &mut Cycle, pod: &Arc<Pod>, slot: Slot) {
    snapshot.take(pod, slot);
    cycle.change(snapshot, pod, slot, Change::Goes);
}

fn comes(snapshot: &mut Snapshot, cycle: &mut Cycle, pod: &Arc<Pod>, slot: Slot) {
    snapshot.put(pod.clone(), slot);
    cycle.change(snapshot, pod, slot, Change::Comes);
}
