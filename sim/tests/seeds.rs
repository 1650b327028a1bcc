//! A handful of seeds, for every `cargo test`.

use atoll_sim::scenario::{chaos, failover};

#[test]
fn seeds_hold_and_repeat() {
    for seed in 1..=3 {
        let report = chaos::run(seed);
        assert_eq!(
            report.verdict.violations,
            Vec::<String>::new(),
            "seed {seed}"
        );
        assert!(report.changes > 0, "seed {seed} wrote nothing");
        assert_eq!(chaos::run(seed).trace, report.trace, "seed {seed}");
    }
}

#[test]
fn failover_keeps_its_promise() {
    for seed in 1..=4 {
        let gap = failover::run(seed);
        assert!(
            gap.as_ref().is_ok_and(|gap| *gap < failover::GAP_MAX),
            "seed {seed}: {gap:?}"
        );
    }
}
