//! Decisions that nobody will ask for any more are forgotten, some at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::Participants,
    core::machine::{Operation, Transact, TransactionId},
};
use atoll_world::{clock, task};
use parking_lot::Mutex;

/// So long decisions are gathered: each time costs an entry of their partitions' logs.
const GATHERED: Duration = Duration::from_secs(10);
/// So many of one partition are not gathered any longer.
const GATHERED_MAX: usize = 1_024;

/// What may be forgotten, by the partition that remembers.
#[derive(Clone, Default)]
pub(super) struct Forgetting(Arc<Mutex<Gathered>>);

#[derive(Default)]
struct Gathered {
    decisions: BTreeMap<PartitionId, Vec<TransactionId>>,
    is_waiting: bool,
}

impl Forgetting {
    pub(super) fn add(
        &self,
        partitions: &Arc<dyn Participants>,
        home: PartitionId,
        id: TransactionId,
    ) {
        let mut gathered = self.0.lock();
        let decisions = gathered.decisions.entry(home).or_default();
        decisions.push(id);
        if decisions.len() >= GATHERED_MAX {
            let full = std::mem::take(decisions);
            task::spawn(forget(partitions.clone(), home, full));
        }
        if !std::mem::replace(&mut gathered.is_waiting, true) {
            let (forgetting, partitions) = (self.clone(), partitions.clone());
            task::spawn(async move {
                clock::sleep(GATHERED).await;
                forgetting.flush(&partitions);
            });
        }
    }

    fn flush(&self, partitions: &Arc<dyn Participants>) {
        let gathered = std::mem::take(&mut *self.0.lock());
        for (home, decisions) in gathered.decisions {
            task::spawn(forget(partitions.clone(), home, decisions));
        }
    }
}

async fn forget(
    partitions: Arc<dyn Participants>,
    home: PartitionId,
    decisions: Vec<TransactionId>,
) {
    let step = Operation::Transact(Transact::Forget(decisions));
    // Home itself sees to what it could not be told.
    let _ = partitions.ask(None, home, false, &step).await;
}
