//! Has hot data take part in transactions that are decided outside: branches are held, and ended
//! as they are told.
//!
//! An attempt to hold a branch is a transaction over partitions like any other until home is asked
//! to hold it; whoever dies on the way leaves nothing but locks that others end soon. From then on
//! home knows, and whoever comes with the branch's name, from any node, ends it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::{Answer, AtomicStep, Participants},
    core::{
        machine::{BranchId, Settlement, Transact, Transacted, TransactionId},
        reply::Reply,
    },
};
use atoll_world::{clock, random, task};
use futures_util::future::join_all;

use super::{CONFLICTS_MAX, Executor, REST_MS_MIN, rest, step_of};
use crate::core::partitions::{
    Condition, End, Execution, Manner, Objection, Part, Program, Purpose, home_of,
};

/// After so many attempts that met the locks of others the branch is refused.
const ATTEMPTS_MAX: u32 = 16;
/// So many branches are remembered that are held for long; others are found again.
const HELD_MAX: usize = 1_000;

/// What came of having a branch held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// It is held: it can be committed, whatever happens.
    Held,
    /// It has ended: whether it was committed.
    Ended(bool),
    /// It can't be done, and never will be.
    Refused(Why),
    /// Nobody knows.
    Unclear,
}

/// Why a branch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Of what its commands come to.
    Objection(Objection),
    /// A partition does not take it; the error's code.
    Error(String),
    /// Others held what it needs, each of so many times.
    Locked(u32),
}

/// What came of ending one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is held, and is not refused any more.
    Held,
    /// It has ended: whether it was committed.
    Ended(bool),
    /// Nothing is known of it.
    Unknown,
}

impl Executor {
    /// Has a branch held. Attempts that meet the locks of others are made for so long. It goes on
    /// where nobody waits for it any more.
    pub(crate) async fn hold(
        &self,
        partitions: Arc<dyn Participants>,
        branch: BranchId,
        parts: Vec<Part>,
        patience: Duration,
    ) -> Holding {
        let executor = self.clone();
        let work = async move {
            let tried = executor.try_to_hold(&partitions, branch, parts, patience);
            match tried.await {
                Holding::Refused(why) => executor.refuse(&partitions, branch, why).await,
                other => other,
            }
        };
        task::spawn(work).await.unwrap_or(Holding::Unclear)
    }

    async fn try_to_hold(
        &self,
        partitions: &Arc<dyn Participants>,
        branch: BranchId,
        parts: Vec<Part>,
        patience: Duration,
    ) -> Holding {
        let conditions: Vec<Condition> = parts.iter().map(|part| part.condition.clone()).collect();
        let steps = parts.into_iter().map(|part| AtomicStep::Call {
            database: part.database,
            call: part.call,
        });
        let (now_ms, seed) = (clock::wall_ms(), random::u64());
        let all = partitions.partitions();
        let program = match Program::new(steps.collect(), &[], Vec::new(), all, now_ms, seed) {
            Ok(program) => program.with_home(home_of(branch, all)),
            Err(answer) => return of_answer(answer),
        };
        let deadline = clock::now() + patience;
        let (mut conflicts, mut rest_ms) = (0, REST_MS_MIN);
        loop {
            let id = self.next_id(&**partitions);
            let manner = match conflicts < CONFLICTS_MAX {
                true => Manner::Locking,
                false => Manner::Waiting,
            };
            let conditions = conditions.clone();
            let purpose = Purpose { branch, conditions };
            let execution = Execution::of_branch(id, program.clone(), manner, purpose);
            match self.attempt(partitions, None, execution).await {
                End::Held => return Holding::Held,
                End::Settled(commits) => return Holding::Ended(commits),
                End::Objection(objection) => {
                    return Holding::Refused(Why::Objection(objection));
                }
                End::Answer(answer) => return of_answer(answer),
                End::Conflict => conflicts += 1,
                // It does not only read, and is held or not.
                End::Moved | End::Done(_) => return Holding::Unclear,
            }
            if conflicts >= ATTEMPTS_MAX || clock::now() > deadline {
                return Holding::Refused(Why::Locked(conflicts));
            }
            rest(&mut rest_ms).await;
        }
    }

    /// Makes sure that what is refused is never held. An attempt before this one may have held it,
    /// and whoever asked for that one counts on it: then it stays so.
    async fn refuse(
        &self,
        partitions: &Arc<dyn Participants>,
        branch: BranchId,
        why: Why,
    ) -> Holding {
        match self
            .settle_branch(partitions, branch, Settlement::Refuse)
            .await
        {
            Some(Ending::Held) => Holding::Held,
            Some(Ending::Ended(true)) => Holding::Ended(true),
            Some(Ending::Ended(false)) => Holding::Refused(why),
            Some(Ending::Unknown) | None => Holding::Unclear,
        }
    }

    /// Has a branch end, unless it has. Home does its part and remembers; the others are told
    /// afterwards, and ask home where they don't hear. None, if nobody knows what came of it.
    pub(crate) async fn settle_branch(
        &self,
        partitions: &Arc<dyn Participants>,
        branch: BranchId,
        how: Settlement,
    ) -> Option<Ending> {
        let home = home_of(branch, partitions.partitions());
        let step = Transact::Settle { branch, how };
        match step_of(&**partitions, home, step).await? {
            Transacted::Held(_) => Some(Ending::Held),
            Transacted::Done => Some(Ending::Unknown),
            Transacted::Settled {
                commits,
                id,
                participants,
            } => {
                if let Some(id) = id.filter(|_| !participants.is_empty()) {
                    let (executor, partitions) = (self.clone(), partitions.clone());
                    task::spawn(async move {
                        executor
                            .tell_others(&partitions, home, id, commits, participants)
                            .await;
                    });
                }
                Some(Ending::Ended(commits))
            }
            _ => None,
        }
    }

    async fn tell_others(
        &self,
        partitions: &Arc<dyn Participants>,
        home: PartitionId,
        id: TransactionId,
        commits: bool,
        participants: Vec<PartitionId>,
    ) {
        let others = participants.into_iter().filter(|other| *other != home);
        let told = others.map(|other| {
            let step = Transact::Finish { id, commits };
            step_of(&**partitions, other, step)
        });
        let have_heard = join_all(told).await.iter().all(Option::is_some);
        if have_heard {
            self.0.forgetting.add(partitions, home, id);
        }
    }

    /// Notes that a branch is held for long.
    pub(super) fn note_held(&self, branch: BranchId) {
        let mut held = self.0.held.lock();
        if held.len() < HELD_MAX {
            held.insert(branch);
        }
    }

    /// Branches that were found to be held for long since this was asked last: by owners of
    /// partitions that are this node's.
    pub(crate) fn take_held(&self) -> BTreeSet<BranchId> {
        std::mem::take(&mut *self.0.held.lock())
    }
}

/// What an answer in the place of an attempt comes to.
fn of_answer(answer: Answer) -> Holding {
    match answer {
        Answer::Reply(Reply::Error(text)) => {
            let text = String::from_utf8_lossy(&text);
            let code = text.split(' ').next().unwrap_or_default();
            Holding::Refused(Why::Error(code.to_owned()))
        }
        _ => Holding::Unclear,
    }
}
