//! A partition's whole state as bytes, and back: what is kept on disk in the place of the log's
//! beginning, and what a replica that is too far behind is sent.
//!
//! Everything that a client could notice comes back as it was: the order of every table, the form
//! that each value is kept in, times of expiry, versions, and the replies that sessions may ask
//! for again. So two states of which these bytes are the same go on alike, which is what
//! [`State::fingerprint`] compares.
//!
//! The bytes are made piece by piece, each of at most [`PIECE_BYTES_MAX`], so that no second copy
//! of a large state has to be in one place. They end with a checksum; reading believes nothing
//! before that was compared, and nothing that makes no sense after it.

mod absences;
mod read;
mod sink;
#[cfg(test)]
mod tests;
mod transactions;
mod values;
mod write;

use bytes::Bytes;

use super::{
    codec::CodecError, data::Keyspace, machine::Machine, partition::State, paxos::LogIndex,
    snapshot::sink::Sink,
};
pub use sink::PIECE_BYTES_MAX;

/// What the bytes begin with.
const MAGIC: &[u8; 8] = b"ATOLLPAR";
/// Version of the format.
const VERSION: u8 = 1;
/// Version of the encoded form where the hidden database follows the others.
const VERSION_HIDDEN: u8 = 2;
/// Version of the encoded form where transactions over several partitions follow all databases.
const VERSION_TRANSACTIONS: u8 = 3;
/// Version of the encoded form where it also says since when keys are missing.
const VERSION_ABSENCES: u8 = 4;
/// Version of the encoded form where branches of transactions that are decided outside follow.
const VERSION_BRANCHES: u8 = 5;
/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 8;

/// Why a snapshot can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It does not begin like one.
    #[error("it is no snapshot of a partition")]
    Magic,
    /// Its bytes are not those that were written.
    #[error("its checksum is {found:016x}, but that of its bytes is {computed:016x}")]
    Checksum {
        /// The one at its end.
        found: u64,
        /// The one of its bytes.
        computed: u64,
    },
    /// Something in it can't be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It holds what no state holds.
    #[error("it holds {0}")]
    Impossible(&'static str),
    /// It is of another moment.
    #[error("it holds the state at {found}, not at {wanted}")]
    Moment {
        /// The entry it was made after.
        found: LogIndex,
        /// The one it should have been made after.
        wanted: LogIndex,
    },
}

/// A state's bytes, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes, each piece of at most [`PIECE_BYTES_MAX`].
    pub pieces: Vec<Bytes>,
    /// Their number.
    pub bytes: u64,
    /// The checksum at their end.
    pub checksum: u64,
}

/// A state as bytes.
pub fn encode(state: &State<Machine>) -> Encoded {
    let mut pieces = Vec::new();
    let mut sink = Sink::new(|piece| pieces.push(piece));
    write::state(&mut sink, state);
    let (bytes, checksum) = sink.finish();
    pieces.push(Bytes::copy_from_slice(&checksum.to_le_bytes()));
    Encoded {
        pieces,
        bytes: bytes + CHECKSUM_BYTES as u64,
        checksum,
    }
}

/// The state that these bytes tell of.
///
/// # Errors
/// They are not whole, not as they were written, or were written by a newer version.
pub fn decode(bytes: &Bytes) -> Result<State<Machine>, SnapshotError> {
    let checksum_at = bytes.len().saturating_sub(CHECKSUM_BYTES);
    let (content, tail) = (bytes.slice(..checksum_at), bytes.slice(checksum_at..));
    let (Some(head), Ok(tail)) = (
        content.get(..=MAGIC.len()),
        <[u8; CHECKSUM_BYTES]>::try_from(&*tail),
    ) else {
        return Err(SnapshotError::Magic);
    };
    if !head.starts_with(MAGIC) {
        return Err(SnapshotError::Magic);
    }
    let found = head[MAGIC.len()];
    let version = found;
    if version > VERSION_BRANCHES {
        let known = VERSION_BRANCHES;
        return Err(CodecError::Version { found, known }.into());
    }
    let (found, computed) = (u64::from_le_bytes(tail), sink::checksum(&content));
    if found != computed {
        return Err(SnapshotError::Checksum { found, computed });
    }
    read::state(content.slice(MAGIC.len() + 1..), version)
}

/// A number that is the same for data that is the same, and hardly ever for other.
pub fn sum(keyspace: &Keyspace) -> u64 {
    let mut sink = Sink::new(drop);
    write::write_keyspace(&mut sink, keyspace);
    sink.finish().1
}

impl State<Machine> {
    /// A number that is the same for states that are the same, and hardly ever for others:
    /// replicas that applied the same entries agree on it. It takes as long as writing the state
    /// down.
    pub fn fingerprint(&self) -> u64 {
        let mut sink = Sink::new(drop);
        write::state(&mut sink, self);
        sink.finish().1
    }
}
