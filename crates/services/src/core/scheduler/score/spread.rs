//! How evenly a pod would be spread with its like: by its `ScheduleAnyway` constraints, or, if it
//! has no constraints at all, with the pods of the same owner over nodes and zones ("Pod Topology
//! Spread Constraints", "Built-in default constraints").

use std::sync::Arc;

use super::super::{
    filter::Cycle,
    snapshot::{Matcher, Slot, Snapshot, Topology},
    terms::Spread,
};

const ZONE: &str = "topology.kubernetes.io/zone";
/// The skews of the built-in constraints.
const NODES_SKEW_MAX: u32 = 3;
const ZONES_SKEW_MAX: u32 = 5;
/// Parts of one, in which sums are kept.
const ONE: i64 = 1 << 10;

/// One constraint, and what it counts.
struct Constraint {
    topology: Arc<Topology>,
    counts: Vec<u32>,
    skew_max: u32,
}

/// How many of its like a node's places have, for each node: less is better. None if all have
/// the same, and below 0 for nodes that have not all topologies.
pub(super) fn crowding(
    snapshot: &mut Snapshot,
    cycle: &mut Cycle,
    feasible: &[Slot],
) -> Option<Vec<i64>> {
    let pod = cycle.pod.clone();
    match pod.terms.as_ref().map(|terms| &terms.spread[..]) {
        None | Some([]) => by_owner(snapshot, pod.owner_uid.as_ref()?, feasible),
        Some(rules) => {
            let soft: Vec<&Spread> = rules.iter().filter(|rule| !rule.is_required).collect();
            (!soft.is_empty()).then(|| by_rules(snapshot, cycle, &soft, feasible))
        }
    }
}

fn by_owner(snapshot: &mut Snapshot, owner: &str, feasible: &[Slot]) -> Option<Vec<i64>> {
    let zones = snapshot.topology(ZONE);
    let tally = snapshot.of_owner(owner)?;
    let mut in_zone = vec![0; zones.domains_end()];
    let mut on_node: Vec<(Slot, u32)> = Vec::new();
    for (slot, count) in tally.iter() {
        on_node.push((slot, count));
        if let Some(zone) = zones.domain(slot) {
            in_zone[zone] += count;
        }
    }
    let node_weight = weight(feasible.len());
    let zone_weight = weight(places(&zones, feasible));
    let crowding = |slot: &Slot| {
        let place = on_node.binary_search_by_key(slot, |(slot, _)| *slot);
        let count = place.map_or(0, |place| on_node[place].1);
        let mut sum = share(count, NODES_SKEW_MAX, node_weight);
        if let Some(zone) = zones.domain(*slot) {
            sum += share(in_zone[zone], ZONES_SKEW_MAX, zone_weight);
        }
        rounded(sum)
    };
    Some(feasible.iter().map(crowding).collect())
}

fn by_rules(
    snapshot: &mut Snapshot,
    cycle: &mut Cycle,
    rules: &[&Spread],
    feasible: &[Slot],
) -> Vec<i64> {
    let topologies: Vec<Arc<Topology>> = rules
        .iter()
        .map(|rule| snapshot.topology(&rule.topology_key))
        .collect();
    let has_all = |slot: Slot| topologies.iter().all(|it| it.domain(slot).is_some());
    let mut constraints = Vec::new();
    for (rule, topology) in rules.iter().zip(&topologies) {
        let tally = snapshot.matched(Matcher::Spread((*rule).clone())).clone();
        let mut counts = vec![0; topology.domains_end()];
        for (slot, count) in tally.iter().filter(|(slot, _)| has_all(*slot)) {
            let Some((domain, (node, facts))) = topology.domain(slot).zip(snapshot.known(slot))
            else {
                continue;
            };
            let is_allowed = || cycle.pod.node_rule.allows(&node.name, &facts.labels);
            if (!rule.honors_node_rule || is_allowed())
                && (!rule.honors_taints || cycle.tolerates(snapshot, facts))
            {
                counts[domain] += count;
            }
        }
        constraints.push(Constraint {
            topology: topology.clone(),
            counts,
            skew_max: rule.skew_max,
        });
    }
    let scored: Vec<Slot> = feasible
        .iter()
        .copied()
        .filter(|slot| has_all(*slot))
        .collect();
    let weights: Vec<i64> = topologies
        .iter()
        .map(|topology| weight(places(topology, &scored)))
        .collect();
    let crowding = |slot: &Slot| {
        let mut sum = 0;
        for (constraint, weight) in constraints.iter().zip(&weights) {
            let Some(domain) = constraint.topology.domain(*slot) else {
                return -1;
            };
            sum += share(constraint.counts[domain], constraint.skew_max, *weight);
        }
        rounded(sum)
    };
    feasible.iter().map(crowding).collect()
}

/// A larger skew that is borne makes differences count less.
fn share(count: u32, skew_max: u32, weight: i64) -> i64 {
    i64::from(count) * weight + i64::from(skew_max.saturating_sub(1)) * ONE
}

fn rounded(sum: i64) -> i64 {
    (sum + ONE / 2) / ONE
}

/// In how many domains these nodes are.
fn places(topology: &Topology, slots: &[Slot]) -> usize {
    let mut is_there = vec![false; topology.domains_end()];
    for domain in slots.iter().filter_map(|slot| topology.domain(*slot)) {
        is_there[domain] = true;
    }
    is_there.into_iter().filter(|is| *is).count()
}

/// About the natural logarithm of the number of domains and two, so that many small ones count
/// as much as a few large ones; by whole numbers, since it has to be the same everywhere.
fn weight(places: usize) -> i64 {
    let places = places as u64 + 2;
    let whole = places.ilog2();
    let part = ((places << 10) >> whole) - 1_024;
    let log2 = i64::from(whole) * ONE + i64::try_from(part).unwrap_or(0);
    // The natural logarithm of two, in thousandths.
    log2 * 693 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_logarithms() {
        for places in [0_u32, 1, 2, 3, 7, 100, 5_000] {
            let exact = (f64::from(places) + 2.0).ln() * 1_024.0;
            let weight = weight(places as usize) as f64;
            assert!(
                (weight - exact).abs() < 0.05 * 1_024.0 + 0.02 * exact,
                "{places}: {weight} {exact}"
            );
        }
    }
}
