//! Rates of routes: on this node, or in the cluster as long as that can be asked.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use atoll_world::clock;
use parking_lot::Mutex;

use super::Shared;
use crate::core::{
    config::RouteRate,
    limiter::{Keyed, Shares, Taken, window},
};

/// How long the cluster's counter is waited for.
const ASK_TIMEOUT: Duration = Duration::from_millis(100);
/// For so long it is not asked again after it did not answer.
const SILENCE_MS: u64 = 1_000;

/// What was taken of one rate.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    keyed: Mutex<Keyed>,
    shares: Mutex<Shares>,
    silent_until_ms: AtomicU64,
}

impl Limiter {
    /// Whether a request may pass.
    pub(crate) async fn take(&self, rate: &RouteRate, key: u64, shared: &Shared) -> bool {
        let now_us = shared.start.elapsed_us();
        let is_silent = now_us / 1_000 < self.silent_until_ms.load(Ordering::Relaxed);
        if rate.is_shared && !is_silent {
            match self.take_shared(rate, key, shared).await {
                Some(passes) => return passes,
                None => {
                    let until_ms = shared.start.elapsed_ms() + SILENCE_MS;
                    self.silent_until_ms.store(until_ms, Ordering::Relaxed);
                    tracing::debug!(rate = %rate.name, "the cluster's counter does not answer");
                }
            }
        }
        self.keyed.lock().take(key, rate.rate, now_us)
    }

    /// `None`: the cluster could not be asked.
    async fn take_shared(&self, rate: &RouteRate, key: u64, shared: &Shared) -> Option<bool> {
        let counter = shared.counter.as_ref()?;
        let taken = self.shares.lock().take(key, rate.rate, clock::wall_ms());
        let (window, amount) = match taken {
            Taken::Passes => return Some(true),
            Taken::Refused => return Some(false),
            Taken::Ask { window, amount } => (window, amount),
        };
        let name = format!("{}/{key:016x}/{window}", rate.name);
        let (window_ms, _) = self::window(rate.rate);
        // Nodes whose clocks are behind still count in it when it is over.
        let asked = counter.add(&name, amount, 2 * window_ms);
        let sum = clock::timeout(ASK_TIMEOUT, asked).await.ok()??;
        let mut shares = self.shares.lock();
        Some(shares.granted(key, rate.rate, window, amount, sum))
    }
}
