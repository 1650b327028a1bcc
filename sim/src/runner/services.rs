//! Runs of services.

use std::{process::ExitCode, time::Duration};

use atoll_sim::services::{self, Planted};

use super::{Run, spread};
use crate::Arguments;

/// Each planted mistake has to be found within so many seeds.
const PLANTED_SEEDS_MAX: u64 = 100;

#[derive(Default)]
struct Sums {
    runs: usize,
    writes: usize,
    given_up: usize,
    healed: Vec<Duration>,
    replaced: Vec<Duration>,
}

/// Runs seeds.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let total = super::seeds(arguments, |seed| one(seed, arguments), add);
    let sums = total.sums;
    println!(
        "{} seeds in {} s: {} containers started, {} writes, nodes given up {} times",
        total.seeds,
        total.took.as_secs(),
        sums.runs,
        sums.writes,
        sums.given_up,
    );
    println!("healed: {}", spread(sums.healed));
    println!("replaced: {}", spread(sums.replaced));
    super::verdict(&total.failures, "--services ")
}

/// Makes each mistake on purpose, and says at which seed it is found.
pub(crate) fn planted(arguments: &Arguments) -> ExitCode {
    let is_found = |seed, planted: Planted| {
        let report = services::run(seed, Some(planted));
        planted.is_found(&report.violations)
    };
    super::planted(
        arguments,
        &Planted::ALL,
        PLANTED_SEEDS_MAX,
        is_found,
        |_, _| {},
    )
}

/// A seed, twice.
fn one(seed: u64, arguments: &Arguments) -> Run<Sums> {
    let mut report = services::run(seed, None);
    let again = services::run(seed, None);
    if again != report {
        let two_ways = super::two_ways(report.trace, again.trace);
        report.violations.push(two_ways);
    }
    if arguments.trace {
        eprintln!("seed {seed}: {report:?}");
    }
    Run {
        found: report.violations,
        sums: Sums {
            runs: report.runs,
            writes: report.writes,
            given_up: report.given_up,
            healed: vec![report.healed],
            replaced: vec![report.replaced],
        },
    }
}

fn add(total: &mut Sums, run: Sums) {
    total.runs += run.runs;
    total.writes += run.writes;
    total.given_up += run.given_up;
    total.healed.extend(run.healed);
    total.replaced.extend(run.replaced);
}
