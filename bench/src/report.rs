//! What a measurement says, and how it is printed.

use std::{fmt::Write as _, time::Duration};

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{error::Result, process::Usage, workload::Workload};

/// How results are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// One workload, measured once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) workload: Workload,
    pub(crate) clients: usize,
    pub(crate) seconds: f64,
    pub(crate) ops: u64,
    pub(crate) ops_per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    /// Of all servers together; absent if no process was named.
    pub(crate) cpu_us_per_op: Option<f64>,
    pub(crate) rss_bytes: Option<u64>,
}

/// Memory after many keys were written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MemoryReport {
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) seconds: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_bytes_settled: u64,
    pub(crate) rss_bytes_max: u64,
}

impl Report {
    pub(crate) fn new(
        workload: Workload,
        clients: usize,
        latencies_us: &Histogram<u64>,
        elapsed: Duration,
        usage: Option<(Usage, Usage)>,
    ) -> Self {
        let ops = latencies_us.len();
        let per_op = |before: Usage, after: Usage| {
            after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / ops.max(1) as f64
        };
        Self {
            workload,
            clients,
            seconds: elapsed.as_secs_f64(),
            ops,
            ops_per_second: ops as f64 / elapsed.as_secs_f64(),
            p50_us: latencies_us.value_at_quantile(0.5),
            p99_us: latencies_us.value_at_quantile(0.99),
            max_us: latencies_us.max(),
            cpu_us_per_op: usage.map(|(before, after)| per_op(before, after)),
            rss_bytes: usage.map(|(_, after)| after.rss_bytes),
        }
    }
}

/// Prints a result, as JSON or as `text` lays it out.
pub(crate) fn print<T: Serialize + ?Sized>(
    output: Output,
    result: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    match output {
        Output::Table => print!("{}", text(result)),
        Output::Json => println!("{}", serde_json::to_string_pretty(result)?),
    }
    Ok(())
}

pub(crate) fn table(reports: &Vec<Report>) -> String {
    let mut text = format!(
        "{:<18}{:>8}{:>10}{:>12}{:>10}{:>10}{:>10}{:>12}{:>10}\n",
        "workload", "clients", "ops", "ops/s", "p50 µs", "p99 µs", "max µs", "CPU µs/op", "RSS MiB"
    );
    for it in reports {
        let _ = writeln!(
            text,
            "{:<18}{:>8}{:>10}{:>12.0}{:>10}{:>10}{:>10}{:>12}{:>10}",
            it.workload.name(),
            it.clients,
            it.ops,
            it.ops_per_second,
            it.p50_us,
            it.p99_us,
            it.max_us,
            optional(it.cpu_us_per_op.map(|us| format!("{us:.1}"))),
            optional(it.rss_bytes.map(mebibytes)),
        );
    }
    text
}

pub(crate) fn memory_line(report: &MemoryReport) -> String {
    format!(
        "{} keys of {} bytes in {:.1} s; resident {} MiB, {} MiB after a rest, {} MiB at most\n",
        report.keys,
        report.value_bytes,
        report.seconds,
        mebibytes(report.rss_bytes),
        mebibytes(report.rss_bytes_settled),
        mebibytes(report.rss_bytes_max),
    )
}

fn optional(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}

/// The value in the middle; the mean of both for an even count. 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The median of some figures, short enough for a table.
pub(crate) fn cell(values: &[f64]) -> String {
    match median(values) {
        _ if values.is_empty() => "-".to_owned(),
        large if large >= 1000.0 => format!("{large:.0}"),
        small => format!("{small:.1}"),
    }
}

/// The median of the ratios of paired figures, with the least and the greatest.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> String {
    let ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .filter(|(_, theirs)| **theirs > 0.0)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    if ratios.is_empty() {
        return "-".to_owned();
    }
    format!(
        "{:.2} [{:.2}–{:.2}]",
        median(&ratios),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        assert_eq!(
            ratios(&[1.0, 4.0, 3.0], &[2.0, 4.0, 2.0]),
            "1.00 [0.50–1.50]"
        );
        assert_eq!(ratios(&[1.0], &[]), "-");
        assert_eq!(ratios(&[1.0], &[0.0]), "-");
    }

    #[test]
    fn median_of_few() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
