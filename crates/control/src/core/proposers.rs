//! Which proposals have been applied already, so that a proposer may hand one command to
//! several leaders and have it applied once (the client session of the Raft dissertation,
//! section 6.3).
//!
//! One entry per node: of its newest boot, everything below `answered_below`, and runs of
//! applied sequences above. A command of an older boot is never applied, since nobody waits
//! for it any more.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::{
    core::{
        effects::{Effects, Table},
        restore::RestoreError,
        rows::ProposerRow,
    },
    proto::internal::Origin,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proposers {
    nodes: BTreeMap<u64, Proposer>,
    /// Entries that changed since the last [`Proposers::seal`].
    dirty: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Proposer {
    boot: u64,
    answered_below: u64,
    /// First → one past the last; disjoint, not touching, all above `answered_below`.
    runs: BTreeMap<u64, u64>,
}

impl Proposers {
    /// Notes that the command is applied now; false if it must not be applied.
    pub(crate) fn admit(&mut self, origin: &Origin) -> bool {
        let proposer = self.nodes.entry(origin.node).or_default();
        if origin.boot < proposer.boot {
            return false;
        }
        if origin.boot > proposer.boot {
            *proposer = Proposer {
                boot: origin.boot,
                ..Proposer::default()
            };
        }
        let fresh = proposer.insert(origin.sequence);
        proposer.forget_below(origin.answered_below);
        self.dirty.insert(origin.node);
        fresh
    }

    /// Whether the command was applied, or can never be.
    pub(crate) fn has_seen(&self, origin: &Origin) -> bool {
        self.nodes
            .get(&origin.node)
            .is_some_and(|proposer| match origin.boot.cmp(&proposer.boot) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                std::cmp::Ordering::Equal => proposer.contains(origin.sequence),
            })
    }

    /// Forgets every node for which `stays` does not hold.
    pub(crate) fn retain(&mut self, stays: impl Fn(u64) -> bool, effects: &mut Effects) {
        self.nodes.retain(|node, _| {
            let stays = stays(*node);
            if !stays {
                effects.delete(Table::Proposers, node.to_be_bytes().to_vec());
            }
            stays
        });
        self.dirty.retain(|node| stays(*node));
    }

    /// Writes what changed since the last call.
    pub(crate) fn seal(&mut self, effects: &mut Effects) {
        for node in std::mem::take(&mut self.dirty) {
            let row = self.nodes[&node].row();
            let key = node.to_be_bytes().to_vec();
            effects.put(Table::Proposers, key, row.encode_to_vec());
        }
    }

    pub(crate) fn restore_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let garbled = || RestoreError::garbled(Table::Proposers, key);
        let node = u64::from_be_bytes(key.try_into().map_err(|_| garbled())?);
        let row = ProposerRow::decode(value).map_err(|_| garbled())?;
        let (pairs, []) = row.runs.as_chunks::<2>() else {
            return Err(garbled());
        };
        let proposer = Proposer {
            boot: row.boot,
            answered_below: row.answered_below,
            runs: pairs.iter().map(|[first, end]| (*first, *end)).collect(),
        };
        self.nodes.insert(node, proposer);
        Ok(())
    }
}

impl Proposer {
    /// False if the sequence was there already, or is answered.
    fn insert(&mut self, sequence: u64) -> bool {
        if sequence < self.answered_below {
            return false;
        }
        let (mut first, mut end) = (sequence, sequence.saturating_add(1));
        if let Some((&left, &left_end)) = self.runs.range(..=sequence).next_back() {
            if sequence < left_end {
                return false;
            }
            if left_end == sequence {
                first = left;
            }
        }
        if let Some(right_end) = self.runs.remove(&end) {
            end = right_end;
        }
        self.runs.insert(first, end);
        true
    }

    fn contains(&self, sequence: u64) -> bool {
        let run = self.runs.range(..=sequence).next_back();
        sequence < self.answered_below || run.is_some_and(|(_, end)| sequence < *end)
    }

    fn forget_below(&mut self, answered_below: u64) {
        if answered_below <= self.answered_below {
            return;
        }
        self.answered_below = answered_below;
        while let Some(entry) = self.runs.first_entry() {
            if *entry.key() >= answered_below {
                break;
            }
            let end = entry.remove();
            if end > answered_below {
                self.runs.insert(answered_below, end);
            }
        }
    }

    fn row(&self) -> ProposerRow {
        ProposerRow {
            boot: self.boot,
            answered_below: self.answered_below,
            runs: self
                .runs
                .iter()
                .flat_map(|(&first, &end)| [first, end])
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(boot: u64, sequence: u64, answered_below: u64) -> Origin {
        Origin {
            node: 1,
            boot,
            sequence,
            answered_below,
        }
    }

    #[test]
    fn each_proposal_is_admitted_once() {
        let mut table = Proposers::default();
        for sequence in [3, 1, 2, 5] {
            assert!(table.admit(&origin(1, sequence, 0)));
            assert!(!table.admit(&origin(1, sequence, 0)));
            assert!(table.has_seen(&origin(1, sequence, 0)));
        }
        assert!(!table.has_seen(&origin(1, 4, 0)));
        assert_eq!(table.nodes[&1].runs, BTreeMap::from([(1, 4), (5, 6)]));
        assert!(table.admit(&origin(1, 4, 3)));
        assert_eq!(table.nodes[&1].runs, BTreeMap::from([(3, 6)]));
        assert!(!table.admit(&origin(1, 2, 0)), "answered long ago");
    }

    #[test]
    fn a_newer_boot_ends_the_older_one() {
        let mut table = Proposers::default();
        assert!(table.admit(&origin(1, 7, 7)));
        assert!(table.admit(&origin(2, 1, 1)));
        assert!(!table.admit(&origin(1, 8, 7)));
        assert!(table.admit(&origin(2, 2, 1)));
    }

    #[test]
    fn rows_bring_the_table_back() {
        let mut table = Proposers::default();
        for sequence in [1, 2, 9, 4] {
            table.admit(&origin(3, sequence, 2));
        }
        let mut effects = Effects::default();
        table.seal(&mut effects);
        let mut restored = Proposers::default();
        for write in &effects.writes {
            restored
                .restore_row(&write.key, write.value.as_deref().unwrap())
                .unwrap();
        }
        assert_eq!(restored, table);
    }
}
