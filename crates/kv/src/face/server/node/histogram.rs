//! Times, counted in buckets that are an eighth wide, as in an HDR histogram.

use std::time::Duration;

/// Buckets to each power of two.
const PARTS: usize = 8;
const PARTS_BITS: u32 = PARTS.ilog2();

/// So many nanoseconds, about 18 minutes, are told apart; longer is counted there.
const NANOS_BITS: u32 = 40;
const BUCKETS: usize = (NANOS_BITS - PARTS_BITS + 1) as usize * PARTS;

/// Counts of times.
pub(super) struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: [0; BUCKETS],
            count: 0,
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A time that is not shorter than this part, of a hundred, of all.
    pub(super) fn percentile(&self, percentile: f64) -> Duration {
        let wanted = (percentile / 100.0 * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(last_of(bucket));
            }
        }
        Duration::ZERO
    }

    /// How many took up to so many microseconds, for each power of two that adds some.
    pub(super) fn by_powers(&self) -> Vec<(u64, u64)> {
        let mut powers: Vec<(u64, u64)> = Vec::new();
        let mut up_to = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            up_to += count;
            let us = last_of(bucket).div_ceil(1000).next_power_of_two();
            match powers.last_mut() {
                Some(last) if last.0 == us => last.1 = up_to,
                _ => powers.push((us, up_to)),
            }
        }
        powers
    }
}

/// Numbers below [`PARTS`] have a bucket each; from there on each power of two has as many.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min((1 << NANOS_BITS) - 1);
    let power = (nanos | 1).ilog2();
    let Some(shift) = power.checked_sub(PARTS_BITS) else {
        return nanos as usize;
    };
    (shift as usize + 1) * PARTS + (nanos >> shift) as usize - PARTS
}

/// The longest time of a bucket, in nanoseconds.
fn last_of(bucket: usize) -> u64 {
    let (power, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    match power.checked_sub(1) {
        None => part,
        Some(shift) => ((PARTS as u64 + part + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_of_all_are_told() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.add(Duration::from_micros(us));
        }
        histogram.add(Duration::MAX);
        for (percentile, us) in [(0.0, 1), (50.0, 500), (99.0, 990)] {
            let told = histogram.percentile(percentile).as_nanos() as f64 / 1000.0;
            let us = f64::from(us);
            assert!(told >= us && told <= us * 1.13, "{percentile}: {told}");
        }
        assert!(histogram.percentile(100.0) > Duration::from_secs(1000));
        let powers = histogram.by_powers();
        assert_eq!(powers[0], (1, 1).max(powers[0]));
        assert!(powers.is_sorted());
        assert_eq!(powers.last().map(|last| last.1), Some(histogram.count()));
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_is_near(nanos in 0..1_u64 << NANOS_BITS) {
            let last = last_of(bucket(nanos));
            prop_assert!(last >= nanos && last - nanos <= nanos / PARTS as u64);
            prop_assert_eq!(bucket(last), bucket(nanos));
        }
    }
}
