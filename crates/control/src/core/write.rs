//! Writing to a keyspace: everything that is put or deleted through one [`WriteTxn`] shares
//! one main revision. Nothing written, no revision taken.

use std::collections::btree_map::Entry as Slot;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    core::{
        effects::{Effects, revision_key},
        history::{Entry, KeyHistory},
        keyspace::{Keyspace, Span, event_of},
        lease::Leases,
    },
    proto::{
        internal::RevisionRecord,
        mvccpb::{Event, KeyValue},
    },
};

pub(crate) struct WriteTxn<'a> {
    pub(crate) keyspace: &'a mut Keyspace,
    leases: &'a mut Leases,
    effects: &'a mut Effects,
    main: i64,
    sub: u32,
    events: Vec<Event>,
}

impl<'a> WriteTxn<'a> {
    pub(crate) fn begin(
        keyspace: &'a mut Keyspace,
        leases: &'a mut Leases,
        effects: &'a mut Effects,
    ) -> WriteTxn<'a> {
        let main = keyspace.revision + 1;
        WriteTxn {
            keyspace,
            leases,
            effects,
            main,
            sub: 0,
            events: Vec::new(),
        }
    }

    /// Puts a key. The lease, if any, must exist.
    pub(crate) fn put(&mut self, key: &Bytes, value: Bytes, lease: i64) {
        let entry = self.next_entry(false);
        let before = self.keyspace.newest(key).map(|(_, newest)| newest);
        let create = before.map_or(self.main, |newest| newest.create);
        let version = before.map_or(0, |newest| newest.version) + 1;
        let old_lease = before.map_or(0, |newest| newest.lease);

        match self.keyspace.index.entry(Box::from(&key[..])) {
            Slot::Occupied(slot) => slot.into_mut().push(entry, create, version, lease),
            Slot::Vacant(slot) => {
                slot.insert(KeyHistory::new(entry, create, version, lease));
            }
        }
        if before.is_none() {
            self.keyspace.live_keys += 1;
        }
        if old_lease != lease {
            self.leases.detach(old_lease, key);
            self.leases.attach(lease, key);
        }
        self.record(
            entry,
            KeyValue {
                key: key.clone(),
                value,
                create_revision: create,
                mod_revision: self.main,
                version,
                lease,
            },
        );
    }

    /// Deletes every key of the span that exists; answers how many.
    pub(crate) fn delete(&mut self, span: &Span) -> i64 {
        let keys: Vec<Bytes> = self
            .keyspace
            .scan(span)
            .filter(|(_, history)| history.live().is_some())
            .map(|(key, _)| Bytes::copy_from_slice(key))
            .collect();
        for key in &keys {
            self.delete_live(key);
        }
        keys.len() as i64
    }

    fn delete_live(&mut self, key: &Bytes) {
        let entry = self.next_entry(true);
        let history = self.keyspace.index.get_mut(&key[..]);
        let history = history.expect("only keys that were just found are deleted");
        let (_, newest) = history.live().expect("only keys that exist are deleted");
        history.push(entry, 0, 0, 0);
        self.keyspace.live_keys -= 1;
        self.leases.detach(newest.lease, key);
        self.record(
            entry,
            KeyValue {
                key: key.clone(),
                mod_revision: self.main,
                ..KeyValue::default()
            },
        );
    }

    /// Ends the transaction; answers the keyspace's revision after it.
    pub(crate) fn finish(self) -> i64 {
        if !self.events.is_empty() {
            let space = self.keyspace.space;
            self.effects.events.push((space, self.main, self.events));
        }
        self.keyspace.revision
    }

    /// The first write takes the revision, so that reads in the transaction see it.
    fn next_entry(&mut self, tombstone: bool) -> Entry {
        self.keyspace.revision = self.main;
        let entry = Entry {
            main: self.main,
            sub: self.sub,
            tombstone,
        };
        self.sub += 1;
        entry
    }

    fn record(&mut self, entry: Entry, kv: KeyValue) {
        let record = RevisionRecord {
            kv: Some(kv),
            tombstone: entry.tombstone,
        };
        self.effects.put(
            self.keyspace.space.table(),
            revision_key(entry.main, entry.sub),
            record.encode_to_vec(),
        );
        self.events.push(event_of(record.clone()));
        self.keyspace.recent.insert((entry.main, entry.sub), record);
    }
}
