//! Tasks: spawned work, blocking work, and simulated nodes whose tasks die together.
//!
//! A [`Group`] is one life of a simulated node. Everything spawned inside [`scope`] belongs to
//! it, and so does what those tasks spawn; [`Group::kill`] ends them all at their next wait,
//! as a crash would, and [`Group::freeze`] holds them there, as SIGSTOP would. Outside a scope
//! `spawn` is tokio's.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where tasks are spawned"
)]

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;
pub use tokio::task::{JoinError, JoinHandle, yield_now};

use crate::random;

/// Finished tasks are dropped from a group's list when it reaches this length, or twice the
/// number that were alive at the last such time.
const PRUNE_TASKS_MIN: usize = 64;

tokio::task_local! {
    static GROUP: Group;
}

/// The tasks of one life of a simulated node. Clones are the same group.
#[derive(Clone, Default)]
pub struct Group(Arc<GroupState>);

#[derive(Default)]
struct GroupState {
    killed: AtomicBool,
    /// Those who wanted to go on while it is frozen.
    frozen: Mutex<Option<Vec<Waker>>>,
    tasks: Mutex<Tasks>,
    clock_offset_ms: AtomicI64,
    clock_drift_ppm: AtomicI64,
}

#[derive(Default)]
struct Tasks {
    handles: Vec<AbortHandle>,
    prune_at: usize,
}

impl Group {
    /// A group without tasks.
    pub fn new() -> Self {
        Group::default()
    }

    /// Ends every task of the group at its next wait; whatever is spawned in it later never
    /// runs. The tasks' values are dropped by the runtime soon after: see [`Group::ended`].
    pub fn kill(&self) {
        self.0.killed.store(true, Ordering::SeqCst);
        for handle in &self.0.tasks.lock().handles {
            handle.abort();
        }
    }

    /// Whether the group was killed.
    pub fn is_killed(&self) -> bool {
        self.0.killed.load(Ordering::SeqCst)
    }

    /// Holds every task of the group at its next wait. Time goes on meanwhile.
    pub fn freeze(&self) {
        self.0.frozen.lock().get_or_insert_default();
    }

    /// Lets the group's tasks go on.
    pub fn thaw(&self) {
        for held in self.0.frozen.lock().take().unwrap_or_default() {
            held.wake();
        }
    }

    /// Whether a task has to wait because the group is frozen; it is woken when it may go on.
    fn holds(&self, context: &Context<'_>) -> bool {
        match &mut *self.0.frozen.lock() {
            Some(held) => {
                held.push(context.waker().clone());
                true
            }
            None => false,
        }
    }

    /// A task's future, which stands still while the group is frozen.
    async fn run<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| match self.holds(context) {
            true => Poll::Pending,
            false => future.as_mut().poll(context),
        })
        .await
    }

    /// Waits until no task of the group is left, and so everything that they owned is dropped.
    pub async fn ended(&self) {
        while self.alive() > 0 {
            yield_now().await;
        }
    }

    /// The number of tasks that have not ended.
    pub fn alive(&self) -> usize {
        let mut tasks = self.0.tasks.lock();
        tasks.handles.retain(|handle| !handle.is_finished());
        tasks.handles.len()
    }

    /// How this node's wall clock differs in a simulation: a fixed offset, and parts per
    /// million by which it runs fast (or slow, if negative).
    pub fn set_clock(&self, offset_ms: i64, drift_ppm: i64) {
        self.0.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
        self.0.clock_drift_ppm.store(drift_ppm, Ordering::Relaxed);
    }

    /// The group of the current task, if it has one.
    pub fn current() -> Option<Group> {
        GROUP.try_with(Group::clone).ok()
    }

    fn add(&self, handle: AbortHandle) {
        let mut tasks = self.0.tasks.lock();
        // Under the lock, so that a kill either sees the handle or is seen here.
        if self.is_killed() {
            handle.abort();
        }
        if tasks.handles.len() >= tasks.prune_at.max(PRUNE_TASKS_MIN) {
            tasks.handles.retain(|handle| !handle.is_finished());
            tasks.prune_at = tasks.handles.len() * 2;
        }
        tasks.handles.push(handle);
    }
}

/// Runs a future as part of a group: what it spawns belongs to the group. The future itself
/// is the caller's, and does not end with the group.
pub async fn scope<F: Future>(group: Group, future: F) -> F::Output {
    GROUP.scope(group, future).await
}

/// Runs a function as part of a group.
pub fn scope_sync<T>(group: Group, run: impl FnOnce() -> T) -> T {
    GROUP.sync_scope(group, run)
}

/// Spawns a task on the current runtime, in the group of the current task if it has one.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Group::current() {
        None => tokio::spawn(future),
        Some(group) => {
            let task = tokio::spawn(GROUP.scope(group.clone(), group.clone().run(future)));
            group.add(task.abort_handle());
            task
        }
    }
}

/// Runs a function that blocks, away from the async threads; in a simulation at once, on the
/// simulation's own thread. A panic in it goes on in the caller.
pub async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    if random::is_simulated() {
        return run();
    }
    match tokio::task::spawn_blocking(run).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down and takes the caller along.
        Err(_) => std::future::pending().await,
    }
}

/// Runs a function on each item, on so many threads, and waits for all; in a simulation on the
/// simulation's own thread. What came of the items is in their order.
///
/// # Errors
/// That of the first item with one, and items after it may not have been looked at.
pub fn each<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    threads: usize,
    run: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if threads <= 1 || random::is_simulated() {
        return items.into_iter().map(run).collect();
    }
    let has_failed = AtomicBool::new(false);
    let left = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed) {
                    // Not in the loop's condition, where the lock would be held for the run.
                    let next = left.lock().next();
                    let Some((place, item)) = next else { break };
                    let result = run(item);
                    has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    done.lock().push((place, result));
                }
            });
        }
    });
    // Items begin in their order, so none before a failed one is left out.
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How long a thread waits for another one to take over from it.
const HAND_OVER: std::time::Duration = std::time::Duration::from_millis(1);

/// Lets another thread go on with what waits for this one, for a task that has much to compute
/// yet. Where tasks have one thread only, as in a simulation, nothing changes.
pub fn step_aside() {
    let flavor = tokio::runtime::Handle::try_current().map(|it| it.runtime_flavor());
    if matches!(flavor, Ok(tokio::runtime::RuntimeFlavor::MultiThread)) {
        // A thread that says that it will block gives its queue away. If nobody takes it in this
        // time it has it back, and nothing is lost but a millisecond.
        tokio::task::block_in_place(|| std::thread::sleep(HAND_OVER));
    }
}

/// The date on the current node's wall clock, `elapsed_ms` after `start_ms`.
pub(crate) fn skewed_ms(start_ms: u64, elapsed_ms: u64) -> u64 {
    let true_ms = start_ms.saturating_add(elapsed_ms);
    let Some(group) = Group::current() else {
        return true_ms;
    };
    let drift_ppm = i128::from(group.0.clock_drift_ppm.load(Ordering::Relaxed));
    let offset_ms = i128::from(group.0.clock_offset_ms.load(Ordering::Relaxed));
    let skew_ms = offset_ms + i128::from(elapsed_ms) * drift_ppm / 1_000_000;
    u64::try_from((i128::from(true_ms) + skew_ms).max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use super::*;
    use crate::clock;

    #[test]
    fn each_item_is_run_once_and_in_order() {
        for threads in [1, 3] {
            let items: Vec<u32> = (0..1_000).collect();
            let doubled = each(items, threads, |item| Ok::<_, ()>(item * 2));
            assert_eq!(doubled, Ok((0..1_000).map(|item| item * 2).collect()));
            let failed = each((0..1_000).collect(), threads, |item: u32| match item {
                7 | 400 => Err(item),
                item => Ok(item),
            });
            assert_eq!(failed, Err(7));
            assert_eq!(
                each(Vec::new(), threads, |(): ()| Ok::<_, ()>(())),
                Ok(vec![])
            );
        }
    }

    /// What a task woke last waits for its own thread, and no other one takes it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_steps_aside_lets_others_go_on() {
        /// A step aside may find nobody who is quick enough.
        const STEPS_MAX: usize = 1_000;
        let computing = spawn(async {
            let is_done = Arc::new(AtomicBool::new(false));
            let done = is_done.clone();
            spawn(async move { done.store(true, Ordering::SeqCst) });
            (0..STEPS_MAX).any(|_| {
                step_aside();
                is_done.load(Ordering::SeqCst)
            })
        });
        assert!(computing.await.expect("it does not panic"));
    }

    #[tokio::test]
    async fn one_thread_has_nobody_to_step_aside_for() {
        step_aside();
    }

    #[tokio::test(start_paused = true)]
    async fn a_kill_takes_the_whole_tree_and_nothing_else() {
        let ticks = Arc::new(AtomicUsize::new(0));
        let group = Group::new();
        let inside = ticks.clone();
        scope(group.clone(), async move {
            spawn(async move {
                spawn(tick(inside.clone()));
                tick(inside).await;
            });
        })
        .await;
        let outside = Arc::new(AtomicUsize::new(0));
        let stranger = spawn(tick(outside.clone()));
        clock::sleep(Duration::from_millis(35)).await;
        assert_eq!((ticks.load(Ordering::SeqCst), group.alive()), (6, 2));

        group.kill();
        group.ended().await;
        assert_eq!(
            Arc::strong_count(&ticks),
            1,
            "what the tasks owned is dropped"
        );
        clock::sleep(Duration::from_millis(100)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 6);
        assert_eq!(outside.load(Ordering::SeqCst), 13);
        stranger.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_group_stands_still_and_goes_on() {
        let ticks = Arc::new(AtomicUsize::new(0));
        let group = Group::new();
        scope_sync(group.clone(), || spawn(tick(ticks.clone())));
        clock::sleep(Duration::from_millis(35)).await;
        group.freeze();
        let late = scope_sync(group.clone(), || spawn(async { 1 }));
        clock::sleep(Duration::from_millis(100)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 3);
        assert!(!late.is_finished());
        group.thaw();
        assert_eq!(late.await.unwrap(), 1);
        clock::sleep(Duration::from_millis(15)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), 5);
        group.freeze();
        group.kill();
        group.ended().await;
        assert_eq!(Arc::strong_count(&ticks), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_killed_group_starts_nothing() {
        let group = Group::new();
        group.kill();
        let task = scope_sync(group.clone(), || spawn(async { 1 }));
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(group.is_killed());
    }

    #[tokio::test(start_paused = true)]
    async fn finished_tasks_are_forgotten() {
        let group = Group::new();
        for _ in 0..10_000 {
            scope_sync(group.clone(), || spawn(async {})).await.unwrap();
        }
        assert!(group.0.tasks.lock().handles.len() <= PRUNE_TASKS_MIN);
    }

    #[tokio::test]
    async fn blocking_work_runs_elsewhere_or_inline_when_simulated() {
        let here = std::thread::current().id();
        assert_ne!(blocking(|| std::thread::current().id()).await, here);
        random::seed_thread(1);
        assert_eq!(blocking(|| std::thread::current().id()).await, here);
        random::unseed_thread();
    }

    async fn tick(count: Arc<AtomicUsize>) {
        loop {
            clock::sleep(Duration::from_millis(10)).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}
