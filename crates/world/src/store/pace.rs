//! How fast a table is rewritten when its space is given back.
//!
//! fjall rewrites a table as fast as it can, which takes the disk and a processor from
//! everything else. It asks a filter about each item that it keeps; ours keeps them all, and
//! rests where the writing is ahead of its time. Compactions of fjall's own are not slowed.

#![allow(
    clippy::disallowed_methods,
    reason = "real disks take real time; the simulated store never comes here"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

/// What is written a second, in bytes before compression, at the most.
const BYTES_PER_S_MAX: u64 = 64 << 20;

/// The clock is looked at each time this much was written, in bytes.
const STEP_BYTES: u64 = 1 << 20;

/// One table's switch: while it is on, compactions of the table keep to the pace.
#[derive(Clone, Default)]
pub(super) struct Pace(Arc<AtomicBool>);

/// Switches the pace off again.
pub(super) struct Paced<'a>(&'a Pace);

impl Pace {
    pub(super) fn keep(&self) -> Paced<'_> {
        self.0.store(true, Ordering::Release);
        Paced(self)
    }
}

impl Drop for Paced<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

impl Factory for Pace {
    fn name(&self) -> &str {
        "pace"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Walk {
            pace: self.clone(),
            begin: Instant::now(),
            bytes: 0,
            look_at_bytes: STEP_BYTES,
        })
    }
}

struct Walk {
    pace: Pace,
    begin: Instant,
    bytes: u64,
    look_at_bytes: u64,
}

impl CompactionFilter for Walk {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        self.bytes += (item.key().len() + item.value()?.len()) as u64;
        if self.bytes >= self.look_at_bytes {
            self.look_at_bytes = self.bytes + STEP_BYTES;
            if self.pace.0.load(Ordering::Acquire) {
                thread::sleep(rest(self.bytes, self.begin.elapsed()));
            }
        }
        Ok(Verdict::Keep)
    }
}

/// Lets the store's own threads work for a while.
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}

/// How long to rest after so much was written in so much time.
fn rest(bytes: u64, elapsed: Duration) -> Duration {
    Duration::from_secs_f64(bytes as f64 / BYTES_PER_S_MAX as f64).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_only_where_it_is_ahead_of_its_time() {
        let second = Duration::from_secs(1);
        assert_eq!(rest(BYTES_PER_S_MAX, Duration::ZERO), second);
        assert_eq!(rest(BYTES_PER_S_MAX * 3, second), second * 2);
        assert_eq!(rest(BYTES_PER_S_MAX, second * 2), Duration::ZERO);
    }
}
