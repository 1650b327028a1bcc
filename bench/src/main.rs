//! Drives any etcd or Redis endpoint and measures it: operations a second, latency, and the
//! server's CPU time per operation, which holds still on a noisy machine when throughput does not.
//!
//! `bench run` measures what runs already; `bench compare-etcd`, `bench compare-redis` and
//! `bench kill-series` start Atoll and its counterpart in turn on the same disk and print ratios
//! taken side by side, and `bench compare-proxy` does so for its gateway; `bench redis-kills`
//! takes nodes away from clients of hot data, and `bench redis-restart` measures how long a node
//! takes to be back.
// Edge of the house: measuring means reading the clock, /proc and the network for real.
#![allow(clippy::disallowed_methods)]

mod churn;
mod cli;
mod compare;
mod connection;
mod error;
mod gap;
mod kills;
mod load;
mod node_loss;
mod process;
mod proxy;
mod redis;
mod report;
mod scheduler;
mod streams;
mod transactions;
mod workload;

use clap::Parser as _;

use crate::{cli::Command, error::Error, report::Output};

fn main() -> std::process::ExitCode {
    match run(cli::Cli::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli) -> Result<(), Error> {
    let runtime = if cli.threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cli.threads)
            .enable_all()
            .build()
    };
    runtime
        .map_err(Error::io("start the runtime"))?
        .block_on(dispatch(cli.command, cli.output))
}

async fn dispatch(command: Command, output: Output) -> Result<(), Error> {
    match command {
        Command::Run(options) => {
            let mut reports = Vec::new();
            for &clients in &options.clients {
                for &workload in &options.workloads {
                    let settings = options.settings(workload, clients);
                    reports.push(load::run(&settings).await?);
                }
            }
            report::print(output, &reports, report::table)
        }
        Command::LoadKeys(options) => {
            let report = load::load_keys(&options).await?;
            report::print(output, &report, report::memory_line)
        }
        Command::Gap(options) => {
            let report = gap::run(&options).await?;
            report::print(output, &report, gap::line)
        }
        Command::Churn(options) => {
            let report = churn::run(&options).await?;
            report::print(output, &report, churn::lines)
        }
        Command::CompareEtcd(options) => {
            let comparison = compare::run(&options).await?;
            report::print(output, &comparison, compare::table)
        }
        Command::KillSeries(options) => {
            let series = kills::run(&options).await?;
            report::print(output, &series, kills::table)
        }
        Command::CompareRedis(options) => {
            let turns = redis::compare::run(&options).await?;
            report::print(output, &turns, redis::table::table)
        }
        Command::RedisKills(options) => {
            let series = redis::kills::run(&options).await?;
            report::print(output, &series, redis::kills::table)
        }
        Command::RedisRestart(options) => {
            let turns = redis::restart::run(&options).await?;
            report::print(output, &turns, redis::restart::table)
        }
        Command::Transactions(options) => {
            let reports = transactions::run(&options).await?;
            report::print(output, &reports, transactions::table::table)
        }
        Command::CompareProxy(options) => {
            let turns = proxy::compare::run(&options).await?;
            report::print(output, &turns[..], proxy::table::table)
        }
        Command::NodeLoss(options) => {
            let losses = node_loss::run(&options).await?;
            report::print(output, &losses, node_loss::table)
        }
        Command::Scheduler(options) => {
            let placed = scheduler::run(&options).await?;
            report::print(output, &placed, scheduler::table)
        }
    }
}
