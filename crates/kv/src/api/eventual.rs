//! Commands in eventual keyspaces, keyspaces that are created, and how replicas are.

use super::Call;
use crate::core::{
    eventual::quorum::Level,
    keyspaces::{CreateError, KeyspaceNumber},
};

/// A command in an eventual keyspace.
#[derive(Clone, Debug)]
pub struct EventualCall {
    /// The keyspace.
    pub keyspace: KeyspaceNumber,
    /// How many replicas have to have it, if it writes.
    pub write: Level,
    /// How many have to be asked, if it reads.
    pub read: Level,
    /// The command.
    pub call: Call,
}

/// Why a keyspace was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyspaceError {
    /// It can't be.
    #[error("ERR {0}")]
    Refused(#[from] CreateError),
    /// Nodes of a version without them are members, or may be.
    #[error(
        "ERR eventual keyspaces can be created once every node of the cluster runs a version that has them: see its feature level in atoll status"
    )]
    OldNodes,
    /// The cluster did not decide it in time, or nobody knows. Asking again does no harm.
    #[error("TRYAGAIN the cluster did not decide it now; ask again")]
    Undecided,
}

/// How this node's replicas of an eventual keyspace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventualStatus {
    /// Partitions that are held here.
    pub partitions: u64,
    /// Those of them that are new here, and are filled by others before they take commands.
    pub filling: u64,
    /// Pairs of a partition and another member that have not compared what they hold yet.
    pub unknown: u64,
    /// Each replica here has at least what each other member had so long ago, in milliseconds: the
    /// most of all partitions and members. While a member can't be reached it grows. While some
    /// are unknown it is at least as long as the partition has been here.
    pub behind_ms: u64,
    /// Keys that are held here, with those of which only tombstones are left.
    pub keys: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Keys in which something is kept only until every member has it.
    pub tombstones: u64,
    /// What is kept for members that could not be reached, in bytes.
    pub hints_bytes: u64,
    /// What was kept for members and dropped, since the node started: they get it from
    /// comparisons.
    pub hints_dropped: u64,
}

impl EventualStatus {
    /// With others'.
    pub fn add(&mut self, other: &EventualStatus) {
        self.partitions += other.partitions;
        self.filling += other.filling;
        self.unknown += other.unknown;
        self.behind_ms = self.behind_ms.max(other.behind_ms);
        self.keys += other.keys;
        self.bytes += other.bytes;
        self.tombstones += other.tombstones;
        self.hints_bytes += other.hints_bytes;
        self.hints_dropped += other.hints_dropped;
    }
}
