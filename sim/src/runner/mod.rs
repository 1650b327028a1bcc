//! What the runs of all kinds share: threads, totals, how failures are told.

pub(crate) mod control;
pub(crate) mod partition;
pub(crate) mod services;
pub(crate) mod transactions;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::Arguments;

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What one seed's run came to.
pub(crate) struct Run<T> {
    /// What must not be.
    pub(crate) found: Vec<String>,
    /// To be added up.
    pub(crate) sums: T,
}

/// What all seeds came to.
pub(crate) struct Total<T> {
    pub(crate) seeds: u64,
    pub(crate) took: Duration,
    pub(crate) sums: T,
    pub(crate) failures: BTreeMap<u64, Vec<String>>,
}

/// Runs seeds on some threads; `add` sums up.
pub(crate) fn seeds<T: Default + Send>(
    arguments: &Arguments,
    run: impl Fn(u64) -> Run<T> + Sync,
    add: impl Fn(&mut T, T) + Sync,
) -> Total<T> {
    let begin = Instant::now();
    let deadline = arguments
        .minutes
        .map(|minutes| begin + Duration::from_secs(60 * minutes));
    let next = AtomicU64::new(arguments.first);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(processors).max(1);
    let is_over = |seed: u64| match deadline {
        Some(deadline) => Instant::now() >= deadline,
        None => seed >= arguments.first.saturating_add(arguments.seeds),
    };
    let total = Total {
        seeds: 0,
        took: Duration::ZERO,
        sums: T::default(),
        failures: BTreeMap::new(),
    };
    let total = Mutex::new((total, begin));
    let one = |seed| {
        let Run { found, sums } = run(seed);
        let mut locked = total
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let (total, told_at) = &mut *locked;
        total.seeds += 1;
        add(&mut total.sums, sums);
        for violation in &found {
            println!("seed {seed}: {violation}");
        }
        if !found.is_empty() {
            total.failures.insert(seed, found);
        }
        if told_at.elapsed() >= TOLD_EVERY {
            *told_at = Instant::now();
            println!(
                "{} seeds in {} s, {} failed",
                total.seeds,
                begin.elapsed().as_secs(),
                total.failures.len()
            );
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if is_over(seed) {
                        return;
                    }
                    one(seed);
                }
            });
        }
    });
    let (mut total, _) = total
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    total.took = begin.elapsed();
    total
}

/// Makes each mistake on purpose, and says at which of so many seeds it is found; what is told
/// `besides` follows.
pub(crate) fn planted<P: Copy + Debug>(
    arguments: &Arguments,
    all: &[P],
    seeds_max: u64,
    is_found: impl Fn(u64, P) -> bool,
    besides: impl Fn(u64, P),
) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for planted in all.iter().copied() {
        let mut seeds = arguments.first..=arguments.first.saturating_add(seeds_max - 1);
        match seeds.find(|seed| is_found(*seed, planted)) {
            Some(seed) => {
                println!("{planted:?}: found at seed {seed}");
                besides(seed, planted);
            }
            None => {
                println!("{planted:?}: not found within {seeds_max} seeds");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// What is wrong where a seed was run twice and took two ways, by the traces.
pub(crate) fn two_ways(one: u64, other: u64) -> String {
    format!("the same seed took two ways: {one:016x} and {other:016x}")
}

/// Tells which seeds failed, and how to see one of them again.
pub(crate) fn verdict(failures: &BTreeMap<u64, Vec<String>>, mode: &str) -> ExitCode {
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} seeds failed:", failures.len());
    for (seed, found) in failures {
        println!("seed {seed}");
        for violation in found {
            println!("    {violation}");
        }
        println!("    again: cargo run --bin atoll-sim -- {mode}--first {seed} --seeds 1 --trace");
    }
    ExitCode::FAILURE
}

/// Tells what a plan from a file found.
pub(crate) fn verdict_of_plan(file: &Path, violations: &[String]) -> ExitCode {
    for violation in violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("{}: nothing found", file.display());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Reads a plan's file.
pub(crate) fn read<S>(
    file: &Path,
    parse: impl Fn(&str) -> Result<S, String>,
) -> Result<S, ExitCode> {
    let script = std::fs::read_to_string(file)
        .map_err(|error| error.to_string())
        .and_then(|text| parse(&text));
    script.map_err(|error| {
        eprintln!("{}: {error}", file.display());
        ExitCode::FAILURE
    })
}

/// Median, nine tenths and longest.
pub(crate) fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let part = |percent: usize| {
        let last = times.len().saturating_sub(1);
        times.get(last * percent / 100).copied().unwrap_or_default()
    };
    format!(
        "median {:?}, p90 {:?}, longest {:?}",
        part(50),
        part(90),
        part(100)
    )
}
