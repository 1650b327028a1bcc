//! A bucket of tokens: so many requests in a second in the long run, and so many at once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::config::Rate;

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;

/// Kept as one number, so that no lock is needed: when the bucket will be full again, in
/// microseconds (the "generic cell rate algorithm"). In the past: it is full.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// A full bucket.
    pub fn new() -> Self {
        Bucket::default()
    }

    /// Whether nothing was taken for so long that it is as a new one.
    pub fn is_full(&self, now_us: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now_us
    }

    /// Whether there is a token; it is then taken.
    pub fn take(&self, rate: Rate, now_us: u64) -> bool {
        if rate.per_second == 0 || rate.burst == 0 {
            return false;
        }
        let token_us = (SECOND_US / u64::from(rate.per_second)).max(1);
        let burst_us = token_us.saturating_mul(u64::from(rate.burst));
        let spend = |full_us: u64| {
            let full_us = full_us.max(now_us) + token_us;
            (full_us - now_us <= burst_us).then_some(full_us)
        };
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate {
            per_second: 100,
            burst: 5,
        };
        let bucket = Bucket::new();
        let taken = |now_us| (0..1_000).filter(|_| bucket.take(rate, now_us)).count();
        assert_eq!(taken(0), 5);
        assert_eq!(taken(9_999), 0);
        assert_eq!(taken(10_000), 1);
        assert_eq!(taken(30_000), 2);
        assert_eq!(
            taken(10 * SECOND_US),
            5,
            "no more than the burst is gathered"
        );
        let none = Rate {
            per_second: 0,
            burst: 1,
        };
        assert!(!bucket.take(none, 0));
    }
}
