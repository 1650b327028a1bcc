//! Nodes on simulated disks and links, in virtual time.

mod crashes;
mod drains;
mod eventual;
mod redirects;
mod replicas;
mod scripts;
mod serving;
mod space;
mod stale;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_ring::partition::Partitions;
use atoll_world::{
    disk::{Disk as _, SimDisk},
    journal::{Durability, Options, Writer},
    peers::{Peers, sim::SimNet},
    random, task,
    task::Group,
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Kv, Layout, Progress, Setup, SnapshotSettings, StartError};
use crate::{
    api::{Answer, Api as _, Body, Call, Consistency, NoCrossPartition, Request},
    core::{command, reply::Reply},
    memory::MemorySettings,
};

const DIR: &str = "/hot";
const SEGMENT_BYTES: u64 = 64 << 10;

/// Runs a story of nodes in virtual time, from a seed.
fn simulate(seed: u64, story: impl Future<Output = ()>) {
    random::seed_thread(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(story);
    random::unseed_thread();
}

/// One node through all its lives.
struct Machine {
    node: NodeId,
    disk: SimDisk,
    boot: u64,
    life: Option<(Kv, Group)>,
    /// How far the last start told that it got.
    progress: Arc<Mutex<Progress>>,
    settings: SnapshotSettings,
    durability: Durability,
}

/// More than any story needs.
const DISK_BYTES: u64 = 1 << 40;

impl Machine {
    fn new(number: u64, seed: u64, settings: SnapshotSettings) -> Machine {
        let disk = SimDisk::new(seed);
        disk.set_capacity_bytes(DISK_BYTES);
        // Where words are torn, too, the journal may take what was never acknowledged for rot, and
        // the node then refuses to start (docs/formats/journal.md).
        disk.set_tear_bytes(8);
        Machine {
            durability: Durability::Always,
            node: NodeId(number),
            disk,
            boot: 0,
            life: None,
            progress: Arc::default(),
            settings,
        }
    }

    /// What a start begins with; counted as one.
    fn setup(&mut self, net: &SimNet, layout: &Layout) -> Setup {
        self.boot += 1;
        let told = self.progress.clone();
        let node = self.node;
        let peers: Arc<dyn Peers> = net.peers(node);
        for other in layout.nodes.values().filter(|other| **other != node) {
            peers.set_address(*other, format!("sim:{}", other.0));
        }
        Setup {
            node,
            replica: ReplicaId(node.0),
            boot: self.boot,
            disk: Arc::new(self.disk.clone()),
            dir: PathBuf::from(DIR),
            journal: Options {
                segment_bytes: SEGMENT_BYTES,
                reserve_bytes: 0,
                durability: self.durability,
                writer: Writer::task(Duration::from_micros(200)..Duration::from_millis(2)),
                ..Options::default()
            },
            snapshots: self.settings,
            progress: Arc::new(move |progress| *told.lock() = progress),
            peers,
            layout: Arc::new(layout.clone()),
            shards: 2,
            memory: MemorySettings::default(),
            request_timeout_ms: 2_000,
            cross_partition: Arc::new(NoCrossPartition),
        }
    }

    /// Starts, or says why not.
    async fn start(&mut self, net: &SimNet, layout: &Layout) -> Result<(), StartError> {
        let group = Group::new();
        let setup = task::scope_sync(group.clone(), || self.setup(net, layout));
        let start = async move { Kv::start(setup) };
        match task::scope(group.clone(), start).await {
            Ok(kv) => {
                self.life = Some((kv, group));
                Ok(())
            }
            Err(error) => {
                group.kill();
                group.ended().await;
                Err(error)
            }
        }
    }

    fn kv(&self) -> Kv {
        self.life.as_ref().expect("it runs").0.clone()
    }

    /// The process ends at once, and the machine too if `loses_power`.
    async fn crash(&mut self, net: &SimNet, loses_power: bool) {
        self.disk = match loses_power {
            true => self.disk.crash(),
            false => self.disk.kill(),
        };
        net.crash(self.node);
        if let Some((kv, group)) = self.life.take() {
            group.kill();
            group.ended().await;
            drop(kv);
        }
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let dir = Path::new(DIR).join(folder);
        let names = self.disk.list(&dir).expect("it is there");
        names.into_iter().map(|name| dir.join(name)).collect()
    }

    fn used_bytes(&self) -> u64 {
        DISK_BYTES - self.disk.free_bytes(Path::new(DIR)).expect("it runs")
    }
}

fn request(line: &str) -> Request {
    words(line.split(' ').map(|word| word.as_bytes().to_vec()))
}

fn words(words: impl Iterator<Item = Vec<u8>>) -> Request {
    let words: Vec<Bytes> = words.map(Bytes::from).collect();
    let command = command::find(&words).expect("a command");
    Request {
        consistency: Consistency::Linearizable,
        by: None,
        caller: None,
        body: Body::Call {
            database: 0,
            call: Call { command, words },
        },
    }
}

async fn ask(kv: &Kv, request: Request) -> Answer {
    kv.ask(vec![request]).await.remove(0)
}

/// A number kept under a key; 0 if there is none.
async fn number(kv: &Kv, key: &str) -> Option<u64> {
    match ask(kv, request(&format!("GET {key}"))).await {
        Answer::Reply(Reply::Null) => Some(0),
        Answer::Reply(Reply::Bulk(bytes)) => std::str::from_utf8(&bytes).ok()?.parse().ok(),
        _ => None,
    }
}

fn layout(nodes: &[u64], partitions: u16) -> Layout {
    let replicas: Vec<ReplicaId> = nodes.iter().copied().map(ReplicaId).collect();
    let named = nodes.iter().map(|node| (ReplicaId(*node), NodeId(*node)));
    let partitions = Partitions::new(partitions).expect("a number of partitions");
    Layout::fixed(partitions, named.collect(), |_: PartitionId| {
        replicas.clone()
    })
}
