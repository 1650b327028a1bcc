//! From a topology to what should be done about it: an immutable, numbered blueprint. It
//! follows from the topology alone, so it need not be stored: who takes over plans again, and
//! what was begun counts as done.

use atoll_base::id::{ConfigurationNumber, Epoch, NodeId, PartitionId, ReplicaId};

use super::{Assignment, Node, NodeState, Topology, TopologyError, assignment::same};
use crate::{hash_ring::HashRing, placement};

/// What to move, as seen from one epoch, which is its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blueprint {
    number: Epoch,
    moves: Vec<Move>,
}

/// One partition goes from some replicas to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    partition: PartitionId,
    configuration: ConfigurationNumber,
    from: Vec<ReplicaId>,
    to: Vec<ReplicaId>,
}

impl Blueprint {
    /// Its number: the epoch that it was made from.
    pub fn number(&self) -> Epoch {
        self.number
    }

    /// What moves, what is most urgent first: the fewer of a partition's members are left, the
    /// sooner it gets others.
    pub fn moves(&self) -> &[Move] {
        &self.moves
    }

    pub(super) fn of(&self, partition: PartitionId) -> Option<&Move> {
        self.moves.iter().find(|it| it.partition == partition)
    }
}

impl Move {
    /// Of which partition.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The configuration that it starts from.
    pub fn configuration(&self) -> ConfigurationNumber {
        self.configuration
    }

    /// Who holds it.
    pub fn from(&self) -> &[ReplicaId] {
        &self.from
    }

    /// Who should hold it. The same as `from` where a copy that was begun is to be given up.
    pub fn to(&self) -> &[ReplicaId] {
        &self.to
    }
}

impl Topology {
    /// What should move. Nothing, once all is as it should be; partitions that are joint have to
    /// finish first and come in a later blueprint.
    ///
    /// # Errors
    /// When the nodes make no ring, which a topology that came about here excludes.
    pub fn plan(&self) -> Result<Blueprint, TopologyError> {
        let nodes = self.active().map(|node| node.ring.clone()).collect();
        let ring = HashRing::new(nodes)?;
        let count = self.replica_goal();
        let held: Vec<Vec<NodeId>> = self.assignments.iter().map(|it| self.holders(it)).collect();
        let placed = placement::place(&ring, self.partitions, count, &held);
        let mut moves: Vec<Move> = self
            .partitions
            .ids()
            .zip(&self.assignments)
            .zip(&placed)
            .map(|((partition, assignment), nodes)| Move {
                partition,
                configuration: assignment.configuration(),
                from: assignment.members().to_vec(),
                to: self.replicas_of(nodes),
            })
            .zip(&self.assignments)
            .filter(|(it, assignment)| {
                !it.to.is_empty()
                    && assignment.joint().is_none()
                    && !same(assignment.goal(), &it.to)
            })
            .map(|(it, _)| it)
            .collect();
        moves.sort_by_key(|it| (self.alive(&it.from), it.partition));
        Ok(Blueprint {
            number: self.epoch,
            moves,
        })
    }

    /// How many replicas partitions should have now.
    ///
    /// An even number survives no more failures than the odd one below it, and asks for more to
    /// agree. So replicas grow from one to three in one step, and two come about only when of
    /// three nodes one leaves.
    pub(super) fn replica_goal(&self) -> usize {
        let limit = self.active().count().min(usize::from(self.replicas));
        let odd = limit - usize::from(limit.is_multiple_of(2)).min(limit);
        let goals = self.assignments.iter().map(|it| it.goal().len());
        let held = goals.max().unwrap_or(0);
        odd.max(held.min(limit))
    }

    /// The nodes that hold a partition once what is begun is done, as far as they stay. A copy to
    /// a node that does not stay is worth nothing.
    fn holders(&self, assignment: &Assignment) -> Vec<NodeId> {
        let active = |replica: &ReplicaId| {
            let node = self.node_of(*replica);
            node.filter(|node| node.state == NodeState::Active)
        };
        let goal = assignment.goal();
        let valid = assignment.joint().is_some() || goal.iter().all(|it| active(it).is_some());
        let from = if valid { goal } else { assignment.members() };
        from.iter()
            .filter_map(active)
            .map(|it| it.ring.id)
            .collect()
    }

    fn alive(&self, replicas: &[ReplicaId]) -> usize {
        let nodes = replicas.iter().filter_map(|it| self.node_of(*it));
        let alive = |node: &&Node| node.state != NodeState::Gone;
        nodes.filter(alive).count()
    }
}
