//! Watches: who is told about which revision.
//!
//! The apply loop publishes each revision to the [`WatchHub`]; every client has a
//! [`WatchStream`] that takes its requests and gives its responses. What is told to whom, and
//! in which order, is decided by [`crate::core::watch`]; here are the lock around it, the
//! wake-ups, the timer of a stream and the reads from storage.
//!
//! Invariants: the hub's lock is a leaf (neither [`History`] nor the permission check is called
//! under it), so the apply loop may publish under locks of its own. A response that was begun is
//! kept in the stream until it is handed out, so that dropping [`WatchStream::next`] loses nothing.

mod history;
mod stream;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

pub use self::{
    history::{History, HistoryChunk, HistoryError},
    stream::{Permit, WatchStream},
};
pub use crate::core::watch::{Limits, Stats};
use crate::{
    core::{
        Space,
        watch::{Hub, StreamSlot},
    },
    proto::mvccpb::Event,
};

/// How often an idle watcher that asked for it is told how far it is, unless configured.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// A shorter interval is raised to this.
pub const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Bytes of events after which one read from storage stops.
pub const HISTORY_READ_BYTES_MAX: usize = 1 << 20;
/// Reads from storage at the same time, for all streams of a node.
pub const HISTORY_READS_MAX: usize = 4;

/// How watches behave on this node.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// Bounds of what is held in memory.
    pub limits: Limits,
    /// See [`PROGRESS_INTERVAL`]; up to a tenth is added, so that streams spread.
    pub progress_interval: Duration,
    /// See [`HISTORY_READ_BYTES_MAX`].
    pub history_read_bytes_max: usize,
    /// See [`HISTORY_READS_MAX`].
    pub history_reads_max: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        WatchConfig {
            limits: Limits::default(),
            progress_interval: PROGRESS_INTERVAL,
            history_read_bytes_max: HISTORY_READ_BYTES_MAX,
            history_reads_max: HISTORY_READS_MAX,
        }
    }
}

/// Every watcher on this node. Clones are the same hub.
#[derive(Clone)]
pub struct WatchHub(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    history: Arc<dyn History>,
    reads: Arc<Semaphore>,
    config: WatchConfig,
}

struct State {
    hub: Hub,
    /// By stream slot. A stream waits at its own only.
    bells: Vec<Arc<Notify>>,
}

impl WatchHub {
    /// A hub without watchers, from the history's current revisions on; nothing may be applied
    /// between this call and the first [`WatchHub::publish`] without being published.
    pub fn new(history: Arc<dyn History>, config: WatchConfig) -> Self {
        let revisions = [Space::User, Space::System].map(|space| revisions(&*history, space));
        let state = State {
            hub: Hub::new(config.limits.clone(), revisions),
            bells: Vec::new(),
        };
        let reads = Arc::new(Semaphore::new(config.history_reads_max.max(1)));
        WatchHub(Arc::new(Shared {
            state: Mutex::new(state),
            history,
            reads,
            config,
        }))
    }

    /// Tells of one revision that was applied. Never waits for a client.
    ///
    /// # Panics
    /// If revisions of a keyspace do not ascend.
    pub fn publish(&self, space: Space, revision: i64, events: Arc<[Event]>) {
        self.wake(|hub, wakes| hub.publish(space, revision, events, wakes));
    }

    /// Tells that a keyspace was compacted at `revision`: watchers that still need an earlier
    /// one will be canceled.
    pub fn compacted(&self, space: Space, revision: i64) {
        self.0.state.lock().hub.compacted(space, revision);
    }

    /// Tells that a keyspace was replaced by a later state (an installed snapshot), whose
    /// revisions were not published. Watchers read them from the history.
    ///
    /// # Panics
    /// If the keyspace went back.
    pub fn restored(&self, space: Space) {
        let revisions = revisions(&*self.0.history, space);
        self.wake(|hub, wakes| hub.restored(space, revisions, wakes));
    }

    /// Opens a stream for a client that may watch what `permit` allows.
    pub fn stream(&self, permit: Permit) -> WatchStream {
        let mut state = self.0.state.lock();
        let slot = state.hub.open();
        let bell = Arc::new(Notify::new());
        let at = slot.0 as usize;
        if at < state.bells.len() {
            state.bells[at] = bell.clone();
        } else {
            assert_eq!(
                at,
                state.bells.len(),
                "stream slots are given out without gaps"
            );
            state.bells.push(bell.clone());
        }
        drop(state);
        WatchStream::new(self.0.clone(), slot, bell, permit)
    }

    /// How much is held, for gauges.
    pub fn stats(&self) -> Stats {
        self.0.state.lock().hub.stats()
    }

    fn wake(&self, change: impl FnOnce(&mut Hub, &mut Vec<StreamSlot>)) {
        let mut wakes = Vec::new();
        let mut state = self.0.state.lock();
        change(&mut state.hub, &mut wakes);
        let bells: Vec<_> = wakes
            .into_iter()
            .map(|slot| state.bells[slot.0 as usize].clone())
            .collect();
        drop(state);
        for bell in bells {
            bell.notify_one();
        }
    }
}

fn revisions(history: &dyn History, space: Space) -> (i64, i64) {
    (
        history.current_revision(space),
        history.compact_revision(space),
    )
}
