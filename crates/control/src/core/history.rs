//! What the index remembers of one key: 48 bytes for a key that was written once, plus 16
//! for each older revision that is not reclaimed yet.

use std::collections::VecDeque;

/// One revision of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) main: i64,
    pub(crate) sub: u32,
    pub(crate) tombstone: bool,
}

/// A key's revisions, oldest to newest, and the metadata of the newest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyHistory {
    newest: Entry,
    create: i64,
    version: i64,
    lease: i64,
    #[allow(
        clippy::box_collection,
        reason = "most keys have none: a pointer is smaller than a deque"
    )]
    older: Option<Box<VecDeque<Entry>>>,
}

const _: () = assert!(
    size_of::<KeyHistory>() == 48,
    "a million keys must stay small"
);

/// The revision that a read at some main revision finds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    /// Known only for the key's newest revision; others are read from their record.
    pub(crate) newest: Option<Newest>,
}

/// The metadata of a key's newest revision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    pub(crate) create: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

impl KeyHistory {
    /// A key that begins with this revision. Metadata is ignored for a tombstone.
    pub(crate) fn new(entry: Entry, create: i64, version: i64, lease: i64) -> KeyHistory {
        let mut history = KeyHistory {
            newest: entry,
            create,
            version,
            lease,
            older: None,
        };
        history.forget_metadata_of_tombstone();
        history
    }

    /// Adds a newer revision.
    pub(crate) fn push(&mut self, entry: Entry, create: i64, version: i64, lease: i64) {
        let last = self.newest;
        assert!(
            (entry.main, entry.sub) > (last.main, last.sub),
            "revisions of a key only grow: {entry:?} after {last:?}"
        );
        self.older.get_or_insert_default().push_back(last);
        self.newest = entry;
        self.create = create;
        self.version = version;
        self.lease = lease;
        self.forget_metadata_of_tombstone();
    }

    fn forget_metadata_of_tombstone(&mut self) {
        if self.newest.tombstone {
            self.create = 0;
            self.version = 0;
            self.lease = 0;
        }
    }

    /// The newest revision, unless the key is deleted now.
    pub(crate) fn live(&self) -> Option<(Entry, Newest)> {
        (!self.newest.tombstone).then_some((
            self.newest,
            Newest {
                create: self.create,
                version: self.version,
                lease: self.lease,
            },
        ))
    }

    /// What a read at `revision` finds; none if the key did not exist then.
    pub(crate) fn at(&self, revision: i64) -> Option<Found> {
        if self.newest.main <= revision {
            let (entry, newest) = self.live()?;
            return Some(Found {
                entry,
                newest: Some(newest),
            });
        }
        let older = self.older.as_deref()?;
        let after = older.partition_point(|entry| entry.main <= revision);
        let entry = older[after.checked_sub(1)?];
        (!entry.tombstone).then_some(Found {
            entry,
            newest: None,
        })
    }

    /// All revisions, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.older
            .iter()
            .flat_map(|older| older.iter())
            .copied()
            .chain(std::iter::once(self.newest))
    }

    /// Drops, oldest first and at most `budget` of them, the revisions that no read at or
    /// after `bound` can find. A tombstone at `bound` itself stays, since a watch may begin
    /// there. Returns whether nothing is left of the key.
    pub(crate) fn reclaim(&mut self, bound: i64, budget: usize, dropped: &mut Vec<Entry>) -> bool {
        let spent = |entry: &Entry| entry.tombstone && entry.main < bound;
        let older_len = self.older.as_deref().map_or(0, VecDeque::len);
        let superseded = if self.newest.main <= bound {
            older_len
        } else {
            let older = self.older.as_deref();
            let after = older.map_or(0, |o| o.partition_point(|entry| entry.main <= bound));
            let keeps_last = after > 0
                && older
                    .and_then(|o| o.get(after - 1))
                    .is_some_and(|e| !spent(e));
            after - usize::from(keeps_last)
        };
        let take = superseded.min(budget);
        if let Some(older) = &mut self.older {
            dropped.extend(older.drain(..take));
            if older.is_empty() {
                self.older = None;
            } else if older.capacity() > older.len() * 4 {
                older.shrink_to_fit();
            }
        }
        let gone = self.older.is_none() && spent(&self.newest) && take < budget;
        if gone {
            dropped.push(self.newest);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(main: i64, tombstone: bool) -> Entry {
        Entry {
            main,
            sub: 0,
            tombstone,
        }
    }

    fn story() -> KeyHistory {
        let mut history = KeyHistory::new(entry(2, false), 2, 1, 0);
        history.push(entry(3, false), 2, 2, 0);
        history.push(entry(5, true), 0, 0, 0);
        history.push(entry(7, false), 7, 1, 9);
        history
    }

    #[test]
    fn a_read_finds_the_newest_revision_at_or_before_it() {
        let history = story();
        let at = |revision| history.at(revision).map(|found| found.entry.main);
        assert_eq!(
            (1..9).map(at).collect::<Vec<_>>(),
            [
                None,
                Some(2),
                Some(3),
                Some(3),
                None,
                None,
                Some(7),
                Some(7)
            ]
        );
    }

    #[test]
    fn reclaiming_keeps_what_reads_at_the_bound_need() {
        let cases: [(i64, &[i64]); 6] = [
            (2, &[]),
            (3, &[2]),
            (4, &[2]),
            (5, &[2, 3]),
            (6, &[2, 3, 5]),
            (9, &[2, 3, 5]),
        ];
        for (bound, want) in cases {
            let mut history = story();
            let mut dropped = Vec::new();
            assert!(!history.reclaim(bound, 100, &mut dropped));
            assert_eq!(
                dropped.iter().map(|e| e.main).collect::<Vec<_>>(),
                want,
                "at {bound}"
            );
        }
    }

    #[test]
    fn a_deleted_key_goes_once_its_tombstone_is_behind_the_bound() {
        let mut history = KeyHistory::new(entry(2, false), 2, 1, 0);
        history.push(entry(3, true), 0, 0, 0);
        let mut dropped = Vec::new();
        assert!(
            !history.reclaim(3, 100, &mut dropped),
            "a watch may begin at 3"
        );
        assert!(!history.reclaim(4, 0, &mut dropped), "no budget, no work");
        assert!(history.reclaim(4, 1, &mut dropped));
        assert_eq!(dropped, [entry(2, false), entry(3, true)]);
    }
}
