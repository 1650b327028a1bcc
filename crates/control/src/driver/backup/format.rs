//! The bytes of a backup: see docs/formats/backup.md.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::proto::raft as pb;

const MAGIC: &[u8; 8] = b"ATOLLBAK";

/// The version that this code writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;

/// etcd's clients want the content to be a multiple of this, before the checksum.
const ALIGNMENT_BYTES: usize = 512;

const CHECKSUM_BYTES: usize = 32;

/// Longest frame that is read back; a row and its neighbours fit.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Why bytes are not a backup.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
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
}

/// Makes the bytes of a backup.
#[derive(Default)]
pub(super) struct Writer {
    hash: Sha256,
    written: usize,
}

impl Writer {
    pub(super) fn begin(&mut self, header: &pb::BackupHeader) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        put_frame(&mut out, header);
        self.note(out)
    }

    pub(super) fn frame(&mut self, message: &impl prost::Message) -> Bytes {
        let mut out = BytesMut::new();
        put_frame(&mut out, message);
        self.note(out)
    }

    pub(super) fn end(mut self) -> Bytes {
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

/// A whole backup in one piece.
#[cfg(test)]
pub(crate) fn encode(header: &pb::BackupHeader, frames: &[pb::BackupRows]) -> Bytes {
    let mut writer = Writer::default();
    let mut out = BytesMut::from(&writer.begin(header)[..]);
    for rows in frames {
        out.put(writer.frame(rows));
    }
    out.put(writer.end());
    out.freeze()
}

fn put_frame(out: &mut BytesMut, message: &impl prost::Message) {
    let length = message.encoded_len();
    out.put_u32_le(u32::try_from(length).expect("chunks are far smaller"));
    message.encode(out).expect("a growing buffer has room");
}

/// Checks the whole of a backup; answers its header and the frames behind it.
///
/// # Errors
/// [`FormatError`].
pub(crate) fn verify(
    mut bytes: Bytes,
    skip_checksum: bool,
) -> Result<(pb::BackupHeader, Frames), FormatError> {
    if !bytes.starts_with(MAGIC) {
        return Err(FormatError::NotABackup);
    }
    if !skip_checksum {
        check_sum(&mut bytes)?;
    }
    bytes.advance(MAGIC.len());
    let mut frames = Frames { rest: bytes };
    let header = frames
        .next()?
        .ok_or(FormatError::Damaged("it has no header"))?;
    let header = pb::BackupHeader::decode(header)
        .map_err(|_| FormatError::Damaged("its header cannot be read"))?;
    if header.version > VERSION {
        return Err(FormatError::Newer {
            found: header.version,
        });
    }
    Ok((header, frames))
}

/// Takes the checksum off the end, having compared it.
fn check_sum(bytes: &mut Bytes) -> Result<(), FormatError> {
    let content = bytes
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .filter(|content| content % ALIGNMENT_BYTES == 0);
    let content = content.ok_or(FormatError::Damaged("it is cut off"))?;
    let checksum = bytes.split_off(content);
    if Sha256::digest(&bytes)[..] != checksum[..] {
        return Err(FormatError::Damaged("its checksum is wrong"));
    }
    Ok(())
}

/// Takes frames off a backup.
pub(crate) struct Frames {
    rest: Bytes,
}

impl Frames {
    /// Bytes of it that were not read yet.
    pub(super) fn remaining(&self) -> usize {
        self.rest.remaining()
    }

    /// The next rows; none at its end.
    ///
    /// # Errors
    /// `Damaged`.
    pub(crate) fn rows(&mut self) -> Result<Option<pb::BackupRows>, FormatError> {
        let Some(frame) = self.next()? else {
            return Ok(None);
        };
        pb::BackupRows::decode(frame)
            .map(Some)
            .map_err(|_| FormatError::Damaged("a frame is not what it should be"))
    }

    fn next(&mut self) -> Result<Option<Bytes>, FormatError> {
        if self.rest.remaining() < 4 {
            return Err(FormatError::Damaged("it is cut off"));
        }
        let length = self.rest.get_u32_le() as usize;
        if length == 0 {
            return Ok(None);
        }
        if length > FRAME_BYTES_MAX || length > self.rest.remaining() {
            return Err(FormatError::Damaged("a frame is longer than the file"));
        }
        Ok(Some(self.rest.split_to(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Bytes {
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
        encode(&header, &[pb::BackupRows { rows: vec![row] }])
    }

    #[test]
    fn a_backup_reads_back_and_has_the_size_that_etcd_clients_check() {
        let bytes = backup();
        assert_eq!(bytes.len() % ALIGNMENT_BYTES, CHECKSUM_BYTES);
        let (header, mut frames) = verify(bytes, false).expect("a sound backup");
        assert_eq!(header.cluster, 7);
        let rows = frames.rows().expect("sound").expect("a frame");
        assert_eq!(rows.rows[0].key, "k");
        assert!(frames.rows().expect("sound").is_none());
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
}
