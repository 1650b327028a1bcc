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
//! What it has outlives the agent, as processes do, and nothing outlives the lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_world::{clock, task};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

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

/// Runs nothing. Clones are the same.
#[derive(Clone, Default)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Ended before they began: they never will.
    killed: BTreeSet<AttemptId>,
    until: Option<clock::Instant>,
    /// Somebody looks at the lease.
    is_guarded: bool,
}

struct Attempt {
    started_ms: u64,
    stop: Duration,
    /// How it ended, once it has.
    end: watch::Sender<Option<Exit>>,
}

impl Simulated {
    fn end(&self, id: &AttemptId, code: i32, signal: Option<u8>, message: &str) {
        if let Some(attempt) = self.0.lock().attempts.get(id) {
            attempt.end(code, signal, message);
        }
    }

    /// Ends everything when the lease does.
    async fn guard(self) {
        loop {
            let until = {
                let mut state = self.0.lock();
                let over = state.until.filter(|until| *until <= clock::now());
                if over.is_some() {
                    for attempt in state.attempts.values() {
                        attempt.end(
                            SIGNALLED + i32::from(SIGKILL),
                            Some(SIGKILL),
                            "the lease of its node has ended",
                        );
                    }
                    state.is_guarded = false;
                    return;
                }
                state.until
            };
            match until {
                Some(until) => clock::sleep_until(until).await,
                None => return,
            }
        }
    }
}

impl Attempt {
    fn end(&self, code: i32, signal: Option<u8>, message: &str) {
        self.end.send_if_modified(|end| {
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
    }
}

fn number<T: std::str::FromStr>(pod: &Value, annotation: &str) -> Option<T> {
    object::annotation(pod, annotation)?.parse().ok()
}

impl Runtime for Simulated {
    async fn renew(&self, until: Until) -> Result<(), String> {
        let mut state = self.0.lock();
        state.until = Some(until.instant);
        if !std::mem::replace(&mut state.is_guarded, true) {
            task::spawn(self.clone().guard());
        }
        Ok(())
    }

    async fn found(&self) -> Vec<Found> {
        let state = self.0.lock();
        let found = state.attempts.iter().map(|(id, attempt)| Found {
            id: id.clone(),
            state: match &*attempt.end.borrow() {
                Some(exit) => Err(exit.clone()),
                None => Ok(attempt.started_ms),
            },
        });
        found.collect()
    }

    async fn prepare(&self, _: Arc<Value>, _: Objects) -> Result<Vec<String>, PrepareFailure> {
        Ok(Vec::new())
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
            let mut state = self.0.lock();
            if state.killed.remove(&id) || state.until.is_some_and(|it| it <= clock::now()) {
                let message = "it was ended before it had started".to_owned();
                return Err((StartFailure::Create, message));
            }
            let attempt = Attempt {
                started_ms,
                stop: Duration::from_millis(number(&pod, STOP_MS).unwrap_or(0)),
                end: watch::Sender::new(None),
            };
            state.attempts.insert(id.clone(), attempt);
        }
        if let Some(run_ms) = number(&pod, RUN_MS) {
            let (code, simulated) = (number(&pod, EXIT_CODE).unwrap_or(0), self.clone());
            task::spawn(async move {
                clock::sleep(Duration::from_millis(run_ms)).await;
                simulated.end(&id, code, None, "");
            });
        }
        Ok(started_ms)
    }

    async fn ended(&self, id: AttemptId) -> Exit {
        let end = {
            let state = self.0.lock();
            state
                .attempts
                .get(&id)
                .map(|attempt| attempt.end.subscribe())
        };
        let exit = match end {
            Some(mut end) => end
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|it| it.clone()),
            None => None,
        };
        exit.unwrap_or_else(|| Exit {
            message: "nothing is known of it".to_owned(),
            finished_ms: clock::wall_ms(),
            ..Exit::default()
        })
    }

    async fn stop(&self, id: AttemptId, signal: String) {
        let stop = self.0.lock().attempts.get(&id).map(|attempt| attempt.stop);
        let Some(stop) = stop else { return };
        let (signal, simulated) = (process::signal(&signal), self.clone());
        let end = move || {
            let number = u8::try_from(signal).ok();
            simulated.end(&id, SIGNALLED + signal, number, "");
        };
        if stop.is_zero() {
            return end();
        }
        task::spawn(async move {
            clock::sleep(stop).await;
            end();
        });
    }

    async fn kill(&self, id: AttemptId) -> bool {
        let mut state = self.0.lock();
        match state.attempts.get(&id) {
            Some(attempt) => {
                attempt.end(SIGNALLED + i32::from(SIGKILL), Some(SIGKILL), "");
                false
            }
            None => {
                state.killed.insert(id);
                true
            }
        }
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
        let mut state = self.0.lock();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(container: &str) -> AttemptId {
        AttemptId {
            uid: "u".to_owned(),
            container: container.to_owned(),
            number: 0,
        }
    }

    fn run() -> ContainerRun {
        ContainerRun {
            argv: vec!["sh".to_owned()],
            env: BTreeMap::new(),
            cwd: None,
        }
    }

    fn until(span: Duration) -> Until {
        Until {
            instant: clock::now() + span,
            boot: Duration::ZERO,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn containers_end_as_their_pods_say_or_are_asked_to() {
        let simulated = Simulated::default();
        let pod = Arc::new(json!({"metadata": {"annotations": {
            RUN_MS: "5000", EXIT_CODE: "3", STOP_MS: "700",
        }}}));
        for name in ["a", "b", "c"] {
            simulated
                .start(id(name), pod.clone(), run(), None)
                .await
                .unwrap();
        }
        let begun = clock::now();
        simulated.stop(id("b"), "SIGTERM".to_owned()).await;
        assert!(!simulated.kill(id("c")).await);
        assert_eq!(simulated.ended(id("c")).await.code, 137);
        assert_eq!(simulated.ended(id("b")).await.code, 143);
        assert_eq!(clock::now() - begun, Duration::from_millis(700));
        assert_eq!(simulated.ended(id("a")).await.code, 3);
        assert_eq!(clock::now() - begun, Duration::from_secs(5));
        simulated.cleanup("u".to_owned()).await;
        assert!(simulated.found().await.is_empty());
        assert!(simulated.kill(id("d")).await, "it was never there");
        let pod = Arc::new(json!({}));
        assert!(simulated.start(id("d"), pod, run(), None).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_outlives_the_lease() {
        let simulated = Simulated::default();
        let span = Duration::from_secs(4);
        simulated.renew(until(span)).await.unwrap();
        let pod = Arc::new(json!({}));
        simulated
            .start(id("a"), pod.clone(), run(), None)
            .await
            .unwrap();
        clock::sleep(span / 2).await;
        simulated.renew(until(span)).await.unwrap();
        clock::sleep(span * 3 / 4).await;
        assert!(simulated.found().await[0].state.is_ok());
        clock::sleep(span).await;
        assert!(simulated.found().await[0].state.is_err());
        assert!(
            simulated
                .start(id("b"), pod.clone(), run(), None)
                .await
                .is_err()
        );
        simulated.renew(until(span)).await.unwrap();
        simulated.start(id("c"), pod, run(), None).await.unwrap();
        clock::sleep(span * 2).await;
        assert_eq!(simulated.ended(id("c")).await.code, 137);
    }
}
