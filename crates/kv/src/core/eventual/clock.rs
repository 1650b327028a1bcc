//! Hybrid logical clocks: stamps that follow causes, and stay near the time of day.
//!
//! Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical Physical Clocks and Consistent Snapshots
//! in Globally Distributed Databases", 2014: a stamp is a time of day in milliseconds and a
//! counter; who writes takes the greater of its own time of day and one more than all it has
//! seen. Here both are one number, milliseconds above and the counter in the lowest 16 bits, so
//! that a counter that is full goes over into the next millisecond. Who wrote makes stamps of
//! different replicas different, and their order total.
//!
//! A clock that is ahead drags all others along, so what comes from further ahead than
//! [`DRIFT_MS_MAX`] is refused: whoever sent it has to set its clock right.
//!
//! Why not the crate `uhlc`: its clock is a plain function without state (`fn() -> NTP64`), asked
//! whenever a stamp is made or checked. Here time is an argument, so that one process can run
//! several replicas with clocks that are wrong in different ways, which is what the simulation
//! does. It also keeps a lock of its own, has no way to go on from a place on disk, and names
//! writers by 16 bytes, so a stamp would take 24 in place of 16, in memory, once for each member
//! of a set. What is left of it would be an addition and a comparison.

use std::fmt;

use super::author::Author;
use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::Milliseconds,
};

/// A stamp from further ahead of the receiver's time of day is refused, in milliseconds.
pub const DRIFT_MS_MAX: u64 = 5_000;
/// Bits of a time that count within a millisecond.
const COUNTER_BITS: u32 = 16;
/// Milliseconds that fit above them: until the year 10889.
const MS_MAX: u64 = u64::MAX >> COUNTER_BITS;

/// When something was written, and by whom. Ordered by time, then by who.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since 1970 above, a counter below.
    time: u64,
    /// Who wrote. Nobody in stamps that stand for a moment.
    author: Author,
}

impl Stamp {
    /// Before all others.
    pub const ZERO: Stamp = Stamp {
        time: 0,
        author: Author::NOBODY,
    };

    /// Bytes that a stamp takes at least.
    pub(super) const BYTES_MIN: usize = 9;

    /// The first moment of a millisecond: not after anything written in it, after all that was
    /// written before it.
    pub fn of_moment(at_ms: Milliseconds) -> Stamp {
        Stamp {
            time: at_ms.min(MS_MAX) << COUNTER_BITS,
            author: Author::NOBODY,
        }
    }

    /// Its millisecond.
    pub fn ms(self) -> Milliseconds {
        self.time >> COUNTER_BITS
    }

    /// Who wrote.
    pub fn author(self) -> Author {
        self.author
    }

    /// Whether it is the one before all others.
    pub fn is_zero(self) -> bool {
        self == Stamp::ZERO
    }

    /// Mixed into 64 bits, for digests.
    pub(super) fn mixed(self, seed: u64) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8..].copy_from_slice(&self.author.bits().to_le_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, seed)
    }

    pub(super) fn write(self, to: &mut Writer) {
        to.raw(&self.time.to_be_bytes());
        self.author.write(to);
    }

    pub(super) fn read(from: &mut Reader) -> Result<Stamp, CodecError> {
        let mut time = 0;
        for _ in 0..size_of::<u64>() {
            time = (time << 8) | u64::from(from.byte()?);
        }
        Ok(Stamp {
            time,
            author: Author::read(from)?,
        })
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.time & ((1 << COUNTER_BITS) - 1);
        write!(f, "{}.{count}@{}", self.ms(), self.author)
    }
}

/// A stamp that is too far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stamp {stamp} is {ahead_ms} ms ahead of this node's clock; at most {DRIFT_MS_MAX} ms are accepted"
)]
pub struct Ahead {
    /// The stamp.
    pub stamp: Stamp,
    /// By so much.
    pub ahead_ms: u64,
}

/// One replica's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    author: Author,
    /// The greatest time given out or seen.
    last: u64,
}

impl Clock {
    /// Of an author that gave out nothing after `last`, nor ever will again.
    pub fn new(author: Author, last: Stamp) -> Clock {
        Clock {
            author,
            last: last.time,
        }
    }

    /// Who it stamps for.
    pub fn author(&self) -> Author {
        self.author
    }

    /// A stamp that is greater than all that were given out or seen.
    pub fn stamp(&mut self, now_ms: Milliseconds) -> Stamp {
        self.last = Stamp::of_moment(now_ms)
            .time
            .max(self.last.saturating_add(1));
        Stamp {
            time: self.last,
            author: self.author,
        }
    }

    /// The time by which this replica judges what has ended: never before a stamp that it has
    /// given out or seen, so that what is written after an end never looks as if before it.
    pub fn moment_ms(&self, now_ms: Milliseconds) -> Milliseconds {
        now_ms.max(self.last >> COUNTER_BITS)
    }

    /// Whether a stamp may be seen.
    ///
    /// # Errors
    /// It is more than [`DRIFT_MS_MAX`] ahead of `now_ms`.
    pub fn check(stamp: Stamp, now_ms: Milliseconds) -> Result<(), Ahead> {
        let ahead_ms = stamp.ms().saturating_sub(now_ms);
        if ahead_ms > DRIFT_MS_MAX {
            return Err(Ahead { stamp, ahead_ms });
        }
        Ok(())
    }

    /// Sees a stamp that was [checked](Self::check): all that this one gives out later is greater.
    pub fn see(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp.time);
    }

    /// The greatest stamp that may have been given out or seen.
    pub fn last(&self) -> Stamp {
        Stamp {
            time: self.last,
            author: self.author,
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::id::ReplicaId;
    use proptest::prelude::*;

    use super::*;
    use crate::core::eventual::Life;

    fn clock(id: u64) -> Clock {
        Clock::new(Author::first(id), Stamp::ZERO)
    }

    #[test]
    fn stamps_grow_though_the_time_of_day_does_not() {
        let mut clock = clock(1);
        let first = clock.stamp(1_000);
        let second = clock.stamp(1_000);
        let third = clock.stamp(900);
        assert!(first < second && second < third);
        assert_eq!((third.ms(), third.author()), (1_000, Author::first(1)));
        assert_eq!(
            clock.stamp(1_001),
            Stamp {
                time: 1_001 << 16,
                author: Author::first(1)
            }
        );
    }

    #[test]
    fn a_full_counter_goes_over_into_the_next_millisecond() {
        let mut clock = clock(1);
        let stamps = (0..=u64::from(u16::MAX) + 1).map(|_| clock.stamp(5));
        let last = stamps.last().expect("some");
        assert_eq!(
            last,
            Stamp {
                time: 6 << 16,
                author: Author::first(1)
            }
        );
    }

    #[test]
    fn what_follows_from_a_stamp_is_greater() {
        let (mut ahead, mut behind) = (clock(1), clock(2));
        let cause = ahead.stamp(5_000);
        assert_eq!(Clock::check(cause, 1_000), Ok(()));
        behind.see(cause);
        assert!(behind.stamp(1_000) > cause);
        assert_eq!(behind.moment_ms(1_000), 5_000);
    }

    #[test]
    fn what_is_too_far_ahead_is_refused() {
        let stamp = clock(1).stamp(10_000);
        assert_eq!(Clock::check(stamp, 10_000 - DRIFT_MS_MAX), Ok(()));
        let refused = Clock::check(stamp, 9_999 - DRIFT_MS_MAX);
        let ahead_ms = DRIFT_MS_MAX + 1;
        assert_eq!(refused, Err(Ahead { stamp, ahead_ms }));
        assert_eq!(
            refused.expect_err("it is").to_string(),
            "the stamp 10000.0@1 is 5001 ms ahead of this node's clock; at most 5000 ms are accepted"
        );
    }

    #[test]
    fn a_moment_is_between_what_was_written_before_it_and_in_it() {
        let moment = Stamp::of_moment(7);
        assert!(clock(u64::from(u32::MAX)).stamp(6) < moment);
        assert!(moment < clock(1).stamp(7));
    }

    proptest! {
        #[test]
        fn stamps_come_back_from_at_most_sixteen_bytes(time: u64, replica in 1..=u64::from(u32::MAX), life in 0..1_u64 << 24) {
            let life = Life::of_number(life).expect("there is");
            let stamp = Stamp { time, author: Author::new(ReplicaId(replica), life) };
            let mut to = Writer::default();
            stamp.write(&mut to);
            let bytes = to.finish();
            prop_assert!((Stamp::BYTES_MIN..=16).contains(&bytes.len()));
            let mut reader = Reader::new(bytes);
            prop_assert_eq!(Stamp::read(&mut reader), Ok(stamp));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
