//! Writes all the time and tells the longest time in which no write was acknowledged.
//!
//! Each writer has one key and counts upwards in it; a write that fails or isn't answered in
//! time goes to the next endpoint with the same count, as a careful client does. So what was
//! acknowledged can be checked afterwards: a key must never hold less.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use atoll_control::proto::etcdserverpb::{PutRequest, RangeRequest, kv_client::KvClient};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use crate::{
    cli::GapOptions,
    connection,
    error::{Error, Result},
};

/// How long the check may wait for each answer.
const CHECK_WAIT: Duration = Duration::from_secs(10);
/// A refused connection answers at once; asking again in a tight loop would steal CPU from the
/// servers that elect a leader.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// What continuous writing found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GapReport {
    pub(crate) seconds: f64,
    pub(crate) acknowledged: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) longest_gap_ms: f64,
    pub(crate) lost: u64,
}

#[derive(Debug)]
struct Log {
    last: Instant,
    longest: Duration,
    acknowledged: u64,
    failed: u64,
    /// The highest count acknowledged in each writer's key.
    counts: Vec<u64>,
}

/// Writers that run until they are dropped.
pub(crate) struct Writers {
    endpoints: Vec<String>,
    log: Arc<Mutex<Log>>,
    // Aborts them when dropped.
    _lanes: JoinSet<()>,
}

impl Writers {
    /// Starts the writers, spread over the endpoints.
    pub(crate) fn start(endpoints: &[String], clients: usize, timeout: Duration) -> Result<Self> {
        if clients == 0 || endpoints.is_empty() {
            return Err(Error::Options(
                "writing needs a client and an endpoint".to_owned(),
            ));
        }
        let log = Arc::new(Mutex::new(Log {
            last: Instant::now(),
            longest: Duration::ZERO,
            acknowledged: 0,
            failed: 0,
            counts: vec![0; clients],
        }));
        let mut lanes = JoinSet::new();
        for index in 0..clients {
            let clients = endpoints
                .iter()
                .map(|address| Ok(connection::kv(connection::lazy(address, timeout)?)))
                .collect::<Result<Vec<_>>>()?;
            lanes.spawn(write(index, clients, timeout, log.clone()));
        }
        Ok(Self {
            endpoints: endpoints.to_vec(),
            log,
            _lanes: lanes,
        })
    }

    /// Forgets the longest gap; the one that is open now counts from its own begin.
    pub(crate) fn forget(&self) {
        self.with(|log| log.longest = Duration::ZERO);
    }

    /// The longest gap since it was forgotten, the open one included.
    pub(crate) fn longest(&self) -> Duration {
        self.with(|log| log.longest.max(log.last.elapsed()))
    }

    /// How long ago the last write was acknowledged.
    pub(crate) fn silence(&self) -> Duration {
        self.with(|log| log.last.elapsed())
    }

    /// Writes acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.with(|log| log.acknowledged)
    }

    pub(crate) fn report(&self, elapsed: Duration, lost: u64) -> GapReport {
        let longest = self.longest();
        self.with(|log| GapReport {
            seconds: elapsed.as_secs_f64(),
            acknowledged: log.acknowledged,
            failed_attempts: log.failed,
            longest_gap_ms: longest.as_secs_f64() * 1e3,
            lost,
        })
    }

    /// Counts the writes that were acknowledged and aren't there.
    ///
    /// # Errors
    /// No endpoint answers a linearizable read.
    pub(crate) async fn lost(&self) -> Result<u64> {
        let counts = self.with(|log| log.counts.clone());
        let mut lost = 0;
        for (index, count) in counts.into_iter().enumerate() {
            lost += count.saturating_sub(self.read(index).await?);
        }
        Ok(lost)
    }

    async fn read(&self, index: usize) -> Result<u64> {
        let deadline = Instant::now() + CHECK_WAIT;
        let mut turn = 0;
        loop {
            let address = &self.endpoints[turn % self.endpoints.len()];
            let mut kv = connection::kv(connection::lazy(address, CHECK_WAIT)?);
            let request = RangeRequest {
                key: key(index).into(),
                ..RangeRequest::default()
            };
            match kv.range(request).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let value = answer.kvs.first().and_then(|kv| kv.value.first_chunk());
                    return Ok(value.map_or(0, |bytes| u64::from_be_bytes(*bytes)));
                }
                Err(status) if Instant::now() > deadline => {
                    return Err(Error::refused("check")(status));
                }
                Err(_) => sleep(RETRY_PAUSE).await,
            }
            turn += 1;
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        with(&self.log, look)
    }
}

fn with<T>(log: &Mutex<Log>, look: impl FnOnce(&mut Log) -> T) -> T {
    look(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

fn key(index: usize) -> Vec<u8> {
    format!("bench-gap/{index:04}").into_bytes()
}

async fn write(
    index: usize,
    mut clients: Vec<KvClient<Channel>>,
    timeout: Duration,
    log: Arc<Mutex<Log>>,
) {
    let mut turn = index;
    let mut count: u64 = 1;
    loop {
        let endpoint = turn % clients.len();
        let request = PutRequest {
            key: key(index).into(),
            value: count.to_be_bytes().to_vec().into(),
            ..PutRequest::default()
        };
        let put = clients[endpoint].put(request);
        match tokio::time::timeout(timeout, put).await {
            Ok(Ok(_)) => {
                let now = Instant::now();
                with(&log, |log| {
                    log.longest = log.longest.max(now.saturating_duration_since(log.last));
                    log.last = now;
                    log.acknowledged += 1;
                    log.counts[index] = count;
                });
                count += 1;
            }
            Ok(Err(_)) | Err(_) => {
                with(&log, |log| log.failed += 1);
                turn += 1;
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Writes for a while.
pub(crate) async fn run(options: &GapOptions) -> Result<GapReport> {
    let timeout = Duration::from_millis(options.timeout_ms);
    let begin = Instant::now();
    let writers = Writers::start(&options.targets.endpoints, options.clients, timeout)?;
    sleep(Duration::from_secs(options.seconds)).await;
    let elapsed = begin.elapsed();
    let lost = writers.lost().await?;
    Ok(writers.report(elapsed, lost))
}

pub(crate) fn line(report: &GapReport) -> String {
    format!(
        "{} writes acknowledged in {:.1} s, {} attempts failed; longest gap {:.1} ms; lost {}\n",
        report.acknowledged,
        report.seconds,
        report.failed_attempts,
        report.longest_gap_ms,
        report.lost
    )
}
