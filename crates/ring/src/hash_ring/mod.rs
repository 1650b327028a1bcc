//! A consistent-hash ring: who should hold a key, by nobody's decision but the hash's.
//!
//! Each node has [`VIRTUAL_NODES_PER_WEIGHT`] points per unit of weight on a circle of 2⁶⁴
//! places. A key looks at the circle from [`PROBES`] places; a node's distance to the key is the
//! shortest way, clockwise, from any of these places to any of the node's points, and the nearer
//! a node the more it is wanted. The distance of one node does not depend on the others. So a
//! node that comes is put into every key's order somewhere, one that goes is taken out, and the
//! rest stay in the order they were in: whatever moves, moves to who came or from who went.
//!
//! # Why many probes
//! With one probe, 128 random points a node give it a share that deviates by 1/√128 ≈ 9 % as a
//! rule (its arcs are as long as waiting times, whose deviation is their mean), so among fifty
//! nodes one with 20 % too much is the usual case. To be within 5 % would take 16,000 points a
//! node. Looking from `k` places and taking the nearest point does it with few points, since a
//! long arc is nearest less often than it is long: the deviation of a point's share falls from 1
//! to about 1/√(2k), here 0.09, and that of a node's share to 0.09/√128 = 0.8 %. Six deviations
//! fit into 5 %. This is Appleton and O'Reilly, "Multi-probe consistent hashing" (2015), with
//! virtual nodes kept, for they carry the weights. `tests::share` measures it exactly.
//!
//! # What is fixed for ever
//! Where points and probes lie. It decides where data is looked for, so it is a format: XXH3
//! (64 bit, seeds [`POINT_SEED`] and [`PROBE_SEED`]) over little-endian numbers, with golden
//! values below.

use std::collections::{BTreeSet, BinaryHeap};
use std::{cmp::Reverse, fmt};

use atoll_base::id::{NodeId, PartitionId};
use thiserror::Error;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

mod spread;

pub(crate) use spread::Spread;

/// Points on the ring per unit of a node's weight.
pub const VIRTUAL_NODES_PER_WEIGHT: u32 = 128;

/// How many places a key looks from.
pub const PROBES: u32 = 64;

/// The largest weight of a node.
pub const WEIGHT_MAX: u8 = 64;

/// The most bytes in a zone's name.
pub const ZONE_BYTES_MAX: usize = 64;

/// The most nodes on a ring; it bounds a ring's memory to 32 MiB, at the largest weights.
pub const NODES_MAX: usize = 250;

const POINT_SEED: u64 = 1;
const PROBE_SEED: u64 = 2;

/// How much a node can take, in units that are the operator's own: 1 to [`WEIGHT_MAX`]. Only
/// ratios count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u8);

/// Where a node stands: what fails together has one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(String);

/// Why there is no such ring, weight or zone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RingError {
    /// A weight out of range.
    #[error("a node's weight is 1 to {WEIGHT_MAX}, not {weight}")]
    Weight {
        /// The weight asked for.
        weight: u64,
    },
    /// A zone whose name is empty or too long.
    #[error("a zone's name has 1 to {ZONE_BYTES_MAX} bytes, not {bytes}")]
    Zone {
        /// The length of the name.
        bytes: usize,
    },
    /// More nodes than a ring takes.
    #[error("a ring has at most {NODES_MAX} nodes, not {nodes}")]
    Nodes {
        /// How many were given.
        nodes: usize,
    },
    /// A node that is named twice.
    #[error("node {node} is named twice")]
    Twice {
        /// The node.
        node: NodeId,
    },
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl Weight {
    /// A weight.
    ///
    /// # Errors
    /// When it is 0 or more than [`WEIGHT_MAX`].
    pub fn new(weight: u64) -> Result<Self, RingError> {
        match u8::try_from(weight) {
            Ok(units @ 1..=WEIGHT_MAX) => Ok(Self(units)),
            _ => Err(RingError::Weight { weight }),
        }
    }

    /// Its units.
    pub const fn units(self) -> u8 {
        self.0
    }
}

impl Zone {
    /// A zone of this name.
    ///
    /// # Errors
    /// When the name is empty or longer than [`ZONE_BYTES_MAX`].
    pub fn new(name: &str) -> Result<Self, RingError> {
        if name.is_empty() || name.len() > ZONE_BYTES_MAX {
            return Err(RingError::Zone { bytes: name.len() });
        }
        Ok(Self(name.to_owned()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node as the ring sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingNode {
    /// Which.
    pub id: NodeId,
    /// How much it takes, against the others.
    pub weight: Weight,
    /// Where it stands. A node that names no zone fails with no other: a zone of its own.
    pub zone: Option<Zone>,
}

/// A key as the ring sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingKey(u64);

impl RingKey {
    /// The key with these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }

    /// The key of a partition.
    pub fn of_partition(partition: PartitionId) -> Self {
        Self::of_bytes(&partition.0.to_le_bytes())
    }

    fn probe(self, number: u32) -> u64 {
        position(PROBE_SEED, self.0, number)
    }
}

fn position(seed: u64, id: u64, number: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    position: u64,
    /// The node, as an index into the ring's nodes. They are sorted by id, so that even two
    /// points on one place have an order that is the same everywhere.
    node: u32,
}

/// Nodes on a circle.
#[derive(Clone, Debug)]
pub struct HashRing {
    nodes: Vec<RingNode>,
    /// Each node's zone as a number; a node without one has a number of its own.
    zones: Vec<usize>,
    zone_count: usize,
    points: Vec<Point>,
}

impl HashRing {
    /// A ring of these nodes, whose order does not matter.
    ///
    /// # Errors
    /// When there are too many, or two with one id.
    pub fn new(mut nodes: Vec<RingNode>) -> Result<Self, RingError> {
        if nodes.len() > NODES_MAX {
            return Err(RingError::Nodes { nodes: nodes.len() });
        }
        nodes.sort_by_key(|node| node.id);
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(RingError::Twice { node: pair[0].id });
        }
        let mut points = Vec::new();
        for (index, node) in (0..).zip(&nodes) {
            let count = VIRTUAL_NODES_PER_WEIGHT * u32::from(node.weight.units());
            points.extend((0..count).map(|number| Point {
                position: position(POINT_SEED, node.id.0, number),
                node: index,
            }));
        }
        points.sort_unstable();
        let (zones, zone_count) = number_zones(&nodes);
        Ok(Self {
            nodes,
            zones,
            zone_count,
            points,
        })
    }

    /// Its nodes, in the order of their ids. What follows names them by their place here.
    pub fn nodes(&self) -> &[RingNode] {
        &self.nodes
    }

    /// The number of a node's zone, below [`Self::zone_count`].
    pub(crate) fn zone(&self, node: usize) -> usize {
        self.zones[node]
    }

    pub(crate) fn zone_count(&self) -> usize {
        self.zone_count
    }

    /// All nodes, the most wanted first.
    pub(crate) fn order(&self, key: RingKey) -> Order<'_> {
        let heads = (0..PROBES)
            .filter(|_| !self.points.is_empty())
            .map(|number| {
                let probe = key.probe(number);
                let first = self.points.partition_point(|it| it.position < probe);
                Reverse(self.head(probe, first % self.points.len(), 0))
            });
        Order {
            ring: self,
            heads: heads.collect(),
            seen: vec![false; self.nodes.len()],
            left: self.nodes.len(),
        }
    }

    fn head(&self, probe: u64, first: usize, passed: usize) -> Head {
        let point = self.points[(first + passed) % self.points.len()];
        Head {
            distance: point.position.wrapping_sub(probe),
            node: point.node,
            probe,
            first,
            passed,
        }
    }

    /// The nodes that should hold a key: the `count` most wanted, all different, in as many
    /// zones as there are (up to `count`). Fewer only where there are fewer nodes.
    pub fn holders(&self, key: RingKey, count: usize) -> Vec<NodeId> {
        let mut spread = Spread::new(self, count);
        for node in self.order(key) {
            if spread.is_full() {
                break;
            }
            spread.take(node);
        }
        let taken = spread.taken.iter();
        taken.map(|&node| self.nodes[node].id).collect()
    }
}

fn number_zones(nodes: &[RingNode]) -> (Vec<usize>, usize) {
    let named: BTreeSet<&Zone> = nodes.iter().filter_map(|it| it.zone.as_ref()).collect();
    let named: Vec<&Zone> = named.into_iter().collect();
    let mut count = named.len();
    let zones = nodes
        .iter()
        .map(|node| match &node.zone {
            Some(zone) => named.partition_point(|it| *it < zone),
            None => {
                count += 1;
                count - 1
            }
        })
        .collect();
    (zones, count)
}

/// The way from one probe to the next point that it has not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    distance: u64,
    node: u32,
    probe: u64,
    /// The point that it came to first.
    first: usize,
    /// How many points it has passed since.
    passed: usize,
}

/// Nodes in the order in which a key wants them.
pub(crate) struct Order<'a> {
    ring: &'a HashRing,
    heads: BinaryHeap<Reverse<Head>>,
    seen: Vec<bool>,
    /// How many it has not seen.
    left: usize,
}

impl Iterator for Order<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.left > 0 {
            let Reverse(head) = self.heads.pop()?;
            let passed = head.passed + 1;
            // A probe that came round has seen all there is.
            if passed < self.ring.points.len() {
                let next = self.ring.head(head.probe, head.first, passed);
                self.heads.push(Reverse(next));
            }
            let node = head.node as usize;
            if !std::mem::replace(&mut self.seen[node], true) {
                self.left -= 1;
                return Some(node);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
