//! Scripts that run on this node, and how they are ended.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use atoll_world::{clock, task};
use bytes::Bytes;
use parking_lot::Mutex;

use super::Scripts;
use crate::{
    api::{Hindrance, Publication},
    core::{
        command::Command,
        machine::{Called, Running, Surroundings},
        reply::Reply,
        script::{End, Watch},
    },
    hub::Hub,
};

/// After so long a script lets other work of its thread go on elsewhere.
const STEP_ASIDE_AFTER: Duration = Duration::from_millis(5);

/// All that run now, by a number of their own.
#[derive(Clone, Default)]
pub(in crate::driver) struct Runs(Arc<Shared>);

#[derive(Default)]
struct Shared {
    runs: Mutex<BTreeMap<u64, Arc<Run>>>,
    /// How many these are: it is looked at for each command.
    count: AtomicUsize,
    next: AtomicU64,
}

struct Run {
    /// Whose other work waits for it; none, if nobody's.
    shard: Option<usize>,
    running: Running,
    began: clock::Instant,
    limit: Duration,
    is_killed: AtomicBool,
    has_stepped_aside: AtomicBool,
}

/// A shard that has done nothing but run a script for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    pub(super) shard: usize,
    pub(super) is_function: bool,
}

impl Runs {
    /// The shards whose scripts have run for so long.
    pub(super) fn slow(&self, after: Duration) -> Vec<Slow> {
        if after.is_zero() || self.0.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let now = clock::now();
        let runs = self.0.runs.lock();
        let slow = runs
            .values()
            .filter(|run| now.duration_since(run.began) >= after);
        slow.filter_map(|run| {
            Some(Slow {
                shard: run.shard?,
                is_function: run.running.function.is_some(),
            })
        })
        .collect()
    }

    /// Ends all functions, or all scripts that are none. As in Redis, whoever wants the other kind
    /// ended is told so.
    pub(super) fn kill(&self, functions: bool) -> Result<Reply, String> {
        let runs = self.0.runs.lock();
        let mut meant = runs
            .values()
            .filter(|run| run.running.function.is_some() == functions)
            .peekable();
        if meant.peek().is_none() {
            if let Some(other) = runs.values().find(|run| run.shard.is_some()) {
                let is_function = other.running.function.is_some();
                return Err(Hindrance::Script { is_function }.to_string());
            }
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
    pub(in crate::driver) fn begin(
        &self,
        running: Running,
        limit: Duration,
        shard: Option<usize>,
    ) -> Arc<dyn Watch> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let run = Arc::new(Run {
            shard,
            running,
            began: clock::now(),
            limit,
            is_killed: AtomicBool::new(false),
            has_stepped_aside: AtomicBool::new(false),
        });
        let mut runs = self.0.runs.lock();
        runs.insert(number, run.clone());
        self.0.count.store(runs.len(), Ordering::Relaxed);
        drop(runs);
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
        let mut runs = self.runs.0.runs.lock();
        runs.remove(&self.number);
        self.runs.0.count.store(runs.len(), Ordering::Relaxed);
    }
}

impl Watch for Watching {
    fn ends(&self) -> Option<End> {
        if self.run.is_killed.load(Ordering::Relaxed) {
            return Some(End::Killed);
        }
        let passed = clock::now().duration_since(self.run.began);
        if passed >= STEP_ASIDE_AFTER && !self.run.has_stepped_aside.swap(true, Ordering::Relaxed) {
            task::step_aside();
        }
        (passed >= self.run.limit).then_some(End::TimedOut)
    }

    fn seconds(&self) -> f64 {
        clock::now().duration_since(self.run.began).as_secs_f64()
    }
}

/// This node, for scripts.
#[derive(Clone)]
pub(in crate::driver) struct Node {
    pub(in crate::driver) scripts: Arc<Scripts>,
    pub(in crate::driver) hub: Hub,
    /// Which of its shards; none, if the script keeps none of them from other work.
    pub(in crate::driver) shard: Option<usize>,
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
            .begin(running, Duration::from_millis(limit_ms), self.shard)
    }

    fn calls(&self, database: usize, words: &[Bytes]) {
        self.hub.show_call(database, words);
    }

    fn called(&self, command: Option<&'static Command>, end: Called<'_>) {
        self.hub.count_call(command, end);
    }

    fn hearing(&self, publication: &Publication) -> usize {
        self.hub.hearing(publication)
    }
}
