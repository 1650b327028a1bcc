//! Seeds of transactions over several partitions, and mistakes made on purpose.

use atoll_sim::transactions::{self, Planted};

#[test]
fn seeds_hold_and_repeat() {
    let (mut done, mut undecided) = (0, 0);
    for seed in 1..=12 {
        let report = transactions::run(seed, None);
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        done += report.counts.done;
        undecided += usize::from(report.undecided);
        if seed <= 2 {
            let again = transactions::run(seed, None);
            assert_eq!(again, report, "seed {seed} took two ways");
        }
    }
    assert!(done > 500, "only {done} transactions were done");
    assert!(undecided <= 2, "{undecided} seeds were not decided");
}

/// `atoll-sim --transactions --planted` says at which seed.
#[test]
fn planted_mistakes_are_found() {
    for planted in Planted::ALL {
        let found = (1..=40).find(|seed| {
            let report = transactions::run(*seed, Some(planted));
            !report.violations.is_empty()
        });
        assert!(found.is_some(), "{planted:?} was not found");
    }
}
