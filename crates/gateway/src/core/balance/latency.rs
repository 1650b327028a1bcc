//! How long an endpoint takes to answer: a mean in which old answers fade (EWMA), and which
//! jumps up at once when an answer takes longer, as Finagle's "peak EWMA" does: better shy of
//! an endpoint for some seconds than in its queue.

use std::sync::atomic::{AtomicU64, Ordering};

/// An answer this old counts half, in microseconds.
pub(super) const HALF_LIFE_US: u64 = 10_000_000;

/// The mean, and when it was last changed. Two changes at the same moment may lose one.
#[derive(Debug, Default)]
pub struct Latency {
    mean_us: AtomicU64,
    at_us: AtomicU64,
}

impl Latency {
    /// An answer came after `sample_us`.
    pub fn observe(&self, sample_us: u64, now_us: u64) {
        let sample_us = sample_us.max(1);
        let mean_us = self.mean_us.load(Ordering::Relaxed);
        let last_us = self.at_us.swap(now_us, Ordering::Relaxed);
        let new_us = if mean_us == 0 || sample_us >= mean_us {
            sample_us
        } else {
            // At least a little for each answer, however fast they come.
            let aged_us = now_us.saturating_sub(last_us).max(HALF_LIFE_US / 1_000);
            let step = u128::from(mean_us - sample_us) * u128::from(aged_us)
                / (u128::from(HALF_LIFE_US) + u128::from(aged_us));
            mean_us - step as u64
        };
        self.mean_us.store(new_us, Ordering::Relaxed);
    }

    /// The mean in microseconds; 0 if nothing was observed.
    pub fn mean_us(&self) -> u64 {
        self.mean_us.load(Ordering::Relaxed)
    }
}
