//! Who holds one partition.

use std::collections::BTreeSet;

use atoll_base::id::{ConfigurationNumber, PartitionId, ReplicaId};

use super::{Move, TopologyError, configuration_after};

/// A partition's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub(super) configuration: ConfigurationNumber,
    /// Who votes. The first is the one to own it when all else is equal.
    pub(super) members: Vec<ReplicaId>,
    pub(super) change: Option<Change>,
}

/// On the way to other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Those of these who are not members copy.
    Copying(Vec<ReplicaId>),
    /// These vote beside the members.
    Joint(Vec<ReplicaId>),
}

impl Change {
    /// Who is to hold the partition in the end.
    pub fn to(&self) -> &[ReplicaId] {
        match self {
            Change::Copying(to) | Change::Joint(to) => to,
        }
    }
}

impl Assignment {
    pub(super) fn new(members: Vec<ReplicaId>) -> Self {
        Self {
            configuration: ConfigurationNumber(1),
            members,
            change: None,
        }
    }

    /// Its number.
    pub fn configuration(&self) -> ConfigurationNumber {
        self.configuration
    }

    /// Who votes; of a joint configuration, the old ones.
    pub fn members(&self) -> &[ReplicaId] {
        &self.members
    }

    /// Where it is going.
    pub fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// Who votes beside the members.
    pub fn joint(&self) -> Option<&[ReplicaId]> {
        match &self.change {
            Some(Change::Joint(to)) => Some(to),
            _ => None,
        }
    }

    /// Who copies and has no vote.
    pub fn learners(&self) -> impl Iterator<Item = ReplicaId> {
        let copying = match &self.change {
            Some(Change::Copying(to)) => to.as_slice(),
            _ => &[],
        };
        let copying = copying.iter().copied();
        copying.filter(|it| !self.members.contains(it))
    }

    /// Whether these are enough to decide: a majority of the members, and of the new ones too if
    /// it is joint.
    pub fn is_quorum(&self, replicas: &BTreeSet<ReplicaId>) -> bool {
        is_majority(&self.members, replicas)
            && self.joint().is_none_or(|to| is_majority(to, replicas))
    }

    /// Who holds it when all that is begun is done.
    pub(super) fn goal(&self) -> &[ReplicaId] {
        self.change.as_ref().map_or(&self.members, Change::to)
    }

    pub(super) fn names(&self, replica: ReplicaId) -> bool {
        self.members.contains(&replica) || self.goal().contains(&replica)
    }

    pub(super) fn check(
        &self,
        partition: PartitionId,
        expected: ConfigurationNumber,
    ) -> Result<(), TopologyError> {
        if self.configuration == expected {
            return Ok(());
        }
        Err(TopologyError::Configuration {
            partition,
            expected,
            found: self.configuration,
        })
    }

    pub(super) fn is_begun(&self, wanted: &Move) -> bool {
        let follows = self.configuration == configuration_after(wanted.configuration());
        follows && self.joint().is_none() && self.goal() == wanted.to()
    }

    pub(super) fn begin(&mut self, to: Vec<ReplicaId>) {
        // Blueprints leave joint partitions alone, and those made before name another number.
        assert!(self.joint().is_none(), "joint is left by finishing only");
        let stays = same(&self.members, &to);
        self.change = (!stays).then_some(Change::Copying(to));
        self.configuration = configuration_after(self.configuration);
    }

    pub(super) fn enter_joint(&mut self) {
        let to = self.goal().to_vec();
        self.change = Some(Change::Joint(to));
        self.configuration = configuration_after(self.configuration);
    }

    pub(super) fn finish(&mut self) {
        self.members = self.goal().to_vec();
        self.change = None;
        self.configuration = configuration_after(self.configuration);
    }
}

/// Whether these are more than half of those.
pub(super) fn is_majority(of: &[ReplicaId], replicas: &BTreeSet<ReplicaId>) -> bool {
    let here = of.iter().filter(|it| replicas.contains(it)).count();
    here > of.len() / 2
}

/// Whether both hold the same, in whatever order.
pub(super) fn same(one: &[ReplicaId], other: &[ReplicaId]) -> bool {
    one.len() == other.len() && one.iter().all(|it| other.contains(it))
}
