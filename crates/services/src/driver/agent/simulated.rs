//! The driver `simulated`: runs nothing and reports as if it did, so that thousands of nodes fit
//! in one process, and controllers can be looked at on virtual time.
//!
//! A container runs until it is asked to end, or ends by itself where its pod says so:
//!
//! | annotation of the pod | means |
//! |---|---|
//! | `atoll.dev/simulated-run-ms` | a container ends by itself after so long |
//! | `atoll.dev/simulated-exit-code` | with this exit code; 0 if nothing is said |
//! | `atoll.dev/simulated-stop-ms` | it takes so long to end once it was asked |
//!
//! What it has outlives the agent, as processes do, and nothing outlives the lease by more than it
//! is told to linger. A [`Simulated`] is the machine that containers would run on: it can lose
//! power and be frozen, and an observer hears what begins and ends there.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use atoll_world::{clock, net::Stream, task, watch};
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    process,
    runtime::{LogPiece, Objects, PrepareFailure, Runtime, Until, Used},
};
use crate::{
    api::{Ends, LogQuery},
    core::{
        agent::{AttemptId, Exit, Found, StartFailure, environment::ContainerRun},
        image::ImageFailure,
        object,
        status::{Failure, Reason},
        streams::{FromContainer, ToContainer, options::ExecOptions},
    },
    driver::images::Image,
};

/// Says when a container ends by itself.
const RUN_MS: &str = "atoll.dev/simulated-run-ms";
/// Says with which code.
const EXIT_CODE: &str = "atoll.dev/simulated-exit-code";
/// Says how long it takes to stop.
const STOP_MS: &str = "atoll.dev/simulated-stop-ms";
/// What a signal that ends a program adds to its exit code.
const SIGNALLED: i32 = 128;
const SIGKILL: u8 = 9;

/// Hears what begins and ends.
pub type Observer = Arc<dyn Fn(&Ran) + Send + Sync>;

/// How a simulated machine behaves.
#[derive(Clone, Default)]
pub struct Habits {
    /// How long what runs goes on after it was killed, and after its lease has ended.
    pub lingers: Duration,
    /// Who hears what begins and ends.
    pub observer: Option<Observer>,
}

/// An attempt at running a container has begun, or has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Of which pod.
    pub pod: Arc<Value>,
    /// Which container.
    pub container: String,
    /// Which attempt, from 0.
    pub number: u32,
    /// Whether it runs now.
    pub runs: bool,
    /// Whether there is a lease for what begins.
    pub has_lease: bool,
}

/// Runs nothing. Clones are the same.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Machine>);

#[derive(Default)]
struct Machine {
    habits: Habits,
    /// What goes on without the agent.
    tasks: task::Group,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Ended before they began: they never will.
    killed: BTreeSet<AttemptId>,
    until: Option<clock::Instant>,
    /// Somebody looks at the lease.
    is_guarded: bool,
    has_no_power: bool,
}

struct Attempt {
    /// For who hears of it; a pod is much to keep for nobody.
    pod: Option<Arc<Value>>,
    started_ms: u64,
    stop: Duration,
    /// How it ended, once it has.
    end: watch::Sender<Option<Exit>>,
}

impl Simulated {
    /// A machine on which nothing runs yet.
    pub fn new(habits: Habits) -> Self {
        Simulated(Arc::new(Machine {
            habits,
            ..Machine::default()
        }))
    }

    /// Nothing runs there any more, and nothing is left for another agent: that one gets a new
    /// machine. The agent of this one has to have been ended before.
    pub fn lose_power(&self) {
        self.0.tasks.kill();
        let attempts = {
            let mut state = self.0.state.lock();
            state.has_no_power = true;
            std::mem::take(&mut state.attempts)
        };
        for (id, attempt) in attempts {
            attempt.end(self, &id, SIGNALLED, None, "the machine has lost power");
        }
    }

    /// What runs there stands still, and leases end all the same. The agent is to be frozen, too.
    pub fn freeze(&self) {
        self.0.tasks.freeze();
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.0.tasks.thaw();
    }

    fn begin(&self, id: &AttemptId, pod: &Arc<Value>) {
        let until = self.0.state.lock().until;
        let has_lease = until.is_some_and(|until| until > clock::now());
        self.tell(id, pod, (true, has_lease));
    }

    fn tell(&self, id: &AttemptId, pod: &Arc<Value>, (runs, has_lease): (bool, bool)) {
        if let Some(observer) = &self.0.habits.observer {
            observer(&Ran {
                pod: pod.clone(),
                container: id.container.clone(),
                number: id.number,
                runs,
                has_lease,
            });
        }
    }

    /// Does something that the agent's end does not hinder.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        task::scope_sync(self.0.tasks.clone(), || task::spawn(work));
    }

    fn end(&self, id: &AttemptId, code: i32, signal: Option<u8>, message: &str) {
        if let Some(attempt) = self.0.state.lock().attempts.get(id) {
            attempt.end(self, id, code, signal, message);
        }
    }

    fn kill_at(&self, at: clock::Instant, id: AttemptId, message: &'static str) {
        let code = SIGNALLED + i32::from(SIGKILL);
        if at <= clock::now() {
            return self.end(&id, code, Some(SIGKILL), message);
        }
        let simulated = self.clone();
        self.spawn(async move {
            clock::sleep_until(at).await;
            simulated.end(&id, code, Some(SIGKILL), message);
        });
    }

    /// Ends everything if the lease has ended; when to look again.
    fn look(&self) -> Option<clock::Instant> {
        let (until, all) = {
            let state = self.0.state.lock();
            let until = state.until?;
            if until > clock::now() {
                return Some(until);
            }
            (until, state.attempts.keys().cloned().collect::<Vec<_>>())
        };
        for id in all {
            let at = until + self.0.habits.lingers;
            self.kill_at(at, id, "the lease of its node has ended");
        }
        None
    }

    /// Ends everything when the lease does.
    async fn guard(self) {
        while let Some(until) = self.look() {
            clock::sleep_until(until).await;
        }
        self.0.state.lock().is_guarded = false;
    }
}

impl Attempt {
    fn end(
        &self,
        simulated: &Simulated,
        id: &AttemptId,
        code: i32,
        signal: Option<u8>,
        message: &str,
    ) {
        let is_new = self.end.send_if_modified(|end| {
            let is_new = end.is_none();
            if is_new {
                *end = Some(Exit {
                    code,
                    signal,
                    is_oom: false,
                    is_fenced: false,
                    message: message.to_owned(),
                    started_ms: self.started_ms,
                    finished_ms: clock::wall_ms(),
                });
            }
            is_new
        });
        if let Some(pod) = self.pod.as_ref().filter(|_| is_new) {
            simulated.tell(id, pod, (false, false));
        }
    }
}

fn number<T: std::str::FromStr>(pod: &Value, annotation: &str) -> Option<T> {
    object::annotation(pod, annotation)?.parse().ok()
}

impl Runtime for Simulated {
    async fn renew(&self, until: Until) -> Result<(), String> {
        // What stood still sees that its lease has ended before it sees another one.
        self.look();
        let mut state = self.0.state.lock();
        state.until = Some(until.instant);
        let was_guarded = std::mem::replace(&mut state.is_guarded, true);
        drop(state);
        if !was_guarded {
            self.spawn(self.clone().guard());
        }
        Ok(())
    }

    async fn found(&self) -> Vec<Found> {
        let state = self.0.state.lock();
        let found = state.attempts.iter().map(|(id, attempt)| Found {
            id: id.clone(),
            state: match &*attempt.end.borrow() {
                Some(exit) => Err(exit.clone()),
                None => Ok(attempt.started_ms),
            },
        });
        found.collect()
    }

    async fn prepare(
        &self,
        _: Arc<Value>,
        _: Option<Ipv4Net>,
        _: Objects,
    ) -> Result<Vec<String>, PrepareFailure> {
        Ok(Vec::new())
    }

    async fn route(
        &self,
        _: Option<Ipv4Net>,
        _: BTreeMap<Ipv4Net, Ipv4Addr>,
    ) -> Result<(), String> {
        Ok(())
    }

    async fn connect(&self, _: Arc<Value>, _: u16) -> Result<Stream, String> {
        Err("the pod is simulated: nothing listens".to_owned())
    }

    async fn image(
        &self,
        _: Arc<Value>,
        _: String,
        _: Objects,
    ) -> Result<Option<Image>, ImageFailure> {
        Ok(None)
    }

    async fn start(
        &self,
        id: AttemptId,
        pod: Arc<Value>,
        _: ContainerRun,
        _: Option<Image>,
    ) -> Result<u64, (StartFailure, String)> {
        let started_ms = clock::wall_ms();
        {
            let mut state = self.0.state.lock();
            let is_over = state.until.is_some_and(|it| it <= clock::now());
            if state.killed.remove(&id) || is_over || state.has_no_power {
                let message = "it was ended before it had started".to_owned();
                return Err((StartFailure::Create, message));
            }
            let has_observer = self.0.habits.observer.is_some();
            let attempt = Attempt {
                pod: has_observer.then(|| pod.clone()),
                started_ms,
                stop: Duration::from_millis(number(&pod, STOP_MS).unwrap_or(0)),
                end: watch::channel(None).0,
            };
            state.attempts.insert(id.clone(), attempt);
        }
        self.begin(&id, &pod);
        if let Some(run_ms) = number(&pod, RUN_MS) {
            let (code, simulated) = (number(&pod, EXIT_CODE).unwrap_or(0), self.clone());
            self.spawn(async move {
                clock::sleep(Duration::from_millis(run_ms)).await;
                simulated.end(&id, code, None, "");
            });
        }
        Ok(started_ms)
    }

    async fn ended(&self, id: AttemptId) -> Exit {
        let end = {
            let state = self.0.state.lock();
            state
                .attempts
                .get(&id)
                .map(|attempt| attempt.end.subscribe())
        };
        let exit = match end {
            Some(mut end) => {
                // If the attempt is forgotten meanwhile, it has no end.
                let _ = end.wait_for(Option::is_some).await;
                end.borrow().clone()
            }
            None => None,
        };
        exit.unwrap_or_else(|| Exit {
            message: "nothing is known of it".to_owned(),
            finished_ms: clock::wall_ms(),
            ..Exit::default()
        })
    }

    async fn stop(&self, id: AttemptId, signal: String) {
        let stop = self
            .0
            .state
            .lock()
            .attempts
            .get(&id)
            .map(|attempt| attempt.stop);
        let Some(stop) = stop else { return };
        let (signal, simulated) = (process::signal(&signal), self.clone());
        let end = move || {
            let number = u8::try_from(signal).ok();
            simulated.end(&id, SIGNALLED + signal, number, "");
        };
        if stop.is_zero() {
            return end();
        }
        self.spawn(async move {
            clock::sleep(stop).await;
            end();
        });
    }

    async fn kill(&self, id: AttemptId) -> bool {
        {
            let mut state = self.0.state.lock();
            if !state.attempts.contains_key(&id) {
                state.killed.insert(id);
                return true;
            }
        }
        self.kill_at(clock::now() + self.0.habits.lingers, id, "");
        false
    }

    async fn exec(&self, _: AttemptId, _: Vec<String>, _: u64) -> Result<(), String> {
        Ok(())
    }

    async fn process(
        &self,
        _: String,
        _: ExecOptions,
    ) -> Result<Ends<ToContainer, FromContainer>, Failure> {
        Err(nothing_runs())
    }

    async fn used(&self) -> Vec<(AttemptId, Used)> {
        Vec::new()
    }

    async fn cleanup(&self, uid: String) {
        let mut state = self.0.state.lock();
        state.attempts.retain(|id, _| id.uid != uid);
        state.killed.retain(|id| id.uid != uid);
    }

    async fn log(&self, _: String, _: LogQuery, _: String) -> Result<LogPiece, Failure> {
        Err(nothing_runs())
    }
}

fn nothing_runs() -> Failure {
    Failure::new(
        Reason::BadRequest,
        "containers of this node are simulated: nothing runs in them",
    )
}
