//! A replica's whole state as bytes, and back.
//!
//! Two replicas that hold the same have the same bytes but for the head, which is each one's own:
//! its clock. They end with a checksum.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{KeyPlace, Replica};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    eventual::{
        author::Author,
        clock::Stamp,
        error::DecodeError,
        item::{ITEM_BYTES_MIN, Item},
    },
};

/// Version of the format.
const VERSION: u8 = 1;
/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 8;

impl Replica {
    /// The state as bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::default();
        to.byte(VERSION);
        self.author().write(&mut to);
        self.last().write(&mut to);
        self.stable.write(&mut to);
        self.write_items(&mut to);
        let content = to.finish();
        let mut to = Writer::with_room(content.len() + CHECKSUM_BYTES);
        to.raw(&content).raw(&xxh3_64(&content).to_le_bytes());
        to.finish()
    }

    /// What all replicas have the same of, once they have the same: no stamp of what is stable,
    /// which each hears of at another time.
    #[cfg(test)]
    pub(in crate::core::eventual) fn content(&self) -> Bytes {
        let mut to = Writer::default();
        self.write_items(&mut to);
        to.finish()
    }

    fn write_items(&self, to: &mut Writer) {
        to.length(self.entries.len());
        for (at, entry) in &self.entries {
            to.bytes(&at.key);
            entry.item.write(to);
        }
    }

    /// The state that these bytes tell of.
    ///
    /// # Errors
    /// They are not whole, not as they were written, or were written by a newer version.
    pub fn decode(bytes: &Bytes) -> Result<Replica, DecodeError> {
        let checksum_at = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .ok_or(CodecError::Short)?;
        let (content, tail) = (bytes.slice(..checksum_at), bytes.slice(checksum_at..));
        let mut found = [0; CHECKSUM_BYTES];
        found.copy_from_slice(&tail);
        let (found, computed) = (u64::from_le_bytes(found), xxh3_64(&content));
        if found != computed {
            return Err(DecodeError::Checksum { found, computed });
        }
        let mut from = Reader::new(content);
        from.version(VERSION)?;
        let author = Author::read(&mut from)?;
        let last = Stamp::read(&mut from)?;
        if author == Author::NOBODY || last.author() != author {
            return Err(DecodeError::Impossible("a clock of nobody, or of another"));
        }
        let mut replica = Replica::new(author, last);
        let stable = Stamp::read(&mut from)?;
        let mut before: Option<KeyPlace> = None;
        for _ in 0..from.count(1 + ITEM_BYTES_MIN)? {
            let at = KeyPlace::of(&from.bytes()?);
            let item = Item::read(&mut from)?;
            if item.is_empty() || before.as_ref().is_some_and(|before| *before >= at) {
                return Err(DecodeError::Impossible(
                    "keys out of order, or without anything",
                ));
            }
            replica.join(&at.key, &item, Stamp::ZERO);
            before = Some(at);
        }
        from.finish()?;
        replica.stable = stable;
        Ok(replica)
    }
}
