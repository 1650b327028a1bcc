//! Time: a monotonic clock for waiting, a wall clock for people and leases.
//!
//! Both are tokio's, so that paused (virtual) time moves them together. In a simulation the
//! wall clock starts at a date drawn from the seed, and each simulated node may see it offset
//! and drifting (see [`task::Group::set_clock`]); nothing real is read.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where clocks are read"
)]

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use tokio::time::{
    Instant, Interval, MissedTickBehavior, Sleep, Timeout, error::Elapsed, interval, interval_at,
    sleep, sleep_until, timeout, timeout_at,
};

use crate::{random, task};

/// The earliest date at which a simulation starts, milliseconds since the epoch (2023-11-14).
const SIMULATED_EPOCH_MS: u64 = 1_700_000_000_000;
/// Simulations start within this many milliseconds after it (about a year).
const SIMULATED_SPREAD_MS: u64 = 365 * 24 * 3600 * 1000;

thread_local! {
    /// Where virtual time stood when this thread's simulation began, and the date it was then.
    static SIMULATED_START: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// The monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the epoch, by this node's wall clock. It may jump, either way.
pub fn wall_ms() -> u64 {
    match random::simulation_seed() {
        Some(seed) => simulated_wall_ms(seed),
        None => {
            let since_epoch = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO);
            u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
        }
    }
}

/// The time since this thread's simulation began; none if it does not simulate.
pub(crate) fn simulated() -> Option<Duration> {
    let (start, _) = simulation_start(random::simulation_seed()?);
    Some(now().duration_since(start))
}

fn simulation_start(seed: u64) -> (Instant, u64) {
    SIMULATED_START
        .get()
        .unwrap_or_else(|| start_simulation(seed))
}

fn simulated_wall_ms(seed: u64) -> u64 {
    let (start, date_ms) = simulation_start(seed);
    let elapsed_ms = u64::try_from(now().duration_since(start).as_millis()).unwrap_or(u64::MAX);
    task::skewed_ms(date_ms, elapsed_ms)
}

fn start_simulation(seed: u64) -> (Instant, u64) {
    let start = (
        now(),
        SIMULATED_EPOCH_MS + random::mix(seed) % SIMULATED_SPREAD_MS,
    );
    SIMULATED_START.set(Some(start));
    start
}

/// Forgets where the thread's last simulation began. If a runtime is current, the new one
/// begins now; else when its wall clock is first read.
pub(crate) fn restart_simulation(seed: u64) {
    SIMULATED_START.set(None);
    if tokio::runtime::Handle::try_current().is_ok() {
        start_simulation(seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_wall_clock_follows_virtual_time() {
        random::seed_thread(7);
        let before = wall_ms();
        sleep(Duration::from_millis(1234)).await;
        assert_eq!(wall_ms(), before + 1234);
        random::seed_thread(7);
        assert_eq!(wall_ms(), before, "the same seed starts at the same date");
        random::seed_thread(8);
        assert_ne!(wall_ms(), before);
        random::unseed_thread();
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_sees_its_own_wall_clock() {
        random::seed_thread(7);
        let group = task::Group::new();
        group.set_clock(-500, 1_000); // 1,000 ppm fast: 1 ms a second
        let before = wall_ms();
        let skewed = task::scope(group.clone(), async {
            sleep(Duration::from_secs(10)).await;
            wall_ms()
        })
        .await;
        assert_eq!(skewed, before + 10_000 - 500 + 10);
        random::unseed_thread();
    }
}
