//! Whether this replica's clock is so far ahead that nobody takes what it writes.
//!
//! It may be so now, which others say when they refuse what is sent to them: one may be wrong
//! itself, so more than half of all members have to. Or it was, and its stamps, which never go
//! back, are still ahead of a clock that was set right; then nobody has to say anything. In
//! either case what a client writes would stay here, and might be lost with this replica.

use std::collections::BTreeMap;

use atoll_base::id::ReplicaId;

use super::clock::{Clock, Stamp};
use crate::core::data::Milliseconds;

/// What somebody said counts for so long, in milliseconds: it is said again with every exchange.
const SAID_KEPT_MS: u64 = 10_000;

/// What other members said of this one's clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaints {
    /// When, by this replica's clock, and by how much it is ahead, in milliseconds.
    said: BTreeMap<ReplicaId, (Milliseconds, u64)>,
}

impl Complaints {
    /// A member refused what was sent to it.
    pub(super) fn say(&mut self, member: ReplicaId, ahead_ms: u64, now_ms: Milliseconds) {
        self.said.insert(member, (now_ms, ahead_ms));
    }

    /// A member took what was sent to it.
    pub(super) fn unsay(&mut self, member: ReplicaId) {
        self.said.remove(&member);
    }

    /// Forgets what others than these said.
    pub(super) fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.said.retain(|member, _| is_member(*member));
    }

    /// By how much this replica is ahead, in milliseconds, if that is more than is taken; of so
    /// many members, whose stamps have come to `last` here.
    pub(super) fn ahead_ms(
        &self,
        members: usize,
        last: Stamp,
        now_ms: Milliseconds,
    ) -> Option<u64> {
        if let Err(ahead) = Clock::check(last, now_ms) {
            return Some(ahead.ahead_ms);
        }
        // A clock that was set back makes what was said before look as if it were yet to come.
        let said = self.said.values();
        let recent = said.filter(|(at_ms, _)| now_ms.abs_diff(*at_ms) <= SAID_KEPT_MS);
        let mut said: Vec<u64> = recent.map(|(_, ahead_ms)| *ahead_ms).collect();
        said.sort_unstable();
        (said.len() > members / 2).then(|| said.first().copied())?
    }
}
