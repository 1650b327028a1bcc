//! Three nodes on virtual time.

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_kv::{
    api,
    core::command,
    driver::{Kv, Layout, Setup, SnapshotSettings},
    memory::MemorySettings,
};
use atoll_ring::partition::Partitions;
use atoll_world::{
    disk::SimDisk,
    journal::{self, Writer},
    peers::sim::{Faults, SimNet},
    random,
    task::{self, Group},
};
use bytes::Bytes;

use super::{Executor, told};

const PARTITIONS: u16 = 16;
const NODES: u64 = 3;

struct Node {
    id: u64,
    boot: u64,
    disk: SimDisk,
    life: Option<(Group, Kv)>,
    executor: Executor,
}

pub(in crate::driver) struct Cluster {
    net: SimNet,
    layout: Arc<Layout>,
    nodes: Vec<Node>,
    /// How long a disk takes.
    sync: Range<Duration>,
}

pub(in crate::driver) fn call(text: &str) -> api::Call {
    let words = text.split(' ');
    let words: Vec<Bytes> = words
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let command = command::find(&words).expect("a command");
    api::Call { command, words }
}

impl Cluster {
    pub(in crate::driver) fn new(seed: u64) -> Self {
        Self::with_disks(seed, Duration::from_micros(200)..Duration::from_millis(4))
    }

    pub(in crate::driver) fn with_disks(seed: u64, sync: Range<Duration>) -> Self {
        let partitions = Partitions::new(PARTITIONS).expect("some");
        let nodes = (1..=NODES).map(|id| (ReplicaId(id), NodeId(id))).collect();
        let holders = |partition: PartitionId| {
            let first = u64::from(partition.0) % NODES;
            let places = (0..NODES).map(|at| (first + at) % NODES + 1);
            places.map(ReplicaId).collect()
        };
        let node = |id| Node {
            id,
            boot: 0,
            disk: SimDisk::new(seed ^ id),
            life: None,
            executor: Executor::default(),
        };
        let mut cluster = Cluster {
            net: SimNet::new(seed),
            layout: Arc::new(Layout::fixed(partitions, nodes, holders)),
            nodes: (1..=NODES).map(node).collect(),
            sync,
        };
        for at in 0..cluster.nodes.len() {
            cluster.start(at);
        }
        cluster
    }

    pub(in crate::driver) fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.boot += 1;
        node.executor = Executor::default();
        let group = Group::new();
        let peers = self.net.peers(NodeId(node.id));
        for other in 1..=NODES {
            peers.set_address(NodeId(other), String::new());
        }
        let setup = Setup {
            node: NodeId(node.id),
            replica: ReplicaId(node.id),
            boot: node.boot,
            disk: Arc::new(node.disk.clone()),
            dir: PathBuf::from("/kv"),
            journal: journal::Options {
                writer: Writer::task(self.sync.clone()),
                segment_bytes: 16 << 20,
                reserve_bytes: 0,
                ..journal::Options::default()
            },
            snapshots: SnapshotSettings::default(),
            progress: Arc::new(|_| {}),
            peers,
            layout: self.layout.clone(),
            shards: 2,
            memory: MemorySettings::default(),
            request_timeout_ms: 5_000,
            cross_partition: Arc::new(node.executor.clone()),
        };
        let kv = task::scope_sync(group.clone(), || Kv::start(setup)).expect("it starts");
        node.life = Some((group, kv));
    }

    /// Ends a node's process. What a loss of power takes, and that a node may not come back from
    /// it, is a matter of the simulation.
    pub(in crate::driver) async fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let (group, kv) = node.life.take().expect("it runs");
        self.net.crash(NodeId(node.id));
        group.kill();
        drop(kv);
        group.ended().await;
        node.disk = node.disk.kill();
    }

    pub(in crate::driver) fn kv(&self, at: usize) -> &Kv {
        let life = self.nodes[at].life.as_ref();
        &life.expect("it runs").1
    }

    /// What brings transactions to a node's partitions.
    pub(in crate::driver) fn executor(&self, at: usize) -> Executor {
        self.nodes[at].executor.clone()
    }

    pub(in crate::driver) fn partitions(&self) -> u16 {
        PARTITIONS
    }

    /// Has every message travel for so long.
    pub(in crate::driver) fn set_delay(&self, delay: Duration) {
        self.net.set_faults(Faults {
            delay: (delay, delay),
            ..Faults::default()
        });
    }

    /// Has a node own a partition: it is the first to be asked for a key there.
    pub(in crate::driver) async fn own(&self, at: usize, partition: PartitionId) {
        let partitions = self.layout.partitions;
        let key = (0..).map(|number| format!("key{number}"));
        let mut key = key.filter(|key| partitions.of_key(key.as_bytes()) == partition);
        let key = key.next().expect("each has some");
        told(self.kv(at), &format!("SET {key} 1")).await;
    }
}

pub(in crate::driver) fn simulate<F: Future<Output = ()>>(seed: u64, run: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        random::seed_thread(seed);
        run().await;
    });
    random::unseed_thread();
}
