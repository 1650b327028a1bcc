//! Snapshots on their way from one node to another.
//!
//! The store is the snapshot: it always holds the state as of exactly one entry. Sending one
//! means reading a point-in-time view of the store, chunk by chunk; receiving one means
//! filling a second store beside the current one, which takes its place when it is complete.
//! Nothing of the size of the state is ever in memory.

use std::{ops::Bound, sync::Arc};

use atoll_base::id::NodeId;
use atoll_world::{
    store::{Batch, Store, StoreError, StoreSnapshot},
    task,
};
use bytes::Bytes;
use openraft::type_config::alias::SnapshotOf;

use super::{
    Raft,
    types::{self, DecodeError, Types},
};
use crate::{core::effects::Table, proto::raft as pb};

/// Rows in one chunk, in bytes of keys and values.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// What openraft carries around as a snapshot.
pub(crate) enum SnapshotData {
    /// A view of this node's own store.
    Outgoing(Outgoing),
    /// A store filled by a peer.
    Staged(Staged),
}

/// A point-in-time view of the store, to be sent.
#[derive(Clone)]
pub(crate) struct Outgoing {
    view: Arc<StoreSnapshot>,
    bytes: u64,
}

impl Outgoing {
    pub(crate) fn new(view: StoreSnapshot, bytes: u64) -> Self {
        Outgoing {
            view: Arc::new(view),
            bytes,
        }
    }

    /// About how many bytes the rows take; what is on disk is compressed and has leftovers.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn chunks(self) -> Chunks {
        Chunks {
            view: self.view,
            table: 0,
            after: None,
        }
    }
}

/// Reads a view chunk by chunk.
pub(crate) struct Chunks {
    view: Arc<StoreSnapshot>,
    table: usize,
    after: Option<Bytes>,
}

impl Chunks {
    /// The next rows; none when all were read.
    pub(crate) async fn next(&mut self) -> Result<Vec<pb::Row>, StoreError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES_MAX {
            let Some(table) = Table::ALL.get(self.table).copied() else {
                break;
            };
            let (view, after) = (self.view.clone(), self.after.take());
            let more =
                task::blocking(move || read_rows(&view, table, after, CHUNK_BYTES_MAX - bytes))
                    .await?;
            match more.last() {
                Some(last) => self.after = Some(last.key.clone()),
                None => self.table += 1,
            }
            bytes += more
                .iter()
                .map(|row| row.key.len() + row.value.len())
                .sum::<usize>();
            rows.extend(more);
        }
        Ok(rows)
    }
}

fn read_rows(
    view: &StoreSnapshot,
    table: Table,
    after: Option<Bytes>,
    bytes_max: usize,
) -> Result<Vec<pb::Row>, StoreError> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    for row in view.scan(table.name(), (start, Bound::Unbounded)) {
        let (key, value) = row?;
        bytes += key.len() + value.len();
        rows.push(pb::Row {
            table: table.name().to_owned(),
            key,
            value,
        });
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(rows)
}

/// A store filled by a peer, not yet in use.
pub(crate) struct Staged {
    /// The filled store, synced.
    pub(crate) store: Store,
    /// Which one it is; see [`Staging`].
    pub(crate) generation: u64,
}

/// Makes room for a snapshot beside the current store.
pub(crate) trait Staging: Send + Sync + 'static {
    /// A new, empty store; one made before and not used is deleted.
    fn stage(&self) -> Result<Staged, StoreError>;
}

/// Why a snapshot was not received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("chunk {got} of transfer {transfer:x} came where chunk {expected} was due")]
    OutOfOrder {
        transfer: u64,
        expected: u64,
        got: u64,
    },
    #[error("a row names table {0:?}, which this version does not know")]
    UnknownTable(String),
    #[error("the log refused the snapshot: {0}")]
    Refused(String),
}

/// Fills a store from the chunks of one transfer at a time; a new one replaces an old one.
pub(crate) struct SnapshotReceiver {
    staging: Arc<dyn Staging>,
    // Held across writes to the staged store: chunks come one at a time.
    current: tokio::sync::Mutex<Option<Transfer>>,
}

struct Transfer {
    from: NodeId,
    id: u64,
    next: u64,
    staged: Staged,
}

impl SnapshotReceiver {
    pub(crate) fn new(staging: Arc<dyn Staging>) -> Self {
        SnapshotReceiver {
            staging,
            current: tokio::sync::Mutex::new(None),
        }
    }

    /// Takes one chunk; the last one installs the snapshot.
    pub(crate) async fn receive(
        &self,
        from: NodeId,
        chunk: pb::SnapshotChunk,
        raft: &Raft,
    ) -> Result<pb::SnapshotAck, ReceiveError> {
        let mut current = self.current.lock().await;
        if chunk.sequence == 0 {
            *current = None;
            let staging = self.staging.clone();
            let staged = task::blocking(move || staging.stage()).await?;
            *current = Some(Transfer {
                from,
                id: chunk.transfer,
                next: 0,
                staged,
            });
        }
        let Some(transfer) = current
            .as_mut()
            .filter(|known| known.from == from && known.id == chunk.transfer)
        else {
            return Err(ReceiveError::OutOfOrder {
                transfer: chunk.transfer,
                expected: 0,
                got: chunk.sequence,
            });
        };
        if transfer.next != chunk.sequence {
            return Err(ReceiveError::OutOfOrder {
                transfer: transfer.id,
                expected: transfer.next,
                got: chunk.sequence,
            });
        }
        transfer.next += 1;
        let batch = batch_of(chunk.rows)?;
        let store = transfer.staged.store.clone();
        let end = chunk.end;
        let last = end.is_some();
        task::blocking(move || {
            store.write(batch)?;
            if last { store.persist() } else { Ok(()) }
        })
        .await?;
        let Some(end) = end else {
            return Ok(pb::SnapshotAck {
                accepted: true,
                vote: None,
            });
        };
        let Transfer { staged, .. } = current.take().expect("the transfer was just used");
        install(end, staged, raft).await
    }
}

pub(crate) fn batch_of(rows: Vec<pb::Row>) -> Result<Batch, ReceiveError> {
    let mut batch = Batch::default();
    for row in rows {
        let known = Table::ALL
            .into_iter()
            .find(|table| table.name() == row.table);
        let table = known.ok_or(ReceiveError::UnknownTable(row.table))?;
        batch.put(table.name(), row.key, row.value);
    }
    Ok(batch)
}

async fn install(
    end: pb::SnapshotEnd,
    staged: Staged,
    raft: &Raft,
) -> Result<pb::SnapshotAck, ReceiveError> {
    let vote = types::vote_from_proto(end.vote)?;
    let meta = end.meta.ok_or(DecodeError::Missing("snapshot meta"))?;
    let meta = types::applied_from_proto(meta)?;
    let snapshot = SnapshotOf::<Types, SnapshotData> {
        meta,
        snapshot: SnapshotData::Staged(staged),
    };
    let answer = raft
        .install_full_snapshot(vote, snapshot)
        .await
        .map_err(|fatal| ReceiveError::Refused(fatal.to_string()))?;
    Ok(pb::SnapshotAck {
        accepted: true,
        vote: Some(types::vote_to_proto(&answer.vote)),
    })
}
