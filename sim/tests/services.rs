//! Seeds of services, and mistakes made on purpose.

use atoll_sim::services::{self, Planted};

#[test]
fn seeds_hold_and_repeat() {
    for seed in 1..=3 {
        let report = services::run(seed, None);
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        assert!(report.runs > 10, "only {} containers ran", report.runs);
        if seed == 1 {
            let again = services::run(seed, None);
            assert_eq!(again, report, "seed {seed} took two ways");
        }
    }
}

/// A node is given up by a leader that leads no more, at the moment when the next one hears it.
#[test]
fn what_a_leader_of_before_takes_for_silent_goes_on() {
    let report = services::run(1093, None);
    assert_eq!(report.violations, Vec::<String>::new());
}

/// Two nodes take themselves for the leader for a moment, and both make the pod that is missing.
#[test]
fn what_is_missing_is_made_once_though_two_lead() {
    let report = services::run(700_003, None);
    assert_eq!(report.violations, Vec::<String>::new());
}

/// `atoll-sim --services --planted` says at which seed.
#[test]
fn planted_mistakes_are_found() {
    for planted in Planted::ALL {
        let found = (1..=10).find(|seed| {
            let report = services::run(*seed, Some(planted));
            planted.is_found(&report.violations)
        });
        assert!(found.is_some(), "{planted:?} was not found");
    }
}
