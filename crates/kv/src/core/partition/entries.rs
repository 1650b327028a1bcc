//! What the owner puts into the next entry of the log.

use super::{Batch, Moment, Partition, StateMachine};
use crate::core::{chance, data::Milliseconds, paxos::Payload, sessions::Known};

impl<M: StateMachine> Partition<M> {
    /// Makes entries of what waits.
    pub(super) fn log_queue(&mut self, wall_ms: Milliseconds) {
        while self.may_log() {
            let batch = self.next_batch(wall_ms);
            if let Err(refused) = self.replica.propose(Payload::Batch(batch.encode())) {
                for (origin, _) in batch.requests {
                    self.refuse(&origin, refused);
                }
            }
        }
        if std::mem::take(&mut self.has_woken) {
            self.woken_up_to = self.replica.durable().log.last().index;
        }
    }

    /// Whether the next entry can be made: what has to be decided first waits until everything
    /// is applied. Whoever is not the owner has nothing to decide, and refuses.
    pub(super) fn may_log(&self) -> bool {
        let is_decided = |operation| self.state.machine.is_decided(operation);
        self.queue.first().is_some_and(|(_, operation)| {
            !is_decided(operation) || self.replica.owned().is_none() || self.has_applied_all()
        })
    }

    fn has_applied_all(&self) -> bool {
        self.state.applied == self.replica.durable().log.last()
    }

    /// Takes what goes into the next entry. What is decided comes first in its entry, since what
    /// it comes to rests on the state before.
    fn next_batch(&mut self, wall_ms: Milliseconds) -> Batch {
        let mut bytes = 0;
        let mut count = 0;
        let machine = &self.state.machine;
        for (_, operation) in &self.queue {
            bytes += operation.len();
            let fits = bytes <= self.limits.batch_bytes_max && !machine.is_decided(operation);
            if count > 0 && !fits {
                break;
            }
            count += 1;
        }
        let mut batch = Batch {
            now_ms: wall_ms,
            seed: chance::next(&mut self.chance),
            requests: self.queue.drain(..count).collect(),
        };
        if let Some((origin, operation)) = batch.requests.first_mut()
            && machine.is_decided(operation)
            && self.replica.owned().is_some()
            && self.state.sessions.look(origin) == Known::New
        {
            batch.now_ms = self.state.now_ms.max(wall_ms);
            let at = Moment {
                now_ms: batch.now_ms,
                seed: batch.seed,
                index: self.state.applied.index.next(),
            };
            *operation = self.state.machine.decide(at, operation);
        }
        batch
    }
}
