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
    driver::{control::Control, drains, swap::swap, system_identity},
    proto::{etcdserverpb as pb, internal::command::Op},
};
use atoll_kv::{
    core::evict::Policy,
    driver::{
        ClusterAddress, Decisions, Known, Kv, Progress, Setup, SnapshotSettings, StartError,
        address_key, address_owner, addresses_prefix, topology_key,
    },
    face::{
        server::{Server, ServerSettings},
        session,
    },
    memory::MemorySettings,
};
use atoll_ring::partition::Partitions;
use atoll_txn::driver::Executor;
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
}

impl Decisions for Decided {
    async fn topology(&self) -> Option<(Bytes, i64)> {
        let request = pb::RangeRequest {
            key: self.key.clone(),
            // An old one does no harm, and this node's own is there when nobody else is.
            serializable: true,
            ..pb::RangeRequest::default()
        };
        match self.control.range(system_identity(), request).await {
            Ok(mut found) => found.kvs.pop().map(|kv| (kv.value, kv.mod_revision)),
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

/// Hot data, once it is there.
pub(super) struct Hot(Arc<Mutex<Option<Kv>>>);

impl Hot {
    pub(super) async fn stop(&self) {
        let kv = self.0.lock().take();
        if let Some(kv) = kv {
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
) -> Hot {
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
    };
    let hot = Hot(Arc::default());
    let place = hot.0.clone();
    task::spawn(run(plan, decided, peers, door, place));
    hot
}

async fn run(
    plan: Plan,
    decided: Decided,
    peers: Arc<TlsPeers>,
    mut door: Door,
    place: Arc<Mutex<Option<Kv>>>,
) {
    let login_required = plan.login_required;
    let opened = tokio::select! {
        biased;
        // An error means that the node is gone, which is the same.
        _ = door.stopped.wait_for(|stopped| *stopped) => return,
        opened = open(plan, &decided, peers) => opened,
    };
    let (kv, known) = match opened {
        Ok(opened) => opened,
        Err(error) => crate::telemetry::die(&error.to_string()),
    };
    *place.lock() = Some(kv.clone());
    let users = Arc::new(Users::new(decided.control.clone(), login_required));
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
        cross_partition: Arc::new(Executor::default()),
    };
    // With much data it takes long, and the control plane has to go on meanwhile.
    let kv = task::blocking(move || Kv::start(setup)).await?;
    kv.set_script_time_limit_ms(plan.script_time_limit_ms);
    Ok((kv, known))
}
