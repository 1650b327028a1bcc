//! Hot data at this node: waits until the cluster says what this node holds, then serves Redis
//! clients.

mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use atoll_base::{
    config::{Config, EvictionPolicy},
    id::{ClusterId, NodeId},
};
use atoll_control::{
    api::ControlApi as _,
    core::{error::Error, level::FeatureLevel},
    driver::{
        control::Control,
        drains,
        swap::{swap, swap_beside},
        system_identity,
    },
    face::Figures,
    proto::{etcdserverpb as pb, internal::command::Op},
};
use atoll_kv::{
    api::EventualStatus,
    core::evict::Policy,
    driver::{
        ClusterAddress, Decisions, Known, Kv, Progress, Setup, SnapshotSettings, StartError,
        address_key, address_owner, addresses_prefix, keyspaces_key, topology_key,
    },
    face::{
        acl::Acl,
        server::{Server, ServerSettings},
        session,
    },
    memory::MemorySettings,
};
use atoll_ring::partition::Partitions;
use atoll_txn::{face::hot::HotData, outside};
use atoll_world::{
    disk::Disk,
    journal,
    net::Listener,
    peers::{Peers, tls::TlsPeers},
    task,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Acceptor, Directory, durability, journal_options, record::Record};
use users::Users;

/// The least length of a segment of the journal of hot data.
const SEGMENT_BYTES_MIN: u64 = 16 << 20;

/// The control plane, as hot data sees it.
#[derive(Clone)]
struct Decided {
    control: Control,
    node: NodeId,
    cluster: ClusterId,
    key: Bytes,
    keyspaces_key: Bytes,
}

impl Decided {
    /// What is kept under a key, and its revision, as this node knows it; an empty value and 0
    /// where nothing is.
    async fn known(&self, key: &Bytes) -> Result<(Bytes, i64), Error> {
        let request = pb::RangeRequest {
            key: key.clone(),
            // An old one does no harm, and this node's own is there when nobody else is.
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let mut found = self.control.range(system_identity(), request).await?;
        let found = found.kvs.pop().map(|kv| (kv.value, kv.mod_revision));
        Ok(found.unwrap_or_default())
    }
}

impl Decisions for Decided {
    async fn topology(&self) -> Option<(Bytes, i64)> {
        match self.known(&self.key).await {
            Ok((topology, version)) => (version > 0).then_some((topology, version)),
            Err(error) => {
                tracing::debug!(%error, "the topology can't be read");
                None
            }
        }
    }

    async fn replace(&self, version: i64, next: Bytes) -> bool {
        match swap(&self.control, &self.key, version, Some(next)).await {
            Ok(done) => done,
            Err(error) => {
                tracing::debug!(%error, "the topology was not written, or nobody knows");
                false
            }
        }
    }

    fn leads(&self) -> bool {
        self.control.status().leader == Some(self.node)
    }

    fn members(&self) -> Vec<NodeId> {
        let members = self.control.members();
        members.into_iter().map(|member| member.node).collect()
    }

    async fn draining(&self) -> Option<BTreeSet<NodeId>> {
        match drains::draining(&self.control).await {
            Ok(nodes) => Some(nodes),
            Err(error) => {
                tracing::debug!(%error, "which nodes are drained can't be read");
                None
            }
        }
    }

    async fn addresses(&self) -> Option<BTreeMap<NodeId, Bytes>> {
        let prefix = addresses_prefix(self.cluster);
        let request = pb::RangeRequest {
            range_end: prefix_end(prefix.as_bytes()).into(),
            key: prefix.into(),
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let found = match self.control.range(system_identity(), request).await {
            Ok(found) => found.kvs,
            Err(error) => {
                tracing::debug!(%error, "the addresses of nodes can't be read");
                return None;
            }
        };
        let named = found.into_iter().filter_map(|kv| {
            let node = address_owner(self.cluster, &kv.key)?;
            Some((node, kv.value))
        });
        Some(named.collect())
    }

    async fn keyspaces(&self) -> Option<(Bytes, i64)> {
        // What was applied here comes in the log's order: what was decided before a topology that
        // was read is there.
        match self.known(&self.keyspaces_key).await {
            Ok(known) => Some(known),
            Err(error) => {
                tracing::debug!(%error, "the keyspaces can't be read");
                None
            }
        }
    }

    fn takes_eventual(&self) -> bool {
        self.control.status().feature_level >= FeatureLevel::EVENTUAL_KEYSPACES
    }

    async fn replace_keyspaces(&self, version: i64, topology: i64, next: Bytes) -> bool {
        let (key, beside) = ((&self.keyspaces_key, version), (&self.key, topology));
        match swap_beside(&self.control, key, Some(next), Some(beside)).await {
            Ok(done) => done.is_some(),
            Err(error) => {
                tracing::debug!(%error, "the keyspaces were not written, or nobody knows");
                false
            }
        }
    }

    async fn set_address(&self, node: NodeId, address: Option<Bytes>) {
        let key = Bytes::from(address_key(self.cluster, node));
        let op = match address {
            Some(value) => Op::Put(pb::PutRequest {
                key,
                value,
                ..pb::PutRequest::default()
            }),
            None => Op::DeleteRange(pb::DeleteRangeRequest {
                key,
                ..pb::DeleteRangeRequest::default()
            }),
        };
        // Whoever keeps the addresses looks again soon, and tries again.
        if let Err(error) = self.control.propose(system_identity(), op).await {
            tracing::debug!(%error, %node, "a node's address was not written, or nobody knows");
        }
    }
}

/// The first key after all that begin so: none of ours ends in the highest byte.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

/// The listeners of Redis clients: plain ones, and those of Redis Cluster.
pub(super) struct Door {
    pub(super) listener: Listener,
    pub(super) cluster_listener: Listener,
    /// Where the latter reach this node.
    pub(super) cluster_address: ClusterAddress,
    pub(super) tls: Option<Acceptor>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// A figure of a node's status: how far behind its replicas of an eventual keyspace may be, in
/// milliseconds.
pub(crate) const EVENTUAL_BEHIND_MS: &str = "eventual_behind_ms";
/// The same: how many of its replicas and others have not compared what they hold yet.
pub(crate) const EVENTUAL_UNKNOWN: &str = "eventual_unknown";

/// Hot data, once it is there. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Hot {
    place: Arc<Mutex<Option<(Kv, Acl)>>>,
    /// The same, as one who takes part in transactions with others outside.
    part: outside::Hot,
}

impl HotData for Hot {
    type Kv = Kv;

    fn now(&self) -> Option<(Kv, Acl)> {
        self.place.lock().clone()
    }
}

impl Hot {
    /// How this node's replicas of eventual keyspaces are, by the keyspaces' names.
    pub(crate) fn eventual(&self) -> BTreeMap<String, EventualStatus> {
        let Some((kv, _)) = self.place.lock().clone() else {
            return BTreeMap::new();
        };
        let keyspaces = kv.keyspaces();
        let named = kv
            .eventual_status()
            .into_iter()
            .filter_map(|(number, status)| {
                let keyspace = keyspaces.numbered(number)?;
                Some((keyspace.name.clone(), status))
            });
        named.collect()
    }

    /// Hot data as one who takes part in transactions with others outside.
    pub(super) fn part(&self) -> &outside::Hot {
        &self.part
    }

    fn set(&self, kv: Kv, users: Acl) {
        self.part.set(Some(Arc::new(kv.clone())));
        *self.place.lock() = Some((kv, users));
    }

    /// What a node's status tells of them.
    pub(super) fn figures(&self) -> Figures {
        let hot = self.clone();
        Arc::new(move || {
            let all = hot.eventual().into_iter().flat_map(|(of, status)| {
                let figures = [
                    (EVENTUAL_BEHIND_MS, status.behind_ms),
                    (EVENTUAL_UNKNOWN, status.unknown),
                ];
                figures.map(|(name, value)| pb::AtollFigure {
                    name: name.to_owned(),
                    of: of.clone(),
                    value,
                })
            });
            all.collect()
        })
    }

    pub(super) async fn stop(&self) {
        self.part.set(None);
        let kv = self.place.lock().take();
        if let Some((kv, _)) = kv {
            kv.stop().await;
        }
    }
}

/// What has to be known before the cluster is asked.
struct Plan {
    node: NodeId,
    boot: u64,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    journal: journal::Options,
    partitions: u16,
    shards: usize,
    memory: MemorySettings,
    request_timeout_ms: u64,
    script_time_limit_ms: u64,
    login_required: bool,
}

/// Begins to serve hot data, as soon as the cluster says what this node holds.
pub(super) fn start(
    config: &Config,
    directory: &Directory,
    record: &Record,
    control: Control,
    peers: Arc<TlsPeers>,
    door: Door,
    hot: &Hot,
) {
    let shards = match config.kv.shards {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        shards => usize::try_from(shards).unwrap_or(1),
    };
    let plan = Plan {
        node: record.node,
        boot: record.boot,
        disk: directory.disk.clone(),
        // Hot data of another cluster, which this node's folder may have belonged to, is none of
        // this one's.
        dir: directory.path.join(format!("kv-{}", record.cluster)),
        journal: journal::Options {
            durability: durability(config.kv.durability),
            // The largest request fits one.
            segment_bytes: config.journal.segment_bytes.max(SEGMENT_BYTES_MIN),
            ..journal_options(config)
        },
        partitions: config.kv.partitions,
        shards,
        memory: MemorySettings {
            bytes_max: config.kv.maxmemory_bytes,
            policy: policy(config.kv.maxmemory_policy),
        },
        request_timeout_ms: config.kv.request_timeout_ms,
        script_time_limit_ms: config.kv.script_time_limit_ms,
        login_required: config.leaves_loopback() && !config.security.insecure,
    };
    let decided = Decided {
        control,
        node: record.node,
        cluster: record.cluster,
        key: topology_key(record.cluster).into(),
        keyspaces_key: keyspaces_key(record.cluster).into(),
    };
    task::spawn(run(plan, decided, peers, door, hot.clone()));
}

async fn run(plan: Plan, decided: Decided, peers: Arc<TlsPeers>, mut door: Door, hot: Hot) {
    let login_required = plan.login_required;
    let opened = tokio::select! {
        biased;
        // An error means that the node is gone, which is the same.
        _ = door.stopped.wait_for(|stopped| *stopped) => return,
        opened = open(plan, &decided, peers, hot.part()) => opened,
    };
    let (kv, known) = match opened {
        Ok(opened) => opened,
        Err(error) => crate::telemetry::die(&error.to_string()),
    };
    let users = Arc::new(Users::new(decided.control.clone(), login_required));
    hot.set(kv.clone(), users.acl().clone());
    tokio::select! {
        biased;
        _ = door.stopped.wait_for(|stopped| *stopped) => return,
        () = users.refresh() => {}
    }
    task::spawn(users.clone().follow());
    let node = decided.node;
    // Until the cluster knows of the others, clients of this node are told of this one.
    kv.set_addresses(BTreeMap::from([(node, door.cluster_address.clone())]));
    task::spawn(known.keep(decided, kv.clone(), node, door.cluster_address));
    let settings = ServerSettings::new(session::Settings {
        auth_required: false,
        cluster: false,
    });
    let (hub, memory, map) = (kv.hub().clone(), kv.memory().clone(), kv.cluster_map());
    let server = Server::new(kv, hub, memory, users, settings);
    task::spawn(super::serve::redis(
        door.cluster_listener,
        door.tls.clone(),
        server.in_cluster(map),
        door.stopped.clone(),
    ));
    super::serve::redis(door.listener, door.tls, server, door.stopped).await;
}

/// The data's words for the policy.
fn policy(policy: EvictionPolicy) -> Policy {
    match policy {
        EvictionPolicy::NoEviction => Policy::NoEviction,
        EvictionPolicy::AllKeysLru => Policy::AllKeysLru,
        EvictionPolicy::AllKeysLfu => Policy::AllKeysLfu,
        EvictionPolicy::AllKeysRandom => Policy::AllKeysRandom,
        EvictionPolicy::VolatileLru => Policy::VolatileLru,
        EvictionPolicy::VolatileLfu => Policy::VolatileLfu,
        EvictionPolicy::VolatileRandom => Policy::VolatileRandom,
        EvictionPolicy::VolatileTtl => Policy::VolatileTtl,
    }
}

/// Tells how far the reading of hot data has got.
fn told(progress: Progress) {
    tracing::info!("hot data: {progress}");
}

async fn open(
    plan: Plan,
    decided: &Decided,
    peers: Arc<dyn Peers>,
    part: &outside::Hot,
) -> Result<(Kv, Known), StartError> {
    let partitions = Partitions::new(plan.partitions).unwrap_or_default();
    let (known, replica) = Known::wait_for(decided, plan.node, partitions).await;
    let setup = Setup {
        node: plan.node,
        replica,
        boot: plan.boot,
        disk: plan.disk,
        dir: plan.dir,
        journal: plan.journal,
        snapshots: SnapshotSettings::default(),
        progress: Arc::new(told),
        peers,
        layout: known.layout().into(),
        shards: plan.shards,
        memory: plan.memory,
        request_timeout_ms: plan.request_timeout_ms,
        cross_partition: part.executor(),
    };
    // With much data it takes long, and the control plane has to go on meanwhile.
    let kv = task::blocking(move || Kv::start(setup)).await?;
    kv.set_script_time_limit_ms(plan.script_time_limit_ms);
    Ok((kv, known))
}
