//! The numbered state of who holds what, and the only ways in which it may change.
//!
//! A topology is a value. The control plane keeps it, and writes the next one only over the one
//! that it came from. Each change makes the [`Epoch`] one higher; each change of a partition
//! also that partition's [`ConfigurationNumber`]. A partition changes its members thus:
//!
//! ```text
//!          begin                 enter_joint               finish
//! members ──────▶ copying(new) ─────────────▶ joint(new) ─────────▶ new
//!          begin again: another new, or none
//! ```
//!
//! - While *copying*, the old members vote and the new ones learn. It binds nobody: when a
//!   learner dies or a better plan comes, `begin` replaces it.
//! - `enter_joint` asks that a majority of the new members is caught up, so that the partition
//!   can go on committing. Safety does not depend on it.
//! - While *joint*, everything needs a majority of both. There is no way back from here, since
//!   somebody may have committed under it.
//! - `finish` takes a [`JointCommit`]: an entry was committed under this very configuration by
//!   both majorities. Whatever the old members committed alone lies before it and is known to a
//!   majority of the new. (Ongaro's thesis, 2014, section 4.3, has the argument for Raft.)
//!
//! Every step names the configuration that it starts from, so a step that comes twice, late, or
//! from a planner that fell behind changes nothing. Blueprints come from [`Topology::plan`].

use std::collections::BTreeSet;

use atoll_base::id::{ConfigurationNumber, Epoch, NodeId, PartitionId, ReplicaId};

use crate::{
    hash_ring::{HashRing, RingNode},
    partition::Partitions,
    placement,
};

mod assignment;
mod codec;
mod error;
mod nodes;
mod plan;
mod proof;

pub use assignment::{Assignment, Change};
pub use codec::{DecodeError, FORMAT_VERSION};
pub use error::TopologyError;
pub use plan::{Blueprint, Move};
pub use proof::{CaughtUp, JointCommit, NoMajority};

/// The most replicas of a partition.
pub const REPLICAS_MAX: u8 = 7;

/// How many replicas a partition has when nobody says otherwise.
pub const REPLICAS_DEFAULT: u8 = 3;

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Holds partitions.
    Active,
    /// Still holds some, and hands them over.
    Draining,
    /// Will not come back.
    Gone,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What the ring knows of it.
    pub ring: RingNode,
    /// As whom it votes.
    pub replica: ReplicaId,
    /// What it is there for.
    pub state: NodeState,
}

/// Whether a step did anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did, and the epoch is a new one.
    Changed,
    /// All was so already.
    Unchanged,
}

/// Who holds what, at one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    epoch: Epoch,
    /// Blueprints with lower numbers are refused.
    blueprint_min: Epoch,
    partitions: Partitions,
    replicas: u8,
    /// How many replica ids were given away.
    replica_ids: u64,
    /// Sorted by id.
    nodes: Vec<Node>,
    /// One for each partition.
    assignments: Vec<Assignment>,
}

impl Topology {
    /// A cluster's first topology: nothing is stored yet, so everybody just gets his part.
    ///
    /// # Errors
    /// When the number of replicas is not odd or too high, there is no node, or the nodes are
    /// no ring.
    pub fn found(
        partitions: Partitions,
        replicas: u8,
        nodes: Vec<RingNode>,
    ) -> Result<Self, TopologyError> {
        check_replicas(replicas)?;
        if nodes.is_empty() {
            return Err(TopologyError::LastNode);
        }
        let ring = HashRing::new(nodes)?;
        let nodes: Vec<Node> = (1..)
            .zip(ring.nodes())
            .map(|(id, node)| Node {
                ring: node.clone(),
                replica: ReplicaId(id),
                state: NodeState::Active,
            })
            .collect();
        let mut topology = Self {
            epoch: Epoch(1),
            blueprint_min: Epoch(1),
            partitions,
            replicas,
            replica_ids: nodes.len() as u64,
            nodes,
            assignments: Vec::new(),
        };
        let count = topology.replica_goal();
        let placed = placement::place(&ring, partitions, count, &[]);
        topology.assignments = placed
            .iter()
            .map(|nodes| Assignment::new(topology.replicas_of(nodes)))
            .collect();
        Ok(topology)
    }

    /// Its number.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How the data is cut.
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// How many replicas each partition is to have, once there are nodes for it.
    pub fn replicas(&self) -> u8 {
        self.replicas
    }

    /// How many replica ids were given so far: those from 1 to this. None is given twice.
    pub fn replica_ids(&self) -> u64 {
        self.replica_ids
    }

    /// All nodes, in the order of their ids.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.place_of(id).ok().map(|place| &self.nodes[place])
    }

    /// The node that votes as this replica now.
    pub fn node_of(&self, replica: ReplicaId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.replica == replica)
    }

    /// Who holds a partition; `None` if there is no such partition.
    pub fn assignment(&self, partition: PartitionId) -> Option<&Assignment> {
        self.assignments.get(usize::from(partition.0))
    }

    /// In how many partitions a node votes or learns: what is left of a drain.
    pub fn held_by(&self, id: NodeId) -> usize {
        let Some(node) = self.node(id) else { return 0 };
        let all = self.assignments.iter();
        all.filter(|it| it.names(node.replica)).count()
    }

    /// How many partitions are between two configurations.
    pub fn changing(&self) -> usize {
        let all = self.assignments.iter();
        all.filter(|it| it.change().is_some()).count()
    }

    /// Begins a move of a blueprint: the new members become learners.
    ///
    /// # Errors
    /// When the blueprint is older than one already begun or than the last change of nodes, the
    /// partition is no longer as the blueprint saw it, or `moves_max` partitions are changing
    /// already.
    pub fn begin(
        &mut self,
        blueprint: &Blueprint,
        partition: PartitionId,
        moves_max: usize,
    ) -> Result<Outcome, TopologyError> {
        let number = blueprint.number();
        if number < self.blueprint_min || number > self.epoch {
            return Err(TopologyError::Blueprint {
                number,
                min: self.blueprint_min,
                epoch: self.epoch,
            });
        }
        let wanted = blueprint
            .of(partition)
            .ok_or(TopologyError::NoMove { partition, number })?;
        let changing = self.changing();
        let assignment = self.assignment_mut(partition)?;
        if assignment.is_begun(wanted) {
            return Ok(Outcome::Unchanged);
        }
        assignment.check(partition, wanted.configuration())?;
        if assignment.change().is_none() && changing >= moves_max {
            return Err(TopologyError::Busy {
                changing,
                moves_max,
            });
        }
        assignment.begin(wanted.to().to_vec());
        self.blueprint_min = number;
        Ok(self.changed())
    }

    /// Lets the new members of a partition vote beside the old ones.
    ///
    /// # Errors
    /// When the partition is not as the proof says.
    pub fn enter_joint(&mut self, proof: &CaughtUp) -> Result<Outcome, TopologyError> {
        let partition = proof.partition();
        let assignment = self.assignment_mut(partition)?;
        let follows = proof.configuration().0 + 1 == assignment.configuration().0;
        if follows && matches!(assignment.change(), Some(Change::Joint(_))) {
            return Ok(Outcome::Unchanged);
        }
        assignment.check(partition, proof.configuration())?;
        proof.verify(assignment)?;
        assignment.enter_joint();
        Ok(self.changed())
    }

    /// Lets the old members of a partition go.
    ///
    /// # Errors
    /// When the partition is not as the proof says.
    pub fn finish(&mut self, proof: &JointCommit) -> Result<Outcome, TopologyError> {
        let partition = proof.partition();
        let assignment = self.assignment_mut(partition)?;
        let follows = proof.configuration().0 + 1 == assignment.configuration().0;
        if follows && assignment.change().is_none() {
            return Ok(Outcome::Unchanged);
        }
        assignment.check(partition, proof.configuration())?;
        proof.verify(assignment)?;
        assignment.finish();
        Ok(self.changed())
    }

    fn changed(&mut self) -> Outcome {
        self.epoch.0 += 1;
        Outcome::Changed
    }

    fn place_of(&self, id: NodeId) -> Result<usize, usize> {
        self.nodes.binary_search_by_key(&id, |node| node.ring.id)
    }

    fn active(&self) -> impl Iterator<Item = &Node> {
        let nodes = self.nodes.iter();
        nodes.filter(|node| node.state == NodeState::Active)
    }

    fn assignment_mut(&mut self, partition: PartitionId) -> Result<&mut Assignment, TopologyError> {
        self.assignments
            .get_mut(usize::from(partition.0))
            .ok_or(TopologyError::NoPartition { partition })
    }

    fn replicas_of(&self, nodes: &[NodeId]) -> Vec<ReplicaId> {
        let known = nodes.iter().filter_map(|id| self.node(*id));
        known.map(|node| node.replica).collect()
    }
}

fn check_replicas(replicas: u8) -> Result<(), TopologyError> {
    if replicas.is_multiple_of(2) || replicas > REPLICAS_MAX {
        return Err(TopologyError::Replicas { replicas });
    }
    Ok(())
}

fn all_distinct(replicas: &[ReplicaId]) -> bool {
    let distinct: BTreeSet<_> = replicas.iter().collect();
    distinct.len() == replicas.len()
}

fn configuration_after(number: ConfigurationNumber) -> ConfigurationNumber {
    ConfigurationNumber(number.0 + 1)
}

#[cfg(test)]
mod tests;
