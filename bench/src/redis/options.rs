//! The command line of the measurements over Redis's protocol.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{restart::VALUE_BYTES_MIN, workload::RedisWorkload};
use crate::error::{Error, Result};

/// When a write is on the disk; the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keeping {
    /// Before it is acknowledged: `kv.durability always`, `appendfsync always`.
    Always,
    /// Within a second: `kv.durability interval:1s`, `appendfsync everysec`.
    Interval,
    /// Whenever: `kv.durability none`, no append-only file.
    None,
}

impl Keeping {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval",
            Self::None => "none",
        }
    }

    /// The value of Atoll's setting `kv.durability`.
    pub(crate) fn atoll(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Interval => "interval:1s",
            Self::None => "none",
        }
    }

    /// The options of redis-server.
    pub(crate) fn redis(self) -> &'static [&'static str] {
        match self {
            Self::Always => &["--appendonly", "yes", "--appendfsync", "always"],
            Self::Interval => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Self::None => &["--appendonly", "no"],
        }
    }
}

/// A second opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// Redis's own load generator, which lies beside redis-server.
    RedisBenchmark,
}

/// The servers to start and compare; at least one.
#[derive(Clone, Debug, Args)]
pub(crate) struct RedisPair {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    pub(crate) atoll: Option<PathBuf>,
    /// A redis-server binary; redis-cli and redis-benchmark are looked for beside it.
    #[arg(long)]
    pub(crate) redis_server: Option<PathBuf>,
    /// Directory on the disk to use; each server gets a directory below, removed afterwards.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) disk: PathBuf,
    /// Partitions of Atoll's cluster, instead of its default.
    #[arg(long)]
    pub(crate) partitions: Option<u16>,
}

/// The absolute path of a binary that must be there.
pub(crate) fn binary(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .map_err(Error::io(&format!("find {}", path.display())))
}

const COMPARE_EXAMPLES: &str = "\
Work, one node against one redis-server, five alternated turns:
  bench compare-redis --atoll target/release/atoll \\
      --redis-server ~/.cache/atoll-tools/bin/redis-server \\
      --nodes 1 --durability always,interval,none --runs 5 \\
      --connections 50,500 --pipeline 1,16 --workloads set,get,incr,lpush,hset,zadd,mixed

Three nodes against a Redis Cluster of three masters and three replicas:
  bench compare-redis --atoll ... --redis-server ... --nodes 3 --durability always --runs 5

Memory of a million keys:
  bench compare-redis --atoll ... --redis-server ... --nodes 1 --durability none --runs 3 \\
      --workloads '' --load-keys 1000000

e2e/scripts/tools.sh redis-deb fetches Debian's redis-server, redis-cli and redis-benchmark.";

#[derive(Clone, Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareRedisOptions {
    #[command(flatten)]
    pub(crate) pair: RedisPair,
    /// Sizes of the clusters to compare: 1 is compared with one redis-server, 3 with a Redis
    /// Cluster of three masters with a replica each.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) nodes: Vec<usize>,
    /// When a write is on the disk.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "always")]
    pub(crate) durability: Vec<Keeping>,
    /// How often each server takes its turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// Clients, each with a connection of its own.
    #[arg(long, value_delimiter = ',', default_value = "50,500")]
    pub(crate) connections: Vec<usize>,
    /// Requests that a client sends before it waits for their answers.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(crate) pipeline: Vec<usize>,
    /// What to do; nothing at all with ''.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "set,get,incr,lpush,hset,zadd,mixed",
        value_parser = optional_workload
    )]
    pub(crate) workloads: Vec<Option<RedisWorkload>>,
    /// How many keys of each type there are.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) keys: u64,
    /// Size of each value.
    #[arg(long, default_value_t = 64)]
    pub(crate) value_bytes: usize,
    /// How long to measure each load.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// How long to run each load before measuring it.
    #[arg(long, default_value_t = 1)]
    pub(crate) warmup_seconds: u64,
    /// Where the choice of keys begins.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Strings for the comparison of memory, on servers of their own; 0 leaves it out.
    #[arg(long, default_value_t = 0)]
    pub(crate) load_keys: u64,
    /// How long servers are left alone before memory is read a second time.
    #[arg(long, default_value_t = 15)]
    pub(crate) settle_seconds: u64,
    /// Measure with this as well, where it knows the workload and the servers are single ones.
    #[arg(long, value_enum)]
    pub(crate) with: Option<With>,
}

fn optional_workload(text: &str) -> std::result::Result<Option<RedisWorkload>, String> {
    match text {
        "" => Ok(None),
        name => RedisWorkload::from_str(name, true).map(Some),
    }
}

impl CompareRedisOptions {
    /// Every option within its range.
    ///
    /// # Errors
    /// It names the option that is not.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::Options(text.to_owned()));
        if self.connections.contains(&0) || self.pipeline.contains(&0) || self.keys == 0 {
            return refuse("--connections, --pipeline and --keys begin at 1");
        }
        if self.keys > u64::from(u32::MAX) {
            return refuse("--keys is at most 4294967295");
        }
        if self.nodes.iter().any(|nodes| ![1, 3].contains(nodes)) {
            return refuse("--nodes is 1, 3 or both");
        }
        Ok(())
    }
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// `kill -9`.
    Kill,
    /// SIGSTOP: its connections stay, and it answers nothing.
    Stop,
    /// Its link drops everything, and nobody is told. Needs root.
    Cut,
    /// All that it holds moves to the others, and back: `atoll node drain` and `undrain`.
    Drain,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
            Self::Drain => "drain",
        }
    }

    /// In a cluster of so many nodes.
    pub(crate) fn nodes(self) -> usize {
        match self {
            Self::Kill | Self::Stop | Self::Cut => 3,
            // There is an odd number of votes, and room for three replicas without one node.
            Self::Drain => 5,
        }
    }
}

const KILLS_EXAMPLES: &str = "\
The whole test:
  bench redis-kills --atoll target/release/atoll --runs 20 --faults kill,stop,cut
  bench redis-kills --atoll target/release/atoll --runs 5 --faults drain

The cut puts each node into a network namespace of its own (ip netns, a bridge), so it needs
root; namespaces and bridge are removed afterwards.";

#[derive(Clone, Debug, Args)]
#[command(after_help = KILLS_EXAMPLES)]
pub(crate) struct RedisKillOptions {
    /// An atoll binary (build it with --release).
    #[arg(long)]
    pub(crate) atoll: PathBuf,
    /// Directory on the disk to use; the nodes get a directory below, removed afterwards.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) disk: PathBuf,
    /// Partitions of the cluster, instead of the default.
    #[arg(long)]
    pub(crate) partitions: Option<u16>,
    /// What happens to a node.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "kill,stop,cut"
    )]
    pub(crate) faults: Vec<Fault>,
    /// How often each of them happens.
    #[arg(long, default_value_t = 20)]
    pub(crate) runs: usize,
    /// Clients, spread over the nodes that nothing happens to.
    #[arg(long, default_value_t = 8)]
    pub(crate) clients: usize,
    /// Keys that each client writes and reads.
    #[arg(long, default_value_t = 200)]
    pub(crate) keys: usize,
    /// How long the load runs before something happens to a node.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) before_ms: u64,
    /// How long it runs on after that.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) after_ms: u64,
    /// How long nodes are left alone between runs.
    #[arg(long, default_value_t = 3_000)]
    pub(crate) rest_ms: u64,
}

const RESTART_EXAMPLES: &str = "\
Work, two alternated turns of 10 GB:
  bench redis-restart --atoll target/release/atoll \\
      --redis-server ~/.cache/atoll-tools/bin/redis-server --gigabytes 10 --runs 2

It needs memory for the data and half as much again, and three times the data on the disk.
With --cold nothing of the files is in memory when a server starts, as after the machine's own
restart; that needs root.";

#[derive(Clone, Debug, Args)]
#[command(after_help = RESTART_EXAMPLES)]
pub(crate) struct RedisRestartOptions {
    #[command(flatten)]
    pub(crate) pair: RedisPair,
    /// How much is written: names and values, in 10^9 bytes.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) gigabytes: f64,
    /// How often each server takes its turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// Size of each value.
    #[arg(long, default_value_t = 1_024)]
    pub(crate) value_bytes: usize,
    /// When a write is on the disk.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "always")]
    pub(crate) durability: Vec<Keeping>,
    /// Connections that write.
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Requests that each of them sends before it waits for their answers.
    #[arg(long, default_value_t = 64)]
    pub(crate) pipeline: usize,
    /// How long a server is left alone before it is stopped, and once more after it is back.
    #[arg(long, default_value_t = 10)]
    pub(crate) settle_seconds: u64,
    /// How long is written before a server is killed.
    #[arg(long, default_value_t = 5)]
    pub(crate) load_seconds: u64,
    /// After a restart every so manieth key is read, besides counting all of them.
    #[arg(long, default_value_t = 16)]
    pub(crate) check_every: u64,
    /// Have the system forget the files before each start. Needs root.
    #[arg(long)]
    pub(crate) cold: bool,
}

impl RedisRestartOptions {
    /// Every option within its range.
    ///
    /// # Errors
    /// It names the option that is not.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::Options(text.to_owned()));
        if self.connections == 0 || self.pipeline == 0 || self.check_every == 0 {
            return refuse("--connections, --pipeline and --check-every begin at 1");
        }
        if !(VALUE_BYTES_MIN..=1 << 20).contains(&self.value_bytes) {
            return refuse("--value-bytes is 64 to 1048576");
        }
        if !(0.001..=1_000.0).contains(&self.gigabytes) {
            return refuse("--gigabytes is 0.001 to 1000");
        }
        if self.durability.contains(&Keeping::None) {
            return refuse("--durability is always or interval: without a file nothing comes back");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: RedisRestartOptions,
    }

    fn checked(line: &str) -> Result<()> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().options.check()
    }

    #[test]
    fn restarts_want_a_file_and_sizes_in_their_range() {
        assert!(checked("").is_ok());
        assert!(checked("--gigabytes 0.2 --durability always,interval").is_ok());
        for line in [
            "--durability none",
            "--gigabytes 0",
            "--gigabytes NaN",
            "--value-bytes 63",
            "--pipeline 0",
            "--check-every 0",
        ] {
            assert!(checked(line).is_err(), "{line}");
        }
    }
}
