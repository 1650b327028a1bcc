//! Three nodes, each with its control plane and its part of services on a simulated machine, and
//! what can be done to them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_control::{
    api::{ControlApi as _, Watches as _},
    driver::{
        control::{Control, Settings},
        system_identity,
    },
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::event::EventType,
    },
};
use atoll_services::{
    api::Doors,
    driver::{self, Client, PodSetup, RuntimeSetup, Setup, Simulated, admission},
};
use atoll_world::{clock, journal::Durability, machine::Facts, random::Stream, task};
use parking_lot::Mutex;

use super::{Planted, history::History};
use crate::{
    cluster::{self, Cluster, NODES},
    node::{End, Node, Running},
};

/// A call through a node is given up after so long.
const CALL_MAX: Duration = Duration::from_secs(4);
/// How long what runs may outlive the end of its lease: clocks may differ by 200 ms in that time,
/// and killing may take 1.5 s.
const LINGERS_MS_MAX: u64 = 1_700;
/// The lease is ignored for so long where that is planted.
const LINGERS_LONG: Duration = Duration::from_secs(30);
/// Where objects lie.
const OBJECTS: &str = "/atoll/objects/";

/// What is made of a node in one life.
#[derive(Clone)]
pub(super) struct Life {
    running: Running,
    client: Client<Control>,
}

pub(super) struct Machine {
    pub(super) node: Arc<Node>,
    /// Its place.
    at: usize,
    lingers: Duration,
    history: History,
    planted: Option<Planted>,
    state: Mutex<State>,
}

struct State {
    /// What containers run on: it outlives the node's process, and no loss of power.
    runtime: Simulated,
    life: Option<Life>,
    /// Whether its process is frozen, and whether the whole machine is.
    frozen: (bool, bool),
}

/// All of them. Clones are the same.
#[derive(Clone)]
pub(super) struct Machines {
    pub(super) cluster: Arc<Cluster>,
    pub(super) all: Arc<Vec<Arc<Machine>>>,
    pub(super) history: History,
}

impl Machines {
    /// Starts them, and waits until all vote.
    ///
    /// # Errors
    /// They do not in time.
    pub(super) async fn form(
        chance: &mut Stream,
        history: &History,
        planted: Option<Planted>,
    ) -> Result<Machines, String> {
        let setup = cluster::Setup {
            settings: Settings {
                request_timeout: Duration::from_secs(3),
                ..Settings::default()
            },
            segment_bytes: 1 << 20,
            durability: Durability::Always,
            fatal_end: End::Kill,
        };
        let cluster = Arc::new(Cluster::form(chance, &setup).await?);
        let mut all = Vec::new();
        for (at, node) in cluster.enlisted().enumerate() {
            let lingers = match planted {
                Some(Planted::IgnoresLease) => LINGERS_LONG,
                _ if chance.chance(0.5) => Duration::ZERO,
                _ => Duration::from_millis(chance.range(0..=LINGERS_MS_MAX)),
            };
            let runtime = Simulated::new(history.habits(at, lingers));
            let machine = Arc::new(Machine {
                node: node.clone(),
                at,
                lingers,
                history: history.clone(),
                planted,
                state: Mutex::new(State {
                    runtime,
                    life: None,
                    frozen: (false, false),
                }),
            });
            task::spawn(machine.clone().keep());
            all.push(machine);
        }
        debug_assert_eq!(all.len() as u64, NODES);
        Ok(Machines {
            cluster,
            all: Arc::new(all),
            history: history.clone(),
        })
    }

    /// The machine that leads.
    pub(super) fn leader(&self) -> Option<usize> {
        let leader = self.cluster.leader()?;
        self.all.iter().position(|it| it.node.id == leader.id)
    }

    /// Asks a node, as a part of it; none if it does not run, ends meanwhile, or takes too long.
    pub(super) async fn call<F>(
        &self,
        at: usize,
        call: impl FnOnce(Client<Control>) -> F,
    ) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Life { running, client } = self.all[at].state.lock().life.clone()?;
        let called = running.call(|_| call(client));
        clock::timeout(CALL_MAX, called).await.ok().flatten()
    }

    /// Everything is well from now on.
    pub(super) fn heal(&self) {
        for machine in self.all.iter() {
            machine.thaw();
        }
        self.cluster.heal();
    }

    /// Ends everything.
    pub(super) async fn end(&self) {
        self.cluster.end().await;
        for machine in self.all.iter() {
            machine.end(End::Power);
        }
    }
}

impl Machine {
    /// The name of its Node.
    pub(super) fn name(&self) -> String {
        format!("node-{}", self.node.id.0)
    }

    /// Starts services whenever the control plane is up.
    async fn keep(self: Arc<Self>) {
        loop {
            let running = self.node.wait_running().await;
            let setup = self.setup(&running);
            let services = task::scope_sync(running.group.clone(), || driver::start(setup));
            self.state.lock().life = Some(Life {
                running: running.clone(),
                client: services.client,
            });
            let back = match self.planted {
                Some(Planted::WatchesAgain) => 3,
                _ => 0,
            };
            let watcher = watch(running.control.clone(), self.at, self.history.clone(), back);
            task::scope_sync(running.group.clone(), || task::spawn(watcher));
            self.node.wait_ended(running.boot).await;
        }
    }

    fn setup(&self, running: &Running) -> Setup<Control> {
        let (id, name) = (self.node.id, self.name());
        Setup {
            control: running.control.clone(),
            peers: running.peers.clone(),
            node: id,
            address: format!("10.0.0.{}", id.0),
            doors: Doors::default(),
            addresses: admission::Settings::default(),
            dns: None,
            fleet: None,
            pods: Some(PodSetup {
                folder: PathBuf::from("/pods"),
                facts: Facts {
                    host: name.clone(),
                    processors: 8,
                    memory_bytes: 16 << 30,
                    disk_bytes: 100 << 30,
                    ..Facts::default()
                },
                version: "0".to_owned(),
                runtime: RuntimeSetup::Simulated(self.state.lock().runtime.clone()),
            }),
            name,
        }
    }

    /// The node's process ends, or its machine loses power. Nothing but that happens to one that
    /// is frozen whole.
    pub(super) fn end(&self, end: End) {
        let (_, is_frozen_whole) = self.state.lock().frozen;
        let end = match is_frozen_whole {
            true => End::Power,
            false => end,
        };
        self.node.end(end);
        let mut state = self.state.lock();
        state.life = None;
        state.frozen = (false, false);
        if end == End::Kill {
            return;
        }
        if is_frozen_whole {
            self.history.thaw(self.at, false);
        }
        let new = Simulated::new(self.history.habits(self.at, self.lingers));
        let old = std::mem::replace(&mut state.runtime, new);
        drop(state);
        if self.planted != Some(Planted::OutlivesPower) {
            old.lose_power();
        }
    }

    /// Its process stands still, or the whole machine.
    pub(super) fn freeze(&self, whole: bool) {
        let mut state = self.state.lock();
        let Some(Life { running, .. }) = state.life.clone() else {
            return;
        };
        if state.frozen != (false, false) {
            return;
        }
        running.group.freeze();
        state.frozen = (true, whole);
        if whole {
            state.runtime.freeze();
            self.history.freeze(self.at);
        }
    }

    /// It goes on.
    pub(super) fn thaw(&self) {
        let mut state = self.state.lock();
        if state.frozen.1 {
            self.history.thaw(self.at, true);
            state.runtime.thaw();
        }
        if let Some(Life { running, .. }) = &state.life {
            running.group.thaw();
        }
        state.frozen = (false, false);
    }
}

/// Watches all objects on a node, from where its last life's watcher was, as long as it runs.
async fn watch(control: Control, at: usize, history: History, back: i64) {
    let heard_to = history.heard_to(at);
    let create = pb::WatchCreateRequest {
        key: OBJECTS.into(),
        range_end: "/atoll/objects0".into(),
        start_revision: (heard_to + 1 - back).max(1),
        ..pb::WatchCreateRequest::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let mut watches = control.watch(system_identity());
    if let Err(error) = watches.request(pb::WatchRequest { request_union }).await {
        return history.violate(format!("objects can be watched: {error}"));
    }
    loop {
        let news = watches.next().await;
        if news.canceled {
            let why = news.cancel_reason;
            return history.violate(format!("a watch goes on: node {at} ended one: {why}"));
        }
        for event in news.events {
            let is_put = event.r#type() == EventType::Put;
            let Some(kv) = event.kv else { continue };
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            let key = key.trim_start_matches(OBJECTS).to_owned();
            let value = is_put.then_some(&kv.value[..]);
            history.hear(at, (kv.mod_revision, key), value);
        }
    }
}
