//! The agent of this node: feeds the pure core ([`crate::core::agent`]) with what happens, and has
//! a [`Runtime`] and the API carry out what comes of it.
//!
//! Pods come from the mirror, time from the clock, everything else from tasks that carry effects
//! out. What concerns one pod's runtime is carried out in its order, by a task of that pod's;
//! probes, hooks, statuses and Events go their own ways. While the node has no lease, everything
//! is killed and nothing is begun.

mod actions;
mod ports;
pub(crate) mod process;
mod registration;
pub(crate) mod runtime;
pub(crate) mod simulated;
mod statuses;
mod volumes;
mod works;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

pub(crate) use self::registration::{Machine, NODE_ID};
use self::{ports::Ports, runtime::Runtime, statuses::Statuses, works::Works};
use super::{
    events::Events,
    execute::Executor,
    heartbeat::{Heart, Lease},
    mirror::{Changed, Mirror},
    store::Store,
};
use crate::core::{
    agent::{Effect, Input, PodEvent, PodId, Pods},
    controllers::world::{Event, View as _},
    kinds, object,
};

/// So many things that happened wait to be looked at.
const INPUTS_MAX: usize = 4_096;
/// How long the mirror may take to have what is wanted now, before it is asked again.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// How long to wait when the node can't be registered.
const REST: Duration = Duration::from_millis(500);

/// Starts the agent; it runs as long as the node does.
pub(crate) fn start<C: ControlApi, R: Runtime>(
    mirror: Mirror,
    executor: Executor<C>,
    heart: Heart<C>,
    machine: Machine,
    runtime: R,
) {
    task::spawn(async move {
        let machine = loop {
            match registration::register(&executor.objects, &machine).await {
                Ok(registered) => break registered,
                Err(failure) => {
                    tracing::debug!(%failure, "this node is not registered for pods yet");
                    clock::sleep(REST).await;
                }
            }
        };
        tracing::info!(name = machine.name, "pods may run on this node");
        let heart = Heart {
            name: machine.name.clone(),
            ..heart
        };
        let (lease, leases) = watch::channel(None);
        task::spawn(beat(heart, runtime.clone(), lease));
        task::spawn(registration::keep(
            mirror.clone(),
            executor.objects.clone(),
            machine.clone(),
        ));
        run(mirror, executor, machine, runtime, leases).await;
    });
}

/// Renews the lease as long as the leader answers.
async fn beat<C: ControlApi, R: Runtime>(
    heart: Heart<C>,
    runtime: R,
    lease: watch::Sender<Option<Lease>>,
) {
    loop {
        let had = *lease.borrow();
        let (now, wait) = heart.beat(&runtime, had).await;
        if now.is_some() {
            lease.send_replace(now);
        }
        clock::sleep(wait).await;
    }
}

async fn run<C: ControlApi, R: Runtime>(
    mirror: Mirror,
    executor: Executor<C>,
    machine: Machine,
    runtime: R,
    mut leases: watch::Receiver<Option<Lease>>,
) {
    let (sender, mut inputs) = mpsc::channel(INPUTS_MAX);
    let found = runtime.found().await;
    let node = Arc::new(machine.node());
    let works = Works::new(runtime, sender.clone(), mirror.clone(), node.clone());
    for one in found.iter().filter(|one| one.state.is_ok()) {
        works.watch(one.id.clone());
    }
    let mut agent = Agent {
        pods: Pods::new((*node).clone(), found),
        works,
        statuses: Statuses::new(executor.objects.clone()),
        events: executor.events.clone(),
        ports: Ports::new(executor.objects.clone()),
        name: machine.name.clone(),
        uids: BTreeMap::new(),
        lease: None,
        is_fenced: false,
        seen: 0,
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
            Some(input) = inputs.recv() => agent.handle(input),
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                agent.look(&mirror);
            }
            () = clock::sleep(wakeup) => agent.handle(Input::Tick),
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
    pods: Pods,
    works: Works<R>,
    statuses: Statuses<C>,
    events: Events<C>,
    ports: Ports<C>,
    /// The Node's name.
    name: String,
    /// What is known to be bound here, by namespace and name.
    uids: BTreeMap<(String, String), String>,
    /// The number of the lease that it runs under.
    lease: Option<u64>,
    is_fenced: bool,
    /// So many changes of the mirror were looked at.
    seen: u64,
}

impl<C: ControlApi, R: Runtime> Agent<C, R> {
    /// How long nothing is due.
    fn wakeup(&self) -> Duration {
        /// The core's clock is the wall's, which may be set.
        const WAKEUP_MAX: Duration = Duration::from_secs(1);
        let Some(at_ms) = self.pods.next_wakeup_ms() else {
            return WAKEUP_MAX;
        };
        let wait = at_ms.saturating_sub(clock::wall_ms());
        Duration::from_millis(wait).min(WAKEUP_MAX)
    }

    fn fence(&mut self) {
        self.lease = None;
        self.is_fenced = true;
        self.statuses.give_up();
        self.handle(Input::Fence);
    }

    /// Programs that were there before the agent was started are not killed for its sake: their
    /// shims look at the lease themselves.
    fn unfence(&mut self, mirror: &Mirror, number: u64) {
        self.lease = Some(number);
        if std::mem::take(&mut self.is_fenced) {
            self.handle(Input::Unfence);
        }
        self.snapshot(mirror);
    }

    /// Everything that is bound here, as the mirror has it.
    fn snapshot(&mut self, mirror: &Mirror) {
        let look = mirror.look();
        let all = look.list(&kinds::PODS, None);
        self.seen = look.standing().changes;
        drop(look);
        let bound = all.into_iter().filter(|pod| self.is_bound(pod));
        let bound: Vec<Arc<Value>> = bound.filter_map(|pod| self.ports.running(pod)).collect();
        self.uids = bound
            .iter()
            .map(|pod| (key(pod), object::uid(pod).to_owned()))
            .collect();
        self.handle(Input::Snapshot(bound));
    }

    fn is_bound(&self, pod: &Value) -> bool {
        pod["spec"]["nodeName"] == *self.name
    }

    /// What has changed in the mirror.
    fn look(&mut self, mirror: &Mirror) {
        let (changes, standing) = mirror.changes_since(self.seen);
        let Some(changes) = changes else {
            return self.snapshot(mirror);
        };
        self.seen = standing.changes;
        for Changed { name, old, new } in changes {
            if name.kind != &kinds::PODS {
                continue;
            }
            let new = new.filter(|pod| self.is_bound(pod));
            let uid = new.as_ref().map(|pod| object::uid(pod).to_owned());
            let known = self.uids.get(&(name.namespace.clone(), name.name.clone()));
            let known = known.cloned().or_else(|| {
                let old = old.filter(|pod| self.is_bound(pod))?;
                Some(object::uid(&old).to_owned())
            });
            if let Some(known) = known
                && uid.as_ref() != Some(&known)
            {
                self.uids
                    .remove(&(name.namespace.clone(), name.name.clone()));
                self.handle(Input::Removed { uid: known });
            }
            let running = new.and_then(|pod| self.ports.running(pod));
            if let (Some(pod), Some(uid)) = (running, uid) {
                self.uids.insert((name.namespace, name.name), uid);
                self.handle(Input::Changed(pod));
            }
        }
    }

    fn handle(&mut self, input: Input) {
        for effect in self.pods.handle(clock::wall_ms(), input) {
            match effect {
                Effect::WriteStatus { pod, status } => self.statuses.write(pod, status),
                Effect::Delete { pod } => self.statuses.delete(pod),
                Effect::Event(event) => self.events.tell(told(event)),
                effect => self.works.carry_out(effect),
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
