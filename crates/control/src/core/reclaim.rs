//! Giving back the space of compacted revisions, a bounded step at a time.
//!
//! Compaction itself is only a number; this is the physical part. It has no visible effect,
//! so nodes may be at different places in it. It never touches what is not flushed (neither
//! the revisions nor the compaction itself), so that a node which restarts from the store
//! finds everything that it may still read.

use std::ops::Bound;

use crate::core::{
    effects::{Space, Table, Write, revision_key},
    keyspace::Keyspace,
};

/// Where a walk over the index goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReclaimCursor {
    /// The next key to look at.
    next: Box<[u8]>,
}

impl Keyspace {
    /// Looks at up to `budget` keys and drops up to `budget` revisions that no read at or
    /// after the compact revision (or `min_pinned`, if some running read is older) can find.
    /// Answers the rows to delete and where to go on; none when the walk is through.
    pub fn reclaim(
        &mut self,
        cursor: ReclaimCursor,
        budget: usize,
        min_pinned: Option<i64>,
    ) -> (Vec<Write>, Option<ReclaimCursor>) {
        assert!(budget > 0, "a step without budget never ends the walk");
        let bound = self.reclaim_bound(min_pinned);
        let (mut dropped, mut gone, mut next) = (Vec::new(), Vec::new(), None);
        let from = Bound::Included(&cursor.next[..]);
        let walk = self.index.range_mut::<[u8], _>((from, Bound::Unbounded));
        for (seen, (key, history)) in walk.enumerate() {
            if seen == budget || dropped.len() >= budget {
                next = Some(ReclaimCursor { next: key.clone() });
                break;
            }
            let left = budget - dropped.len();
            let before = dropped.len();
            if history.reclaim(bound, left, &mut dropped) {
                gone.push(key.clone());
            } else if dropped.len() - before == left {
                // There may be more to drop of this very key.
                next = Some(ReclaimCursor { next: key.clone() });
                break;
            }
        }
        for key in gone {
            self.index.remove(&key);
        }
        let table = self.space.table();
        let deletes = dropped
            .iter()
            .map(|entry| delete_row(table, entry.main, entry.sub));
        (deletes.collect(), next)
    }

    /// The revision up to which a walk reclaims now: one that went through at this bound
    /// finds nothing more until it rises.
    pub fn reclaim_bound(&self, min_pinned: Option<i64>) -> i64 {
        self.compacted
            .min(self.flushed.compacted)
            .min(self.flushed.revision)
            .min(min_pinned.unwrap_or(i64::MAX))
    }

    /// The keyspace this is.
    pub fn space(&self) -> Space {
        self.space
    }
}

fn delete_row(table: Table, main: i64, sub: u32) -> Write {
    Write {
        table,
        key: revision_key(main, sub),
        value: None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        core::{
            effects::Table,
            testing::{Node, command, system},
        },
        proto::{etcdserverpb as pb, internal::command::Op},
    };

    /// A node that restarts before the compaction is flushed may still be asked for what the
    /// compaction gave up.
    #[test]
    fn nothing_goes_before_the_compaction_itself_is_flushed() {
        let mut node = Node::new();
        for value in ["1", "2"] {
            let put = pb::PutRequest {
                key: "a".into(),
                value: value.into(),
                ..Default::default()
            };
            node.apply(&command(&system(), Op::Put(put)));
        }
        node.flush();
        let compact = pb::CompactionRequest {
            revision: 3,
            physical: true,
        };
        node.apply(&command(&system(), Op::Compact(compact)));
        node.reclaim(10, None);
        assert_eq!(node.store.len(Table::UserRevisions), 2);
        node.flush();
        node.reclaim(10, None);
        assert_eq!(node.store.len(Table::UserRevisions), 1);
    }
}
