//! Which part of the journal the shards of a node still need, and how much of it they leave alone.

use std::sync::Arc;

use atoll_world::journal::{Journal, JournalError, Position as Place};
use parking_lot::Mutex;

/// The journal may grow to one part in so many of what the snapshots take. Each time that it has
/// grown by its length, everything that is written to has to be snapshotted: were its length the
/// same for every amount of data, the disk would have to write the more for each byte the more
/// data there is. So it is some four bytes, and a start has a quarter more to read at most.
const SNAPSHOTS_FRACTION: u64 = 4;

/// What all shards need. Clones are the same.
#[derive(Clone)]
pub(super) struct Needs(Arc<Mutex<State>>);

struct State {
    /// Of each shard, from where on. Nothing is freed until all have said so.
    from: Vec<Place>,
    /// What the snapshots of each shard take.
    snapshot_bytes: Vec<u64>,
    segment_bytes: u64,
    /// The newest segment that anybody wrote to.
    newest_segment: u64,
    /// Segments before this one were freed.
    freed_segment: u64,
    /// Segments before this one are synced.
    reached_segment: u64,
}

impl Needs {
    /// `snapshot_bytes` tells of each shard what its snapshots take.
    pub(super) fn new(snapshot_bytes: Vec<u64>, segment_bytes: u64) -> Needs {
        Needs(Arc::new(Mutex::new(State {
            from: vec![Place::default(); snapshot_bytes.len()],
            snapshot_bytes,
            segment_bytes,
            newest_segment: 0,
            freed_segment: 0,
            reached_segment: 0,
        })))
    }

    /// Somebody wrote to the journal, and this is how far it goes now.
    pub(super) fn wrote(&self, at: Place) {
        let mut state = self.0.lock();
        state.newest_segment = state.newest_segment.max(at.segment);
    }

    /// A shard begins to tell of something here: it needs the journal from here on at least.
    pub(super) fn begins(&self, shard: usize, at: Place) {
        let from = &mut self.0.lock().from[shard];
        *from = (*from).min(at);
    }

    /// All before this segment is synced: somebody heard that something in it was written.
    pub(super) fn reached(&self, segment: u64) {
        let mut state = self.0.lock();
        state.reached_segment = state.reached_segment.max(segment);
    }

    /// The highest segment that anybody heard of so.
    pub(super) fn reached_segment(&self) -> u64 {
        self.0.lock().reached_segment
    }

    /// So much is what a shard's snapshots take now.
    pub(super) fn holds(&self, shard: usize, snapshot_bytes: u64) {
        self.0.lock().snapshot_bytes[shard] = snapshot_bytes;
    }

    /// The first segment that is left alone: at least so many before the newest are.
    pub(super) fn left_alone(&self, segments_kept: u64) -> u64 {
        let state = self.0.lock();
        let snapshot_bytes: u64 = state.snapshot_bytes.iter().sum();
        let share = snapshot_bytes / SNAPSHOTS_FRACTION / state.segment_bytes.max(1);
        state
            .newest_segment
            .saturating_sub(segments_kept.max(share))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_keeps_the_journal_though_its_shard_held_nothing() {
        let place = |segment| Place { segment, offset: 8 };
        let needs = Needs::new(vec![0, 0], 1_000);
        needs.wrote(place(9));
        // The first one holds nothing.
        assert_eq!(needs.tell(0, place(u64::MAX)), None);
        assert_eq!(needs.tell(1, place(1)), Some(place(1)));
        needs.begins(0, place(2));
        assert_eq!(needs.tell(1, place(6)), Some(place(2)));
        assert_eq!(needs.tell(0, place(7)), Some(place(6)));
    }

    #[test]
    fn the_journal_may_grow_with_the_data() {
        const SEGMENT_BYTES: u64 = 1_000;
        let needs = Needs::new(vec![0, 0], SEGMENT_BYTES);
        let (segment, offset) = (100, 0);
        needs.wrote(Place { segment, offset });
        assert_eq!(needs.left_alone(4), 96);
        needs.holds(0, 10 * SEGMENT_BYTES);
        assert_eq!(needs.left_alone(4), 96);
        needs.holds(1, 30 * SEGMENT_BYTES);
        assert_eq!(needs.left_alone(4), 90);
        needs.holds(0, 1_000_000 * SEGMENT_BYTES);
        assert_eq!(needs.left_alone(4), 0);
    }
}
