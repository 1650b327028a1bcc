//! Feature levels: what a cluster of mixed versions may do.
//!
//! Every version serves a range of levels, every member announces its own with its address,
//! and the cluster stands at one of them. The level is part of the replicated state. It rises
//! by an entry of the log, once every member serves the next one, and never falls. What a
//! level brings is used from that entry on and nowhere before it, so that members which apply
//! the same entries never act differently. docs/operations.md has the table of levels.

use std::fmt;

use crate::proto::{internal::command::Op, raft};

/// A level of features. The first cluster stood at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureLevel(pub u32);

impl FeatureLevel {
    /// Where every cluster begins.
    pub const FIRST: FeatureLevel = FeatureLevel(1);
    /// Nodes that were removed are forgotten by the table of applied proposals.
    pub const FORGETS_REMOVED_NODES: FeatureLevel = FeatureLevel(2);
    /// Users know when they were made.
    pub const KNOWS_WHEN_USERS_WERE_MADE: FeatureLevel = FeatureLevel(2);
    /// Every node can keep a part of an eventual keyspace.
    pub const EVENTUAL_KEYSPACES: FeatureLevel = FeatureLevel(3);
    /// Logins that are not used end.
    pub const ENDS_LOGINS: FeatureLevel = FeatureLevel(2);
    /// One command may write to both keyspaces, so that transactions with the outside can have
    /// users' keys among their participants.
    pub const WRITES_BOTH_KEYSPACES: FeatureLevel = FeatureLevel(3);
    /// Partitions of hot data hold what transactions with the outside have prepared there.
    pub const HOLDS_BRANCHES: FeatureLevel = FeatureLevel(3);
}

impl Default for FeatureLevel {
    fn default() -> Self {
        FeatureLevel::FIRST
    }
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The levels that a node serves, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelRange {
    /// The oldest cluster it can be a member of.
    pub min: FeatureLevel,
    /// The newest.
    pub max: FeatureLevel,
}

/// What this version serves.
pub const SERVED: LevelRange = LevelRange {
    min: FeatureLevel(1),
    max: FeatureLevel(3),
};

/// Why a node cannot be a member of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// The cluster is too new for the node, or too old.
    #[error(
        "the cluster is at feature level {cluster}, and this node serves {served}: run a version that serves level {cluster}, with no lower control.feature_level_max"
    )]
    Cluster {
        /// Where the cluster stands.
        cluster: FeatureLevel,
        /// What the node serves.
        served: LevelRange,
    },
    /// The operator's limit lies below everything that the node serves.
    #[error("control.feature_level_max is {limit}, and this version serves {served}")]
    Limit {
        /// The limit.
        limit: FeatureLevel,
        /// What the version serves.
        served: LevelRange,
    },
}

impl LevelRange {
    /// What is left of the range under a limit that an operator has set.
    ///
    /// # Errors
    /// Nothing is: the limit lies below the range.
    pub fn held_at(self, limit: FeatureLevel) -> Result<LevelRange, LevelError> {
        if limit < self.min {
            return Err(LevelError::Limit {
                limit,
                served: self,
            });
        }
        Ok(LevelRange {
            min: self.min,
            max: self.max.min(limit),
        })
    }

    /// Whether the range has the level.
    pub fn contains(self, level: FeatureLevel) -> bool {
        self.min <= level && level <= self.max
    }

    /// Refuses a cluster that stands outside of the range.
    ///
    /// # Errors
    /// It does.
    pub fn admit(self, cluster: FeatureLevel) -> Result<(), LevelError> {
        if self.contains(cluster) {
            return Ok(());
        }
        Err(LevelError::Cluster {
            cluster,
            served: self,
        })
    }

    /// What a member has announced; none if it was added and never started.
    pub fn announced(node: &raft::Node) -> Option<LevelRange> {
        (node.feature_level_max > 0).then_some(LevelRange {
            min: FeatureLevel(node.feature_level_min),
            max: FeatureLevel(node.feature_level_max),
        })
    }

    /// Announces the range as a member's.
    pub fn announce(self, node: &mut raft::Node) {
        node.feature_level_min = self.min.0;
        node.feature_level_max = self.max.0;
    }
}

impl fmt::Display for LevelRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.min == self.max {
            true => write!(f, "level {} only", self.min),
            false => write!(f, "levels {} to {}", self.min, self.max),
        }
    }
}

/// The highest level that all of these serve; none if there is none, or somebody has not said.
pub fn highest_common(
    members: impl IntoIterator<Item = Option<LevelRange>>,
) -> Option<FeatureLevel> {
    let mut common: Option<LevelRange> = None;
    for range in members {
        let range = range?;
        common = Some(common.map_or(range, |common| LevelRange {
            min: common.min.max(range.min),
            max: common.max.min(range.max),
        }));
    }
    common
        .filter(|common| common.min <= common.max)
        .map(|common| common.max)
}

/// The level from which on a command of this kind may be in the log.
pub fn needed_by(op: &Op) -> FeatureLevel {
    match op {
        Op::SessionsEnd(_) => FeatureLevel::ENDS_LOGINS,
        Op::Both(_) => FeatureLevel::WRITES_BOTH_KEYSPACES,
        // To raise the level is known to every version that serves more than the first.
        _ => FeatureLevel::FIRST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u32, max: u32) -> LevelRange {
        LevelRange {
            min: FeatureLevel(min),
            max: FeatureLevel(max),
        }
    }

    #[test]
    fn the_common_level_is_the_highest_that_everybody_serves() {
        let common = |ranges: &[Option<LevelRange>]| highest_common(ranges.iter().copied());
        assert_eq!(common(&[]), None);
        assert_eq!(common(&[Some(range(1, 2))]), Some(FeatureLevel(2)));
        assert_eq!(
            common(&[Some(range(1, 3)), Some(range(2, 2)), Some(range(1, 4))]),
            Some(FeatureLevel(2))
        );
        assert_eq!(common(&[Some(range(1, 3)), None]), None, "one is silent");
        assert_eq!(common(&[Some(range(1, 1)), Some(range(2, 3))]), None);
    }

    #[test]
    fn a_limit_holds_a_range_back_but_not_below_its_end() {
        assert_eq!(range(1, 3).held_at(FeatureLevel(2)), Ok(range(1, 2)));
        assert_eq!(range(1, 3).held_at(FeatureLevel(9)), Ok(range(1, 3)));
        let below = range(2, 3)
            .held_at(FeatureLevel(1))
            .unwrap_err()
            .to_string();
        assert!(
            below.contains("is 1, and this version serves levels 2 to 3"),
            "{below}"
        );
    }

    #[test]
    fn a_refusal_names_the_cluster_and_the_node() {
        let too_old = range(1, 1).admit(FeatureLevel(2)).unwrap_err().to_string();
        assert!(too_old.contains("at feature level 2"), "{too_old}");
        assert!(too_old.contains("serves level 1 only"), "{too_old}");
        let too_new = range(2, 3).admit(FeatureLevel(1)).unwrap_err().to_string();
        assert!(too_new.contains("at feature level 1"), "{too_new}");
        assert!(too_new.contains("serves levels 2 to 3"), "{too_new}");
        assert_eq!(range(1, 2).admit(FeatureLevel(2)), Ok(()));
    }

    #[test]
    fn what_is_announced_is_read_back() {
        let mut node = raft::Node::default();
        assert_eq!(LevelRange::announced(&node), None);
        SERVED.announce(&mut node);
        assert_eq!(LevelRange::announced(&node), Some(SERVED));
    }
}
