//! Linearizable reads: everybody who waits shares one confirmation of the leader.
//!
//! A read that arrives joins the next round. A round asks the leader for a read index
//! (ReadIndex, Raft dissertation section 6.4), which it answers after a majority confirmed
//! it, and then waits until this node has applied up to there. A round never serves a read
//! that arrived after it began.

use std::{sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{clock, peers::Peers, task, watch};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    leader::{self, Patience},
    services::READ_INDEX,
};
use crate::{core::error::Error, log::Log, proto::raft as pb};

/// Rounds under way at a time; a read waits for at most one of them to end before its own
/// begins.
const ROUNDS_MAX: usize = 4;

/// Reads that may wait.
const WAITING_MAX: usize = 64 * 1024;

/// How long the leader may take to confirm, and how long a round rests when nobody could.
const PATIENCE: Patience = Patience {
    call: Duration::from_millis(500),
    rest: Duration::from_millis(10),
};

/// Where readers wait.
#[derive(Clone)]
pub(crate) struct Barrier {
    queue: mpsc::Sender<oneshot::Sender<Result<(), Error>>>,
}

impl Barrier {
    pub(crate) fn start(
        log: Log,
        peers: Arc<dyn Peers>,
        applied: watch::Receiver<u64>,
        timeout: Duration,
    ) -> Self {
        let (queue, readers) = mpsc::channel(WAITING_MAX);
        task::spawn(gather(
            readers,
            Round {
                log,
                peers,
                applied,
                timeout,
            },
        ));
        Barrier { queue }
    }

    /// Reads that wait for a round to begin.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Returns once this node has applied all that was committed when the call began.
    pub(crate) async fn pass(&self) -> Result<(), Error> {
        let (passed, answer) = oneshot::channel();
        self.queue
            .try_send(passed)
            .map_err(|_| Error::RequestTooManyRequests)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

async fn gather(mut readers: mpsc::Receiver<oneshot::Sender<Result<(), Error>>>, round: Round) {
    let rounds = Arc::new(Semaphore::new(ROUNDS_MAX));
    while let Some(first) = readers.recv().await {
        let Ok(permit) = rounds.clone().acquire_owned().await else {
            return;
        };
        let mut waiting = vec![first];
        while let Ok(reader) = readers.try_recv() {
            waiting.push(reader);
        }
        let round = round.clone();
        task::spawn(async move {
            let passed = round.run().await;
            drop(permit);
            for reader in waiting {
                // The reader may have gone.
                let _ = reader.send(passed);
            }
        });
    }
}

#[derive(Clone)]
struct Round {
    log: Log,
    peers: Arc<dyn Peers>,
    applied: watch::Receiver<u64>,
    timeout: Duration,
}

impl Round {
    async fn run(mut self) -> Result<(), Error> {
        let deadline = clock::now() + self.timeout;
        let index = match clock::timeout_at(
            deadline,
            leader::ask(self.log.node(), self.log.leadership(), PATIENCE, |leader| {
                self.ask(leader)
            }),
        )
        .await
        {
            Ok(index) => index?,
            Err(_) if self.log.leadership().borrow().leader.is_none() => {
                return Err(Error::NoLeader);
            }
            Err(_) => return Err(Error::Timeout),
        };
        match clock::timeout_at(deadline, self.applied.wait_for(|applied| *applied >= index)).await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::TimeoutWaitAppliedIndex),
        }
    }

    async fn ask(&self, leader: NodeId) -> Option<u64> {
        if leader == self.log.node() {
            return self.log.read_index().await.ok().map(|it| it.index);
        }
        let request = Bytes::from(pb::ReadIndexRequest {}.encode_to_vec());
        let answer = self.peers.call(leader, READ_INDEX, request).await;
        let response = pb::ReadIndexResponse::decode(answer.ok()?).ok()?;
        response.confirmed.then_some(response.index)
    }
}
