//! How far a start has got, for whoever waits for it.

use std::{fmt, sync::Arc, time::Duration};

use atoll_world::clock;
use parking_lot::Mutex;

/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How far the start has got. Shown, it is a line for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records of the journal that were read.
    pub records: u64,
    /// Partitions that are as they were.
    pub partitions: usize,
    /// Partitions that there are; none before the whole journal was read.
    pub partitions_total: Option<usize>,
    /// Snapshots that were read.
    pub snapshots: usize,
    /// Bytes of the journal and of snapshots that were read.
    pub bytes: u64,
    /// Bytes that there are to read.
    pub bytes_total: u64,
}

/// Hears how far the start has got: once a second, and when it is done.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partitions_total {
            Some(total) => write!(
                f,
                "{} of {} partitions, ",
                Grouped(self.partitions),
                Grouped(total)
            )?,
            None => f.write_str("the journal, ")?,
        }
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let (read, total) = (gigabytes(self.bytes), gigabytes(self.bytes_total));
        write!(f, "{read:.1} of {total:.1} GB read")
    }
}

/// A number with a comma before every three digits.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// Keeps a start's progress and tells it.
pub(super) struct Meter {
    reached: Mutex<Reached>,
    on_progress: OnProgress,
}

struct Reached {
    progress: Progress,
    next: clock::Instant,
}

impl Meter {
    pub(super) fn new(bytes_total: u64, on_progress: OnProgress, now: clock::Instant) -> Meter {
        let progress = Progress {
            bytes_total,
            ..Progress::default()
        };
        let next = now + TELL_EVERY;
        Meter {
            reached: Mutex::new(Reached { progress, next }),
            on_progress,
        }
    }

    /// It has got further; that is told if nothing was for a while.
    pub(super) fn reach(&self, now: clock::Instant, change: impl FnOnce(&mut Progress)) {
        let mut reached = self.reached.lock();
        change(&mut reached.progress);
        if now >= reached.next {
            reached.next = now + TELL_EVERY;
            (self.on_progress)(reached.progress);
        }
    }

    /// Tells it a last time.
    pub(super) fn done(&self) -> Progress {
        let progress = self.reached.lock().progress;
        (self.on_progress)(progress);
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_far_it_has_got() {
        let mut progress = Progress {
            records: 7,
            bytes: 123_456_789,
            bytes_total: 10_000_000_000,
            ..Progress::default()
        };
        assert_eq!(progress.to_string(), "the journal, 0.1 of 10.0 GB read");
        progress.partitions_total = Some(1_024);
        progress.partitions = 312;
        progress.bytes = 3_149_000_000;
        assert_eq!(
            progress.to_string(),
            "312 of 1,024 partitions, 3.1 of 10.0 GB read"
        );
        assert_eq!(Grouped(1_234_567).to_string(), "1,234,567");
        assert_eq!(Grouped(0).to_string(), "0");
    }

    #[test]
    fn a_long_start_is_told_of_once_a_second() {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let heard = told.clone();
        let on_progress: OnProgress = Arc::new(move |it| heard.lock().push(it.bytes));
        let begin = clock::now();
        let meter = Meter::new(1_000, on_progress, begin);
        for tenth in 1..=25 {
            let now = begin + Duration::from_millis(100) * tenth;
            meter.reach(now, |progress| progress.bytes += 10);
        }
        assert_eq!(*told.lock(), [100, 200]);
        assert_eq!(meter.done().bytes, 250);
        assert_eq!(*told.lock(), [100, 200, 250]);
    }
}
