//! Runs a workload's clients and measures them together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_control::proto::etcdserverpb::{PutRequest, TxnRequest, request_op::Request};
use hdrhistogram::Histogram;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    cli::{LoadOptions, Targets},
    connection,
    error::{Error, Result},
    process,
    report::{MemoryReport, Report},
    workload::{self, Client, Workload, key, op, value},
};

/// Two significant figures would hide a tenth of a difference.
const LATENCY_DIGITS: u8 = 3;
/// Longer than any client waits.
pub(crate) const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// Below the 128 operations that a transaction may hold.
const FILL_KEYS_PER_TXN: u64 = 100;
const FILL_LANES: u64 = 32;

/// When a measurement ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// After a time.
    Time(Duration),
    /// After this many operations of all clients together.
    Ops(u64),
}

/// One workload to run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) targets: Targets,
    pub(crate) workload: Workload,
    pub(crate) clients: usize,
    pub(crate) value_bytes: usize,
    pub(crate) keys: u64,
    pub(crate) warmup: Duration,
    pub(crate) bound: Bound,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Warm,
    Measure,
    Stop,
}

/// Measures one workload.
pub(crate) async fn run(settings: &Settings) -> Result<Report> {
    if settings.clients == 0 || settings.keys == 0 {
        return Err(Error::Options("--clients and --keys begin at 1".to_owned()));
    }
    if settings.workload.reads() {
        fill(&settings.targets, settings.keys, settings.value_bytes).await?;
    }
    let channels = connection::connect(&settings.targets.endpoints, settings.clients).await?;
    let (phase, watched) = watch::channel(Phase::Warm);
    let budget = Arc::new(Budget::new(settings.bound));
    let mut lanes = JoinSet::new();
    for client in workload::clients(settings, &channels).await? {
        lanes.spawn(lane(client, watched.clone(), budget.clone()));
    }

    rest(&mut lanes, settings.warmup).await?;
    let before = process::usage(&settings.targets.pids)?;
    let begin = Instant::now();
    phase.send_replace(Phase::Measure);
    match settings.bound {
        Bound::Time(time) => rest(&mut lanes, time).await?,
        Bound::Ops(_) => budget.spent.notified().await,
    }
    let elapsed = begin.elapsed();
    let after = process::usage(&settings.targets.pids)?;
    phase.send_replace(Phase::Stop);

    let mut all = histogram();
    while let Some(lane) = lanes.join_next().await {
        all.add(lane??)
            .expect("all histograms have the same bounds");
    }
    let usage = (!settings.targets.pids.is_empty()).then_some((before, after));
    Ok(Report::new(
        settings.workload,
        settings.clients,
        &all,
        elapsed,
        usage,
    ))
}

/// Waits, unless a lane ends before: then the whole measurement fails with its error.
pub(crate) async fn rest<T: 'static>(lanes: &mut JoinSet<Result<T>>, time: Duration) -> Result<()> {
    tokio::select! {
        biased;
        Some(lane) = lanes.join_next() => match lane? {
            Ok(_) => Err(Error::Protocol("a client ended before the measurement did")),
            Err(error) => Err(error),
        },
        () = sleep(time) => Ok(()),
    }
}

async fn lane(
    mut client: Client,
    mut phase: watch::Receiver<Phase>,
    budget: Arc<Budget>,
) -> Result<Histogram<u64>> {
    let mut latencies_us = histogram();
    loop {
        let begun = *phase.borrow();
        if begun == Phase::Stop {
            return Ok(latencies_us);
        }
        let step = tokio::select! {
            biased;
            step = client.step() => step?,
            // Also ends the wait for a delivery that will not come.
            _ = phase.wait_for(|phase| *phase == Phase::Stop) => return Ok(latencies_us),
        };
        // What ends behind the measurement isn't part of it.
        let counts = begun == Phase::Measure && *phase.borrow() == Phase::Measure;
        if let (Some(latency), true) = (step, counts) {
            if !budget.take() {
                return stopped(latencies_us, phase).await;
            }
            let us = latency.min(LATENCY_MAX).as_micros() as u64;
            latencies_us.record(us).expect("the histogram grows");
        }
    }
}

/// Keeps a lane that has nothing left to do until all have: one that ends early is a failure.
async fn stopped(
    latencies_us: Histogram<u64>,
    mut phase: watch::Receiver<Phase>,
) -> Result<Histogram<u64>> {
    // Fails only when the measurement itself is gone.
    let _ = phase.wait_for(|phase| *phase == Phase::Stop).await;
    Ok(latencies_us)
}

/// Operations left to measure.
struct Budget {
    left: AtomicU64,
    spent: Notify,
}

impl Budget {
    fn new(bound: Bound) -> Self {
        let left = match bound {
            Bound::Ops(ops) => ops,
            Bound::Time(_) => u64::MAX,
        };
        Self {
            left: AtomicU64::new(left),
            spent: Notify::new(),
        }
    }

    /// Takes one operation; the last one wakes the measurement.
    fn take(&self) -> bool {
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if before == Ok(1) {
            self.spent.notify_one();
        }
        before.is_ok()
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(LATENCY_DIGITS).expect("three digits are allowed")
}

/// Writes every key once.
pub(crate) async fn fill(targets: &Targets, keys: u64, value_bytes: usize) -> Result<()> {
    let channels = connection::connect(&targets.endpoints, 1).await?;
    let next = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for lane in 0..FILL_LANES {
        let mut kv = connection::kv(channels[0].clone());
        let next = next.clone();
        let value = value(value_bytes, lane);
        lanes.spawn(async move {
            loop {
                let first = next.fetch_add(FILL_KEYS_PER_TXN, Ordering::Relaxed);
                if first >= keys {
                    return Ok::<(), Error>(());
                }
                let puts = first..(first + FILL_KEYS_PER_TXN).min(keys);
                let request = TxnRequest {
                    success: puts.map(|number| put(number, &value)).collect(),
                    ..TxnRequest::default()
                };
                kv.txn(request).await.map_err(Error::refused("fill"))?;
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

fn put(number: u64, value: &[u8]) -> atoll_control::proto::etcdserverpb::RequestOp {
    op(Request::RequestPut(PutRequest {
        key: key(number).into(),
        value: value.to_vec().into(),
        ..PutRequest::default()
    }))
}

/// Writes many keys and tells the servers' memory.
pub(crate) async fn load_keys(options: &LoadOptions) -> Result<MemoryReport> {
    if options.targets.pids.is_empty() {
        return Err(Error::Options("memory needs --pids".to_owned()));
    }
    let begin = Instant::now();
    fill(&options.targets, options.keys, options.value_bytes).await?;
    let elapsed = begin.elapsed();
    let loaded = process::usage(&options.targets.pids)?;
    sleep(Duration::from_secs(options.settle_seconds)).await;
    let settled = process::usage(&options.targets.pids)?;
    Ok(MemoryReport {
        keys: options.keys,
        value_bytes: options.value_bytes,
        seconds: elapsed.as_secs_f64(),
        rss_bytes: loaded.rss_bytes,
        rss_bytes_settled: settled.rss_bytes,
        rss_bytes_max: settled.rss_bytes_max,
    })
}
