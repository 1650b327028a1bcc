//! The one who writes: a thread on the real disk, a task in a simulation.

#![allow(
    clippy::disallowed_methods,
    reason = "the real writer has a thread and a clock of its own"
)]

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Durability, JournalError, Writer, append::Shared};
use crate::{disk::DiskError, task};

pub(super) fn start(shared: &Arc<Shared>) -> Result<Option<JoinHandle<()>>, JournalError> {
    let shared = Arc::clone(shared);
    match shared.options.writer.clone() {
        Writer::Thread => {
            let dir = shared.dir.clone();
            let thread = std::thread::Builder::new().name("journal".into());
            let started = thread.spawn(move || run_thread(&shared));
            let started =
                started.map_err(|error| DiskError::new("start a writer for", &dir, error));
            Ok(Some(started?))
        }
        Writer::Task { sync_latency } => {
            task::spawn(run_task(shared, sync_latency));
            Ok(None)
        }
    }
}

fn sync_interval(shared: &Shared) -> Option<Duration> {
    match shared.options.durability {
        Durability::Interval(interval) => Some(interval),
        Durability::Always | Durability::None => None,
    }
}

fn run_thread(shared: &Shared) {
    let interval = sync_interval(shared);
    let mut sync_at: Option<Instant> = None;
    loop {
        {
            let mut state = shared.state.lock();
            while !state.has_work() && !state.closing {
                match sync_at {
                    Some(at) if shared.wake_thread.wait_until(&mut state, at).timed_out() => break,
                    Some(_) => {}
                    None => shared.wake_thread.wait(&mut state),
                }
            }
            if state.closing {
                break;
            }
        }
        let mut committer = shared.committer.lock();
        if committer.begin(shared) {
            committer.complete(shared);
        }
        sync_at = interval
            .filter(|_| committer.is_unsynced())
            .map(|interval| sync_at.unwrap_or_else(|| Instant::now() + interval));
        if sync_at.is_some_and(|at| at <= Instant::now()) {
            committer.sync_all(shared);
            sync_at = None;
        }
    }
    shared.finish();
}

async fn run_task(shared: Arc<Shared>, sync_latency: Arc<dyn Fn() -> Duration + Send + Sync>) {
    let interval = sync_interval(&shared);
    let mut sync_at: Option<tokio::time::Instant> = None;
    while !shared.state.lock().closing {
        if !shared.state.lock().has_work() {
            let woken = shared.wake_task.notified();
            match sync_at {
                Some(at) => tokio::select! {
                    biased;
                    () = woken => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => woken.await,
            }
        }
        if shared.state.lock().closing {
            break;
        }
        let begun = shared.committer.lock().begin(&shared);
        if begun {
            tokio::time::sleep(sync_latency()).await;
            shared.committer.lock().complete(&shared);
        }
        let mut committer = shared.committer.lock();
        let now = tokio::time::Instant::now();
        sync_at = interval
            .filter(|_| committer.is_unsynced())
            .map(|interval| sync_at.unwrap_or(now + interval));
        if sync_at.is_some_and(|at| at <= now) {
            committer.sync_all(&shared);
            sync_at = None;
        }
    }
    shared.finish();
}

impl Shared {
    /// Writes what is left, leaves everything durable and lets others open the journal.
    pub(super) fn finish(&self) {
        self.committer.lock().finish(self);
        self.lock.lock().take();
    }
}
