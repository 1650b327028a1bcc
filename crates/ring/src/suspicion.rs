//! How much a silent node is to be suspected: the φ accrual failure detector of Hayashibara,
//! Défago, Yared and Katayama (2004).
//!
//! Signs of life come in; out comes a number that grows with silence, in the measure of how
//! regular that node's signs have been. φ = 1 means that a node as alive as ever would be silent
//! for so long once in ten times, φ = 8 once in 10⁸. Whoever asks chooses his own threshold.
//! Suspicion hurries things up and proves nothing.
//!
//! The paper's normal distribution is kept; its tail is the logistic approximation `1/(1+eᶻ)`
//! with `z = y (1.5976 + 0.070566 y²)` (Bowling et al., 2009), as in Akka's detector, taken as a
//! logarithm so that it never runs out of numbers: long silence gives ever higher φ.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use atoll_base::id::NodeId;

/// How many intervals of a node are remembered.
pub const WINDOW: usize = 128;

/// What is known of nodes before they have said anything, and what is too much to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How often signs of life are sent. Counts as the first interval, so that one sign is
    /// enough to be missed later.
    pub interval: Duration,
    /// The least deviation that is reckoned with. A node that was regular to the microsecond is
    /// not to be suspected for the first millisecond. At least a microsecond.
    pub deviation_min: Duration,
    /// A silence longer than this tells of an outage and not of the node's habits: after it a
    /// node begins anew.
    pub interval_max: Duration,
}

/// Signs of life of all nodes. Times are those of one monotonic clock, counted from anywhere.
#[derive(Clone, Debug)]
pub struct Suspicion {
    expectation: Expectation,
    nodes: BTreeMap<NodeId, History>,
}

/// When one node gave signs of life.
#[derive(Clone, Debug, PartialEq, Eq)]
struct History {
    last: Duration,
    /// Microseconds each, which makes the sums exact: what leaves the window leaves no trace.
    intervals: VecDeque<u64>,
    sum: u128,
    squares: u128,
}

impl Suspicion {
    /// Nobody is known yet.
    pub fn new(expectation: Expectation) -> Self {
        Self {
            expectation,
            nodes: BTreeMap::new(),
        }
    }

    /// A sign of life came. One that came before the latest tells nothing new.
    pub fn heartbeat(&mut self, node: NodeId, now: Duration) {
        let first = History::new(now, self.expectation.interval);
        let history = self.nodes.entry(node).or_insert_with(|| first.clone());
        let Some(interval) = now.checked_sub(history.last).filter(|it| !it.is_zero()) else {
            return;
        };
        if interval > self.expectation.interval_max {
            *history = first;
            return;
        }
        history.last = now;
        history.learn(interval);
    }

    /// How much a node is suspected; `None` if it never gave a sign of life.
    pub fn phi(&self, node: NodeId, now: Duration) -> Option<f64> {
        let history = self.nodes.get(&node)?;
        Some(history.phi(now, self.expectation.deviation_min))
    }

    /// Forgets a node that is no longer of the cluster. Whoever feeds this does that, so that
    /// it knows no more nodes than the topology.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }
}

impl History {
    fn new(now: Duration, interval: Duration) -> Self {
        let mut history = Self {
            last: now,
            intervals: VecDeque::with_capacity(WINDOW),
            sum: 0,
            squares: 0,
        };
        history.learn(interval);
        history
    }

    fn learn(&mut self, interval: Duration) {
        if self.intervals.len() == WINDOW
            && let Some(oldest) = self.intervals.pop_front()
        {
            self.sum -= u128::from(oldest);
            self.squares -= square(oldest);
        }
        // As if it were so long where it is longer: 71 minutes, of which nobody learns.
        let interval = u32::try_from(interval.as_micros()).map_or(u64::from(u32::MAX), u64::from);
        self.intervals.push_back(interval);
        self.sum += u128::from(interval);
        self.squares += square(interval);
    }

    fn phi(&self, now: Duration, deviation_min: Duration) -> f64 {
        let count = self.intervals.len() as u128;
        let mean = self.sum as f64 / count as f64;
        // n Σx² − (Σx)² is exact and not negative.
        let spread = count * self.squares - self.sum * self.sum;
        let deviation = (spread as f64).sqrt() / count as f64;
        let deviation = deviation.max(deviation_min.as_micros().max(1) as f64);
        let silence = now.saturating_sub(self.last).as_micros() as f64;
        let late = (silence - mean) / deviation;
        let z = late * (1.5976 + 0.070_566 * late * late);
        // −log₁₀ of 1/(1 + eᶻ), in the form that does not overflow on that side.
        let ln = if z > 0.0 {
            z + (-z).exp().ln_1p()
        } else {
            z.exp().ln_1p()
        };
        ln / std::f64::consts::LN_10
    }
}

fn square(interval: u64) -> u128 {
    u128::from(interval) * u128::from(interval)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const NODE: NodeId = NodeId(7);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn expectation() -> Expectation {
        Expectation {
            interval: ms(100),
            deviation_min: ms(10),
            interval_max: ms(2_000),
        }
    }

    /// A history with these intervals, and when its last sign came.
    fn after(intervals: &[u64]) -> (Suspicion, Duration) {
        let mut suspicion = Suspicion::new(expectation());
        let mut now = ms(5);
        suspicion.heartbeat(NODE, now);
        for interval in intervals {
            now += ms(*interval);
            suspicion.heartbeat(NODE, now);
        }
        (suspicion, now)
    }

    fn phi(intervals: &[u64], silence_ms: u64) -> f64 {
        let (suspicion, last) = after(intervals);
        suspicion.phi(NODE, last + ms(silence_ms)).unwrap()
    }

    #[test]
    fn phi_says_how_rare_the_silence_is() {
        let regular = [100; 50];
        assert!((phi(&regular, 100) - 0.301).abs() < 0.001, "half are later");
        // One, two and three deviations: 15.9 %, 2.3 % and 0.13 % are later.
        for (late, tail) in [(10, 0.1587f64), (20, 0.0228), (30, 0.00135)] {
            let exact = -tail.log10();
            assert!((phi(&regular, 100 + late) - exact).abs() < 0.05, "{late}");
        }
        assert!(phi(&regular, 0) < 0.001);
        assert!(phi(&regular, 160) > 8.0);
        assert!(phi(&regular, u64::from(u32::MAX)).is_finite());
    }

    #[test]
    fn who_was_irregular_is_given_more_time() {
        let irregular: Vec<u64> = (0..50).map(|it| 50 + 100 * (it % 2)).collect();
        assert!(phi(&irregular, 160) < 1.5);
        assert!(phi(&irregular, 500) > 8.0);
    }

    #[test]
    fn nobody_is_suspected_before_he_was_heard_of_and_after_he_was_forgotten() {
        let (mut suspicion, now) = after(&[]);
        assert_eq!(suspicion.phi(NodeId(8), now), None);
        assert!(suspicion.phi(NODE, now + ms(200)).unwrap() > 8.0);
        suspicion.forget(NODE);
        assert_eq!(suspicion.phi(NODE, now), None);
    }

    #[test]
    fn an_outage_is_not_learnt_from() {
        let outage = [&[100; 20][..], &[60_000]].concat();
        assert!((phi(&outage, 160) - phi(&[], 160)).abs() < 1e-9);
        assert!(phi(&outage, 160) > 8.0);
    }

    #[test]
    fn signs_that_come_late_tell_nothing() {
        let (mut suspicion, now) = after(&[100, 100]);
        let before = suspicion.phi(NODE, now + ms(130));
        suspicion.heartbeat(NODE, now - ms(50));
        suspicion.heartbeat(NODE, now);
        assert_eq!(suspicion.phi(NODE, now + ms(130)), before);
    }

    proptest! {
        #[test]
        fn suspicion_grows_with_silence_and_ends_with_a_sign(
            intervals in vec(1..2_000u64, 0..200),
            silences in vec(0..100_000u64, 2..20),
        ) {
            let (mut suspicion, last) = after(&intervals);
            let mut silences = silences;
            silences.sort_unstable();
            let of = |silence: u64| suspicion.phi(NODE, last + ms(silence)).unwrap();
            let grows: Vec<f64> = silences.iter().map(|it| of(*it)).collect();
            prop_assert!(grows.iter().all(|it| it.is_finite() && *it >= 0.0));
            prop_assert!(grows.is_sorted());
            let now = last + ms(10_000);
            suspicion.heartbeat(NODE, now);
            prop_assert!(suspicion.phi(NODE, now).unwrap() < 0.31);
        }

        #[test]
        fn what_left_the_window_is_forgotten(
            old in vec(1..2_000u64, 0..300),
            new in vec(1..2_000u64, WINDOW),
        ) {
            let all = [old, new.clone()].concat();
            let ((long, end), (short, short_end)) = (after(&all), after(&new));
            prop_assert_eq!(long.nodes[&NODE].intervals.len(), WINDOW);
            prop_assert_eq!(
                long.phi(NODE, end + ms(300)),
                short.phi(NODE, short_end + ms(300))
            );
        }
    }
}
