//! A fault that is there on purpose: the checkers must find it, or finding nothing elsewhere
//! means nothing.

use std::time::Duration;

use atoll_sim::{
    plan::{Fault, Plan, Step},
    scenario::chaos,
};
use atoll_world::journal::Durability;

/// All machines are put back to images taken a second before.
#[test]
fn a_cluster_that_goes_back_in_time_is_found_to_have_lost_writes() {
    let step = |at_ms, fault| Step {
        at: Duration::from_millis(at_ms),
        turns: 0,
        fault,
    };
    let plan = Plan(vec![
        step(2_000, Fault::TakeImages),
        step(3_000, Fault::RestoreImages),
    ]);
    let found = chaos::run_plan(1, &plan, Durability::Always)
        .verdict
        .violations;
    for property in [
        "nothing acknowledged is lost",
        "revisions only grow",
        "linearizable",
    ] {
        assert!(
            found.iter().any(|found| found.starts_with(property)),
            "not \"{property}\" in {found:#?}"
        );
    }
}
