use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::hash_ring::{RingNode, Weight, Zone};

const REPLICAS: usize = 3;

type Placed = Vec<Vec<NodeId>>;

fn node(id: u64, weight: u64, zone: Option<u8>) -> RingNode {
    RingNode {
        id: NodeId(id),
        weight: Weight::new(weight).unwrap(),
        zone: zone.map(|zone| Zone::new(&zone.to_string()).unwrap()),
    }
}

fn placed(nodes: &[RingNode], held: &[Vec<NodeId>]) -> Placed {
    let ring = HashRing::new(nodes.to_vec()).unwrap();
    place(&ring, Partitions::default(), REPLICAS, held)
}

fn cluster(
    count: std::ops::RangeInclusive<usize>,
    weights: std::ops::RangeInclusive<u64>,
) -> impl Strategy<Value = Vec<RingNode>> {
    vec((any::<u64>(), weights), count).prop_map(|all| {
        let ids: BTreeMap<_, _> = all.into_iter().collect();
        let nodes = ids.into_iter();
        nodes.map(|(id, weight)| node(id, weight, None)).collect()
    })
}

fn loads(nodes: &[RingNode], placed: &Placed) -> Vec<usize> {
    let count = |id| placed.iter().filter(|it| it.contains(&id)).count();
    nodes.iter().map(|it| count(it.id)).collect()
}

/// Placements that are in the second and not in the first: who has to copy.
fn moves(before: &Placed, after: &Placed) -> Vec<NodeId> {
    let pairs = before.iter().zip(after);
    pairs
        .flat_map(|(before, after)| after.iter().filter(|it| !before.contains(it)))
        .copied()
        .collect()
}

fn check_form(nodes: &[RingNode], placed: &Placed) -> Result<(), TestCaseError> {
    let zone_of: BTreeMap<_, _> = nodes
        .iter()
        .map(|it| (it.id, it.zone.clone().ok_or(it.id)))
        .collect();
    let zones: BTreeSet<_> = zone_of.values().collect();
    for holders in placed {
        let distinct: BTreeSet<_> = holders.iter().collect();
        prop_assert_eq!(distinct.len(), REPLICAS.min(nodes.len()));
        prop_assert_eq!(distinct.len(), holders.len());
        let here: BTreeSet<_> = holders.iter().map(|it| &zone_of[it]).collect();
        prop_assert_eq!(here.len(), REPLICAS.min(zones.len()));
    }
    Ok(())
}

/// How far the loads are from the shares: `fraction` of them or `count` at most.
fn check_balance(
    nodes: &[RingNode],
    placed: &Placed,
    fraction: f64,
    count: f64,
) -> Result<(), TestCaseError> {
    let ring = HashRing::new(nodes.to_vec()).unwrap();
    let shares = share::shares(&ring, placed.len(), REPLICAS);
    for ((share, load), node) in shares.iter().zip(loads(nodes, placed)).zip(nodes) {
        let off = (load as f64 - share.exact()).abs();
        prop_assert!(
            off <= (share.exact() * fraction).max(count) + 1e-6,
            "{load} of {} for {node:?}",
            share.exact()
        );
    }
    Ok(())
}

fn check_rest(nodes: &[RingNode], placed_before: &Placed) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        &placed(nodes, placed_before),
        placed_before,
        "nothing moves for nothing"
    );
    Ok(())
}

#[test]
fn shares_follow_weights_as_far_as_they_can() {
    let share = |nodes: &[RingNode]| -> Vec<f64> {
        let ring = HashRing::new(nodes.to_vec()).unwrap();
        let shares = share::shares(&ring, 1_000, REPLICAS).into_iter();
        shares.map(|it| it.exact().round()).collect()
    };
    let plain = |weights: &[u64]| -> Vec<RingNode> {
        let all = (1..).zip(weights);
        all.map(|(id, weight)| node(id, *weight, None)).collect()
    };
    assert_eq!(share(&plain(&[1, 1, 1, 1])), [750.0; 4]);
    assert_eq!(
        share(&plain(&[1, 2, 1, 2])),
        [500.0, 1_000.0, 500.0, 1_000.0]
    );
    assert_eq!(share(&plain(&[9, 1, 1, 1])), [1_000.0, 667.0, 667.0, 667.0]);
    assert_eq!(share(&plain(&[5, 1])), [1_000.0, 1_000.0]);
    // Two zones: each partition lies in both.
    let zoned = [
        node(1, 1, Some(1)),
        node(2, 1, Some(1)),
        node(3, 1, Some(1)),
        node(4, 1, Some(2)),
    ];
    assert_eq!(share(&zoned), [667.0, 667.0, 667.0, 1_000.0]);
    // Three zones: each has one replica of every partition, however small it is.
    let zoned = [
        node(1, 1, Some(1)),
        node(2, 1, Some(1)),
        node(3, 1, Some(2)),
        node(4, 3, Some(3)),
        node(5, 1, Some(3)),
    ];
    assert_eq!(share(&zoned), [500.0, 500.0, 1_000.0, 750.0, 250.0]);
}

#[test]
fn few_partitions_are_placed_too() {
    let ring = HashRing::new((1..=5).map(|id| node(id, 1, None)).collect()).unwrap();
    let one = place(&ring, Partitions::new(1).unwrap(), REPLICAS, &[]);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].len(), REPLICAS);
    let nobody = HashRing::new(Vec::new()).unwrap();
    let none = place(&nobody, Partitions::new(2).unwrap(), REPLICAS, &one);
    assert_eq!(none, [Vec::new(), Vec::new()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_new_cluster_is_balanced_to_one_placement(nodes in cluster(3..=50, 1..=1)) {
        let placed = placed(&nodes, &[]);
        check_form(&nodes, &placed)?;
        check_balance(&nodes, &placed, 0.0, 1.0)?;
        check_balance(&nodes, &placed, 0.05, 0.0)?;
        check_rest(&nodes, &placed)?;
        let even = placed.len() as f64 / nodes.len() as f64;
        for node in &nodes {
            let first = placed.iter().filter(|it| it[0] == node.id).count() as f64;
            prop_assert!((first - even).abs() <= 2.0, "first in {first}, not {even}");
        }
    }

    #[test]
    fn so_it_is_with_mixed_weights(nodes in cluster(3..=50, 1..=5)) {
        let placed = placed(&nodes, &[]);
        check_form(&nodes, &placed)?;
        check_balance(&nodes, &placed, 0.0, 1.0)?;
        check_rest(&nodes, &placed)?;
    }

    #[test]
    fn a_join_moves_the_newcomers_share_and_nothing_else(
        mut nodes in cluster(3..=50, 1..=1),
        id: u64,
    ) {
        prop_assume!(nodes.iter().all(|it| it.id != NodeId(id)));
        let before = placed(&nodes, &[]);
        let count = nodes.len() as f64;
        nodes.push(node(id, 1, None));
        nodes.sort_by_key(|it| it.id);
        let after = placed(&nodes, &before);
        check_form(&nodes, &after)?;
        check_balance(&nodes, &after, 0.05, 0.0)?;
        check_rest(&nodes, &after)?;
        let moved = moves(&before, &after);
        prop_assert!(moved.iter().all(|it| *it == NodeId(id)), "only to the newcomer");
        let all = (before.len() * REPLICAS) as f64;
        prop_assert!(moved.len() as f64 <= all * 1.2 / (count + 1.0));
    }

    #[test]
    fn a_leave_moves_what_the_leaver_held_and_nothing_else(
        mut nodes in cluster(4..=50, 1..=1),
        leaver: prop::sample::Index,
    ) {
        let before = placed(&nodes, &[]);
        let leaver = nodes.remove(leaver.index(nodes.len())).id;
        let after = placed(&nodes, &before);
        check_form(&nodes, &after)?;
        check_balance(&nodes, &after, 0.05, 0.0)?;
        check_rest(&nodes, &after)?;
        let held = before.iter().filter(|it| it.contains(&leaver)).count();
        prop_assert_eq!(moves(&before, &after).len(), held);
    }

    /// Nodes of all weights come and go, one after the other.
    #[test]
    fn a_life_of_joins_and_leaves_stays_balanced(
        mut nodes in cluster(14..=24, 1..=4),
        events in vec(
            (any::<u64>(), 1..=4u64, any::<prop::sample::Index>(), any::<bool>()),
            6,
        ),
    ) {
        let mut now = placed(&nodes, &[]);
        for (id, weight, leaver, joins) in events {
            let weights = |nodes: &[RingNode]| -> u64 {
                nodes.iter().map(|it| u64::from(it.weight.units())).sum()
            };
            let (before, all) = (now, REPLICAS as f64 * 1_024.0);
            if joins && nodes.iter().all(|it| it.id != NodeId(id)) {
                nodes.push(node(id, weight, None));
                nodes.sort_by_key(|it| it.id);
                now = placed(&nodes, &before);
                let moved = moves(&before, &now);
                prop_assert!(moved.iter().all(|it| *it == NodeId(id)), "only to the newcomer");
                let part = weight as f64 / weights(&nodes) as f64;
                prop_assert!(moved.len() as f64 <= all * part * 1.2);
            } else {
                let leaver = nodes.remove(leaver.index(nodes.len())).id;
                now = placed(&nodes, &before);
                let held = before.iter().filter(|it| it.contains(&leaver)).count();
                prop_assert_eq!(moves(&before, &now).len(), held, "only what was held there");
            }
            check_form(&nodes, &now)?;
            check_balance(&nodes, &now, 0.05, 2.0)?;
            check_rest(&nodes, &now)?;
        }
    }

    #[test]
    fn zones_come_before_balance_and_balance_within_them(
        members in vec((any::<u64>(), proptest::option::weighted(0.8, 0..5u8)), 3..=24),
        late in 0..5u8,
    ) {
        let ids: BTreeMap<_, _> = members.into_iter().collect();
        let mut nodes: Vec<_> =
            ids.into_iter().map(|(id, zone)| node(id, 1, zone)).collect();
        let before = placed(&nodes, &[]);
        check_form(&nodes, &before)?;
        check_balance(&nodes, &before, 0.05, 2.0)?;
        nodes.push(node(u64::MAX, 1, Some(late)));
        let after = placed(&nodes, &before);
        check_form(&nodes, &after)?;
        check_balance(&nodes, &after, 0.05, 2.0)?;
        check_rest(&nodes, &after)?;
    }

    /// Where zones and full nodes leave few ways, partitions go round about.
    #[test]
    fn tight_clusters_are_balanced_too(
        members in vec((1..=5u64, 0..4u8), 5..=9),
        late in vec((1..=5u64, 0..4u8), 1..4),
    ) {
        let all = (1..).zip(members.into_iter().chain(late));
        let all: Vec<_> =
            all.map(|(id, (weight, zone))| node(id, weight, Some(zone))).collect();
        let mut now = Vec::new();
        for there in [0..5, 1..all.len(), 0..all.len(), 2..all.len(), 0..4] {
            now = placed(&all[there.clone()], &now);
            check_form(&all[there.clone()], &now)?;
            check_balance(&all[there], &now, 0.05, 2.0)?;
        }
    }
}
