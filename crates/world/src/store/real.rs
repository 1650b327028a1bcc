//! The real store: fjall, one of its keyspaces for each table.
//!
//! Tuned for a small memory: memtables of 16 MiB, one cache for all, levels below the first
//! compressed. Our own journal is the truth until `persist`, so that its write-ahead log is
//! only handed to the operating system on each write.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fjall::{
    AbstractTree as _, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    Readable, Snapshot, compaction::filter::Factory, config::CompressionPolicy,
};

use super::{
    Batch, KeyRange, Pair, StoreError, StoreOptions,
    pace::{self, Pace},
};

/// A table's memory for new writes, in bytes; when it is full, it goes to disk.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;
/// The write-ahead log, in bytes; at this length the oldest tables in it are flushed.
/// (fjall takes no less.)
const WRITE_AHEAD_BYTES_MAX: u64 = 64 << 20;
/// Threads that flush and compact. Two, so that a long compaction does not hold up flushes.
const WORKER_THREADS: usize = 2;

/// How often giving back space looks whether the memtable is written before it goes on
/// without: what is left in memory then goes another time.
const FLUSH_LOOKS_MAX: usize = 3_000;
/// The pause between two looks.
const FLUSH_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A table of our own: fjall deletes files that no reader needs any more when some table's
/// memory goes to disk, so a row here lets it happen now.
const NUDGE_TABLE: &str = "_nudge";
/// How often that is tried while short readers still see the old files. What a long one sees
/// goes later, as others write.
const NUDGES_MAX: usize = 10;
/// The pause between two of them.
const NUDGE_INTERVAL: Duration = Duration::from_millis(50);

pub(super) struct RealStore {
    database: Database,
    names: Vec<&'static str>,
    tables: Vec<Keyspace>,
    paces: Vec<Pace>,
    nudge: Keyspace,
    // Last: the files go when the database has closed.
    files: Files,
}

/// Deletes a store's files when it is dropped, if it was told to.
struct Files {
    path: PathBuf,
    doomed: AtomicBool,
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(error) = super::Store::destroy(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "a store that is not needed any more was not deleted");
        }
    }
}

pub(super) struct RealSnapshot(Snapshot);

impl RealStore {
    pub(super) fn open(
        path: &Path,
        options: StoreOptions,
        names: &[&'static str],
    ) -> Result<RealStore, StoreError> {
        let paces: Vec<Pace> = names.iter().map(|_| Pace::default()).collect();
        let pace_of = {
            let (names, paces) = (names.to_vec(), paces.clone());
            move |name: &str| {
                let at = names.iter().position(|known| *known == name)?;
                Some(Arc::new(paces[at].clone()) as Arc<dyn Factory>)
            }
        };
        let opened = Database::builder(path)
            .with_compaction_filter_factories(Arc::new(pace_of))
            .cache_size(options.cache_bytes)
            .max_journaling_size(WRITE_AHEAD_BYTES_MAX)
            .worker_threads(WORKER_THREADS)
            .open();
        let database = match opened {
            Err(fjall::Error::Locked) => {
                return Err(StoreError::Locked {
                    path: path.to_path_buf(),
                });
            }
            other => other?,
        };
        let tables = names
            .iter()
            .map(|name| database.keyspace(name, table_options))
            .collect::<Result<Vec<_>, _>>()?;
        let nudge = database.keyspace(NUDGE_TABLE, table_options)?;
        Ok(RealStore {
            nudge,
            database,
            names: names.to_vec(),
            tables,
            paces,
            files: Files {
                path: path.to_path_buf(),
                doomed: AtomicBool::new(false),
            },
        })
    }

    pub(super) fn doom(&self) {
        self.files.doomed.store(true, Ordering::Release);
    }

    pub(super) fn tables(&self) -> &[&'static str] {
        &self.names
    }

    pub(super) fn get(&self, table: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        // Not from the table itself, which shows the halves of a batch that is being written.
        self.get_at(&self.snapshot(), table, key)
    }

    pub(super) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut writes = self.database.batch();
        for write in batch.writes {
            let table = self.table(write.table);
            match write.value {
                Some(value) => writes.insert(table, write.key, value),
                None => writes.remove(table, write.key),
            }
        }
        Ok(writes.commit()?)
    }

    pub(super) fn persist(&self) -> Result<(), StoreError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    pub(super) fn snapshot(&self) -> RealSnapshot {
        RealSnapshot(self.database.snapshot())
    }

    pub(super) fn get_at(
        &self,
        view: &RealSnapshot,
        table: &str,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        if key.is_empty() {
            return Ok(None);
        }
        Ok(view.0.get(self.table(table), key)?.map(Bytes::from))
    }

    pub(super) fn scan_at(
        &self,
        view: &RealSnapshot,
        table: &str,
        range: KeyRange<'_>,
    ) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + Send + use<> {
        view.0
            .range::<&[u8], _>(self.table(table), range)
            .map(|guard| {
                let (key, value) = guard.into_inner()?;
                Ok((Bytes::from(key), Bytes::from(value)))
            })
    }

    pub(super) fn disk_bytes(&self) -> Result<u64, StoreError> {
        // Without the database's own journal: it is preallocated and used again, so nothing
        // that a user deletes would ever make it smaller.
        Ok(self.tables.iter().map(Keyspace::disk_space).sum())
    }

    pub(super) fn give_back(&self, name: &str) -> Result<(), StoreError> {
        let at = self.position(name);
        let table = &self.tables[at];
        // Deletes that are only in memory delete nothing on the disk. (It also tells fjall
        // that what no snapshot shows may go.)
        table.rotate_memtable()?;
        for _ in 0..FLUSH_LOOKS_MAX {
            if table.sealed_memtable_count() == 0 {
                break;
            }
            pace::pause(FLUSH_LOOK_INTERVAL);
        }
        if table.table_count() > 0 {
            let _paced = self.paces[at].keep();
            table.major_compact()?;
        }
        for _ in 0..NUDGES_MAX {
            self.nudge.insert(b"at", b"")?;
            self.nudge.rotate_memtable()?;
            if table.tree.version_free_list_len() == 0 {
                break;
            }
            pace::pause(NUDGE_INTERVAL);
        }
        Ok(())
    }

    fn table(&self, name: &str) -> &Keyspace {
        &self.tables[self.position(name)]
    }

    fn position(&self, name: &str) -> usize {
        let at = self.names.iter().position(|known| *known == name);
        at.unwrap_or_else(|| panic!("the store was opened without a table {name:?}"))
    }
}

fn table_options() -> KeyspaceCreateOptions {
    // The first level is short-lived: compressing it would only cost time.
    let compression = CompressionPolicy::new([CompressionType::None, CompressionType::Lz4]);
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES_MAX)
        .data_block_compression_policy(compression)
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        let reason = error.to_string();
        match error {
            fjall::Error::Poisoned => StoreError::Poisoned,
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                StoreError::Disk {
                    reason: source.to_string(),
                    source: Some(source),
                }
            }
            _ => StoreError::Damaged { reason },
        }
    }
}
