//! Who votes.

use atoll_base::id::ReplicaId;

use super::types::Position;

/// Replicas, in order, each once; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Members(Vec<ReplicaId>);

impl Members {
    /// None, if there is no replica among them.
    pub fn new(mut replicas: Vec<ReplicaId>) -> Option<Members> {
        replicas.sort_unstable();
        replicas.dedup();
        (!replicas.is_empty()).then_some(Members(replicas))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ReplicaId> {
        self.0.iter().copied()
    }

    /// Whether the replica is one of them.
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.0.binary_search(&replica).is_ok()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn is_majority(&self, has: &impl Fn(ReplicaId) -> bool) -> bool {
        self.iter().filter(|replica| has(*replica)).count() > self.0.len() / 2
    }

    /// The highest value that a majority reaches.
    fn reached_by_majority<T: Ord + Copy>(&self, value: &impl Fn(ReplicaId) -> T) -> T {
        let mut values: Vec<T> = self.iter().map(value).collect();
        values.sort_unstable();
        values[(values.len() - 1) / 2]
    }
}

/// That an entry born under a joint configuration was committed, which takes a majority of the
/// old members and one of the new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proof {
    /// The entry. Its birth's configuration is the joint one's number.
    pub committed: Position,
}

/// Whose votes count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Voters {
    /// A majority of these.
    Stable {
        /// They.
        members: Members,
        /// What allowed the step from the joint configuration before; none in the first.
        proof: Option<Proof>,
    },
    /// A majority of the old and one of the new.
    Joint {
        /// The members so far.
        old: Members,
        /// The members to be.
        new: Members,
    },
}

/// A numbered set of voters. Numbers grow by one with each step; the control plane decides the
/// steps, one at a time: old, joint, new.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// The step's number, the partition's own.
    pub number: u64,
    /// Whose votes count.
    pub voters: Voters,
}

/// Why a configuration can't follow another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Another step is not finished.
    #[error("configuration {0} is joint: it has to be finished first")]
    StillJoint(u64),
    /// There is nothing to finish.
    #[error("configuration {0} is not joint")]
    NotJoint(u64),
    /// The proof speaks of another configuration.
    #[error("the proof is of configuration {proof}, not of {joint}")]
    OtherProof {
        /// Of which it is.
        proof: u64,
        /// Of which it has to be.
        joint: u64,
    },
}

impl Configuration {
    /// The first configuration of a partition.
    pub fn first(members: Members) -> Configuration {
        Configuration {
            number: 1,
            voters: Voters::Stable {
                members,
                proof: None,
            },
        }
    }

    /// The joint configuration that leads to other members.
    ///
    /// # Errors
    /// This one is joint itself.
    pub fn joint(&self, new: Members) -> Result<Configuration, StepError> {
        match &self.voters {
            Voters::Joint { .. } => Err(StepError::StillJoint(self.number)),
            Voters::Stable { members, .. } => Ok(Configuration {
                number: self.number + 1,
                voters: Voters::Joint {
                    old: members.clone(),
                    new,
                },
            }),
        }
    }

    /// The configuration of the new members alone.
    ///
    /// # Errors
    /// This one is not joint, or the proof is of another one.
    pub fn finish(&self, proof: Proof) -> Result<Configuration, StepError> {
        let Voters::Joint { new, .. } = &self.voters else {
            return Err(StepError::NotJoint(self.number));
        };
        if proof.committed.birth.configuration != self.number {
            return Err(StepError::OtherProof {
                proof: proof.committed.birth.configuration,
                joint: self.number,
            });
        }
        Ok(Configuration {
            number: self.number + 1,
            voters: Voters::Stable {
                members: new.clone(),
                proof: Some(proof),
            },
        })
    }

    /// Whether these are enough to decide.
    pub fn is_quorum(&self, has: impl Fn(ReplicaId) -> bool) -> bool {
        match &self.voters {
            Voters::Stable { members, .. } => members.is_majority(&has),
            Voters::Joint { old, new } => old.is_majority(&has) && new.is_majority(&has),
        }
    }

    /// The highest value that a quorum reaches.
    pub(super) fn reached_by_quorum<T: Ord + Copy>(&self, value: impl Fn(ReplicaId) -> T) -> T {
        match &self.voters {
            Voters::Stable { members, .. } => members.reached_by_majority(&value),
            Voters::Joint { old, new } => old
                .reached_by_majority(&value)
                .min(new.reached_by_majority(&value)),
        }
    }

    /// The fewest replicas that can decide.
    pub fn majority(&self) -> usize {
        let of = |members: &Members| members.count() / 2 + 1;
        match &self.voters {
            Voters::Stable { members, .. } => of(members),
            Voters::Joint { old, new } => of(old).max(of(new)),
        }
    }

    /// Everybody whose vote counts, each once.
    pub fn voters(&self) -> Members {
        match &self.voters {
            Voters::Stable { members, .. } => members.clone(),
            Voters::Joint { old, new } => {
                let mut all: Vec<ReplicaId> = old.iter().chain(new.iter()).collect();
                all.sort_unstable();
                all.dedup();
                Members(all)
            }
        }
    }

    /// Whether the replica's vote counts.
    pub fn is_voter(&self, replica: ReplicaId) -> bool {
        match &self.voters {
            Voters::Stable { members, .. } => members.contains(replica),
            Voters::Joint { old, new } => old.contains(replica) || new.contains(replica),
        }
    }
}
