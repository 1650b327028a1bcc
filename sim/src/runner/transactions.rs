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
    let is_found = |seed, planted| {
        let report = transactions::run(seed, Some(planted));
        !report.violations.is_empty()
    };
    super::planted(
        arguments,
        &Planted::ALL,
        PLANTED_SEEDS_MAX,
        is_found,
        |_, _| {},
    )
}

/// A storm, twice.
fn one(seed: u64, arguments: &Arguments) -> Run<Sums> {
    let mut report = transactions::run(seed, None);
    let again = transactions::run(seed, None);
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
