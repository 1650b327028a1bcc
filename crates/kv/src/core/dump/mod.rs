//! Values as bytes that Redis reads and writes: what DUMP answers and RESTORE takes.
//!
//! A dump is one byte of type, the value in RDB's encoding, the version of RDB in two bytes,
//! and a checksum of all that in eight, both little-endian (Redis: "RDB file format", "DUMP").
//! Written are the plain forms, which any Redis of that version reads; read is whatever a Redis
//! up to that version may have written, packed or not.
//!
//! What is read comes from outside. No claim about a length is believed before the bytes are
//! there, and unpacked strings together have a limit.

mod crc64;
mod libraries;
mod listpack;
mod lzf;
pub(in crate::core) mod packs;
pub(in crate::core) mod read;
mod reader;
mod stream;
mod write;

use self::crc64::crc64;
pub(in crate::core) use self::{crc64::extend as crc64_of, reader::Reader};
use super::data::Value;
pub use libraries::{dump_libraries, restore_libraries};

/// The version of RDB that is written, and the newest one that is read: Redis 7.4's.
pub const RDB_VERSION: u16 = 12;

/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 2 + 8;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 8;

/// Why a dump was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is too short, of a newer version, or was changed on its way.
    #[error("the version or the checksum of the dump is wrong")]
    Envelope,
    /// It says nothing that makes sense, or a type that is not known here.
    #[error("the dump holds no value")]
    Data,
}

/// Types of values, and forms that they come in.
pub(in crate::core) mod kind {
    pub(in crate::core) const STRING: u8 = 0;
    pub(in crate::core) const LIST: u8 = 1;
    pub(in crate::core) const SET: u8 = 2;
    pub(in crate::core) const SORTED_SET: u8 = 3;
    pub(in crate::core) const HASH: u8 = 4;
    pub(in crate::core) const SORTED_SET_BINARY: u8 = 5;
    pub(in crate::core) const HASH_ZIPMAP: u8 = 9;
    pub(in crate::core) const LIST_ZIPLIST: u8 = 10;
    pub(in crate::core) const SET_INTSET: u8 = 11;
    pub(in crate::core) const SORTED_SET_ZIPLIST: u8 = 12;
    pub(in crate::core) const HASH_ZIPLIST: u8 = 13;
    pub(in crate::core) const LIST_OF_ZIPLISTS: u8 = 14;
    pub(in crate::core) const STREAM: u8 = 15;
    pub(in crate::core) const HASH_LISTPACK: u8 = 16;
    pub(in crate::core) const SORTED_SET_LISTPACK: u8 = 17;
    pub(in crate::core) const LIST_OF_LISTPACKS: u8 = 18;
    pub(in crate::core) const STREAM_COUNTED: u8 = 19;
    pub(in crate::core) const SET_LISTPACK: u8 = 20;
    pub(in crate::core) const STREAM_ACTIVE: u8 = 21;
    pub(in crate::core) const HASH_WITH_TIMES: u8 = 24;
    pub(in crate::core) const HASH_LISTPACK_WITH_TIMES: u8 = 25;
}

/// What DUMP answers.
pub fn dump(value: &Value) -> Vec<u8> {
    let mut out = write::value(value);
    seal(&mut out);
    out
}

/// Adds version and checksum.
pub(crate) fn seal(out: &mut Vec<u8>) {
    out.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let sum = crc64(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What is between version and checksum, which are right.
fn open(payload: &[u8]) -> Result<&[u8], RestoreError> {
    let (Some((body, footer)), Some((summed, sum))) = (
        payload.split_last_chunk::<FOOTER_BYTES>(),
        payload.split_last_chunk::<CHECKSUM_BYTES>(),
    ) else {
        return Err(RestoreError::Envelope);
    };
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    if version > RDB_VERSION || u64::from_le_bytes(*sum) != crc64(summed) {
        return Err(RestoreError::Envelope);
    }
    Ok(body)
}

/// The value of a dump.
///
/// # Errors
/// [`RestoreError`]
pub fn restore(payload: &[u8]) -> Result<Value, RestoreError> {
    let mut reader = Reader::new(open(payload)?);
    let value = read::value(&mut reader)?;
    if reader.is_at_end() {
        Ok(value)
    } else {
        Err(RestoreError::Data)
    }
}

#[cfg(test)]
mod tests;
