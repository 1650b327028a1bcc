//! Who holds what, as the cluster has decided.

use std::collections::BTreeMap;

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_ring::partition::Partitions;

use crate::core::paxos::{Configuration, Members};

/// Who holds what.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// How the data is cut.
    pub partitions: Partitions,
    /// How many replica ids were given so far: 1 to this. None is given twice, so those of them
    /// that no node has are gone for good.
    pub replica_ids: u64,
    /// Whose voice each replica is.
    pub nodes: BTreeMap<ReplicaId, NodeId>,
    /// Each partition's place.
    pub places: BTreeMap<PartitionId, Place>,
}

/// Who holds a partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Who votes.
    pub configuration: Configuration,
    /// Whether it is on its way to other voters; to fewer, perhaps, so that nobody learns.
    pub is_changing: bool,
    /// Who gets the log, and will vote.
    pub learners: Vec<ReplicaId>,
    /// The voters in the ring's order: who is asked first when no owner is known.
    pub order: Vec<ReplicaId>,
}

impl Place {
    /// Whether a replica is to have the partition's log.
    pub(super) fn has_part(&self, replica: ReplicaId) -> bool {
        self.configuration.is_voter(replica) || self.learners.contains(&replica)
    }
}

impl Layout {
    /// Everything on one node.
    pub fn single(partitions: Partitions, node: NodeId, replica: ReplicaId) -> Layout {
        Layout::fixed(partitions, BTreeMap::from([(replica, node)]), |_| {
            vec![replica]
        })
    }

    /// Every partition on the replicas that a function names, at least one, in their order.
    ///
    /// # Panics
    /// It names none.
    pub fn fixed(
        partitions: Partitions,
        nodes: BTreeMap<ReplicaId, NodeId>,
        holders: impl Fn(PartitionId) -> Vec<ReplicaId>,
    ) -> Layout {
        let place = |partition| {
            let order = holders(partition);
            let Some(members) = Members::new(order.clone()) else {
                panic!("partition {partition} is held by nobody");
            };
            let place = Place {
                configuration: Configuration::first(members),
                is_changing: false,
                learners: Vec::new(),
                order,
            };
            (partition, place)
        };
        Layout {
            partitions,
            replica_ids: nodes.keys().map(|replica| replica.0).max().unwrap_or(0),
            nodes,
            places: partitions.ids().map(place).collect(),
        }
    }

    /// The replica of a node.
    pub(super) fn replica_of(&self, node: NodeId) -> Option<ReplicaId> {
        let mut replicas = self.nodes.iter();
        replicas.find_map(|(replica, at)| (*at == node).then_some(*replica))
    }
}
