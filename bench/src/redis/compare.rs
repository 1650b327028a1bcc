//! Starts Atoll and Redis in turn on the same disk, gives each the same load, and keeps what was
//! measured; `table` prints the ratios.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    crosscheck::{self, CrossReport},
    load::{self, RedisReport, Settings, Target},
    options::{CompareRedisOptions, Keeping, With},
    servers::Side,
};
use crate::{
    error::{Error, Result},
    process,
};

/// One server's turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RedisTurn {
    pub(crate) server: &'static str,
    pub(crate) nodes: usize,
    pub(crate) durability: Keeping,
    pub(crate) run: usize,
    pub(crate) reports: Vec<RedisReport>,
    /// What redis-benchmark measured.
    pub(crate) crosscheck: Vec<CrossReport>,
    pub(crate) memory: Option<KeyMemory>,
}

/// Memory before and after many keys were written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyMemory {
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
    pub(crate) rss_bytes_empty: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_bytes_settled: u64,
    /// What a key costs once the server is at rest, all its processes together.
    pub(crate) bytes_per_key: f64,
}

/// Runs every turn.
pub(crate) async fn run(options: &CompareRedisOptions) -> Result<Vec<RedisTurn>> {
    options.check()?;
    let mut sides = Side::of(&options.pair)?;
    let tool = cross_tool(options)?;
    let mut turns = Vec::new();
    for &nodes in &options.nodes {
        for &durability in &options.durability {
            for run in 0..options.runs {
                for side in &sides {
                    let name = side.name();
                    eprintln!(
                        "{name}: {nodes} nodes, {}, run {}",
                        durability.name(),
                        run + 1
                    );
                    turns.push(RedisTurn {
                        server: name,
                        nodes,
                        durability,
                        run,
                        ..turn(options, side, nodes, durability, tool.as_ref()).await?
                    });
                }
                // Who goes first in one pair goes second in the next.
                sides.reverse();
            }
        }
    }
    Ok(turns)
}

fn cross_tool(options: &CompareRedisOptions) -> Result<Option<PathBuf>> {
    match (options.with, &options.pair.redis_server) {
        (None, _) => Ok(None),
        (Some(With::RedisBenchmark), Some(server)) => {
            let server = super::options::binary(server)?;
            Ok(Some(server.with_file_name("redis-benchmark")))
        }
        (Some(With::RedisBenchmark), None) => Err(Error::Options(
            "redis-benchmark is looked for beside --redis-server".to_owned(),
        )),
    }
}

async fn turn(
    options: &CompareRedisOptions,
    side: &Side,
    nodes: usize,
    durability: Keeping,
    tool: Option<&PathBuf>,
) -> Result<RedisTurn> {
    let mut reports = Vec::new();
    let mut crosscheck = Vec::new();
    let workloads: Vec<_> = options.workloads.iter().flatten().copied().collect();
    if !workloads.is_empty() {
        let servers = side.start(nodes, durability, &options.pair.disk).await?;
        let target = servers.target().await?;
        if workloads.iter().any(|it| it.reads()) {
            load::fill(&target.doors, options.keys, options.value_bytes).await?;
        }
        for &connections in &options.connections {
            for &pipeline in &options.pipeline {
                for &workload in &workloads {
                    let settings = Settings {
                        workload,
                        connections,
                        pipeline,
                        keys: options.keys,
                        value_bytes: options.value_bytes,
                        warmup: Duration::from_secs(options.warmup_seconds),
                        time: Duration::from_secs(options.seconds),
                        seed: options.seed,
                    };
                    let report = load::run(&target, &settings).await?;
                    if let (Some(tool), 1) = (tool, nodes) {
                        crosscheck
                            .extend(crosscheck::run(tool, &target, &settings, &report).await?);
                    }
                    reports.push(report);
                }
            }
        }
    }
    let memory = match options.load_keys {
        0 => None,
        keys => {
            let servers = side.start(nodes, durability, &options.pair.disk).await?;
            Some(memory(options, &servers.target().await?, keys).await?)
        }
    };
    Ok(RedisTurn {
        server: side.name(),
        nodes,
        durability,
        run: 0,
        reports,
        crosscheck,
        memory,
    })
}

async fn memory(options: &CompareRedisOptions, target: &Target, keys: u64) -> Result<KeyMemory> {
    let empty = process::usage(&target.pids)?.rss_bytes;
    let begin = Instant::now();
    load::fill(&target.doors, keys, options.value_bytes).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let loaded = process::usage(&target.pids)?.rss_bytes;
    sleep(Duration::from_secs(options.settle_seconds)).await;
    let settled = process::usage(&target.pids)?.rss_bytes;
    Ok(KeyMemory {
        keys,
        value_bytes: options.value_bytes,
        seconds,
        rss_bytes_empty: empty,
        rss_bytes: loaded,
        rss_bytes_settled: settled,
        bytes_per_key: settled.saturating_sub(empty) as f64 / keys as f64,
    })
}
