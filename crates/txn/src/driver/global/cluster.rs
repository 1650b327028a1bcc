//! What a coordinator's driver needs of the cluster: the log of decisions, and who is there.

use std::{future::Future, sync::Arc};

use atoll_base::id::NodeId;
use bytes::Bytes;

use super::index::Index;
use crate::core::global::{Place, Record, TransactionId, Version};

/// It is not known whether something was written, or what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log of decisions did not answer: {0}")]
pub struct Unclear(pub String);

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there, and has this version.
    At(Version),
    /// It is not: another version is there than was expected.
    Changed,
    /// It is not, though the expected version is there: the part of this participant's keys
    /// can't be done.
    Refused(Place),
}

/// The cluster, as one of its nodes sees it. Clones are the same.
pub trait Cluster: Clone + Send + Sync + 'static {
    /// Writes a record (none: deletes it) over the version that is expected there, once or never.
    /// What keys of the control plane are to do is done with it, or none of it is.
    ///
    /// # Errors
    /// It may be there, or come there yet.
    fn write(
        &self,
        id: TransactionId,
        expected: Version,
        record: Option<&Record>,
        parts: &[(Place, Bytes)],
    ) -> impl Future<Output = Result<Written, Unclear>> + Send;

    /// What the log holds of a transaction: whatever was written before this was asked for is
    /// seen.
    ///
    /// # Errors
    /// It can't be read now.
    fn read(
        &self,
        id: TransactionId,
    ) -> impl Future<Output = Result<Option<(Version, Record)>, Unclear>> + Send;

    /// Keeps an index of the log up to date, for as long as the node lives.
    fn follow(&self, index: Arc<Index>) -> impl Future<Output = ()> + Send;

    /// Whether this node is the one that looks after what others have left behind. That two do
    /// does no harm.
    fn leads(&self) -> bool;

    /// Whether another node answers. A wrong no does no harm.
    fn is_alive(&self, node: NodeId) -> impl Future<Output = bool> + Send;
}
