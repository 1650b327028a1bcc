//! What a control plane is told when it starts, and why it may not.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId};
use atoll_world::{disk::Disk, journal, peers::Peers, pki::Keyring, store::StoreError};

use crate::{
    core::level::{LevelRange, SERVED},
    driver::{generations::StoreSource, replica, watch::WatchConfig},
    log::{LogError, LogSettings, storage},
};

/// What the control plane needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Timers and limits of the log.
    pub log: LogSettings,
    /// How long a request may wait for the cluster.
    pub request_timeout: Duration,
    /// The store's quota in bytes; reached means NOSPACE.
    pub quota_bytes: u64,
    /// Compaction without being asked.
    pub auto_compaction: AutoCompaction,
    /// The most leases in the cluster.
    pub leases_max: usize,
    /// This node can be reached from other machines, so authentication stays on.
    pub login_required: bool,
    /// How long a login lasts that nobody uses; none is for ever.
    pub login_ttl: Option<Duration>,
    /// Watches: limits and the interval of progress.
    pub watch: WatchConfig,
    /// The feature levels that this node serves: [`SERVED`], or what an operator's limit
    /// leaves of it.
    pub levels: LevelRange,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            log: LogSettings::default(),
            request_timeout: Duration::from_secs(7),
            quota_bytes: 2 << 30,
            auto_compaction: AutoCompaction::Off,
            leases_max: 1_000_000,
            login_required: false,
            login_ttl: Some(Duration::from_secs(300)),
            watch: WatchConfig::default(),
            levels: SERVED,
        }
    }
}

/// Compaction without being asked, as etcd offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Only when somebody asks.
    Off,
    /// What is older than this.
    Periodic(Duration),
    /// All but this many of the newest revisions.
    Revisions(u64),
}

/// Who this node is, and where its things lie.
pub struct Place {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Counts the starts of this node.
    pub boot: u64,
    /// The disk with the journal.
    pub disk: Arc<dyn Disk>,
    /// The node's directory on it.
    pub dir: PathBuf,
    /// Where stores come from.
    pub stores: Arc<StoreSource>,
    /// How the journal is kept.
    pub journal: journal::Options,
    /// The node's certificates and the cluster's authority; none where links need none.
    pub keyring: Option<Arc<Keyring>>,
    /// The links to the other nodes.
    pub peers: Arc<dyn Peers>,
    /// Called once when this node cannot go on; it should end the process.
    pub fatal: Arc<dyn Fn(String) + Send + Sync>,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log's journal.
    #[error(transparent)]
    Log(#[from] storage::OpenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state in the store.
    #[error(transparent)]
    Replica(#[from] replica::OpenError),
    /// The log could not be started.
    #[error("the replicated log cannot be started: {0}")]
    Raft(String),
    /// The last synced record of the journal is damaged: this node may have forgotten what it
    /// promised, so it must not vote.
    #[error(
        "the end of the journal in {dir} is damaged and may have held acknowledged writes; this node must not vote with it. \
         If others still serve the cluster, remove this node there (`atoll node remove`), delete its directory and join again. \
         If this is the only node, or the last one left, `atoll recover` with the same --dir says what may be lost, and with --force goes on with what is there"
    )]
    Forgetful {
        /// The journal's directory.
        dir: PathBuf,
    },
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        StartError::Raft(error.to_string())
    }
}
