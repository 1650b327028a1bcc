//! A write-ahead log: what was acknowledged is there again after a crash, in order.
//!
//! Records flow from [`Journal::append`] into a bounded queue, from there through one writer
//! into preallocated segments; many appends share one write and one sync (group commit, after
//! Helland et al., "Group Commit Timers and High Volume Transaction Systems", HPTS 1987).
//! Nothing is cached here but what is not written yet.
//!
//! Invariants:
//! - records have consecutive sequences, and `done` is called in their order;
//! - a record is never acknowledged before it, and everything before it, is as durable as
//!   [`Durability`] says;
//! - a segment is wholly synced before the next one receives a record, so only the last one
//!   can have a torn tail;
//! - opening writes nothing: what recovery finds, it finds again until the first append after
//!   it has become durable.

mod append;
mod commit;
mod error;
pub mod format;
mod recovery;
#[cfg(test)]
mod tests;
mod writer;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{disk::Disk, random};
use append::Shared;
pub use error::JournalError;
pub use format::{PAYLOAD_BYTES_MAX, parse_segment};
pub use recovery::{Cut, Recovery, segments};

/// Bytes that may wait for the disk, headers included; then appends are refused.
pub const QUEUE_BYTES_MAX: u64 = 64 << 20;
/// Bytes after which one commit takes no more records.
pub const BATCH_BYTES_MAX: u64 = 4 << 20;
/// Smallest length of a segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 1024;
/// Largest length of a segment, in bytes: recovery reads one at a time into memory.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The number of a record: 1 for the first, then one more each. Never used again, except for
/// records that a crash cut off unacknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a record lies. Later records have greater positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Where in the segment it begins, in bytes.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}+{}", self.segment, self.offset)
    }
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is synced: a loss of power takes nothing that was acknowledged.
    #[default]
    Always,
    /// When the operating system has it, which syncs at least this often: a loss of power may
    /// take what was acknowledged since, a killed process nothing.
    Interval(Duration),
    /// When the operating system has it, which syncs when it likes.
    None,
}

/// Who writes.
#[derive(Clone)]
pub enum Writer {
    /// A thread of its own: for the real disk.
    Thread,
    /// A task of the current tokio runtime: for a simulation, where a sync takes as long as
    /// the function says, and what is appended meanwhile waits for the next one.
    Task {
        /// How long the next sync takes.
        sync_latency: Arc<dyn Fn() -> Duration + Send + Sync>,
    },
}

impl Writer {
    /// A task whose syncs take a time from the range, which must not be empty, drawn from the
    /// world's randomness.
    pub fn task(latency: Range<Duration>) -> Self {
        Writer::Task {
            sync_latency: Arc::new(move || random::range(latency.clone())),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Writer::Thread => "Thread",
            Writer::Task { .. } => "Task",
        })
    }
}

/// Called once when a write or a sync failed, before anyone waiting is told.
pub type Fatal = Arc<dyn Fn(&JournalError) + Send + Sync>;

/// How a journal is kept.
#[derive(Clone)]
pub struct Options {
    /// Length of new segments, in bytes, [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    /// Default 64 MiB. Old segments keep theirs.
    pub segment_bytes: u64,
    /// When a record counts as written.
    pub durability: Durability,
    /// Free space, in bytes, that a new segment must leave. Default 256 MiB.
    pub reserve_bytes: u64,
    /// Who writes.
    pub writer: Writer,
    /// Called when a write or a sync failed: the process should end, since what it believes
    /// of its disk is no longer true. Default: nothing, and every append fails from then on.
    pub fatal: Fatal,
    /// Draws each segment's secret salt. Who can guess it, and has records written, could
    /// make a torn tail look like damage.
    pub salt: fn() -> u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
            durability: Durability::Always,
            reserve_bytes: 256 << 20,
            writer: Writer::Thread,
            fatal: Arc::new(|_| {}),
            salt: random::u64,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("durability", &self.durability)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

/// An open journal. Clones are the same journal. When the last one is dropped, the writer
/// still writes what is queued, on its own; [`close`](Journal::close) waits for that.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: parking_lot::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Journal {
    /// Opens the journal in `dir` (made if need be) and shows every record to `visit`, in
    /// order. With [`Writer::Task`], call it inside the runtime.
    ///
    /// # Errors
    /// Damage before the tail, a newer format, a journal that is open elsewhere, and what
    /// `visit` or the disk says. Nothing is changed then.
    ///
    /// # Panics
    /// If `segment_bytes` is out of its range.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
        visit: &mut dyn FnMut(Sequence, Position, Bytes) -> Result<(), JournalError>,
    ) -> Result<(Journal, Recovery), JournalError> {
        let allowed = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        assert!(
            allowed.contains(&options.segment_bytes),
            "segment_bytes must be in {allowed:?}"
        );
        let recovered = recovery::recover(disk.as_ref(), &dir, options.durability, visit)?;
        let recovery = recovered.recovery.clone();
        let shared = Arc::new(Shared::new(disk, dir, options, recovered));
        let thread = writer::start(&shared)?;
        let handle = Handle {
            shared,
            thread: parking_lot::Mutex::new(thread),
        };
        Ok((
            Journal {
                handle: Arc::new(handle),
            },
            recovery,
        ))
    }

    /// Queues records, which can be read at once, and says where they will lie. `done` is
    /// called once, by the writer or, where nothing is synced, perhaps before this returns, when
    /// they are as durable as [`Durability`] demands, or can't be made so; calls come in the
    /// order of appends. It must not block, nor close the journal. Without records, `done` waits
    /// for those queued before. A simulated crash and an error returned here drop `done` without
    /// a call.
    ///
    /// # Errors
    /// [`Full`](JournalError::Full), [`TooLarge`](JournalError::TooLarge) and
    /// [`NoSpace`](JournalError::NoSpace): nothing was appended, a later try may go through.
    /// [`SyncFailed`](JournalError::SyncFailed) and [`Closed`](JournalError::Closed): none will.
    pub fn append(
        &self,
        records: Vec<Bytes>,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) -> Result<Vec<Position>, JournalError> {
        self.handle.shared.append(records, false, Box::new(done))
    }

    /// The same for what has to be synced at every [`Durability`]; what was queued before is
    /// synced with it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_synced(
        &self,
        records: Vec<Bytes>,
        done: impl FnOnce(Result<(), JournalError>) + Send + 'static,
    ) -> Result<Vec<Position>, JournalError> {
        self.handle.shared.append(records, true, Box::new(done))
    }

    /// The record at a position that [`append`](Journal::append) or opening gave.
    ///
    /// # Errors
    /// [`NotFound`](JournalError::NotFound) where it was freed,
    /// [`Damaged`](JournalError::Damaged) where its bytes are not what was written.
    pub fn read(&self, position: Position) -> Result<Bytes, JournalError> {
        self.handle.shared.read(position)
    }

    /// Frees whole segments that lie entirely before `position`, durably. Takes as long as
    /// the disk needs to remove files.
    ///
    /// # Errors
    /// What the disk says; some segments may have been freed.
    pub fn free_before(&self, position: Position) -> Result<(), JournalError> {
        self.handle.shared.free_before(position)
    }

    /// Whether so many more bytes find room, headers included: in the segment that is being
    /// written, or in a new one that leaves the reserve alone. Up to the length of a segment. The
    /// disk is asked only where the segment that is being written has not enough left.
    ///
    /// # Errors
    /// What the disk says.
    pub fn has_room(&self, bytes: u64) -> Result<bool, JournalError> {
        self.handle.shared.has_room(bytes)
    }

    /// Bytes that the journal's segments take on disk.
    pub fn bytes(&self) -> u64 {
        self.handle.shared.bytes()
    }

    /// Bytes that wait for the disk, headers included; at most [`QUEUE_BYTES_MAX`].
    pub fn queued_bytes(&self) -> u64 {
        self.handle.shared.queued_bytes()
    }

    /// Writes and syncs what is queued, at every durability, calls what is still to be called,
    /// and ends the writer. Appends through other clones fail from now on; reads go on.
    pub fn close(self) {
        self.handle.shared.stop();
        let thread = self.handle.thread.lock().take();
        match thread {
            Some(thread) if thread.thread().id() != std::thread::current().id() => {
                assert!(thread.join().is_ok(), "the journal's writer must not panic");
            }
            _ => {}
        }
        self.handle.shared.finish();
    }
}
