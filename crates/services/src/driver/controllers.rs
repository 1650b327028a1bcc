//! Runs the controllers on the node that leads: what changes in the mirror leads to keys, keys to
//! plans, plans to steps.
//!
//! A key is planned for by one task at a time, from a mirror that has all that the plan before
//! did. One that fails is tried again after a while that grows; one that was outrun, as soon as
//! the mirror has what outran it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    events,
    execute::{Done, Executor},
    meter::Usages,
    mirror::{Changed, Mirror, Standing},
    store,
};
use crate::core::{
    controllers::{
        Controller,
        world::{Change, View as _},
    },
    kinds,
    lifecycle::Deletion,
    object::Name,
    status::Failure,
};

/// So many keys are worked on at a time.
const RUNNING_MAX: usize = 16;
/// The first and the longest wait before a key that failed is tried again.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);
/// So long a plan waits at most to learn what the one before did. What is made twice then is one
/// too many, and goes again.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);
/// A key for which it takes so long to plan rests before the next time: so many times as long, and
/// no longer than that. What it counts changes all the time then, and the others have their turn.
const DEAR: Duration = Duration::from_micros(500);
const REST_FACTOR: u32 = 200;
const REST_MAX: Duration = Duration::from_millis(400);
/// How often old Events are looked for.
const EVENTS_INTERVAL: Duration = Duration::from_secs(30);

/// A controller and what it is to look at; the key's text, so that there is an order.
type Key = (Controller, Bytes);

/// What is known of a key that is waited for or worked on.
#[derive(Default)]
struct Entry {
    is_running: bool,
    /// It changed while it was worked on.
    is_stale: bool,
    /// Nothing is planned before the mirror is there.
    after_revision: i64,
    failures: u32,
    failed: Option<String>,
}

struct Keys {
    names: BTreeMap<Key, Name>,
    entries: BTreeMap<Key, Entry>,
    ready: VecDeque<Key>,
    is_ready: BTreeSet<Key>,
    /// When time alone makes a difference.
    timers: BTreeSet<(clock::Instant, Key)>,
    /// The same by key.
    timer_of: BTreeMap<Key, clock::Instant>,
    /// Until when keys are left alone.
    resting: BTreeMap<Key, clock::Instant>,
    running: usize,
}

/// A plan that is being carried out. It ends at its next wait when this is dropped.
struct Underway(task::JoinHandle<()>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs until leadership ends, which drops this future, and with it every plan under way.
pub(super) async fn run<C: ControlApi>(mirror: Mirror, executor: Executor<C>, usages: Usages) {
    let (done_sender, mut done) = mpsc::channel::<(Key, Option<u64>, Done)>(RUNNING_MAX);
    let mut news = mirror.news();
    let mut keys = Keys::new();
    let follower = mirror.follower();
    follower.has_looked(keys.touch_everything(&mirror));
    let mut events_at = clock::now();
    let mut underway = BTreeMap::new();
    loop {
        keys.wake(clock::now());
        let reached = news.borrow().revision;
        while keys.running < RUNNING_MAX
            && let Some((key, name)) = keys.take(reached)
        {
            let begun = clock::now();
            let entry = keys.entries.entry(key.clone()).or_default();
            let failed = entry.failed.clone();
            let plan = {
                let look = mirror.look();
                let view = usages.beside(&look);
                key.0
                    .plan(&view, &name, clock::wall_ms(), failed.as_deref())
            };
            let now = clock::now();
            let took = now.duration_since(begun);
            if took >= DEAR {
                let rest = took.saturating_mul(REST_FACTOR).min(REST_MAX);
                keys.resting.insert(key.clone(), now + rest);
            }
            if plan.steps.is_empty() {
                keys.planned(&key, plan.again_in_ms);
                continue;
            }
            keys.entries.entry(key.clone()).or_default().is_running = true;
            keys.running += 1;
            let (executor, sender) = (executor.clone(), done_sender.clone());
            let (mirror, of) = (mirror.clone(), key.clone());
            let carrying_out = task::spawn(async move {
                let done = executor.run(plan.steps).await;
                if done.is_uncertain() {
                    catch_up(&mirror, &executor).await;
                }
                // Nobody listens when this node leads no more.
                let _ = sender.send((key, plan.again_in_ms, done)).await;
            });
            underway.insert(of, Underway(carrying_out));
        }
        let next = keys.next_timer().unwrap_or(events_at).min(events_at);
        tokio::select! {
            biased;
            Some((key, again_in_ms, outcome)) = done.recv() => {
                underway.remove(&key);
                keys.done(&key, again_in_ms, outcome);
            }
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
                match follower.changes() {
                    Some(changes) => keys.touch(&mirror, &changes),
                    None => follower.has_looked(keys.touch_everything(&mirror)),
                }
            }
            () = clock::sleep_until(next) => {
                if clock::now() >= events_at {
                    events_at = clock::now() + EVENTS_INTERVAL;
                    delete_events(&mirror, &executor);
                }
            }
        }
    }
}

/// Waits until the mirror has what a step may have done of which nobody knows how it ended: the
/// next plan would do it once more, under another name.
async fn catch_up<C: ControlApi>(mirror: &Mirror, executor: &Executor<C>) {
    let present = executor.objects.store.revision();
    let caught = clock::timeout(CATCH_UP_MAX, async {
        mirror.reaches(present.await?).await;
        Ok::<(), Failure>(())
    });
    if !matches!(caught.await, Ok(Ok(()))) {
        tracing::debug!("a plan is made though nobody knows how the one before ended");
    }
}

fn delete_events<C: ControlApi>(mirror: &Mirror, executor: &Executor<C>) {
    let all = mirror.look().list(&kinds::EVENTS, None);
    let over = events::over(&all, clock::wall_ms());
    if over.is_empty() {
        return;
    }
    let executor = executor.clone();
    task::spawn(async move {
        let deletion = Deletion::default();
        for name in over {
            let (objects, writer) = (&executor.objects, &executor.writer);
            if let Err(failure) = objects.delete(&name, &deletion, writer).await {
                tracing::debug!(%failure, "an old event is not deleted");
            }
        }
    });
}

impl Keys {
    fn new() -> Self {
        Keys {
            names: BTreeMap::new(),
            entries: BTreeMap::new(),
            ready: VecDeque::new(),
            is_ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            resting: BTreeMap::new(),
            running: 0,
        }
    }

    /// Everything counts as new; where the mirror stood then.
    fn touch_everything(&mut self, mirror: &Mirror) -> Standing {
        let look = mirror.look();
        for kind in kinds::KINDS {
            for object in look.list(kind, None) {
                let change = Change {
                    kind,
                    old: None,
                    new: Some(&object),
                };
                self.touch_one(&look, &change);
            }
        }
        look.standing()
    }

    fn touch(&mut self, mirror: &Mirror, changes: &[Changed]) {
        let look = mirror.look();
        for changed in changes {
            let change = Change {
                kind: changed.name.kind,
                old: changed.old.as_deref(),
                new: changed.new.as_deref(),
            };
            self.touch_one(&look, &change);
        }
    }

    fn touch_one(&mut self, look: &super::mirror::Look<'_>, change: &Change<'_>) {
        for controller in Controller::ALL {
            for name in controller.touched(look, change) {
                let key = (controller, store::key(&name));
                self.names.entry(key.clone()).or_insert(name);
                self.make_ready(key);
            }
        }
    }

    fn make_ready(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key)
            && entry.is_running
        {
            entry.is_stale = true;
            return;
        }
        if self.is_ready.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// The next key to plan for, for which the mirror is far enough.
    fn take(&mut self, reached: i64) -> Option<(Key, Name)> {
        for _ in 0..self.ready.len() {
            let key = self.ready.pop_front()?;
            let entry = self.entries.get(&key);
            if entry.is_some_and(|entry| entry.after_revision > reached) {
                self.ready.push_back(key);
                continue;
            }
            self.is_ready.remove(&key);
            if self.rests(&key) {
                continue;
            }
            // A timer may be left of one that nothing is known of any more.
            if let Some(name) = self.names.get(&key).cloned() {
                return Some((key, name));
            }
        }
        None
    }

    /// Whether a key is left alone for now; then its time comes.
    fn rests(&mut self, key: &Key) -> bool {
        let Some(until) = self.resting.get(key).copied() else {
            return false;
        };
        let left = until.saturating_duration_since(clock::now());
        if !left.is_zero() {
            self.timer(key.clone(), left);
        }
        !left.is_zero()
    }

    /// There was nothing to do.
    fn planned(&mut self, key: &Key, again_in_ms: Option<u64>) {
        self.entries.remove(key);
        match again_in_ms {
            Some(ms) => self.timer(key.clone(), Duration::from_millis(ms)),
            None => {
                self.names.remove(key);
            }
        }
    }

    fn done(&mut self, key: &Key, again_in_ms: Option<u64>, done: Done) {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.is_running = false;
        let is_stale = std::mem::take(&mut entry.is_stale);
        entry.after_revision = entry.after_revision.max(done.revision);
        let was_outrun = done.was_outrun();
        match done.failure {
            None => {
                entry.failures = 0;
                entry.failed = None;
                // What was done changes what is planned next; time may, too.
                if let Some(ms) = again_in_ms {
                    self.timer(key.clone(), Duration::from_millis(ms));
                }
                self.make_ready(key.clone());
            }
            Some(failure) => {
                let exponent = entry.failures.min(16);
                entry.failures += 1;
                entry.failed = (!was_outrun).then(|| failure.message.clone());
                let wait = BACKOFF
                    .start()
                    .saturating_mul(1 << exponent)
                    .min(*BACKOFF.end());
                if !was_outrun {
                    tracing::debug!(controller = ?key.0, key = ?key.1, %failure, "a plan is tried again");
                }
                self.timer(key.clone(), wait);
                // What outran it may be here already.
                if is_stale && was_outrun {
                    self.make_ready(key.clone());
                }
            }
        }
    }

    /// One for each key: the last one that was set.
    fn timer(&mut self, key: Key, wait: Duration) {
        let at = clock::now() + wait;
        if let Some(before) = self.timer_of.insert(key.clone(), at) {
            self.timers.remove(&(before, key.clone()));
        }
        self.timers.insert((at, key));
    }

    fn next_timer(&self) -> Option<clock::Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Keys whose time has come.
    fn wake(&mut self, now: clock::Instant) {
        self.resting.retain(|_, until| *until > now);
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            self.timer_of.remove(&key);
            self.make_ready(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_plan_under_way_ends_with_the_leadership() {
        let (sender, mut steps) = mpsc::channel(1);
        let carrying_out = task::spawn(async move {
            clock::sleep(Duration::from_secs(1)).await;
            let _ = sender.send("a step").await;
        });
        drop(Underway(carrying_out));
        assert_eq!(steps.recv().await, None);
    }
}
