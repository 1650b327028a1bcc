//! Why a step is refused. The topology is then as it was.

use atoll_base::id::{ConfigurationNumber, Epoch, NodeId, PartitionId, ReplicaId};
use thiserror::Error;

use super::{REPLICAS_MAX, proof::NoMajority};
use crate::hash_ring::RingError;

/// Why a step is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopologyError {
    /// A number of replicas that no cluster has.
    #[error(
        "replicas are odd and at most {REPLICAS_MAX} (an even one more survives no more), not {replicas}"
    )]
    Replicas {
        /// The number asked for.
        replicas: u8,
    },
    /// The nodes make no ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A node that was never heard of, or forgotten.
    #[error("there is no node {node}")]
    Unknown {
        /// The node.
        node: NodeId,
    },
    /// A node that was given up.
    #[error("node {node} is gone for good: its machine joins again as a new node")]
    Gone {
        /// The node.
        node: NodeId,
    },
    /// Nobody would be left.
    #[error("the cluster needs one active node at least")]
    LastNode,
    /// A replica that the node is not.
    #[error("node {node} never was replica {replica}")]
    Replica {
        /// The node.
        node: NodeId,
        /// The replica.
        replica: ReplicaId,
    },
    /// A node that has something to do here.
    #[error("node {node} is in use, by {partitions} partitions")]
    InUse {
        /// The node.
        node: NodeId,
        /// How many name it.
        partitions: usize,
    },
    /// No such partition.
    #[error("there is no partition {partition}")]
    NoPartition {
        /// The partition.
        partition: PartitionId,
    },
    /// A blueprint that newer ones or changes of nodes have overtaken, or one for a topology
    /// that is not here yet.
    #[error("blueprint {number} does not fit epoch {epoch}, which takes {min} and newer")]
    Blueprint {
        /// The blueprint.
        number: Epoch,
        /// The oldest that would be taken.
        min: Epoch,
        /// Where the topology stands.
        epoch: Epoch,
    },
    /// A blueprint that has nothing for the partition.
    #[error("blueprint {number} does not move partition {partition}")]
    NoMove {
        /// The partition.
        partition: PartitionId,
        /// The blueprint.
        number: Epoch,
    },
    /// A step from a configuration that is not the present one.
    #[error("partition {partition} has configuration {found}, not {expected}")]
    Configuration {
        /// The partition.
        partition: PartitionId,
        /// The configuration that the step was made for.
        expected: ConfigurationNumber,
        /// The one that is there.
        found: ConfigurationNumber,
    },
    /// As many partitions are changing as may.
    #[error("{changing} partitions are changing already, {moves_max} may")]
    Busy {
        /// How many are.
        changing: usize,
        /// How many may be.
        moves_max: usize,
    },
    /// A proof that proves nothing here.
    #[error(transparent)]
    NoMajority(#[from] NoMajority),
}
