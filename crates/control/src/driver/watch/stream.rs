//! One client's stream of watches.

use std::{pin::Pin, sync::Arc, time::Duration};

use atoll_world::{clock, random, task};
use parking_lot::MutexGuard;
use tokio::sync::Notify;

use super::{History, HistoryChunk, HistoryError, PROGRESS_INTERVAL_MIN, Shared, State};
use crate::{
    core::{
        Space,
        error::Error,
        watch::{
            Delivery, Parts, ReadEnd, STREAM_REPLIES_READ_AHEAD, Step, StreamSlot, is_create,
            to_response,
        },
    },
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::Event,
    },
};

/// Says whether a client may watch a key (or from it to a range end, in the API's notation).
pub type Permit = Box<dyn Fn(&[u8], &[u8]) -> Result<(), Error> + Send + Sync>;

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
    pub(super) fn new(
        shared: Arc<Shared>,
        slot: StreamSlot,
        bell: Arc<Notify>,
        permit: Permit,
    ) -> Self {
        WatchStream {
            shared,
            slot,
            bell,
            permit,
            progress_at: None,
            parts: None,
            work: None,
        }
    }

    /// From now on the client may watch what `permit` allows. Watches that exist stay.
    pub fn set_permit(&mut self, permit: Permit) {
        self.permit = permit;
    }

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

    fn answerable(&self) -> Result<MutexGuard<'_, State>, Error> {
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
