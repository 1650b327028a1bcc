//! How many placements each node should have.

use crate::hash_ring::HashRing;

/// Halvings of an interval; more than a number of 53 bits can tell apart.
const HALVINGS: u32 = 64;

/// What sums of fractions may be off by.
const ROUNDING: f64 = 1e-6;

/// A number of placements, before rounding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(f64);

impl Share {
    pub(super) fn exact(self) -> f64 {
        self.0
    }

    pub(super) fn floor(self) -> usize {
        self.low(0.0)
    }

    pub(super) fn ceil(self) -> usize {
        self.high(0.0)
    }

    pub(super) fn low(self, slack: f64) -> usize {
        (self.0 * (1.0 - slack) + ROUNDING).floor() as usize
    }

    pub(super) fn high(self, slack: f64) -> usize {
        (self.0 * (1.0 + slack) - ROUNDING).ceil() as usize
    }
}

/// A zone's nodes, and between what its part of all placements has to be.
struct ZoneBounds {
    nodes: Vec<(usize, f64)>,
    low: f64,
    high: f64,
}

/// Every node's share.
///
/// All fill at a rate in proportion to their weights, and stop where they are full; a zone that
/// must have more goes on for itself, one that may not have more stops as a whole.
pub(super) fn shares(ring: &HashRing, partitions: usize, replicas: usize) -> Vec<Share> {
    let nodes = ring.nodes();
    let replicas = replicas.min(nodes.len());
    // A node can hold every partition once.
    let full = partitions as f64;
    let shared = replicas.saturating_sub(ring.zone_count());
    let zones: Vec<ZoneBounds> = (0..ring.zone_count())
        .map(|zone| {
            let of_zone = nodes
                .iter()
                .enumerate()
                .filter(|(it, _)| ring.zone(*it) == zone);
            let nodes: Vec<_> = of_zone
                .map(|(it, node)| (it, f64::from(node.weight.units())))
                .collect();
            ZoneBounds {
                low: if ring.zone_count() <= replicas {
                    full
                } else {
                    0.0
                },
                high: full * nodes.len().min(shared + 1) as f64,
                nodes,
            }
        })
        .collect();
    let total = full * replicas as f64;
    let level = halve(full, |level| {
        zones.iter().map(|zone| zone.at(level, full)).sum::<f64>() < total
    });
    let mut shares = vec![Share(0.0); nodes.len()];
    for zone in &zones {
        let total = zone.at(level, full);
        let level = halve(full, |level| zone.sum(level, full) < total);
        for &(node, weight) in &zone.nodes {
            shares[node] = Share((level * weight).min(full));
        }
    }
    shares
}

impl ZoneBounds {
    fn sum(&self, level: f64, full: f64) -> f64 {
        let nodes = self.nodes.iter();
        nodes.map(|(_, weight)| (level * weight).min(full)).sum()
    }

    fn at(&self, level: f64, full: f64) -> f64 {
        self.sum(level, full).clamp(self.low, self.high)
    }
}

/// The lowest level up to `high` that is not below what is sought.
fn halve(high: f64, below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, high);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
