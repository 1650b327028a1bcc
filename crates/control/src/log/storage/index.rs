//! Which entries the log has and where in the journal each lies, with the newest entries
//! themselves.
//!
//! Pure: it is told what was written, by the running log and by a replay of the journal alike.
//!
//! A replay may begin in the middle of the story: the front of the journal is freed segment by
//! segment as the log is purged. Then records come back that speak of entries which are gone:
//! an old `purged` with a hole behind it, a cut below the first entry there is. Each such hole
//! lies below a `purged` that comes later, since nothing else frees segments;
//! [`Index::is_whole`] says whether it did come.

use std::collections::VecDeque;

use atoll_world::journal::Position;
use openraft::entry::RaftEntry as _;

use crate::{
    log::types::{self, DecodeError, Entry, LogId, Vote},
    proto::raft::record::Kind,
};

/// How much of the newest entries is kept in memory, in bytes of their encoding.
const CACHE_BYTES_MAX: usize = 32 << 20;

#[derive(Default)]
pub(super) struct Index {
    pub(super) vote: Option<(Vote, Position)>,
    /// The vote on disk, unless another is on its way there.
    pub(super) persisted_vote: Option<Vote>,
    pub(super) purged: Option<(LogId, Position)>,
    slots: VecDeque<Slot>,
    /// Slots before this one have lost their cached entry.
    cached_from: usize,
    cached_bytes: usize,
    /// The last entry known to be on disk.
    pub(super) flushed: Option<LogId>,
}

/// One entry of the log.
pub(super) struct Slot {
    pub(super) id: LogId,
    pub(super) position: Position,
    /// Of its encoding.
    pub(super) bytes: usize,
    /// Gone from memory when newer ones needed the room.
    pub(super) entry: Option<Entry>,
}

impl Index {
    /// The first index the log has, or would have.
    pub(super) fn first_index(&self) -> u64 {
        match self.slots.front() {
            Some(slot) => slot.id.index,
            None => self.purged_end(),
        }
    }

    /// The index after what was purged.
    fn purged_end(&self) -> u64 {
        self.purged.as_ref().map_or(0, |(id, _)| id.index + 1)
    }

    /// Whether the entries begin where the purged ones end. Always so in a running log; after a
    /// replay, a journal of which this is not true has lost its front.
    pub(super) fn is_whole(&self) -> bool {
        self.first_index() == self.purged_end()
    }

    pub(super) fn last(&self) -> Option<&LogId> {
        self.slots
            .back()
            .map(|slot| &slot.id)
            .or(self.purged.as_ref().map(|(id, _)| id))
    }

    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.first_index())?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// Adds the entry after the last one.
    pub(super) fn push(&mut self, entry: Entry, position: Position, bytes: usize) {
        let index = entry.log_id().index;
        let expected = self.last().map_or(0, |last| last.index + 1);
        assert_eq!(index, expected, "the log must be contiguous");
        self.add(entry, position, bytes);
    }

    fn add(&mut self, entry: Entry, position: Position, bytes: usize) {
        self.cached_bytes += bytes;
        self.slots.push_back(Slot {
            id: entry.log_id(),
            position,
            bytes,
            entry: Some(entry),
        });
        while self.cached_bytes > CACHE_BYTES_MAX && self.cached_from + 1 < self.slots.len() {
            let slot = &mut self.slots[self.cached_from];
            slot.entry = None;
            self.cached_bytes -= slot.bytes;
            self.cached_from += 1;
        }
    }

    pub(super) fn truncate_after(&mut self, after: Option<&LogId>) {
        let keep = after.map_or(0, |id| (id.index + 1).saturating_sub(self.first_index()));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        while self.slots.len() > keep {
            let slot = self.slots.pop_back().expect("the length was just checked");
            if slot.entry.is_some() {
                self.cached_bytes -= slot.bytes;
            }
        }
        self.cached_from = self.cached_from.min(self.slots.len());
        self.flushed = self.flushed.take().min(self.last().cloned());
    }

    pub(super) fn purge(&mut self, upto: LogId, position: Position) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.id.index <= upto.index)
        {
            let slot = self.slots.pop_front().expect("the front was just seen");
            if slot.entry.is_some() {
                self.cached_bytes -= slot.bytes;
            } else {
                self.cached_from -= 1;
            }
        }
        self.flushed = self.flushed.take().max(Some(upto));
        self.purged = Some((upto, position));
    }

    /// Everything before this position in the journal is no longer needed.
    pub(super) fn oldest_needed(&self) -> Option<Position> {
        let entry = self.slots.front().map(|slot| slot.position);
        let vote = self.vote.as_ref().map(|(_, position)| *position);
        let purged = self.purged.as_ref().map(|(_, position)| *position);
        [entry, vote, purged].into_iter().flatten().min()
    }

    /// Takes in one record of the journal, in the order in which they were written.
    ///
    /// # Errors
    /// The record is none that a log writes there.
    pub(super) fn replay(
        &mut self,
        position: Position,
        kind: Kind,
        bytes: usize,
    ) -> Result<(), DecodeError> {
        match kind {
            Kind::Entry(entry) => {
                let entry = types::entry_from_proto(entry)?;
                let index = entry.log_id().index;
                let follows = match self.slots.back() {
                    Some(last) => index == last.id.index + 1,
                    // What lay between was freed: see the top of this module.
                    None => index >= self.purged_end(),
                };
                if !follows {
                    return Err(DecodeError::Hole {
                        after: self.last().map(|id| id.index),
                        index,
                    });
                }
                self.add(entry, position, bytes);
            }
            Kind::Vote(vote) => self.vote = Some((types::vote_from_proto(Some(vote))?, position)),
            Kind::TruncatedAfter(id) => {
                self.truncate_after(types::log_id_from_proto(Some(id)).as_ref());
            }
            Kind::Purged(id) => self.purge(types::log_id(id.term, id.index), position),
        }
        Ok(())
    }

    /// What a replay ends with: all of it is on disk.
    pub(super) fn replayed(&mut self) {
        self.flushed = self.last().cloned();
        self.persisted_vote = self.vote.as_ref().map(|(vote, _)| *vote);
    }
}
