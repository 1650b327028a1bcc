//! The cluster's own hot data, as one of those who take part in transactions that are decided
//! outside.
//!
//! What a client enlists is a list of Redis commands ([`work`]). They are brought to the
//! partitions of their keys and locked there as MULTI's are; the vote is yes when each partition
//! has that in its log, and the branch's home has it held ([`driver`](crate::driver), module
//! `branches`). Nobody ends it then but an order, from any node: not an owner that takes over, not
//! one that finds the locks. What comes twice is done once; what is aborted is remembered for
//! longer than a prepare can be late.
//!
//! *A commit of what home knows nothing of* is answered as done. All have voted, so home held the
//! branch, which only a commit or an abort ends; and nobody is told to abort what is decided to be
//! committed. So it was committed, and that is forgotten by now.
//!
//! A branch that is held for long is found by the owner of its home, and asked about by that
//! node: of a transaction that nobody knows it is told to abort.

pub mod work;

use std::{sync::Arc, time::Duration};

use atoll_kv::{
    api::{CrossPartition, Participants},
    core::machine::{BranchId, Settlement},
};
use atoll_world::clock;
use parking_lot::Mutex;

use self::work::Work;
use crate::{
    core::global::{Branch, Kind, Order, Place, Report, Termination, TransactionId},
    driver::{
        Ending, Executor, Holding,
        global::{Call, Later, Unfit},
    },
};

/// Its name as a participant.
pub const NAME: &str = "atoll:hot";
/// How long an order may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// For so long it is tried to lock what others have locked: less than orders, and votes by default,
/// may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A node's way to hot data. Clones are the same.
#[derive(Clone, Default)]
pub struct Hot(Arc<Inner>);

#[derive(Default)]
struct Inner {
    executor: Executor,
    /// None before the node has heard what it holds, and when it stops.
    partitions: Mutex<Option<Arc<dyn Participants>>>,
}

impl Hot {
    /// One that goes through what somebody else goes through, too.
    #[cfg(test)]
    pub(crate) fn through(executor: Executor) -> Hot {
        Hot(Arc::new(Inner {
            executor,
            partitions: Mutex::default(),
        }))
    }

    /// What brings transactions to this node's partitions; the same that clients' go through, so
    /// that their numbers differ.
    pub fn executor(&self) -> Arc<dyn CrossPartition> {
        Arc::new(self.0.executor.clone())
    }

    /// Hot data is there, or is not any more.
    pub fn set(&self, partitions: Option<Arc<dyn Participants>>) {
        *self.0.partitions.lock() = partitions;
    }

    pub(crate) fn check(kind: Kind, payload: &[u8]) -> Result<(), Unfit> {
        let why = match kind {
            Kind::TwoPhase | Kind::ThreePhase(Termination::ByLog) => {
                let parts = Work::decode(payload).and_then(|work| work.parts());
                return parts
                    .map(drop)
                    .map_err(|error| Unfit::Refused(format!("{NAME}: {error}")));
            }
            Kind::ThreePhase(Termination::ByPeers) => "hot data ends nothing among its peers",
            Kind::Saga => "hot data prepares; a saga's steps are services'",
        };
        let name = NAME.to_owned();
        Err(Unfit::Kind { name, why })
    }

    /// Carries out an order; none, if nobody knows what came of it.
    pub fn tell(&self, call: Call) -> Later<Option<Report>> {
        let hot = self.clone();
        Box::pin(async move {
            let asked = clock::timeout(CALL_TIMEOUT, hot.ask(&call)).await;
            let report = asked.ok().flatten();
            if report.is_none() {
                tracing::debug!(branch = %call.branch, attempt = call.attempt, "hot data gave no answer");
            }
            report
        })
    }

    async fn ask(&self, call: &Call) -> Option<Report> {
        let partitions = self.0.partitions.lock().clone()?;
        let (executor, branch) = (&self.0.executor, id_of(call.branch));
        let settle = async |how| executor.settle_branch(&partitions, branch, how).await;
        match &call.order {
            Order::Prepare { payload, .. } => {
                // What was enlisted was read then, perhaps by another version.
                let parts = Work::decode(payload).and_then(|work| work.parts());
                let parts = match parts {
                    Ok(parts) => parts,
                    Err(error) => {
                        tracing::warn!(branch = %call.branch, %error, "what hot data is to do can't be read");
                        return None;
                    }
                };
                let holding = executor.hold(partitions.clone(), branch, parts, PATIENCE);
                match holding.await {
                    Holding::Held => Some(Report::Yes),
                    Holding::Ended(true) => Some(Report::Committed),
                    Holding::Ended(false) => Some(Report::No),
                    Holding::Refused(why) => {
                        tracing::info!(branch = %call.branch, ?why, "hot data can't do its part: the vote is no");
                        Some(Report::No)
                    }
                    Holding::Unclear => None,
                }
            }
            // Nothing has to be remembered of it where only the log decides.
            Order::PreCommit => Some(Report::PreCommitted),
            Order::Commit => match settle(Settlement::Commit).await? {
                // It was committed before.
                Ending::Ended(true) | Ending::Unknown => Some(Report::Committed),
                Ending::Ended(false) => Some(Report::Aborted),
                Ending::Held => None,
            },
            Order::Abort => match settle(Settlement::Abort).await? {
                Ending::Ended(true) => Some(Report::Committed),
                Ending::Ended(false) => Some(Report::Aborted),
                Ending::Held | Ending::Unknown => None,
            },
            Order::Terminate | Order::Do { .. } | Order::Ask | Order::Compensate { .. } => None,
        }
    }

    /// What this node has found to be held for long.
    pub(crate) fn found(&self) -> Vec<(Branch, String)> {
        let held = self.0.executor.take_held().into_iter();
        held.map(|id| (branch_of(id), NAME.to_owned())).collect()
    }
}

fn id_of(branch: Branch) -> BranchId {
    BranchId {
        transaction: branch.transaction.0,
        place: branch.place.0,
    }
}

fn branch_of(id: BranchId) -> Branch {
    Branch {
        transaction: TransactionId(id.transaction),
        place: Place(id.place),
    }
}
