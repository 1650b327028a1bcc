//! A contiguous log whose beginning may be in a snapshot, or on disk only.

use std::collections::VecDeque;

use super::types::{Entry, LogIndex, Position};

/// Entries after a base. Everything up to the base is committed, and in a snapshot. Of what
/// follows, the beginning may be forgotten once it is applied: it is in the journal, and who
/// still lacks it needs a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    base: Position,
    /// The held entries follow this; never before the base.
    start: Position,
    entries: VecDeque<Entry>,
    /// What the payloads of entries after the base take together, as far as that is known.
    bytes: u64,
    /// The same of those that are held.
    held_bytes: u64,
}

impl Log {
    /// Where the snapshot ends.
    pub fn base(&self) -> Position {
        self.base
    }

    /// What is up to here is not held: it is in the snapshot, or forgotten.
    pub fn start(&self) -> Position {
        self.start
    }

    /// Where the log ends.
    pub fn last(&self) -> Position {
        self.entries.back().map_or(self.start, |last| last.position)
    }

    /// How many entries there are after the base.
    pub fn count(&self) -> u64 {
        self.last().index.0 - self.base.index.0
    }

    /// What the payloads of entries after the base take together, in bytes. Entries that were
    /// forgotten before the base moved on are not counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the held entries' payloads take together, in bytes.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// The position at an index, if the log knows: where it starts, or a held entry's.
    pub fn position(&self, index: LogIndex) -> Option<Position> {
        if index == self.start.index {
            return Some(self.start);
        }
        self.entry(index).map(|entry| entry.position)
    }

    /// The entry at an index, if it is held.
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.start.index.0 + 1)?;
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
            after >= self.start.index && after <= self.last().index,
            "entries after {after} don't continue the log, which ends at {}",
            self.last().index
        );
        let keep = usize::try_from(after.0 - self.start.index.0).unwrap_or(usize::MAX);
        if keep < self.entries.len() {
            let cut_bytes = bytes_of(self.entries.drain(keep..));
            self.bytes -= cut_bytes;
            self.held_bytes -= cut_bytes;
        }
        for entry in entries {
            assert_eq!(entry.index(), self.last().index.next(), "a hole in the log");
            let bytes = entry.payload.bytes() as u64;
            self.bytes += bytes;
            self.held_bytes += bytes;
            self.entries.push_back(entry);
        }
    }

    /// Forgets entries up to an index, which are committed, but for the last ones that have so
    /// many bytes.
    pub(super) fn forget(&mut self, up_to: LogIndex, bytes_kept: u64) {
        while let Some(first) = self.entries.front()
            && first.index() <= up_to
            && let Some(left_bytes) = self.held_bytes.checked_sub(first.payload.bytes() as u64)
            && left_bytes >= bytes_kept
        {
            self.start = first.position;
            self.held_bytes = left_bytes;
            self.entries.pop_front();
        }
    }

    /// Forgets entries up to a base that a snapshot holds; if the log has no such entry, all of
    /// them.
    pub(super) fn begin_at(&mut self, base: Position) {
        self.base = base;
        if base.index >= self.start.index {
            if self.position(base.index) == Some(base) {
                let drop = usize::try_from(base.index.0 - self.start.index.0);
                self.held_bytes -= bytes_of(self.entries.drain(..drop.unwrap_or(usize::MAX)));
            } else {
                self.entries.clear();
                self.held_bytes = 0;
            }
            self.start = base;
        }
        self.bytes = self.held_bytes;
    }
}

fn bytes_of(entries: impl Iterator<Item = Entry>) -> u64 {
    entries.map(|entry| entry.payload.bytes() as u64).sum()
}

#[cfg(test)]
mod tests {
    use atoll_base::id::ReplicaId;
    use bytes::Bytes;

    use super::*;
    use crate::core::paxos::types::{Ballot, Payload};

    fn entry(index: u64) -> Entry {
        let birth = Ballot {
            configuration: 1,
            round: 1,
            replica: ReplicaId(1),
        };
        Entry {
            position: Position {
                birth,
                index: LogIndex(index),
            },
            payload: Payload::Batch(Bytes::from_static(b"four")),
        }
    }

    #[test]
    fn what_is_forgotten_still_counts_until_the_base_moves() {
        let mut log = Log::default();
        log.replace_after(LogIndex(0), (1..=6).map(entry).collect());
        log.forget(LogIndex(4), 8);
        assert_eq!(log.start(), entry(4).position);
        assert_eq!((log.count(), log.bytes(), log.held_bytes()), (6, 24, 8));
        assert_eq!(log.position(LogIndex(3)), None);
        assert_eq!(log.position(LogIndex(4)), Some(entry(4).position));
        assert_eq!(log.tail(LogIndex(5), usize::MAX), [entry(5), entry(6)]);
        // So many bytes are kept.
        log.forget(LogIndex(6), 8);
        assert_eq!(log.held_bytes(), 8);
        // A snapshot that was begun before: what was forgotten since stays so.
        log.begin_at(entry(2).position);
        assert_eq!(
            (log.base(), log.start()),
            (entry(2).position, entry(4).position)
        );
        assert_eq!((log.count(), log.bytes()), (4, 8));
        log.replace_after(LogIndex(5), vec![entry(6), entry(7)]);
        log.begin_at(entry(6).position);
        assert_eq!(
            (log.base(), log.start()),
            (entry(6).position, entry(6).position)
        );
        assert_eq!((log.count(), log.bytes(), log.held_bytes()), (1, 4, 4));
        // Another replica's, from far ahead.
        log.begin_at(entry(20).position);
        assert_eq!(
            (log.last(), log.count(), log.bytes()),
            (entry(20).position, 0, 0)
        );
    }
}
