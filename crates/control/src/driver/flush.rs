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

    /// What waits to be written, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_due(&self) -> bool {
        self.bytes >= DUE_BYTES
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
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
    let (taken, meta) = replica.with_mut(|state| {
        let meta = SnapshotMeta {
            last_log_id: state.applied,
            last_membership: state.membership.clone(),
        };
        // Reclaiming deletes rows without applying an entry, so both have to be looked at.
        let clean = state.pending.is_empty() && state.stored == state.applied;
        let taken = (!clean).then(|| {
            (
                std::mem::take(&mut state.pending),
                state.machine.flush_mark(),
            )
        });
        (taken, meta)
    });
    let Some((pending, mark)) = taken else {
        return Ok(meta);
    };
    let applied = types::applied_to_proto(meta.last_log_id.as_ref(), &meta.last_membership);
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use atoll_base::id::NodeId;
    use atoll_world::disk::SimDisk;
    use parking_lot::Mutex;

    use super::*;
    use crate::driver::{
        generations::{Generations, StoreSource},
        propose::Waiters,
        watch::WatchConfig,
    };

    fn replica() -> Arc<Replicated> {
        let disk = Arc::new(SimDisk::new(1));
        let source = Arc::new(StoreSource::Simulated(Mutex::default()));
        let dir = PathBuf::from("/node");
        atoll_world::disk::Disk::create_dir_all(&*disk, &dir).expect("a new disk has room");
        let (generations, store) = Generations::open(disk, dir, source).expect("an empty store");
        let waiters = Arc::new(Waiters::new(NodeId(1), 1));
        Replicated::open(
            Arc::new(generations),
            store,
            waiters,
            WatchConfig::default(),
            crate::core::level::SERVED,
        )
        .expect("an empty state")
    }

    fn row(value: Option<&'static [u8]>) -> Write {
        Write {
            table: Table::UserRevisions,
            key: Bytes::from_static(b"row"),
            value: value.map(Bytes::from_static),
        }
    }

    /// Reclaiming deletes rows while no entry is applied: the store must not keep them, or
    /// they would be back after a restart.
    #[tokio::test]
    async fn rows_that_were_reclaimed_without_a_new_entry_leave_the_store() {
        let replica = replica();
        for value in [Some(&b"value"[..]), None] {
            replica.with_mut(|state| state.pending.extend([row(value)].into_iter()));
            write_pending(&replica)
                .await
                .expect("a simulated store takes writes");
            let found = replica
                .store()
                .get(Table::UserRevisions.name(), b"row")
                .expect("it can be read");
            assert_eq!(found.as_deref(), value);
        }
    }
}
