//! An embedded ordered store: named tables of keys and values, written in atomic batches.
//!
//! What flows through: [`Batch`]es in, [`Scan`]s and [`StoreSnapshot`]s out. A batch covers any
//! tables and is seen whole or not at all, by readers and after a crash. Batches become
//! durable in order, at the latest with [`Store::persist`]; a crash loses a suffix of those
//! written since. Reads never wait for writes.
//!
//! The real store is a log-structured merge tree (fjall); the simulated one keeps versions
//! in memory and crashes on demand. Every call may block on the disk: async code goes
//! through [`task::blocking`](crate::task::blocking).

use std::{
    ops::{Bound, RangeBounds},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

mod pace;
mod real;
mod sim;
#[cfg(test)]
mod tests;

pub use sim::SimStore;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 256 << 20;
/// Keys that one batch of [`Store::clear`] removes.
const CLEAR_CHUNK_KEYS: usize = 4096;

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("the store at {} is open in another process", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// The files are damaged, or of an unknown version.
    #[error("the store is damaged or of an unknown version: {reason}")]
    Damaged {
        /// What the files said.
        reason: String,
    },
    /// The disk failed or is full. After a failed write the store accepts no other: what is
    /// on disk is not known until it is opened again.
    #[error("the store could not read or write its files: {reason}")]
    Disk {
        /// What the disk said.
        reason: String,
        #[source]
        /// Where it came from, if it was an error of the operating system.
        source: Option<std::io::Error>,
    },
    /// An earlier write failed: see [`StoreError::Disk`].
    #[error("the store takes no writes since one failed")]
    Poisoned,
    /// The key is empty or longer than [`KEY_BYTES_MAX`].
    #[error("a key of {bytes} bytes is not within 1 to {KEY_BYTES_MAX}")]
    BadKey {
        /// Length of the key.
        bytes: usize,
    },
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("a value of {bytes} bytes is over the limit of {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// Length of the value.
        bytes: usize,
    },
    /// The simulated machine crashed, and this handle belongs to its past life.
    #[error("the simulated machine of this store has crashed")]
    Crashed,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Memory for recently read blocks, in bytes.
    pub cache_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            cache_bytes: 64 << 20,
        }
    }
}

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// Writes that take effect together, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Write {
    table: &'static str,
    key: Bytes,
    value: Option<Bytes>,
}

impl Batch {
    /// A batch without writes.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Sets a key.
    pub fn put(&mut self, table: &'static str, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.add(Write {
            table,
            key: key.into(),
            value: Some(value.into()),
        });
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, table: &'static str, key: impl Into<Bytes>) {
        self.add(Write {
            table,
            key: key.into(),
            value: None,
        });
    }

    /// The number of writes.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there are no writes.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The length of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, write: Write) {
        self.bytes += write.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        self.writes.push(write);
    }

    fn check(&self) -> Result<(), StoreError> {
        for write in &self.writes {
            if write.key.is_empty() || write.key.len() > KEY_BYTES_MAX {
                return Err(StoreError::BadKey {
                    bytes: write.key.len(),
                });
            }
            let value_bytes = write.value.as_ref().map_or(0, Bytes::len);
            if value_bytes > VALUE_BYTES_MAX {
                return Err(StoreError::ValueTooLarge { bytes: value_bytes });
            }
        }
        Ok(())
    }
}

/// What [`Store::remove_range`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// How many keys it removed.
    pub keys: usize,
    /// Where the next call goes on, or that nothing is left.
    pub rest: Option<Bytes>,
}

/// An open store. Clones are the same store; it closes with the last of them and of its
/// snapshots and scans.
#[derive(Clone)]
pub struct Store(Arc<Backend>);

enum Backend {
    Real(real::RealStore),
    Simulated(sim::SimHandle),
}

impl Store {
    /// Opens the store in a directory of its own, making both if need be. `tables` are all
    /// the tables there are; more may be named at a later opening.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Disk`.
    pub fn open(
        path: &Path,
        options: StoreOptions,
        tables: &[&'static str],
    ) -> Result<Store, StoreError> {
        let real = real::RealStore::open(path, options, tables)?;
        Ok(Store(Arc::new(Backend::Real(real))))
    }

    /// Deletes the files of a store that nobody has open; none is no error.
    ///
    /// # Errors
    /// `Disk`.
    pub fn destroy(path: &Path) -> Result<(), StoreError> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::Disk {
                reason: error.to_string(),
                source: Some(error),
            }),
            _ => Ok(()),
        }
    }

    /// Deletes the store's files once nobody has it open any more: readers finish first.
    pub fn destroy_when_closed(&self) {
        match &*self.0 {
            Backend::Real(real) => real.doom(),
            // Its memory goes with its last handle.
            Backend::Simulated(_) => {}
        }
    }

    /// Opens a simulated store. Handles of an earlier opening answer `Crashed` from now on.
    pub fn simulated(disk: &SimStore, tables: &[&'static str]) -> Store {
        Store(Arc::new(Backend::Simulated(disk.open(tables))))
    }

    /// The value of a key. It may share a larger block's memory: copy what is kept for long.
    ///
    /// # Errors
    /// `Disk`, `Damaged`.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match &*self.0 {
            Backend::Real(real) => real.get(table, key),
            Backend::Simulated(sim) => sim.get(table, key),
        }
    }

    /// The pairs of a range of keys in order, as they are now; `.rev()` for descending order.
    pub fn scan<'k>(&self, table: &str, range: impl RangeBounds<&'k [u8]>) -> Scan {
        self.snapshot().scan(table, range)
    }

    /// Writes a batch. It is seen at once, and durable after the next [`Store::persist`]; the
    /// death of the process alone (without the machine's) does not lose it. It may wait for
    /// the background when it is far behind.
    ///
    /// # Errors
    /// `BadKey`, `ValueTooLarge`; `Disk` and `Poisoned`, after which the process should end.
    pub fn write(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        match &*self.0 {
            Backend::Real(real) => real.write(batch),
            Backend::Simulated(sim) => sim.write(batch),
        }
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// `Disk` and `Poisoned`, after which the process should end.
    pub fn persist(&self) -> Result<(), StoreError> {
        match &*self.0 {
            Backend::Real(real) => real.persist(),
            Backend::Simulated(sim) => sim.persist(),
        }
    }

    /// The whole store as it is now. While it is held, what it shows is kept on disk.
    pub fn snapshot(&self) -> StoreSnapshot {
        let view = match &*self.0 {
            Backend::Real(real) => View::Real(real.snapshot()),
            Backend::Simulated(sim) => View::Simulated(sim.snapshot()),
        };
        StoreSnapshot {
            store: self.clone(),
            view,
        }
    }

    /// Bytes that the store's tables take on disk. Its own journal is bounded and used again,
    /// and is not counted.
    ///
    /// # Errors
    /// `Disk`.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        match &*self.0 {
            Backend::Real(real) => real.disk_bytes(),
            Backend::Simulated(sim) => Ok(sim.disk_bytes()),
        }
    }

    /// Rewrites a table without what was overwritten and deleted before, so that its space
    /// comes back; what a snapshot still shows stays. Blocks for as long as it takes to write
    /// what is left, at a bounded pace; reads and writes of others go on. Meanwhile the table
    /// is on the disk twice.
    ///
    /// # Errors
    /// `Disk`, `Damaged`. What is in the store is as it was.
    pub fn give_back(&self, table: &str) -> Result<(), StoreError> {
        match &*self.0 {
            Backend::Real(real) => real.give_back(table),
            // Its disk has no size.
            Backend::Simulated(_) => Ok(()),
        }
    }

    /// Removes up to `keys_max` keys of a range in one batch; the rest is told, so that the
    /// caller sets the pace.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn remove_range<'k>(
        &self,
        table: &'static str,
        range: impl RangeBounds<&'k [u8]>,
        keys_max: usize,
    ) -> Result<Removed, StoreError> {
        let mut batch = Batch::new();
        let mut rest = None;
        for pair in self.scan(table, range) {
            let (key, _) = pair?;
            if batch.len() == keys_max {
                rest = Some(key);
                break;
            }
            batch.delete(table, key);
        }
        let keys = batch.len();
        self.write(batch)?;
        Ok(Removed { keys, rest })
    }

    /// Removes everything, table by table in the order of opening, in many batches: after a
    /// crash in between a part is left. (Deletes are written rather than files dropped: the
    /// store's own way of dropping them keeps its journals for ever, fjall issue 288.)
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn clear(&self) -> Result<(), StoreError> {
        for &table in self.tables() {
            let mut from = Bytes::new();
            while let Some(rest) = self.remove_range(table, &*from.., CLEAR_CHUNK_KEYS)?.rest {
                from = rest;
            }
        }
        Ok(())
    }

    fn tables(&self) -> &[&'static str] {
        match &*self.0 {
            Backend::Real(real) => real.tables(),
            Backend::Simulated(sim) => sim.tables(),
        }
    }
}

/// The whole store at one moment. Can be sent to other threads.
pub struct StoreSnapshot {
    store: Store,
    view: View,
}

enum View {
    Real(real::RealSnapshot),
    Simulated(sim::SimSnapshot),
}

impl StoreSnapshot {
    /// The value that a key had.
    ///
    /// # Errors
    /// `Disk`, `Damaged`.
    pub fn get(&self, table: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match (&*self.store.0, &self.view) {
            (Backend::Real(real), View::Real(view)) => real.get_at(view, table, key),
            (_, View::Simulated(view)) => view.get(table, key),
            (Backend::Simulated(_), View::Real(_)) => {
                unreachable!("a snapshot is of its store's kind")
            }
        }
    }

    /// The pairs of a range of keys in order; `.rev()` for descending order. A range that
    /// ends before it starts is empty.
    pub fn scan<'k>(&self, table: &str, range: impl RangeBounds<&'k [u8]>) -> Scan {
        let range = (
            range.start_bound().map(|key| *key),
            range.end_bound().map(|key| *key),
        );
        let pairs: Box<dyn PairIterator> = if is_empty(range) {
            Box::new(std::iter::empty())
        } else {
            match (&*self.store.0, &self.view) {
                (Backend::Real(real), View::Real(view)) => {
                    Box::new(real.scan_at(view, table, range))
                }
                (_, View::Simulated(view)) => Box::new(view.scan(table, range)),
                (Backend::Simulated(_), View::Real(_)) => {
                    unreachable!("a snapshot is of its store's kind")
                }
            }
        };
        Scan {
            pairs,
            _store: self.store.clone(),
        }
    }
}

type KeyRange<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

/// Ordered maps panic on a range that ends before it starts.
fn is_empty(range: KeyRange<'_>) -> bool {
    match range {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

trait PairIterator: DoubleEndedIterator<Item = Result<Pair, StoreError>> + Send {}
impl<I: DoubleEndedIterator<Item = Result<Pair, StoreError>> + Send> PairIterator for I {}

/// The pairs of a range at one moment, in ascending order, or by `.rev()` descending. The
/// bytes may share a larger block: copy what is kept for long.
pub struct Scan {
    pairs: Box<dyn PairIterator>,
    _store: Store,
}

impl Iterator for Scan {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pairs.next()
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.pairs.next_back()
    }
}
