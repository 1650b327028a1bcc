//! Seeds of one partition of hot data, and mistakes made on purpose.

use atoll_sim::partition::{self, Planted};

#[test]
fn seeds_hold_and_repeat() {
    let mut moves = 0;
    let mut snapshots = 0;
    for seed in 1..=60 {
        let report = partition::run(seed);
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!(partition::run(seed), report, "seed {seed} took two ways");
        moves += report.moves;
        snapshots += report.snapshots;
    }
    assert!(moves > 0 && snapshots > 0);
}

/// Short here; a long run looks at each of them within a thousand seeds.
#[test]
fn planted_mistakes_are_found() {
    for planted in Planted::ALL {
        let found = (1..=1_000).find(|seed| {
            let plan = partition::plan(*seed);
            !partition::run_plan(*seed, &plan, Some(planted))
                .violations
                .is_empty()
        });
        assert!(found.is_some(), "{planted:?} was not found");
    }
}
