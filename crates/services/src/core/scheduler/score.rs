//! Which of the nodes that can have a pod is best: each view gives 0 to 100, weighed as
//! kube-scheduler weighs them by default ("Scheduler Configuration", "Resource Bin Packing").
//! Among equals a hash of the pod's uid and the node's name chooses, so that every leader
//! decides the same. All in whole numbers.

mod company;
mod spread;

use super::{
    amounts::Scored,
    filter::Cycle,
    hash,
    snapshot::{Facts, Node, Slot, Snapshot},
};
use crate::core::tolerations;

/// The best that a view can give.
const BEST: i64 = 100;
const NODE_PREFERENCE_WEIGHT: i64 = 2;
const COMPANY_WEIGHT: i64 = 2;
const SPREAD_WEIGHT: i64 = 2;
const TAINTS_WEIGHT: i64 = 3;

/// Which nodes are filled first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Those with the most room: load is spread.
    #[default]
    LeastAllocated,
    /// Those with the least room: other nodes stay free for large pods.
    MostAllocated,
}

/// The best of the nodes that can have the pod of a cycle; none if there are none.
pub(super) fn best(
    snapshot: &mut Snapshot,
    cycle: &mut Cycle,
    feasible: &[Slot],
    packing: Packing,
) -> Option<Slot> {
    if let [] | [_] = feasible {
        return feasible.first().copied();
    }
    let scores = scores(snapshot, cycle, feasible, packing);
    let pod = hash::of(&cycle.pod.uid);
    let rank = |(slot, score): &(&Slot, &i64)| {
        let node = snapshot.node(**slot);
        (**score, hash::mix(pod, node.hash), &node.name)
    };
    let best = feasible.iter().zip(&scores).max_by_key(rank);
    best.map(|(slot, _)| *slot)
}

/// The sum of all views, of each node.
pub(super) fn scores(
    snapshot: &mut Snapshot,
    cycle: &mut Cycle,
    feasible: &[Slot],
    packing: Packing,
) -> Vec<i64> {
    let wanted = cycle.pod.requests.scored;
    let resources = |slot: &Slot| {
        let known = snapshot.known(*slot);
        known.map_or(0, |(node, facts)| resources(node, facts, wanted, packing))
    };
    let mut scores: Vec<i64> = feasible.iter().map(resources).collect();
    let mut add = |view: Option<Vec<i64>>, weight: i64| {
        for (score, view) in scores.iter_mut().zip(view.into_iter().flatten()) {
            *score += weight * view;
        }
    };
    add(
        node_preference(snapshot, cycle, feasible),
        NODE_PREFERENCE_WEIGHT,
    );
    add(taints(snapshot, cycle, feasible), TAINTS_WEIGHT);
    let welcome = company::welcome(snapshot, &cycle.pod, feasible);
    add(welcome.map(between_extremes), COMPANY_WEIGHT);
    let crowding = spread::crowding(snapshot, cycle, feasible);
    add(crowding.map(less_is_better), SPREAD_WEIGHT);
    scores
}

/// How full a node would be, and how evenly cpu and memory.
fn resources(node: &Node, facts: &Facts, wanted: Scored, packing: Packing) -> i64 {
    let all = &facts.allocatable;
    let mut used = node.scored;
    used.add(wanted);
    let used = [
        (used.milli_cpu, all.milli_cpu),
        (used.memory_bytes, all.memory_bytes),
    ];
    // In thousandths; what a node has not does not count.
    let part = |used: u64, all: u64| i64::try_from(used.min(all) * 1_000 / all).unwrap_or(1_000);
    let parts = used.map(|(used, all)| (all > 0).then(|| part(used, all)));
    let (full, uneven) = match parts {
        [None, None] => return 0,
        [Some(one), None] | [None, Some(one)] => (one, 0),
        // The standard deviation of two is half their difference.
        [Some(cpu), Some(memory)] => ((cpu + memory) / 2, (cpu - memory).abs() / 2),
    };
    let filling = match packing {
        Packing::LeastAllocated => 1_000 - full,
        Packing::MostAllocated => full,
    };
    filling * BEST / 1_000 + (1_000 - uneven) * BEST / 1_000
}

fn node_preference(snapshot: &Snapshot, cycle: &Cycle, feasible: &[Slot]) -> Option<Vec<i64>> {
    let rule = &cycle.pod.node_rule;
    if !rule.has_preference() {
        return None;
    }
    let preference = |slot: &Slot| {
        let known = snapshot.known(*slot);
        known.map_or(0, |(node, facts)| {
            rule.preference(&node.name, &facts.labels)
        })
    };
    let raw: Vec<i64> = feasible.iter().map(preference).collect();
    let most = raw.iter().copied().max().filter(|most| *most > 0)?;
    Some(raw.into_iter().map(|raw| raw * BEST / most).collect())
}

fn taints(snapshot: &Snapshot, cycle: &Cycle, feasible: &[Slot]) -> Option<Vec<i64>> {
    let mut known = vec![None; snapshot.taint_sets.len()];
    let mut count = |slot: &Slot| {
        let Some((_, facts)) = snapshot.known(*slot) else {
            return 0;
        };
        let taints = snapshot.taint_sets.get(facts.taints);
        let object = &cycle.pod.object;
        *known[facts.taints.0]
            .get_or_insert_with(|| tolerations::unpreferred(object, taints) as i64)
    };
    let raw: Vec<i64> = feasible.iter().map(&mut count).collect();
    let most = raw.iter().copied().max().filter(|most| *most > 0)?;
    Some(
        raw.into_iter()
            .map(|raw| BEST - raw * BEST / most)
            .collect(),
    )
}

fn between_extremes(raw: Vec<i64>) -> Vec<i64> {
    let least = raw.iter().copied().min().unwrap_or(0);
    let most = raw.iter().copied().max().unwrap_or(0);
    let view = |raw: i64| match most - least {
        0 => 0,
        span => (raw - least) * BEST / span,
    };
    raw.into_iter().map(view).collect()
}

/// Those below 0 are not to be had at all.
fn less_is_better(raw: Vec<i64>) -> Vec<i64> {
    let had = || raw.iter().copied().filter(|raw| *raw >= 0);
    let (least, most) = (had().min().unwrap_or(0), had().max().unwrap_or(0));
    let view = |raw: i64| match (raw, most) {
        (..0, _) => 0,
        (_, 0) => BEST,
        (raw, most) => (most + least - raw) * BEST / most,
    };
    raw.iter().copied().map(view).collect()
}
