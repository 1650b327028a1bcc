//! Runs of one partition of hot data.

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

use atoll_sim::{
    partition::{
        self, Planted,
        plan::Script,
        promise::{self, Case},
        replay::{self, SEEDS_PER_PLAN},
    },
    shrink,
};

use super::Run;
use crate::Arguments;

/// Each planted mistake has to be found within so many seeds.
const PLANTED_SEEDS_MAX: u64 = 1_000;

#[derive(Default)]
struct Sums {
    calls: usize,
    answered: usize,
    entries: usize,
    takeovers: usize,
    moves: usize,
    snapshots: usize,
    looks: usize,
    undecided: usize,
    waits: BTreeMap<Case, Vec<Duration>>,
}

/// Runs seeds.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let total = super::seeds(arguments, |seed| one(seed, arguments), add);
    let sums = total.sums;
    println!(
        "{} seeds in {} s: {} calls, {} answered, {} entries, {} takeovers, {} moves, {} snapshots, {} reads without an owner, {} keys undecided",
        total.seeds,
        total.took.as_secs(),
        sums.calls,
        sums.answered,
        sums.entries,
        sums.takeovers,
        sums.moves,
        sums.snapshots,
        sums.looks,
        sums.undecided
    );
    for (case, waits) in sums.waits {
        println!("{case:?}, longest wait of a call: {}", super::spread(waits));
    }
    let code = super::verdict(&total.failures, "--partition ");
    if let Some(seed) = total.failures.keys().next().filter(|_| arguments.shrink) {
        println!("{}", smallest(*seed, None));
    }
    code
}

/// Runs the plan in a file. One that was made for a mistake is to find that, when it is made.
pub(crate) fn replay(file: &Path) -> ExitCode {
    let script = match super::read(file, Script::parse) {
        Ok(script) => script,
        Err(code) => return code,
    };
    let replay = replay::replay(&script);
    let code = super::verdict_of_plan(file, &replay.violations);
    let Some(planted) = script.planted else {
        return code;
    };
    match replay.found {
        Some((seed, found)) => {
            println!("{planted:?}, made on purpose: found at seed {seed}");
            for violation in found {
                println!("    {violation}");
            }
            code
        }
        None => {
            println!(
                "{planted:?}, made on purpose: not found at seeds {} to {}",
                script.seed,
                script.seed.saturating_add(SEEDS_PER_PLAN - 1)
            );
            ExitCode::FAILURE
        }
    }
}

/// Makes each mistake on purpose, and says at which seed it is found.
pub(crate) fn planted(arguments: &Arguments) -> ExitCode {
    let besides = |seed, planted| {
        if arguments.shrink {
            println!("{}", smallest(seed, Some(planted)));
        }
    };
    super::planted(arguments, &Planted::ALL, PLANTED_SEEDS_MAX, finds, besides)
}

fn finds(seed: u64, planted: Planted) -> bool {
    let plan = partition::plan(seed);
    let report = partition::run_plan(seed, &plan, Some(planted));
    !report.violations.is_empty()
}

/// The smallest plan that still contradicts what a seed's run contradicts first, as a file.
fn smallest(seed: u64, planted: Option<Planted>) -> String {
    let steps = partition::plan(seed);
    let violations = |steps: &[_]| partition::run_plan(seed, steps, planted).violations;
    let Some(first) = violations(&steps).into_iter().next() else {
        return format!("seed {seed}: its storm does not fail by itself");
    };
    let property = shrink::property(&first);
    let fails = |steps: &[_]| {
        let found = violations(steps);
        found
            .iter()
            .any(|found| shrink::property(found) == property)
    };
    let script = Script {
        version: Script::VERSION,
        about: first.clone(),
        seed,
        planted,
        steps: shrink::shrink(&steps, fails),
    };
    serde_json::to_string_pretty(&script).expect("a plan has only what JSON knows")
}

fn one(seed: u64, arguments: &Arguments) -> Run<Sums> {
    let mut run = if arguments.failover {
        Run {
            found: Vec::new(),
            sums: Sums::default(),
        }
    } else {
        storm(seed, arguments)
    };
    for case in Case::ALL {
        let longest = promise::run(seed, case);
        if arguments.trace {
            eprintln!("seed {seed}: {case:?} {longest:?}");
        }
        match longest {
            Ok(longest) => {
                run.sums.waits.entry(case).or_default().push(longest.wait);
                if !longest.is_kept() {
                    run.found.push(format!(
                        "{case:?}: a call waited {:?}; {:?} and a hedge of {:?} are promised",
                        longest.wait,
                        promise::WAIT_MAX,
                        longest.hedge
                    ));
                }
            }
            Err(error) => run.found.push(format!("{case:?}: {error}")),
        }
    }
    run
}

/// A storm, twice.
fn storm(seed: u64, arguments: &Arguments) -> Run<Sums> {
    if arguments.trace {
        eprintln!("plan of seed {seed}:");
        for step in partition::plan(seed) {
            eprintln!("{step}");
        }
    }
    let mut report = partition::run(seed);
    let again = partition::run(seed);
    if again != report {
        report.violations.push(format!(
            "the same seed took two ways: {:016x} and {:016x}",
            report.trace, again.trace
        ));
    }
    if arguments.trace {
        eprintln!("seed {seed}: {report:?}");
    }
    let sums = Sums {
        calls: report.calls.0,
        answered: report.calls.1,
        entries: report.entries,
        takeovers: report.takeovers,
        moves: report.moves,
        snapshots: report.snapshots,
        looks: report.looks,
        undecided: report.undecided,
        waits: BTreeMap::new(),
    };
    Run {
        found: report.violations,
        sums,
    }
}

fn add(total: &mut Sums, run: Sums) {
    total.calls += run.calls;
    total.answered += run.answered;
    total.entries += run.entries;
    total.takeovers += run.takeovers;
    total.moves += run.moves;
    total.snapshots += run.snapshots;
    total.looks += run.looks;
    total.undecided += run.undecided;
    for (case, waits) in run.waits {
        total.waits.entry(case).or_default().extend(waits);
    }
}
