//! Smooth weighted round robin, as nginx has it: in each turn every usable endpoint gains its
//! weight, the one that has most is picked and pays what all gained together. Over a whole
//! round each is picked by its weight, and the heavy ones are not picked in bursts.

use super::Candidates;

/// What each endpoint has gained, and not yet paid.
#[derive(Debug)]
pub(super) struct Smooth(Vec<i64>);

impl Smooth {
    pub(super) fn new(count: usize) -> Self {
        Smooth(vec![0; count])
    }

    pub(super) fn pick(&mut self, candidates: &impl Candidates) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for place in 0..self.0.len() {
            if !candidates.is_usable(place) {
                // It would come back with a claim on everything it missed.
                self.0[place] = 0;
                continue;
            }
            let weight = i64::from(candidates.weight(place));
            self.0[place] += weight;
            total += weight;
            if best.is_none_or(|best| self.0[place] > self.0[best]) {
                best = Some(place);
            }
        }
        let best = best?;
        self.0[best] -= total;
        Some(best)
    }
}
