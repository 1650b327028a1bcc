//! What can't be read.

use crate::core::codec::CodecError;

/// Why bytes are no message, record or snapshot of an eventual partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are not whole, or of a newer version.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// They hold what nobody writes.
    #[error("it holds {0}")]
    Impossible(&'static str),
    /// They are not those that were written.
    #[error("its checksum is {found:016x}, but that of its bytes is {computed:016x}")]
    Checksum {
        /// The one at the end.
        found: u64,
        /// The one of the bytes.
        computed: u64,
    },
}
