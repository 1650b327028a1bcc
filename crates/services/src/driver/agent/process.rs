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
//! | `exec/…/` | programs that probes and hooks run |

mod exits;
mod places;
mod spec;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_world::{
    clock, task, tree,
    workload::{self, Cgroups, Launcher, State, log},
};
use bytes::Bytes;
use serde_json::Value;

pub(super) use self::places::Places;
use super::{
    runtime::{LogPiece, Objects, PrepareFailure, Runtime},
    volumes,
};
use crate::{
    api::LogQuery,
    core::{
        agent::{AttemptId, Exit, Found, StartFailure, environment::ContainerRun},
        status::{Failure, Reason},
    },
};

/// How often it is looked whether a program has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(150);
/// How often a program is looked at that a probe runs.
const EXEC_INTERVAL: Duration = Duration::from_millis(20);
/// So many bytes of what such a program says are told.
const EXEC_SAID_BYTES_MAX: u64 = 1_024;
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
    execs: AtomicU64,
}

impl Process {
    /// Below a folder of the node's, which nobody else uses; the file `lease` tells how long
    /// programs may run. `launcher` starts a shim.
    pub(crate) fn new(
        folder: PathBuf,
        lease: PathBuf,
        launcher: Launcher,
        cgroups: Cgroups,
    ) -> Self {
        Process(Arc::new(Inner {
            places: Places::new(folder),
            lease,
            launcher,
            cgroups,
            // Names of before are not met again.
            execs: AtomicU64::new(clock::wall_ms()),
        }))
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
    async fn found(&self) -> Vec<Found> {
        self.blocking(|inner| exits::found(&inner.places)).await
    }

    async fn prepare(
        &self,
        pod: Arc<Value>,
        objects: Objects,
    ) -> Result<Vec<String>, PrepareFailure> {
        self.blocking(move |inner| volumes::make(&inner.places, &pod, &*objects))
            .await?;
        // The node's.
        Ok(Vec::new())
    }

    fn has_image(&self, image: &str) -> Result<(), String> {
        match image {
            "" | "host" => Ok(()),
            image => Err(format!(
                "image {image:?} is not here: programs of this machine run without an image, or with the image \"host\""
            )),
        }
    }

    async fn start(
        &self,
        id: AttemptId,
        pod: Arc<Value>,
        run: ContainerRun,
    ) -> Result<u64, (StartFailure, String)> {
        self.blocking(move |inner| inner.start(&id, &pod, &run))
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
        let number = spec::signal(&signal);
        let sent = self.blocking(move |inner| {
            let dir = inner.places.attempt(&id);
            workload::signal(&dir, number).map_err(|error| (id, error))
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
        let number = self.0.execs.fetch_add(1, Ordering::Relaxed);
        let dir = self.0.places.exec(&id, number);
        let until = clock::now() + Duration::from_millis(timeout_ms);
        let begun = dir.clone();
        let started = self
            .blocking(move |inner| inner.exec(&id, &begun, argv))
            .await;
        let outcome = match started {
            Ok(()) => self.exec_ends(&dir, until).await,
            Err(error) => Err(error),
        };
        self.blocking(move |_| {
            // It may still be there if it did not end in time.
            let removed = workload::kill(&dir).and_then(|()| workload::remove(&dir));
            if let Err(error) = removed {
                tracing::warn!(%error, "what a probe or hook has run is left");
            }
        })
        .await;
        outcome
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

impl Process {
    async fn exec_ends(&self, dir: &std::path::Path, until: clock::Instant) -> Result<(), String> {
        loop {
            let looked = dir.to_path_buf();
            let state = self.blocking(move |_| workload::look(&looked)).await;
            match state.map_err(|error| error.to_string())? {
                State::Exited(exited) if exited.code == 0 => return Ok(()),
                State::Exited(exited) => {
                    let said = dir.to_path_buf();
                    let said = self.blocking(move |_| said_in(&said)).await;
                    return Err(format!(
                        "exit code {}: {}{said}",
                        exited.code, exited.message
                    ));
                }
                State::Lost(lost) => return Err(lost.message),
                _ if clock::now() >= until => return Err("it did not end in time".to_owned()),
                _ => clock::sleep(EXEC_INTERVAL).await,
            }
        }
    }
}

/// What a program has said, as far as it is told.
fn said_in(dir: &std::path::Path) -> String {
    let query = log::LogQuery {
        limit_bytes: Some(EXEC_SAID_BYTES_MAX),
        ..log::LogQuery::default()
    };
    let page = log::read(&dir.join("log"), &query);
    let text = page.map(|page| page.text).unwrap_or_default();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

impl Inner {
    fn start(
        &self,
        id: &AttemptId,
        pod: &Value,
        run: &ContainerRun,
    ) -> Result<u64, (StartFailure, String)> {
        let dir = self.places.attempt(id);
        self.forget_old(id);
        let create = |error: String| (StartFailure::Create, error);
        let mut spec = spec::of(&self.places, &self.cgroups, id, pod, run).map_err(create)?;
        spec.lease = Some(self.lease.clone());
        let started = workload::start(&self.launcher, &dir, &spec);
        match started.map_err(|error| create(error.to_string()))? {
            State::Running(running) => Ok(running.started_ms),
            State::Exited(exited) if exited.started_ms.is_none() => {
                Err((StartFailure::Start, exited.message))
            }
            State::Exited(exited) => Ok(exited.started_ms.unwrap_or(exited.finished_ms)),
            State::Lost(lost) => Err((StartFailure::Start, lost.message)),
            State::Starting | State::NotStarted => {
                // It must not begin later.
                let killed = workload::kill(&dir);
                let why = killed.err().map(|error| error.to_string());
                Err(create(
                    why.unwrap_or_else(|| "it did not start in time".to_owned()),
                ))
            }
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

    fn exec(&self, id: &AttemptId, dir: &std::path::Path, argv: Vec<String>) -> Result<(), String> {
        let spec = spec::beside(&self.places, id, argv, dir)?;
        let started = workload::start(&self.launcher, dir, &spec);
        started.map(drop).map_err(|error| error.to_string())
    }

    fn cleanup(&self, uid: &str) -> Result<(), String> {
        exits::end_execs(&self.places, uid);
        for container in self.places.containers(uid) {
            for number in self.places.numbers(uid, &container) {
                let id = AttemptId {
                    uid: uid.to_owned(),
                    container: container.clone(),
                    number,
                };
                let removed = workload::remove(&self.places.attempt(&id));
                removed.map_err(|error| error.to_string())?;
            }
        }
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
