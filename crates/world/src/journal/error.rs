//! Why the journal said no.

use std::sync::Arc;

use super::{Position, Sequence};
use crate::disk::DiskError;

/// Why the journal said no. Only `Full` is worth a retry at once, and `NoSpace` once there is
/// room; after `SyncFailed` the process must end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Too many bytes wait for the disk.
    #[error("the journal's queue is full: {queued_bytes} bytes wait, the limit is {limit_bytes}")]
    Full {
        /// Bytes that wait, headers included.
        queued_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A record, or what one call appends, is over the limit. Nothing was appended.
    #[error("{bytes} bytes are too many for the journal at once, the limit is {limit_bytes}")]
    TooLarge {
        /// Bytes of the record or of the call, headers included.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The records need a new segment, and making it would touch the reserve. Nothing was
    /// appended; what is there can be read.
    #[error(
        "no space for the journal: {free_bytes} bytes are free, {needed_bytes} are needed and \
         {reserve_bytes} are kept in reserve"
    )]
    NoSpace {
        /// Free bytes where the journal lies.
        free_bytes: u64,
        /// Bytes of the segments that would have to be made.
        needed_bytes: u64,
        /// Bytes that stay free.
        reserve_bytes: u64,
    },
    /// Bytes that were written are not as they were written.
    #[error("the journal is damaged in segment {segment:016x} at offset {offset}: {reason}")]
    Damaged {
        /// The segment's number, in hexadecimal its file's name.
        segment: u64,
        /// Where in the segment, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A newer release wrote this journal.
    #[error("the journal has format {found}, this release reads up to {supported}")]
    NewerFormat {
        /// The format that was found.
        found: u16,
        /// The newest that is understood.
        supported: u16,
    },
    /// A write or a sync failed, now or earlier. What was not acknowledged by then may or may
    /// not be on disk, and nothing is acknowledged any more.
    #[error("the journal can't write any more: {source}")]
    SyncFailed {
        /// The first failure.
        #[source]
        source: Arc<DiskError>,
    },
    /// Reading, or making or removing a file, failed.
    #[error("the journal's files: {source}")]
    Disk {
        /// What failed.
        #[source]
        source: Arc<DiskError>,
    },
    /// No record begins there: it was freed, or never appended.
    #[error("the journal holds no record at {position}")]
    NotFound {
        /// Where it was looked for.
        position: Position,
    },
    /// Whoever was shown the records at opening refused one.
    #[error("record {sequence} was refused: {reason}")]
    Refused {
        /// The record.
        sequence: Sequence,
        /// Why.
        reason: String,
    },
    /// Another process or handle has the journal open.
    #[error("the journal in {dir} is open elsewhere")]
    InUse {
        /// The journal's directory.
        dir: String,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl From<DiskError> for JournalError {
    fn from(source: DiskError) -> Self {
        JournalError::Disk {
            source: Arc::new(source),
        }
    }
}
