//! Clients that write and read all the time, and remember what was acknowledged.
//!
//! Each client has lists of its own and appends numbers to them, one after the other. An append
//! whose outcome is unknown is made again with the same number; so each acknowledged number must
//! be in its list, once or more, whatever came late.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::super::wire::{Answer, Connection, request};
use crate::{
    error::{Error, Result},
    workload::Numbers,
};

/// A client that has no answer by then gives up, and the run with it.
const GIVE_UP: Duration = Duration::from_secs(60);
/// A refused connection answers at once; asking again in a tight loop would steal CPU from the
/// nodes that take over.
const RETRY_PAUSE: Duration = Duration::from_millis(1);
/// How long a check waits for each answer.
const CHECK_WAIT: Duration = Duration::from_secs(30);
/// Keys that are deleted together.
const FORGET_PIPELINE: usize = 64;

const BEFORE: u8 = 0;
const AFTER: u8 = 1;
const STOP: u8 = 2;

/// Clients that run until they are stopped or dropped.
pub(super) struct Clients {
    phase: Arc<AtomicU8>,
    lanes: JoinSet<Result<Client>>,
}

impl Clients {
    /// Starts them, spread over the addresses; a client whose connection breaks goes on to the
    /// next address.
    pub(super) async fn start(
        addresses: &[SocketAddr],
        clients: usize,
        keys: usize,
        run: usize,
    ) -> Result<Self> {
        let phase = Arc::new(AtomicU8::new(BEFORE));
        let mut lanes = JoinSet::new();
        for index in 0..clients {
            let mut client = Client {
                prefix: format!("kill:{run}:{index}"),
                addresses: addresses.to_vec(),
                turn: index,
                connection: None,
                numbers: Numbers((run as u64) << 32 | index as u64),
                appended: vec![0; keys],
                log: Log::default(),
            };
            client.connection = Some(Connection::open(client.address()).await?);
            let phase = phase.clone();
            lanes.spawn(async move { client.work(&phase).await });
        }
        Ok(Self { phase, lanes })
    }

    /// Lets them work for a while.
    ///
    /// # Errors
    /// One of them gave up.
    pub(super) async fn rest(&mut self, time: Duration) -> Result<()> {
        tokio::select! {
            biased;
            Some(lane) = self.lanes.join_next() => {
                lane??;
                Err(Error::Protocol("a client ended before it was told to"))
            }
            () = sleep(time) => Ok(()),
        }
    }

    /// From now on stalls count as caused by what comes now.
    pub(super) fn mark(&self) {
        self.phase.store(AFTER, Ordering::Relaxed);
    }

    /// Waits until each has the answer to what it asked last.
    pub(super) async fn stop(mut self) -> Result<Log> {
        self.phase.store(STOP, Ordering::Relaxed);
        let mut all = Log::default();
        // Bounded: each client gives up after a time.
        while let Some(lane) = self.lanes.join_next().await {
            all.add(lane??);
        }
        Ok(all)
    }
}

/// What clients have seen.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) stall_before: Duration,
    pub(super) stall_after: Duration,
    pub(super) reads: u64,
    pub(super) failed_attempts: u64,
    pub(super) stale: u64,
    /// Lists, each with the highest number that was acknowledged.
    lists: Vec<(String, u64)>,
}

impl Log {
    fn add(&mut self, client: Client) {
        let log = client.log;
        self.stall_before = self.stall_before.max(log.stall_before);
        self.stall_after = self.stall_after.max(log.stall_after);
        self.reads += log.reads;
        self.failed_attempts += log.failed_attempts;
        self.stale += log.stale;
        let appended = client.appended.into_iter().enumerate();
        let names = appended.map(|(key, count)| (format!("{}:{key}", client.prefix), count));
        self.lists.extend(names);
    }

    /// How many writes were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.lists.iter().map(|(_, count)| count).sum()
    }

    /// Counts the acknowledged writes that aren't there for a client of this node.
    pub(super) async fn lost(&self, node: SocketAddr) -> Result<u64> {
        let mut connection = Connection::open(node).await?;
        let mut lost = 0;
        for (list, count) in &self.lists {
            lost += count - present(&mut connection, list, *count).await?;
        }
        Ok(lost)
    }

    /// Deletes all lists.
    pub(super) async fn forget(&self, node: SocketAddr) -> Result<()> {
        let mut connection = Connection::open(node).await?;
        let mut out = Vec::new();
        for lists in self.lists.chunks(FORGET_PIPELINE) {
            out.clear();
            for (list, _) in lists {
                request(&mut out, &[b"DEL", list.as_bytes()]);
            }
            connection.round_trip(&out, lists.len()).await?;
        }
        Ok(())
    }
}

/// How many of the numbers from 1 to `count` are in the list.
async fn present(connection: &mut Connection, list: &str, count: u64) -> Result<u64> {
    let words: [&[u8]; 4] = [b"LRANGE", list.as_bytes(), b"0", b"-1"];
    let deadline = Instant::now() + CHECK_WAIT;
    let found = loop {
        match connection.ask_within(&words, CHECK_WAIT).await? {
            Answer::Array(found) => break found,
            // A node that has just come back may still refuse.
            Answer::Refused(_) if Instant::now() < deadline => sleep(RETRY_PAUSE).await,
            Answer::Refused(text) => return Err(Error::Answer(text)),
            _ => return Err(Error::Protocol("LRANGE answers no array")),
        }
    };
    Ok(numbers(&found).range(1..=count).count() as u64)
}

fn numbers(found: &[Answer]) -> BTreeSet<u64> {
    let number = |it: &Answer| match it {
        Answer::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    };
    found.iter().filter_map(number).collect()
}

#[derive(Debug)]
struct Client {
    prefix: String,
    addresses: Vec<SocketAddr>,
    turn: usize,
    connection: Option<Connection>,
    numbers: Numbers,
    /// The highest number acknowledged in each of its lists.
    appended: Vec<u64>,
    log: Log,
}

impl Client {
    fn address(&self) -> SocketAddr {
        self.addresses[self.turn % self.addresses.len()]
    }

    async fn work(mut self, phase: &AtomicU8) -> Result<Self> {
        while phase.load(Ordering::Relaxed) != STOP {
            let random = self.numbers.next();
            let key = (random >> 1) as usize % self.appended.len();
            let list = format!("{}:{key}", self.prefix);
            let begin = Instant::now();
            if random.is_multiple_of(2) {
                let number = (self.appended[key] + 1).to_string();
                self.until_done(&[b"RPUSH", list.as_bytes(), number.as_bytes()])
                    .await?;
                self.appended[key] += 1;
            } else {
                let length = self.until_done(&[b"LLEN", list.as_bytes()]).await?;
                self.log.reads += 1;
                let missed = u64::try_from(length).is_ok_and(|it| it < self.appended[key]);
                self.log.stale += u64::from(missed);
            }
            let took = begin.elapsed();
            let longest = match phase.load(Ordering::Relaxed) {
                BEFORE => &mut self.log.stall_before,
                _ => &mut self.log.stall_after,
            };
            *longest = took.max(*longest);
        }
        Ok(self)
    }

    /// Asks again and again, until there is a number for an answer.
    async fn until_done(&mut self, words: &[&[u8]]) -> Result<i64> {
        let deadline = Instant::now() + GIVE_UP;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::NoRecovery(GIVE_UP));
            }
            match self.attempt(words, left).await {
                Ok(Answer::Integer(number)) => return Ok(number),
                Ok(_) => {}
                Err(_) => {
                    // Answers on it would belong to the attempt before.
                    self.connection = None;
                    self.turn += 1;
                }
            }
            self.log.failed_attempts += 1;
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&mut self, words: &[&[u8]], wait: Duration) -> Result<Answer> {
        let address = self.address();
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(address).await?),
        };
        connection.ask_within(words, wait).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_appended_twice_counts_once() {
        let found: Vec<Answer> = ["1", "2", "2", "4", "x"]
            .map(|text| Answer::Bytes(text.as_bytes().to_vec()))
            .to_vec();
        assert_eq!(numbers(&found).range(1..=3).count(), 2);
    }
}
