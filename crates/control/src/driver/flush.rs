//! From memory to the store, off the path of acknowledgement.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_world::{clock, store::Batch, task};
use bytes::Bytes;
use prost::Message as _;

use super::{
    generations::APPLIED_TABLE,
    replica::{APPLIED_KEY, Replicated},
};
use crate::{
    core::effects::{Table, Write},
    log::types::{self, SnapshotMeta},
    proto::raft as pb,
};

/// Flushing begins when this much is pending, in bytes…
const DUE_BYTES: usize = 4 << 20;

/// …or when this much time has passed since the last flush.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// Applying waits while this much is pending, in bytes.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// What a pending row costs beyond its key and value, in bytes, about.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Rows that were applied and are not yet in the store; of each, the newest content.
#[derive(Default)]
pub(crate) struct Pending {
    rows: BTreeMap<(Table, Bytes), Option<Bytes>>,
    bytes: usize,
}

impl Pending {
    pub(crate) fn extend(&mut self, writes: impl Iterator<Item = Write>) {
        for write in writes {
            self.bytes +=
                write.key.len() + write.value.as_ref().map_or(0, Bytes::len) + ROW_OVERHEAD_BYTES;
            self.rows.insert((write.table, write.key), write.value);
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.bytes >= DUE_BYTES
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES_MAX
    }

    fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for ((table, key), value) in self.rows {
            match value {
                Some(value) => batch.put(table.name(), key, value),
                None => batch.delete(table.name(), key),
            }
        }
        batch
    }
}

/// Flushes from time to time, until the store fails.
pub(crate) async fn run(replica: Arc<Replicated>, fatal: Arc<dyn Fn(String) + Send + Sync>) {
    loop {
        tokio::select! {
            biased;
            () = replica.flush_wanted.notified() => {}
            () = clock::sleep(FLUSH_INTERVAL) => {}
        }
        let _one = replica.flushing.lock().await;
        if let Err(error) = write_pending(&replica).await {
            fatal(format!("the store cannot be written: {error}"));
            return;
        }
    }
}

/// Writes everything applied so far in one batch; answers what the store holds then. The
/// caller holds the flushing lock.
pub(crate) async fn write_pending(
    replica: &Replicated,
) -> Result<SnapshotMeta, atoll_world::store::StoreError> {
    let (pending, mark, meta, stored) = replica.with_mut(|state| {
        let meta = SnapshotMeta {
            last_log_id: state.applied,
            last_membership: state.membership.clone(),
        };
        let stored = state.stored == state.applied;
        (
            std::mem::take(&mut state.pending),
            state.machine.flush_mark(),
            meta,
            stored,
        )
    });
    if stored {
        return Ok(meta);
    }
    let applied = pb::Applied {
        log_id: meta.last_log_id.as_ref().map(types::log_id_to_proto),
        membership: Some(types::stored_membership_to_proto(&meta.last_membership)),
    };
    let store = replica.store();
    task::blocking(move || {
        let mut batch = pending.into_batch();
        batch.put(APPLIED_TABLE, APPLIED_KEY, applied.encode_to_vec());
        store.write(batch)
    })
    .await?;
    replica.with_mut(|state| {
        state.stored = meta.last_log_id;
        state.machine.flushed(mark);
    });
    replica.flushed.notify_waiters();
    Ok(meta)
}
