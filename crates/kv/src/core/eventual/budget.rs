//! What all partitions of a shard may keep together beside their states: hints for members that
//! are away, and requests that wait for other replicas. Each partition has limits of its own, but
//! a node has a thousand of them, and a member that is away is away for most.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::RoomId;

/// Limits of one shard, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Hints of more than this are dropped, those of the partition with the most first.
    pub hints_bytes_max: usize,
    /// While requests that wait take so much, further writes are refused.
    pub asked_bytes_max: usize,
}

impl BudgetLimits {
    /// Hints of a node.
    const NODE_HINTS_BYTES_MAX: usize = 64 << 20;
    /// Requests of a node that wait.
    const NODE_ASKED_BYTES_MAX: usize = 128 << 20;

    /// Of each of so many shards.
    pub fn of_shards(shards: usize) -> BudgetLimits {
        BudgetLimits {
            hints_bytes_max: Self::NODE_HINTS_BYTES_MAX / shards.max(1),
            asked_bytes_max: Self::NODE_ASKED_BYTES_MAX / shards.max(1),
        }
    }
}

/// What the partitions of a shard keep.
#[derive(Clone, Debug)]
pub struct Budget {
    limits: BudgetLimits,
    /// Bytes of hints and of requests, of those that have any.
    kept: BTreeMap<RoomId, (usize, usize)>,
    /// Those with hints, by what these take.
    by_hints: BTreeSet<(usize, RoomId)>,
    hints_bytes: usize,
    asked_bytes: usize,
}

impl Budget {
    /// Nothing is kept yet.
    pub fn new(limits: BudgetLimits) -> Budget {
        Budget {
            limits,
            kept: BTreeMap::new(),
            by_hints: BTreeSet::new(),
            hints_bytes: 0,
            asked_bytes: 0,
        }
    }

    /// A partition keeps so many bytes of hints, and of requests that wait.
    pub fn note(&mut self, room: RoomId, hints_bytes: usize, asked_bytes: usize) {
        let (hints_before, asked_before) = self.kept.remove(&room).unwrap_or_default();
        self.by_hints.remove(&(hints_before, room));
        self.hints_bytes = self.hints_bytes - hints_before + hints_bytes;
        self.asked_bytes = self.asked_bytes - asked_before + asked_bytes;
        if hints_bytes > 0 {
            self.by_hints.insert((hints_bytes, room));
        }
        if (hints_bytes, asked_bytes) != (0, 0) {
            self.kept.insert(room, (hints_bytes, asked_bytes));
        }
    }

    /// Whether no further write is taken.
    pub fn is_full(&self) -> bool {
        self.asked_bytes >= self.limits.asked_bytes_max
    }

    /// The partition that has to drop hints, and how many bytes of them it may keep; none if all
    /// that is kept may be.
    pub fn excess(&self) -> Option<(RoomId, usize)> {
        let excess = self.hints_bytes.checked_sub(self.limits.hints_bytes_max)?;
        let (largest, room) = *self.by_hints.last()?;
        (excess > 0).then(|| (room, largest.saturating_sub(excess)))
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::id::PartitionId;

    use super::*;
    use crate::core::keyspaces::KeyspaceNumber;

    fn room(partition: u16) -> RoomId {
        RoomId {
            keyspace: KeyspaceNumber(32),
            partition: PartitionId(partition),
        }
    }

    #[test]
    fn who_keeps_the_most_makes_room() {
        let mut budget = Budget::new(BudgetLimits {
            hints_bytes_max: 100,
            asked_bytes_max: 50,
        });
        budget.note(room(1), 40, 20);
        budget.note(room(2), 60, 20);
        assert_eq!((budget.excess(), budget.is_full()), (None, false));
        budget.note(room(3), 30, 10);
        assert!(budget.is_full());
        assert_eq!(budget.excess(), Some((room(2), 30)));
        budget.note(room(2), 30, 0);
        assert_eq!((budget.excess(), budget.is_full()), (None, false));
        // More than the largest has: the next one is asked then.
        budget.note(room(1), 90, 0);
        budget.note(room(3), 80, 0);
        assert_eq!(budget.excess(), Some((room(1), 0)));
        budget.note(room(1), 0, 0);
        assert_eq!(budget.excess(), Some((room(3), 70)));
        budget.note(room(3), 70, 0);
        assert_eq!(budget.excess(), None);
        for partition in [2, 3] {
            budget.note(room(partition), 0, 0);
        }
        assert!(budget.kept.is_empty() && budget.by_hints.is_empty());
        assert_eq!((budget.hints_bytes, budget.asked_bytes), (0, 0));
    }

    #[test]
    fn shards_share_what_a_node_has() {
        let (one, four) = (BudgetLimits::of_shards(1), BudgetLimits::of_shards(4));
        assert_eq!(one.hints_bytes_max, 4 * four.hints_bytes_max);
        assert_eq!(one.asked_bytes_max, 4 * four.asked_bytes_max);
    }
}
