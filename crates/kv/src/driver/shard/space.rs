//! Room for the journal. Where there is none, what would have to be logged is refused at once, so
//! that nobody waits for a disk that stays full; reads go on. It is refused a little before the
//! journal itself would refuse: what was logged by then, and what the node has to write of its
//! own accord to make room, still fits.

use atoll_world::journal::Options;

use super::Shard;

/// As large a part of a segment is left for what is logged already.
const LEFT_FRACTION: u64 = 4;

/// What a shard knows of the room for its journal.
pub(super) struct Space {
    /// Nothing that anybody asks for is logged where less than this is left.
    left_bytes_min: u64,
    /// The journal refused what is logged already.
    pub(super) is_stuck: bool,
    is_short: bool,
}

impl Space {
    pub(super) fn new(journal: &Options) -> Space {
        Space {
            left_bytes_min: journal.segment_bytes / LEFT_FRACTION,
            is_stuck: false,
            is_short: false,
        }
    }

    /// Whether there is no room.
    pub(super) fn is_short(&self) -> bool {
        self.is_short
    }
}

impl Shard {
    /// Looks whether there is room, before anything is taken on.
    pub(super) fn look_at_space(&mut self) {
        self.eventual.set_behind(self.journal_retry_at_ms.is_some());
        let room = self.journal.has_room(self.space.left_bytes_min);
        // A disk that does not say so is asked again by what is written next.
        let is_short = self.space.is_stuck || !room.unwrap_or(true);
        if self.space.is_short == is_short {
            return;
        }
        self.space.is_short = is_short;
        self.eventual.set_lacks_space(is_short);
        if is_short {
            tracing::error!(
                shard = self.keeping.number(),
                "the journal of hot data has no room: writes are refused until the disk has some"
            );
        } else {
            tracing::info!(
                shard = self.keeping.number(),
                "the journal of hot data has room again"
            );
        }
        self.tell_machines(|machine| machine.set_lacks_space(is_short));
    }
}
