//! Why hot data can't be served.

use atoll_base::id::PartitionId;
use atoll_world::journal::JournalError;

use crate::core::codec::CodecError;

/// Why a node's hot data could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error("the journal of hot data: {0}")]
    Journal(#[from] JournalError),
    /// A record that can't be read, though the journal vouches for its bytes.
    #[error("record {sequence} of the journal of hot data: {reason}")]
    Record {
        /// Its number.
        sequence: u64,
        /// What is wrong with it.
        #[source]
        reason: CodecError,
    },
    /// A record of a partition that the journal does not begin.
    #[error("the journal of hot data begins in the middle of partition {partition}")]
    Headless {
        /// The partition.
        partition: PartitionId,
    },
    /// The end of the journal may have been lost after it was acknowledged.
    #[error(
        "the end of the journal of hot data is damaged, and what stood there may have been acknowledged"
    )]
    MaybeForgetful,
}
