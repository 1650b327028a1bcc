//! What users do meanwhile: they scale, roll out, delete, and have Jobs done.

use std::time::Duration;

use atoll_control::driver::control::Control;
use atoll_services::{
    core::{
        kinds::{DAEMON_SETS, DEPLOYMENTS, JOBS, Kind, PODS, STATEFUL_SETS},
        lifecycle::{Deletion, Propagation},
        object,
        status::{Failure, Reason},
    },
    driver::Client,
};
use atoll_world::{
    clock::{self, Instant},
    random::Stream,
};
use serde_json::{Value, json};

use super::{
    machines::Machines,
    workloads::{self, DB, EACH, NAMESPACE, Rollout, WEB, name},
};

/// Between two actions, at the most.
const PAUSE_MS_MAX: u64 = 2_500;
/// So often something is tried before it is given up.
const ATTEMPTS_MAX: usize = 40;
/// Before it is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How many Jobs there are at most.
const JOBS_MAX: usize = 4;

pub(super) struct User {
    pub(super) machines: Machines,
    pub(super) chance: Stream,
    pub(super) jobs: usize,
}

/// Something that a user does.
#[derive(Clone, Debug)]
enum Action {
    Create(&'static Kind, Value),
    /// Puts a value at a path of the object.
    Set(&'static Kind, String, &'static str, Value),
    Delete(&'static Kind, String, Deletion),
    /// Deletes one of the pods that there are.
    DeletePod(usize),
}

impl Action {
    async fn take(self, client: Client<Control>) -> Result<(), Failure> {
        match self {
            Action::Create(kind, object) => client.create(kind, NAMESPACE, object).await.map(drop),
            Action::Set(kind, of, path, value) => {
                let set = |object: &mut Value| {
                    if let Some(field) = object.pointer_mut(path) {
                        *field = value.clone();
                    }
                };
                client.update(&name(kind, &of), None, set).await.map(drop)
            }
            Action::Delete(kind, of, deletion) => client.delete(&name(kind, &of), &deletion).await,
            Action::DeletePod(nth) => {
                let pods = client.list(&PODS, Some(NAMESPACE)).await?.objects;
                match pods.get(nth % pods.len().max(1)) {
                    Some(pod) => {
                        let of = name(&PODS, object::name(pod));
                        client.delete(&of, &Deletion::default()).await
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

impl User {
    /// Makes what is there from the beginning.
    pub(super) async fn begin(&mut self, rollout: Rollout) {
        let stop_ms = self.chance.range(0..900);
        let (replicas, is_parallel) = (self.chance.range(2..=4), self.chance.chance(0.5));
        let all = [
            (&DEPLOYMENTS, workloads::deployment(rollout, stop_ms)),
            (
                &STATEFUL_SETS,
                workloads::stateful_set(replicas, is_parallel, stop_ms),
            ),
            (&DAEMON_SETS, workloads::daemon_set(stop_ms)),
        ];
        for (kind, object) in all {
            self.insist(Action::Create(kind, object)).await;
        }
        self.new_job().await;
    }

    async fn new_job(&mut self) {
        self.jobs += 1;
        let name = format!("job{}", self.jobs);
        let (completions, is_indexed) = (self.chance.range(2..=5), self.chance.chance(0.5));
        let run_ms = self.chance.range(200..3_000);
        let job = workloads::job(&name, completions, is_indexed, run_ms);
        self.insist(Action::Create(&JOBS, job)).await;
    }

    /// A rollout of the Deployment.
    pub(super) async fn roll_out(&mut self) {
        let action = self.rolled(&DEPLOYMENTS, WEB);
        self.insist(action).await;
    }

    fn rolled(&mut self, kind: &'static Kind, of: &str) -> Action {
        let stop_ms = self.chance.range(0..900_u64).to_string();
        let path = "/spec/template/metadata/annotations/atoll.dev~1simulated-stop-ms";
        Action::Set(kind, of.to_owned(), path, json!(stop_ms))
    }

    /// Acts until then.
    pub(super) async fn work(mut self, ends_at: Instant) {
        while clock::now() < ends_at {
            clock::sleep(Duration::from_millis(self.chance.range(100..PAUSE_MS_MAX))).await;
            self.act().await;
        }
    }

    async fn act(&mut self) {
        let replicas = json!(self.chance.range(1..=5));
        let path = "/spec/replicas";
        let action = match self.chance.range(0..12) {
            0 | 1 => Action::Set(&DEPLOYMENTS, WEB.to_owned(), path, replicas),
            2 | 3 => self.rolled(&DEPLOYMENTS, WEB),
            4 => Action::Set(&STATEFUL_SETS, DB.to_owned(), path, replicas),
            5 => self.rolled(&STATEFUL_SETS, DB),
            6 => self.rolled(&DAEMON_SETS, EACH),
            7 if self.jobs < JOBS_MAX => return self.new_job().await,
            8 => {
                // It goes, or its pods go with it, and another one takes its place.
                let propagation = [
                    None,
                    Some(Propagation::Foreground),
                    Some(Propagation::Orphan),
                ];
                let deletion = Deletion {
                    propagation: propagation[self.chance.range(0..3)],
                    ..Deletion::default()
                };
                let stop_ms = self.chance.range(0..900);
                let (kind, of, object) = match self.chance.range(0..3) {
                    0 => (
                        &STATEFUL_SETS,
                        DB,
                        workloads::stateful_set(3, true, stop_ms),
                    ),
                    1 => (&DAEMON_SETS, EACH, workloads::daemon_set(stop_ms)),
                    _ => return self.insist(Action::DeletePod(stop_ms as usize)).await,
                };
                self.insist(Action::Delete(kind, of.to_owned(), deletion))
                    .await;
                return self.insist(Action::Create(kind, object)).await;
            }
            _ => Action::DeletePod(self.chance.range(0..100)),
        };
        self.insist(action).await;
    }

    /// Does something by any of the nodes, until it is done or refused for good.
    async fn insist(&mut self, action: Action) {
        for _ in 0..ATTEMPTS_MAX {
            let at = self.chance.range(0..self.machines.all.len());
            let taken = action.clone();
            let done = self.machines.call(at, |client| taken.take(client)).await;
            tracing::info!(at, ?action, ?done, "a user");
            match done {
                Some(Ok(())) => return,
                // It may have been done by the attempt before; what is on its way out holds its
                // name for a while.
                Some(Err(failure)) if failure.reason == Reason::NotFound => return,
                Some(Err(failure))
                    if matches!(failure.reason, Reason::Invalid | Reason::BadRequest) =>
                {
                    return self
                        .machines
                        .history
                        .violate(format!("what users want is valid: {failure}"));
                }
                Some(Err(_)) | None => clock::sleep(AGAIN).await,
            }
        }
    }
}
