//! What tables do as other collections do.

use std::{fmt, ops::Index};

use super::{Slot, Table};
use crate::core::data::{Heap, Key};

/// What is copied may take less than what it was copied from, so it is counted anew.
impl<V: Clone + Heap> Clone for Table<V> {
    fn clone(&self) -> Self {
        let rows = self.rows.clone();
        let contents_bytes = rows.iter().flatten().map(Slot::heap_bytes).sum();
        Table {
            rows,
            places: self.places.clone(),
            hasher: self.hasher.clone(),
            contents_bytes,
            lent: None,
        }
    }
}

impl<V> Index<usize> for Table<V> {
    type Output = V;

    fn index(&self, place: usize) -> &V {
        &self.slot(place).value
    }
}

impl<V: Heap, K: Into<Key>> FromIterator<(K, V)> for Table<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut table = Table::default();
        for (key, value) in pairs {
            table.insert(key.into(), value);
        }
        table
    }
}

/// The same keys with the same values, in whatever order.
impl<V: PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        let mut all = self.iter();
        self.len() == other.len() && all.all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<V: fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
