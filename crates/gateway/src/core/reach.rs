//! Whether an endpoint takes connections. One that refuses them, or lets them wait, is asked
//! after all others for a moment; then one request in each such moment tries it again.
//!
//! Without this, the endpoint of a dead machine draws requests: it has none open, so it looks
//! like the one with the most room, until somebody says that it is gone.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long it is asked after all others, and how far tries are apart.
pub const AWAY_MS: u64 = 1_000;

/// What is known about one endpoint.
#[derive(Debug, Default)]
pub struct Reach {
    /// When it may be tried again; 0: it takes connections, as far as anybody knows.
    try_at_ms: AtomicU64,
}

impl Reach {
    /// Whether it is asked after all others.
    pub fn is_away(&self, now_ms: u64) -> bool {
        now_ms < self.try_at_ms.load(Ordering::Relaxed)
    }

    /// No connection came about.
    pub fn failed(&self, now_ms: u64) {
        let try_at_ms = now_ms.saturating_add(AWAY_MS);
        self.try_at_ms.fetch_max(try_at_ms, Ordering::Relaxed);
    }

    /// A request is about to ask it. If that is a try, others wait for what comes of it.
    pub fn asked(&self, now_ms: u64) {
        let try_at_ms = self.try_at_ms.load(Ordering::Relaxed);
        if try_at_ms != 0 && try_at_ms <= now_ms {
            self.failed(now_ms);
        }
    }

    /// It took a connection, or answered on one that it has.
    pub fn reached(&self) {
        // Nobody waits for a line of the cache that is not changed.
        if self.try_at_ms.load(Ordering::Relaxed) != 0 {
            self.try_at_ms.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_reached_is_tried_by_one_request_at_a_time() {
        let reach = Reach::default();
        reach.asked(5);
        assert!(!reach.is_away(5));
        reach.failed(10);
        assert!(reach.is_away(10) && reach.is_away(9 + AWAY_MS));
        assert!(!reach.is_away(10 + AWAY_MS));
        reach.asked(10 + AWAY_MS);
        assert!(reach.is_away(11 + AWAY_MS), "one is trying");
        assert!(!reach.is_away(10 + 2 * AWAY_MS), "nothing came of it");
        reach.failed(10 + 2 * AWAY_MS);
        // A failure that is told late makes nothing earlier.
        reach.failed(11);
        assert!(reach.is_away(9 + 3 * AWAY_MS));
        reach.reached();
        assert!(!reach.is_away(20));
    }
}
