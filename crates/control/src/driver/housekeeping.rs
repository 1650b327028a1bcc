//! What goes on in the background: watching the quota, publishing the members, compacting
//! without being asked.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{clock, disk::Disk, task};
use bytes::Bytes;

use super::{propose::Proposer, replica::Replicated, system_identity};
use crate::{
    core::effects::Space,
    driver::control::AutoCompaction,
    log::{Log, types::Members},
    proto::{
        etcdserverpb::{self as pb, AlarmType, alarm_request::AlarmAction},
        internal::command::Op,
        raft,
    },
};

/// How often the store and the disk are looked at, and a failed write is tried again.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);

/// The same, while the disk may run full within one of those intervals.
const ROOM_INTERVAL_CLOSE: Duration = Duration::from_millis(50);

/// The disk may: so many times the free space at which writes are refused is all that is left.
const CLOSE_FACTOR: u64 = 4;

/// Where members are published…
const NODES_PREFIX: &str = "/atoll/nodes/";

/// …and the key after every key there.
const NODES_END: &str = "/atoll/nodes0";

/// How often automatic compaction looks at the clock.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);

/// Revisions that the revision mode looks at per interval.
const COMPACTION_REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// What a node's state may take on its disk.
pub(crate) struct Room {
    pub(crate) disk: Arc<dyn Disk>,
    /// A directory on the disk.
    pub(crate) dir: PathBuf,
    /// The size of the store at which writes are refused.
    pub(crate) quota_bytes: u64,
    /// The free space under which the journal makes no new segment. Writes are refused at
    /// twice that, so that the log can still carry what the cluster itself decides.
    pub(crate) reserve_bytes: u64,
}

/// What a look at the store and the disk told.
struct Measured {
    /// Why there is no room, if there is none.
    shortage: Option<String>,
    /// Whether there could be none within a moment.
    close: bool,
}

impl Room {
    /// The free space at which writes are refused.
    fn mark_bytes(&self) -> u64 {
        self.reserve_bytes.saturating_mul(2)
    }

    async fn measure(&self, replica: &Replicated) -> Measured {
        let (store, disk, dir) = (replica.store(), self.disk.clone(), self.dir.clone());
        let (used, free) =
            task::blocking(move || (store.disk_bytes(), disk.free_bytes(&dir))).await;
        if let Err(error) = &used {
            tracing::warn!(%error, "the size of the store is not known");
        }
        if let Err(error) = &free {
            tracing::warn!(%error, "the free space of the disk is not known");
        }
        let shortage = match (&used, &free) {
            (Ok(bytes), _) if *bytes >= self.quota_bytes => Some(format!(
                "the store takes {bytes} bytes, its quota is {}",
                self.quota_bytes
            )),
            (_, Ok(free)) if *free < self.mark_bytes() => Some(format!(
                "the disk has {free} bytes left, {} are kept in reserve",
                self.reserve_bytes
            )),
            _ => None,
        };
        let near_bytes = self.mark_bytes().saturating_mul(CLOSE_FACTOR);
        Measured {
            shortage,
            close: free.is_ok_and(|free| free < near_bytes),
        }
    }
}

/// Raises NOSPACE when the store reaches its quota or the disk its reserve. It stays raised
/// until somebody disarms it, as in etcd. This node's own clients are refused at once: until
/// the alarm is committed, they could write what is left.
pub(crate) async fn watch_room(
    node: NodeId,
    replica: Arc<Replicated>,
    proposer: Proposer,
    room: Room,
) {
    loop {
        let Measured { shortage, close } = room.measure(&replica).await;
        proposer.refuse_growth(shortage.is_some());
        if let Some(reason) = shortage.filter(|_| !is_raised(&replica, node)) {
            tracing::error!(
                reason,
                "writes are refused until space is made (`atoll key compact`, or a larger quota, or a freer disk), and then `atoll node disarm`"
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
        let pause = if close {
            ROOM_INTERVAL_CLOSE
        } else {
            ROOM_INTERVAL
        };
        clock::sleep(pause).await;
    }
}

fn is_raised(replica: &Replicated, node: NodeId) -> bool {
    replica.with(|machine| {
        let alarms = machine.alarms(AlarmType::Nospace);
        alarms.iter().any(|alarm| alarm.member_id == node.0)
    })
}

/// Keeps `/atoll/nodes/ID` equal to the membership, on the leader, so that everybody with the
/// right can read and watch who belongs to the cluster.
pub(crate) async fn publish_members(log: Log, replica: Arc<Replicated>, proposer: Proposer) {
    let (mut leadership, mut membership) = (log.leadership(), log.membership());
    loop {
        let now = *leadership.borrow_and_update();
        let wanted = rows_of(&membership.borrow_and_update());
        let unfinished = now.leads && !bring_about(&replica, &proposer, now.term, wanted).await;
        tokio::select! {
            biased;
            changed = leadership.changed() => if changed.is_err() { return },
            changed = membership.changed() => if changed.is_err() { return },
            () = clock::sleep(ROOM_INTERVAL), if unfinished => {}
        }
    }
}

pub(crate) fn rows_of(members: &Members) -> BTreeMap<Bytes, Bytes> {
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let row = |(id, node): (&u64, &raft::Node)| {
        let value = serde_json::json!({
            "id": NodeId(*id).to_string(),
            "name": node.name,
            "peer_urls": node.peer_urls,
            "client_urls": node.client_urls,
            "feature_level_min": node.feature_level_min,
            "feature_level_max": node.feature_level_max,
            "voter": voters.contains(id),
        });
        (
            Bytes::from(format!("{NODES_PREFIX}{}", NodeId(*id))),
            Bytes::from(value.to_string()),
        )
    };
    members.nodes().map(row).collect()
}

/// Writes what differs; false if that has to be tried again.
async fn bring_about(
    replica: &Replicated,
    proposer: &Proposer,
    term: u64,
    wanted: BTreeMap<Bytes, Bytes>,
) -> bool {
    let request = pb::RangeRequest {
        key: NODES_PREFIX.into(),
        range_end: NODES_END.into(),
        ..pb::RangeRequest::default()
    };
    let read = replica.read(|machine, values| machine.range(&system_identity(), &request, values));
    let Ok(Ok(found)) = read else { return false };
    let found: BTreeMap<Bytes, Bytes> =
        found.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    let puts = wanted
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(value))
        .map(|(key, value)| {
            Op::Put(pb::PutRequest {
                key: key.clone(),
                value: value.clone(),
                ..pb::PutRequest::default()
            })
        });
    let deletes = found
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .map(|key| {
            Op::DeleteRange(pb::DeleteRangeRequest {
                key: key.clone(),
                ..pb::DeleteRangeRequest::default()
            })
        });
    for op in puts.chain(deletes).collect::<Vec<_>>() {
        if let Err(error) = proposer.propose_in(term, op).await {
            tracing::debug!(%error, "the members under {NODES_PREFIX} were not brought up to date");
            return false;
        }
    }
    true
}

/// Which revision was current how long ago, for compaction by age.
#[derive(Default)]
struct AutoCompactionClock {
    seen: VecDeque<(clock::Instant, i64)>,
}

impl AutoCompactionClock {
    /// Notes the present revision; answers the newest one that was current `age` ago.
    fn revision_before(
        &mut self,
        now: clock::Instant,
        revision: i64,
        age: Duration,
    ) -> Option<i64> {
        self.seen.push_back((now, revision));
        let mut old = None;
        while let Some((at, revision)) = self.seen.front().copied() {
            if now.duration_since(at) < age {
                break;
            }
            old = Some(revision);
            self.seen.pop_front();
        }
        old
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
