//! Backups: the whole state in one file.

pub(crate) mod format;

use std::{path::Path, sync::Arc};

use atoll_base::id::{ClusterId, NodeId, Revision};
use atoll_world::{
    disk::Disk,
    store::{Batch, StoreError},
    task,
};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;

pub use self::format::FormatError;
use self::format::Writer;
use super::{
    generations::{APPLIED_TABLE, Generations, StoreSource},
    replica::{self, APPLIED_KEY},
};
use crate::{
    api::SnapshotStream,
    core::{
        effects::{Space, Table},
        error::Error,
        level::SERVED,
        machine::Machine,
    },
    log::{
        snapshot::{Chunks, Outgoing, Staging as _},
        types::{self, SnapshotMeta},
    },
    proto::raft as pb,
};

/// Chunks that may wait for a slow client.
const CHUNKS_QUEUED_MAX: usize = 4;

/// What a restored cluster must not know of the old one: who was logged in, and which
/// proposals of nodes that are no more were applied.
const LEFT_BEHIND: [Table; 2] = [Table::Sessions, Table::Proposers];

/// Where the log of a restored cluster begins. What was restored counts as a snapshot up to
/// here, so that a node which joins is sent it; without that it would get the log alone.
const BEGIN: pb::LogId = pb::LogId { term: 0, index: 1 };

/// Why a backup could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file, or the new directory.
    #[error("{0}")]
    Disk(#[from] atoll_world::disk::DiskError),
    /// The new store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The directory holds a node already.
    #[error("{0} holds a node already: restore into a new directory")]
    NotEmpty(String),
    /// What it holds does not make a state.
    #[error("the backup cannot be used: {0}")]
    Unusable(#[from] replica::OpenError),
    /// Revisions end somewhere.
    #[error("revision {0} cannot be raised by so much")]
    TooHigh(i64),
}

/// What a restored cluster is to be told apart from the old one by.
#[derive(Clone, Copy, Debug, Default)]
pub struct RestoreOptions {
    /// Do not compare the checksum at the end of the file.
    pub skip_checksum: bool,
    /// Go on so many revisions after the newest, and count all before as compacted: watchers
    /// that saw revisions which are not in the backup are told to read again.
    pub raise_revisions: Option<u64>,
}

/// What was restored.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// The cluster that the backup is of.
    pub cluster: ClusterId,
    /// The revision it stands at now.
    pub revision: Revision,
    /// Keys that there are.
    pub keys: u64,
    /// Whether users have to log in.
    pub auth: bool,
}

/// Streams a view of the store as a backup.
pub(crate) async fn stream(
    cluster: ClusterId,
    meta: &SnapshotMeta,
    outgoing: Outgoing,
) -> Result<SnapshotStream, Error> {
    let (sender, chunks) = mpsc::channel(CHUNKS_QUEUED_MAX);
    let header = pb::BackupHeader {
        version: format::VERSION,
        cluster: cluster.0,
        applied: meta.last_log_id.as_ref().map(types::log_id_to_proto),
    };
    let estimated_bytes = outgoing.estimated_bytes();
    task::spawn(send(header, outgoing.chunks(), sender));
    Ok(SnapshotStream {
        estimated_bytes,
        chunks,
    })
}

async fn send(header: pb::BackupHeader, mut rows: Chunks, to: mpsc::Sender<Result<Bytes, Error>>) {
    let mut writer = Writer::default();
    let mut next = writer.begin(&header);
    loop {
        // The client has gone.
        if to.send(Ok(next)).await.is_err() {
            return;
        }
        next = match rows.next().await {
            Ok(rows) if rows.is_empty() => break,
            Ok(rows) => writer.frame(&pb::BackupRows { rows }),
            Err(error) => {
                tracing::error!(%error, "a backup was broken off");
                let _ = to.send(Err(Error::Stopped)).await;
                return;
            }
        };
    }
    // The empty chunk says that this is the end, and that there was one.
    for last in [writer.end(), Bytes::new()] {
        if to.send(Ok(last)).await.is_err() {
            return;
        }
    }
}

/// Fills a new node's directory from a backup file: the state that the only member of a new
/// cluster begins with. What is there counts only when all of it is, so a directory that was
/// being filled when the machine died may be restored into again.
///
/// # Errors
/// The file is no backup, or damaged; the directory is in use.
pub async fn restore(
    disk: Arc<dyn Disk>,
    file: &Path,
    dir: &Path,
    stores: Arc<StoreSource>,
    node: NodeId,
    options: RestoreOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    disk.create_dir_all(dir)?;
    if disk.list(dir)?.iter().any(|name| name == "journal") {
        return Err(RestoreError::NotEmpty(dir.display().to_string()));
    }
    let bytes = disk.read_all(file)?;
    let (header, mut frames) = format::verify(bytes, options.skip_checksum)?;
    let (generations, empty) = Generations::open(disk, dir.to_path_buf(), stores)?;
    let staged = generations.stage()?;
    let total = frames.remaining() as u64;
    while let Some(rows) = frames.rows()? {
        let batch = batch_of(rows)?;
        let writing = staged.store.clone();
        task::blocking(move || writing.write(batch)).await?;
        progress(total - frames.remaining() as u64, total);
    }
    let store = staged.store;
    let (auth, keys, revision) = task::blocking(move || {
        let machine = replica::load(&store, SERVED)?.machine;
        let mut batch = first_entry(node);
        let user = machine.keyspace(Space::User);
        let mut revision = user.revision();
        if let Some(by) = options.raise_revisions {
            revision = raised(revision, by)?;
            let row = Machine::compacted_row(Space::User, revision);
            let value = row.value.expect("the row is written, not deleted");
            batch.put(row.table.name(), row.key, value);
        }
        store.write(batch)?;
        store.persist()?;
        Ok::<_, RestoreError>((machine.auth().is_enabled(), user.live_keys(), revision))
    })
    .await?;
    generations.switch(staged.generation, &empty)?;
    Ok(Restored {
        cluster: ClusterId(header.cluster),
        revision: Revision(revision),
        keys,
        auth,
    })
}

fn raised(revision: i64, by: u64) -> Result<i64, RestoreError> {
    i64::try_from(by)
        .ok()
        .and_then(|by| revision.checked_add(by))
        .ok_or(RestoreError::TooHigh(revision))
}

/// Makes `node` the only member as of [`BEGIN`].
fn first_entry(node: NodeId) -> Batch {
    let membership = pb::Membership {
        configs: vec![pb::Voters {
            nodes: vec![node.0],
        }],
        // How it is reached is announced when it starts.
        nodes: [(node.0, pb::Node::default())].into(),
    };
    let applied = pb::Applied {
        log_id: Some(BEGIN),
        membership: Some(pb::StoredMembership {
            log_id: Some(BEGIN),
            membership: Some(membership),
        }),
        version: types::STATE_VERSION,
    };
    let mut batch = Batch::default();
    batch.put(APPLIED_TABLE, APPLIED_KEY, applied.encode_to_vec());
    batch
}

fn batch_of(rows: pb::BackupRows) -> Result<Batch, FormatError> {
    let mut batch = Batch::default();
    for row in rows.rows {
        let table = Table::ALL
            .into_iter()
            .find(|table| table.name() == row.table);
        let table = table.ok_or(FormatError::Damaged(
            "it names a table that this version does not know",
        ))?;
        if !LEFT_BEHIND.contains(&table) {
            batch.put(table.name(), row.key, row.value);
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_raised_up_to_their_end() {
        assert_eq!(raised(7, 1_000).expect("there is room"), 1_007);
        assert!(raised(7, u64::MAX).is_err() && raised(i64::MAX, 1).is_err());
    }
}
