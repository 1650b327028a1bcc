//! A budget for retries, so that they can't multiply the load of a cluster that is down: every
//! request pays in a part of a retry, every retry takes out a whole one, and a few in a second
//! are always there. As in Finagle and linkerd.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::config::Retries;

/// One retry, in the unit that is counted.
const RETRY_MILLI: i64 = 1_000;
/// What a quiet time can gather, in seconds of `budget_per_second` and as retries on top.
const SECONDS_MAX: i64 = 10;
const RETRIES_MAX: i64 = 100;

/// What is left to spend. Races between threads may count one too much or too little.
#[derive(Debug)]
pub struct Budget {
    balance_milli: AtomicI64,
    filled_ms: AtomicU64,
}

impl Budget {
    /// A budget that holds one second's worth.
    pub fn new(retries: &Retries, now_ms: u64) -> Self {
        let second = i64::from(retries.budget_per_second) * RETRY_MILLI;
        Budget {
            balance_milli: AtomicI64::new(second),
            filled_ms: AtomicU64::new(now_ms),
        }
    }

    /// A request came.
    pub fn deposit(&self, retries: &Retries) {
        if self.balance_milli.load(Ordering::Relaxed) < balance_max(retries) {
            let part = i64::from(retries.budget_percent) * RETRY_MILLI / 100;
            self.balance_milli.fetch_add(part, Ordering::Relaxed);
        }
    }

    /// Whether there is a retry left; it is then spent.
    pub fn withdraw(&self, retries: &Retries, now_ms: u64) -> bool {
        let before_ms = self.filled_ms.fetch_max(now_ms, Ordering::Relaxed);
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(before_ms)).unwrap_or(i64::MAX);
        let gained = elapsed_ms.saturating_mul(i64::from(retries.budget_per_second));
        let max = balance_max(retries);
        let spend = |balance: i64| {
            let balance = balance.saturating_add(gained).min(max);
            Some(if balance >= RETRY_MILLI {
                balance - RETRY_MILLI
            } else {
                balance
            })
        };
        let before = self
            .balance_milli
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .expect("it always gives a value");
        before.saturating_add(gained).min(max) >= RETRY_MILLI
    }
}

fn balance_max(retries: &Retries) -> i64 {
    (SECONDS_MAX * i64::from(retries.budget_per_second) + RETRIES_MAX) * RETRY_MILLI
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget, retries: &Retries, now_ms: u64) -> u32 {
        (0..10_000)
            .map_while(|_| budget.withdraw(retries, now_ms).then_some(()))
            .count() as u32
    }

    #[test]
    fn retries_are_a_part_of_requests_and_a_few_each_second() {
        let retries = Retries {
            attempts_max: 2,
            budget_percent: 20,
            budget_per_second: 5,
            ..Retries::default()
        };
        let budget = Budget::new(&retries, 0);
        assert_eq!(spent(&budget, &retries, 0), 5);
        assert_eq!(spent(&budget, &retries, 400), 2);
        (0..50).for_each(|_| budget.deposit(&retries));
        assert_eq!(spent(&budget, &retries, 400), 10);
        assert_eq!(
            spent(&budget, &retries, 399),
            0,
            "a clock that lags gives nothing"
        );
        assert_eq!(
            spent(&budget, &retries, 1_000_000),
            150,
            "a long quiet is bounded"
        );
        (0..100_000).for_each(|_| budget.deposit(&retries));
        assert_eq!(spent(&budget, &retries, 1_000_000), 150);
    }

    #[test]
    fn none_at_all() {
        let retries = Retries {
            attempts_max: 2,
            budget_percent: 0,
            budget_per_second: 0,
            ..Retries::default()
        };
        let budget = Budget::new(&retries, 0);
        budget.deposit(&retries);
        assert_eq!(spent(&budget, &retries, 10_000), 0);
    }
}
