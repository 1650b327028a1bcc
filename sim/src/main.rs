//! Runs seeds and says which of them find something.
// Edge of the house: the runner's own threads and its clock on the wall are real.
#![allow(clippy::disallowed_methods)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use atoll_sim::{
    plan::{Plan, Script},
    scenario::{chaos, failover},
    shrink,
};
use atoll_world::journal::Durability;
use clap::Parser;

/// Runs the control plane under faults on virtual time, and checks what must hold.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Go on with further seeds for so many minutes instead.
    #[arg(long)]
    minutes: Option<u64>,
    /// Show the plan, and what the nodes log.
    #[arg(long)]
    trace: bool,
    /// Kill the leader only, without the storm.
    #[arg(long)]
    failover: bool,
    /// Make the plan of the first seed that fails as small as it gets, and print it as a file
    /// for `sim/plans`.
    #[arg(long)]
    shrink: bool,
    /// Run this file instead of seeds.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// How many seeds run at a time; default: as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    calls: usize,
    answered: usize,
    changes: usize,
    boots: u64,
    compactions: usize,
    leases: usize,
    replacements: usize,
    undecided: usize,
    gaps: Vec<Duration>,
    failures: Vec<(u64, Vec<String>)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .without_time()
            .with_env_filter(
                tracing_subscriber::EnvFilter::try_from_default_env()
                    .unwrap_or_else(|_| "info,openraft=warn".into()),
            )
            .init();
    }
    if let Some(file) = &arguments.plan {
        return replay(file);
    }
    let begin = Instant::now();
    let deadline = arguments
        .minutes
        .map(|minutes| begin + Duration::from_secs(60 * minutes));
    let next = AtomicU64::new(arguments.first);
    let totals = Mutex::new(Totals::default());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(processors).max(1);
    let is_over = |seed: u64| match deadline {
        Some(deadline) => Instant::now() >= deadline,
        None => seed >= arguments.first.saturating_add(arguments.seeds),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if is_over(seed) {
                        return;
                    }
                    run(seed, &arguments, &totals, begin);
                }
            });
        }
    });
    let totals = totals
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let first_failed = totals.failures.iter().map(|(seed, _)| *seed).min();
    let code = tell(totals, begin.elapsed());
    if let Some(seed) = first_failed.filter(|_| arguments.shrink) {
        println!("{}", smallest(seed));
    }
    code
}

/// Runs the plan in a file.
fn replay(file: &Path) -> ExitCode {
    let script = std::fs::read_to_string(file)
        .map_err(|error| error.to_string())
        .and_then(|text| Script::parse(&text));
    let script = match script {
        Ok(script) => script,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    };
    let report = chaos::run_plan(script.seed, &script.plan, Durability::Always);
    for violation in &report.verdict.violations {
        println!("{violation}");
    }
    if report.verdict.violations.is_empty() {
        println!("{}: nothing found", file.display());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The smallest plan that still contradicts what a seed's run contradicts first, as a file.
fn smallest(seed: u64) -> String {
    let plan = chaos::plan(seed);
    let violations = |plan: &_| {
        let report = chaos::run_plan(seed, plan, Durability::Always);
        report.verdict.violations
    };
    let Some(first) = violations(&plan).into_iter().next() else {
        return format!("seed {seed}: its storm does not fail by itself");
    };
    let property = shrink::property(&first);
    let fails = |plan: &Plan| {
        let found = violations(plan);
        found
            .iter()
            .any(|found| shrink::property(found) == property)
    };
    let script = Script {
        version: Script::VERSION,
        about: first.clone(),
        seed,
        plan: Plan(shrink::shrink(&plan.0, |steps| {
            fails(&Plan(steps.to_vec()))
        })),
    };
    serde_json::to_string_pretty(&script).expect("a plan has only what JSON knows")
}

/// A storm, twice.
fn storm(seed: u64, trace: bool) -> chaos::Report {
    if trace {
        eprintln!("plan of seed {seed}:\n{}", chaos::plan(seed));
    }
    let mut report = chaos::run(seed);
    let again = chaos::run(seed);
    if again.trace != report.trace {
        report.verdict.violations.push(format!(
            "the same seed took two ways: {:016x} and {:016x}",
            report.trace, again.trace
        ));
    }
    if trace {
        eprintln!(
            "seed {seed}: {} calls, {} answered, {} changes, {} starts of nodes, trace {:016x}",
            report.calls.0, report.calls.1, report.changes, report.boots, report.trace
        );
    }
    report
}

fn run(seed: u64, arguments: &Arguments, totals: &Mutex<Totals>, begin: Instant) {
    let report = if arguments.failover {
        chaos::Report::default()
    } else {
        storm(seed, arguments.trace)
    };
    let mut found = report.verdict.violations;
    let gap = failover::run(seed);
    match &gap {
        Ok(gap) if *gap < failover::GAP_MAX => {}
        Ok(gap) => found.push(format!(
            "failover: {gap:?} without an acknowledgement; {:?} are promised",
            failover::GAP_MAX
        )),
        Err(error) => found.push(format!("failover: {error}")),
    }
    if arguments.trace {
        eprintln!("seed {seed}: failover {gap:?}");
    }
    let mut totals = totals
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    totals.seeds += 1;
    totals.calls += report.calls.0;
    totals.answered += report.calls.1;
    totals.changes += report.changes;
    totals.boots += report.boots;
    totals.compactions += report.compactions;
    totals.leases += report.leases;
    totals.replacements += report.replacements;
    totals.undecided += report.verdict.undecided;
    totals.gaps.extend(gap.ok());
    for violation in &found {
        println!("seed {seed}: {violation}");
    }
    if !found.is_empty() {
        totals.failures.push((seed, found));
    }
    if totals.seeds.is_multiple_of(20) {
        println!(
            "{} seeds in {} s, {} failed",
            totals.seeds,
            begin.elapsed().as_secs(),
            totals.failures.len()
        );
    }
}

fn tell(mut totals: Totals, took: Duration) -> ExitCode {
    totals.gaps.sort_unstable();
    let gap = |part: usize| {
        let last = totals.gaps.len().saturating_sub(1);
        totals
            .gaps
            .get(last * part / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{} seeds in {} s: {} calls, {} answered, {} changes, {} compactions, {} leases, {} starts of nodes, {} replacements, {} keys undecided",
        totals.seeds,
        took.as_secs(),
        totals.calls,
        totals.answered,
        totals.changes,
        totals.compactions,
        totals.leases,
        totals.boots,
        totals.replacements,
        totals.undecided
    );
    println!(
        "failover, longest gap between acknowledgements: median {:?}, p90 {:?}, longest {:?}",
        gap(50),
        gap(90),
        gap(100)
    );
    if totals.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    totals.failures.sort_unstable();
    println!("{} seeds failed:", totals.failures.len());
    for (seed, found) in &totals.failures {
        println!("seed {seed}");
        for violation in found {
            println!("    {violation}");
        }
        println!("    again: cargo run -p atoll-sim -- --first {seed} --seeds 1 --trace");
    }
    ExitCode::FAILURE
}
