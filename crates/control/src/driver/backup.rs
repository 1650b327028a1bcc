//! Backups: the whole state in one file.
//!
//! The file is what `Maintenance.Snapshot` streams: a magic number, frames (length, protobuf;
//! the first is a header, the others hold rows), a frame of length zero, zeros up to a
//! multiple of 512 bytes, and the SHA-256 of all that. The padding is for etcd's own clients,
//! which check that a snapshot's size is 32 more than a multiple of 512 before they keep it.
//! See docs/formats/backup.md.

use std::{path::Path, sync::Arc};

use atoll_base::id::{ClusterId, NodeId, Revision};
use atoll_world::{
    disk::Disk,
    store::{Batch, StoreError},
    task,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    generations::{APPLIED_TABLE, Generations, StoreSource},
    replica::{self, APPLIED_KEY},
};
use crate::{
    api::SnapshotStream,
    core::{
        effects::{Space, Table},
        error::Error,
        machine::Machine,
    },
    log::{
        snapshot::{Chunks, Outgoing, Staging as _},
        types::{self, SnapshotMeta},
    },
    proto::raft as pb,
};

const MAGIC: &[u8; 8] = b"ATOLLBAK";

/// The version that this code writes, and the newest that it reads.
const VERSION: u32 = 1;

/// etcd's clients want the content to be a multiple of this, before the checksum.
const ALIGNMENT_BYTES: usize = 512;

const CHECKSUM_BYTES: usize = 32;

/// Longest frame that is read back; a row and its neighbours fit.
const FRAME_BYTES_MAX: usize = 16 << 20;

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
    /// It is something else.
    #[error(
        "this is not a backup made by `atoll snapshot save` or `etcdctl snapshot save` from an Atoll cluster"
    )]
    NotABackup,
    /// A newer version wrote it.
    #[error(
        "the backup has format version {found}, this atoll reads up to {VERSION}: use a newer atoll"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It is incomplete or was changed.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
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
        version: VERSION,
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

/// Makes the bytes of a backup.
#[derive(Default)]
struct Writer {
    hash: Sha256,
    written: usize,
}

impl Writer {
    fn begin(&mut self, header: &pb::BackupHeader) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        put_frame(&mut out, header);
        self.note(out)
    }

    fn frame(&mut self, message: &impl prost::Message) -> Bytes {
        let mut out = BytesMut::new();
        put_frame(&mut out, message);
        self.note(out)
    }

    fn end(mut self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32_le(0);
        let padding =
            (self.written + out.len()).next_multiple_of(ALIGNMENT_BYTES) - self.written - out.len();
        out.put_bytes(0, padding);
        self.hash.update(&out);
        out.put_slice(&self.hash.finalize());
        out.freeze()
    }

    fn note(&mut self, out: BytesMut) -> Bytes {
        self.hash.update(&out);
        self.written += out.len();
        out.freeze()
    }
}

fn put_frame(out: &mut BytesMut, message: &impl prost::Message) {
    let length = message.encoded_len();
    out.put_u32_le(u32::try_from(length).expect("chunks are far smaller"));
    message.encode(out).expect("a growing buffer has room");
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
    let (header, frames) = verify(bytes, options.skip_checksum)?;
    let (generations, _) = Generations::open(disk, dir.to_path_buf(), stores)?;
    let staged = generations.stage()?;
    let total = frames.remaining() as u64;
    let mut reader = Frames { rest: frames };
    while let Some(frame) = reader.next()? {
        let rows = pb::BackupRows::decode(frame)
            .map_err(|_| RestoreError::Damaged("a frame is not what it should be"))?;
        let batch = batch_of(rows)?;
        let writing = staged.store.clone();
        task::blocking(move || writing.write(batch)).await?;
        progress(total - reader.rest.remaining() as u64, total);
    }
    let store = staged.store;
    let (auth, keys, revision) = task::blocking(move || {
        let machine = replica::load(&store)?.machine;
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
    generations.switch(staged.generation)?;
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
    };
    let mut batch = Batch::default();
    batch.put(APPLIED_TABLE, APPLIED_KEY, applied.encode_to_vec());
    batch
}

fn batch_of(rows: pb::BackupRows) -> Result<Batch, RestoreError> {
    let mut batch = Batch::default();
    for row in rows.rows {
        let table = Table::ALL
            .into_iter()
            .find(|table| table.name() == row.table);
        let table = table.ok_or(RestoreError::Damaged(
            "it names a table that this version does not know",
        ))?;
        if !LEFT_BEHIND.contains(&table) {
            batch.put(table.name(), row.key, row.value);
        }
    }
    Ok(batch)
}

/// Checks the whole of a backup; answers its header and the frames behind it.
fn verify(
    mut bytes: Bytes,
    skip_checksum: bool,
) -> Result<(pb::BackupHeader, Bytes), RestoreError> {
    if !bytes.starts_with(MAGIC) {
        return Err(RestoreError::NotABackup);
    }
    if !skip_checksum {
        check_sum(&mut bytes)?;
    }
    bytes.advance(MAGIC.len());
    let mut frames = Frames { rest: bytes };
    let header = frames
        .next()?
        .ok_or(RestoreError::Damaged("it has no header"))?;
    let header = pb::BackupHeader::decode(header)
        .map_err(|_| RestoreError::Damaged("its header cannot be read"))?;
    if header.version > VERSION {
        return Err(RestoreError::Newer {
            found: header.version,
        });
    }
    Ok((header, frames.rest))
}

/// Takes the checksum off the end, having compared it.
fn check_sum(bytes: &mut Bytes) -> Result<(), RestoreError> {
    let content = bytes
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .filter(|content| content % ALIGNMENT_BYTES == 0);
    let content = content.ok_or(RestoreError::Damaged("it is cut off"))?;
    let checksum = bytes.split_off(content);
    if Sha256::digest(&bytes)[..] != checksum[..] {
        return Err(RestoreError::Damaged("its checksum is wrong"));
    }
    Ok(())
}

/// Takes frames off a backup.
struct Frames {
    rest: Bytes,
}

impl Frames {
    fn next(&mut self) -> Result<Option<Bytes>, RestoreError> {
        if self.rest.remaining() < 4 {
            return Err(RestoreError::Damaged("it is cut off"));
        }
        let length = self.rest.get_u32_le() as usize;
        if length == 0 {
            return Ok(None);
        }
        if length > FRAME_BYTES_MAX || length > self.rest.remaining() {
            return Err(RestoreError::Damaged("a frame is longer than the file"));
        }
        Ok(Some(self.rest.split_to(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Bytes {
        let mut writer = Writer::default();
        let header = pb::BackupHeader {
            version: VERSION,
            cluster: 7,
            applied: None,
        };
        let row = pb::Row {
            table: "meta".into(),
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
        };
        let mut out = BytesMut::new();
        out.put(writer.begin(&header));
        out.put(writer.frame(&pb::BackupRows { rows: vec![row] }));
        out.put(writer.end());
        out.freeze()
    }

    #[test]
    fn a_backup_reads_back_and_has_the_size_that_etcd_clients_check() {
        let bytes = backup();
        assert_eq!(bytes.len() % ALIGNMENT_BYTES, CHECKSUM_BYTES);
        let (header, rest) = verify(bytes, false).expect("a sound backup");
        assert_eq!(header.cluster, 7);
        let mut frames = Frames { rest };
        let rows =
            pb::BackupRows::decode(frames.next().expect("sound").expect("a frame")).expect("rows");
        assert_eq!(rows.rows[0].key, "k");
        assert!(frames.next().expect("sound").is_none());
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let bytes = backup();
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            assert!(verify(changed.into(), false).is_err(), "byte {at}");
            assert!(verify(bytes.slice(..at), false).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_backup_without_its_checksum_is_read_when_that_is_wanted() {
        let bytes = backup();
        let bare = bytes.slice(..bytes.len() - CHECKSUM_BYTES);
        assert!(verify(bare.clone(), false).is_err());
        assert_eq!(
            verify(bare, true).expect("its frames are whole").0.cluster,
            7
        );
    }

    #[test]
    fn revisions_are_raised_up_to_their_end() {
        assert_eq!(raised(7, 1_000).expect("there is room"), 1_007);
        assert!(raised(7, u64::MAX).is_err() && raised(i64::MAX, 1).is_err());
    }
}
