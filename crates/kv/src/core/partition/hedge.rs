//! After how long without an answer somebody else is asked.

use std::collections::VecDeque;

/// So many answers are remembered.
const TOOK_MAX: usize = 256;
/// The hedge is so many times what nearly all answers take.
const FACTOR: u64 = 4;
/// And never longer than this.
const MS_MAX: u64 = 500;
/// It is looked at again after so many answers.
const EVERY: usize = 16;

/// Four times what 99 of 100 recent answers took at the most, within bounds.
#[derive(Clone, Debug)]
pub(super) struct Hedge {
    ms_min: u64,
    ms: u64,
    took_ms: VecDeque<u64>,
    answers: usize,
}

impl Hedge {
    pub(super) fn new(ms_min: u64) -> Self {
        Hedge {
            ms_min,
            ms: ms_min,
            took_ms: VecDeque::new(),
            answers: 0,
        }
    }

    pub(super) fn ms(&self) -> u64 {
        self.ms
    }

    /// Keeps how long an answer took.
    pub(super) fn learn(&mut self, took_ms: u64) {
        self.took_ms.push_back(took_ms);
        while self.took_ms.len() > TOOK_MAX {
            self.took_ms.pop_front();
        }
        self.answers = self.answers.wrapping_add(1);
        if self.answers.is_multiple_of(EVERY) {
            let mut all: Vec<u64> = self.took_ms.iter().copied().collect();
            let place = (all.len() * 99).div_ceil(100) - 1;
            let (_, p99_ms, _) = all.select_nth_unstable(place);
            self.ms = p99_ms.saturating_mul(FACTOR).min(MS_MAX).max(self.ms_min);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_nearly_all_answers_take() {
        let mut hedge = Hedge::new(30);
        let mut learn = |took_ms, times| {
            for _ in 0..times {
                hedge.learn(took_ms);
            }
            hedge.ms()
        };
        assert_eq!(learn(2, 100), 30);
        // Two of a hundred.
        assert_eq!(learn(50, 2), 30);
        assert_eq!(learn(2, 10), 200);
        assert_eq!(learn(20, 256), 80);
        assert_eq!(learn(10_000, 256), 500);
        assert_eq!(learn(1, 272), 30);
    }
}
