//! Which part of the journal the shards of a node still need.

use std::sync::Arc;

use atoll_world::journal::{Journal, JournalError, Position as Place};
use parking_lot::Mutex;

/// What all shards need. Clones are the same.
#[derive(Clone)]
pub(super) struct Needs(Arc<Mutex<State>>);

struct State {
    /// Of each shard, from where on. Nothing is freed until all have said so.
    from: Vec<Place>,
    /// The newest segment that anybody wrote to.
    newest_segment: u64,
    /// Segments before this one were freed.
    freed_segment: u64,
}

impl Needs {
    pub(super) fn new(shards: usize) -> Needs {
        Needs(Arc::new(Mutex::new(State {
            from: vec![Place::default(); shards],
            newest_segment: 0,
            freed_segment: 0,
        })))
    }

    /// Somebody wrote to the journal, and this is how far it goes now.
    pub(super) fn wrote(&self, at: Place) {
        let mut state = self.0.lock();
        state.newest_segment = state.newest_segment.max(at.segment);
    }

    /// The newest segment that anybody wrote to.
    pub(super) fn newest_segment(&self) -> u64 {
        self.0.lock().newest_segment
    }

    /// A shard needs the journal from here on, and nothing before; from where on it is to be
    /// freed, if that is news.
    pub(super) fn tell(&self, shard: usize, from: Place) -> Option<Place> {
        let mut state = self.0.lock();
        state.from[shard] = from;
        let mut oldest = state.from.iter().min().copied().unwrap_or_default();
        oldest.segment = oldest.segment.min(state.newest_segment);
        if oldest.segment <= state.freed_segment {
            return None;
        }
        state.freed_segment = oldest.segment;
        Some(oldest)
    }

    /// Frees the journal's segments before a place, and waits for the disk.
    pub(super) fn free(&self, journal: &Journal, before: Place) -> Result<(), JournalError> {
        let freed = journal.free_before(before);
        if freed.is_err() {
            // The next one who tells has it tried again.
            self.0.lock().freed_segment = 0;
        }
        freed
    }
}
