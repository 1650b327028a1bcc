//! A steady load through one port that remembers what was acknowledged.
//!
//! Every client writes keys of its own, one after the other, each once acknowledged and with a
//! value that nothing else writes; after each write it reads that key back through another
//! node. A write without an answer is tried again at the next node with the same key and value,
//! until it is acknowledged; so the acknowledged ones are the keys below a count.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_world::{clock, task};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    owners::Slots,
    port::Port,
    show::Second,
    summary::PortSummary,
    tally::{Struck, Tally},
    written::{Losses, Rows, key, value},
};
use crate::error::CliError;

/// How long a client rests when a node did not answer: a refused connection is refused at once.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Keys asked for in one request of the check.
const PAGE_KEYS: u64 = 1_000;

/// How long a page of the check is asked for: a node that was started again a moment ago may
/// need a while.
const PAGE_WAIT: Duration = Duration::from_secs(30);

/// Clients at work on one port.
pub(super) struct Load<P> {
    port: P,
    tally: Arc<Mutex<Tally>>,
    stopping: Arc<AtomicBool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl<P: Port> Load<P> {
    /// Starts `clients`, spread over so many nodes.
    pub(super) fn start(port: P, nodes: usize, clients: u64) -> Load<P> {
        let clients = usize::try_from(clients).unwrap_or(usize::MAX);
        let tally = Arc::new(Mutex::new(Tally::new(clients, clock::now())));
        let stopping = Arc::new(AtomicBool::new(false));
        let tasks = (0..clients).map(|index| {
            let worker = Worker {
                index,
                turn: index,
                nodes,
                port: port.clone(),
                tally: tally.clone(),
                stopping: stopping.clone(),
            };
            task::spawn(worker.run())
        });
        let tasks = Mutex::new(tasks.collect());
        Load {
            port,
            tally,
            stopping,
            tasks,
        }
    }

    /// A node that owns these slots is killed now.
    pub(super) fn strike(&self, node: usize, slots: Slots) {
        self.tally.lock().strike(node, slots, clock::now());
    }

    /// Lets every client finish what it is at.
    pub(super) async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.tally.lock().end(clock::now());
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            // A client that panicked has acknowledged what it has.
            let _ = task.await;
        }
    }

    /// What happened since the last look.
    pub(super) fn second(&self) -> Second {
        let mut tally = self.tally.lock();
        let second = Second {
            writes: tally.since.len(),
            p50_us: tally.since.value_at_quantile(0.5),
            p99_us: tally.since.value_at_quantile(0.99),
            longest_gap: tally.longest_gap(clock::now()),
            acknowledged: tally.acknowledged.iter().sum(),
            missed: tally.missed,
        };
        tally.since.reset();
        second
    }

    /// What came of it, the losses of the node that has the most.
    pub(super) fn summary(&self, losses: &Losses) -> PortSummary {
        let tally = self.tally.lock();
        let ms = |us: u64| us as f64 / 1e3;
        PortSummary {
            acknowledged: tally.acknowledged.iter().sum(),
            reads: tally.reads,
            missed_reads: tally.missed,
            lost: losses.count,
            lost_examples: losses.examples.clone(),
            longest_gap_ms: tally.longest_gap_ended().as_secs_f64() * 1e3,
            write_p50_ms: ms(tally.all.value_at_quantile(0.5)),
            write_p99_ms: ms(tally.all.value_at_quantile(0.99)),
        }
    }

    /// What was seen of killed owners' keys.
    pub(super) fn struck(&self) -> Option<Struck> {
        self.tally.lock().struck()
    }

    /// The acknowledged writes that a node does not have, by linearizable reads.
    pub(super) async fn losses(&self, node: usize) -> Result<Losses, CliError> {
        let acknowledged = self.tally.lock().acknowledged.clone();
        let mut port = self.port.clone();
        let mut losses = Losses::default();
        for (client, count) in acknowledged.into_iter().enumerate() {
            let mut from = 0;
            while from < count {
                let numbers = from..count.min(from + PAGE_KEYS);
                from = numbers.end;
                let found = page(&mut port, node, client, numbers.clone()).await?;
                losses.add(Losses::among(client, numbers, &found));
            }
        }
        Ok(losses)
    }
}

async fn page(
    port: &mut impl Port,
    node: usize,
    client: usize,
    numbers: Range<u64>,
) -> Result<Rows, CliError> {
    let deadline = clock::now() + PAGE_WAIT;
    loop {
        match port.rows(node, client, numbers.clone()).await {
            Ok(rows) => return Ok(rows),
            Err(error) if clock::now() >= deadline => return Err(error),
            Err(_) => clock::sleep(RETRY_PAUSE).await,
        }
    }
}

struct Worker<P> {
    index: usize,
    turn: usize,
    nodes: usize,
    port: P,
    tally: Arc<Mutex<Tally>>,
    stopping: Arc<AtomicBool>,
}

impl<P: Port> Worker<P> {
    async fn run(mut self) {
        let mut number = 0;
        while !self.stops() {
            if !self.write(number).await {
                return;
            }
            self.read(number).await;
            number += 1;
        }
    }

    fn stops(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Writes until it is acknowledged; false if the load ended before.
    async fn write(&mut self, number: u64) -> bool {
        let key = key(self.index, number);
        let value = value(self.index, number);
        self.tally.lock().begin(self.index, &key, clock::now());
        loop {
            let node = self.turn % self.nodes;
            self.tally.lock().send(self.index, node);
            if self.port.write(node, &key, &value).await {
                self.tally.lock().acknowledge(self.index, clock::now());
                return true;
            }
            if self.stops() {
                return false;
            }
            self.turn += 1;
            clock::sleep(RETRY_PAUSE).await;
        }
    }

    /// Reads an acknowledged key through the node after the one that took it.
    async fn read(&mut self, number: u64) {
        let node = (self.turn + 1) % self.nodes;
        let key = key(self.index, number);
        // A node that does not answer is asked again at the end.
        if let Some(there) = self.port.read(node, &key).await {
            let is_there = there.is_some_and(|it| *it == *value(self.index, number));
            let mut tally = self.tally.lock();
            tally.reads += 1;
            tally.missed += u64::from(!is_there);
        }
    }
}

#[cfg(test)]
mod tests;
