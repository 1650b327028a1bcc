//! What the clients of one port have seen so far. Time comes in as an argument.

use std::time::Duration;

use atoll_ring::slot::Slot;
use atoll_world::clock::Instant;
use hdrhistogram::Histogram;

use super::owners::Slots;

/// Longer latencies are counted as this.
const LATENCY_US_MAX: u64 = 600_000_000;

/// How long nobody got anything acknowledged.
#[derive(Clone, Copy, Debug)]
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Gap {
    fn new(now: Instant) -> Gap {
        Gap {
            last: now,
            longest: Duration::ZERO,
        }
    }

    fn until(&self, now: Instant) -> Duration {
        self.longest.max(now - self.last)
    }

    fn end(&mut self, now: Instant) {
        self.longest = self.until(now);
        self.last = now;
    }
}

/// What clients of the other nodes saw of the keys that a killed node owned, after the kill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Struck {
    /// Writes that were acknowledged.
    pub(super) writes: u64,
    /// The longest time without one while somebody waited for one, counted from the kill.
    pub(super) longest_gap: Duration,
    /// The longest that one write took.
    pub(super) longest_wait: Duration,
}

/// The last kill: who it was, and what it owned.
struct Strike {
    node: usize,
    slots: Slots,
    /// So many writes wait that it concerns. While there are none, nobody feels a gap.
    waiting: usize,
    gap: Gap,
}

/// A write that waits for its acknowledgement.
struct Waiting {
    begin: Instant,
    slot: Slot,
    /// The nodes it was sent to.
    sent_to: Vec<usize>,
}

/// Everything that is counted.
pub(super) struct Tally {
    /// How many keys of each client are acknowledged.
    pub(super) acknowledged: Vec<u64>,
    pub(super) reads: u64,
    /// Reads that did not find what had been acknowledged.
    pub(super) missed: u64,
    /// Latency of acknowledged writes, in microseconds: all of them, and since the last look.
    pub(super) all: Histogram<u64>,
    pub(super) since: Histogram<u64>,
    /// What each client waits for.
    waiting: Vec<Option<Waiting>>,
    gap: Gap,
    strike: Option<Strike>,
    struck: Struck,
}

impl Tally {
    pub(super) fn new(clients: usize, now: Instant) -> Tally {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order");
        Tally {
            acknowledged: vec![0; clients],
            reads: 0,
            missed: 0,
            all: histogram(),
            since: histogram(),
            waiting: (0..clients).map(|_| None).collect(),
            gap: Gap::new(now),
            strike: None,
            struck: Struck::default(),
        }
    }

    /// A client begins a write.
    pub(super) fn begin(&mut self, client: usize, key: &[u8], now: Instant) {
        let write = Waiting {
            begin: now,
            slot: Slot::of_key(key),
            sent_to: Vec::new(),
        };
        if let Some(strike) = self.strike.as_mut().filter(|it| it.concerns(&write)) {
            if strike.waiting == 0 {
                strike.gap.last = now;
            }
            strike.waiting += 1;
        }
        self.waiting[client] = Some(write);
    }

    /// A client sends its write to a node.
    pub(super) fn send(&mut self, client: usize, node: usize) {
        let Some(write) = &mut self.waiting[client] else {
            return;
        };
        if write.sent_to.contains(&node) {
            return;
        }
        if let Some(strike) = &mut self.strike
            && strike.node == node
            && strike.concerns(write)
        {
            strike.waiting -= 1;
        }
        write.sent_to.push(node);
    }

    /// A client's write was acknowledged.
    pub(super) fn acknowledge(&mut self, client: usize, now: Instant) {
        let Some(write) = self.waiting[client].take() else {
            return;
        };
        let us = u64::try_from((now - write.begin).as_micros()).unwrap_or(u64::MAX);
        self.acknowledged[client] += 1;
        self.all.saturating_record(us);
        self.since.saturating_record(us);
        self.gap.end(now);
        if let Some(strike) = self.strike.as_mut().filter(|it| it.concerns(&write)) {
            strike.gap.end(now);
            strike.waiting -= 1;
            self.struck.writes += 1;
            self.struck.waited(write.begin, now);
        }
    }

    /// A node that owned these slots is killed now.
    pub(super) fn strike(&mut self, node: usize, slots: Slots, now: Instant) {
        self.close(now);
        let mut strike = Strike {
            node,
            slots,
            waiting: 0,
            gap: Gap::new(now),
        };
        let writes = self.waiting.iter().flatten();
        strike.waiting = writes.filter(|write| strike.concerns(write)).count();
        self.strike = Some(strike);
    }

    /// The load ends. Who is waiting now has waited until now.
    pub(super) fn end(&mut self, now: Instant) {
        self.gap.end(now);
        self.close(now);
    }

    fn close(&mut self, now: Instant) {
        let Some(strike) = &mut self.strike else {
            return;
        };
        for write in self.waiting.iter().flatten() {
            if strike.concerns(write) {
                strike.gap.end(now);
                self.struck.waited(write.begin, now);
            }
        }
        self.struck.longest_gap = self.struck.longest_gap.max(strike.gap.longest);
    }

    /// The longest time in which nothing was acknowledged, the one that lasts included.
    pub(super) fn longest_gap(&self, now: Instant) -> Duration {
        self.gap.until(now)
    }

    /// The same without the one that lasts: the load has ended.
    pub(super) fn longest_gap_ended(&self) -> Duration {
        self.gap.longest
    }

    /// Of all kills; none before the first.
    pub(super) fn struck(&self) -> Option<Struck> {
        self.strike.as_ref().map(|_| self.struck)
    }
}

impl Struck {
    fn waited(&mut self, begin: Instant, now: Instant) {
        self.longest_wait = self.longest_wait.max(now - begin);
    }
}

impl Strike {
    /// Whether a write is to a key that the killed node owned, through other nodes alone.
    fn concerns(&self, write: &Waiting) -> bool {
        self.slots.has(write.slot) && !write.sent_to.contains(&self.node)
    }
}

#[cfg(test)]
mod tests {
    use atoll_world::clock;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A tally whose clients do one thing after the other.
    struct Story(Tally, Instant);

    impl Story {
        fn new(clients: usize) -> Story {
            let begin = clock::now();
            Story(Tally::new(clients, begin), begin)
        }

        fn at(&self, ms: u32) -> Instant {
            self.1 + MS * ms
        }

        fn begin(&mut self, client: usize, key: &str, node: usize, ms: u32) {
            let at = self.at(ms);
            self.0.begin(client, key.as_bytes(), at);
            self.0.send(client, node);
        }

        fn acknowledge(&mut self, client: usize, ms: u32) {
            let at = self.at(ms);
            self.0.acknowledge(client, at);
        }

        fn strike(&mut self, node: usize, ms: u32) {
            let owned = Slots::of([Slot::of_key(b"owned")]);
            let at = self.at(ms);
            self.0.strike(node, owned, at);
        }

        fn end(mut self, ms: u32) -> Tally {
            let at = self.at(ms);
            self.0.end(at);
            self.0
        }
    }

    fn struck(writes: u64, longest_gap_ms: u32, longest_wait_ms: u32) -> Struck {
        Struck {
            writes,
            longest_gap: MS * longest_gap_ms,
            longest_wait: MS * longest_wait_ms,
        }
    }

    #[test]
    fn the_gap_is_the_longest_time_without_an_acknowledgement() {
        let mut story = Story::new(2);
        for (client, at) in [(0, 5), (1, 8), (0, 28)] {
            story.begin(client, "a", 0, at - 5);
            story.acknowledge(client, at);
        }
        assert_eq!(story.0.acknowledged, [2, 1]);
        assert_eq!(story.0.longest_gap(story.at(30)), MS * 20);
        assert_eq!(story.0.longest_gap(story.at(60)), MS * 32);
        assert_eq!(story.0.longest_gap_ended(), MS * 20);
        // Nobody was answered any more.
        let tally = story.end(100);
        assert_eq!(tally.longest_gap_ended(), MS * 72);
        assert_eq!(tally.struck(), None);
    }

    #[test]
    fn of_a_killed_owners_keys_what_clients_of_other_nodes_saw_is_told() {
        let mut story = Story::new(4);
        story.begin(0, "other", 0, 0);
        story.begin(1, "owned", 2, 0);
        story.begin(2, "owned", 1, 5);
        story.begin(3, "owned", 1, 9);
        story.strike(2, 10);
        // Another owner's key, a client of the killed node, and one that turned to it: the
        // first is not its fault, the others could not know.
        story.acknowledge(0, 20);
        story.0.send(1, 0);
        story.acknowledge(1, 20);
        story.0.send(3, 2);
        story.acknowledge(3, 30);
        assert_eq!(story.0.struck(), Some(struck(0, 0, 0)));
        story.acknowledge(2, 40);
        // Until here nobody asks.
        story.begin(2, "owned", 1, 500);
        story.acknowledge(2, 501);
        assert_eq!(story.end(510).struck(), Some(struck(2, 30, 35)));
    }

    #[test]
    fn the_worst_of_all_kills_is_told() {
        let mut story = Story::new(2);
        story.strike(2, 0);
        story.begin(0, "owned", 0, 1);
        story.acknowledge(0, 21);
        story.strike(1, 100);
        story.begin(0, "owned", 0, 110);
        story.acknowledge(0, 112);
        assert_eq!(story.end(120).struck(), Some(struck(2, 20, 20)));
    }

    #[test]
    fn who_is_not_answered_until_the_end_has_waited() {
        let mut story = Story::new(2);
        story.begin(0, "owned", 0, 0);
        story.strike(2, 10);
        assert_eq!(story.end(1_010).struck(), Some(struck(0, 1_000, 1_010)));
    }
}
