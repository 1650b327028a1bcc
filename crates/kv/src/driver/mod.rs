//! Moves bytes between the partitions' cores and the world.
//!
//! Partitions are dealt to [`shard`]s, each a task that owns its partitions and their
//! coordinators, so that cores need no locks. What a shard took in at once is handled at once:
//! its records go to the node's one journal in one append, its packets for a node in one frame.

mod address;
mod ask;
mod error;
mod eventual;
mod invalidations;
mod journal;
mod keyspaces;
mod layout;
mod links;
mod needs;
mod news;
mod owners;
mod participants;
mod placement;
mod progress;
mod scripts;
mod shard;
mod snapshots;
#[cfg(test)]
mod tests;
mod transfer;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use atoll_base::id::{NodeId, PartitionId, ReplicaId};
use atoll_ring::partition::Partitions;
use atoll_world::{disk::Disk, journal as world_journal, peers::Peers, task};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use address::{ClusterAddress, address_key, address_owner, addresses_prefix};
pub use error::StartError;
pub use keyspaces::keyspaces_key;
pub use layout::{Layout, Place};
pub use placement::{Decisions, Known, topology_key};
pub use progress::{OnProgress, Progress};
pub use snapshots::{SnapshotFault, SnapshotSettings};

use crate::{
    api::{
        Answer, Api, ClusterMap, Condition, CrossPartition, EventualStatus, KeyspaceError,
        Publication, Request,
    },
    core::{
        eventual::bundle::RoomId,
        keyspaces::{Keyspace, KeyspaceNumber, Keyspaces, Wanted},
        paxos::Settings as PaxosSettings,
        sessions::Session,
    },
    hub::Hub,
    memory::{Memory, MemorySettings},
};
use eventual::{Eventual, Standing};
use keyspaces::{CREATIONS_MAX, Creation, Creations};
use links::Links;
use needs::Needs;
use news::News;
use owners::Owners;
use scripts::Scripts;
use shard::{Input, Shard, Tools, Urgent};

/// Inputs that may wait for one shard; further ones are refused.
const INPUTS_MAX: usize = 16_384;

/// Where a node's hot data is, and whom it talks to.
pub struct Setup {
    /// This node.
    pub node: NodeId,
    /// Its voice in the partitions' logs.
    pub replica: ReplicaId,
    /// How many times it was started.
    pub boot: u64,
    /// Its disk.
    pub disk: Arc<dyn Disk>,
    /// The folder of hot data.
    pub dir: PathBuf,
    /// How its journal is kept.
    pub journal: world_journal::Options,
    /// When partitions' states are written down, and how much of the journal is kept.
    pub snapshots: SnapshotSettings,
    /// Hears how far the start has got.
    pub progress: OnProgress,
    /// Links to the other nodes.
    pub peers: Arc<dyn Peers>,
    /// Who holds what.
    pub layout: Arc<Layout>,
    /// Number of shards, at least one.
    pub shards: usize,
    /// What this node's data may take.
    pub memory: MemorySettings,
    /// How long a request is tried for, in milliseconds.
    pub request_timeout_ms: u64,
    /// What does in several partitions at one moment what has to be done so, and ends what
    /// others have begun.
    pub cross_partition: Arc<dyn CrossPartition>,
}

/// A node's hot data. Clones are the same.
#[derive(Clone)]
pub struct Kv(Arc<Inner>);

struct Inner {
    node: NodeId,
    session: Session,
    request_timeout_ms: u64,
    partitions: Partitions,
    shards: Vec<Door>,
    cross_partition: Arc<dyn CrossPartition>,
    news: News,
    memory: Memory,
    links: Links,
    owners: Owners,
    journal: world_journal::Journal,
    /// Whether what is acknowledged is on disk.
    is_durable: bool,
    layout: Mutex<Arc<Layout>>,
    keyspaces: Mutex<Arc<Keyspaces>>,
    standing: Standing,
    creations: mpsc::Sender<Creation>,
    /// Where creations are taken, until somebody does.
    taken_creations: Mutex<Option<Creations>>,
    /// Names what waits.
    next_wait: AtomicU64,
    scripts: Arc<Scripts>,
}

impl Inner {
    /// Which shard has a partition.
    fn shard_of(&self, partition: PartitionId) -> usize {
        usize::from(partition.0) % self.shards.len()
    }

    fn door(&self, partition: PartitionId) -> &Door {
        &self.shards[self.shard_of(partition)]
    }
}

/// The way into a shard.
#[derive(Clone)]
struct Door {
    inputs: mpsc::Sender<Input>,
    urgent: mpsc::UnboundedSender<Urgent>,
}

impl Kv {
    /// Reads what is on disk and begins to serve. Waits for the disk, and is long at it where there
    /// is much.
    ///
    /// # Errors
    /// What the journal says; see [`StartError`].
    pub fn start(setup: Setup) -> Result<Kv, StartError> {
        let partitions = setup.layout.partitions;
        let journal::Recovered {
            mut held,
            mut forgotten,
            eventual: mut rooms,
            journal,
            files,
        } = journal::open(&setup)?;
        let owners = Owners::new(setup.node, setup.replica, setup.layout.clone());
        let scripts = Arc::<Scripts>::default();
        let links = Links::new(
            setup.peers.clone(),
            setup.replica,
            setup.layout.clone(),
            owners.clone(),
            scripts.clone(),
        );
        let news = News::start(setup.node, setup.peers.clone(), &setup.layout);
        let count = setup.shards.max(1);
        let mut doors = Vec::with_capacity(count);
        let mut shards = Vec::with_capacity(count);
        for _ in 0..count {
            let (inputs, taken) = mpsc::channel(INPUTS_MAX);
            let (urgent, first) = mpsc::unbounded_channel();
            doors.push(Door {
                inputs,
                urgent: urgent.clone(),
            });
            shards.push((taken, first, urgent));
        }
        let (strays, strayed) = mpsc::unbounded_channel();
        let mut snapshot_bytes = vec![0; count];
        for (partition, one) in &held {
            snapshot_bytes[usize::from(partition.0) % count] += one.snapshot_bytes;
        }
        let standing = Standing::default();
        let (creations, taken_creations) = mpsc::channel(CREATIONS_MAX);
        let needs = Needs::new(snapshot_bytes, setup.journal.segment_bytes);
        let memory = Memory::new(setup.memory);
        for (number, (inputs, first, urgent)) in shards.into_iter().enumerate() {
            let mine = |partition: &PartitionId| usize::from(partition.0) % count == number;
            let held = held.extract_if(.., |partition, _| mine(partition));
            let forgotten = forgotten.extract_if(.., |partition, _| mine(partition));
            let mine_of = |room: &RoomId| mine(&room.partition);
            let rooms = rooms.extract_if(.., |room, _| mine_of(room));
            let eventual = eventual::Tools {
                number,
                shards: count,
                replica: setup.replica,
                boot: setup.boot,
                partitions: partitions.ids().filter(mine).collect(),
                layout: setup.layout.clone(),
                links: links.clone(),
                files: files.clone(),
                memory: memory.clone(),
                standing: standing.clone(),
                urgent: urgent.clone(),
                request_timeout_ms: setup.request_timeout_ms,
                segment_bytes: setup.journal.segment_bytes,
            };
            let tools = Tools {
                eventual: Eventual::new(eventual, rooms.collect()),
                number,
                journal: journal.clone(),
                files: files.clone(),
                needs: needs.clone(),
                links: links.clone(),
                news: news.clone(),
                memory: memory.clone(),
                owners: owners.clone(),
                scripts: scripts.clone(),
                strays: strays.clone(),
                urgent,
            };
            let shard = Shard::new(
                &setup,
                partitions.ids().filter(mine).collect(),
                held.collect(),
                forgotten.collect(),
                tools,
            );
            task::spawn(shard.run(inputs, first));
        }
        links.serve(doors.clone());
        let kv = Kv(Arc::new(Inner {
            node: setup.node,
            session: Session {
                replica: setup.replica,
                boot: setup.boot,
            },
            request_timeout_ms: setup.request_timeout_ms,
            partitions,
            shards: doors,
            cross_partition: setup.cross_partition,
            news,
            memory,
            links,
            owners,
            journal,
            is_durable: setup.journal.durability == world_journal::Durability::Always,
            layout: Mutex::new(setup.layout),
            keyspaces: Mutex::default(),
            standing,
            creations,
            taken_creations: Mutex::new(Some(taken_creations)),
            next_wait: AtomicU64::new(0),
            scripts,
        }));
        task::spawn(participants::settle(Arc::downgrade(&kv.0), strayed));
        Ok(kv)
    }

    /// The cluster has decided anew who holds what.
    pub fn set_layout(&self, layout: &Arc<Layout>) {
        *self.0.layout.lock() = layout.clone();
        self.0.news.set_layout(layout);
        self.0.links.set_layout(layout.clone());
        self.0.owners.set_layout(layout.clone());
        for door in &self.0.shards {
            // A shard that is gone needs to know nothing.
            let _ = door.urgent.send(Urgent::Layout(layout.clone()));
        }
    }

    /// The cluster has decided anew which keyspaces there are.
    pub fn set_keyspaces(&self, keyspaces: &Arc<Keyspaces>) {
        *self.0.keyspaces.lock() = keyspaces.clone();
        for door in &self.0.shards {
            // A shard that is gone needs to know nothing.
            let _ = door.urgent.send(Urgent::Keyspaces(keyspaces.clone()));
        }
    }

    /// Which keyspaces there are, as this node knows.
    pub fn keyspaces(&self) -> Arc<Keyspaces> {
        self.0.keyspaces.lock().clone()
    }

    /// What is to be created, for whoever has the cluster decide it; once.
    fn take_creations(&self) -> Option<Creations> {
        self.0.taken_creations.lock().take()
    }

    /// How this node's replicas of eventual keyspaces are; of those that it holds any of.
    pub fn eventual_status(&self) -> BTreeMap<KeyspaceNumber, EventualStatus> {
        self.0.standing.all()
    }

    /// The cluster, for its clients. Nodes whose addresses are not known are not in it.
    pub fn cluster_map(&self) -> Arc<dyn ClusterMap> {
        Arc::new(owners::Map {
            owners: self.0.owners.clone(),
            links: self.0.links.clone(),
        })
    }

    /// Where cluster clients reach each node.
    pub fn set_addresses(&self, addresses: BTreeMap<NodeId, ClusterAddress>) {
        self.0.owners.set_addresses(addresses);
    }

    /// How many replicas at least hold what was acknowledged, whatever its partition.
    fn acknowledging(&self) -> usize {
        let layout = self.0.layout.lock().clone();
        let majorities = layout
            .places
            .values()
            .map(|place| place.configuration.majority());
        majorities.min().unwrap_or(1)
    }

    /// What the owners of partitions that change tell of them.
    async fn progress(&self) -> Vec<placement::Progress> {
        let mut all = Vec::new();
        for door in &self.0.shards {
            let (answer, told) = oneshot::channel();
            if door.urgent.send(Urgent::Report(answer)).is_ok() {
                // A shard that ended tells nothing.
                all.extend(told.await.unwrap_or_default());
            }
        }
        all
    }

    /// How the cluster's data is cut.
    pub fn partitions(&self) -> Partitions {
        self.0.partitions
    }

    /// Who listens on this node.
    pub fn hub(&self) -> &Hub {
        self.0.news.hub()
    }

    /// What this node's data takes, and what it may take.
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Publishes on all nodes; counts those on this one who hear it.
    pub fn publish(&self, publication: Publication) -> usize {
        self.0.news.publish(publication)
    }

    /// Writes what waits for the disk, and ends.
    pub async fn stop(&self) {
        for door in &self.0.shards {
            let _ = door.urgent.send(Urgent::Stop);
        }
        for door in &self.0.shards {
            door.inputs.closed().await;
        }
        let journal = self.0.journal.clone();
        task::blocking(move || journal.close()).await;
    }
}

impl Api for Kv {
    async fn ask(&self, requests: Vec<Request>) -> Vec<Answer> {
        ask::all(self, requests).await
    }

    async fn create_keyspace(&self, wanted: Wanted) -> Result<Keyspace, KeyspaceError> {
        let (created, answer) = oneshot::channel();
        let creation = Creation { wanted, created };
        if self.0.creations.try_send(creation).is_err() {
            return Err(KeyspaceError::Undecided);
        }
        answer.await.unwrap_or(Err(KeyspaceError::Undecided))
    }

    fn condition(&self) -> Arc<dyn Condition> {
        Arc::new(self.clone())
    }
}

/// Which settings the cores of this node run with.
fn paxos_settings() -> PaxosSettings {
    PaxosSettings::default()
}
