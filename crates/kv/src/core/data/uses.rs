//! When keys were used, or how often: what eviction goes by (Redis: "Key eviction", "Using Redis
//! as an LRU cache").
//!
//! A key has 24 bits for it. Where the last use counts, they are the seconds of a clock that
//! begins anew after 194 days. Where frequency counts, they are 16 bits of the minute of the
//! last use and a counter of 8 bits, which grows ever more slowly (it is raised by a chance that
//! falls with its height) and falls with time. After a change of the policy keys mean something
//! else for a while, as in Redis.
//!
//! A node that starts again, or gets a snapshot, takes all keys as used when that was made.
//!
//! Each node notes what it does itself, so what a key's owner knows is not what another replica
//! knows: that one only sees the writes.

use super::{Milliseconds, Used};

/// What a new key's counter begins with, so that it isn't the first to go.
const COUNTER_BEGIN: u8 = 5;
/// Bits of the counter.
const COUNTER_BITS: u32 = 8;
/// Seconds after which the clock begins anew.
const CLOCK_S: u64 = 1 << 24;
/// Minutes after which the clock begins anew.
const CLOCK_MINUTES: u64 = 1 << 16;

/// What is noted of the use of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// When a key was used last.
    Last,
    /// How often a key is used.
    Frequency {
        /// How slowly counters grow: `lfu-log-factor`.
        log_factor: u32,
        /// Counters fall by one in so many minutes, never if 0: `lfu-decay-time`.
        decay_minutes: u32,
    },
}

fn seconds(now_ms: Milliseconds) -> u32 {
    // Below the bound, so it fits.
    (now_ms / 1000 % CLOCK_S) as u32
}

fn minutes(now_ms: Milliseconds) -> u32 {
    (now_ms / 60_000 % CLOCK_MINUTES) as u32
}

fn counted(now_ms: Milliseconds, counter: u8) -> Used {
    Used::new(minutes(now_ms) << COUNTER_BITS | u32::from(counter))
}

impl Uses {
    /// Of a new key.
    pub fn first(self, now_ms: Milliseconds) -> Used {
        match self {
            Uses::Last => Used::new(seconds(now_ms)),
            Uses::Frequency { .. } => counted(now_ms, COUNTER_BEGIN),
        }
    }

    /// Of a key that is used once more. `chance` is any number.
    pub fn again(self, used: Used, now_ms: Milliseconds, chance: u64) -> Used {
        let Uses::Frequency {
            log_factor,
            decay_minutes,
        } = self
        else {
            return self.first(now_ms);
        };
        let counter = frequency(used, now_ms, decay_minutes);
        let above = u64::from(counter.saturating_sub(COUNTER_BEGIN));
        let rises = chance.is_multiple_of(above * u64::from(log_factor) + 1);
        counted(now_ms, counter.saturating_add(u8::from(rises)))
    }

    /// Of a key that was not used for so long; none if that is not noted.
    pub fn idle_for(self, now_ms: Milliseconds, idle_s: u64) -> Option<Used> {
        let Uses::Last = self else {
            return None;
        };
        let idle_ms = idle_s.saturating_mul(1000);
        Some(self.first(now_ms.saturating_sub(idle_ms)))
    }

    /// Of a key that is used so often; none if that is not noted.
    pub fn as_often_as(self, now_ms: Milliseconds, frequency: u8) -> Option<Used> {
        match self {
            Uses::Last => None,
            Uses::Frequency { .. } => Some(counted(now_ms, frequency)),
        }
    }

    /// How often a key is used, on a scale up to 255; none if that is not noted.
    pub fn frequency(self, used: Used, now_ms: Milliseconds) -> Option<u8> {
        match self {
            Uses::Last => None,
            Uses::Frequency { decay_minutes, .. } => Some(frequency(used, now_ms, decay_minutes)),
        }
    }

    /// For how long a key was not used; none if that is not noted.
    pub fn idle_ms(self, used: Used, now_ms: Milliseconds) -> Option<Milliseconds> {
        let Uses::Last = self else {
            return None;
        };
        let passed = u64::from(seconds(now_ms)) + CLOCK_S - u64::from(used.bits());
        Some(passed % CLOCK_S * 1000)
    }
}

/// A counter as it is after the time that passed.
fn frequency(used: Used, now_ms: Milliseconds, decay_minutes: u32) -> u8 {
    let (at, [counter, ..]) = (used.bits() >> COUNTER_BITS, used.bits().to_le_bytes());
    let passed = (u64::from(minutes(now_ms)) + CLOCK_MINUTES - u64::from(at)) % CLOCK_MINUTES;
    let fallen = passed.checked_div(u64::from(decay_minutes)).unwrap_or(0);
    counter.saturating_sub(u8::try_from(fallen).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chance;

    const MINUTE_MS: u64 = 60_000;
    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn idle_is_the_time_since_the_last_use() {
        let used = Uses::Last.first(NOW_MS);
        assert_eq!(Uses::Last.idle_ms(used, NOW_MS), Some(0));
        assert_eq!(Uses::Last.idle_ms(used, NOW_MS + 7_999), Some(7_000));
        // The clock begins anew in between.
        let turn_ms = (NOW_MS / 1000 / CLOCK_S + 1) * CLOCK_S * 1000;
        let used = Uses::Last.first(turn_ms - 5_000);
        assert_eq!(Uses::Last.idle_ms(used, turn_ms + 5_000), Some(10_000));
        assert_eq!(Uses::Last.frequency(used, turn_ms), None);
        let told = Uses::Last.idle_for(NOW_MS, 1_000).expect("it is noted");
        assert_eq!(Uses::Last.idle_ms(told, NOW_MS), Some(1_000_000));
        assert_eq!(Uses::Last.as_often_as(NOW_MS, 7), None);
        let again = Uses::Last.again(used, turn_ms, 1);
        assert_eq!(Uses::Last.idle_ms(again, turn_ms), Some(0));
    }

    fn after(uses: Uses, times: u64) -> u8 {
        let (mut used, mut state) = (uses.first(NOW_MS), 7);
        for _ in 0..times {
            used = uses.again(used, NOW_MS, chance::next(&mut state));
        }
        uses.frequency(used, NOW_MS).expect("it is noted")
    }

    /// Redis's own table (redis.conf, "lfu-log-factor"), which is about so.
    #[test]
    fn counters_grow_ever_more_slowly() {
        for (log_factor, times, about) in [
            (0, 100, 104),
            (0, 1_000, 255),
            (1, 100, 18),
            (1, 1_000, 49),
            (1, 100_000, 255),
            (10, 100, 10),
            (10, 1_000, 18),
            (10, 100_000, 142),
            (100, 100, 8),
            (100, 100_000, 49),
        ] {
            let uses = Uses::Frequency {
                log_factor,
                decay_minutes: 1,
            };
            let counter = after(uses, times);
            let tolerance = about / 4 + 2;
            assert!(
                counter.abs_diff(about) <= tolerance,
                "{log_factor}, {times}: {counter} is not about {about}"
            );
        }
    }

    #[test]
    fn counters_fall_with_time() {
        let uses = |decay_minutes| Uses::Frequency {
            log_factor: 0,
            decay_minutes,
        };
        let mut used = uses(1).first(NOW_MS);
        for _ in 0..95 {
            used = uses(1).again(used, NOW_MS, 0);
        }
        for (decay_minutes, passed, left) in [
            (1, 0, 100),
            (1, 30, 70),
            (10, 30, 97),
            (0, 60_000, 100),
            (1, 60_000, 0),
        ] {
            let now_ms = NOW_MS + passed * MINUTE_MS;
            let frequency = uses(decay_minutes).frequency(used, now_ms);
            assert_eq!(frequency, Some(left), "{decay_minutes}, {passed}");
        }
        assert_eq!(uses(1).idle_ms(used, NOW_MS), None);
        let told = uses(1).as_often_as(NOW_MS, 7).expect("it is noted");
        assert_eq!(uses(1).frequency(told, NOW_MS), Some(7));
        assert_eq!(uses(1).idle_for(NOW_MS, 7), None);
    }
}
