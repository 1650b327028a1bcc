//! The Raft log, kept in a journal of `world`.
//!
//! Every change of the log is one journal record: an entry, a vote, a cut at the end
//! (`truncated_after`), a cut at the front (`purged`). Replaying the records in order gives
//! the log. An index of where each entry lies is in memory, and so are the newest entries
//! themselves, up to a bound; older ones are read back from the journal. That index is [`index`].
//!
//! Invariants: entries are contiguous; the first one follows the purged log id; a vote never
//! goes backwards; `flushed` is never ahead of the disk.

mod index;
#[cfg(test)]
mod tests;

use std::{fmt::Debug, io, ops::RangeBounds, path::PathBuf, sync::Arc};

use atoll_world::{
    disk::Disk,
    journal::{Journal, JournalError, Options, Position, Recovery},
};
use bytes::Bytes;
use openraft::{
    EntryPayload, OptionalSend,
    entry::RaftEntry as _,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use parking_lot::Mutex;

use self::index::Index;
use super::types::{self, Entry, LogId, StoredMembership, Types, Vote};
use crate::proto::raft::{self as pb, record::Kind};

/// How much one read of the log hands to replication, in bytes; fits a peer message.
const READ_BYTES_MAX: usize = 4 << 20;

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal itself is unreadable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal reads well, but the log in it does not begin where it says that it was cut.
    #[error(
        "the log begins with entry {first}, but the entries before it were never given up: \
         segments at the front of the journal are missing"
    )]
    Headless {
        /// Index of the first entry there is.
        first: u64,
    },
}

/// A handle on the log; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    journal: Journal,
    state: Mutex<Index>,
}

fn to_io(error: JournalError) -> io::Error {
    match error {
        JournalError::NoSpace { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
        other => io::Error::other(other),
    }
}

impl LogStore {
    /// Opens the log in `dir`, replaying what the journal holds.
    ///
    /// # Errors
    /// The journal is damaged, of a newer version, or holds something that is not a log.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
    ) -> Result<(LogStore, Recovery), OpenError> {
        let mut state = Index::default();
        let (journal, recovery) = Journal::open(
            disk,
            dir,
            options,
            &mut |sequence, position, bytes: Bytes| {
                let length = bytes.len();
                types::decode_record(bytes)
                    .and_then(|kind| state.replay(position, kind, length))
                    .map_err(|error| JournalError::Refused {
                        sequence,
                        reason: error.to_string(),
                    })
            },
        )?;
        if !state.is_whole() {
            let first = state.first_index();
            return Err(OpenError::Headless { first });
        }
        state.replayed();
        Ok((
            LogStore {
                inner: Arc::new(Inner {
                    journal,
                    state: Mutex::new(state),
                }),
            },
            recovery,
        ))
    }

    /// The vote this node stands by, if it is on disk and no other is on its way there.
    pub(crate) fn persisted_vote(&self) -> Option<Vote> {
        let state = self.inner.state.lock();
        state
            .vote
            .as_ref()
            .map(|(vote, _)| *vote)
            .filter(|vote| state.persisted_vote.as_ref() == Some(vote))
    }

    /// The last entry, in the journal or cut off its front.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.inner.state.lock().last().cloned()
    }

    /// The newest membership in the entries that the journal holds.
    ///
    /// # Errors
    /// An entry cannot be read back.
    pub(crate) fn newest_membership(&self) -> Result<Option<StoredMembership>, io::Error> {
        let first = self.inner.state.lock().first_index();
        let end = self.last().map_or(0, |id| id.index + 1);
        for index in (first..end).rev() {
            for entry in self.read(index, index + 1, usize::MAX)? {
                if let EntryPayload::Membership(members) = &entry.payload {
                    let members = members.clone();
                    return Ok(Some(StoredMembership::new(Some(entry.log_id()), members)));
                }
            }
        }
        Ok(None)
    }

    /// Votes and appends one entry of that vote's term without asking anybody: what the owner
    /// of a log that has lost its majority does to it. Nothing else uses the log meanwhile.
    ///
    /// # Errors
    /// The journal.
    pub(crate) async fn usurp(
        &self,
        vote: Vote,
        begin_after: Option<LogId>,
        entry: Entry,
    ) -> Result<(), io::Error> {
        let cut = begin_after.map(|id| {
            (
                types::encode_record(Kind::Purged(types::log_id_to_proto(&id))),
                id,
            )
        });
        let bytes = types::encode_record(Kind::Entry(types::entry_to_proto(&entry)));
        let length = bytes.len();
        let mut records = vec![types::encode_record(Kind::Vote(types::vote_to_proto(
            &vote,
        )))];
        records.extend(cut.iter().map(|(record, _)| record.clone()));
        records.push(bytes);
        self.write(records, |state, positions| {
            state.vote = Some((vote, positions[0]));
            if let Some((_, id)) = cut {
                state.purge(id, positions[1]);
            }
            state.push(entry, positions[positions.len() - 1], length);
        })
        .await
    }

    /// Whether the entry is in the log and on this node's disk.
    pub(crate) fn has_flushed(&self, id: &LogId) -> bool {
        let state = self.inner.state.lock();
        if state.flushed.as_ref() < Some(id) {
            return false;
        }
        match state.slot(id.index) {
            Some(slot) => slot.id == *id,
            None => state
                .purged
                .as_ref()
                .is_some_and(|(purged, _)| purged.index >= id.index),
        }
    }

    /// Bytes that the journal takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.inner.journal.bytes()
    }

    /// Appends a record and returns where it lies once it is durable.
    async fn write(
        &self,
        records: Vec<Bytes>,
        place: impl FnOnce(&mut Index, &[Position]),
    ) -> Result<(), io::Error> {
        let (done, durable) = tokio::sync::oneshot::channel();
        {
            let mut state = self.inner.state.lock();
            let positions = self
                .inner
                .journal
                .append(records, move |result| {
                    let _ = done.send(result);
                })
                .map_err(to_io)?;
            place(&mut state, &positions);
        }
        durable
            .await
            .map_err(|_| io::Error::other("the journal was closed"))?
            .map_err(to_io)
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, io::Error> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut index = start.max(self.inner.state.lock().first_index());
        while index < end {
            let (entry, position, length) = {
                let state = self.inner.state.lock();
                let Some(slot) = state.slot(index) else { break };
                (slot.entry.clone(), slot.position, slot.bytes)
            };
            bytes += length;
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(match entry {
                Some(entry) => entry,
                None => self.read_back(position)?,
            });
            index += 1;
        }
        Ok(entries)
    }

    fn read_back(&self, position: Position) -> Result<Entry, io::Error> {
        let bytes = self.inner.journal.read(position).map_err(to_io)?;
        match types::decode_record(bytes).map_err(io::Error::other)? {
            Kind::Entry(entry) => types::entry_from_proto(entry).map_err(io::Error::other),
            _ => Err(io::Error::other(format!(
                "the journal has no entry at {position:?}"
            ))),
        }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        use std::ops::Bound;
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.inner.state.lock().vote.as_ref().map(|(vote, _)| *vote))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.inner.state.lock();
        Ok(LogState {
            last_purged_log_id: state.purged.as_ref().map(|(id, _)| *id),
            last_log_id: state.last().cloned(),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let record = types::encode_record(Kind::Vote(types::vote_to_proto(vote)));
        self.write(vec![record], |state, positions| {
            state.vote = Some((*vote, positions[0]))
        })
        .await?;
        self.inner.state.lock().persisted_vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(last) = entries.last().map(|entry| entry.log_id()) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let records: Vec<Bytes> = entries
            .iter()
            .map(|entry| types::encode_record(Kind::Entry(types::entry_to_proto(entry))))
            .collect();
        let lengths: Vec<usize> = records.iter().map(Bytes::len).collect();

        let mut state = self.inner.state.lock();
        let inner = self.inner.clone();
        let positions = self
            .inner
            .journal
            .append(records, move |result| {
                if result.is_ok() {
                    let mut state = inner.state.lock();
                    // The entry may have been cut off again while it was being written.
                    if state.slot(last.index).is_some_and(|slot| slot.id == last) {
                        state.flushed = state.flushed.take().max(Some(last));
                    }
                }
                callback.io_completed(result.map_err(to_io));
            })
            .map_err(to_io)?;
        for ((entry, position), length) in entries.into_iter().zip(positions).zip(lengths) {
            state.push(entry, position, length);
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let id = last_log_id
            .as_ref()
            .map_or_else(pb::LogId::default, types::log_id_to_proto);
        let mut state = self.inner.state.lock();
        // Not synced for its own sake: what is appended next is synced after it, in order.
        self.inner
            .journal
            .append(vec![types::encode_record(Kind::TruncatedAfter(id))], |_| {})
            .map_err(to_io)?;
        state.truncate_after(last_log_id.as_ref());
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        // The vote is written again, so that the segments it was in can be freed.
        let vote = self.inner.state.lock().vote.as_ref().map(|(vote, _)| *vote);
        let mut records = vec![types::encode_record(Kind::Purged(types::log_id_to_proto(
            &log_id,
        )))];
        records
            .extend(vote.map(|vote| types::encode_record(Kind::Vote(types::vote_to_proto(&vote)))));
        self.write(records, |state, positions| {
            state.purge(log_id, positions[0]);
            if let (Some(held), Some(position)) = (state.vote.as_mut(), positions.get(1)) {
                held.1 = *position;
            }
        })
        .await?;
        let oldest = self.inner.state.lock().oldest_needed();
        match oldest {
            Some(position) => self.inner.journal.free_before(position).map_err(to_io),
            None => Ok(()),
        }
    }
}
