//! Chance that is a function of a seed: the same in every run.

/// The next random number, and the state after it (SplitMix64, Steele and others 2014).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A random number below `bound`; 0 where that is 0.
pub(crate) fn below(state: &mut u64, bound: u64) -> u64 {
    let wide = u128::from(next(state)) * u128::from(bound);
    u64::try_from(wide >> 64).unwrap_or(0)
}
