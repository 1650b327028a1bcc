//! Backups: the whole state in one file.
//!
//! The file is what `Maintenance.Snapshot` streams: a magic number, frames (length, protobuf;
//! the first is a header, the others hold rows), a frame of length zero, zeros up to a
//! multiple of 512 bytes, and the SHA-256 of all that. The padding is for etcd's own clients,
//! which check that a snapshot's size is 32 more than a multiple of 512 before they keep it.
//! See docs/formats/backup.md.

use std::{path::Path, sync::Arc};

use atoll_base::id::ClusterId;
use atoll_world::{
    disk::Disk,
    store::{Batch, StoreError},
    task,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::generations::{Generations, StoreSource};
use crate::{
    api::SnapshotStream,
    core::{effects::Table, error::Error},
    log::{
        snapshot::{Chunks, Outgoing},
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

/// Fills a new node's directory from a backup file. Answers the cluster it came from.
///
/// # Errors
/// The file is no backup, or damaged; the directory is in use. A directory that was being
/// filled when the machine died is completed by restoring again into another one.
pub async fn restore(
    disk: Arc<dyn Disk>,
    file: &Path,
    dir: &Path,
    stores: Arc<StoreSource>,
    mut progress: impl FnMut(u64, u64),
) -> Result<ClusterId, RestoreError> {
    disk.create_dir_all(dir)?;
    if !disk.list(dir)?.is_empty() {
        return Err(RestoreError::NotEmpty(dir.display().to_string()));
    }
    let bytes = disk.read_all(file)?;
    let (header, frames) = verify(bytes)?;
    let (_generations, store) = Generations::open(disk, dir.to_path_buf(), stores)?;
    let total = frames.remaining() as u64;
    let mut reader = Frames { rest: frames };
    while let Some(frame) = reader.next()? {
        let rows = pb::BackupRows::decode(frame)
            .map_err(|_| RestoreError::Damaged("a frame is not what it should be"))?;
        let batch = batch_of(rows)?;
        let writing = store.clone();
        task::blocking(move || writing.write(batch)).await?;
        progress(total - reader.rest.remaining() as u64, total);
    }
    task::blocking(move || store.persist()).await?;
    Ok(ClusterId(header.cluster))
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
fn verify(mut bytes: Bytes) -> Result<(pb::BackupHeader, Bytes), RestoreError> {
    if !bytes.starts_with(MAGIC) {
        return Err(RestoreError::NotABackup);
    }
    let content = bytes
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .filter(|content| content % ALIGNMENT_BYTES == 0);
    let content = content.ok_or(RestoreError::Damaged("it is cut off"))?;
    let checksum = bytes.split_off(content);
    if Sha256::digest(&bytes)[..] != checksum[..] {
        return Err(RestoreError::Damaged("its checksum is wrong"));
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
        let (header, rest) = verify(bytes).expect("a sound backup");
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
            assert!(verify(changed.into()).is_err(), "byte {at}");
            assert!(verify(bytes.slice(..at)).is_err(), "cut at {at}");
        }
    }
}
