//! Between openraft and the replicated state: committed entries go in, snapshots come out.

use std::{io, sync::Arc};

use futures_util::{Stream, StreamExt as _, future::BoxFuture};
use openraft::{
    OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};

use super::{
    snapshot::{Outgoing, SnapshotData, Staged},
    types::{Entry, LogId, SnapshotMeta, StoredMembership, Types},
};

type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotData>;

/// Entries applied in one go, at most; bounds how long readers wait for the lock.
const APPLY_BATCH_MAX: usize = 64;

/// What the log drives: the replicated state of this node. Errors are final: a replica that
/// cannot apply what is committed stops, it does not go on differently.
pub(crate) trait Replica: Send + Sync + 'static {
    /// The last entry applied, and the membership as of it.
    fn applied(&self) -> (Option<LogId>, StoredMembership);

    /// Applies committed entries, in order.
    fn apply(&self, entries: Vec<Entry>) -> Result<(), io::Error>;

    /// Waits while more is applied than written to the store, by too much.
    fn room(&self) -> BoxFuture<'_, Result<(), io::Error>>;

    /// Writes everything applied to the store, syncs it, and answers a view of exactly that.
    fn persist(&self) -> BoxFuture<'_, Result<(SnapshotMeta, Outgoing), io::Error>>;

    /// Replaces the state by a received one.
    fn install(&self, meta: SnapshotMeta, staged: Staged) -> BoxFuture<'_, Result<(), io::Error>>;
}

/// The replica as openraft sees it.
pub(crate) struct Machine {
    pub(crate) replica: Arc<dyn Replica>,
}

/// Builds snapshots beside the running state machine.
pub(crate) struct Builder {
    replica: Arc<dyn Replica>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (meta, outgoing) = self.replica.persist().await?;
        Ok(Snapshot {
            meta,
            snapshot: SnapshotData::Outgoing(outgoing),
        })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok(self.replica.applied())
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut groups = entries.ready_chunks(APPLY_BATCH_MAX);
        while let Some(group) = groups.next().await {
            self.replica.room().await?;
            let mut batch = Vec::with_capacity(group.len());
            let mut responders = Vec::new();
            for item in group {
                let (entry, responder) = item?;
                batch.push(entry);
                responders.extend(responder);
            }
            self.replica.apply(batch)?;
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            replica: self.replica.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        match snapshot {
            SnapshotData::Staged(staged) => self.replica.install(meta.clone(), staged).await,
            // The store is the newest snapshot: there is nothing to go back to.
            SnapshotData::Outgoing(_) => Ok(()),
        }
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if self.replica.applied().0.is_none() {
            return Ok(None);
        }
        let (meta, outgoing) = self.replica.persist().await?;
        Ok(Some(Snapshot {
            meta,
            snapshot: SnapshotData::Outgoing(outgoing),
        }))
    }
}
