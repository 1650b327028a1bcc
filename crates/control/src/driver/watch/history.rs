//! What watches ask of storage.

use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::{
    core::Space,
    proto::mvccpb::{Event, KeyValue},
};

/// The events that storage still has.
///
/// Called on threads that may block, except for the two revisions.
pub trait History: Send + Sync + 'static {
    /// The events of every revision from `from_revision` on that changed something, in order,
    /// until they exceed `bytes_max` (at least one revision) or the current revision is
    /// reached. Never a part of a revision.
    ///
    /// # Errors
    /// `Compacted` when `from_revision` is before the compact revision.
    fn read(
        &self,
        space: Space,
        from_revision: i64,
        bytes_max: usize,
    ) -> Result<HistoryChunk, HistoryError>;

    /// What `key` held just before `before_revision`; none if it did not exist, or that has
    /// been compacted.
    fn previous(&self, space: Space, key: &[u8], before_revision: i64) -> Option<KeyValue>;

    /// The revision that was applied last.
    fn current_revision(&self, space: Space) -> i64;

    /// The oldest revision from which events can still be read; 0 before any compaction.
    fn compact_revision(&self, space: Space) -> i64;
}

/// Some revisions, with their events.
#[derive(Clone, Debug, Default)]
pub struct HistoryChunk {
    /// Revision and events, ascending.
    pub groups: Vec<(i64, Arc<[Event]>)>,
    /// The revision after the last one that was looked at.
    pub next_revision: i64,
}

/// Why events could not be read.
#[derive(Debug, ThisError)]
pub enum HistoryError {
    /// They are before this compact revision.
    #[error("events before revision {0} have been compacted")]
    Compacted(i64),
    /// The store failed.
    #[error("events could not be read")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}
