//! What was committed, revision by revision, as the watcher that saw most was told. That all
//! watchers were told the same, and without gaps, is checked beside this.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Change, Found, History, Key, Value};

/// The changes of a run, by revision and by key.
pub(super) struct Timeline {
    pub(super) changes: Vec<Change>,
    by_key: BTreeMap<Key, Vec<Change>>,
    values: BTreeSet<Value>,
}

impl Timeline {
    pub(super) fn of(history: &History) -> Self {
        let changes = history
            .watched
            .values()
            .max_by_key(|changes| changes.len())
            .cloned()
            .unwrap_or_default();
        let mut by_key: BTreeMap<Key, Vec<Change>> = BTreeMap::new();
        for change in &changes {
            by_key.entry(change.key).or_default().push(*change);
        }
        let values = changes.iter().filter_map(|change| change.value).collect();
        Timeline {
            changes,
            by_key,
            values,
        }
    }

    /// All there was at a revision, in order of key.
    pub(super) fn all(&self, revision: i64) -> Vec<Found> {
        let mut keys: Vec<Key> = self.by_key.keys().copied().collect();
        // As the names sort, not the numbers.
        keys.sort_by_key(|key| key.to_string());
        keys.into_iter()
            .filter_map(|key| self.at(key, revision))
            .collect()
    }

    /// What a key held at a revision.
    pub(super) fn at(&self, key: Key, revision: i64) -> Option<Found> {
        let changes = self.by_key.get(&key)?;
        let upto = changes.partition_point(|change| change.revision <= revision);
        let change = changes[..upto].last()?;
        Some(Found {
            key,
            value: change.value?,
            create_revision: change.create_revision,
            mod_revision: change.revision,
            version: change.version,
        })
    }

    /// The change at a revision.
    pub(super) fn change(&self, revision: i64) -> Option<&Change> {
        let at = self
            .changes
            .binary_search_by_key(&revision, |change| change.revision);
        at.ok().map(|at| &self.changes[at])
    }

    /// Whether a value was ever written.
    pub(super) fn has(&self, value: Value) -> bool {
        self.values.contains(&value)
    }
}
