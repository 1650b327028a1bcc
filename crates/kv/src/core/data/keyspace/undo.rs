//! Taking back what was done to databases, exactly: values, times, versions, and the order of
//! keys, on which SCAN and the like depend and replicas have to agree.
//!
//! While it is kept, each change is noted with what undoes it. The value of a key is copied
//! before its first change, once.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::{Database, Entry, Keyspace};
use crate::core::data::{Key, Kind as _, RedisString};

/// What undoes the changes of one database.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    steps: Vec<Step>,
    /// Keys of which it is known what they were, or that they were not there.
    known: HashSet<Key, RandomState>,
    changes: u64,
}

#[derive(Clone, Debug)]
enum Step {
    /// The key had this entry.
    Changed(Key, Entry),
    /// The key was not there.
    Added(Key),
    /// The key was at this place of the order, with this entry if that is not known otherwise.
    Removed(Key, usize, Option<Entry>),
}

impl Journal {
    /// Before the key's entry is changed in place.
    pub(super) fn changes(&mut self, key: &[u8], entry: &Entry) {
        self.changes += 1;
        if !self.known.contains(key) {
            self.known.insert(key.into());
            self.steps.push(Step::Changed(key.into(), entry.clone()));
        }
    }

    /// Before the key is added.
    pub(super) fn adds(&mut self, key: &[u8]) {
        self.changes += 1;
        self.known.insert(key.into());
        self.steps.push(Step::Added(key.into()));
    }

    /// Before the key is taken out.
    pub(super) fn removes(&mut self, key: &[u8], place: usize, entry: &Entry) {
        self.changes += 1;
        let is_new = self.known.insert(key.into());
        let entry = is_new.then(|| entry.clone());
        self.steps.push(Step::Removed(key.into(), place, entry));
    }
}

impl Database {
    /// One without keys; `notes` says whether what undoes changes is to be noted.
    pub(super) fn empty(notes: bool) -> Database {
        Database {
            journal: notes.then(Box::default),
            ..Database::default()
        }
    }

    /// Takes back what was done since this was begun to be noted.
    fn rewind(&mut self) {
        let Some(journal) = self.journal.take() else {
            return;
        };
        for step in journal.steps.into_iter().rev() {
            match step {
                Step::Changed(key, entry) => {
                    self.insert(&key, entry);
                }
                // It is the last one again.
                Step::Added(key) => {
                    self.remove(&key);
                }
                Step::Removed(key, place, entry) => {
                    let last = self.entries.len();
                    self.insert(&key, entry.unwrap_or_else(unknown));
                    self.entries.swap_indices(place, last);
                }
            }
        }
    }
}

/// Stands for an entry until an earlier step puts the right one there, or takes the key out.
fn unknown() -> Entry {
    Entry::new(RedisString::Integer(0).into_value(), None, 0)
}

/// What was done to databases as a whole.
#[derive(Clone, Debug)]
pub(super) enum Aside {
    /// This one was replaced.
    Flushed(usize, Box<Database>),
    /// These two were exchanged.
    Swapped(usize, usize),
    /// There were so many before others were made, which are empty.
    Made(usize),
}

impl Keyspace {
    /// Begins to note what undoes changes.
    pub(in crate::core) fn begin_undo(&mut self) {
        self.aside = Some(Vec::new());
        for database in &mut self.databases {
            database.journal = Some(Box::default());
        }
    }

    /// Counts changes since that began: if the number stands, nothing was changed.
    pub(in crate::core) fn changes(&self) -> u64 {
        let of = |database: &Database| database.journal.as_ref().map_or(0, |it| it.changes);
        let aside = self.aside.iter().flatten().map(|aside| match aside {
            Aside::Flushed(_, database) => 1 + of(database),
            Aside::Swapped(..) => 1,
            Aside::Made(_) => 0,
        });
        self.databases.iter().map(of).chain(aside).sum()
    }

    /// Takes back everything since [`begin_undo`](Self::begin_undo).
    pub(in crate::core) fn undo(&mut self) {
        for aside in self.aside.take().into_iter().flatten().rev() {
            match aside {
                Aside::Flushed(index, database) => self.databases[index] = *database,
                Aside::Swapped(first, second) => self.databases.swap(first, second),
                Aside::Made(before) => self.databases.truncate(before),
            }
        }
        for database in &mut self.databases {
            database.rewind();
        }
    }

    /// Empties a database.
    pub(in crate::core) fn flush(&mut self, index: usize) {
        self.make(index);
        let empty = Database::empty(self.aside.is_some());
        let before = std::mem::replace(&mut self.databases[index], empty);
        if let Some(aside) = &mut self.aside {
            aside.push(Aside::Flushed(index, Box::new(before)));
        }
    }

    /// Exchanges two databases; their indexes are below [`DATABASES`](super::DATABASES).
    pub(in crate::core) fn swap(&mut self, first: usize, second: usize) {
        self.make(first.max(second));
        self.databases.swap(first, second);
        if let Some(aside) = &mut self.aside {
            aside.push(Aside::Swapped(first, second));
        }
    }
}
