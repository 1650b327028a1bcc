//! Transactions over several partitions that their coordinators do not end: the owners of what
//! they have locked see to it that they are ended.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_world::clock;
use tokio::sync::mpsc;

use super::Shard;
use crate::{
    api::Stray,
    core::machine::{BranchId, Standing, TransactionId, Transactions},
};

/// How often is looked for them, while any locks are held.
const LOOK_EVERY_MS: u64 = 10;
/// A transaction that holds locks for so many hedges is taken for left: its coordinator had time
/// to ask somebody else twice.
const PATIENCE_HEDGES: u64 = 2;
/// What was left is looked for again after so many times as long, if it is still there.
const AGAIN: u64 = 4;
/// A commit that is remembered for so long is nobody's any more.
const COMMIT_MS: u64 = 60_000;
/// An abort is remembered for longer: until nothing of what was aborted can come late, since
/// nobody waits so long for an answer.
const ABORT_MS: u64 = 20 * 60_000;
/// Whoever decides a branch outside is asked how it ends after so long, and again as often: longer
/// than what ends by itself takes.
const HELD_MS: u64 = 10_000;
/// What is held for so long nobody waits for any more: those who wait in line behind somebody who
/// does would have to wait, too.
const HELD_WAIT_MS: u64 = 1_000;
/// Locks that may be held for a branch are looked for ever more seldom, but so often at least: each
/// look is an entry of home's log.
const HELD_REST_MS_MAX: u64 = 1_000;
/// How a branch has ended is remembered for so long, as aborts are, for the same reason.
const BRANCH_MS: u64 = ABORT_MS;
/// How often is looked for decisions and ends that are remembered: there may be very many of them,
/// and none is urgent.
const LOOK_AT_ENDS_EVERY_MS: u64 = 10_000;

/// What holds locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Attempt(TransactionId),
    Branch(BranchId),
    /// The same, as far as others wait for it.
    Awaited(TransactionId),
}

/// What is remembered of something that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Attempt(TransactionId),
    Branch(BranchId),
}

/// When something is looked at, and how long it rests afterwards.
#[derive(Clone, Copy, Debug)]
struct Due {
    at_ms: u64,
    rest_ms: u64,
}

/// What may have been left, and how long it is waited for: at first, then, and at most, since rests
/// grow up to there.
struct Suspect {
    holder: Holder,
    /// None, if this node's partition sees to it itself.
    stray: Option<Stray>,
    patience_ms: u64,
    rest_ms: u64,
    rest_ms_max: u64,
}

/// What may have been left.
#[derive(Debug)]
pub(super) struct Strays {
    /// Partitions that hold locks, and when each transaction is looked at, if it still does.
    locking: BTreeSet<PartitionId>,
    due: BTreeMap<(PartitionId, Holder), Due>,
    look_at_ms: u64,
    /// Partitions that remember what has ended, and when each of that is forgotten.
    remembering: BTreeSet<PartitionId>,
    forget_at_ms: BTreeMap<(PartitionId, Ended), u64>,
    look_at_ends_ms: u64,
    unreachable: BTreeSet<ReplicaId>,
    found: mpsc::UnboundedSender<Stray>,
}

impl Strays {
    pub(super) fn new(found: mpsc::UnboundedSender<Stray>) -> Strays {
        Strays {
            locking: BTreeSet::new(),
            due: BTreeMap::new(),
            look_at_ms: 0,
            remembering: BTreeSet::new(),
            forget_at_ms: BTreeMap::new(),
            look_at_ends_ms: 0,
            unreachable: BTreeSet::new(),
            found,
        }
    }

    pub(super) fn link(&mut self, replica: ReplicaId, is_up: bool) {
        match is_up {
            true => self.unreachable.remove(&replica),
            false => self.unreachable.insert(replica),
        };
    }

    /// Notes whether transactions and branches are known in a partition.
    pub(super) fn note(&mut self, id: PartitionId, known: &Transactions) {
        let remembers = known.decisions().len() + known.branches().len() > 0;
        note(&mut self.locking, id, known.prepared().len() > 0);
        note(&mut self.remembering, id, remembers);
    }

    /// A partition is held here no longer.
    pub(super) fn forget(&mut self, id: PartitionId) {
        self.locking.remove(&id);
        self.remembering.remove(&id);
    }

    /// When there may be something to look at.
    pub(super) fn wants_tick_at_ms(&self) -> Option<u64> {
        let soon = (!self.locking.is_empty()).then_some(self.look_at_ms);
        let later = (!self.remembering.is_empty()).then_some(self.look_at_ends_ms);
        soon.into_iter().chain(later).min()
    }
}

fn note(known: &mut BTreeSet<PartitionId>, id: PartitionId, is_known: bool) {
    match is_known {
        true => known.insert(id),
        false => known.remove(&id),
    };
}

impl Shard {
    /// Looks for transactions that were left in partitions that this node owns.
    pub(super) fn look_for_strays(&mut self, now_ms: u64) {
        self.look_for_ends(now_ms);
        if now_ms < self.strays.look_at_ms || self.strays.locking.is_empty() {
            return;
        }
        self.strays.look_at_ms = now_ms + LOOK_EVERY_MS;
        let mut due = BTreeMap::new();
        for id in self.strays.locking.clone() {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            let patience_ms = PATIENCE_HEDGES * room.coordinator.hedge_ms();
            let Some(partition) = room.partition.as_mut() else {
                continue;
            };
            let tended = partition.machine_mut().take_tended();
            if !room.is_owned {
                partition.machine_mut().forget_held_for_long();
                continue;
            }
            let mut awaited = Vec::new();
            let known = partition.state().machine.transactions();
            for suspect in suspects(id, known, patience_ms) {
                let Suspect {
                    holder,
                    stray,
                    patience_ms,
                    rest_ms,
                    rest_ms_max,
                } = suspect;
                let (is_tended, is_gone) = match holder {
                    Holder::Attempt(transaction) => {
                        let coordinator = &transaction.session.replica;
                        (
                            tended.contains(&transaction),
                            self.strays.unreachable.contains(coordinator),
                        )
                    }
                    Holder::Branch(_) | Holder::Awaited(_) => (false, false),
                };
                let known = self.strays.due.get(&(id, holder)).copied();
                let known = known.filter(|_| !is_tended);
                let is_left = known.is_none() && is_gone;
                let mut next = known.unwrap_or(Due {
                    at_ms: now_ms + patience_ms,
                    rest_ms,
                });
                if next.at_ms <= now_ms || is_left {
                    next.at_ms = now_ms + next.rest_ms;
                    next.rest_ms = (2 * next.rest_ms).min(rest_ms_max);
                    match (stray, holder) {
                        // Where nobody takes it any more, the node stops.
                        (Some(stray), _) => drop(self.strays.found.send(stray)),
                        (None, Holder::Awaited(transaction)) => awaited.push(transaction),
                        (None, _) => {}
                    }
                }
                due.insert((id, holder), next);
            }
            if !awaited.is_empty() {
                for transaction in awaited {
                    partition.machine_mut().set_held_for_long(transaction);
                }
                partition.refuse_held_up(clock::wall_ms());
                self.touched.insert(id);
            }
        }
        self.strays.due = due;
    }

    /// Has forgotten in time what was decided, and how branches have ended.
    fn look_for_ends(&mut self, now_ms: u64) {
        if now_ms < self.strays.look_at_ends_ms || self.strays.remembering.is_empty() {
            return;
        }
        self.strays.look_at_ends_ms = now_ms + LOOK_AT_ENDS_EVERY_MS;
        let mut all = BTreeMap::new();
        for home in self.strays.remembering.clone() {
            let room = self.rooms.get(home).filter(|room| room.is_owned);
            let Some(partition) = room.and_then(|room| room.partition.as_ref()) else {
                continue;
            };
            let known = partition.state().machine.transactions();
            for (ended, patience_ms) in ends(known) {
                let known_ms = self.strays.forget_at_ms.get(&(home, ended)).copied();
                let mut at_ms = known_ms.unwrap_or(now_ms + patience_ms);
                if at_ms <= now_ms {
                    at_ms = now_ms + AGAIN * LOOK_AT_ENDS_EVERY_MS;
                    if let Some(stray) = stray_of(ended, home, known) {
                        // Where nobody takes it any more, the node stops.
                        let _ = self.strays.found.send(stray);
                    }
                }
                all.insert((home, ended), at_ms);
            }
        }
        self.strays.forget_at_ms = all;
    }
}

/// What has ended and is remembered in a partition, and for how long that may go on.
fn ends(known: &Transactions) -> impl Iterator<Item = (Ended, u64)> {
    let decisions = known.decisions().map(|(id, decision)| {
        let patience_ms = match decision.commits {
            true => COMMIT_MS,
            false => ABORT_MS,
        };
        (Ended::Attempt(id), patience_ms)
    });
    let branches = known.branches();
    let ended = branches.filter(|(_, standing)| matches!(standing, Standing::Ended { .. }));
    decisions.chain(ended.map(|(id, _)| (Ended::Branch(id), BRANCH_MS)))
}

/// Who is to see to it that it is forgotten.
fn stray_of(ended: Ended, home: PartitionId, known: &Transactions) -> Option<Stray> {
    match ended {
        Ended::Attempt(id) => known.decision(id).map(|decision| Stray::Decision {
            id,
            commits: decision.commits,
            home,
            participants: decision.participants.clone(),
        }),
        Ended::Branch(id) => Some(Stray::Branch { id, home }),
    }
}

/// What holds locks in a partition, and may have been left.
fn suspects(
    partition: PartitionId,
    known: &Transactions,
    patience_ms: u64,
) -> impl Iterator<Item = Suspect> {
    known.prepared().flat_map(move |(id, prepared)| {
        let held = prepared.branch.filter(|_| known.is_held(id));
        // Home knows that nobody here ends it.
        let asked = held.map(|branch| Suspect {
            holder: Holder::Branch(branch),
            stray: Some(Stray::Held(branch)),
            patience_ms: HELD_MS,
            rest_ms: HELD_MS,
            rest_ms_max: HELD_MS,
        });
        let left = held.is_none().then(|| Suspect {
            holder: Holder::Attempt(id),
            stray: Some(Stray::Locks {
                id,
                partition,
                home: prepared.home,
            }),
            patience_ms,
            rest_ms: AGAIN * patience_ms,
            rest_ms_max: match prepared.branch {
                Some(_) => HELD_REST_MS_MAX,
                None => AGAIN * patience_ms,
            },
        });
        let awaited = prepared.branch.map(|_| Suspect {
            holder: Holder::Awaited(id),
            stray: None,
            patience_ms: HELD_WAIT_MS,
            rest_ms: HELD_WAIT_MS,
            rest_ms_max: HELD_WAIT_MS,
        });
        [asked, left, awaited].into_iter().flatten()
    })
}
