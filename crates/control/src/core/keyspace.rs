//! One MVCC keyspace: which revisions each key has, at which main revision it stands, and up
//! to which it is compacted.
//!
//! The index of keys is in memory, their revisions' contents are in the store; those that are
//! not flushed yet are in an overlay here. A fresh keyspace stands at main revision 1 and is
//! compacted at -1, as in etcd. Every write transaction takes one main revision; its writes
//! are numbered by sub-revision.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    core::{
        effects::{Fault, Space, Values},
        error::Error,
        history::{Entry, KeyHistory, Newest},
    },
    proto::{
        internal::RevisionRecord,
        mvccpb::{KeyValue, event::EventType},
    },
};

/// Main revision of a keyspace that was never written.
pub const FRESH_REVISION: i64 = 1;
/// Compact revision of a keyspace that was never compacted.
pub const NEVER_COMPACTED: i64 = -1;

/// One MVCC keyspace. Writes go through `WriteTxn`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyspace {
    pub(crate) space: Space,
    pub(crate) index: BTreeMap<Box<[u8]>, KeyHistory>,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    /// Revisions that the store may not have yet.
    pub(crate) recent: BTreeMap<(i64, u32), RevisionRecord>,
    pub(crate) flushed: KeyspaceMark,
    pub(crate) live_keys: u64,
}

/// How much of a keyspace was handed to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyspaceMark {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

/// Keys that a request names: one, or those from `from` up to `to` (none: to the end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    One(Bytes),
    Many { from: Bytes, to: Option<Bytes> },
}

impl Span {
    /// Reads `key` and `range_end` as the API means them: an empty end is the single key,
    /// an end of one zero byte is everything from the key on.
    pub(crate) fn new(key: &Bytes, range_end: &Bytes) -> Span {
        match &range_end[..] {
            [] => Span::One(key.clone()),
            [0] => Span::Many {
                from: key.clone(),
                to: None,
            },
            _ => Span::Many {
                from: key.clone(),
                to: Some(range_end.clone()),
            },
        }
    }
}

/// Keys of a span with their histories, in order.
pub(crate) enum Scan<'a> {
    One(Option<(&'a [u8], &'a KeyHistory)>),
    Many(btree_map::Range<'a, Box<[u8]>, KeyHistory>),
}

impl<'a> Iterator for Scan<'a> {
    type Item = (&'a [u8], &'a KeyHistory);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Scan::One(one) => one.take(),
            Scan::Many(range) => range.next().map(|(key, history)| (&key[..], history)),
        }
    }
}

impl Keyspace {
    pub(crate) fn new(space: Space) -> Keyspace {
        Keyspace {
            space,
            index: BTreeMap::new(),
            revision: FRESH_REVISION,
            compacted: NEVER_COMPACTED,
            recent: BTreeMap::new(),
            flushed: KeyspaceMark {
                revision: FRESH_REVISION,
                compacted: NEVER_COMPACTED,
            },
            live_keys: 0,
        }
    }

    /// The main revision of the last write.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Reads below this revision are refused; -1 if it was never compacted.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// How many keys exist now.
    pub fn live_keys(&self) -> u64 {
        self.live_keys
    }

    /// How many revisions wait in memory for being flushed.
    pub fn unflushed(&self) -> usize {
        self.recent.len()
    }

    /// The main revision that a read which asked for `revision` reads at: anything not
    /// positive is the newest.
    ///
    /// # Errors
    /// `FutureRev` and `Compacted`.
    pub fn read_revision(&self, revision: i64) -> Result<i64, Error> {
        if revision > self.revision {
            return Err(Error::FutureRev);
        }
        let revision = if revision <= 0 {
            self.revision
        } else {
            revision
        };
        if revision < self.compacted {
            return Err(Error::Compacted);
        }
        Ok(revision)
    }

    /// A key as it was at `revision`, which must not be compacted; none if it did not exist.
    /// What a watcher that asked for `prev_kv` reads at `mod_revision - 1`.
    ///
    /// # Errors
    /// When the store cannot give the value.
    pub fn get(
        &self,
        key: &[u8],
        revision: i64,
        values: &dyn Values,
    ) -> Result<Option<KeyValue>, Fault> {
        let found = self.index.get(key).and_then(|history| history.at(revision));
        found
            .map(|found| self.load(found.entry, values))
            .transpose()
    }

    /// The not yet flushed revisions from main revision `from` on, in order, as events
    /// (`prev_kv` empty). With the store's rows before them they are the whole history.
    pub fn recent_events(
        &self,
        from: i64,
    ) -> impl Iterator<Item = crate::proto::mvccpb::Event> + '_ {
        self.recent
            .range((from, 0)..)
            .map(|(_, record)| event_of(record.clone()))
    }

    /// The oldest main revision that is not yet flushed, if there is one.
    pub fn first_recent(&self) -> Option<i64> {
        self.recent.keys().next().map(|(main, _)| *main)
    }

    pub(crate) fn scan(&self, span: &Span) -> Scan<'_> {
        match span {
            Span::One(key) => Scan::One(
                self.index
                    .get_key_value(&key[..])
                    .map(|(key, history)| (&key[..], history)),
            ),
            Span::Many { from, to } => self.scan_from(Bound::Included(from), to.as_deref()),
        }
    }

    pub(crate) fn scan_from(&self, from: Bound<&[u8]>, to: Option<&[u8]>) -> Scan<'_> {
        let (Bound::Included(first) | Bound::Excluded(first)) = from else {
            return Scan::Many(self.index.range::<[u8], _>((from, to_bound(to))));
        };
        // BTreeMap refuses inverted ranges; the API answers them with nothing.
        if to.is_some_and(|to| to <= first) {
            return Scan::One(None);
        }
        Scan::Many(self.index.range::<[u8], _>((from, to_bound(to))))
    }

    /// Of a key that exists now, its newest revision.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<(Entry, Newest)> {
        self.index.get(key).and_then(KeyHistory::live)
    }

    pub(crate) fn load(&self, entry: Entry, values: &dyn Values) -> Result<KeyValue, Fault> {
        match self.recent.get(&(entry.main, entry.sub)) {
            Some(record) => Ok(record.kv.clone().unwrap_or_default()),
            None => self.load_stored(entry.main, entry.sub, values),
        }
    }

    fn load_stored(&self, main: i64, sub: u32, values: &dyn Values) -> Result<KeyValue, Fault> {
        load_stored(self.space, main, sub, values)
    }

    pub(crate) fn mark(&self) -> KeyspaceMark {
        KeyspaceMark {
            revision: self.revision,
            compacted: self.compacted,
        }
    }

    /// The store has everything up to `mark`: the overlay forgets it.
    pub(crate) fn flushed(&mut self, mark: KeyspaceMark) {
        if mark.revision > self.flushed.revision {
            self.recent = self.recent.split_off(&(mark.revision + 1, 0));
            self.flushed.revision = mark.revision;
        }
        self.flushed.compacted = self.flushed.compacted.max(mark.compacted);
    }

    /// Refuses reads below `revision` from now on.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRev);
        }
        self.compacted = revision;
        Ok(())
    }
}

fn to_bound(to: Option<&[u8]>) -> Bound<&[u8]> {
    to.map_or(Bound::Unbounded, Bound::Excluded)
}

/// A revision's content, from the store.
pub(crate) fn load_stored(
    space: Space,
    main: i64,
    sub: u32,
    values: &dyn Values,
) -> Result<KeyValue, Fault> {
    let row = values
        .get(space, main, sub)
        .map_err(|source| Fault::Read {
            space,
            main,
            sub,
            source,
        })?
        .ok_or(Fault::Missing { space, main, sub })?;
    RevisionRecord::decode(row)
        .ok()
        .and_then(|record| record.kv)
        .ok_or(Fault::Garbled { space, main, sub })
}

/// What a watcher is told about a revision: `prev_kv` is left empty.
pub fn event_of(record: RevisionRecord) -> crate::proto::mvccpb::Event {
    let kind = if record.tombstone {
        EventType::Delete
    } else {
        EventType::Put
    };
    crate::proto::mvccpb::Event {
        r#type: kind.into(),
        kv: record.kv,
        prev_kv: None,
    }
}
