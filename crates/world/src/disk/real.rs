//! The machine's own files, by the calls of a Linux or Unix system.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where files are opened"
)]

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation};

use super::{Disk, DiskError, DiskFile, DiskLock, Open};

/// The machine's own files.
pub fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

struct RealDisk;

struct RealFile {
    path: PathBuf,
    file: File,
}

struct RealLock {
    // The lock ends when the file is closed.
    _file: File,
}

impl DiskLock for RealLock {}

/// Adds what was tried, and on what, to an operating system's error.
fn told<T>(
    operation: &'static str,
    path: &Path,
    result: Result<T, impl Into<io::Error>>,
) -> Result<T, DiskError> {
    result.map_err(|source| DiskError::new(operation, path, source.into()))
}

/// An empty parent means the current directory.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> Result<(), DiskError> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().map(or_here);
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            made => told("create directory", dir, made)?,
        }
        parent.map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let mut names = Vec::new();
        for entry in told("list", dir, fs::read_dir(or_here(dir)))? {
            let entry = told("list", dir, entry)?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &Path, open: Open) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if let Open::Create { .. } = open {
            options.create(true).truncate(true);
        }
        let file = RealFile {
            path: path.to_path_buf(),
            file: told("open", path, options.open(path))?,
        };
        if let Open::Create { preallocate_bytes } = open
            && let Err(error) = file.preallocate(preallocate_bytes)
        {
            // A file without its space is of no use to whoever asked; the first error counts.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        told("rename", from, fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        told("remove", path, fs::remove_file(path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let opened = told("open directory", dir, File::open(or_here(dir)))?;
        told("sync directory", dir, opened.sync_all())
    }

    fn free_bytes(&self, dir: &Path) -> Result<u64, DiskError> {
        let found = told("measure", dir, rustix::fs::statvfs(or_here(dir)))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn read_all(&self, path: &Path) -> Result<Bytes, DiskError> {
        told("read", path, fs::read(path)).map(Bytes::from)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = told("open", path, options.open(path))?;
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        told("lock", path, locked)?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

impl RealFile {
    fn preallocate(&self, bytes: u64) -> Result<(), DiskError> {
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            // Some file systems can't reserve; there the length alone must do.
            Err(rustix::io::Errno::OPNOTSUPP) => self.set_len(bytes),
            reserved => told("reserve space for", &self.path, reserved),
        }
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        told("write", &self.path, self.file.write_all_at(bytes, offset))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let mut filled = 0;
        while filled < into.len() {
            match self
                .file
                .read_at(&mut into[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DiskError::new("read", &self.path, error)),
            }
        }
        Ok(filled)
    }

    fn len_bytes(&self) -> Result<u64, DiskError> {
        told("measure", &self.path, self.file.metadata()).map(|found| found.len())
    }

    fn set_len(&self, bytes: u64) -> Result<(), DiskError> {
        told("set the length of", &self.path, self.file.set_len(bytes))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        told("sync", &self.path, rustix::fs::fdatasync(&self.file))
    }
}
