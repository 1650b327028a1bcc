//! Bank transfers: two and five accounts in as many partitions, beside single writes, beside
//! transactions in one partition and writes in an eventual keyspace, and beside PostgreSQL doing
//! the same.
//!
//! Each client sends a whole transfer at once and waits for its answer, on both sides. After each
//! load all accounts together have to hold what they held before.

mod load;
mod postgres;
pub(crate) mod table;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    process,
    redis::{
        keys::Spread,
        options::Keeping,
        servers::{self, redis_address},
    },
};
use load::Plan;
use postgres::Postgres;

/// What a client does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// Change one account by itself.
    Write,
    /// The same in an eventual keyspace, where one replica is enough.
    Eventual,
    /// A transfer between two accounts of one partition.
    Near,
    /// A transfer between two accounts of two partitions.
    Two,
    /// A transfer from one account to four others, all in partitions of their own.
    Five,
}

impl Deed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Deed::Write => "write",
            Deed::Eventual => "eventual",
            Deed::Near => "near",
            Deed::Two => "two",
            Deed::Five => "five",
        }
    }

    /// How many accounts it changes.
    pub(crate) fn accounts(self) -> usize {
        match self {
            Deed::Write | Deed::Eventual => 1,
            Deed::Near | Deed::Two => 2,
            Deed::Five => 5,
        }
    }
}

/// How often each account is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Choice {
    /// Each as often.
    Even,
    /// After Zipf's law, skew 0.99.
    Zipf,
}

impl Choice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Choice::Even => "even",
            Choice::Zipf => "zipf",
        }
    }

    fn spread(self) -> Spread {
        match self {
            Choice::Even => Spread::Even,
            Choice::Zipf => Spread::Zipf,
        }
    }
}

const EXAMPLES: &str = "\
Work, one node and three, beside PostgreSQL, five alternated turns:
  bench transactions --atoll target/release/atoll \\
      --postgres ~/.cache/atoll-tools/postgres-bin --nodes 1,3 --runs 5

e2e/scripts/tools.sh postgres fetches Debian's PostgreSQL.";

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TransactionOptions {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    atoll: Option<PathBuf>,
    /// The folder of initdb and postgres.
    #[arg(long)]
    postgres: Option<PathBuf>,
    /// Sizes of Atoll's clusters. PostgreSQL has one node.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    nodes: Vec<usize>,
    /// How often each server takes its turn.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Clients, each with a connection of its own.
    #[arg(long, value_delimiter = ',', default_value = "32")]
    clients: Vec<usize>,
    /// What they do.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "write,eventual,near,two,five"
    )]
    deeds: Vec<Deed>,
    /// How accounts are chosen.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "even,zipf")]
    choices: Vec<Choice>,
    /// How many accounts there are.
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// How long to measure each load.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long to run each load before measuring it.
    #[arg(long, default_value_t = 1)]
    warmup_seconds: u64,
    /// Directory on the disk to use; each server gets a directory below, removed afterwards.
    #[arg(long, default_value = "/var/tmp")]
    disk: PathBuf,
    /// Where the choice of accounts begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One load, measured once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) server: &'static str,
    pub(crate) nodes: usize,
    pub(crate) run: usize,
    pub(crate) deed: Deed,
    pub(crate) choice: Choice,
    pub(crate) clients: usize,
    pub(crate) commits: u64,
    /// Refused, and nothing was done.
    pub(crate) aborts: u64,
    pub(crate) commits_per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Of all server processes together.
    pub(crate) cpu_us_per_commit: f64,
}

/// Runs every turn.
pub(crate) async fn run(options: &TransactionOptions) -> Result<Vec<Report>> {
    if options.atoll.is_none() && options.postgres.is_none() {
        return Err(Error::Options(
            "name --atoll PATH, --postgres FOLDER, or both to compare them".to_owned(),
        ));
    }
    if options.accounts < 1_000 {
        return Err(Error::Options("--accounts is at least 1000".to_owned()));
    }
    let mut reports = Vec::new();
    for run in 0..options.runs {
        let mut turns: Vec<Option<usize>> = Vec::new();
        if options.atoll.is_some() {
            turns.extend(options.nodes.iter().copied().map(Some));
        }
        if options.postgres.is_some() {
            turns.push(None);
        }
        // Who goes first in one run goes last in the next.
        if run % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            match turn {
                Some(nodes) => {
                    eprintln!("atoll: {nodes} nodes, run {}", run + 1);
                    reports.extend(atoll(options, nodes, run).await?);
                }
                None => {
                    eprintln!("postgres: run {}", run + 1);
                    reports.extend(postgres(options, run).await?);
                }
            }
        }
    }
    Ok(reports)
}

impl TransactionOptions {
    /// All loads of a turn.
    fn plans(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        for &clients in &self.clients {
            for &choice in &self.choices {
                for &deed in &self.deeds {
                    plans.push(Plan {
                        deed,
                        choice,
                        clients,
                        accounts: self.accounts,
                        warmup: Duration::from_secs(self.warmup_seconds),
                        time: Duration::from_secs(self.seconds),
                        seed: self.seed,
                    });
                }
            }
        }
        plans
    }
}

async fn atoll(options: &TransactionOptions, nodes: usize, run: usize) -> Result<Vec<Report>> {
    let path = options.atoll.as_ref().expect("it was asked for");
    let server = servers::atoll(path)?;
    let places = vec![atoll_e2e::command::Place::default(); nodes];
    let disk = &options.disk;
    let cluster = servers::start_atoll(&server, &places, Keeping::Always, None, disk).await?;
    let doors: Vec<SocketAddr> = cluster.nodes.iter().map(redis_address).collect();
    load::open_accounts(&doors, Deed::Write, options.accounts).await?;
    if options.deeds.contains(&Deed::Eventual) {
        load::create_keyspace(&doors).await?;
        load::open_accounts(&doors, Deed::Eventual, options.accounts).await?;
    }
    let mut reports = Vec::new();
    for plan in options.plans() {
        let usage = || process::usage(&cluster.pids());
        let measured = load::run_atoll(&plan, &doors, usage).await?;
        load::check_atoll(&plan, &doors, &measured).await?;
        reports.push(measured.report("atoll", nodes, run, &plan));
    }
    Ok(reports)
}

async fn postgres(options: &TransactionOptions, run: usize) -> Result<Vec<Report>> {
    let folder = options.postgres.as_ref().expect("it was asked for");
    let server = Postgres::start(folder, &options.disk, options.accounts).await?;
    let mut reports = Vec::new();
    for plan in options.plans() {
        // It has no partitions, and no replicas.
        if matches!(plan.deed, Deed::Near | Deed::Eventual) {
            continue;
        }
        let usage = || process::usage(&server.pids()?);
        let measured = load::run_postgres(&plan, &server, usage).await?;
        load::check_postgres(&plan, &server, &measured).await?;
        reports.push(measured.report("postgres", 1, run, &plan));
    }
    Ok(reports)
}
