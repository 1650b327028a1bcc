use proptest::{collection::vec, prelude::*};

use super::*;

fn node(id: u64, weight: u64, zone: Option<u8>) -> RingNode {
    RingNode {
        id: NodeId(id),
        weight: Weight::new(weight).unwrap(),
        zone: zone.map(|zone| Zone::new(&format!("zone-{zone}")).unwrap()),
    }
}

fn ring(nodes: &[RingNode]) -> HashRing {
    HashRing::new(nodes.to_vec()).unwrap()
}

/// Nodes with ids drawn at random, as a cluster draws them.
fn cluster(weights: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Vec<RingNode>> {
    vec((any::<u64>(), weights), 3..=50).prop_map(|mut all| {
        all.sort_unstable();
        all.dedup_by_key(|(id, _)| *id);
        let nodes = all.into_iter();
        nodes.map(|(id, weight)| node(id, weight, None)).collect()
    })
}

/// The share of all keys that want each node most, not sampled but computed.
///
/// A point is reached over the arc before it. From `k` independent probes, the nearest point is
/// farther than `x` with probability `S(x)^k`, where `S(x)` is how much of the circle is farther
/// than `x` from its next point. So an arc of length `a` gets `∫₀ᵃ k S(x)^(k-1) dx`, and as `S`
/// falls in straight lines between the lengths of arcs, by the number `m` of longer arcs, each
/// piece of that is `(S(begin)^k − S(end)^k) / m`.
fn share(ring: &HashRing) -> Vec<f64> {
    let probes = i32::try_from(PROBES).unwrap();
    let count = ring.points.len();
    let mut arcs: Vec<(f64, u32)> = (0..count)
        .map(|at| {
            let before = ring.points[(at + count - 1) % count].position;
            let arc = ring.points[at].position.wrapping_sub(before);
            (arc as f64 / 2f64.powi(64), ring.points[at].node)
        })
        .collect();
    arcs.sort_by(|one, other| one.partial_cmp(other).unwrap());
    let mut share = vec![0.0; ring.nodes.len()];
    let (mut before, mut survive, mut reached) = (0.0, 1.0f64, 0.0);
    for (passed, (arc, node)) in arcs.into_iter().enumerate() {
        let longer = (count - passed) as f64;
        let next = (survive - longer * (arc - before)).max(0.0);
        reached += (survive.powi(probes) - next.powi(probes)) / longer;
        share[node as usize] += reached;
        (before, survive) = (arc, next);
    }
    let all: f64 = share.iter().sum();
    assert!((all - 1.0).abs() < 1e-6, "shares add up to {all}");
    share
}

fn farthest_from_weight(ring: &HashRing) -> f64 {
    let weights = ring.nodes.iter().map(|it| f64::from(it.weight.units()));
    let all: f64 = weights.clone().sum();
    let off = share(ring).into_iter().zip(weights);
    off.map(|(share, weight)| (share * all / weight - 1.0).abs())
        .fold(0.0, f64::max)
}

/// A change of any of these numbers would look for stored data on other nodes.
#[test]
fn golden_places() {
    assert_eq!(position(POINT_SEED, 0, 0), GOLDEN_POINTS[0]);
    assert_eq!(position(POINT_SEED, 0xdead_beef, 127), GOLDEN_POINTS[1]);
    let key = RingKey::of_partition(PartitionId(1_023));
    assert_eq!(key.probe(0), GOLDEN_PROBES[0]);
    assert_eq!(key.probe(63), GOLDEN_PROBES[1]);
    let ring = ring(&[
        node(0xa, 1, Some(1)),
        node(0xb, 1, Some(1)),
        node(0xc, 2, Some(2)),
        node(0xd, 1, Some(3)),
        node(0xe, 3, None),
    ]);
    for (partition, holders) in GOLDEN_HOLDERS {
        let key = RingKey::of_partition(PartitionId(partition));
        assert_eq!(ring.holders(key, 3), holders.map(NodeId), "of {partition}");
    }
}

const GOLDEN_POINTS: [u64; 2] = [14_984_797_639_145_797_284, 14_436_076_454_006_803_028];
const GOLDEN_PROBES: [u64; 2] = [4_061_350_273_210_415_949, 10_086_039_682_367_911_056];
const GOLDEN_HOLDERS: [(u16, [u64; 3]); 3] = [
    (0, [0xa, 0xc, 0xe]),
    (1, [0xe, 0xd, 0xb]),
    (512, [0xe, 0xb, 0xd]),
];

#[test]
fn keys_fall_as_the_computed_shares_say() {
    const KEYS: u32 = 20_000;
    let ring = ring(&[
        node(1, 1, None),
        node(2, 1, None),
        node(3, 2, None),
        node(4, 4, None),
    ]);
    let mut counts = [0u32; 4];
    for key in 0..KEYS {
        let mut order = ring.order(RingKey::of_bytes(&key.to_be_bytes()));
        counts[order.next().unwrap()] += 1;
    }
    for (share, count) in share(&ring).into_iter().zip(counts) {
        let expected = share * f64::from(KEYS);
        let off = (f64::from(count) - expected).abs();
        assert!(off < 4.0 * expected.sqrt(), "{count} is not {expected}");
    }
}

#[test]
fn what_cannot_be_a_ring_is_refused() {
    let twice = HashRing::new(vec![node(7, 1, None), node(7, 2, None)]);
    assert_eq!(twice.err(), Some(RingError::Twice { node: NodeId(7) }));
    let nodes = (0..=NODES_MAX as u64).map(|id| node(id, 1, None)).collect();
    assert_eq!(
        HashRing::new(nodes).err(),
        Some(RingError::Nodes { nodes: 251 })
    );
    assert_eq!(Weight::new(0), Err(RingError::Weight { weight: 0 }));
    assert_eq!(Weight::new(65), Err(RingError::Weight { weight: 65 }));
    assert_eq!(Zone::new(""), Err(RingError::Zone { bytes: 0 }));
    assert!(Zone::new(&"z".repeat(65)).is_err());
    let empty = ring(&[]);
    assert!(empty.holders(RingKey::of_bytes(b"key"), 3).is_empty());
}

#[test]
fn a_node_without_a_zone_fails_with_no_other() {
    let nodes = [
        node(1, 1, Some(1)),
        node(2, 1, Some(1)),
        node(3, 1, None),
        node(4, 1, None),
    ];
    assert_eq!(ring(&nodes).zone_count(), 3);
    for key in 0..200u8 {
        let holders = ring(&nodes).holders(RingKey::of_bytes(&[key]), 3);
        assert!(holders.contains(&NodeId(3)) && holders.contains(&NodeId(4)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shares_are_within_five_percent_of_weight(nodes in cluster(1..=1)) {
        prop_assert!(farthest_from_weight(&ring(&nodes)) < 0.05);
    }

    #[test]
    fn so_they_are_with_mixed_weights(nodes in cluster(1..=8)) {
        prop_assert!(farthest_from_weight(&ring(&nodes)) < 0.05);
    }

    /// Stronger than a bound on what moves: nothing else moves at all. Read backwards, it is
    /// what happens when a node leaves.
    #[test]
    fn a_node_that_joins_changes_nothing_among_the_others(
        mut nodes in cluster(1..=4),
        id: u64,
        keys in vec(any::<u64>(), 20),
    ) {
        prop_assume!(nodes.iter().all(|it| it.id != NodeId(id)));
        let before = ring(&nodes);
        nodes.push(node(id, 1, None));
        let after = ring(&nodes);
        for key in keys.into_iter().map(|key| RingKey::of_bytes(&key.to_le_bytes())) {
            let named = |ring: &HashRing| -> Vec<NodeId> {
                ring.order(key).map(|it| ring.nodes[it].id).collect()
            };
            let mut without = named(&after);
            prop_assert_eq!(without.len(), nodes.len(), "all of them are in the order");
            without.retain(|it| *it != NodeId(id));
            prop_assert_eq!(without, named(&before));
        }
    }

    #[test]
    fn what_moves_when_a_node_joins_is_its_share(mut nodes in cluster(1..=1), id: u64) {
        prop_assume!(nodes.iter().all(|it| it.id != NodeId(id)));
        let count = nodes.len() as f64;
        nodes.push(node(id, 1, None));
        let after = ring(&nodes);
        let place = after.nodes.iter().position(|it| it.id == NodeId(id)).unwrap();
        prop_assert!(share(&after)[place] <= 1.2 / (count + 1.0));
    }

    #[test]
    fn holders_are_distinct_and_in_as_many_zones_as_there_are(
        zones in vec(proptest::option::of(0..5u8), 1..12),
        count in 1..6usize,
        keys in vec(any::<u64>(), 10),
    ) {
        let nodes: Vec<_> = (0..).zip(zones).map(|(id, zone)| node(id, 1, zone)).collect();
        let ring = ring(&nodes);
        for key in keys {
            let holders = ring.holders(RingKey::of_bytes(&key.to_le_bytes()), count);
            let distinct: BTreeSet<_> = holders.iter().collect();
            prop_assert_eq!(distinct.len(), holders.len());
            prop_assert_eq!(holders.len(), count.min(nodes.len()));
            let zones: BTreeSet<_> = nodes
                .iter()
                .enumerate()
                .filter(|(_, it)| holders.contains(&it.id))
                .map(|(place, _)| ring.zone(place))
                .collect();
            prop_assert_eq!(zones.len(), count.min(ring.zone_count()));
        }
    }
}
