//! Fills a server, stops it in order or kills it while it is written to, and tells how long it
//! takes until it serves everything again, and whether everything is there.
//!
//! A server's time runs from the start of its process. It is back when keys all over its data
//! can be counted, read and written; a PONG comes before that.

mod documents;
mod looking;
mod table;
mod writing;

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::{
    looking::{Looker, pong},
    writing::{Manner, Told, Writers, fill},
};
use super::{
    options::{Keeping, RedisRestartOptions},
    servers::{Running, Side},
    wire::{Answer, Connection},
};
use crate::{
    error::{Error, Result},
    process,
};
pub(crate) use documents::VALUE_BYTES_MIN;
pub(crate) use table::table;

/// How long a server may rewrite its file.
const REWRITE_WAIT: Duration = Duration::from_secs(1_800);
const POLL: Duration = Duration::from_millis(200);
/// `st_blocks` counts in these (stat(2)).
const BLOCK_BYTES: u64 = 512;
/// Writing 3 here has Linux forget the content of files that it could read again (proc(5)).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// SIGTERM, at rest.
    Stop,
    /// `kill -9`, while it was written to.
    Kill,
}

/// One server's turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RestartTurn {
    pub(crate) server: &'static str,
    pub(crate) durability: Keeping,
    pub(crate) run: usize,
    pub(crate) value_bytes: usize,
    pub(crate) cold: bool,
    /// Names and values that were written first.
    pub(crate) data_bytes: u64,
    pub(crate) fill_seconds: f64,
    /// Writes that were refused at first.
    pub(crate) fill_retries: u64,
    /// CPU time of the server for it.
    pub(crate) fill_cpu_seconds: f64,
    pub(crate) restarts: Vec<Restart>,
}

/// One restart.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) after: End,
    /// Names and values that were acknowledged by then.
    pub(crate) data_bytes: u64,
    pub(crate) keys: u64,
    /// How long it took to end in order.
    pub(crate) stop_seconds: f64,
    pub(crate) disk_bytes: u64,
    /// From the start of the process to the answer of a PING.
    pub(crate) pong_seconds: f64,
    /// To the last answer of a look over everything.
    pub(crate) served_seconds: f64,
    pub(crate) served_seconds_per_gigabyte: f64,
    /// CPU time of the server until then.
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_bytes_before: u64,
    pub(crate) rss_bytes_after: u64,
    /// The most that was resident while it started.
    pub(crate) rss_bytes_start_max: u64,
    /// Keys that were looked at one by one and found.
    pub(crate) right: u64,
    /// Acknowledged keys that were gone, and keys with another value.
    pub(crate) missing: u64,
    pub(crate) wrong: u64,
}

/// Runs every turn.
pub(crate) async fn run(options: &RedisRestartOptions) -> Result<Vec<RestartTurn>> {
    options.check()?;
    let mut sides = Side::of(&options.pair)?;
    let all = async {
        let mut turns = Vec::new();
        for &durability in &options.durability {
            for run in 0..options.runs {
                for side in &sides {
                    turns.push(turn(options, side, durability, run).await?);
                }
                // Who goes first in one pair goes second in the next.
                sides.reverse();
            }
        }
        Ok(turns)
    };
    // Ended by hand, servers and directories still have to go.
    tokio::select! {
        all = all => all,
        _ = tokio::signal::ctrl_c() => Err(Error::Options("ended by hand".to_owned())),
    }
}

async fn turn(
    options: &RedisRestartOptions,
    side: &Side,
    durability: Keeping,
    run: usize,
) -> Result<RestartTurn> {
    let name = side.name();
    eprintln!("{name}: {}, run {}", durability.name(), run + 1);
    let mut running = side.start(1, durability, &options.pair.disk).await?;
    let target = running.target().await?;
    let manner = Manner {
        address: target.doors.addresses[0],
        connections: options.connections,
        pipeline: options.pipeline,
        value_bytes: options.value_bytes,
    };
    let keys = ((options.gigabytes * 1e9) as u64 / manner.key_bytes()).max(1);
    let before = process::usage(&target.pids)?;
    let begin = Instant::now();
    let fill_retries = fill(manner, keys, name).await?;
    let fill_seconds = begin.elapsed().as_secs_f64();
    let cpu = process::usage(&target.pids)?.cpu.saturating_sub(before.cpu);
    let mut told = Told {
        keys,
        lanes: Vec::new(),
    };
    let mut restarts = Vec::new();
    for after in [End::Stop, End::Kill] {
        let restart = one(options, manner, &mut running, &mut told, after).await?;
        eprintln!(
            "{name}: {after:?} with {:.1} GB: PONG after {:.2} s, served after {:.2} s, {} missing, {} wrong",
            restart.data_bytes as f64 / 1e9,
            restart.pong_seconds,
            restart.served_seconds,
            restart.missing,
            restart.wrong
        );
        restarts.push(restart);
    }
    Ok(RestartTurn {
        server: name,
        durability,
        run,
        value_bytes: options.value_bytes,
        cold: options.cold,
        data_bytes: keys * manner.key_bytes(),
        fill_seconds,
        fill_retries,
        fill_cpu_seconds: cpu.as_secs_f64(),
        restarts,
    })
}

async fn one(
    options: &RedisRestartOptions,
    manner: Manner,
    running: &mut Running,
    told: &mut Told,
    after: End,
) -> Result<Restart> {
    let settle = Duration::from_secs(options.settle_seconds);
    sleep(settle).await;
    at_rest(manner).await?;
    let rss_before = process::usage(&running.target().await?.pids)?.rss_bytes;
    let begin = Instant::now();
    match after {
        End::Stop => running.stop().await?,
        End::Kill => {
            let mut writers = Writers::start(manner, told.keys).await?;
            writers
                .rest(Duration::from_secs(options.load_seconds))
                .await?;
            running.kill();
            told.lanes = writers.ended().await?;
        }
    }
    let stop_seconds = match after {
        End::Stop => begin.elapsed().as_secs_f64(),
        End::Kill => 0.0,
    };
    let disk_bytes = disk_bytes(running.dir()).map_err(Error::io("measure the files"))?;
    if options.cold {
        fs::write(DROP_CACHES, "3").map_err(Error::io("have the system forget files"))?;
    }

    let begin = Instant::now();
    running.spawn_again()?;
    pong(running, manner.address).await?;
    let pong_seconds = begin.elapsed().as_secs_f64();
    let mut looker = Looker::open(manner.address, options.value_bytes).await?;
    looker
        .served(told, begin.elapsed().as_nanos() as u64)
        .await?;
    let served_seconds = begin.elapsed().as_secs_f64();

    let usage = process::usage(&running.target().await?.pids)?;
    sleep(settle).await;
    let settled = process::usage(&running.target().await?.pids)?;
    let found = looker.all(told, options.check_every).await?;
    let keys = told.acknowledged();
    let data_bytes = keys * manner.key_bytes();
    Ok(Restart {
        after,
        data_bytes,
        keys,
        stop_seconds,
        disk_bytes,
        pong_seconds,
        served_seconds,
        served_seconds_per_gigabyte: served_seconds / (data_bytes as f64 / 1e9),
        cpu_seconds: usage.cpu.as_secs_f64(),
        rss_bytes_before: rss_before,
        rss_bytes_after: settled.rss_bytes,
        rss_bytes_start_max: usage.rss_bytes_max,
        right: found.right,
        missing: found.missing,
        wrong: found.wrong,
    })
}

/// Waits until the server rewrites nothing in the background that it tells of.
async fn at_rest(manner: Manner) -> Result<()> {
    let mut connection = Connection::open(manner.address).await?;
    let deadline = Instant::now() + REWRITE_WAIT;
    loop {
        let Answer::Bytes(told) = connection.ask(&[b"INFO", b"persistence"]).await? else {
            return Err(Error::Protocol("INFO answers no text"));
        };
        let told = String::from_utf8_lossy(&told);
        let is_busy =
            told.contains("aof_rewrite_in_progress:1") || told.contains("aof_rewrite_scheduled:1");
        if !is_busy {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Late("end of a rewrite", REWRITE_WAIT));
        }
        sleep(POLL).await;
    }
}

/// What a directory takes on the disk.
fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += match found.is_dir() {
            true => disk_bytes(&entry.path())?,
            false => found.blocks() * BLOCK_BYTES,
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_counted_with_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(disk_bytes(dir.path()).unwrap(), 0);
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        for path in [dir.path().join("one"), below.join("two")] {
            fs::write(path, vec![1; 100_000]).unwrap();
        }
        let bytes = disk_bytes(dir.path()).unwrap();
        assert!((200_000..400_000).contains(&bytes), "{bytes}");
    }
}
