//! Random numbers: the operating system's, or a seeded stream when the thread simulates.
//!
//! A simulation runs on one thread; [`seed_thread`] makes everything random on that thread,
//! and its wall clock, a function of the seed. Subsystems that must not disturb each other's
//! draws take a [`Stream`] of their own.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where random numbers come from"
)]

use std::{cell::RefCell, convert::Infallible, marker::PhantomData};

use rand::{
    RngExt, SeedableRng, TryRng,
    distr::uniform::{SampleRange, SampleUniform},
    rngs::StdRng,
};

use crate::clock;

pub use rand::Rng as RandomSource;

thread_local! {
    static SIMULATED: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

struct Simulated {
    seed: u64,
    rng: StdRng,
}

/// Makes this thread a simulation: random numbers and the wall clock follow from `seed`.
/// Call it inside the simulation's runtime, or before that runtime first reads the clock.
pub fn seed_thread(seed: u64) {
    SIMULATED.set(Some(Simulated {
        seed,
        rng: StdRng::seed_from_u64(seed),
    }));
    clock::restart_simulation(seed);
}

/// Makes this thread real again.
pub fn unseed_thread() {
    SIMULATED.set(None);
}

/// Whether this thread simulates.
pub fn is_simulated() -> bool {
    SIMULATED.with_borrow(Option::is_some)
}

/// The same as [`is_simulated`].
pub fn sim_mode() -> bool {
    is_simulated()
}

pub(crate) fn simulation_seed() -> Option<u64> {
    SIMULATED.with_borrow(|simulated| simulated.as_ref().map(|it| it.seed))
}

/// A random number.
pub fn u64() -> u64 {
    Rng::new().random()
}

/// Fills with random bytes, fit for keys and tokens outside a simulation.
pub fn fill(bytes: &mut [u8]) {
    Rng::new().fill(bytes);
}

/// A uniformly drawn member of the range, which must not be empty.
pub fn range<T: SampleUniform>(range: impl SampleRange<T>) -> T {
    Rng::new().random_range(range)
}

/// True with the given probability (clamped to 0..=1).
pub fn chance(probability: f64) -> bool {
    Rng::new().random_bool(probability.clamp(0.0, 1.0))
}

/// The thread's generator: seeded in a simulation, else the operating system's.
#[derive(Clone, Debug, Default)]
pub struct Rng(PhantomData<*const ()>); // it stands for its thread, so it stays there

impl Rng {
    /// The generator of the current thread.
    pub fn new() -> Self {
        Rng(PhantomData)
    }
}

fn with_thread<T>(draw: impl FnOnce(&mut dyn rand::Rng) -> T) -> T {
    SIMULATED.with_borrow_mut(|simulated| match simulated {
        Some(it) => draw(&mut it.rng),
        None => draw(&mut rand::rng()),
    })
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(with_thread(|rng| rng.next_u32()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(with_thread(|rng| rng.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        with_thread(|rng| rng.fill_bytes(bytes));
        Ok(())
    }
}

/// An owned stream of random numbers, a function of its seed: for a subsystem whose draws
/// must not shift another's.
#[derive(Debug)]
pub struct Stream(StdRng);

impl Stream {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Stream(StdRng::seed_from_u64(seed))
    }

    /// A stream seeded by one draw from the thread's generator.
    pub fn fork() -> Self {
        Stream::new(u64())
    }

    /// A random number.
    pub fn u64(&mut self) -> u64 {
        self.0.random()
    }

    /// A uniformly drawn member of the range, which must not be empty.
    pub fn range<T: SampleUniform>(&mut self, range: impl SampleRange<T>) -> T {
        self.0.random_range(range)
    }

    /// True with the given probability (clamped to 0..=1).
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }
}

/// Scatters a number over the whole range (the finalizer of SplitMix64, Steele et al. 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws() -> (u64, [u8; 9], u32, bool) {
        let mut bytes = [0; 9];
        fill(&mut bytes);
        (u64(), bytes, range(5..500), chance(0.5))
    }

    #[test]
    fn a_seed_fixes_every_draw() {
        seed_thread(1);
        assert!(is_simulated() && sim_mode());
        let first = draws();
        seed_thread(1);
        assert_eq!(draws(), first);
        seed_thread(2);
        assert_ne!(draws(), first);
        unseed_thread();
        assert!(!is_simulated());
        assert_ne!(draws(), draws());
    }

    #[test]
    fn streams_do_not_disturb_the_thread() {
        seed_thread(3);
        let plain = (u64(), u64());
        seed_thread(3);
        let mut stream = Stream::new(9);
        let first = u64();
        stream.u64();
        assert_eq!((first, u64()), plain);
        unseed_thread();
    }
}
