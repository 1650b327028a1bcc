//! How long to wait before trying again.

use super::settings::Settings;
use crate::core::chance;

/// The pause after attempt number `attempt`, counted from 1: doubled each time up to a bound,
/// and of that between a half and the whole, so that those who failed together don't come back
/// together.
pub(super) fn pause_ms(settings: &Settings, attempt: u32, random: &mut u64) -> u64 {
    let doublings = attempt.saturating_sub(1).min(32);
    let whole = settings
        .retry_ms_min
        .max(1)
        .saturating_mul(1 << doublings)
        .min(settings.retry_ms_max.max(1));
    let half = whole / 2;
    half + chance::below(random, whole - half + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let settings = Settings {
            retry_ms_min: 100,
            retry_ms_max: 1_000,
            ..Settings::default()
        };
        let mut random = 7;
        for (attempt, whole) in [(1, 100), (2, 200), (4, 800), (5, 1_000), (u32::MAX, 1_000)] {
            let pauses: Vec<u64> = (0..50)
                .map(|_| pause_ms(&settings, attempt, &mut random))
                .collect();
            let (least, most) = (pauses.iter().min(), pauses.iter().max());
            assert!(
                least >= Some(&(whole / 2)) && most <= Some(&whole),
                "{pauses:?}"
            );
            assert!(least < most, "no chance in it: {pauses:?}");
        }
    }
}
