//! Writes many keys, and goes on writing until the server is gone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    super::wire::{Connection, request},
    documents::{KEY_BYTES, key, value},
};
use crate::error::{Error, Result};

/// How often is said how far the writing has got.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A server that doesn't answer for so long is given up.
const ANSWER_WAIT: Duration = Duration::from_secs(120);
/// What a server refused is tried again after so long, and so often.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const RETRIES_MAX: u64 = 600;

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) value_bytes: usize,
}

impl Manner {
    /// What a key and its value are together.
    pub(super) fn key_bytes(&self) -> u64 {
        (KEY_BYTES + self.value_bytes) as u64
    }

    /// Appends the requests that write these keys.
    fn append(&self, out: &mut Vec<u8>, text: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
        out.clear();
        for number in numbers {
            value(text, number, self.value_bytes);
            request(out, &[b"SET", &key(number), text]);
        }
    }
}

/// Writes the keys with the numbers below `keys`; how often that had to be tried again.
pub(super) async fn fill(manner: Manner, keys: u64, name: &str) -> Result<u64> {
    let done = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    let lane_count = manner.connections as u64;
    for lane in 0..lane_count {
        let done = done.clone();
        let numbers = (keys * lane / lane_count)..(keys * (lane + 1) / lane_count);
        lanes.spawn(fill_part(manner, numbers, done));
    }
    let begin = Instant::now();
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let mut retries = 0;
    loop {
        tokio::select! {
            lane = lanes.join_next() => match lane {
                Some(lane) => retries += lane??,
                None => return Ok(retries),
            },
            _ = ticks.tick() => {
                let bytes = |keys: u64| (keys * manner.key_bytes()) as f64;
                let so_far = bytes(done.load(Ordering::Relaxed));
                eprintln!(
                    "{name}: {:.1} of {:.1} GB written, {:.0} MB a second",
                    so_far / 1e9,
                    bytes(keys) / 1e9,
                    so_far / 1e6 / begin.elapsed().as_secs_f64()
                );
            }
        }
    }
}

async fn fill_part(
    manner: Manner,
    numbers: std::ops::Range<u64>,
    done: Arc<AtomicU64>,
) -> Result<u64> {
    let mut connection = Connection::open(manner.address).await?;
    let (mut out, mut text) = (Vec::new(), Vec::new());
    let mut retries = 0;
    let mut at = numbers.start;
    while at < numbers.end {
        let end = numbers.end.min(at + manner.pipeline as u64);
        let count = (end - at) as usize;
        manner.append(&mut out, &mut text, at..end);
        let written = timeout(ANSWER_WAIT, connection.round_trip(&out, count)).await;
        match written.map_err(|_| Error::Late("an answer", ANSWER_WAIT))? {
            Ok(()) => {
                done.fetch_add(count as u64, Ordering::Relaxed);
                at = end;
            }
            // A server may say that it is behind; what was written is written again.
            Err(Error::Answer(_)) if retries < RETRIES_MAX => {
                retries += 1;
                sleep(RETRY_PAUSE).await;
                connection = Connection::open(manner.address).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(retries)
}

/// Everything that a server was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Keys with numbers below this were acknowledged.
    pub(super) keys: u64,
    /// What was written when the server was killed.
    pub(super) lanes: Vec<Lane>,
}

/// The keys of one connection: every so manieth number from a first one on.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    first: u64,
    step: u64,
    /// So many of them were acknowledged, and so many sent.
    pub(super) acknowledged: u64,
    sent: u64,
}

impl Lane {
    fn numbers(&self, from: u64, to: u64) -> impl Iterator<Item = u64> + use<> {
        let (first, step) = (self.first, self.step);
        (from..to).map(move |place| first + place * step)
    }

    /// The keys that have to be there.
    pub(super) fn wanted(&self) -> impl Iterator<Item = u64> + use<> {
        self.numbers(0, self.acknowledged)
    }

    /// The keys that may be there.
    pub(super) fn unknown(&self) -> impl Iterator<Item = u64> + use<> {
        self.numbers(self.acknowledged, self.sent)
    }
}

impl Told {
    pub(super) fn acknowledged(&self) -> u64 {
        self.keys + self.lanes.iter().map(|lane| lane.acknowledged).sum::<u64>()
    }
}

/// Connections that write new keys until the server is gone.
pub(super) struct Writers(JoinSet<Result<Lane>>);

impl Writers {
    pub(super) async fn start(manner: Manner, keys: u64) -> Result<Self> {
        let mut lanes = JoinSet::new();
        for lane in 0..manner.connections as u64 {
            let connection = Connection::open(manner.address).await?;
            let lane = Lane {
                first: keys + lane,
                step: manner.connections as u64,
                acknowledged: 0,
                sent: 0,
            };
            lanes.spawn(write_on(connection, manner, lane));
        }
        Ok(Self(lanes))
    }

    /// Lets them write for a while.
    ///
    /// # Errors
    /// One of them could not go on.
    pub(super) async fn rest(&mut self, time: Duration) -> Result<()> {
        tokio::select! {
            biased;
            Some(lane) = self.0.join_next() => {
                lane??;
                Err(Error::Protocol("the server closed a connection before it was killed"))
            }
            () = sleep(time) => Ok(()),
        }
    }

    /// What they wrote, once the server is gone.
    pub(super) async fn ended(mut self) -> Result<Vec<Lane>> {
        let mut all = Vec::new();
        while let Some(lane) = self.0.join_next().await {
            all.push(lane??);
        }
        Ok(all)
    }
}

async fn write_on(mut connection: Connection, manner: Manner, mut lane: Lane) -> Result<Lane> {
    let (mut out, mut text) = (Vec::new(), Vec::new());
    loop {
        let sent = lane.sent + manner.pipeline as u64;
        manner.append(&mut out, &mut text, lane.numbers(lane.sent, sent));
        lane.sent = sent;
        let answered = connection.round_trip_counted(&out, manner.pipeline, &mut lane.acknowledged);
        match timeout(ANSWER_WAIT, answered).await {
            Ok(Ok(())) => {}
            // A refusal is no end: then the load would not be what it is said to be.
            Ok(Err(error @ Error::Answer(_))) => return Err(error),
            Ok(Err(_)) => return Ok(lane),
            Err(_) => return Err(Error::Late("an answer", ANSWER_WAIT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_no_number() {
        let lane = |first| Lane {
            first,
            step: 2,
            acknowledged: 2,
            sent: 3,
        };
        let all = |lane: Lane| lane.wanted().chain(lane.unknown()).collect::<Vec<_>>();
        assert_eq!(all(lane(10)), [10, 12, 14]);
        assert_eq!(all(lane(11)), [11, 13, 15]);
        assert_eq!(lane(10).wanted().count(), 2);
        let told = Told {
            keys: 10,
            lanes: vec![lane(10), lane(11)],
        };
        assert_eq!(told.acknowledged(), 14);
    }
}
