//! Three nodes that hold hot data, each with a coordinator of transactions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_kv::{
    api::{Answer, Api as _, Body, Consistency, Refusal, Request},
    driver::{Kv, Layout, Setup, SnapshotSettings, StartError},
    memory::MemorySettings,
};
use atoll_ring::partition::Partitions;
use atoll_txn::{core::global::Report, driver::global::Call, outside::Hot};
use atoll_world::{
    disk::SimDisk,
    journal::{self, Writer},
    peers::sim::{Faults, SimNet},
    task::{self, Group},
};
use parking_lot::Mutex;

/// Nodes.
pub(super) const NODES: usize = 3;
const PARTITIONS: u16 = 8;
/// How long a client of a node waits for what it asked for.
const REQUEST_TIMEOUT_MS: u64 = 2_000;

struct Node {
    boot: u64,
    disk: SimDisk,
    /// Its journal's end is damaged so that nobody knows what it has acknowledged: somebody would
    /// have to put a new node in its place.
    is_lost: bool,
    life: Option<Life>,
}

#[derive(Clone)]
struct Life {
    group: Group,
    kv: Kv,
    /// The same, as one who takes part in what is decided outside.
    hot: Hot,
}

pub(super) struct Cluster {
    net: SimNet,
    layout: Arc<Layout>,
    nodes: Vec<Mutex<Node>>,
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Self {
        let partitions = Partitions::new(PARTITIONS).expect("some");
        let count = NODES as u64;
        let nodes = (1..=count).map(|id| (ReplicaId(id), NodeId(id))).collect();
        let holders = |partition: PartitionId| {
            let first = u64::from(partition.0) % count;
            let places = (0..count).map(|at| (first + at) % count + 1);
            places.map(ReplicaId).collect()
        };
        let node = |id| {
            Mutex::new(Node {
                boot: 0,
                is_lost: false,
                disk: SimDisk::new(seed ^ id),
                life: None,
            })
        };
        let cluster = Cluster {
            net: SimNet::new(seed),
            layout: Arc::new(Layout::fixed(partitions, nodes, holders)),
            nodes: (1..=count).map(node).collect(),
        };
        for at in 0..NODES {
            cluster.start(at);
        }
        cluster
    }

    pub(super) fn net(&self) -> &SimNet {
        &self.net
    }

    pub(super) fn id(&self, at: usize) -> NodeId {
        NodeId(at as u64 + 1)
    }

    /// Whether a node may run at all.
    pub(super) fn is_lost(&self, at: usize) -> bool {
        self.nodes[at].lock().is_lost
    }

    /// Starts a node, unless it runs.
    pub(super) fn start(&self, at: usize) {
        let mut node = self.nodes[at].lock();
        if node.life.is_some() || node.is_lost {
            return;
        }
        node.boot += 1;
        let group = Group::new();
        let peers = task::scope_sync(group.clone(), || self.net.peers(self.id(at)));
        for other in 0..NODES {
            peers.set_address(self.id(other), String::new());
        }
        let hot = Hot::default();
        let setup = Setup {
            node: self.id(at),
            replica: ReplicaId(self.id(at).0),
            boot: node.boot,
            disk: Arc::new(node.disk.clone()),
            dir: PathBuf::from("/kv"),
            journal: journal::Options {
                writer: Writer::task(Duration::from_micros(200)..Duration::from_millis(4)),
                segment_bytes: 1 << 20,
                reserve_bytes: 0,
                ..journal::Options::default()
            },
            snapshots: SnapshotSettings::default(),
            progress: Arc::new(|_| {}),
            peers,
            layout: self.layout.clone(),
            shards: 2,
            memory: MemorySettings::default(),
            request_timeout_ms: REQUEST_TIMEOUT_MS,
            cross_partition: hot.executor(),
        };
        match task::scope_sync(group.clone(), || Kv::start(setup)) {
            Ok(kv) => {
                hot.set(Some(Arc::new(kv.clone())));
                node.life = Some(Life { group, kv, hot });
            }
            Err(StartError::MaybeForgetful) => node.is_lost = true,
            Err(error) => panic!("node {at} does not start: {error}"),
        }
    }

    /// Ends a node: its process only, or its machine, which loses what was not synced.
    pub(super) async fn end_node(&self, at: usize, loses_power: bool) {
        // Where one is lost already, what the others have is all there is.
        let loses_power = loses_power && (0..NODES).all(|at| !self.is_lost(at));
        let Some(Life { group, kv, hot }) = self.nodes[at].lock().life.take() else {
            return;
        };
        self.net.crash(self.id(at));
        group.kill();
        hot.set(None);
        drop(kv);
        group.ended().await;
        let mut node = self.nodes[at].lock();
        node.disk = match loses_power {
            true => node.disk.crash(),
            false => node.disk.kill(),
        };
    }

    /// Makes everything well.
    pub(super) fn heal(&self) {
        self.net.heal();
        self.net.set_faults(Faults::default());
        for at in 0..NODES {
            self.start(at);
        }
    }

    /// Ends every node.
    pub(super) async fn end(&self) {
        for at in 0..NODES {
            self.end_node(at, false).await;
        }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.net.fingerprint()
    }

    /// Asks a node, as a part of it: unknown, if it ends meanwhile.
    pub(super) async fn ask(&self, at: usize, body: Body) -> Answer {
        let life = self.nodes[at].lock().life.clone();
        let Some(Life { group, kv, .. }) = life else {
            return Answer::Refused(Refusal::Unavailable);
        };
        let request = Request {
            consistency: Consistency::Linearizable,
            by: None,
            caller: None,
            body,
        };
        let asked = async move { kv.ask(vec![request]).await.pop() };
        let asked = task::scope_sync(group, || task::spawn(asked));
        let answer = asked.await.ok().flatten();
        answer.unwrap_or(Answer::Refused(Refusal::Unknown))
    }

    /// Gives a node an order about a branch; its report, unless it ends meanwhile.
    pub(super) async fn tell(&self, at: usize, call: Call) -> Option<Report> {
        let Life { group, hot, .. } = self.nodes[at].lock().life.clone()?;
        let told = task::scope_sync(group, || task::spawn(hot.tell(call)));
        told.await.ok().flatten()
    }
}
