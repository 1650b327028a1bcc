//! Events that watchers have missed, from the store and what is not yet in it.

use std::{
    ops::Bound,
    sync::{Arc, OnceLock, Weak},
};

use prost::Message as _;

use super::{
    replica::{Replicated, StoreValues},
    watch::{History, HistoryChunk, HistoryError},
};
use crate::{
    core::{
        effects::{Space, parse_revision_key, revision_key},
        keyspace::event_of,
    },
    proto::{
        internal::RevisionRecord,
        mvccpb::{Event, KeyValue},
    },
};

/// The history of a replica that is made a moment later: each needs the other.
#[derive(Default)]
pub(crate) struct ReplicaHistory(OnceLock<Weak<Replicated>>);

impl ReplicaHistory {
    /// Names the replica; once.
    pub(crate) fn of(&self, replica: &Arc<Replicated>) {
        assert!(
            self.0.set(Arc::downgrade(replica)).is_ok(),
            "a history has one replica"
        );
    }

    fn replica(&self) -> Option<Arc<Replicated>> {
        self.0.get()?.upgrade()
    }
}

impl History for ReplicaHistory {
    fn read(
        &self,
        space: Space,
        from_revision: i64,
        bytes_max: usize,
    ) -> Result<HistoryChunk, HistoryError> {
        let Some(replica) = self.replica() else {
            return Ok(HistoryChunk::default());
        };
        // What is not compacted now stays until this read is done.
        let _pin = replica.pin(space, from_revision - 1);
        let (store, until) = replica.read(|machine, values| {
            let keyspace = machine.keyspace(space);
            if from_revision < keyspace.compacted() {
                return Err(HistoryError::Compacted(keyspace.compacted()));
            }
            let flushed_before = keyspace.first_recent().unwrap_or(keyspace.revision() + 1);
            Ok((values.0.clone(), flushed_before))
        })?;
        let mut groups = Groups::new(from_revision, bytes_max);
        if from_revision < until {
            let (from, to) = (revision_key(from_revision, 0), revision_key(until, 0));
            let rows = store.scan(
                space.table().name(),
                (Bound::Included(&from[..]), Bound::Excluded(&to[..])),
            );
            for row in rows {
                let (key, value) = row.map_err(|error| HistoryError::Fault(Box::new(error)))?;
                let record = RevisionRecord::decode(value)
                    .map_err(|error| HistoryError::Fault(Box::new(error)))?;
                let main = parse_revision_key(&key).map_or(from_revision, |(main, _)| main);
                if !groups.add(main, event_of(record)) {
                    return Ok(groups.finish());
                }
            }
            return Ok(groups.end_before(until));
        }
        // A flush may have moved events to the store since `until` was taken.
        let recent = replica.with(|machine| {
            let keyspace = machine.keyspace(space);
            let flushed_before = keyspace.first_recent().unwrap_or(keyspace.revision() + 1);
            if from_revision < flushed_before && from_revision <= keyspace.revision() {
                return None;
            }
            for event in keyspace.recent_events(from_revision) {
                let main = event
                    .kv
                    .as_ref()
                    .map_or(from_revision, |kv| kv.mod_revision);
                if !groups.add(main, event) {
                    return Some(groups.finish());
                }
            }
            Some(groups.end_before(keyspace.revision() + 1))
        });
        recent.map_or_else(|| self.read(space, from_revision, bytes_max), Ok)
    }

    fn previous(&self, space: Space, key: &[u8], before_revision: i64) -> Option<KeyValue> {
        self.replica()?.read(|machine, values: &StoreValues| {
            machine
                .keyspace(space)
                .get(key, before_revision - 1, values)
                .ok()
                .flatten()
        })
    }

    fn current_revision(&self, space: Space) -> i64 {
        self.replica().map_or(1, |replica| {
            replica.with(|machine| machine.keyspace(space).revision())
        })
    }

    fn compact_revision(&self, space: Space) -> i64 {
        self.replica().map_or(0, |replica| {
            replica.with(|machine| machine.keyspace(space).compacted().max(0))
        })
    }
}

/// Gathers events by revision, up to a size, never a part of a revision.
struct Groups {
    groups: Vec<(i64, Arc<[Event]>)>,
    open: Vec<Event>,
    revision: i64,
    bytes: usize,
    bytes_max: usize,
}

impl Groups {
    fn new(revision: i64, bytes_max: usize) -> Self {
        Groups {
            groups: Vec::new(),
            open: Vec::new(),
            revision,
            bytes: 0,
            bytes_max,
        }
    }

    /// False, and the event is not taken, once it would begin a revision beyond the size.
    fn add(&mut self, revision: i64, event: Event) -> bool {
        if revision != self.revision {
            self.close();
            self.revision = revision;
            if self.bytes >= self.bytes_max {
                return false;
            }
        }
        self.bytes += event.encoded_len();
        self.open.push(event);
        true
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.groups
                .push((self.revision, std::mem::take(&mut self.open).into()));
        }
    }

    /// Stopped at a revision that was not taken.
    fn finish(self) -> HistoryChunk {
        HistoryChunk {
            groups: self.groups,
            next_revision: self.revision,
        }
    }

    fn end_before(mut self, next_revision: i64) -> HistoryChunk {
        self.close();
        HistoryChunk {
            groups: self.groups,
            next_revision,
        }
    }
}
