//! A plan that is kept, run again.

use super::{plan::Script, run_plan};

/// A plan's moments hit other events when the protocol is changed, so its mistake may be found
/// under one of so many seeds.
pub const SEEDS_PER_PLAN: u64 = 40;

/// What a plan that is kept came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// What must not be, and was found though no mistake was made.
    pub violations: Vec<String>,
    /// The first seed at which the plan's mistake was found, made on purpose, and what was found.
    pub found: Option<(u64, Vec<String>)>,
}

/// Runs a plan under some seeds from its own on: without its mistake, and, if it has one, with
/// it.
pub fn replay(script: &Script) -> Replay {
    let mut replay = Replay::default();
    for seed in script.seed..script.seed.saturating_add(SEEDS_PER_PLAN) {
        let run = |planted| run_plan(seed, &script.steps, planted).violations;
        let violations = run(None).into_iter();
        let violations = violations.map(|violation| format!("seed {seed}: {violation}"));
        replay.violations.extend(violations);
        if script.planted.is_some() && replay.found.is_none() {
            let found = run(script.planted);
            replay.found = (!found.is_empty()).then_some((seed, found));
        }
    }
    replay
}
