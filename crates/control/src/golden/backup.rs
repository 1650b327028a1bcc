//! The backup file.

use std::{path::Path, sync::Arc};

use atoll_base::id::{ClusterId, NodeId};
use atoll_world::disk::{Disk as _, SimDisk};

use super::*;
use crate::driver::{
    backup::{
        self, RestoreError, RestoreOptions, Restored,
        format::{self, FormatError},
    },
    generations::StoreSource,
};

pub(super) fn written(version: u32) -> Bytes {
    let header = raft::BackupHeader {
        version,
        cluster: 0x6c1b_0b83_9347_8ee5,
        applied: Some(raft::LogId { term: 5, index: 12 }),
    };
    format::encode(&header, &[super::state::state().1.to_proto()])
}

async fn restore(file: &[u8]) -> Result<Restored, RestoreError> {
    let disk = Arc::new(SimDisk::new(1));
    disk.create_dir_all(Path::new("/backups"))?;
    let path = Path::new("/backups/file");
    disk.write_atomic(path, file)?;
    let stores = Arc::new(StoreSource::Simulated(Default::default()));
    let options = RestoreOptions::default();
    backup::restore(
        disk,
        path,
        Path::new("/node"),
        stores,
        NodeId(1),
        options,
        |_, _| {},
    )
    .await
}

#[tokio::test]
async fn a_backup_is_written_and_read_the_same() {
    let stored = golden("backup-1.atollbak", &written(1));
    let restored = restore(&stored).await.expect("a sound backup");
    assert_eq!(restored.cluster, ClusterId(0x6c1b_0b83_9347_8ee5));
    assert_eq!(
        (restored.revision.0, restored.keys, restored.auth),
        (4, 2, true)
    );
}

#[tokio::test]
async fn a_newer_backup_is_refused_by_both_numbers() {
    let error = restore(&written(2)).await.expect_err("it is newer");
    assert!(matches!(
        error,
        RestoreError::Format(FormatError::Newer { found: 2 })
    ));
    let text = error.to_string();
    assert!(
        text.contains("version 2") && text.contains("up to 1"),
        "{text}"
    );
}
