//! Prints a comparison: medians of both, and the ratio of each pair of turns.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    compare::{KeyMemory, RedisTurn},
    crosscheck::CrossReport,
    load::RedisReport,
    options::Keeping,
    workload::RedisWorkload,
};
use crate::report::{cell, mebibytes, ratios};

/// Its name, and how it is read from a report.
type Measure<T> = (&'static str, fn(&T) -> f64);

const MEASURES: [Measure<RedisReport>; 5] = [
    ("ops/s", |it| it.ops_per_second),
    ("CPU µs/op", |it| it.cpu_us_per_op),
    ("p50 µs", |it| it.p50_us as f64),
    ("p99 µs", |it| it.p99_us as f64),
    ("p99.9 µs", |it| it.p999_us as f64),
];

const CROSS_MEASURES: [Measure<CrossReport>; 4] = [
    ("ops/s", |it| it.ops_per_second),
    ("CPU µs/op", |it| it.cpu_us_per_op),
    ("p50 µs", |it| it.p50_us),
    ("p99 µs", |it| it.p99_us),
];

/// Nodes, durability, connections, pipeline, workload.
type Row = (usize, Keeping, usize, usize, RedisWorkload);

/// The reports of a row by server, in the order of the runs.
type Rows<'a, T> = BTreeMap<Row, BTreeMap<&'static str, Vec<&'a T>>>;

pub(crate) fn table(turns: &Vec<RedisTurn>) -> String {
    let mut ours: Rows<'_, RedisReport> = BTreeMap::new();
    let mut theirs: Rows<'_, CrossReport> = BTreeMap::new();
    for turn in turns {
        let row = |connections, pipeline, workload| -> Row {
            (turn.nodes, turn.durability, connections, pipeline, workload)
        };
        for it in &turn.reports {
            let row = row(it.connections, it.pipeline, it.workload);
            let of_row = ours.entry(row).or_default();
            of_row.entry(turn.server).or_default().push(it);
        }
        for it in &turn.crosscheck {
            let row = row(it.connections, it.pipeline, it.workload);
            let of_row = theirs.entry(row).or_default();
            of_row.entry(turn.server).or_default().push(it);
        }
    }
    let mut text = String::new();
    if !ours.is_empty() {
        text += &lines(&ours, &MEASURES);
    }
    if !theirs.is_empty() {
        text += "\nredis-benchmark, on the same servers:\n";
        text += &lines(&theirs, &CROSS_MEASURES);
    }
    text + &memory_lines(turns)
}

fn lines<T>(rows: &Rows<'_, T>, measures: &[Measure<T>]) -> String {
    let mut text = format!(
        "{:<6}{:<10}{:>6}{:>4} {:<7}{:<11}{:>10}{:>10}   {}\n",
        "nodes",
        "durable",
        "conns",
        "P",
        "load",
        "measure",
        "atoll",
        "redis",
        "atoll/redis median [min–max]"
    );
    for ((nodes, keeping, connections, pipeline, workload), reports) in rows {
        let of = |server| reports.get(server).map_or(&[][..], Vec::as_slice);
        for (measure, value) in measures {
            let atoll: Vec<f64> = of("atoll").iter().map(|it| value(it)).collect();
            let redis: Vec<f64> = of("redis").iter().map(|it| value(it)).collect();
            let _ = writeln!(
                text,
                "{nodes:<6}{:<10}{connections:>6}{pipeline:>4} {:<7}{measure:<11}{:>10}{:>10}   {}",
                keeping.name(),
                workload.name(),
                cell(&atoll),
                cell(&redis),
                ratios(&atoll, &redis)
            );
        }
    }
    text
}

fn memory_lines(turns: &[RedisTurn]) -> String {
    let mut text = String::new();
    let mut all: BTreeMap<(usize, Keeping), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for turn in turns {
        let Some(it) = &turn.memory else { continue };
        text += &memory_line(turn, it);
        let of_row = all.entry((turn.nodes, turn.durability)).or_default();
        of_row
            .entry(turn.server)
            .or_default()
            .push(it.bytes_per_key);
    }
    for ((nodes, keeping), servers) in &all {
        let of = |server| servers.get(server).map_or(&[][..], Vec::as_slice);
        let (atoll, redis) = (of("atoll"), of("redis"));
        let _ = writeln!(
            text,
            "bytes per key, {nodes} nodes, {}: atoll {}, redis {}, atoll/redis {}",
            keeping.name(),
            cell(atoll),
            cell(redis),
            ratios(atoll, redis)
        );
    }
    text
}

fn memory_line(turn: &RedisTurn, it: &KeyMemory) -> String {
    format!(
        "{} with {} nodes, run {}: {} keys of {} bytes in {:.1} s; resident {} MiB empty, {} MiB \
         loaded, {} MiB after a rest; {:.1} bytes per key\n",
        turn.server,
        turn.nodes,
        turn.run + 1,
        it.keys,
        it.value_bytes,
        it.seconds,
        mebibytes(it.rss_bytes_empty),
        mebibytes(it.rss_bytes),
        mebibytes(it.rss_bytes_settled),
        it.bytes_per_key
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(server: &'static str, run: usize, bytes_per_key: f64) -> RedisTurn {
        RedisTurn {
            server,
            nodes: 1,
            durability: Keeping::None,
            run,
            reports: vec![],
            crosscheck: vec![],
            memory: Some(KeyMemory {
                keys: 10,
                value_bytes: 64,
                seconds: 1.0,
                rss_bytes_empty: 0,
                rss_bytes: 0,
                rss_bytes_settled: 0,
                bytes_per_key,
            }),
        }
    }

    #[test]
    fn memory_is_compared_pair_by_pair() {
        let turns = vec![
            turn("atoll", 0, 100.0),
            turn("redis", 0, 200.0),
            turn("redis", 1, 100.0),
            turn("atoll", 1, 150.0),
        ];
        let text = table(&turns);
        assert!(text.ends_with("atoll 125.0, redis 150.0, atoll/redis 1.00 [0.50–1.50]\n"));
    }
}
