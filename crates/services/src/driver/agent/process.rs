//! The driver `process`: containers are processes of the machine, each under a shim that outlives
//! this one ([`atoll_world::workload`]).
//!
//! A pod's folder is `UID/`, below the node's folder of workloads:
//!
//! | path | holds |
//! |---|---|
//! | `containers/NAME/NUMBER/` | one attempt: its spec, state, exit and log |
//! | `work/NAME/` | where the container's program starts; volumes are linked from there |
//! | `volumes/NAME/` | what the pod's volumes hold |
//! | `network/` | the address of a pod that has one of its own |

mod exits;
mod network;
mod places;
mod sandbox;
mod sessions;
mod spec;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use atoll_world::{
    clock,
    net::Stream,
    task, tree,
    workload::{self, Cgroups, Launcher, State, lease, log},
};
use bytes::Bytes;
use ipnet::Ipv4Net;
use serde_json::Value;

use self::network::Network;
pub(crate) use self::{network::NetworkSetup, sandbox::Resolver};
pub(super) use self::{places::Places, spec::signal};
use super::{
    runtime::{LogPiece, Objects, PrepareFailure, Runtime, Until, Used},
    volumes,
};
use crate::{
    api::{Ends, LogQuery},
    core::{
        agent::{AttemptId, Exit, Found, StartFailure, environment::ContainerRun},
        image::{self, ImageFailure, PullPolicy},
        object, pod_network,
        status::{Failure, Reason},
        streams::{FromContainer, ToContainer, options::ExecOptions},
    },
    driver::images::{Image, Images, UsedImages},
};

/// How often it is looked whether a program has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(150);
/// So many attempts of a container are kept: the present one and the one before.
const ATTEMPTS_KEPT: u32 = 2;

/// Runs containers as processes. Clones are the same.
#[derive(Clone)]
pub(crate) struct Process(Arc<Inner>);

struct Inner {
    places: Places,
    lease: PathBuf,
    launcher: Launcher,
    cgroups: Cgroups,
    images: Images,
    resolver: Resolver,
    network: Network,
}

/// What containers of images are given beside their pod's.
pub(crate) struct Around {
    pub(crate) images: Images,
    pub(crate) resolver: Resolver,
    pub(crate) network: NetworkSetup,
}

impl Process {
    /// Below a folder of the node's, which nobody else uses; the file `lease` tells how long
    /// programs may run. `launcher` starts a shim.
    pub(crate) fn new(
        folder: PathBuf,
        lease: PathBuf,
        launcher: Launcher,
        cgroups: Cgroups,
        around: Around,
    ) -> Self {
        Process(Arc::new(Inner {
            places: Places::new(folder),
            lease,
            launcher,
            cgroups,
            images: around.images,
            resolver: around.resolver,
            network: Network::new(around.network),
        }))
    }

    /// The folders of images that containers were started with, which are there as long as their
    /// pods are.
    pub(crate) fn used_images(&self) -> UsedImages {
        let inner = self.0.clone();
        Arc::new(move || exits::used_images(&inner.places))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> T {
        let inner = self.0.clone();
        task::blocking(move || run(&inner)).await
    }
}

impl Runtime for Process {
    async fn renew(&self, until: Until) -> Result<(), String> {
        let renewed = self.blocking(move |inner| lease::renew_until(&inner.lease, until.boot));
        renewed.await.map_err(|error| error.to_string())
    }

    async fn found(&self) -> Vec<Found> {
        self.blocking(|inner| exits::found(&inner.places)).await
    }

    async fn prepare(
        &self,
        pod: Arc<Value>,
        range: Option<Ipv4Net>,
        objects: Objects,
    ) -> Result<Vec<String>, PrepareFailure> {
        self.blocking(move |inner| {
            volumes::make(&inner.places, &pod, &*objects)?;
            if !pod_network::has_own(&pod) {
                return Ok(Vec::new());
            }
            let uid = object::uid(&pod);
            let address = inner.network.join(&inner.places, uid, range)?;
            Ok(vec![address.to_string()])
        })
        .await
    }

    async fn route(
        &self,
        own: Option<Ipv4Net>,
        ranges: BTreeMap<Ipv4Net, Ipv4Addr>,
    ) -> Result<(), String> {
        self.blocking(move |inner| inner.network.route(own, &ranges))
            .await
    }

    async fn connect(&self, pod: Arc<Value>, port: u16) -> Result<Stream, String> {
        network::connect(&self.0.places, &pod, port).await
    }

    async fn image(
        &self,
        pod: Arc<Value>,
        container: String,
        objects: Objects,
    ) -> Result<Option<Image>, ImageFailure> {
        let container = volumes::container(&pod, &container);
        let Some(name) = image::of_container(container) else {
            return Ok(None);
        };
        let policy = container["imagePullPolicy"].as_str().unwrap_or_default();
        let keyring = sandbox::keyring(&pod, &*objects);
        let images = &self.0.images;
        let image = images.ensure(name, PullPolicy::of(policy), &keyring).await;
        image.map(Some)
    }

    async fn start(
        &self,
        id: AttemptId,
        pod: Arc<Value>,
        run: ContainerRun,
        image: Option<Image>,
    ) -> Result<u64, (StartFailure, String)> {
        self.blocking(move |inner| inner.start(&id, &pod, &run, image.as_ref()))
            .await
    }

    async fn ended(&self, id: AttemptId) -> Exit {
        loop {
            let looked = id.clone();
            let exit = self
                .blocking(move |inner| exits::exit(&inner.places, &looked))
                .await;
            if let Some(exit) = exit {
                return exit;
            }
            clock::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn stop(&self, id: AttemptId, signal: String) {
        let sent = self.blocking(move |inner| {
            let dir = inner.places.attempt(&id);
            let signal = match signal.is_empty() {
                true => sandbox::stop_signal(&inner.places, &id),
                false => signal,
            };
            workload::signal(&dir, spec::signal(&signal)).map_err(|error| (id, error))
        });
        if let Err((id, error)) = sent.await {
            tracing::warn!(%id, %error, "a container was not asked to end");
        }
    }

    async fn kill(&self, id: AttemptId) -> bool {
        self.blocking(move |inner| {
            let dir = inner.places.attempt(&id);
            if let Err(error) = workload::kill(&dir) {
                tracing::warn!(%id, %error, "a container has not ended yet");
            }
            matches!(workload::look(&dir), Ok(State::NotStarted))
        })
        .await
    }

    async fn exec(&self, id: AttemptId, argv: Vec<String>, timeout_ms: u64) -> Result<(), String> {
        let dir = self.0.places.attempt(&id);
        let limit = Duration::from_millis(timeout_ms);
        let outcome = clock::timeout(limit, sessions::probe(&dir, argv)).await;
        outcome.unwrap_or_else(|_| Err("it did not end in time".to_owned()))
    }

    async fn process(
        &self,
        uid: String,
        options: ExecOptions,
    ) -> Result<Ends<ToContainer, FromContainer>, Failure> {
        let container = options.container.clone();
        let latest = move |inner: &Inner| {
            let number = inner.places.numbers(&uid, &container).pop();
            number.map(|number| {
                inner.places.attempt(&AttemptId {
                    uid,
                    container,
                    number,
                })
            })
        };
        match self.blocking(latest).await {
            Some(dir) => sessions::begin(&dir, options).await,
            None => Err(Failure::new(
                Reason::NotFound,
                format!("container not found ({:?})", options.container),
            )),
        }
    }

    async fn used(&self) -> Vec<(AttemptId, Used)> {
        self.blocking(|inner| {
            let ids = inner.places.latest();
            let dirs: Vec<PathBuf> = ids.iter().map(|id| inner.places.attempt(id)).collect();
            let usages = workload::usages(dirs.iter().map(PathBuf::as_path));
            let used = ids.into_iter().zip(usages);
            used.filter_map(|(id, usage)| {
                let usage = usage?;
                let used = Used {
                    cpu_ns: usage.cpu_ns,
                    memory_bytes: usage.memory_bytes,
                };
                Some((id, used))
            })
            .collect()
        })
        .await
    }

    async fn cleanup(&self, uid: String) {
        let removed = self.blocking(move |inner| inner.cleanup(&uid));
        if let Err(error) = removed.await {
            tracing::warn!(%error, "a pod's folder is left");
        }
    }

    async fn log(
        &self,
        uid: String,
        query: LogQuery,
        position: String,
    ) -> Result<LogPiece, Failure> {
        self.blocking(move |inner| inner.log(&uid, &query, &position))
            .await
    }
}

impl Inner {
    fn start(
        &self,
        id: &AttemptId,
        pod: &Value,
        run: &ContainerRun,
        image: Option<&Image>,
    ) -> Result<u64, (StartFailure, String)> {
        let dir = self.places.attempt(id);
        self.forget_old(id);
        let create = |error: String| (StartFailure::Create, error);
        let sandbox = image.map(|image| sandbox::of(&self.places, &self.resolver, id, pod, image));
        let sandbox = sandbox.transpose().map_err(create)?;
        let spec = spec::of(&self.places, &self.cgroups, id, pod, run, sandbox);
        let mut spec = spec.map_err(create)?;
        spec.lease = Some(self.lease.clone());
        match workload::start(&self.launcher, &dir, &spec) {
            Ok(State::Running(running)) => Ok(running.started_ms),
            Ok(State::Exited(exited)) if exited.started_ms.is_none() => {
                Err((StartFailure::Start, exited.message))
            }
            Ok(State::Exited(exited)) => Ok(exited.started_ms.unwrap_or(exited.finished_ms)),
            Ok(State::Lost(lost)) => Err((StartFailure::Start, lost.message)),
            Ok(State::Starting | State::NotStarted) => {
                given_up(id, &dir, "it did not start in time".to_owned())
            }
            Err(error) => given_up(id, &dir, error.to_string()),
        }
    }

    /// Attempts before the one before go.
    fn forget_old(&self, id: &AttemptId) {
        let numbers = self.places.numbers(&id.uid, &id.container);
        for number in numbers {
            if number + ATTEMPTS_KEPT <= id.number {
                let old = AttemptId {
                    number,
                    ..id.clone()
                };
                if let Err(error) = workload::remove(&self.places.attempt(&old)) {
                    tracing::debug!(id = %old, %error, "an old attempt is left");
                }
            }
        }
    }

    fn cleanup(&self, uid: &str) -> Result<(), String> {
        for id in self.places.attempts_of(uid) {
            let removed = workload::remove(&self.places.attempt(&id));
            removed.map_err(|error| error.to_string())?;
        }
        self.network.leave(&self.places, uid)?;
        tree::remove(&self.places.pod(uid)).map_err(|error| error.to_string())
    }

    fn log(&self, uid: &str, query: &LogQuery, position: &str) -> Result<LogPiece, Failure> {
        let numbers = self.places.numbers(uid, &query.container);
        let number = match query.previous {
            true => numbers.iter().rev().nth(1),
            false => numbers.last(),
        };
        let Some(number) = number else {
            return Err(Failure::bad_request(format!(
                "container {:?} has written nothing here",
                query.container
            )));
        };
        let dir = self.places.attempt(&AttemptId {
            uid: uid.to_owned(),
            container: query.container.clone(),
            number: *number,
        });
        // Asked before it is read, so that what was written last is read, too.
        let is_over = !matches!(
            workload::look(&dir),
            Ok(State::Running(_) | State::Starting)
        );
        let position = match position {
            "" => None,
            text => Some(
                serde_json::from_str(text)
                    .map_err(|_| Failure::bad_request("the position in the log can't be read"))?,
            ),
        };
        let asked = log::LogQuery {
            position,
            tail_lines: query.tail_lines,
            since_ms: query.since_ms,
            limit_bytes: query.limit_bytes,
            timestamps: query.timestamps,
            stream: None,
        };
        let page = log::read(&dir.join("log"), &asked).map_err(|error| {
            Failure::new(
                Reason::InternalError,
                format!("the log can't be read: {error}"),
            )
        })?;
        Ok(LogPiece {
            text: Bytes::from(page.text),
            position: serde_json::to_string(&page.position).unwrap_or_default(),
            more: page.more,
            is_over,
        })
    }
}

/// Sees to it that an attempt does not begin later. One that can't be ended counts as running
/// until it has: another one takes its place after that.
fn given_up(id: &AttemptId, dir: &Path, why: String) -> Result<u64, (StartFailure, String)> {
    match workload::kill(dir) {
        Ok(()) => Err((StartFailure::Create, why)),
        Err(error) => {
            tracing::warn!(%id, %why, %error, "a container has neither started nor ended");
            Ok(clock::wall_ms())
        }
    }
}
