//! The estimate without bias for any number of elements (Otmar Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches", 2017, algorithm 6), as Redis makes it.

use super::{RANK_BITS, REGISTERS};

/// 1 / (2 ln 2), what the paper calls alpha infinity.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// From how many registers have each value. Only operations that every machine rounds in the
/// same way are used, so that replicas agree.
pub(super) fn estimate(histogram: &[u32; 64]) -> u64 {
    let registers = REGISTERS as f64;
    let (zeros, inner, full) = (
        histogram[0],
        &histogram[1..=RANK_BITS as usize],
        histogram[RANK_BITS as usize + 1],
    );
    let mut sum = registers * tau(1.0 - f64::from(full) / registers);
    for count in inner.iter().rev() {
        sum = (sum + f64::from(*count)) * 0.5;
    }
    sum += registers * sigma(f64::from(zeros) / registers);
    (ALPHA * registers * registers / sum).round() as u64
}

/// What registers that are still 0 add: x + sum of x^(2^k) 2^(k-1).
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// What registers that can rise no further take away:
/// (1 - x - sum of (1 - x^(2^-k))^2 2^-k) / 3.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
