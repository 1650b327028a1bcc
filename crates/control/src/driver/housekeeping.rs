//! What goes on in the background: giving back compacted space, watching the quota,
//! compacting without being asked.

use std::{sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{clock, task};

use super::{AutoCompactionClock, propose::Proposer, replica::Replicated, system_identity};
use crate::{
    core::{effects::Space, reclaim::ReclaimCursor},
    driver::control::AutoCompaction,
    log::Log,
    proto::{
        etcdserverpb::{self as pb, AlarmType, alarm_request::AlarmAction},
        internal::command::Op,
    },
};

/// Keys looked at under the replica's lock at a time: well under a millisecond.
const RECLAIM_STEP_KEYS: usize = 500;

/// The pause between two steps, so that writers and readers come first.
const RECLAIM_PAUSE: Duration = Duration::from_millis(1);

/// How often the size of the store is looked at.
const QUOTA_INTERVAL: Duration = Duration::from_secs(1);

/// How often automatic compaction looks at the clock.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);

/// Revisions that the revision mode looks at per interval.
const COMPACTION_REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Gives back what was compacted, a bounded step at a time.
pub(crate) async fn reclaim(replica: Arc<Replicated>) {
    let mut done = [0_i64; 2];
    loop {
        replica.reclaim_wanted.notified().await;
        for (space, done) in [Space::User, Space::System].into_iter().zip(&mut done) {
            // What is compacted may be reclaimed only once the store knows of the compaction.
            let _ = flush_now(&replica).await;
            let bound = replica.with(|machine| {
                machine
                    .keyspace(space)
                    .reclaim_bound(replica.oldest_pin(space))
            });
            if bound > *done && walk(&replica, space).await {
                *done = bound;
            }
        }
    }
}

async fn flush_now(replica: &Replicated) -> Result<(), atoll_world::store::StoreError> {
    let _one = replica.flushing.lock().await;
    super::flush::write_pending(replica).await.map(drop)
}

/// One walk over the index; false if the state was replaced meanwhile.
async fn walk(replica: &Replicated, space: Space) -> bool {
    let mut cursor = Some(ReclaimCursor::default());
    while let Some(at) = cursor {
        let pinned = replica.oldest_pin(space);
        cursor = replica.with_mut(|state| {
            let (deletes, next) =
                state
                    .machine
                    .keyspace_mut(space)
                    .reclaim(at, RECLAIM_STEP_KEYS, pinned);
            state.pending.extend(deletes.into_iter());
            state.stored = None;
            next
        });
        if let Err(error) = replica.room_for_reclaim().await {
            tracing::warn!(%error, "reclaiming stops");
            return false;
        }
        clock::sleep(RECLAIM_PAUSE).await;
    }
    true
}

/// Raises NOSPACE when the store reaches its quota. It stays raised until somebody disarms
/// it, as in etcd.
pub(crate) async fn watch_quota(
    node: NodeId,
    replica: Arc<Replicated>,
    proposer: Proposer,
    quota_bytes: u64,
) {
    loop {
        clock::sleep(QUOTA_INTERVAL).await;
        let store = replica.store();
        let bytes = match task::blocking(move || store.disk_bytes()).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "the size of the store is not known");
                continue;
            }
        };
        let raised = replica.with(|machine| {
            machine
                .alarms(AlarmType::Nospace)
                .iter()
                .any(|alarm| alarm.member_id == node.0)
        });
        if bytes >= quota_bytes && !raised {
            tracing::error!(
                bytes,
                quota_bytes,
                "the store has reached its quota: writes are refused until space is made (compact, then `atoll alarm disarm`) or the quota is raised"
            );
            let request = pb::AlarmRequest {
                action: AlarmAction::Activate.into(),
                member_id: node.0,
                alarm: AlarmType::Nospace.into(),
            };
            if let Err(error) = proposer
                .propose(system_identity(), Op::Alarm(request))
                .await
            {
                tracing::warn!(%error, "the alarm was not raised");
            }
        }
    }
}

/// Compacts by age or by count, on the leader.
pub(crate) async fn auto_compact(
    log: Log,
    replica: Arc<Replicated>,
    proposer: Proposer,
    mode: AutoCompaction,
) {
    let mut history = AutoCompactionClock::default();
    loop {
        let interval = match mode {
            AutoCompaction::Off => return,
            AutoCompaction::Periodic(age) => {
                (age / 10).clamp(Duration::from_secs(1), COMPACTION_INTERVAL)
            }
            AutoCompaction::Revisions(_) => COMPACTION_REVISION_INTERVAL,
        };
        clock::sleep(interval).await;
        let revision = replica.revision();
        let target = match mode {
            AutoCompaction::Off => return,
            AutoCompaction::Periodic(age) => history.revision_before(clock::now(), revision, age),
            AutoCompaction::Revisions(kept) => revision.checked_sub_unsigned(kept),
        };
        let compacted = replica.with(|machine| machine.keyspace(Space::User).compacted());
        let Some(target) = target.filter(|target| *target > compacted.max(0)) else {
            continue;
        };
        if !log.leadership().borrow().leads {
            continue;
        }
        let request = pb::CompactionRequest {
            revision: target,
            physical: false,
        };
        match proposer
            .propose(system_identity(), Op::Compact(request))
            .await
        {
            Ok(_) => tracing::info!(revision = target, "compacted"),
            Err(error) => tracing::warn!(%error, revision = target, "not compacted"),
        }
    }
}
