//! Runs seeds and says which of them find something.
// Edge of the house: the runner's own threads and its clock on the wall are real.
#![allow(clippy::disallowed_methods)]

mod runner;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Runs the control plane, a partition of hot data, transactions over several partitions, or
/// services, under faults on virtual time, and checks what must hold.
#[derive(Parser)]
struct Arguments {
    /// Run one partition of hot data, not the control plane.
    #[arg(long)]
    partition: bool,
    /// Run transactions over several partitions, not the control plane.
    #[arg(long, conflicts_with_all = ["partition", "plan", "failover", "shrink"])]
    transactions: bool,
    /// Run services, not the control plane alone.
    #[arg(long, conflicts_with_all = ["transactions", "partition", "plan", "failover", "shrink"])]
    services: bool,
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
    /// Only measure the promise of failover, without the storm.
    #[arg(long)]
    failover: bool,
    /// Make mistakes on purpose, one after the other, and say which seed finds each: with
    /// `--partition`, `--transactions` or `--services`, which have them.
    #[arg(long)]
    planted: bool,
    /// Make the plan of the first seed that fails as small as it gets, and print it as a file
    /// for `sim/plans`.
    #[arg(long)]
    shrink: bool,
    /// Run this file instead of seeds; with `--partition`, a mistake that it names is made on
    /// purpose, too, and has to be found.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// How many seeds run at a time; default: as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
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
    let has_planted = arguments.partition || arguments.transactions || arguments.services;
    if arguments.planted && !has_planted {
        eprintln!("--planted goes with --partition, --transactions or --services");
        return ExitCode::FAILURE;
    }
    if arguments.services {
        return match arguments.planted {
            true => runner::services::planted(&arguments),
            false => runner::services::run(&arguments),
        };
    }
    if arguments.transactions {
        return match arguments.planted {
            true => runner::transactions::planted(&arguments),
            false => runner::transactions::run(&arguments),
        };
    }
    match (&arguments.plan, arguments.partition) {
        (Some(file), false) => runner::control::replay(file),
        (Some(file), true) => runner::partition::replay(file),
        (None, false) => runner::control::run(&arguments),
        (None, true) if arguments.planted => runner::partition::planted(&arguments),
        (None, true) => runner::partition::run(&arguments),
    }
}
