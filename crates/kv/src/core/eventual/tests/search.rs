//! Many seeds, and mistakes that have to be found.

use super::world::{Mistake, World};

const EVENTS: u32 = 250;
/// Looked at in every run of the tests; `ATOLL_EVENTUAL_SEEDS` asks for another number.
const SEEDS: u64 = 60;
/// Looked at in every run, too: a DEL that was lost with its replica, while what that one counted
/// afterwards was not; a stamp that was given out again after a crash, as nobody had heard of it;
/// and a message from before a replica had left, to one that heard of it only when it was back.
const KNOWN: [u64; 3] = [2_010, 2_500, 633];

fn run(seed: u64, mistake: Mistake) -> Result<(), String> {
    World::new(seed, mistake).run(EVENTS)
}

#[test]
fn all_come_to_the_same_and_nothing_is_lost_or_doubled_or_comes_back() {
    let wanted = std::env::var("ATOLL_EVENTUAL_SEEDS").ok();
    let seeds = wanted.map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    for seed in (0..seeds).chain(KNOWN) {
        if let Err(error) = run(seed, Mistake::None) {
            panic!("seed {seed}: {error}");
        }
    }
}

#[test]
fn mistakes_are_found() {
    for mistake in [
        Mistake::CountersAsStrings,
        Mistake::AddsWhatIsTold,
        Mistake::CollectsEarly,
        Mistake::SpeaksBeforeSync,
        Mistake::ForgetsAndComesBack,
    ] {
        let found = (0..200).find_map(|seed| run(seed, mistake).err());
        assert!(found.is_some(), "{mistake:?} is not found");
    }
}
