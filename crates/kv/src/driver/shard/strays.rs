//! Transactions over several partitions that their coordinators do not end: the owners of what
//! they have locked see to it that they are ended.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::{PartitionId, ReplicaId};
use tokio::sync::mpsc;

use super::Shard;
use crate::{
    api::Stray,
    core::machine::{TransactionId, Transactions},
};

/// How often is looked for them, while any locks are held.
const LOOK_EVERY_MS: u64 = 10;
/// A transaction that holds locks for so many hedges is taken for left: its coordinator had time
/// to ask somebody else twice.
const PATIENCE_HEDGES: u64 = 2;
/// What was left is looked for again after so many times as long, if it is still there.
const AGAIN: u64 = 4;
/// A decision that is remembered for so long is nobody's any more.
const DECISION_MS: u64 = 60_000;

/// What may have been left.
#[derive(Debug)]
pub(super) struct Strays {
    /// Partitions that hold locks or remember decisions.
    partitions: BTreeSet<PartitionId>,
    /// When each transaction is looked at, if it is still there.
    due: BTreeMap<(PartitionId, TransactionId), u64>,
    unreachable: BTreeSet<ReplicaId>,
    look_at_ms: u64,
    found: mpsc::UnboundedSender<Stray>,
}

impl Strays {
    pub(super) fn new(found: mpsc::UnboundedSender<Stray>) -> Strays {
        Strays {
            partitions: BTreeSet::new(),
            due: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            look_at_ms: 0,
            found,
        }
    }

    pub(super) fn link(&mut self, replica: ReplicaId, is_up: bool) {
        match is_up {
            true => self.unreachable.remove(&replica),
            false => self.unreachable.insert(replica),
        };
    }

    /// Notes whether transactions are known in a partition.
    pub(super) fn note(&mut self, id: PartitionId, known: &Transactions) {
        if known.is_empty() {
            self.partitions.remove(&id);
        } else {
            self.partitions.insert(id);
        }
    }

    /// A partition is held here no longer.
    pub(super) fn forget(&mut self, id: PartitionId) {
        self.partitions.remove(&id);
    }

    /// When there may be something to look at.
    pub(super) fn wants_tick_at_ms(&self) -> Option<u64> {
        (!self.partitions.is_empty()).then_some(self.look_at_ms)
    }
}

impl Shard {
    /// Looks for transactions that were left in partitions that this node owns.
    pub(super) fn look_for_strays(&mut self, now_ms: u64) {
        if now_ms < self.strays.look_at_ms || self.strays.partitions.is_empty() {
            return;
        }
        self.strays.look_at_ms = now_ms + LOOK_EVERY_MS;
        let mut due = BTreeMap::new();
        for id in self.strays.partitions.clone() {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            let patience_ms = PATIENCE_HEDGES * room.coordinator.hedge_ms();
            let Some(partition) = room.partition.as_ref().filter(|_| room.is_owned) else {
                continue;
            };
            let known = partition.state().machine.transactions();
            let locks = known.prepared().map(|(transaction, prepared)| {
                let stray = Stray::Locks {
                    id: transaction,
                    partition: id,
                    home: prepared.home,
                };
                (transaction, patience_ms, stray)
            });
            let decisions = known.decisions().filter(|(_, decision)| decision.commits);
            let decisions = decisions.map(|(transaction, decision)| {
                let stray = Stray::Decision {
                    id: transaction,
                    home: id,
                    participants: decision.participants.clone(),
                };
                (transaction, DECISION_MS, stray)
            });
            for (transaction, patience_ms, stray) in locks.chain(decisions) {
                let key = (id, transaction);
                let is_gone = self
                    .strays
                    .unreachable
                    .contains(&transaction.session.replica);
                let known_ms = self.strays.due.get(&key).copied();
                let mut due_ms = known_ms.unwrap_or(now_ms + patience_ms);
                if due_ms <= now_ms || known_ms.is_none() && is_gone {
                    due_ms = now_ms + AGAIN * patience_ms;
                    // Where nobody takes it any more, the node stops.
                    let _ = self.strays.found.send(stray);
                }
                due.insert(key, due_ms);
            }
        }
        self.strays.due = due;
    }
}
