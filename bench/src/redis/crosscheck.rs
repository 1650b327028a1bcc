//! redis-benchmark beside our own load: a second opinion on the same servers.

use std::{path::Path, process::Command, time::Duration};

use atoll_e2e::node;
use serde::Serialize;

use super::{
    load::{RedisReport, Settings, Target},
    workload::RedisWorkload,
};
use crate::{
    error::{Error, Result},
    process,
};

/// It is asked for so many operations as our own load did in its time, but never for more.
const OPS_MAX: u64 = 50_000_000;

/// What redis-benchmark says, and the servers' CPU time meanwhile.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CrossReport {
    pub(crate) workload: RedisWorkload,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) ops: u64,
    pub(crate) ops_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) cpu_us_per_op: f64,
}

/// Runs it once; nothing where it has no such workload.
pub(crate) async fn run(
    tool: &Path,
    target: &Target,
    settings: &Settings,
    ours: &RedisReport,
) -> Result<Option<CrossReport>> {
    if settings.workload == RedisWorkload::Mixed {
        return Ok(None);
    }
    let ops = ours.ops.clamp(1, OPS_MAX);
    let address = target.doors.addresses[0];
    let mut command = Command::new(tool);
    command
        .args(["-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
        .args(["-t", settings.workload.name(), "--csv"])
        .args(["-n", &ops.to_string()])
        .args(["-c", &settings.connections.to_string()])
        .args(["-P", &settings.pipeline.to_string()])
        .args(["-r", &settings.keys.to_string()])
        .args(["-d", &settings.value_bytes.to_string()]);
    let before = process::usage(&target.pids)?.cpu;
    let ran = tokio::task::spawn_blocking(move || node::run(&mut command));
    let told = ran.await??;
    let cpu: Duration = process::usage(&target.pids)?.cpu.saturating_sub(before);
    let (ops_per_second, p50_us, p99_us) =
        figures(&told).ok_or(Error::Protocol("redis-benchmark prints something else"))?;
    Ok(Some(CrossReport {
        workload: settings.workload,
        connections: settings.connections,
        pipeline: settings.pipeline,
        ops,
        ops_per_second,
        p50_us,
        p99_us,
        cpu_us_per_op: cpu.as_secs_f64() * 1e6 / ops as f64,
    }))
}

/// Operations a second and two latencies in µs, by the names in the table's head.
fn figures(csv: &str) -> Option<(f64, f64, f64)> {
    let mut lines = csv.lines().skip_while(|line| !line.starts_with("\"test\""));
    let head: Vec<&str> = cells(lines.next()?);
    let row: Vec<&str> = cells(lines.next()?);
    let figure = |name: &str| -> Option<f64> {
        let at = head.iter().position(|cell| *cell == name)?;
        row.get(at)?.parse().ok()
    };
    let us = |ms: f64| ms * 1e3;
    Some((
        figure("rps")?,
        us(figure("p50_latency_ms")?),
        us(figure("p99_latency_ms")?),
    ))
}

fn cells(line: &str) -> Vec<&str> {
    line.split(',').map(|cell| cell.trim_matches('"')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_redis_benchmark_prints() {
        let csv = "WARNING: something\n\"test\",\"rps\",\"avg_latency_ms\",\"p50_latency_ms\",\"p99_latency_ms\"\n\
                   \"SET\",\"1000.50\",\"0.2\",\"0.25\",\"1.5\"\n";
        assert_eq!(figures(csv), Some((1000.5, 250.0, 1500.0)));
        assert_eq!(figures("\"test\",\"rps\"\n"), None);
    }
}
