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
    let mut code = ExitCode::SUCCESS;
    for planted in Planted::ALL {
        let mut seeds = arguments.first..=arguments.first.saturating_add(PLANTED_SEEDS_MAX - 1);
        match seeds.find(|seed| planted.is_found(&services::run(*seed, Some(planted)).violations)) {
            Some(seed) => println!("{planted:?}: found at seed {seed}"),
            None => {
                println!("{planted:?}: not found within {PLANTED_SEEDS_MAX} seeds");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// A seed, twice.
fn one(seed: u64, arguments: &Arguments) -> Run<Sums> {
    let mut report = services::run(seed, None);
    let again = services::run(seed, None);
    if again != report {
        report.violations.push(format!(
            "the same seed took two ways: {:016x} and {:016x}",
            report.trace, again.trace
        ));
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
