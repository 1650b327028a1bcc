//! Kills the leader again and again, under a steady load of writes.

use std::{fmt::Write as _, time::Duration};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Kind, Server},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    cli::KillOptions,
    connection,
    error::{Error, Result},
    gap::Writers,
    report::median,
};

/// A gap counts if it begins within this time after the kill.
const WATCH: Duration = Duration::from_secs(3);
/// Writes flow again when the last acknowledgement is no older.
const FLOWING: Duration = Duration::from_millis(100);
/// No cluster is given up before.
const RECOVERY_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A restarted node has caught up when it lacks no more entries than this, under load.
const BEHIND_MAX: u64 = 100;

/// All kills of one server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) server: String,
    pub(crate) kills: Vec<Kill>,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
}

/// One kill of a leader.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kill {
    pub(crate) gap_ms: f64,
    pub(crate) lost: u64,
}

/// Kills the leaders of each server's cluster, one server after the other.
pub(crate) async fn run(options: &KillOptions) -> Result<Vec<Series>> {
    if options.nodes < 3 {
        return Err(Error::Options(
            "a leader can be spared from 3 nodes up".to_owned(),
        ));
    }
    let mut all = Vec::new();
    for server in options.pair.servers()? {
        all.push(series(options, &server).await?);
    }
    Ok(all)
}

async fn series(options: &KillOptions, server: &Server) -> Result<Series> {
    let mut cluster = Cluster::start_in(server, options.nodes, &options.pair.disk).await?;
    let timeout = Duration::from_millis(options.timeout_ms);
    let writers = Writers::start(&cluster.endpoints(), options.clients, timeout)?;
    let mut series = Series {
        server: name(server.kind).to_owned(),
        kills: Vec::new(),
        acknowledged: 0,
        lost: 0,
    };
    for number in 0..options.kills {
        flowing(&writers).await?;
        let leader = leader(&cluster).await?;
        let kill = kill(&mut cluster, leader, &writers).await?;
        eprintln!(
            "{} kill {}: {:.0} ms",
            series.server,
            number + 1,
            kill.gap_ms
        );
        series.lost += kill.lost;
        series.kills.push(kill);
        cluster.nodes[leader].start(&Entry::Again).await?;
        caught_up(&cluster).await?;
    }
    series.acknowledged = writers.acknowledged();
    Ok(series)
}

async fn kill(cluster: &mut Cluster, leader: usize, writers: &Writers) -> Result<Kill> {
    writers.forget();
    cluster.nodes[leader].kill();
    sleep(WATCH).await;
    flowing(writers).await?;
    let gap = writers.longest();
    Ok(Kill {
        gap_ms: gap.as_secs_f64() * 1e3,
        lost: writers.lost().await?,
    })
}

/// Waits until writes are acknowledged.
async fn flowing(writers: &Writers) -> Result<()> {
    let deadline = Instant::now() + RECOVERY_WAIT;
    while writers.acknowledged() == 0 || writers.silence() > FLOWING {
        if Instant::now() > deadline {
            return Err(Error::NoRecovery(RECOVERY_WAIT));
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// The index of the node that leads.
async fn leader(cluster: &Cluster) -> Result<usize> {
    let deadline = Instant::now() + RECOVERY_WAIT;
    loop {
        for (index, node) in cluster.nodes.iter().enumerate() {
            let Ok(status) = connection::status(&node.endpoint()).await else {
                continue;
            };
            let own = status.header.map(|header| header.member_id);
            if own == Some(status.leader) {
                return Ok(index);
            }
        }
        if Instant::now() > deadline {
            return Err(Error::Protocol("no node says that it leads"));
        }
        sleep(POLL).await;
    }
}

/// Waits until every node has applied what the furthest one had, and votes.
async fn caught_up(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + RECOVERY_WAIT;
    loop {
        let mut applied = Vec::new();
        for node in &cluster.nodes {
            if let Ok(status) = connection::status(&node.endpoint()).await
                && !status.is_learner
            {
                applied.push(status.raft_applied_index);
            }
        }
        let furthest = applied.iter().copied().max().unwrap_or(0);
        let all = applied.len() == cluster.nodes.len();
        if all && applied.iter().all(|it| furthest - it <= BEHIND_MAX) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Protocol("a restarted node doesn't catch up"));
        }
        sleep(POLL).await;
    }
}

pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Atoll => "atoll",
        Kind::Etcd => "etcd",
    }
}

pub(crate) fn table(all: &Vec<Series>) -> String {
    let mut text = format!(
        "{:<8}{:>8}{:>12}{:>12}{:>12}{:>16}{:>8}\n",
        "server", "kills", "median ms", "min ms", "max ms", "acknowledged", "lost"
    );
    for it in all {
        let gaps: Vec<f64> = it.kills.iter().map(|kill| kill.gap_ms).collect();
        let _ = writeln!(
            text,
            "{:<8}{:>8}{:>12.0}{:>12.0}{:>12.0}{:>16}{:>8}",
            it.server,
            gaps.len(),
            median(&gaps),
            gaps.iter().copied().fold(f64::INFINITY, f64::min),
            gaps.iter().copied().fold(0.0, f64::max),
            it.acknowledged,
            it.lost
        );
    }
    text
}
