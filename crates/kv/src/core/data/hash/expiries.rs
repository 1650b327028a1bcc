//! When fields of a hash end.

use std::collections::BTreeSet;

use crate::core::data::{
    Key, Milliseconds, Table,
    heap::{allocation_bytes, tree_bytes},
};

/// When fields end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expiries {
    pub(super) by_field: Table<Milliseconds>,
    by_time: BTreeSet<(Milliseconds, Key)>,
    /// What the database's index has noted for this hash.
    pub(super) indexed_ms: Option<Milliseconds>,
}

impl Expiries {
    /// Says when a field ends; never, if none.
    pub(super) fn set(&mut self, field: &[u8], at_ms: Option<Milliseconds>) {
        let before = match at_ms {
            Some(at_ms) => {
                self.by_time.insert((at_ms, field.into()));
                self.by_field.insert(field.into(), at_ms)
            }
            None => self.by_field.swap_remove(field),
        };
        if let Some(before) = before
            && at_ms != Some(before)
        {
            self.by_time.remove(&(before, field.into()));
        }
    }

    /// Fields that have ended: only after their last millisecond, like keys.
    pub(super) fn ended(&self, now_ms: Milliseconds) -> impl Iterator<Item = &Key> {
        self.by_time
            .iter()
            .take_while(move |(at_ms, _)| *at_ms < now_ms)
            .map(|(_, field)| field)
    }

    /// What it takes of the heap, its own place included.
    pub(super) fn heap_bytes(&self) -> usize {
        // Fields are in both: what is known of the table is true of the tree.
        let entry_bytes = size_of::<(Milliseconds, Key)>();
        allocation_bytes(size_of::<Expiries>())
            + self.by_field.heap_bytes()
            + self.by_field.contents_bytes()
            + tree_bytes(self.by_time.len(), entry_bytes)
    }

    /// When the first field ends.
    pub(super) fn earliest(&self) -> Option<Milliseconds> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }
}
