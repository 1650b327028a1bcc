//! A contiguous log whose beginning may be in a snapshot.

use std::collections::VecDeque;

use super::types::{Entry, LogIndex, Position};

/// Entries after a base. Everything up to the base is committed, and in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    base: Position,
    entries: VecDeque<Entry>,
    /// What the entries' payloads take together.
    bytes: u64,
}

impl Log {
    /// Where the snapshot ends.
    pub fn base(&self) -> Position {
        self.base
    }

    /// Where the log ends.
    pub fn last(&self) -> Position {
        self.entries.back().map_or(self.base, |last| last.position)
    }

    /// How many entries are held.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// What the held entries' payloads take together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The position at an index, if the log knows: the base's, or a held entry's.
    pub fn position(&self, index: LogIndex) -> Option<Position> {
        if index == self.base.index {
            return Some(self.base);
        }
        self.entry(index).map(|entry| entry.position)
    }

    /// The entry at an index.
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries from an index on; at least one, if there is one, and no more than fit.
    pub fn tail(&self, from: LogIndex, bytes_max: usize) -> Vec<Entry> {
        let mut bytes = 0;
        let mut tail = Vec::new();
        let mut index = from;
        while let Some(entry) = self.entry(index) {
            bytes += entry.payload.bytes();
            if bytes > bytes_max && !tail.is_empty() {
                break;
            }
            tail.push(entry.clone());
            index = index.next();
        }
        tail
    }

    /// Cuts what is after an index, then adds entries.
    ///
    /// # Panics
    /// The entries don't continue the log: our own mistake.
    pub(super) fn replace_after(&mut self, after: LogIndex, entries: Vec<Entry>) {
        assert!(
            after >= self.base.index && after <= self.last().index,
            "entries after {after} don't continue the log, which ends at {}",
            self.last().index
        );
        let keep = usize::try_from(after.0 - self.base.index.0).unwrap_or(usize::MAX);
        if keep < self.entries.len() {
            self.bytes -= bytes_of(self.entries.drain(keep..));
        }
        for entry in entries {
            assert_eq!(entry.index(), self.last().index.next(), "a hole in the log");
            self.bytes += entry.payload.bytes() as u64;
            self.entries.push_back(entry);
        }
    }

    /// Forgets entries up to a base that a snapshot holds; if the log has no such entry, all of
    /// them.
    pub(super) fn begin_at(&mut self, base: Position) {
        if self.position(base.index) == Some(base) {
            let drop = usize::try_from(base.index.0 - self.base.index.0).unwrap_or(usize::MAX);
            self.bytes -= bytes_of(self.entries.drain(..drop));
        } else {
            self.entries.clear();
            self.bytes = 0;
        }
        self.base = base;
    }
}

fn bytes_of(entries: impl Iterator<Item = Entry>) -> u64 {
    entries.map(|entry| entry.payload.bytes() as u64).sum()
}
