//! Who can reach whom, and how long messages take.

use atoll_world::random::Stream;

use super::NODES;

/// The network's weather.
pub(super) struct Network {
    /// How many faults keep messages from getting from one node to another.
    cuts: [[u32; NODES]; NODES],
    /// How many of those both ends have noticed.
    told: [[u32; NODES]; NODES],
    pub(super) loss_percent: u32,
    pub(super) double_percent: u32,
    pub(super) delay_us_max: u64,
    random: Stream,
}

/// The longest way on a good day.
pub(super) const DELAY_US_MAX: u64 = 1_500;
const DELAY_US_MIN: u64 = 50;

impl Network {
    pub(super) fn new(random: Stream, delay_us_max: u64) -> Self {
        Network {
            cuts: [[0; NODES]; NODES],
            told: [[0; NODES]; NODES],
            loss_percent: 0,
            double_percent: 0,
            delay_us_max,
            random,
        }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize, told: bool) {
        self.cuts[from][to] += 1;
        self.told[from][to] += u32::from(told);
    }

    pub(super) fn join(&mut self, from: usize, to: usize, told: bool) {
        self.cuts[from][to] -= 1;
        self.told[from][to] -= u32::from(told);
    }

    /// Whether both ends take the link for good.
    pub(super) fn looks_up(&self, one: usize, other: usize) -> bool {
        self.told[one][other] == 0 && self.told[other][one] == 0
    }

    /// When a message that is sent now arrives; never, once or twice.
    pub(super) fn ways_us(&mut self, from: usize, to: usize) -> Vec<u64> {
        if self.cuts[from][to] > 0 || self.random.range(0..100) < self.loss_percent {
            return Vec::new();
        }
        let twice = self.random.range(0..100) < self.double_percent;
        (0..1 + u32::from(twice)).map(|_| self.way_us()).collect()
    }

    pub(super) fn way_us(&mut self) -> u64 {
        self.random.range(DELAY_US_MIN..=self.delay_us_max)
    }
}
