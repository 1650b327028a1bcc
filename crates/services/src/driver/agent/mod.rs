//! The agent of a node: feeds the pure core ([`crate::core::agent`]) with what happens, and has a
//! [`Runtime`] and the API carry out what comes of it. One agent can be that of many nodes, which
//! then share its look at the mirror, its lease and its heartbeats, and nothing else.
//!
//! Pods come from the mirror, time from the clock, everything else from tasks that carry effects
//! out. What concerns one pod's runtime is carried out in its order, by a task of that pod's;
//! probes, hooks, statuses and Events go their own ways. While the agent has no lease, everything
//! is killed and nothing is begun.

mod actions;
mod house;
mod ports;
pub(crate) mod process;
pub(crate) mod registration;
mod routes;
pub(crate) mod runtime;
pub(crate) mod simulated;
mod statuses;
mod volumes;
mod works;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_control::api::ControlApi;
use atoll_world::{clock, task, watch};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::mpsc;

pub(crate) use self::registration::{Machine, NODE_ID, SIMULATED};
use self::{house::House, ports::Ports, runtime::Runtime, statuses::Statuses};
use super::{
    events::Events,
    execute::Executor,
    heartbeat::{Heart, Lease},
    mirror::{Changed, Follower, Mirror},
    store::Store,
};
use crate::core::{
    agent::{Effect, Input, Node, PodEvent, PodId},
    controllers::world::{Event, View as _},
    kinds, object,
};

/// So many things that happened wait to be looked at.
const INPUTS_MAX: usize = 4_096;
/// How long the mirror may take to have what is wanted now, before it is asked again.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// How long to wait when a node can't be registered.
const REST: Duration = Duration::from_millis(500);
/// So many nodes are registered at a time.
const REGISTERING_MAX: usize = 64;

/// What happened on which node.
type Told = (Arc<Node>, Input);

/// Starts the agent of some nodes; it runs as long as this process does.
pub(crate) fn start<C: ControlApi, R: Runtime>(
    mirror: Mirror,
    executor: Executor<C>,
    heart: Heart<C>,
    nodes: Vec<(Machine, R)>,
) {
    task::spawn(async move {
        let (lease, leases) = watch::channel(None);
        let runtimes = nodes.iter().map(|(_, runtime)| runtime.clone()).collect();
        let names = heart.names.clone();
        let mut beating = Some((heart, runtimes, lease));
        let mut registered = Vec::new();
        let mut registering = stream::iter(nodes)
            .map(|(machine, runtime)| {
                let objects = &executor.objects;
                async move { (register(objects, machine).await, runtime) }
            })
            .buffer_unordered(REGISTERING_MAX);
        while let Some((machine, runtime)) = registering.next().await {
            // The leader hears of each soon enough, however many are to come.
            names.lock().push(machine.name.clone());
            if !machine.is_simulated() {
                let keeping = routes::keep(mirror.clone(), machine.name.clone(), runtime.clone());
                task::spawn(keeping);
            }
            if let Some((heart, runtimes, lease)) = beating.take() {
                task::spawn(beat(heart, runtimes, lease));
            }
            registered.push((machine, runtime));
        }
        drop(registering);
        match &registered[..] {
            [(machine, _)] => tracing::info!(name = machine.name, "pods may run on this node"),
            all => tracing::info!(nodes = all.len(), "pods may run on these nodes"),
        }
        let machines = registered.iter().map(|(machine, _)| machine.clone());
        task::spawn(registration::keep(
            mirror.clone(),
            executor.objects.clone(),
            machines.collect(),
        ));
        run(mirror, executor, registered, leases).await;
    });
}

/// Registers a node, sooner or later.
async fn register<C: ControlApi>(
    objects: &super::objects::Objects<C>,
    machine: Machine,
) -> Machine {
    loop {
        match registration::register(objects, &machine).await {
            Ok(registered) => return registered,
            Err(failure) => {
                tracing::debug!(%failure, "this node is not registered for pods yet");
                clock::sleep(REST).await;
            }
        }
    }
}

/// Renews the lease as long as the leader answers.
async fn beat<C: ControlApi, R: Runtime>(
    heart: Heart<C>,
    runtimes: Vec<R>,
    lease: watch::Sender<Option<Lease>>,
) {
    loop {
        let had = *lease.borrow();
        let (now, wait) = heart.beat(&runtimes, had).await;
        if now.is_some() {
            lease.send_replace(now);
        }
        clock::sleep(wait).await;
    }
}

async fn run<C: ControlApi, R: Runtime>(
    mirror: Mirror,
    executor: Executor<C>,
    nodes: Vec<(Machine, R)>,
    mut leases: watch::Receiver<Option<Lease>>,
) {
    let (sender, mut inputs) = mpsc::channel(INPUTS_MAX);
    let mut houses = BTreeMap::new();
    for (machine, runtime) in nodes {
        let house = House::open(&machine, runtime, sender.clone(), mirror.clone()).await;
        houses.insert(machine.name, house);
    }
    let mut agent = Agent {
        houses,
        due: BTreeSet::new(),
        statuses: Statuses::new(executor.objects.clone(), mirror.clone()),
        events: executor.events.clone(),
        ports: Ports::new(executor.objects.clone()),
        bound: BTreeMap::new(),
        lease: None,
        is_fenced: false,
        follower: mirror.follower(),
    };
    let mut news = mirror.news();
    loop {
        let lease = *leases.borrow_and_update();
        let wakeup = agent.wakeup();
        if agent.lease.is_some() && agent.lease != lease.map(|it| it.number) {
            // It had none for a while, and others may have run its pods.
            agent.fence();
        }
        if let Some(lease) = lease.filter(|it| agent.lease.is_none() && it.is_held()) {
            // What this node knew when it had its last lease may be old.
            let store = &executor.objects.store;
            let caught_up = clock::timeout(CATCH_UP_MAX, catch_up(&mirror, store)).await;
            if caught_up.is_ok_and(|it| it) && lease.is_held() {
                agent.unfence(&mirror, lease.number);
            }
        }
        tokio::select! {
            biased;
            () = ends(lease), if agent.lease.is_some() => {
                tracing::warn!("the leader has not answered in time: this node's pods are stopped, others may run them now");
                agent.fence();
            }
            changed = leases.changed(), if agent.lease.is_none() => {
                if changed.is_err() {
                    return;
                }
            }
            Some((node, input)) = inputs.recv() => agent.handle(&node.name, input),
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                agent.look(&mirror);
            }
            () = clock::sleep(wakeup) => agent.tick(),
        }
    }
}

/// Waits until the mirror has all that was written before.
async fn catch_up<C: ControlApi>(mirror: &Mirror, store: &Store<C>) -> bool {
    match store.revision().await {
        Ok(revision) => {
            mirror.reaches(revision).await;
            true
        }
        Err(failure) => {
            tracing::debug!(%failure, "pods wait until it is known what is wanted");
            false
        }
    }
}

async fn ends(lease: Option<Lease>) {
    match lease {
        Some(lease) => lease.ends().await,
        None => std::future::pending().await,
    }
}

struct Agent<C: ControlApi, R: Runtime> {
    /// By the Node's name.
    houses: BTreeMap<String, House<R>>,
    /// When which of them has something to do although nothing happens.
    due: BTreeSet<(u64, String)>,
    statuses: Statuses<C>,
    events: Events<C>,
    ports: Ports<C>,
    /// What is known to be bound here, by namespace and name: the node, and the uid.
    bound: BTreeMap<(String, String), (String, String)>,
    /// The number of the lease that it runs under.
    lease: Option<u64>,
    is_fenced: bool,
    /// What of the mirror was looked at.
    follower: Follower,
}

impl<C: ControlApi, R: Runtime> Agent<C, R> {
    /// How long nothing is due.
    fn wakeup(&self) -> Duration {
        /// The core's clock is the wall's, which may be set.
        const WAKEUP_MAX: Duration = Duration::from_secs(1);
        let Some((at_ms, _)) = self.due.first() else {
            return WAKEUP_MAX;
        };
        let wait = at_ms.saturating_sub(clock::wall_ms());
        Duration::from_millis(wait).min(WAKEUP_MAX)
    }

    /// Time has passed.
    fn tick(&mut self) {
        let now_ms = clock::wall_ms();
        let due = self.due.iter().take_while(|(at_ms, _)| *at_ms <= now_ms);
        let due: Vec<String> = due.map(|(_, node)| node.clone()).collect();
        for node in due {
            self.handle(&node, Input::Tick);
        }
    }

    fn names(&self) -> Vec<String> {
        self.houses.keys().cloned().collect()
    }

    fn fence(&mut self) {
        self.lease = None;
        self.is_fenced = true;
        self.statuses.give_up();
        for node in self.names() {
            self.handle(&node, Input::Fence);
        }
    }

    /// Programs that were there before the agent was started are not killed for its sake: their
    /// shims look at the lease themselves.
    fn unfence(&mut self, mirror: &Mirror, number: u64) {
        self.lease = Some(number);
        if std::mem::take(&mut self.is_fenced) {
            for node in self.names() {
                self.handle(&node, Input::Unfence);
            }
        }
        self.snapshot(mirror);
    }

    /// Everything that is bound here, as the mirror has it.
    fn snapshot(&mut self, mirror: &Mirror) {
        let look = mirror.look();
        let nodes = self.names().into_iter();
        let all: Vec<(String, Vec<Arc<Value>>)> = nodes
            .map(|node| {
                let pods = look.on_node(&node);
                (node, pods)
            })
            .collect();
        self.follower.has_looked(look.standing());
        drop(look);
        self.bound.clear();
        for (node, pods) in all {
            let pods = pods.into_iter();
            let running: Vec<Arc<Value>> = pods.filter_map(|pod| self.ports.running(pod)).collect();
            self.bound.extend(running.iter().map(|pod| {
                let uid = object::uid(pod).to_owned();
                (key(pod), (node.clone(), uid))
            }));
            self.handle(&node, Input::Snapshot(running));
        }
    }

    /// Which of the agent's nodes a pod is bound to.
    fn place(&self, pod: &Value) -> Option<(String, String)> {
        let node = pod["spec"]["nodeName"].as_str()?;
        let is_here = self.houses.contains_key(node);
        is_here.then(|| (node.to_owned(), object::uid(pod).to_owned()))
    }

    /// What has changed in the mirror.
    fn look(&mut self, mirror: &Mirror) {
        let Some(changes) = self.follower.changes() else {
            // Without a lease nothing may begin. With the next one, everything is looked at.
            if self.lease.is_some() {
                self.snapshot(mirror);
            }
            return;
        };
        for Changed { name, old, new } in changes {
            if name.kind != &kinds::PODS {
                continue;
            }
            let key = (name.namespace, name.name);
            let place = new.as_ref().and_then(|pod| self.place(pod));
            let known = self.bound.get(&key).cloned();
            let known = known.or_else(|| self.place(old.as_deref()?));
            if let Some(known) = known
                && place.as_ref() != Some(&known)
            {
                self.bound.remove(&key);
                let (node, uid) = known;
                self.handle(&node, Input::Removed { uid });
            }
            let Some(place) = place else { continue };
            if let Some(pod) = new.and_then(|pod| self.ports.running(pod)) {
                let node = place.0.clone();
                self.bound.insert(key, place);
                self.handle(&node, Input::Changed(pod));
            }
        }
    }

    fn handle(&mut self, node: &str, input: Input) {
        let Some(house) = self.houses.get_mut(node) else {
            return;
        };
        for effect in house.pods.handle(clock::wall_ms(), input) {
            match effect {
                Effect::WriteStatus { pod, status } => self.statuses.write(pod, status),
                Effect::Delete { pod } => self.statuses.delete(pod),
                Effect::Event(event) => self.events.tell(told(event)),
                effect => house.works.carry_out(effect),
            }
        }
        let due_ms = house.pods.next_wakeup_ms();
        if due_ms != house.due_ms {
            let before = std::mem::replace(&mut house.due_ms, due_ms);
            if let Some(at_ms) = before {
                self.due.remove(&(at_ms, node.to_owned()));
            }
            if let Some(at_ms) = due_ms {
                self.due.insert((at_ms, node.to_owned()));
            }
        }
    }
}

fn key(pod: &Value) -> (String, String) {
    (
        object::namespace(pod).to_owned(),
        object::name(pod).to_owned(),
    )
}

fn told(event: PodEvent) -> Event {
    let PodId {
        uid,
        namespace,
        name,
    } = event.pod;
    let mut about = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name, "uid": uid,
    });
    if !event.field_path.is_empty() {
        about["fieldPath"] = event.field_path.into();
    }
    Event {
        about,
        component: "agent",
        is_warning: event.is_warning,
        reason: event.reason.into(),
        message: event.message,
    }
}
