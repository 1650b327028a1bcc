//! A steady load that remembers what was acknowledged.
//!
//! Every client writes keys of its own, one after the other, each once acknowledged and with a
//! value that nothing else writes; after each write it reads one of its keys back through
//! another node. A write without an answer is tried again at the next node with the same key
//! and value, until it is acknowledged; so the acknowledged ones are the keys below a count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_control::proto::etcdserverpb::{PutRequest, RangeRequest};
use atoll_world::{
    clock::{self, Instant},
    task,
};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::show::{Second, Summary};
use crate::{
    client::{Client, Retry},
    error::CliError,
};

/// How long a client rests when a node did not answer: a refused connection is refused at once.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Longer latencies are counted as this.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Keys asked for in one request of the check.
const PAGE_KEYS: i64 = 1_000;

/// How often a page of the check is asked for again.
const PAGE_ATTEMPTS_MAX: usize = 10;

struct Numbers {
    /// How many keys of each client are acknowledged.
    acknowledged: Vec<u64>,
    reads: u64,
    /// Reads that did not find what had been acknowledged.
    missing: u64,
    /// Latency of acknowledged writes, in microseconds: all of them, and since the last look.
    all: Histogram<u64>,
    since: Histogram<u64>,
    last: Instant,
    longest_stall: Duration,
}

/// Clients at work.
pub(super) struct Load {
    numbers: Arc<Mutex<Numbers>>,
    stopping: Arc<AtomicBool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Load {
    /// Starts `count` clients, spread over the nodes.
    pub(super) fn start(nodes: Vec<Client>, count: u64) -> Load {
        let histogram =
            || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order");
        let numbers = Arc::new(Mutex::new(Numbers {
            acknowledged: vec![0; usize::try_from(count).unwrap_or(usize::MAX)],
            reads: 0,
            missing: 0,
            all: histogram(),
            since: histogram(),
            last: clock::now(),
            longest_stall: Duration::ZERO,
        }));
        let stopping = Arc::new(AtomicBool::new(false));
        let clients = 0..numbers.lock().acknowledged.len();
        let tasks = clients.map(|index| {
            let worker = Worker {
                index,
                turn: index,
                nodes: nodes.clone(),
                numbers: numbers.clone(),
                stopping: stopping.clone(),
            };
            task::spawn(worker.run())
        });
        let tasks = Mutex::new(tasks.collect());
        Load {
            numbers,
            stopping,
            tasks,
        }
    }

    /// Lets every client finish what it is at.
    pub(super) async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // A client that panicked has acknowledged what it has.
            let _ = task.await;
        }
    }

    /// What happened since the last look.
    pub(super) fn second(&self) -> Second {
        let mut numbers = self.numbers.lock();
        let second = Second {
            writes: numbers.since.len(),
            p50_us: numbers.since.value_at_quantile(0.5),
            p99_us: numbers.since.value_at_quantile(0.99),
            longest_stall: numbers.longest_stall.max(clock::now() - numbers.last),
            acknowledged: numbers.acknowledged.iter().sum(),
            lost: numbers.missing,
        };
        numbers.since.reset();
        second
    }

    /// Reads during the load that did not find what had been acknowledged.
    pub(super) fn seen_missing(&self) -> u64 {
        self.numbers.lock().missing
    }

    pub(super) fn summary(
        &self,
        elapsed: Duration,
        lost: u64,
        kills: u64,
        asked: Vec<String>,
    ) -> Summary {
        let numbers = self.numbers.lock();
        let ms = |us: u64| us as f64 / 1e3;
        Summary {
            seconds: elapsed.as_secs_f64(),
            kills,
            acknowledged: numbers.acknowledged.iter().sum(),
            reads: numbers.reads,
            lost,
            longest_write_stall_ms: numbers.longest_stall.as_secs_f64() * 1e3,
            write_p50_ms: ms(numbers.all.value_at_quantile(0.5)),
            write_p99_ms: ms(numbers.all.value_at_quantile(0.99)),
            nodes_asked: asked,
        }
    }

    /// How many acknowledged writes a node does not have, by linearizable reads.
    pub(super) async fn missing(&self, node: &Client) -> Result<u64, CliError> {
        let acknowledged = self.numbers.lock().acknowledged.clone();
        let mut missing = 0;
        for (index, count) in acknowledged.into_iter().enumerate() {
            let mut from = 0;
            while from < count {
                let found = page(node, index, from).await?;
                let until = count.min(from + PAGE_KEYS as u64);
                missing += (from..until)
                    .filter(|number| !found.contains(&(key(index, *number), value(index, *number))))
                    .count() as u64;
                from = until;
            }
        }
        Ok(missing)
    }
}

type Rows = std::collections::BTreeSet<(Vec<u8>, Vec<u8>)>;

async fn page(node: &Client, index: usize, from: u64) -> Result<Rows, CliError> {
    let request = RangeRequest {
        key: key(index, from).into(),
        range_end: key(index, from + PAGE_KEYS as u64).into(),
        limit: PAGE_KEYS,
        ..RangeRequest::default()
    };
    let mut attempt = 1;
    loop {
        let asked = node.call(Retry::Safe, request.clone(), |node, request| async move {
            node.kv().range(request).await
        });
        match asked.await {
            Ok(answer) => {
                let rows = answer.kvs.into_iter();
                return Ok(rows.map(|kv| (kv.key.into(), kv.value.into())).collect());
            }
            Err(error) if attempt == PAGE_ATTEMPTS_MAX => return Err(error),
            Err(_) => clock::sleep(RETRY_PAUSE).await,
        }
        attempt += 1;
    }
}

fn key(index: usize, number: u64) -> Vec<u8> {
    format!("demo/{index:05}/{number:012}").into_bytes()
}

fn value(index: usize, number: u64) -> Vec<u8> {
    format!("written by client {index}, number {number}").into_bytes()
}

struct Worker {
    index: usize,
    turn: usize,
    nodes: Vec<Client>,
    numbers: Arc<Mutex<Numbers>>,
    stopping: Arc<AtomicBool>,
}

impl Worker {
    async fn run(mut self) {
        let mut number = 0;
        while !self.stops() {
            if !self.write(number).await {
                return;
            }
            number += 1;
            self.read(number - 1).await;
        }
    }

    fn stops(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Writes until it is acknowledged; false if the load ended before.
    async fn write(&mut self, number: u64) -> bool {
        let request = PutRequest {
            key: key(self.index, number).into(),
            value: value(self.index, number).into(),
            ..PutRequest::default()
        };
        let begin = clock::now();
        loop {
            let node = &self.nodes[self.turn % self.nodes.len()];
            let put = node.call(Retry::Never, request.clone(), |node, request| async move {
                node.kv().put(request).await
            });
            match put.await {
                Ok(_) => {
                    self.acknowledged(begin);
                    return true;
                }
                Err(_) if self.stops() => return false,
                Err(_) => self.go_elsewhere().await,
            }
        }
    }

    fn acknowledged(&self, begin: Instant) {
        let now = clock::now();
        let us = u64::try_from((now - begin).as_micros()).unwrap_or(u64::MAX);
        let mut numbers = self.numbers.lock();
        numbers.acknowledged[self.index] += 1;
        numbers.all.saturating_record(us);
        numbers.since.saturating_record(us);
        numbers.longest_stall = numbers.longest_stall.max(now - numbers.last);
        numbers.last = now;
    }

    async fn go_elsewhere(&mut self) {
        self.turn += 1;
        clock::sleep(RETRY_PAUSE).await;
    }

    /// Reads an acknowledged key through the node after the one that took it.
    async fn read(&mut self, number: u64) {
        let request = RangeRequest {
            key: key(self.index, number).into(),
            ..RangeRequest::default()
        };
        let node = &self.nodes[(self.turn + 1) % self.nodes.len()];
        let asked = node.call(Retry::Safe, request, |node, request| async move {
            node.kv().range(request).await
        });
        // A node that does not answer is asked again at the end.
        if let Ok(answer) = asked.await {
            let wanted = value(self.index, number);
            let there = answer.kvs.first().is_some_and(|kv| kv.value == wanted);
            let mut numbers = self.numbers.lock();
            numbers.reads += 1;
            numbers.missing += u64::from(!there);
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::etcdserverpb::DeleteRangeRequest;

    use super::*;
    use crate::node::tests::Lone;

    /// How long a healthy node may take for a few writes.
    const WRITES_MAX: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_somebody_takes_away_is_missing() {
        let lone = Lone::start(&[]).await;
        let client = lone.root();
        let load = Load::start(vec![client.clone()], 2);
        let worked = async {
            while load.numbers.lock().acknowledged.iter().any(|n| *n < 3) {
                clock::sleep(RETRY_PAUSE).await;
            }
        };
        clock::timeout(WRITES_MAX, worked).await.expect("it writes");
        load.stop().await;
        assert_eq!(load.seen_missing(), 0);
        assert_eq!(load.missing(&client).await.unwrap(), 0);

        let gone = DeleteRangeRequest {
            key: key(0, 1).into(),
            ..Default::default()
        };
        client
            .call(Retry::Never, gone, |node, request| async move {
                node.kv().delete_range(request).await
            })
            .await
            .unwrap();
        assert_eq!(load.missing(&client).await.unwrap(), 1);
        let changed = PutRequest {
            key: key(1, 0).into(),
            value: value(0, 0).into(),
            ..Default::default()
        };
        client
            .call(Retry::Never, changed, |node, request| async move {
                node.kv().put(request).await
            })
            .await
            .unwrap();
        assert_eq!(load.missing(&client).await.unwrap(), 2);
        lone.life.stop().await;
    }
}
