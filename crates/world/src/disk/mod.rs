//! Files: the machine's own, or a simulated disk that crashes.
//!
//! Calls are synchronous: whoever must not wait moves them to `task::blocking` or to a
//! thread. What is written is durable only after [`DiskFile::sync_data`]; a name (made, renamed
//! or removed) only after [`Disk::sync_dir`] of its directory. [`SimDisk`] takes both at their
//! word: what was not synced may survive a crash whole, in part, or not at all.

mod real;
mod sim;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

pub use real::real;
pub use sim::{SECTOR_BYTES, SimDisk};

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DiskError {
    /// What was tried, a verb.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        DiskError {
            operation,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Nothing has that name.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// The disk, or this user's share of it, is full.
    pub fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }

    /// Another process holds the lock.
    pub fn is_locked(&self) -> bool {
        self.source.kind() == io::ErrorKind::WouldBlock
    }
}

/// How a file is opened. Always for reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must be there.
    Existing,
    /// It is made anew, empty (an old file of that name is cut to nothing), then given this
    /// length, with its space reserved and its content zeros.
    Create {
        /// Length, in bytes.
        preallocate_bytes: u64,
    },
}

/// Holds a lock until it is dropped.
pub trait DiskLock: Send + Sync {}

/// A place for files.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and what is missing above it, durably.
    ///
    /// # Errors
    /// What the operating system said.
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError>;

    /// The names of the files and directories in `dir`, sorted.
    ///
    /// # Errors
    /// What the operating system said; not found where there is no such directory.
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError>;

    /// Opens a file.
    ///
    /// # Errors
    /// What the operating system said. Where a new file finds no room, [`DiskError::is_full`],
    /// and no file is left behind.
    fn open(&self, path: &Path, open: Open) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Gives a file another name in place of whatever had it. Durable after
    /// [`sync_dir`](Disk::sync_dir).
    ///
    /// # Errors
    /// What the operating system said.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file. Durable after [`sync_dir`](Disk::sync_dir).
    ///
    /// # Errors
    /// What the operating system said.
    fn remove(&self, path: &Path) -> Result<(), DiskError>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the operating system said.
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Free space for this process where `dir` lies, in bytes.
    ///
    /// # Errors
    /// What the operating system said.
    fn free_bytes(&self, dir: &Path) -> Result<u64, DiskError>;

    /// A whole file.
    ///
    /// # Errors
    /// What the operating system said.
    fn read_all(&self, path: &Path) -> Result<Bytes, DiskError>;

    /// Takes an exclusive lock on a file, which is made if need be; it ends with the process
    /// or with the returned value.
    ///
    /// # Errors
    /// [`DiskError::is_locked`] while another holder has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, DiskError>;

    /// Puts `bytes` in place of a file's content, so that after a crash the old or the new
    /// content is there, whole; on return, the new one, durably.
    ///
    /// # Errors
    /// What the operating system said. The old content is then still there, unless making the
    /// rename durable was what failed: then it is either.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let file = self.open(
            &temporary,
            Open::Create {
                preallocate_bytes: 0,
            },
        )?;
        file.write_at(0, bytes)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// An open file. Calls may come from several threads at once.
pub trait DiskFile: Send + Sync {
    /// Writes all bytes from `offset` on; the file grows if need be.
    ///
    /// # Errors
    /// What the operating system said; part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Reads until `into` is full or the file ends, and says how many bytes that were.
    ///
    /// # Errors
    /// What the operating system said.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError>;

    /// The file's length, in bytes.
    ///
    /// # Errors
    /// What the operating system said.
    fn len_bytes(&self) -> Result<u64, DiskError>;

    /// Cuts the file, or adds zeros.
    ///
    /// # Errors
    /// What the operating system said.
    fn set_len(&self, bytes: u64) -> Result<(), DiskError>;

    /// Makes everything written so far durable. After a failure nothing written since the last
    /// success is known to be durable, and a later success does not change that: what failed
    /// may have been dropped (Rebello et al., "Can Applications Recover from fsync Failures?",
    /// ATC 2020).
    ///
    /// # Errors
    /// What the operating system said.
    fn sync_data(&self) -> Result<(), DiskError>;
}
