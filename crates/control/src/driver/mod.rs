//! Owns the core and moves bytes between it, the journal, the peers and the watchers.
//!
//! One write's way: [`control`] → [`propose`] → `log` → journal and peers → `log` →
//! [`replica`] → core → watchers, waiters → [`control`]. One read's way: [`control`] →
//! [`barrier`] → [`replica`] → core and store → [`control`].

pub mod backup;
pub(crate) mod barrier;
pub mod control;
pub(crate) mod flush;
pub mod generations;
pub(crate) mod history;
pub(crate) mod housekeeping;
pub(crate) mod leases;
pub(crate) mod members;
pub(crate) mod passwords;
pub(crate) mod propose;
pub mod recovery;
pub mod replica;
pub(crate) mod services;
pub mod tokens;
pub mod watch;

use crate::proto::internal::{Identity, System, identity::Who};

/// The identity of the cluster itself.
pub fn system_identity() -> Identity {
    Identity {
        who: Some(Who::System(System {})),
    }
}

/// Which revision was current how long ago, for compaction by age.
#[derive(Default)]
pub(crate) struct AutoCompactionClock {
    seen: std::collections::VecDeque<(atoll_world::clock::Instant, i64)>,
}

impl AutoCompactionClock {
    /// Notes the present revision; answers the newest one that was current `age` ago.
    fn revision_before(
        &mut self,
        now: atoll_world::clock::Instant,
        revision: i64,
        age: std::time::Duration,
    ) -> Option<i64> {
        self.seen.push_back((now, revision));
        let mut old = None;
        while let Some((at, revision)) = self.seen.front().copied() {
            if now.duration_since(at) < age {
                break;
            }
            old = Some(revision);
            self.seen.pop_front();
        }
        old
    }
}
