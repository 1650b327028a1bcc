//! Runs the clients of a Redis load and measures them together.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    keys::{Chooser, Doors, key},
    wire::{Connection, request},
    workload::{RedisWorkload, Requests, STRINGS},
};
use crate::{
    error::{Error, Result},
    load::{LATENCY_MAX, histogram, rest},
    process::{self, Usage},
    workload::value,
};

/// How long clients may take to finish what they asked last.
const END_WAIT: Duration = Duration::from_secs(60);
const FILL_LANES: usize = 16;
/// Requests that go out together while keys are written.
const FILL_PIPELINE: usize = 64;

const WARM: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// The servers under load.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) doors: Doors,
    pub(crate) pids: Vec<u32>,
}

/// One load.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workload: RedisWorkload,
    pub(crate) connections: usize,
    /// Requests that a client sends before it waits for their answers.
    pub(crate) pipeline: usize,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) warmup: Duration,
    pub(crate) time: Duration,
    pub(crate) seed: u64,
}

/// One load, measured once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RedisReport {
    pub(crate) workload: RedisWorkload,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) ops: u64,
    pub(crate) ops_per_second: f64,
    /// Of a round trip: with a pipeline, from its first request to its last answer.
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    /// Of all servers together.
    pub(crate) cpu_us_per_op: f64,
}

/// Measures one load.
pub(crate) async fn run(target: &Target, settings: &Settings) -> Result<RedisReport> {
    let workload = settings.workload;
    let chooser = Chooser::new(
        &target.doors,
        workload.kind(),
        settings.keys,
        workload.spread(),
        settings.seed,
    );
    let phase = Arc::new(AtomicU8::new(WARM));
    let mut lanes = JoinSet::new();
    for index in 0..settings.connections {
        let door = index % target.doors.addresses.len();
        let connection = Connection::open(target.doors.addresses[door]).await?;
        let requests = Requests::new(
            workload,
            chooser.clone(),
            u8::try_from(door).map_err(|_| Error::Options("too many doors".to_owned()))?,
            settings.value_bytes,
            settings.seed ^ ((index as u64 + 1) << 32),
        );
        lanes.spawn(lane(connection, requests, settings.pipeline, phase.clone()));
    }

    rest(&mut lanes, settings.warmup).await?;
    let before = process::usage(&target.pids)?;
    let begin = Instant::now();
    phase.store(MEASURE, Ordering::Relaxed);
    rest(&mut lanes, settings.time).await?;
    let elapsed = begin.elapsed();
    let after = process::usage(&target.pids)?;
    phase.store(STOP, Ordering::Relaxed);

    let mut all = histogram();
    let mut ops = 0;
    let ends = async {
        while let Some(lane) = lanes.join_next().await {
            let (latencies_us, done) = lane??;
            all.add(latencies_us)
                .expect("all histograms have the same bounds");
            ops += done;
        }
        Ok::<(), Error>(())
    };
    match timeout(END_WAIT, ends).await {
        Ok(ended) => ended?,
        Err(_) => return Err(Error::Late("an answer", END_WAIT)),
    }
    Ok(report(settings, &all, ops, elapsed, (before, after)))
}

fn report(
    settings: &Settings,
    latencies_us: &Histogram<u64>,
    ops: u64,
    elapsed: Duration,
    (before, after): (Usage, Usage),
) -> RedisReport {
    let cpu = after.cpu.saturating_sub(before.cpu);
    RedisReport {
        workload: settings.workload,
        connections: settings.connections,
        pipeline: settings.pipeline,
        ops,
        ops_per_second: ops as f64 / elapsed.as_secs_f64(),
        p50_us: latencies_us.value_at_quantile(0.5),
        p99_us: latencies_us.value_at_quantile(0.99),
        p999_us: latencies_us.value_at_quantile(0.999),
        max_us: latencies_us.max(),
        cpu_us_per_op: cpu.as_secs_f64() * 1e6 / ops.max(1) as f64,
    }
}

/// The latencies of one client's round trips in the measured time, and how many requests it got
/// answered in it.
type Lane = (Histogram<u64>, u64);

async fn lane(
    mut connection: Connection,
    mut requests: Requests,
    pipeline: usize,
    phase: Arc<AtomicU8>,
) -> Result<Lane> {
    let mut latencies_us = histogram();
    let mut ops = 0;
    let mut out = Vec::new();
    loop {
        let begun = phase.load(Ordering::Relaxed);
        if begun == STOP {
            return Ok((latencies_us, ops));
        }
        out.clear();
        for _ in 0..pipeline {
            requests.append(&mut out)?;
        }
        let begin = Instant::now();
        connection.round_trip(&out, pipeline).await?;
        // The servers' time is read at the ends of the measured time: what is answered within
        // it counts there, whenever it was asked.
        if phase.load(Ordering::Relaxed) == MEASURE {
            ops += pipeline as u64;
            if begun == MEASURE {
                let us = begin.elapsed().min(LATENCY_MAX).as_micros() as u64;
                latencies_us.record(us).expect("the histogram grows");
            }
        }
    }
}

/// Writes every string once.
pub(crate) async fn fill(doors: &Doors, keys: u64, value_bytes: usize) -> Result<()> {
    // Each door has lanes of its own, each of which writes a part of the keys behind it.
    let owners = Chooser::new(doors, STRINGS, keys, super::keys::Spread::Even, 0);
    let mut lanes = JoinSet::new();
    for (door, &address) in doors.addresses.iter().enumerate() {
        let own: Vec<u64> = (0..keys)
            .filter(|number| owners.is_at(*number, door, doors.addresses.len()))
            .collect();
        let share = own.len().div_ceil(FILL_LANES).max(1);
        for (index, part) in own.chunks(share).enumerate() {
            let value = value(value_bytes, index as u64);
            lanes.spawn(fill_part(address, part.to_vec(), value));
        }
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

async fn fill_part(address: SocketAddr, numbers: Vec<u64>, value: Vec<u8>) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut out = Vec::new();
    for numbers in numbers.chunks(FILL_PIPELINE) {
        out.clear();
        for &number in numbers {
            request(&mut out, &[b"SET", &key(STRINGS, number), &value]);
        }
        let written = timeout(END_WAIT, connection.round_trip(&out, numbers.len())).await;
        written.map_err(|_| Error::Late("an answer", END_WAIT))??;
    }
    Ok(())
}
