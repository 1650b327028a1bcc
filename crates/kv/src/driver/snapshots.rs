//! The files that hold partitions' states, and when new ones are made.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use atoll_base::id::PartitionId;
use atoll_world::disk::{Disk, DiskError, Open};
use bytes::Bytes;

use super::journal::bytes_of;
use crate::core::{
    eventual::DecodeError,
    machine::Machine,
    partition::State,
    paxos::{LogIndex, Position},
    snapshot::{self, SnapshotError},
    wire::FileMark,
};

/// The folder of snapshots, in that of hot data.
const FOLDER: &str = "snapshots";
/// What the names of files end with.
pub(super) const SUFFIX: &str = ".snap";
/// What a file is called until it is whole.
const TEMPORARY: &str = ".tmp";

/// When states are written down, and how much of the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// A partition whose log holds so many entries is snapshotted. Default 100,000.
    pub log_entries_max: u64,
    /// The same for the bytes of its entries; but a log may grow as large as the last snapshot
    /// was, so that large states are not written all the time. Default 4 MiB.
    pub log_bytes_max: u64,
    /// So many segments of the journal before the newest one are left alone, or as many as a
    /// quarter of all snapshots would fill. What partitions still need of older ones is written
    /// again, so that those can be freed. Default 4.
    pub segments_kept: u64,
    /// A partition that holds an old segment back and has more bytes of entries than this is
    /// snapshotted first. Default 32 KiB.
    pub carry_bytes_max: u64,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        SnapshotSettings {
            log_entries_max: 100_000,
            log_bytes_max: 4 << 20,
            segments_kept: 4,
            carry_bytes_max: 32 << 10,
        }
    }
}

/// What is wrong with a partition's snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// It can't be read from the disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It can't be understood.
    #[error(transparent)]
    Content(#[from] SnapshotError),
    /// It is none of an eventual partition, or what follows it is none of its records.
    #[error(transparent)]
    Eventual(#[from] DecodeError),
    /// It is not the one that was taken over from another replica.
    #[error(
        "it has {found_bytes} bytes and the checksum {found:016x}; taken over were {wanted_bytes} bytes with {wanted:016x}"
    )]
    Other {
        /// Its length.
        found_bytes: u64,
        /// Its checksum.
        found: u64,
        /// The length that the journal tells of.
        wanted_bytes: u64,
        /// The checksum that the journal tells of.
        wanted: u64,
    },
}

/// The folder of snapshots. Clones are the same. All calls wait for the disk.
#[derive(Clone)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Files {
    /// The folder in that of hot data, made if need be.
    pub(super) fn open(disk: Arc<dyn Disk>, data: &Path) -> Result<Files, DiskError> {
        let dir = data.join(FOLDER);
        disk.create_dir_all(&dir)?;
        Ok(Files { disk, dir })
    }

    pub(super) fn name(partition: PartitionId, index: LogIndex) -> String {
        format!("{}-{index}{SUFFIX}", partition.0)
    }

    pub(super) fn path(&self, partition: PartitionId, index: LogIndex) -> PathBuf {
        self.dir.join(Files::name(partition, index))
    }

    /// Makes a file; when this returns, it is whole and durable. Nobody else makes the same.
    pub(super) fn save(&self, name: &str, pieces: &[Bytes]) -> Result<(), DiskError> {
        let temporary = self.dir.join(format!("{name}{TEMPORARY}"));
        let written = self.write(&temporary, pieces);
        if let Err(error) = written {
            // What is left of it takes room; the next start removes it at the latest.
            if let Err(error) = self.disk.remove(&temporary)
                && !error.is_not_found()
            {
                tracing::debug!(%error, "an unfinished snapshot stays for now");
            }
            return Err(error);
        }
        self.disk.rename(&temporary, &self.dir.join(name))?;
        self.disk.sync_dir(&self.dir)
    }

    fn write(&self, path: &Path, pieces: &[Bytes]) -> Result<(), DiskError> {
        let preallocate_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let file = self.disk.open(path, Open::Create { preallocate_bytes })?;
        let mut at = 0;
        for piece in pieces {
            file.write_at(at, piece)?;
            at += piece.len() as u64;
        }
        file.sync_data()
    }

    /// The state at a base, and the length of its file; `mark` is what the journal knows of it.
    pub(super) fn load(
        &self,
        partition: PartitionId,
        base: Position,
        mark: Option<FileMark>,
    ) -> Result<(State<Machine>, u64), SnapshotFault> {
        let bytes = self.disk.read_all(&self.path(partition, base.index))?;
        if let Some(wanted) = mark {
            check(&bytes, wanted)?;
        }
        Ok((decode_at(&bytes, base)?, bytes.len() as u64))
    }

    /// What a file of an eventual partition holds, and what it has to be.
    pub(super) fn read(&self, name: &str, wanted: FileMark) -> Result<Bytes, SnapshotFault> {
        let bytes = self.disk.read_all(&self.dir.join(name))?;
        check(&bytes, wanted)?;
        Ok(bytes)
    }

    /// Removes a file that nobody needs any more. It may come back if the machine loses power
    /// now; the next start removes it again.
    pub(super) fn remove(&self, name: &str) {
        match self.disk.remove(&self.dir.join(name)) {
            Err(error) if !error.is_not_found() => {
                tracing::warn!(%error, "an old snapshot stays until the next start");
            }
            _ => {}
        }
    }

    /// The lengths of all snapshots together, those included that nobody needs.
    pub(super) fn bytes(&self) -> Result<u64, DiskError> {
        let names = self.disk.list(&self.dir)?.into_iter();
        let ours = names.filter(|name| name.ends_with(SUFFIX));
        bytes_of(self.disk.as_ref(), ours.map(|name| self.dir.join(name)))
    }

    /// Removes everything but these snapshots.
    pub(super) fn keep_only(&self, kept: &BTreeSet<String>) -> Result<(), DiskError> {
        for name in self.disk.list(&self.dir)? {
            let is_ours = name.ends_with(SUFFIX) || name.ends_with(TEMPORARY);
            if is_ours && !kept.contains(&name) {
                self.disk.remove(&self.dir.join(name))?;
            }
        }
        self.disk.sync_dir(&self.dir)
    }
}

/// Whether a file is the one that the journal tells of.
fn check(bytes: &[u8], wanted: FileMark) -> Result<(), SnapshotFault> {
    let found = FileMark::of(bytes);
    if found == wanted {
        return Ok(());
    }
    Err(SnapshotFault::Other {
        found_bytes: found.bytes,
        found: found.checksum,
        wanted_bytes: wanted.bytes,
        wanted: wanted.checksum,
    })
}

/// The state that a snapshot holds, which has to be that of `base`.
pub(super) fn decode_at(bytes: &Bytes, base: Position) -> Result<State<Machine>, SnapshotError> {
    let state = snapshot::decode(bytes)?;
    if state.applied != base {
        return Err(SnapshotError::Moment {
            found: state.applied.index,
            wanted: base.index,
        });
    }
    Ok(state)
}
