//! Files that Redis saves: RDB, up to the version of Redis 7.4 (Redis: "RDB file format").
//!
//! [`Parser`] is shown the bytes of a file as they come and says what is in them. It does not
//! decode values. It finds where each element of a value ends, which is all that is needed to
//! hand the value on as RESTORE takes it ([`payload`]); of a value that is too large for one
//! request, [`elements`] gives the elements, which are then written one after the other.
//!
//! What is read comes from outside: a length that is claimed is believed when the bytes are
//! there, one element has a limit, and the parser itself keeps nothing of a value but its place.

mod cursor;
mod elements;
mod parser;
mod shape;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use self::{
    elements::{Element, elements, has_elements},
    parser::{Event, Key, Parser, Step},
};
use super::{data::Milliseconds, dump};

/// The newest version that is read: Redis 7.4's.
pub const VERSION_MAX: u16 = dump::RDB_VERSION;

/// The most bytes of an element: a member of a set, a field with its value, a node of a list, a
/// consumer group. Redis's strings have half as many at most.
pub const ELEMENT_BYTES_MAX: usize = 1 << 30;

/// Why a file is refused. Places are counted in bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    /// It does not begin as such files do.
    #[error("this is no RDB file: it does not begin with REDIS and a version")]
    NoRdb,
    /// It is of a version that is not known.
    #[error("the file is of RDB version {version}; versions 1 to {VERSION_MAX} are read")]
    Version {
        /// The version it claims.
        version: u16,
    },
    /// What stands there makes no sense.
    #[error("the file is damaged at byte {at}: {what}")]
    Damaged {
        /// Where.
        at: u64,
        /// What was read there.
        what: &'static str,
    },
    /// Something is too long.
    #[error("at byte {at} begins something longer than {ELEMENT_BYTES_MAX} bytes")]
    TooLong {
        /// Where.
        at: u64,
    },
    /// A value or a part of the file that only a newer or a modified Redis knows.
    #[error("at byte {at} is something of type {kind}, which Redis 7.4 does not write")]
    Unknown {
        /// Where.
        at: u64,
        /// Its number.
        kind: u8,
    },
    /// The file ends before it is complete.
    #[error("the file ends at byte {at}, before it is complete")]
    Short {
        /// Where.
        at: u64,
    },
    /// The checksum at its end is not that of what was read.
    #[error("the checksum is wrong: the file was changed after it was saved")]
    Checksum,
}

/// What RESTORE takes: the value of `kind` with these bytes, in the envelope of a dump.
pub fn payload(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    out.push(kind);
    out.extend_from_slice(body);
    dump::seal(&mut out);
    out
}

/// A moment that has come: such keys are dropped, as Redis drops them when it loads the file.
pub fn is_over(expires_at_ms: Option<Milliseconds>, now_ms: Milliseconds) -> bool {
    expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
}

/// A string in one of RDB's forms, as it was before.
fn string(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut reader = dump::Reader::new(bytes);
    let string = reader.string().ok()?;
    reader.is_at_end().then_some(string)
}
