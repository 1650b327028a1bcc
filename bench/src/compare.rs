//! Starts the servers in turn on the same disk, gives each the same load, and prints ratios.
//!
//! A machine's mood changes within minutes, so only what ran side by side is compared: the
//! ratio of each pair of turns, then the median over the pairs with its least and greatest.

use std::{collections::BTreeMap, fmt::Write as _};

use atoll_e2e::{
    cluster::Cluster,
    command::{Kind, Server},
};
use serde::Serialize;

use crate::{
    churn::{self, ChurnReport},
    cli::{ChurnOptions, CompareOptions, LoadOptions, Targets},
    connection,
    error::{Error, Result},
    kills::name,
    load,
    report::{MemoryReport, Report, cell, mebibytes, ratios},
    workload::Workload,
};

/// How long a server rests before its memory is read the second time.
const SETTLE_S: u64 = 15;

/// One server's turn on one size of cluster.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) server: &'static str,
    pub(crate) nodes: usize,
    pub(crate) run: usize,
    pub(crate) reports: Vec<Report>,
    pub(crate) memory: Option<MemoryReport>,
    pub(crate) churn: Option<ChurnReport>,
}

/// Runs every turn.
pub(crate) async fn run(options: &CompareOptions) -> Result<Vec<Turn>> {
    let mut servers = options.pair.servers()?;
    let mut turns = Vec::new();
    for &nodes in &options.nodes {
        if nodes == 0 {
            return Err(Error::Options("--nodes begins at 1".to_owned()));
        }
        for run in 0..options.runs {
            for server in &servers {
                eprintln!("{}: {nodes} nodes, run {}", name(server.kind), run + 1);
                turns.push(turn(options, server, nodes, run).await?);
            }
            // Who goes first in one pair goes second in the next.
            servers.reverse();
        }
    }
    Ok(turns)
}

async fn turn(options: &CompareOptions, server: &Server, nodes: usize, run: usize) -> Result<Turn> {
    let mut reports = Vec::new();
    {
        let cluster = Cluster::start_in(server, nodes, &options.pair.disk).await?;
        let targets = targets(&cluster).await?;
        for &clients in &options.shape.clients {
            for &workload in &options.shape.workloads {
                let settings = options.shape.settings(targets.clone(), workload, clients);
                reports.push(load::run(&settings).await?);
            }
        }
    }
    let memory = match options.load_keys {
        0 => None,
        keys => Some(memory(options, server, nodes, keys).await?),
    };
    let churn = match options.churn_mebibytes {
        0 => None,
        mebibytes => Some(churn(options, server, nodes, mebibytes).await?),
    };
    Ok(Turn {
        server: name(server.kind),
        nodes,
        run,
        reports,
        memory,
        churn,
    })
}

async fn memory(
    options: &CompareOptions,
    server: &Server,
    nodes: usize,
    keys: u64,
) -> Result<MemoryReport> {
    let cluster = Cluster::start_in(server, nodes, &options.pair.disk).await?;
    load::load_keys(&LoadOptions {
        targets: targets(&cluster).await?,
        keys,
        value_bytes: options.shape.value_bytes,
        settle_seconds: SETTLE_S,
    })
    .await
}

async fn churn(
    options: &CompareOptions,
    server: &Server,
    nodes: usize,
    mebibytes: u64,
) -> Result<ChurnReport> {
    let cluster = Cluster::start_in(server, nodes, &options.pair.disk).await?;
    churn::run(&ChurnOptions {
        targets: targets(&cluster).await?,
        mebibytes,
        live_mebibytes: options.live_mebibytes,
    })
    .await
}

async fn targets(cluster: &Cluster) -> Result<Targets> {
    Ok(Targets {
        endpoints: connection::leader_first(cluster.endpoints()).await?,
        pids: cluster.pids(),
    })
}

/// What is compared of each report; for the last two, less is better.
const MEASURES: [Measure; 3] = [
    ("ops/s", |it| it.ops_per_second),
    ("CPU µs/op", |it| it.cpu_us_per_op.unwrap_or(0.0)),
    ("p99 µs", |it| it.p99_us as f64),
];

/// Its name, and how it is read from a report.
type Measure = (&'static str, fn(&Report) -> f64);

/// Nodes, workload, clients.
type Row = (usize, Workload, usize);

pub(crate) fn table(turns: &Vec<Turn>) -> String {
    let mut text = format!(
        "{:<6}{:<18}{:>8} {:<12}{:>10}{:>10}   {}\n",
        "nodes", "workload", "clients", "measure", "atoll", "etcd", "atoll/etcd median [min–max]"
    );
    let mut rows: BTreeMap<Row, BTreeMap<&str, Vec<&Report>>> = BTreeMap::new();
    for turn in turns {
        for report in &turn.reports {
            let row = (turn.nodes, report.workload, report.clients);
            let of_row = rows.entry(row).or_default();
            of_row.entry(turn.server).or_default().push(report);
        }
    }
    for ((nodes, workload, clients), reports) in &rows {
        let of = |kind| reports.get(name(kind)).map_or(&[][..], Vec::as_slice);
        for (measure, value) in MEASURES {
            let atoll: Vec<f64> = of(Kind::Atoll).iter().map(|it| value(it)).collect();
            let etcd: Vec<f64> = of(Kind::Etcd).iter().map(|it| value(it)).collect();
            let _ = writeln!(
                text,
                "{nodes:<6}{:<18}{clients:>8} {measure:<12}{:>10}{:>10}   {}",
                workload.name(),
                cell(&atoll),
                cell(&etcd),
                ratios(&atoll, &etcd)
            );
        }
    }
    text + &memory_lines(turns) + &churn_lines(turns)
}

fn memory_lines(turns: &[Turn]) -> String {
    let mut text = String::new();
    for turn in turns {
        if let Some(it) = &turn.memory {
            let _ = writeln!(
                text,
                "{} with {} nodes, run {}: {} keys resident in {} MiB, {} MiB after a rest",
                turn.server,
                turn.nodes,
                turn.run + 1,
                it.keys,
                mebibytes(it.rss_bytes),
                mebibytes(it.rss_bytes_settled)
            );
        }
    }
    text
}

fn churn_lines(turns: &[Turn]) -> String {
    let mut text = String::new();
    for turn in turns {
        if let Some(it) = &turn.churn {
            let (server, nodes) = (turn.server, turn.nodes);
            let _ = write!(text, "{server} with {nodes} nodes: {}", churn::lines(it));
        }
    }
    text
}
