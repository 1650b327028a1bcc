//! Why hot data can't be served.

use std::path::PathBuf;

use atoll_base::id::PartitionId;
use atoll_world::{disk::DiskError, journal::JournalError};

use super::snapshots::SnapshotFault;
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
    /// A record that does not follow the ones before it.
    #[error(
        "record {sequence} of the journal of hot data does not follow what came before it of partition {partition}"
    )]
    Astray {
        /// Its number.
        sequence: u64,
        /// The partition.
        partition: PartitionId,
    },
    /// A snapshot that the journal rests on is damaged or missing.
    #[error("the snapshot {} of partition {partition}: {reason}", file.display())]
    Snapshot {
        /// The partition.
        partition: PartitionId,
        /// The snapshot's file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: SnapshotFault,
    },
    /// The folder of snapshots.
    #[error("the snapshots of hot data: {0}")]
    Snapshots(#[from] DiskError),
    /// A partition that the journal tells of has no beginning in it.
    #[error("the journal of hot data begins in the middle of partition {partition}")]
    Headless {
        /// The partition.
        partition: PartitionId,
    },
    /// The end of the journal may have been lost after it was acknowledged.
    #[error(
        "the end of the journal of hot data is damaged, and what stood there may have been acknowledged; remove this node from the cluster, delete its folder, and join it again as a new one"
    )]
    MaybeForgetful,
}
