//! What a partition reports to the control plane, so that a step may be taken. A proof is made
//! against the configuration that it speaks of, and verified again against the one that it is
//! to change: it travels, and whoever made it may have been behind.

use std::collections::BTreeSet;

use atoll_base::id::{ConfigurationNumber, LogIndex, PartitionId, ReplicaId};
use thiserror::Error;

use super::assignment::{Assignment, is_majority};

/// Too few replicas for a proof, or the partition is not on that step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no proof for partition {partition} at configuration {configuration}: {lacks}")]
pub struct NoMajority {
    partition: PartitionId,
    configuration: ConfigurationNumber,
    lacks: &'static str,
}

/// A majority of the new members has what the old ones have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    partition: PartitionId,
    configuration: ConfigurationNumber,
    caught_up: BTreeSet<ReplicaId>,
}

/// An entry was committed under a joint configuration by both majorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointCommit {
    partition: PartitionId,
    configuration: ConfigurationNumber,
    index: LogIndex,
    accepted_by: BTreeSet<ReplicaId>,
}

impl CaughtUp {
    /// These learners are caught up.
    ///
    /// # Errors
    /// When the partition is not copying, or they and the members who stay are no majority.
    pub fn new(
        partition: PartitionId,
        assignment: &Assignment,
        caught_up: impl IntoIterator<Item = ReplicaId>,
    ) -> Result<Self, NoMajority> {
        let proof = Self {
            partition,
            configuration: assignment.configuration(),
            caught_up: caught_up.into_iter().collect(),
        };
        proof.verify(assignment)?;
        Ok(proof)
    }

    /// Of which partition it speaks.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Of which configuration it speaks.
    pub fn configuration(&self) -> ConfigurationNumber {
        self.configuration
    }

    pub(super) fn verify(&self, assignment: &Assignment) -> Result<(), NoMajority> {
        let copying = assignment.change().is_some() && assignment.joint().is_none();
        let mut have = self.caught_up.clone();
        have.extend(assignment.members());
        let lacks = if !copying {
            "it is not copying"
        } else if !is_majority(assignment.goal(), &have) {
            "too few of the new members are caught up"
        } else {
            return Ok(());
        };
        Err(NoMajority {
            partition: self.partition,
            configuration: self.configuration,
            lacks,
        })
    }
}

impl JointCommit {
    /// These accepted the entry at `index`, whose ballot is one of the joint configuration.
    ///
    /// # Errors
    /// When the partition is not joint, or they are not a majority of both the old and the new
    /// members.
    pub fn new(
        partition: PartitionId,
        assignment: &Assignment,
        index: LogIndex,
        accepted_by: impl IntoIterator<Item = ReplicaId>,
    ) -> Result<Self, NoMajority> {
        let proof = Self {
            partition,
            configuration: assignment.configuration(),
            index,
            accepted_by: accepted_by.into_iter().collect(),
        };
        proof.verify(assignment)?;
        Ok(proof)
    }

    /// Of which partition it speaks.
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Of which configuration it speaks.
    pub fn configuration(&self) -> ConfigurationNumber {
        self.configuration
    }

    /// Where the entry stands.
    pub fn index(&self) -> LogIndex {
        self.index
    }

    pub(super) fn verify(&self, assignment: &Assignment) -> Result<(), NoMajority> {
        let lacks = if assignment.joint().is_none() {
            "it is not joint"
        } else if !assignment.is_quorum(&self.accepted_by) {
            "not accepted by majorities of the old and the new members"
        } else {
            return Ok(());
        };
        Err(NoMajority {
            partition: self.partition,
            configuration: self.configuration,
            lacks,
        })
    }
}
