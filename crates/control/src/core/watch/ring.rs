//! The recent revisions of one keyspace, with their events.

use std::{collections::VecDeque, sync::Arc};

use prost::Message;

use crate::proto::mvccpb::Event;

/// The events of one revision, shared by everybody who is told of them.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) revision: i64,
    pub(crate) events: Arc<[Event]>,
    /// Size of all events on the wire.
    pub(crate) encoded_bytes: u64,
}

impl Group {
    pub(crate) fn new(revision: i64, events: Arc<[Event]>) -> Self {
        let encoded_bytes = events.iter().map(|event| event.encoded_len() as u64).sum();
        Group {
            revision,
            events,
            encoded_bytes,
        }
    }

    /// Memory that the group keeps from being freed.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        let structs = self.events.len() * size_of::<Event>();
        self.encoded_bytes + structs as u64
    }
}

/// Revisions from `from` on, without a gap, oldest first.
#[derive(Debug)]
pub(crate) struct Ring {
    groups: VecDeque<Group>,
    bytes: u64,
    from: i64,
}

impl Ring {
    /// An empty ring, whose first revision will be `from` or later.
    pub(crate) fn new(from: i64) -> Self {
        Ring {
            groups: VecDeque::new(),
            bytes: 0,
            from,
        }
    }

    /// Every revision from this one on is here (those that changed something).
    pub(crate) fn from(&self) -> i64 {
        self.from
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Adds the newest revision and forgets the oldest ones that no longer fit.
    pub(crate) fn push(&mut self, group: Group, revisions_max: usize, bytes_max: u64) {
        self.bytes += group.pinned_bytes();
        self.groups.push_back(group);
        while self.groups.len() > revisions_max || self.bytes > bytes_max {
            self.pop();
        }
    }

    /// Forgets the revisions before `revision`.
    pub(crate) fn forget_before(&mut self, revision: i64) {
        while self
            .groups
            .front()
            .is_some_and(|group| group.revision < revision)
        {
            self.pop();
        }
        self.from = self.from.max(revision);
    }

    fn pop(&mut self) {
        if let Some(group) = self.groups.pop_front() {
            self.bytes -= group.pinned_bytes();
            self.from = group.revision + 1;
        }
    }

    /// The revisions from `revision` on, which must not be before [`Ring::from`].
    pub(crate) fn since(&self, revision: i64) -> impl Iterator<Item = &Group> {
        assert!(
            revision >= self.from,
            "revision {revision} is no longer in the ring, which begins at {}",
            self.from
        );
        let first = self
            .groups
            .partition_point(|group| group.revision < revision);
        self.groups.range(first..)
    }
}
