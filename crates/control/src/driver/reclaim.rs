//! Giving back compacted space: from the index, from the tables, from the disk.
//!
//! A pass walks the index in bounded steps and deletes rows; the store then still has them on
//! disk, beneath the deletes. Rewriting its tables gives the space back, at the price of what
//! is left in them, so it is done by itself only when enough was deleted to pay for it
//! ([`pays`]), and whenever somebody asks ([`Reclaimer::defragment`]). No lock that writers or
//! readers take is held for longer than a step.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_world::{
    clock,
    disk::{Disk, DiskError},
    store::StoreError,
    task,
};
use tokio::sync::Mutex;

use super::replica::Replicated;
use crate::core::{effects::Space, error::Error, reclaim::ReclaimCursor};

/// Keys looked at under the replica's lock at a time: well under a millisecond.
const RECLAIM_STEP_KEYS: usize = 500;

/// The pause between two steps, so that writers and readers come first.
const RECLAIM_PAUSE: Duration = Duration::from_millis(1);

/// How long a pass that could not reclaim everything rests: readers held on to something.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

const SPACES: [Space; 2] = [Space::User, Space::System];

/// Gives back the space of one node's store.
pub(crate) struct Reclaimer {
    replica: Arc<Replicated>,
    disk: Arc<dyn Disk>,
    /// A directory on the disk that the store is on.
    dir: PathBuf,
    /// Free space that is never used for rewriting, in bytes.
    reserve_bytes: u64,
    /// One pass at a time.
    done: Mutex<Done>,
}

/// What earlier passes did, for each of [`SPACES`].
#[derive(Default)]
struct Done {
    /// Of which state that was true.
    replacements: u64,
    /// Up to which revision a walk has been through.
    bounds: [i64; 2],
    /// Rows deleted since the table was rewritten.
    deleted_rows: [u64; 2],
}

/// Why space could not be given back. The state is as it was.
#[derive(Debug, thiserror::Error)]
enum ReclaimError {
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    #[error("the free space of the disk is not known: {0}")]
    Disk(#[from] DiskError),
    #[error(
        "rewriting the store takes up to {store_bytes} bytes more for a while, and the disk has {free_bytes} free, of which {reserve_bytes} are kept in reserve"
    )]
    NoRoom {
        store_bytes: u64,
        free_bytes: u64,
        reserve_bytes: u64,
    },
    #[error("the state was replaced by a snapshot meanwhile")]
    Replaced,
}

impl From<ReclaimError> for Error {
    fn from(error: ReclaimError) -> Self {
        match error {
            ReclaimError::NoRoom { .. } => Error::NoSpace,
            ReclaimError::Store(_) | ReclaimError::Disk(_) | ReclaimError::Replaced => {
                Error::Unhealthy
            }
        }
    }
}

/// Whether a table is worth rewriting: what is written is at most twice what was deleted.
fn pays(deleted_rows: u64, live_rows: u64) -> bool {
    deleted_rows > 0 && deleted_rows.saturating_mul(2) >= live_rows
}

impl Reclaimer {
    pub(crate) fn new(
        replica: Arc<Replicated>,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        reserve_bytes: u64,
    ) -> Arc<Self> {
        Arc::new(Reclaimer {
            replica,
            disk,
            dir,
            reserve_bytes,
            done: Mutex::default(),
        })
    }

    /// Reclaims what is compacted, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let behind = match self.pass(false).await {
                Ok(behind) => behind,
                Err(ReclaimError::Replaced) => true,
                Err(error) => {
                    tracing::warn!(%error, "space is not given back");
                    false
                }
            };
            tokio::select! {
                biased;
                () = self.replica.reclaim_wanted.notified() => {}
                () = clock::sleep(RETRY_INTERVAL), if behind => {}
            }
        }
    }

    /// Reclaims what is compacted, rewrites the tables of revisions, and returns when the
    /// space is back. It goes on when the caller goes away.
    ///
    /// # Errors
    /// `NoSpace` where the disk has no room for a copy; `Unhealthy` where the store cannot be
    /// read or written, or was replaced.
    pub(crate) async fn defragment(self: Arc<Self>) -> Result<(), Error> {
        let pass = task::spawn(async move { self.pass(true).await });
        match pass.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store was not defragmented");
                Err(error.into())
            }
            // The node is going down.
            Err(_) => Err(Error::Stopped),
        }
    }

    /// One pass; answers whether something compacted is left that readers held on to.
    async fn pass(&self, always_rewrite: bool) -> Result<bool, ReclaimError> {
        let mut done = self.done.lock().await;
        let replacements = self.replica.replacements();
        if done.replacements != replacements {
            *done = Done {
                replacements,
                ..Done::default()
            };
        }
        let mut behind = false;
        for (at, space) in SPACES.into_iter().enumerate() {
            // What is compacted may be reclaimed only once the store knows of the compaction.
            self.flush().await?;
            let (bound, compacted) = self.replica.with(|machine| {
                let keyspace = machine.keyspace(space);
                let bound = keyspace.reclaim_bound(self.replica.oldest_pin(space));
                (bound, keyspace.compacted())
            });
            behind |= bound < compacted;
            if bound > done.bounds[at] {
                done.deleted_rows[at] += self.walk(space, replacements).await?;
                done.bounds[at] = bound;
            }
        }
        self.flush().await?;
        for (at, space) in SPACES.into_iter().enumerate() {
            let live = self
                .replica
                .with(|machine| machine.keyspace(space).live_keys());
            if always_rewrite || pays(done.deleted_rows[at], live) {
                self.rewrite(space).await?;
                done.deleted_rows[at] = 0;
            }
        }
        Ok(behind)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let _one = self.replica.flushing.lock().await;
        super::flush::write_pending(&self.replica).await.map(drop)
    }

    /// One walk over the index; answers how many rows it deleted.
    async fn walk(&self, space: Space, replacements: u64) -> Result<u64, ReclaimError> {
        let replica = &self.replica;
        let (mut cursor, mut deleted_rows) = (Some(ReclaimCursor::default()), 0);
        while let Some(at) = cursor {
            let pinned = replica.oldest_pin(space);
            let step = replica.with_mut(|state| {
                if replica.replacements() != replacements {
                    return None;
                }
                let keyspace = state.machine.keyspace_mut(space);
                let (deletes, next) = keyspace.reclaim(at, RECLAIM_STEP_KEYS, pinned);
                let count = deletes.len() as u64;
                state.pending.extend(deletes.into_iter());
                Some((count, next))
            });
            let (count, next) = step.ok_or(ReclaimError::Replaced)?;
            deleted_rows += count;
            cursor = next;
            replica.room_in_memory().await;
            clock::sleep(RECLAIM_PAUSE).await;
        }
        Ok(deleted_rows)
    }

    /// Rewrites a keyspace's table without what was deleted in it.
    async fn rewrite(&self, space: Space) -> Result<(), ReclaimError> {
        let (store, disk, dir) = (self.replica.store(), self.disk.clone(), self.dir.clone());
        let reserve_bytes = self.reserve_bytes;
        let (before, after) = task::blocking(move || {
            let before = store.disk_bytes()?;
            let free_bytes = disk.free_bytes(&dir)?;
            if free_bytes < before.saturating_add(reserve_bytes) {
                return Err(ReclaimError::NoRoom {
                    store_bytes: before,
                    free_bytes,
                    reserve_bytes,
                });
            }
            store.give_back(space.table().name())?;
            Ok((before, store.disk_bytes()?))
        })
        .await?;
        tracing::info!(
            ?space,
            before_bytes = before,
            after_bytes = after,
            "the store was rewritten without what was compacted"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use atoll_base::id::NodeId;
    use atoll_world::{
        disk,
        store::{Store, StoreOptions},
    };
    use bytes::Bytes;

    use super::*;
    use crate::{
        core::level::SERVED,
        driver::{
            generations::{Generations, StoreSource},
            propose::Waiters,
            system_identity,
            watch::WatchConfig,
        },
        log::{
            machine::Replica as _,
            types::{self, BatchBytes, Entry},
        },
        proto::{
            etcdserverpb as pb,
            internal::{Batch, Command, command::Op},
        },
    };
    use openraft::{EntryPayload, entry::RaftEntry as _};
    use prost::Message as _;

    const VALUE_BYTES: usize = 4096;
    const KEYS: u64 = 50;
    const ROUNDS: u64 = 40;

    struct Node {
        replica: Arc<Replicated>,
        reclaimer: Arc<Reclaimer>,
        index: u64,
        dir: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Node {
            let dir = tempfile::tempdir().expect("a directory");
            let disk = disk::real();
            let source = Arc::new(StoreSource::Directories(StoreOptions::default()));
            let path = dir.path().to_path_buf();
            let (generations, store) =
                Generations::open(disk.clone(), path.clone(), source).expect("an empty store");
            let waiters = Arc::new(Waiters::new(NodeId(1), 1));
            let replica = Replicated::open(
                Arc::new(generations),
                store,
                waiters,
                WatchConfig::default(),
                SERVED,
            )
            .expect("an empty state");
            Node {
                reclaimer: Reclaimer::new(replica.clone(), disk, path, 0),
                replica,
                index: 0,
                dir,
            }
        }

        fn apply(&mut self, op: Op) {
            self.index += 1;
            let command = Command {
                identity: Some(system_identity()),
                op: Some(op),
                ..Command::default()
            };
            let batch = Batch {
                commands: vec![command],
            };
            let payload = EntryPayload::Normal(BatchBytes(batch.encode_to_vec().into()));
            let entry = Entry::new(types::log_id(1, self.index), payload);
            self.replica.apply(vec![entry]).expect("it is applied");
        }

        /// Overwrites every key so often, with values that do not compress.
        async fn overwrite(&mut self, rounds: u64) {
            for round in 0..rounds {
                for key in 0..KEYS {
                    let value: Vec<u8> =
                        std::iter::repeat_with(|| atoll_world::random::u64().to_le_bytes())
                            .take(VALUE_BYTES / 8)
                            .flatten()
                            .collect();
                    self.apply(Op::Put(pb::PutRequest {
                        key: Bytes::from(format!("key/{key}")),
                        value: value.into(),
                        ..pb::PutRequest::default()
                    }));
                }
                if round % 10 == 0 {
                    self.flush().await;
                }
            }
            self.flush().await;
        }

        async fn flush(&self) {
            self.reclaimer.flush().await.expect("the disk takes it");
        }

        fn compact(&mut self) {
            let revision = self.replica.revision();
            self.apply(Op::Compact(pb::CompactionRequest {
                revision,
                physical: true,
            }));
        }

        fn store(&self) -> Store {
            self.replica.store()
        }
    }

    fn bytes(store: &Store) -> u64 {
        store.disk_bytes().expect("a size")
    }

    /// What all keys hold, once.
    const LIVE_BYTES: u64 = KEYS * VALUE_BYTES as u64;

    #[tokio::test]
    async fn compacted_space_comes_back_by_itself() {
        let mut node = Node::new();
        node.overwrite(ROUNDS).await;
        // So that what is there is on disk, and a write stays in memory meanwhile.
        node.reclaimer.rewrite(Space::User).await.expect("room");
        let full = bytes(&node.store());
        assert!(full > LIVE_BYTES * (ROUNDS - 1), "{full} bytes");
        node.compact();
        let behind = node.reclaimer.pass(false).await.expect("a pass");
        assert!(!behind, "nobody reads");
        let left = bytes(&node.store());
        assert!(left < LIVE_BYTES * 2, "{left} of {full} bytes are left");
        drop(node.dir);
    }

    #[tokio::test]
    async fn what_a_reader_holds_on_to_comes_back_later() {
        let mut node = Node::new();
        node.overwrite(2).await;
        let held = node.replica.pin(Space::User, 2);
        node.compact();
        assert!(node.reclaimer.pass(false).await.expect("a pass"), "behind");
        let row = |main| crate::core::effects::revision_key(main, 0);
        let stored = |node: &Node, main| {
            let table = Space::User.table().name();
            node.store().get(table, &row(main)).expect("a read")
        };
        assert!(stored(&node, 2).is_some());
        drop(held);
        assert!(!node.reclaimer.pass(false).await.expect("a pass"));
        assert!(stored(&node, 2).is_none());
    }

    #[tokio::test]
    async fn defragmenting_returns_when_the_space_is_back() {
        let mut node = Node::new();
        node.overwrite(ROUNDS).await;
        node.compact();
        let reclaimer = node.reclaimer.clone();
        reclaimer.defragment().await.expect("a pass");
        let left = bytes(&node.store());
        assert!(left < LIVE_BYTES * 2, "{left} bytes are left");
    }

    #[tokio::test]
    async fn no_room_for_a_copy_is_said_and_nothing_happens() {
        let mut node = Node::new();
        node.overwrite(1).await;
        let full = Reclaimer::new(
            node.replica.clone(),
            disk::real(),
            node.dir.path().to_path_buf(),
            u64::MAX,
        );
        assert_eq!(full.defragment().await, Err(Error::NoSpace));
    }

    #[test]
    fn a_table_is_rewritten_when_enough_was_deleted_in_it() {
        assert!(!pays(0, 0));
        assert!(pays(1, 2));
        assert!(!pays(1, 3));
    }
}
