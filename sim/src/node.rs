//! One simulated node: what outlives a crash (its disk, its stores, its number of starts), and
//! its present life.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use atoll_base::id::{ClusterId, NodeId};
use atoll_control::{
    core::level::SERVED,
    driver::{
        control::{Control, Place, Settings, StartError},
        generations::StoreSource,
    },
    proto::raft,
};
use atoll_world::{
    disk::{Disk, SimDisk},
    journal::{self, Durability},
    peers::{Peers, sim::SimNet},
    random,
    store::SimStore,
    task, watch,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use crate::running::Running;

/// The only cluster there is.
const CLUSTER: ClusterId = ClusterId(0xa7011);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The process is killed; what it had written is there for the next.
    Kill,
    /// The machine loses power; what was not synced may be lost or torn.
    Power,
}

/// A node could not go on and asks to be ended.
#[derive(Clone, Debug)]
pub struct Fatal {
    /// Which.
    pub node: NodeId,
    /// In which life.
    pub boot: u64,
    /// Why.
    pub reason: String,
}

/// How long a sync takes, at least and at most.
pub type SyncLatency = (Duration, Duration);

/// What a node needs from around it.
pub struct Around {
    /// The network.
    pub net: SimNet,
    /// Every node there is.
    pub nodes: Vec<NodeId>,
    /// How control planes are set up.
    pub settings: Settings,
    /// Length of a journal's segments, in bytes.
    pub segment_bytes: u64,
    /// When a record counts as written.
    pub durability: Durability,
    /// Where nodes say that they cannot go on.
    pub fatal: mpsc::UnboundedSender<Fatal>,
}

/// One simulated node.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    founder: bool,
    around: Arc<Around>,
    stores: Arc<StoreSource>,
    sync_latency: Arc<Mutex<SyncLatency>>,
    clock_offset_ms: AtomicI64,
    clock_drift_ppm: AtomicI64,
    /// It belongs to the cluster: only such a node starts.
    enlisted: AtomicBool,
    state: Mutex<State>,
    /// The running control plane's boot, 0 while there is none; changes wake whoever waits.
    running: watch::Sender<u64>,
}

struct State {
    disk: SimDisk,
    image: Option<Image>,
    boot: u64,
    life: Option<Life>,
}

/// What a machine's disks held at one moment.
struct Image {
    disk: SimDisk,
    stores: BTreeMap<u64, SimStore>,
}

struct Life {
    group: task::Group,
    /// Once it is up.
    control: Option<(Control, Arc<dyn Peers>)>,
}

impl Node {
    /// A node with an empty disk that has not started.
    pub fn new(id: NodeId, founder: bool, seed: u64, around: Arc<Around>) -> Arc<Node> {
        let disk = SimDisk::new(seed);
        // Where words are torn, too, the journal may take what was never acknowledged for rot,
        // and the node then waits for somebody to decide (docs/formats/journal.md).
        disk.set_tear_bytes(8);
        Arc::new(Node {
            id,
            founder,
            around,
            stores: Arc::new(StoreSource::Simulated(Mutex::new(BTreeMap::new()))),
            sync_latency: Arc::new(Mutex::new(FAST_DISK)),
            clock_offset_ms: AtomicI64::new(0),
            clock_drift_ppm: AtomicI64::new(0),
            enlisted: AtomicBool::new(false),
            state: Mutex::new(State {
                disk,
                image: None,
                boot: 0,
                life: None,
            }),
            running: watch::channel(0).0,
        })
    }

    /// How others reach it.
    pub fn member(&self) -> raft::Node {
        let id = self.id;
        let mut member = raft::Node {
            name: format!("node-{id}"),
            peer_urls: vec![format!("https://node-{id}:2380")],
            client_urls: vec![format!("http://node-{id}:2379")],
            ..raft::Node::default()
        };
        SERVED.announce(&mut member);
        member
    }

    /// Whether it belongs to the cluster, as far as the run is concerned.
    pub fn is_enlisted(&self) -> bool {
        self.enlisted.load(Ordering::Relaxed)
    }

    /// It belongs to the cluster from now on, and may start.
    pub fn enlist(&self) {
        self.enlisted.store(true, Ordering::Relaxed);
    }

    /// It ends, and never starts again.
    pub fn retire(&self) {
        self.enlisted.store(false, Ordering::Relaxed);
        self.end(End::Kill);
    }

    /// Begins a life, if there is none and it belongs to the cluster.
    pub fn start(self: &Arc<Self>) {
        if !self.is_enlisted() {
            return;
        }
        let (boot, group, place) = {
            let mut state = self.state.lock();
            if state.life.is_some() {
                return;
            }
            state.boot += 1;
            let group = task::Group::new();
            group.set_clock(
                self.clock_offset_ms.load(Ordering::Relaxed),
                self.clock_drift_ppm.load(Ordering::Relaxed),
            );
            state.life = Some(Life {
                group: group.clone(),
                control: None,
            });
            let disk: Arc<dyn Disk> = Arc::new(state.disk.clone());
            (state.boot, group, (state.boot, disk))
        };
        tracing::info!(node = %self.id, boot, "starts");
        let node = self.clone();
        task::scope_sync(group, || {
            task::spawn(async move {
                match node.run(place).await {
                    Ok(up) => node.is_up(boot, up),
                    Err(error) => node.die(boot, format!("it does not start: {error}")),
                }
            })
        });
    }

    async fn run(
        &self,
        (boot, disk): (u64, Arc<dyn Disk>),
    ) -> Result<(Control, Arc<dyn Peers>), StartError> {
        let around = &self.around;
        let peers = around.net.peers(self.id);
        for other in around.nodes.iter().filter(|other| **other != self.id) {
            peers.set_address(*other, format!("node-{other}:2380"));
        }
        let place = Place {
            cluster: CLUSTER,
            node: self.id,
            boot,
            disk,
            dir: PathBuf::from("/data"),
            stores: self.stores.clone(),
            journal: self.journal(boot),
            keyring: None,
            peers: peers.clone(),
            fatal: self.fatal(boot),
        };
        let control = Control::start(place, around.settings.clone()).await?;
        if self.founder {
            control.found(self.member()).await?;
        }
        Ok((control, peers))
    }

    fn journal(&self, boot: u64) -> journal::Options {
        let latency = self.sync_latency.clone();
        let fatal = self.fatal(boot);
        journal::Options {
            segment_bytes: self.around.segment_bytes,
            durability: self.around.durability,
            reserve_bytes: 0,
            writer: journal::Writer::Task {
                sync_latency: Arc::new(move || {
                    let (min, max) = *latency.lock();
                    random::range(min..=max)
                }),
            },
            fatal: Arc::new(move |error| fatal(error.to_string())),
            ..journal::Options::default()
        }
    }

    fn fatal(&self, boot: u64) -> Arc<dyn Fn(String) + Send + Sync> {
        let (node, fatal) = (self.id, self.around.fatal.clone());
        Arc::new(move |reason| {
            // After the run nobody listens.
            let _ = fatal.send(Fatal { node, boot, reason });
        })
    }

    fn die(&self, boot: u64, reason: String) {
        let node = self.id;
        let _ = self.around.fatal.send(Fatal { node, boot, reason });
    }

    fn is_up(&self, boot: u64, up: (Control, Arc<dyn Peers>)) {
        let mut state = self.state.lock();
        if state.boot == boot
            && let Some(life) = &mut state.life
        {
            life.control = Some(up);
            self.running.send_replace(boot);
        }
    }

    /// Ends the present life, if there is one.
    pub fn end(&self, end: End) {
        let mut state = self.state.lock();
        let Some(life) = state.life.take() else {
            return;
        };
        tracing::info!(node = %self.id, boot = state.boot, ?end, "ends");
        life.group.kill();
        self.around.net.crash(self.id);
        state.disk = match end {
            End::Kill => state.disk.kill(),
            End::Power => {
                self.lose_power_of_stores();
                state.disk.crash()
            }
        };
        self.running.send_replace(0);
        drop(state);
        // The last handle on the control plane: dropped where nothing is locked.
        drop(life);
    }

    /// Takes an image of its disks.
    pub fn take_image(&self) {
        let StoreSource::Simulated(stores) = &*self.stores else {
            return;
        };
        let mut state = self.state.lock();
        let stores = stores.lock();
        let stores = stores
            .iter()
            .map(|(generation, store)| (*generation, store.image()));
        state.image = Some(Image {
            disk: state.disk.image(),
            stores: stores.collect(),
        });
    }

    /// Ends its life, and puts its disks back to the image, if one was taken.
    pub fn restore_image(&self) {
        self.end(End::Kill);
        let mut state = self.state.lock();
        if let (StoreSource::Simulated(stores), Some(image)) = (&*self.stores, state.image.take()) {
            state.disk = image.disk;
            *stores.lock() = image.stores;
        }
    }

    fn lose_power_of_stores(&self) {
        if let StoreSource::Simulated(stores) = &*self.stores {
            for store in stores.lock().values() {
                store.crash();
            }
        }
    }

    /// The life that is running now.
    pub fn running(&self) -> Option<Running> {
        let state = self.state.lock();
        let life = state.life.as_ref()?;
        let (control, peers) = life.control.clone()?;
        Some(Running {
            control,
            peers,
            group: life.group.clone(),
            boot: state.boot,
        })
    }

    /// Waits until it runs.
    pub async fn wait_running(&self) -> Running {
        let mut running = self.running.subscribe();
        loop {
            if let Some(running) = self.running() {
                return running;
            }
            // The sender lives as long as the node does.
            let _ = running.changed().await;
        }
    }

    /// Waits until a life has ended.
    pub async fn wait_ended(&self, boot: u64) {
        // The sender lives as long as the node does.
        let _ = self.running.subscribe().wait_for(|it| *it != boot).await;
    }

    /// The number of its present, or last, life.
    pub fn boot(&self) -> u64 {
        self.state.lock().boot
    }

    /// How long its disk takes to sync from now on.
    pub fn set_sync_latency(&self, latency: SyncLatency) {
        *self.sync_latency.lock() = latency;
    }

    /// Lets the n-th sync from now fail.
    pub fn fail_sync(&self, nth: u64) {
        self.state.lock().disk.fail_sync(nth);
    }

    /// How its wall clock is wrong, from now on.
    pub fn set_clock(&self, offset_ms: i64, drift_ppm: i64) {
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
        self.clock_drift_ppm.store(drift_ppm, Ordering::Relaxed);
        if let Some(life) = &self.state.lock().life {
            life.group.set_clock(offset_ms, drift_ppm);
        }
    }
}

/// How long a good disk takes to sync.
pub const FAST_DISK: SyncLatency = (Duration::from_micros(300), Duration::from_millis(3));
