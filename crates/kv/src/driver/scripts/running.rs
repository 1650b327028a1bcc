//! Scripts that run on this node, and how they are ended.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_world::clock;
use parking_lot::Mutex;

use super::Scripts;
use crate::{
    api::Publication,
    core::{
        machine::{Running, Surroundings},
        reply::Reply,
        script::{End, Watch},
    },
    hub::Hub,
};

/// All that run now, by a number of their own.
#[derive(Clone, Default)]
pub(super) struct Runs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    runs: Mutex<BTreeMap<u64, Arc<Run>>>,
    next: AtomicU64,
}

struct Run {
    running: Running,
    began: clock::Instant,
    limit: Duration,
    is_killed: AtomicBool,
}

impl Runs {
    /// Ends all functions, or all scripts that are none.
    pub(super) fn kill(&self, functions: bool) -> Result<Reply, String> {
        let runs = self.0.runs.lock();
        let mut meant = runs
            .values()
            .filter(|run| run.running.function.is_some() == functions)
            .peekable();
        if meant.peek().is_none() {
            return Err("NOTBUSY No scripts in execution right now.".to_owned());
        }
        for run in meant {
            run.is_killed.store(true, Ordering::Relaxed);
        }
        Ok(Reply::OK)
    }

    /// The function that has run longest, and for how long, in milliseconds.
    pub(super) fn function(&self) -> Option<(Running, u64)> {
        let runs = self.0.runs.lock();
        let run = runs.values().find(|run| run.running.function.is_some())?;
        let passed = clock::now().duration_since(run.began).as_millis();
        let passed_ms = u64::try_from(passed).unwrap_or(u64::MAX);
        Some((run.running.clone(), passed_ms))
    }

    /// A script begins.
    pub(super) fn begin(&self, running: Running, limit: Duration) -> Arc<dyn Watch> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let run = Arc::new(Run {
            running,
            began: clock::now(),
            limit,
            is_killed: AtomicBool::new(false),
        });
        self.0.runs.lock().insert(number, run.clone());
        Arc::new(Watching {
            number,
            run,
            runs: self.clone(),
        })
    }
}

struct Watching {
    number: u64,
    run: Arc<Run>,
    runs: Runs,
}

impl fmt::Debug for Watching {
    /// Without the script: it may hold what nobody else should see.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.runs.0.runs.lock().remove(&self.number);
    }
}

impl Watch for Watching {
    fn ends(&self) -> Option<End> {
        if self.run.is_killed.load(Ordering::Relaxed) {
            return Some(End::Killed);
        }
        let passed = clock::now().duration_since(self.run.began);
        (passed >= self.run.limit).then_some(End::TimedOut)
    }

    fn seconds(&self) -> f64 {
        clock::now().duration_since(self.run.began).as_secs_f64()
    }
}

/// This node, for the scripts of its partitions.
#[derive(Clone)]
pub(in crate::driver) struct Node {
    pub(in crate::driver) scripts: Arc<Scripts>,
    pub(in crate::driver) hub: Hub,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl Surroundings for Node {
    fn begins(&self, running: Running) -> Arc<dyn Watch> {
        let limit_ms = self.scripts.time_limit_ms.load(Ordering::Relaxed);
        self.scripts
            .runs
            .begin(running, Duration::from_millis(limit_ms))
    }

    fn hearing(&self, publication: &Publication) -> usize {
        self.hub.hearing(publication)
    }
}
