//! Rates of requests for each client, on this node and in the whole cluster.
//!
//! On this node every key has a [`Bucket`]. In the cluster, time is cut into windows as long as
//! the burst takes at the rate, and all nodes add to one counter for each key and window. A node
//! takes out a share of the window's requests at once and spends it by itself, so that not every
//! request has to ask; what it does not spend is lost. So there are never more than the limit
//! in a window, and up to a share for each node less.

use std::collections::BTreeMap;

use super::{bucket::Bucket, config::Rate};

/// So many clients are told apart; what comes while there are more is counted together.
pub const KEYS_MAX: usize = 65_536;
/// A share is this part of a window's requests.
const SHARES: u32 = 20;
/// The largest share.
const SHARE_MAX: u32 = 1_000;
/// The shortest window, milliseconds.
const WINDOW_MS_MIN: u64 = 1_000;

/// Buckets by key.
#[derive(Debug, Default)]
pub struct Keyed {
    buckets: BTreeMap<u64, Bucket>,
    /// For those who find no place.
    others: Bucket,
    swept_us: u64,
}

impl Keyed {
    /// Whether there is a token for this key; it is then taken.
    pub fn take(&mut self, key: u64, rate: Rate, now_us: u64) -> bool {
        if !self.buckets.contains_key(&key) && self.buckets.len() >= KEYS_MAX {
            self.sweep(now_us);
            if self.buckets.len() >= KEYS_MAX {
                return self.others.take(rate, now_us);
            }
        }
        self.buckets.entry(key).or_default().take(rate, now_us)
    }

    /// Forgets those that are full, once in a second.
    fn sweep(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.swept_us) < 1_000_000 {
            return;
        }
        self.swept_us = now_us;
        self.buckets.retain(|_, bucket| !bucket.is_full(now_us));
    }
}

/// What this node may spend of what the cluster shares, by key.
#[derive(Debug, Default)]
pub struct Shares {
    window: u64,
    shares: BTreeMap<u64, Share>,
}

#[derive(Debug, Default)]
struct Share {
    left: u32,
    is_spent: bool,
}

/// What is to be done about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It may pass.
    Passes,
    /// It may not.
    Refused,
    /// The cluster is to be asked: so much is to be added to the counter of this window, and
    /// what it comes to is to be told to [`Shares::granted`].
    Ask {
        /// Which window.
        window: u64,
        /// How much.
        amount: u32,
    },
}

/// How long the windows of a rate are, milliseconds, and how many requests each one has.
pub fn window(rate: Rate) -> (u64, u32) {
    let per_second = u64::from(rate.per_second.max(1));
    let window_ms = (u64::from(rate.burst) * 1_000 / per_second).max(WINDOW_MS_MIN);
    let requests = u64::from(rate.per_second) * window_ms / 1_000;
    (window_ms, u32::try_from(requests).unwrap_or(u32::MAX))
}

impl Shares {
    /// A request comes at `wall_ms`, milliseconds since the epoch, which nodes agree on.
    pub fn take(&mut self, key: u64, rate: Rate, wall_ms: u64) -> Taken {
        let (window_ms, limit) = window(rate);
        let window = wall_ms / window_ms;
        if self.window != window {
            self.window = window;
            self.shares.clear();
        }
        if limit == 0 {
            return Taken::Refused;
        }
        let share = self.shares.get_mut(&key);
        match share {
            Some(share) if share.left > 0 => {
                share.left -= 1;
                Taken::Passes
            }
            Some(share) if share.is_spent => Taken::Refused,
            _ => Taken::Ask {
                window,
                amount: (limit / SHARES).clamp(1, SHARE_MAX),
            },
        }
    }

    /// The cluster's counter came to `sum` when `amount` was added. Whether the request that
    /// asked may pass.
    pub fn granted(&mut self, key: u64, rate: Rate, window: u64, amount: u32, sum: u64) -> bool {
        let (_, limit) = self::window(rate);
        let before = sum.saturating_sub(u64::from(amount));
        let granted = u64::from(limit)
            .saturating_sub(before)
            .min(u64::from(amount));
        let granted = u32::try_from(granted).expect("it is at most the amount");
        let has_place = self.shares.len() < KEYS_MAX || self.shares.contains_key(&key);
        // A window that is over has nothing to spend any more.
        if self.window == window && has_place {
            let share = self.shares.entry(key).or_default();
            share.left += granted.saturating_sub(1);
            share.is_spent |= sum >= u64::from(limit);
        }
        granted > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    #[test]
    fn clients_are_counted_apart_and_bounded() {
        let mut keyed = Keyed::default();
        let one = rate(1, 1);
        assert!(keyed.take(1, one, 0) && keyed.take(2, one, 0));
        assert!(!keyed.take(1, one, 0) && keyed.take(1, one, 1_000_000));
        for key in 0..2 * KEYS_MAX as u64 {
            keyed.take(key, one, 2_000_000);
        }
        assert_eq!(keyed.buckets.len(), KEYS_MAX);
        assert!(
            !keyed.take(u64::MAX, one, 2_000_000),
            "the others share one"
        );
        assert!(
            keyed.take(u64::MAX, one, 4_000_000),
            "those that are full are forgotten"
        );
        assert_eq!(keyed.buckets.len(), 1);
    }

    /// Nodes that ask one counter.
    fn passed(nodes: usize, requests: usize, rate: Rate) -> (u64, u64) {
        let mut shares: Vec<Shares> = (0..nodes).map(|_| Shares::default()).collect();
        let (mut sum, mut passed, mut asked) = (0, 0, 0);
        for request in 0..requests {
            let node = &mut shares[request % nodes];
            let passes = match node.take(7, rate, 5_000) {
                Taken::Passes => true,
                Taken::Refused => false,
                Taken::Ask { window, amount } => {
                    asked += 1;
                    sum += u64::from(amount);
                    node.granted(7, rate, window, amount, sum)
                }
            };
            passed += u64::from(passes);
        }
        (passed, asked)
    }

    #[test]
    fn nodes_share_a_limit() {
        assert_eq!(passed(3, 3_000, rate(100, 100)), (100, 22));
        assert_eq!(passed(1, 3_000, rate(100, 100)), (100, 20));
        assert_eq!(passed(4, 3_000, rate(7, 7)), (7, 10));
        // A few in a minute.
        assert_eq!(window(rate(1, 60)), (60_000, 60));
        assert_eq!(window(rate(100, 10)), (1_000, 100));
        assert_eq!(passed(2, 500, rate(1, 60)), (60, 21));
        assert_eq!(passed(2, 10, rate(0, 10)).0, 0);
    }

    #[test]
    fn windows_end() {
        let mut shares = Shares::default();
        let rate = rate(1, 1);
        let Taken::Ask { window, amount } = shares.take(1, rate, 999) else {
            panic!("nobody has asked yet");
        };
        assert!(shares.granted(1, rate, window, amount, 1));
        assert_eq!(shares.take(1, rate, 999), Taken::Refused);
        assert!(matches!(
            shares.take(1, rate, 1_000),
            Taken::Ask {
                window: 1,
                amount: 1
            }
        ));
        // The answer about the window before comes late.
        assert!(!shares.granted(1, rate, 0, 1, 2));
        assert!(matches!(shares.take(1, rate, 1_000), Taken::Ask { .. }));
    }
}
