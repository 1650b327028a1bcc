//! Seeds of one partition of hot data, mistakes made on purpose, and plans that are kept.

use std::{fs, path::Path, process::Command};

use atoll_sim::partition::{
    self, Planted,
    plan::Script,
    promise::{self, Case},
    replay,
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
        let replay = replay::replay(&script);
        assert!(
            replay.violations.is_empty(),
            "{path:?}: {}: {:?}",
            script.about,
            replay.violations
        );
        let is_found = replay.found.is_some();
        assert_eq!(is_found, script.planted.is_some(), "{path:?}");
        seen += 1;
    }
    assert!(seen > 0, "no plan was found");
}

/// The program says so, too: a plan without its mistake finds nothing.
#[test]
#[allow(clippy::disallowed_methods, reason = "the program is real")]
fn a_plan_is_run_with_the_mistake_that_it_is_for() {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/partition");
    let run = |file: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll-sim"));
        let output = command.args(["--partition", "--plan"]).arg(file).output();
        let output = output.expect("it runs");
        let printed = String::from_utf8(output.stdout).expect("it prints text");
        (output.status.success(), printed)
    };
    let file = plans.join("goes-on-after-restart.json");
    let (is_fine, printed) = run(&file);
    assert!(is_fine, "{printed}");
    let found = "GoesOnAfterRestart, made on purpose: found at seed";
    assert!(printed.contains(found), "{printed}");

    // A mistake that this plan can't find is said not to have been found.
    let text = fs::read_to_string(&file).expect("it can be read");
    let mut script = Script::parse(&text).expect("it is a plan");
    script.steps.clear();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let changed = dir.join("finds-nothing.json");
    let text = serde_json::to_string(&script).expect("a plan has only what JSON knows");
    fs::write(&changed, text).expect("it can be written");
    let (is_fine, printed) = run(&changed);
    assert!(!is_fine, "{printed}");
    let not_found = "GoesOnAfterRestart, made on purpose: not found at seeds";
    assert!(printed.contains(not_found), "{printed}");
}
