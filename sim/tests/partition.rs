//! Seeds of one partition of hot data, mistakes made on purpose, and plans that are kept.

use std::{fs, path::Path};

use atoll_sim::partition::{
    self, Planted,
    plan::Script,
    promise::{self, Case},
};

#[test]
fn seeds_hold_and_repeat() {
    let mut moves = 0;
    let mut snapshots = 0;
    for seed in 1..=40 {
        let report = partition::run(seed);
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!(partition::run(seed), report, "seed {seed} took two ways");
        moves += report.moves;
        snapshots += report.snapshots;
    }
    assert!(moves > 0 && snapshots > 0);
}

#[test]
fn nobody_waits_long() {
    for case in Case::ALL {
        for seed in 1..=25 {
            let longest = promise::run(seed, case);
            let is_kept = longest.as_ref().is_ok_and(promise::Longest::is_kept);
            assert!(is_kept, "seed {seed}, {case:?}: {longest:?}");
        }
    }
}

/// `atoll-sim --partition --planted` says at which seed.
#[test]
fn planted_mistakes_are_found() {
    for planted in Planted::ALL {
        let found = (1..=200).find(|seed| {
            let plan = partition::plan(*seed);
            let report = partition::run_plan(*seed, &plan, Some(planted));
            !report.violations.is_empty()
        });
        assert!(found.is_some(), "{planted:?} was not found");
    }
}

/// A plan's moments hit other events when the protocol is changed, so its mistake may be found
/// under one of so many seeds.
const SEEDS_PER_PLAN: u64 = 40;

/// Nothing is found; but where a plan was made for a mistake, that is, when it is made.
#[test]
#[allow(clippy::disallowed_methods, reason = "the files are real")]
fn kept_plans_find_what_they_are_for_and_nothing_else() {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/partition");
    let mut seen = 0;
    for file in fs::read_dir(plans).expect("there is a folder of plans") {
        let path = file.expect("its files can be listed").path();
        let text = fs::read_to_string(&path).expect("a plan can be read");
        let script = Script::parse(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let run = |seed, planted| partition::run_plan(seed, &script.steps, planted).violations;
        let mut is_found = false;
        for seed in script.seed..script.seed + SEEDS_PER_PLAN {
            let found = run(seed, None);
            assert_eq!(found, Vec::<String>::new(), "{path:?}: {}", script.about);
            is_found = is_found || !run(seed, script.planted).is_empty();
        }
        assert_eq!(is_found, script.planted.is_some(), "{path:?}");
        seen += 1;
    }
    assert!(seen > 0, "no plan was found");
}
