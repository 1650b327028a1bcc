//! The command line.

use std::{path::PathBuf, time::Duration};

use atoll_e2e::command::{Kind, Server};
use clap::{Args, Parser, Subcommand};

use crate::{
    error::Error,
    load::{Bound, Settings},
    node_loss::NodeLossOptions,
    proxy::options::CompareProxyOptions,
    redis::options::{CompareRedisOptions, RedisKillOptions, RedisRestartOptions},
    report::Output,
    scheduler::SchedulerOptions,
    transactions::TransactionOptions,
    workload::Workload,
};

#[derive(Debug, Parser)]
#[command(
    name = "bench",
    about = "Measures any etcd endpoint, and Atoll side by side with etcd and with Redis"
)]
pub(crate) struct Cli {
    /// Threads of the load generator. One disturbs the servers least.
    #[arg(long, global = true, default_value_t = 1)]
    pub(crate) threads: usize,
    /// How to print the result.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs workloads against servers that run already.
    Run(RunOptions),
    /// Writes many keys, then tells the servers' memory.
    LoadKeys(LoadOptions),
    /// Writes all the time and tells the longest time without an acknowledged write.
    Gap(GapOptions),
    /// Overwrites keys, compacts and defragments them away, and tells how long writers stalled.
    Churn(ChurnOptions),
    /// Starts Atoll and etcd in turn and compares them.
    CompareEtcd(CompareOptions),
    /// Kills the leader of three nodes again and again, and tells the longest write gaps.
    KillSeries(KillOptions),
    /// Starts Atoll and Redis in turn and compares them.
    CompareRedis(CompareRedisOptions),
    /// Kills, stops and cuts off nodes under clients of hot data, and tells the longest stalls.
    RedisKills(RedisKillOptions),
    /// Stops and kills Atoll and Redis in turn, and tells how long they take to be back.
    RedisRestart(RedisRestartOptions),
    /// Moves money between accounts in one partition, two and five, beside single writes and
    /// beside PostgreSQL.
    Transactions(TransactionOptions),
    /// Sends requests through Atoll's gateway, HAProxy and nginx in turn and compares them.
    CompareProxy(CompareProxyOptions),
    /// Kills nodes that run pods, and tells how long until others run what replaces them.
    NodeLoss(NodeLossOptions),
    /// Gives many pods to many simulated nodes, and tells how many a second.
    Scheduler(SchedulerOptions),
}

/// Servers that run already.
#[derive(Clone, Debug, Args)]
pub(crate) struct Targets {
    /// Addresses for clients; clients are spread over them in turn.
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    pub(crate) endpoints: Vec<String>,
    /// Process ids of the servers, for CPU time and memory.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Shape {
    /// Clients that wait for their answer before they ask again.
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    pub(crate) clients: Vec<usize>,
    /// What to do.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "put,get")]
    pub(crate) workloads: Vec<Workload>,
    /// Size of each value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
    /// How many keys there are.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: u64,
    /// How long to measure each workload.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// Measure this many operations instead of a time.
    #[arg(long)]
    pub(crate) ops: Option<u64>,
    /// How long to run each workload before measuring it.
    #[arg(long, default_value_t = 1)]
    pub(crate) warmup_seconds: u64,
    /// Where the choice of keys begins.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Shape {
    pub(crate) fn settings(
        &self,
        targets: Targets,
        workload: Workload,
        clients: usize,
    ) -> Settings {
        Settings {
            targets,
            workload,
            clients,
            value_bytes: self.value_bytes,
            keys: self.keys,
            warmup: Duration::from_secs(self.warmup_seconds),
            bound: match self.ops {
                Some(ops) => Bound::Ops(ops),
                None => Bound::Time(Duration::from_secs(self.seconds)),
            },
            seed: self.seed,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

impl RunOptions {
    pub(crate) fn settings(&self, workload: Workload, clients: usize) -> Settings {
        self.shape.settings(self.targets.clone(), workload, clients)
    }
}

impl std::ops::Deref for RunOptions {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LoadOptions {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// How many keys to write.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) keys: u64,
    /// Size of each value.
    #[arg(long, default_value_t = 256)]
    pub(crate) value_bytes: usize,
    /// How long to leave the servers alone before memory is read a second time.
    #[arg(long, default_value_t = 10)]
    pub(crate) settle_seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GapOptions {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// Writers, spread over the endpoints.
    #[arg(long, default_value_t = 6)]
    pub(crate) clients: usize,
    /// A write that isn't answered by then goes to the next endpoint.
    #[arg(long, default_value_t = 100)]
    pub(crate) timeout_ms: u64,
    /// How long to write.
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ChurnOptions {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// How much is overwritten before it is compacted away.
    #[arg(long, default_value_t = 1024)]
    pub(crate) mebibytes: u64,
    /// How much stays.
    #[arg(long, default_value_t = 512)]
    pub(crate) live_mebibytes: u64,
}

/// The servers to start and compare; at least one.
#[derive(Clone, Debug, Args)]
pub(crate) struct Pair {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    pub(crate) atoll: Option<PathBuf>,
    /// An etcd binary.
    #[arg(long)]
    pub(crate) etcd: Option<PathBuf>,
    /// Directory on the disk to use; each server gets a directory below, removed afterwards.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) disk: PathBuf,
}

impl Pair {
    /// The servers, Atoll first.
    ///
    /// # Errors
    /// None was named, or a binary isn't there.
    pub(crate) fn servers(&self) -> Result<Vec<Server>, Error> {
        let named = [(Kind::Atoll, &self.atoll), (Kind::Etcd, &self.etcd)];
        let mut servers = Vec::new();
        for (kind, path) in named {
            let Some(path) = path else { continue };
            let path = path
                .canonicalize()
                .map_err(Error::io(&format!("find {}", path.display())))?;
            servers.push(Server { kind, path });
        }
        if servers.is_empty() {
            return Err(Error::Options(
                "name --atoll PATH, --etcd PATH, or both to compare them".to_owned(),
            ));
        }
        Ok(servers)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareOptions {
    #[command(flatten)]
    pub(crate) pair: Pair,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Sizes of the clusters to compare.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    pub(crate) nodes: Vec<usize>,
    /// How often each server takes its turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// Keys for the comparison of memory; 0 leaves it out.
    #[arg(long, default_value_t = 0)]
    pub(crate) load_keys: u64,
    /// Mebibytes for the comparison of compaction's stalls; 0 leaves it out.
    #[arg(long, default_value_t = 0)]
    pub(crate) churn_mebibytes: u64,
    /// Mebibytes that stay, in that comparison.
    #[arg(long, default_value_t = 512)]
    pub(crate) live_mebibytes: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct KillOptions {
    #[command(flatten)]
    pub(crate) pair: Pair,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 20)]
    pub(crate) kills: usize,
    /// Size of the cluster.
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: usize,
    /// Writers, spread over the nodes.
    #[arg(long, default_value_t = 6)]
    pub(crate) clients: usize,
    /// A write that isn't answered by then goes to the next node.
    #[arg(long, default_value_t = 100)]
    pub(crate) timeout_ms: u64,
}
