//! Runs of transactions over several partitions.

use std::process::ExitCode;

use atoll_sim::transactions::{self, Counts, Planted};

use super::Run;
use crate::Arguments;

/// Each planted mistake has to be found within so many seeds.
const PLANTED_SEEDS_MAX: u64 = 200;

#[derive(Default)]
struct Sums {
    counts: Counts,
    undecided: usize,
}

/// Runs seeds.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let total = super::seeds(arguments, |seed| one(seed, arguments), add);
    let Sums { counts, undecided } = total.sums;
    println!(
        "{} seeds in {} s: {} transactions, {} done, {} refused, {} unknown, {undecided} seeds undecided",
        total.seeds,
        total.took.as_secs(),
        counts.begun,
        counts.done,
        counts.refused,
        counts.unknown,
    );
    super::verdict(&total.failures, "--transactions ")
}

/// Makes each mistake on purpose, and says at which seed it is found.
pub(crate) fn planted(arguments: &Arguments) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for planted in Planted::ALL {
        let mut seeds = arguments.first..=arguments.first.saturating_add(PLANTED_SEEDS_MAX - 1);
        match seeds.find(|seed| {
            !transactions::run(*seed, Some(planted))
                .violations
                .is_empty()
        }) {
            Some(seed) => println!("{planted:?}: found at seed {seed}"),
            None => {
                println!("{planted:?}: not found within {PLANTED_SEEDS_MAX} seeds");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// A storm, twice.
fn one(seed: u64, arguments: &Arguments) -> Run<Sums> {
    let mut report = transactions::run(seed, None);
    let again = transactions::run(seed, None);
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
            counts: report.counts,
            undecided: usize::from(report.undecided),
        },
    }
}

fn add(total: &mut Sums, run: Sums) {
    total.counts.begun += run.counts.begun;
    total.counts.done += run.counts.done;
    total.counts.refused += run.counts.refused;
    total.counts.unknown += run.counts.unknown;
    total.undecided += run.undecided;
}
