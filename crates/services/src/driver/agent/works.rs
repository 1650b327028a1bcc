//! Carries out what the core wants done to containers. Each pod has a task that does it in order;
//! probes, hooks and kills do not wait for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_world::{clock, net, task};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Told, actions,
    runtime::{Objects, Runtime},
};
use crate::{
    core::{
        agent::{
            Action, AttemptId, Effect, Input, Node, StartFailure,
            environment::{self, Surroundings},
        },
        controllers::world::View as _,
        kinds, object, pod_network, versions,
    },
    driver::{images::Image, mirror::Mirror},
};

/// A hook without a limit of its own is given up after that.
const HOOK_MAX: Duration = Duration::from_secs(3_600);

/// Who carries out effects.
pub(super) struct Works<R> {
    shared: Shared<R>,
    /// The tasks of pods.
    lines: BTreeMap<String, mpsc::UnboundedSender<Effect>>,
}

#[derive(Clone)]
struct Shared<R> {
    runtime: R,
    inputs: mpsc::Sender<Told>,
    mirror: Mirror,
    node: Arc<Node>,
    /// Attempts that are being started, and those that must not be: a kill may come before the
    /// start that it is about.
    attempts: Arc<Mutex<Attempts>>,
}

#[derive(Default)]
struct Attempts {
    starting: BTreeSet<AttemptId>,
    killed: BTreeSet<AttemptId>,
}

impl<R: Runtime> Works<R> {
    pub(super) fn new(
        runtime: R,
        inputs: mpsc::Sender<Told>,
        mirror: Mirror,
        node: Arc<Node>,
    ) -> Self {
        let shared = Shared {
            runtime,
            inputs,
            mirror,
            node,
            attempts: Arc::default(),
        };
        Works {
            shared,
            lines: BTreeMap::new(),
        }
    }

    /// Tells when an attempt has ended that was there before.
    pub(super) fn watch(&self, id: AttemptId) {
        let shared = self.shared.clone();
        task::spawn(async move { shared.wait_for(id).await });
    }

    /// Carries out an effect, soon.
    pub(super) fn carry_out(&mut self, effect: Effect) {
        let shared = self.shared.clone();
        match effect {
            Effect::Probe {
                id,
                kind,
                serial,
                action,
                timeout_ms,
            } => {
                task::spawn(async move {
                    let limit = Duration::from_millis(timeout_ms);
                    let outcome = shared.act(&id, action, limit).await;
                    shared
                        .tell(Input::Probed {
                            id,
                            kind,
                            serial,
                            outcome,
                        })
                        .await;
                });
            }
            Effect::RunHook {
                id,
                hook,
                action,
                timeout_ms,
            } => {
                task::spawn(async move {
                    let limit = timeout_ms.map_or(HOOK_MAX, Duration::from_millis);
                    let outcome = shared.act(&id, action, limit).await;
                    shared.tell(Input::HookDone { id, hook, outcome }).await;
                });
            }
            Effect::Kill { id } => {
                task::spawn(async move {
                    let is_starting = {
                        let mut attempts = shared.attempts.lock();
                        attempts.killed.insert(id.clone());
                        attempts.starting.contains(&id)
                    };
                    // Whoever starts it ends it at once, and tells.
                    if !is_starting && shared.runtime.kill(id.clone()).await {
                        let message = "it was ended before it had started".to_owned();
                        let failure = StartFailure::Create;
                        shared
                            .tell(Input::StartFailed {
                                id,
                                failure,
                                message,
                            })
                            .await;
                    }
                });
            }
            effect => {
                let Some(uid) = uid(&effect) else { return };
                let is_last = matches!(effect, Effect::Cleanup { .. });
                let line = self.lines.entry(uid.clone());
                let line = line.or_insert_with(|| {
                    // The core has a few effects of one pod under way at a time.
                    let (sender, mut effects) = mpsc::unbounded_channel();
                    task::spawn(async move {
                        while let Some(effect) = effects.recv().await {
                            shared.in_order(effect).await;
                        }
                    });
                    sender
                });
                // The task ends only when the line is dropped here.
                let _ = line.send(effect);
                if is_last {
                    self.lines.remove(&uid);
                }
            }
        }
    }
}

fn uid(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Prepare { uid, .. } | Effect::Cleanup { uid } => Some(uid.clone()),
        Effect::Start { id, .. } | Effect::Stop { id, .. } => Some(id.uid.clone()),
        _ => None,
    }
}

impl<R: Runtime> Shared<R> {
    async fn tell(&self, input: Input) {
        // Nobody listens when the node stops.
        let _ = self.inputs.send((self.node.clone(), input)).await;
    }

    async fn in_order(&self, effect: Effect) {
        match effect {
            Effect::Prepare { uid, pod } => {
                let objects = self.objects(&pod);
                let range = self.range();
                let input = match self.runtime.prepare(pod, range, objects).await {
                    Ok(ips) => Input::Prepared { uid, ips },
                    Err(failure) => Input::PrepareFailed {
                        uid,
                        reason: failure.reason.to_owned(),
                        message: failure.message,
                    },
                };
                self.tell(input).await;
            }
            Effect::Start { id, pod, ips } => self.start(id, pod, &ips).await,
            Effect::Stop { id, signal } => self.runtime.stop(id, signal).await,
            Effect::Cleanup { uid } => {
                self.runtime.cleanup(uid.clone()).await;
                // Not before: a start that waited for its image stands in the line.
                let mut attempts = self.attempts.lock();
                attempts.killed.retain(|id| id.uid != uid);
            }
            other => unreachable!("{other:?} has a way of its own"),
        }
    }

    async fn start(&self, id: AttemptId, pod: Arc<Value>, ips: &[String]) {
        match self.try_start(&id, pod, ips).await {
            Ok((at_ms, image_id)) => {
                self.tell(Input::Started {
                    id: id.clone(),
                    at_ms,
                    image_id,
                })
                .await;
                let shared = self.clone();
                task::spawn(async move { shared.wait_for(id).await });
            }
            Err((failure, message)) => {
                self.tell(Input::StartFailed {
                    id,
                    failure,
                    message,
                })
                .await;
            }
        }
    }

    /// Tells when an attempt has ended.
    async fn wait_for(&self, id: AttemptId) {
        let exit = self.runtime.ended(id.clone()).await;
        self.tell(Input::Exited { id, exit }).await;
    }

    async fn try_start(
        &self,
        id: &AttemptId,
        pod: Arc<Value>,
        ips: &[String],
    ) -> Result<(u64, Option<String>), (StartFailure, String)> {
        let objects = self.objects(&pod);
        let image = self
            .runtime
            .image(pod.clone(), id.container.clone(), objects.clone());
        let image = image
            .await
            .map_err(|failure| (StartFailure::Image(failure.reason), failure.message))?;
        let needs_port = environment::needs_port(&pod, &id.container);
        let assigned_port = match needs_port {
            true => net::free_ports(1)
                .await
                .ok()
                .and_then(|found| found.first().copied()),
            false => None,
        };
        let services = {
            let look = self.mirror.look();
            look.list(&kinds::SERVICES, Some(object::namespace(&pod)))
        };
        let run = {
            let around = Surroundings {
                node: &self.node,
                ips,
                lookup: &*objects,
                services: &services,
                image: image.as_ref().map(|image| &*image.config),
                assigned_port,
            };
            environment::run(&pod, &id.container, &around)
        };
        let run = run.map_err(|error| (StartFailure::Config, error.to_string()))?;
        {
            let mut attempts = self.attempts.lock();
            if attempts.killed.contains(id) {
                let message = "it was ended before it had started".to_owned();
                return Err((StartFailure::Create, message));
            }
            attempts.starting.insert(id.clone());
        }
        let image_id = image.as_ref().map(Image::id);
        let started = self.runtime.start(id.clone(), pod, run, image).await;
        let is_killed = {
            let mut attempts = self.attempts.lock();
            attempts.starting.remove(id);
            attempts.killed.contains(id)
        };
        if is_killed && started.is_ok() {
            self.runtime.kill(id.clone()).await;
        }
        started.map(|at_ms| (at_ms, image_id))
    }

    /// The addresses that this node's pods may have, as far as is known.
    fn range(&self) -> Option<Ipv4Net> {
        let look = self.mirror.look();
        let node = look.get(&kinds::NODES, "", &self.node.name)?;
        pod_network::range(&node)
    }

    /// Finds what a pod may refer to.
    fn objects(&self, pod: &Value) -> Objects {
        let (mirror, namespace) = (self.mirror.clone(), object::namespace(pod).to_owned());
        Arc::new(move |kind, name| {
            let kind = versions::kept_by_name("v1", kind)?;
            mirror.look().get(kind, &namespace, name)
        })
    }

    async fn act(&self, id: &AttemptId, action: Action, limit: Duration) -> Result<(), String> {
        let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        match action {
            Action::Exec { argv } => self.runtime.exec(id.clone(), argv, ms).await,
            other => {
                let acted = clock::timeout(limit, actions::act(other)).await;
                acted.unwrap_or_else(|_| Err(format!("no answer within {ms} ms")))
            }
        }
    }
}
