//! Kills, stops, cuts off or drains one of a few nodes, again and again, under a load of writes
//! and reads through the others; tells the longest stall of any client, and what was lost.
//!
//! Each client waits for one answer at a time and asks again until it has it, so its longest
//! request is its longest stall. What was acknowledged is looked for while the node is still
//! away, and once more through that node after it is back.

mod clients;
mod disk;

use std::{fmt::Write as _, net::SocketAddr, process::Command, time::Duration};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Place},
    network::Network,
    node::run as run_command,
};
use serde::Serialize;
use tokio::time::sleep;

use self::{clients::Clients, disk::DiskProbe};
use super::{
    options::{Fault, Keeping, RedisKillOptions},
    servers::{REPLICAS, atoll, placed, pong, redis_address, start_atoll},
};
use crate::{
    error::{Error, Result},
    report::{cell, median},
};

/// How often a drain that goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// All runs with one fault.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FaultSeries {
    pub(crate) fault: Fault,
    pub(crate) runs: Vec<FaultRun>,
}

/// One fault of one node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FaultRun {
    pub(crate) victim: usize,
    /// The longest request of any client that ended after the fault.
    pub(crate) stall_ms: f64,
    /// The longest that ended before it: how the machine was.
    pub(crate) stall_before_ms: f64,
    /// Of small synced writes to the same disk, made by the bench during the run.
    pub(crate) sync_p99_ms: f64,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    /// Attempts that were refused, broken off or not answered; each was made again.
    pub(crate) failed_attempts: u64,
    /// Acknowledged writes that weren't there afterwards.
    pub(crate) lost: u64,
    /// Reads that missed a write acknowledged before they began.
    pub(crate) stale: u64,
}

/// Runs every series.
pub(crate) async fn run(options: &RedisKillOptions) -> Result<Vec<FaultSeries>> {
    if options.clients == 0 || options.keys == 0 {
        return Err(Error::Options("--clients and --keys begin at 1".to_owned()));
    }
    let all = async {
        let mut all = Vec::new();
        for &fault in &options.faults {
            all.push(series(options, fault).await?);
        }
        Ok(all)
    };
    // Ended by hand, namespaces and directories still have to go.
    tokio::select! {
        all = all => all,
        _ = tokio::signal::ctrl_c() => Err(Error::Options("ended by hand".to_owned())),
    }
}

async fn series(options: &RedisKillOptions, fault: Fault) -> Result<FaultSeries> {
    // Before the cluster: the nodes end before their namespaces go.
    let network = match fault {
        Fault::Cut => Some(Network::new(fault.nodes()).map_err(|error| {
            Error::Options(format!(
                "a cut link needs network namespaces: {error}; leave `cut` out of --faults otherwise"
            ))
        })?),
        Fault::Kill | Fault::Stop | Fault::Drain => None,
    };
    let places = match &network {
        Some(network) => network.places(),
        None => vec![Place::default(); fault.nodes()],
    };
    let server = atoll(&options.atoll)?;
    let disk = &options.disk;
    let mut cluster =
        start_atoll(&server, &places, Keeping::Always, options.partitions, disk).await?;
    let mut runs = Vec::new();
    for number in 0..options.runs {
        let run = one(options, fault, number, &mut cluster, network.as_ref()).await?;
        eprintln!(
            "{} {}: {:.1} ms ({:.1} ms before), sync p99 {:.1} ms, {} acknowledged, {} lost",
            fault.name(),
            number + 1,
            run.stall_ms,
            run.stall_before_ms,
            run.sync_p99_ms,
            run.acknowledged,
            run.lost
        );
        runs.push(run);
        sleep(Duration::from_millis(options.rest_ms)).await;
    }
    Ok(FaultSeries { fault, runs })
}

async fn one(
    options: &RedisKillOptions,
    fault: Fault,
    number: usize,
    cluster: &mut Cluster,
    network: Option<&Network>,
) -> Result<FaultRun> {
    let victim = number % fault.nodes();
    let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(redis_address).collect();
    let mut survivors = addresses.clone();
    let away = survivors.remove(victim);

    let probe = DiskProbe::start(&options.disk)?;
    let mut clients = Clients::start(&survivors, options.clients, options.keys, number).await?;
    clients
        .rest(Duration::from_millis(options.before_ms))
        .await?;
    clients.mark();
    match (fault, network) {
        (Fault::Kill, _) => cluster.nodes[victim].kill(),
        (Fault::Stop, _) => cluster.nodes[victim].pause()?,
        (Fault::Cut, Some(network)) => network.cut(victim)?,
        (Fault::Cut, None) => return Err(Error::Protocol("a cut needs a network")),
        (Fault::Drain, _) => {
            move_away(cluster, victim, &mut clients).await?;
            run_command(&mut about_node(cluster, victim, "undrain")?)?;
            placed(&cluster.nodes[0], REPLICAS).await?;
        }
    }
    clients
        .rest(Duration::from_millis(options.after_ms))
        .await?;
    let log = clients.stop().await?;
    let sync_p99_ms = probe.stop()?;
    let lost_away = log.lost(survivors[number % survivors.len()]).await?;

    match (fault, network) {
        (Fault::Kill, _) => cluster.nodes[victim].start(&Entry::Again).await?,
        (Fault::Stop, _) => cluster.nodes[victim].resume()?,
        (Fault::Cut, Some(network)) => network.mend(victim)?,
        (Fault::Cut, None) | (Fault::Drain, _) => {}
    }
    pong(away).await?;
    let lost_back = log.lost(away).await?;
    log.forget(survivors[0]).await?;
    Ok(FaultRun {
        victim,
        stall_ms: log.stall_after.as_secs_f64() * 1e3,
        stall_before_ms: log.stall_before.as_secs_f64() * 1e3,
        sync_p99_ms,
        acknowledged: log.acknowledged(),
        reads: log.reads,
        failed_attempts: log.failed_attempts,
        lost: lost_away.max(lost_back),
        stale: log.stale,
    })
}

/// Has a node drained, and waits for that, unless a client gives up.
async fn move_away(cluster: &Cluster, victim: usize, clients: &mut Clients) -> Result<()> {
    let mut command = about_node(cluster, victim, "drain")?;
    command.arg("--wait");
    let drain = tokio::task::spawn_blocking(move || run_command(&mut command));
    while !drain.is_finished() {
        clients.rest(LOOK_EVERY).await?;
    }
    drain.await??;
    Ok(())
}

/// `atoll node VERB` about a node, asked of another one.
fn about_node(cluster: &Cluster, victim: usize, verb: &str) -> Result<Command> {
    let asked = &cluster.nodes[(victim + 1) % cluster.nodes.len()];
    Ok(asked.atoll(&["node", verb, &cluster.nodes[victim].id()?]))
}

pub(crate) fn table(all: &Vec<FaultSeries>) -> String {
    let mut text = format!(
        "{:<6}{:>6}{:>12}{:>10}{:>12}{:>18}{:>16}{:>14}{:>10}{:>6}{:>7}\n",
        "fault",
        "runs",
        "median ms",
        "max ms",
        "before ms",
        "sync p99 med ms",
        "sync p99 max",
        "acknowledged",
        "failed",
        "lost",
        "stale"
    );
    for series in all {
        let of =
            |value: fn(&FaultRun) -> f64| -> Vec<f64> { series.runs.iter().map(value).collect() };
        let sum = |value: fn(&FaultRun) -> u64| -> u64 { series.runs.iter().map(value).sum() };
        let greatest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let stalls = of(|it| it.stall_ms);
        let syncs = of(|it| it.sync_p99_ms);
        let _ = writeln!(
            text,
            "{:<6}{:>6}{:>12}{:>10.1}{:>12.1}{:>18.1}{:>16.1}{:>14}{:>10}{:>6}{:>7}",
            series.fault.name(),
            series.runs.len(),
            cell(&stalls),
            greatest(&stalls),
            greatest(&of(|it| it.stall_before_ms)),
            median(&syncs),
            greatest(&syncs),
            sum(|it| it.acknowledged),
            sum(|it| it.failed_attempts),
            sum(|it| it.lost),
            sum(|it| it.stale),
        );
    }
    text
}
