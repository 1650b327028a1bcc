//! A topology as bytes: first the version, then numbers as LEB128 in their shortest form. About
//! six bytes a partition.
//!
//! ```text
//! version 1 · epoch · blueprint_min · partitions · replicas · replica ids given
//! nodes: count, each: id (8 bytes, little-endian) · replica · weight · state · zone (length,
//!        bytes; none: 0)
//! each partition: configuration · members · 0 | 1 copying to | 2 joint to
//! members, to: count, each a replica
//! ```
//!
//! What is read comes from a disk or a peer: every count is checked against its limit before
//! anything is made of it, and what breaks an invariant of [`Topology`] is refused. One topology
//! has one form.

use atoll_base::id::{ConfigurationNumber, Epoch, NodeId, ReplicaId};
use thiserror::Error;

use super::{
    Assignment, Change, Node, NodeState, REPLICAS_MAX, Topology, all_distinct, assignment::same,
    check_replicas,
};
use crate::{
    hash_ring::{NODES_MAX, RingNode, Weight, ZONE_BYTES_MAX, Zone},
    partition::Partitions,
};

/// The version that is written. A build reads this one; a later version brings its migration.
pub const FORMAT_VERSION: u8 = 1;

/// The largest number in a topology. No count of changes comes near, and one more always fits.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// Why bytes are no topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It was written by a newer version.
    #[error("a topology of format {version}; this build reads {FORMAT_VERSION}")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The bytes end too early.
    #[error("a topology that ends early")]
    Short,
    /// There are bytes after the end.
    #[error("a topology with {bytes} bytes after its end")]
    Long {
        /// How many.
        bytes: usize,
    },
    /// A part that no topology has.
    #[error("a topology with a wrong {part}")]
    Wrong {
        /// What is wrong.
        part: &'static str,
    },
}

impl Topology {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_VERSION];
        put(&mut out, self.epoch.0);
        put(&mut out, self.blueprint_min.0);
        put(&mut out, u64::from(self.partitions.count()));
        put(&mut out, u64::from(self.replicas));
        put(&mut out, self.replica_ids);
        put(&mut out, self.nodes.len() as u64);
        for node in &self.nodes {
            out.extend_from_slice(&node.ring.id.0.to_le_bytes());
            put(&mut out, node.replica.0);
            put(&mut out, u64::from(node.ring.weight.units()));
            put(
                &mut out,
                match node.state {
                    NodeState::Active => 0,
                    NodeState::Draining => 1,
                    NodeState::Gone => 2,
                },
            );
            let zone = node.ring.zone.as_ref().map_or("", Zone::name);
            put(&mut out, zone.len() as u64);
            out.extend_from_slice(zone.as_bytes());
        }
        for assignment in &self.assignments {
            put(&mut out, assignment.configuration.0);
            put_replicas(&mut out, &assignment.members);
            match &assignment.change {
                None => put(&mut out, 0),
                Some(Change::Copying(to)) => {
                    put(&mut out, 1);
                    put_replicas(&mut out, to);
                }
                Some(Change::Joint(to)) => {
                    put(&mut out, 2);
                    put_replicas(&mut out, to);
                }
            }
        }
        out
    }

    /// A topology from its bytes.
    ///
    /// # Errors
    /// When they are of another version, or no topology.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Version { version });
        }
        let epoch = Epoch(input.number()?);
        let blueprint_min = Epoch(input.number()?);
        let partitions = u16::try_from(input.number()?)
            .ok()
            .and_then(|count| Partitions::new(count).ok())
            .ok_or(wrong("number of partitions"))?;
        let replicas = u8::try_from(input.number()?)
            .ok()
            .filter(|it| check_replicas(*it).is_ok())
            .ok_or(wrong("number of replicas"))?;
        let replica_ids = input.number()?;
        let count = input.count(NODES_MAX, "number of nodes")?;
        let mut nodes: Vec<Node> = Vec::with_capacity(count);
        for _ in 0..count {
            let node = input.node(replica_ids)?;
            if nodes.iter().any(|it| it.replica == node.replica)
                || nodes.last().is_some_and(|it| it.ring.id >= node.ring.id)
            {
                return Err(wrong("order of nodes"));
            }
            nodes.push(node);
        }
        let mut assignments = Vec::with_capacity(usize::from(partitions.count()));
        for _ in partitions.ids() {
            assignments.push(input.assignment(replica_ids)?);
        }
        if blueprint_min > epoch {
            return Err(wrong("epoch"));
        }
        match input.0.len() {
            0 => Ok(Self {
                epoch,
                blueprint_min,
                partitions,
                replicas,
                replica_ids,
                nodes,
                assignments,
            }),
            bytes => Err(DecodeError::Long { bytes }),
        }
    }
}

fn wrong(part: &'static str) -> DecodeError {
    DecodeError::Wrong { part }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn put_replicas(out: &mut Vec<u8>, replicas: &[ReplicaId]) {
    put(out, replicas.len() as u64);
    for replica in replicas {
        put(out, replica.0);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.take(1).map(|it| it[0])
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(wrong("number"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                // A zero at the end would be a longer form of the same.
                let longer = byte == 0 && shift > 0;
                if longer || number > NUMBER_MAX {
                    return Err(wrong("number"));
                }
                return Ok(number);
            }
        }
        Err(wrong("number"))
    }

    fn count(&mut self, max: usize, part: &'static str) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).ok();
        count.filter(|it| *it <= max).ok_or(wrong(part))
    }

    fn replica(&mut self, given: u64) -> Result<ReplicaId, DecodeError> {
        match self.number()? {
            id if (1..=given).contains(&id) => Ok(ReplicaId(id)),
            _ => Err(wrong("replica")),
        }
    }

    fn node(&mut self, given: u64) -> Result<Node, DecodeError> {
        let id = self.take(8)?.iter().rev();
        let id = NodeId(id.fold(0, |id, byte| (id << 8) | u64::from(*byte)));
        let replica = self.replica(given)?;
        let weight = Weight::new(self.number()?).map_err(|_| wrong("weight"))?;
        let state = match self.number()? {
            0 => NodeState::Active,
            1 => NodeState::Draining,
            2 => NodeState::Gone,
            _ => return Err(wrong("state")),
        };
        let length = self.count(ZONE_BYTES_MAX, "zone")?;
        let zone = std::str::from_utf8(self.take(length)?).map_err(|_| wrong("zone"))?;
        let ring = RingNode {
            id,
            weight,
            // The length was checked; a zone of none is no zone.
            zone: Zone::new(zone).ok(),
        };
        Ok(Node {
            ring,
            replica,
            state,
        })
    }

    fn replicas(&mut self, given: u64) -> Result<Vec<ReplicaId>, DecodeError> {
        let count = self.count(usize::from(REPLICAS_MAX), "number of members")?;
        let replicas: Vec<ReplicaId> = (0..count)
            .map(|_| self.replica(given))
            .collect::<Result<_, _>>()?;
        if replicas.is_empty() || !all_distinct(&replicas) {
            return Err(wrong("set of members"));
        }
        Ok(replicas)
    }

    fn assignment(&mut self, given: u64) -> Result<Assignment, DecodeError> {
        let configuration = ConfigurationNumber(self.number()?);
        let members = self.replicas(given)?;
        let change = match self.number()? {
            0 => None,
            1 => Some(Change::Copying(self.replicas(given)?)),
            2 => Some(Change::Joint(self.replicas(given)?)),
            _ => return Err(wrong("change")),
        };
        if change.as_ref().is_some_and(|it| same(it.to(), &members)) {
            return Err(wrong("change"));
        }
        Ok(Assignment {
            configuration,
            members,
            change,
        })
    }
}
