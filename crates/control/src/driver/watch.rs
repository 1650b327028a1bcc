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

use std::{pin::Pin, sync::Arc, time::Duration};

use atoll_world::{clock, random, task};
use parking_lot::Mutex;
use thiserror::Error as ThisError;
use tokio::sync::{Notify, Semaphore};

pub use crate::core::watch::{Limits, Stats};
use crate::{
    core::{
        Space,
        error::Error,
        watch::{
            Delivery, Hub, Parts, ReadEnd, STREAM_REPLIES_READ_AHEAD, Step, StreamSlot, is_create,
            to_response,
        },
    },
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::{Event, KeyValue},
    },
};

#[cfg(test)]
mod tests;

/// How often an idle watcher that asked for it is told how far it is, unless configured.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// A shorter interval is raised to this.
pub const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Bytes of events after which one read from storage stops.
pub const HISTORY_READ_BYTES_MAX: usize = 1 << 20;
/// Reads from storage at the same time, for all streams of a node.
pub const HISTORY_READS_MAX: usize = 4;

/// The events that storage still has.
///
/// Called on threads that may block, except for the two revisions.
pub trait History: Send + Sync + 'static {
    /// The events of every revision from `from_revision` on that changed something, in order,
    /// until they exceed `bytes_max` (at least one revision) or the current revision is
    /// reached. Never a part of a revision.
    ///
    /// # Errors
    /// `Compacted` when `from_revision` is before the compact revision.
    fn read(
        &self,
        space: Space,
        from_revision: i64,
        bytes_max: usize,
    ) -> Result<HistoryChunk, HistoryError>;

    /// What `key` held just before `before_revision`; none if it did not exist, or that has
    /// been compacted.
    fn previous(&self, space: Space, key: &[u8], before_revision: i64) -> Option<KeyValue>;

    /// The revision that was applied last.
    fn current_revision(&self, space: Space) -> i64;

    /// The oldest revision from which events can still be read; 0 before any compaction.
    fn compact_revision(&self, space: Space) -> i64;
}

/// Some revisions, with their events.
#[derive(Clone, Debug, Default)]
pub struct HistoryChunk {
    /// Revision and events, ascending.
    pub groups: Vec<(i64, Arc<[Event]>)>,
    /// The revision after the last one that was looked at.
    pub next_revision: i64,
}

/// Why events could not be read.
#[derive(Debug, ThisError)]
pub enum HistoryError {
    /// They are before this compact revision.
    #[error("events before revision {0} have been compacted")]
    Compacted(i64),
    /// The store failed.
    #[error("events could not be read")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Says whether a client may watch a key (or from it to a range end, in the API's notation).
pub type Permit = Box<dyn Fn(&[u8], &[u8]) -> Result<(), Error> + Send + Sync>;

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
        WatchStream {
            shared: self.0.clone(),
            slot,
            bell,
            permit,
            progress_at: None,
            parts: None,
            work: None,
        }
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

/// One client's stream of watches. Dropping it gives its watchers up.
pub struct WatchStream {
    shared: Arc<Shared>,
    slot: StreamSlot,
    bell: Arc<Notify>,
    permit: Permit,
    /// When idle watchers are told how far they are; none while no watcher asked for that.
    progress_at: Option<clock::Instant>,
    /// A response that is being handed out.
    parts: Option<Parts>,
    /// A read that was begun.
    work: Option<Pin<Box<dyn Future<Output = Done> + Send + Sync>>>,
}

/// What a read gave.
enum Done {
    Read {
        space: Space,
        from: i64,
        result: Result<HistoryChunk, HistoryError>,
    },
    /// The response with its previous values.
    Filled(pb::WatchResponse, bool),
}

impl WatchStream {
    /// Handles one request of the client. Answers come out of [`WatchStream::next`], also for
    /// what is refused.
    ///
    /// # Errors
    /// `LimitExceeded` when so many answers wait that the stream has to end.
    pub async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Error> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create)?,
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.answerable()?.hub.cancel(self.slot, cancel.watch_id);
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.answerable()?.hub.want_progress(self.slot);
            }
            None => {}
        }
        Ok(())
    }

    /// Whether the client's next request should be read already; if not, hand out responses
    /// first. A client that asks without reading is held back by this.
    pub fn has_room(&self) -> bool {
        self.shared.state.lock().hub.replies(self.slot) < STREAM_REPLIES_READ_AHEAD
    }

    /// The next response for the client (headers filled except cluster and member id and term).
    /// Cancel-safe.
    pub async fn next(&mut self) -> pb::WatchResponse {
        loop {
            if let Some(parts) = &mut self.parts {
                let (part, is_last) = parts.next_part();
                if is_last {
                    self.parts = None;
                }
                return part;
            }
            if let Some(work) = &mut self.work {
                let done = work.as_mut().await;
                self.work = None;
                self.finish(done);
                continue;
            }
            self.tick_if_due();
            let step = self.shared.state.lock().hub.poll(self.slot);
            match step {
                Step::Reply(reply) => return reply.into(),
                Step::Events(deliveries) => self.tell(&deliveries),
                Step::Read(space, from) => self.begin_read(space, from),
                Step::Idle => self.wait().await,
            }
        }
    }

    fn create(&mut self, create: &pb::WatchCreateRequest) -> Result<(), Error> {
        let key = if create.key.is_empty() {
            &b"\0"[..]
        } else {
            &create.key
        };
        let permitted = (self.permit)(key, &create.range_end);
        self.answerable()?.hub.create(self.slot, create, permitted);
        if create.progress_notify && self.progress_at.is_none() {
            self.set_progress_timer();
        }
        Ok(())
    }

    fn answerable(&self) -> Result<parking_lot::MutexGuard<'_, State>, Error> {
        let state = self.shared.state.lock();
        if state.hub.replies(self.slot) >= self.shared.config.limits.stream_replies_max {
            return Err(Error::LimitExceeded);
        }
        Ok(state)
    }

    fn set_progress_timer(&mut self) {
        let interval = self
            .shared
            .config
            .progress_interval
            .max(PROGRESS_INTERVAL_MIN);
        let jitter_ms = u64::try_from(interval.as_millis() / 10)
            .unwrap_or(u64::MAX)
            .max(1);
        let jitter = Duration::from_millis(random::u64() % jitter_ms);
        self.progress_at = Some(clock::now() + interval + jitter);
    }

    fn tick_if_due(&mut self) {
        if self.progress_at.is_some_and(|at| clock::now() >= at) {
            self.shared.state.lock().hub.progress_tick(self.slot);
            self.set_progress_timer();
        }
    }

    async fn wait(&self) {
        match self.progress_at {
            None => self.bell.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = self.bell.notified() => {}
                () = clock::sleep_until(at) => {}
            },
        }
    }

    fn tell(&mut self, deliveries: &[Delivery]) {
        let response = to_response(deliveries);
        let last = deliveries
            .last()
            .expect("a delivery brings at least one revision");
        let lacks = |event: &Event| event.prev_kv.is_none() && !is_create(event);
        if !last.prev_kv || !response.events.iter().any(lacks) {
            return self.hand_out(response, last.fragment);
        }
        let (space, fragment) = (last.space, last.fragment);
        self.begin(move |history| Done::Filled(fill(history, space, response), fragment));
    }

    fn begin_read(&mut self, space: Space, from: i64) {
        let bytes_max = self.shared.config.history_read_bytes_max;
        self.begin(move |history| Done::Read {
            space,
            from,
            result: history.read(space, from, bytes_max),
        });
    }

    fn begin(&mut self, read: impl FnOnce(&dyn History) -> Done + Send + Sync + 'static) {
        let history = self.shared.history.clone();
        let reads = self.shared.reads.clone();
        self.work = Some(Box::pin(async move {
            let _turn = reads
                .acquire()
                .await
                .expect("the semaphore is never closed");
            task::blocking(move || read(&*history)).await
        }));
    }

    fn finish(&mut self, done: Done) {
        let (space, from, result) = match done {
            Done::Filled(response, fragment) => return self.hand_out(response, fragment),
            Done::Read {
                space,
                from,
                result,
            } => (space, from, result),
        };
        let hub = &mut self.shared.state.lock().hub;
        let end = match result {
            Ok(chunk) if chunk.next_revision > from => {
                return hub.feed(self.slot, space, from, chunk.groups, chunk.next_revision);
            }
            Ok(chunk) => {
                let next = chunk.next_revision;
                tracing::error!(
                    ?space,
                    from,
                    next,
                    "the history of a keyspace ends too early"
                );
                ReadEnd::Failed
            }
            Err(HistoryError::Compacted(revision)) => ReadEnd::Compacted(revision),
            Err(HistoryError::Fault(error)) => {
                tracing::error!(?space, from, error, "reading events for watchers failed");
                ReadEnd::Failed
            }
        };
        hub.feed_nothing(self.slot, space, from, end);
    }

    fn hand_out(&mut self, response: pb::WatchResponse, fragment: bool) {
        let bytes_max = match fragment {
            true => self.shared.config.limits.response_bytes_max,
            false => usize::MAX,
        };
        self.parts = Some(Parts::new(response, bytes_max));
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.shared.state.lock().hub.close(self.slot);
    }
}

/// Adds what each key held before.
fn fill(history: &dyn History, space: Space, mut response: pb::WatchResponse) -> pb::WatchResponse {
    for event in &mut response.events {
        if event.prev_kv.is_some() || is_create(event) {
            continue;
        }
        if let Some(kv) = &event.kv {
            event.prev_kv = history.previous(space, &kv.key, kv.mod_revision);
        }
    }
    response
}
