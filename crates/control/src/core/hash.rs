//! A checksum over a keyspace, in steps, equal on every node whatever was reclaimed where.
//!
//! It covers the revisions that a read between the compact revision and the hash's revision
//! can find, in order of key and revision.

use std::ops::Bound;

use bytes::Bytes;

use crate::core::{
    effects::{Fault, Values},
    error::Error,
    history::Entry,
    keyspace::{Keyspace, Scan},
};

/// A hash that is being computed. Pin [`HashWalk::pin`] until it is done.
#[derive(Clone, Debug)]
pub struct HashWalk {
    revision: i64,
    compacted: i64,
    after: Option<Bytes>,
    crc: u32,
}

impl HashWalk {
    /// The hash so far; the final one once [`Keyspace::hash_step`] said that it is done.
    pub fn hash(&self) -> u32 {
        self.crc
    }

    /// The hash covers revisions up to this one.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The compact revision when the hash began.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The revision to pin while the walk goes on.
    pub fn pin(&self) -> i64 {
        self.compacted
    }
}

impl Keyspace {
    /// Begins a hash up to `revision`; 0 is the newest.
    ///
    /// # Errors
    /// `FutureRev` and `Compacted`.
    pub fn hash_begin(&self, revision: i64) -> Result<HashWalk, Error> {
        Ok(HashWalk {
            revision: self.read_revision(revision)?,
            compacted: self.compacted,
            after: None,
            crc: 0,
        })
    }

    /// Adds up to `keys_max` keys to the hash; true once it is done.
    ///
    /// # Errors
    /// When the store cannot give a value.
    pub fn hash_step(
        &self,
        walk: &mut HashWalk,
        keys_max: usize,
        values: &dyn Values,
    ) -> Result<bool, Fault> {
        let scan: Scan<'_> = match &walk.after {
            None => self.scan_from(Bound::Unbounded, None),
            Some(after) => self.scan_from(Bound::Excluded(after), None),
        };
        let mut last: Option<&[u8]> = None;
        for (seen, (key, history)) in scan.enumerate() {
            if seen == keys_max {
                walk.after = last.map(Bytes::copy_from_slice);
                return Ok(false);
            }
            last = Some(key);
            let entries: Vec<Entry> = history
                .entries()
                .filter(|entry| entry.main <= walk.revision)
                .collect();
            let compacted = entries.partition_point(|entry| entry.main <= walk.compacted);
            for entry in &entries[compacted.saturating_sub(1)..] {
                if entry.tombstone && entry.main <= walk.compacted {
                    continue;
                }
                walk.add(key, *entry, self, values)?;
            }
        }
        Ok(true)
    }
}

impl HashWalk {
    fn add(
        &mut self,
        key: &[u8],
        entry: Entry,
        keyspace: &Keyspace,
        values: &dyn Values,
    ) -> Result<(), Fault> {
        let mut feed = |bytes: &[u8]| self.crc = crc32c::crc32c_append(self.crc, bytes);
        feed(&(key.len() as u64).to_be_bytes());
        feed(key);
        feed(&entry.main.to_be_bytes());
        feed(&entry.sub.to_be_bytes());
        feed(&[u8::from(entry.tombstone)]);
        if !entry.tombstone {
            let kv = keyspace.load(entry, values)?;
            for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
                feed(&number.to_be_bytes());
            }
            feed(&(kv.value.len() as u64).to_be_bytes());
            feed(&kv.value);
        }
        Ok(())
    }
}
