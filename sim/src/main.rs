//! Runs seeds and says which of them find something.
// Edge of the house: the runner's own threads and its clock on the wall are real.
#![allow(clippy::disallowed_methods)]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use atoll_sim::scenario::{chaos, failover};
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
    tell(totals, begin.elapsed())
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
        "{} seeds in {} s: {} calls, {} answered, {} changes, {} starts of nodes, {} keys undecided",
        totals.seeds,
        took.as_secs(),
        totals.calls,
        totals.answered,
        totals.changes,
        totals.boots,
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
