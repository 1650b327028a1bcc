//! How long to wait before something is tried again: each time twice as long, up to a bound.

/// Delays that grow.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first_ms: u64,
    max_ms: u64,
    is_first_free: bool,
    next_ms: u64,
}

impl Backoff {
    /// The first delay, then twice as much each time.
    pub(super) fn new(first_ms: u64, max_ms: u64) -> Backoff {
        Backoff {
            first_ms,
            max_ms,
            is_first_free: false,
            next_ms: first_ms,
        }
    }

    /// The same, with no delay at all the first time.
    pub(super) fn free_first(mut self) -> Backoff {
        self.is_first_free = true;
        self.reset();
        self
    }

    /// The delay before the next try.
    pub(super) fn next_ms(&mut self) -> u64 {
        let delay_ms = self.next_ms;
        self.next_ms = (delay_ms * 2).clamp(self.first_ms, self.max_ms);
        delay_ms
    }

    /// All is well: starts over.
    pub(super) fn reset(&mut self) {
        self.next_ms = if self.is_first_free { 0 } else { self.first_ms };
    }
}

/// Milliseconds as Go writes a duration of whole seconds, which clients know: `1m20s`.
pub(super) fn told(ms: u64) -> String {
    let seconds = ms / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_bound() {
        let mut delays = Backoff::new(10, 300).free_first();
        let seen: Vec<u64> = (0..8).map(|_| delays.next_ms()).collect();
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
        delays.reset();
        assert_eq!((delays.next_ms(), delays.next_ms()), (0, 10));
        let mut delays = Backoff::new(5, 5);
        assert_eq!((delays.next_ms(), delays.next_ms()), (5, 5));
    }

    #[test]
    fn durations_read_as_in_go() {
        let read = [10_000, 80_000, 300_000, 3_600_000].map(told);
        assert_eq!(read, ["10s", "1m20s", "5m0s", "1h0m0s"]);
    }
}
