//! How long writers stall while a large history is compacted and its space reclaimed.

use std::time::Duration;

use atoll_control::proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, maintenance_client::MaintenanceClient,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    cli::{ChurnOptions, Targets},
    connection,
    error::{Error, Result},
    gap::Writers,
    load,
};

/// Values that make a gibibyte in some seconds and stay far below the request limit.
const VALUE_BYTES: usize = 4096;
/// So many keys are overwritten again and again.
const KEYS: u64 = 1000;
const WRITERS: usize = 4;
/// Long enough never to be reached: a stall is to be measured, not hidden by another try.
const WRITE_WAIT: Duration = Duration::from_secs(60);
/// How long giving space back may take before the figures are told without it.
const SPACE_WAIT: Duration = Duration::from_secs(120);
/// How often the size is asked for.
const SPACE_LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Work that a server does after it answered belongs to the stall, too.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The longest write gaps.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChurnReport {
    pub(crate) mebibytes: u64,
    pub(crate) live_mebibytes: u64,
    /// While nothing is reclaimed.
    pub(crate) quiet_gap_ms: f64,
    /// From the compaction's request until the space is back.
    pub(crate) compact_gap_ms: f64,
    /// The same for defragmentation of every endpoint.
    pub(crate) defragment_gap_ms: f64,
    pub(crate) compact_s: f64,
    /// What the store takes on disk before and after, on the endpoint that was asked.
    pub(crate) full_mebibytes: f64,
    pub(crate) left_mebibytes: f64,
    pub(crate) defragment_s: f64,
}

/// Overwrites, compacts and defragments under a load of writes.
pub(crate) async fn run(options: &ChurnOptions) -> Result<ChurnReport> {
    let targets = &options.targets;
    // What stays is what a defragmentation copies; the first keys of it are overwritten.
    let live_keys = (options.live_mebibytes << 20) / VALUE_BYTES as u64;
    load::fill(targets, live_keys.max(KEYS), VALUE_BYTES).await?;
    let round_bytes = KEYS * VALUE_BYTES as u64;
    for _ in 0..(options.mebibytes << 20).div_ceil(round_bytes) {
        load::fill(targets, KEYS, VALUE_BYTES).await?;
    }
    let writers = Writers::start(&targets.endpoints, WRITERS, WRITE_WAIT)?;
    sleep(AFTERMATH).await;
    writers.forget();
    sleep(AFTERMATH).await;
    let quiet = writers.longest();

    let first = &targets.endpoints[0];
    let full_bytes = connection::status(first).await?.db_size_in_use;
    let reclaimed = async {
        let begin = Instant::now();
        compact(targets).await?;
        let back = given_back(first, full_bytes).await?;
        Ok(back - begin)
    };
    let (compact, compact_gap) = watched(&writers, reclaimed).await?;
    let left_bytes = connection::status(first).await?.db_size_in_use;
    let defragmented = async {
        let begin = Instant::now();
        defragment(targets).await?;
        Ok(begin.elapsed())
    };
    let (defragment, defragment_gap) = watched(&writers, defragmented).await?;
    Ok(ChurnReport {
        mebibytes: options.mebibytes,
        live_mebibytes: options.live_mebibytes,
        quiet_gap_ms: quiet.as_secs_f64() * 1e3,
        compact_gap_ms: compact_gap.as_secs_f64() * 1e3,
        defragment_gap_ms: defragment_gap.as_secs_f64() * 1e3,
        compact_s: compact.as_secs_f64(),
        full_mebibytes: mebibytes(full_bytes),
        left_mebibytes: mebibytes(left_bytes),
        defragment_s: defragment.as_secs_f64(),
    })
}

/// What the work answers (how long it took), and the longest write gap in it and shortly after.
async fn watched(
    writers: &Writers,
    work: impl Future<Output = Result<Duration>>,
) -> Result<(Duration, Duration)> {
    writers.forget();
    let took = work.await?;
    sleep(AFTERMATH).await;
    Ok((took, writers.longest()))
}

async fn compact(targets: &Targets) -> Result<()> {
    let first = &targets.endpoints[0];
    let status = connection::status(first).await?;
    let revision = status.header.map_or(0, |header| header.revision);
    let channel = connection::connect(std::slice::from_ref(first), 1).await?;
    let request = CompactionRequest {
        revision,
        physical: true,
    };
    connection::kv(channel[0].clone())
        .compact(request)
        .await
        .map_err(Error::refused("compact"))?;
    Ok(())
}

/// Waits until the server has given space back: what it says that it uses has fallen and falls
/// no further. Answers when it fell last; after [`SPACE_WAIT`] it is not waited for any longer.
async fn given_back(endpoint: &str, full_bytes: i64) -> Result<Instant> {
    let begin = Instant::now();
    let (mut least, mut since) = (full_bytes, begin);
    while begin.elapsed() < SPACE_WAIT {
        let bytes = connection::status(endpoint).await?.db_size_in_use;
        if bytes < least - least / 20 {
            (least, since) = (bytes, Instant::now());
        }
        let fell = least < full_bytes / 2;
        if fell && since.elapsed() >= AFTERMATH {
            break;
        }
        sleep(SPACE_LOOK_INTERVAL).await;
    }
    Ok(since)
}

fn mebibytes(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

async fn defragment(targets: &Targets) -> Result<()> {
    for channel in connection::connect(&targets.endpoints, targets.endpoints.len()).await? {
        MaintenanceClient::new(channel)
            .defragment(DefragmentRequest {})
            .await
            .map_err(Error::refused("defragment"))?;
    }
    Ok(())
}

pub(crate) fn lines(report: &ChurnReport) -> String {
    format!(
        "longest write gap with {} MiB of history, {} MiB live: {:.1} ms at rest, {:.1} ms while compacted \
         and its space given back ({:.1} s, {:.1} of {:.1} MiB left), {:.1} ms while defragmented ({:.1} s)\n",
        report.mebibytes,
        report.live_mebibytes,
        report.quiet_gap_ms,
        report.compact_gap_ms,
        report.compact_s,
        report.left_mebibytes,
        report.full_mebibytes,
        report.defragment_gap_ms,
        report.defragment_s
    )
}
