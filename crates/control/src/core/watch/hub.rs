//! The watchers of a node: made, told, given up.

use std::{mem, sync::Arc};

use super::{
    Limits, NO_WATCH, Stats,
    index::{Index, Keys, WatcherSlot},
    queue::{Delivery, Reply, ReplyKind},
    ring::{Group, Ring},
    slab::Slab,
    watcher::{Stream, Watcher, find_matches},
};
use crate::{
    core::{Space, error::Error},
    proto::{
        etcdserverpb::{WatchCreateRequest, watch_create_request::FilterType},
        mvccpb::Event,
    },
};

const RANGE_EMPTY: &str = "mvcc: watcher range is empty";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

/// Matches whose memory is kept from one revision to the next.
const KEPT_MATCHES_MAX: usize = 16_384;

/// A stream's number in the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamSlot(pub(crate) u32);

/// What a stream has to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send this.
    Reply(Reply),
    /// Send these events, of one watcher, in one response.
    Events(Vec<Delivery>),
    /// Read events from storage, from this revision on, and [`Hub::feed`] them.
    Read(Space, i64),
    /// Nothing, until the stream is woken.
    Idle,
}

/// One keyspace, as far as watchers see it.
#[derive(Debug)]
pub(super) struct SpaceState {
    /// The last revision that was published.
    pub(super) current: i64,
    /// Watchers that need anything before this are canceled.
    pub(super) compact: i64,
    pub(super) ring: Ring,
    pub(super) synced: Index,
}

/// The watchers of a node.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(super) limits: Limits,
    pub(super) spaces: [SpaceState; 2],
    pub(super) streams: Slab<Stream>,
    pub(super) watchers: Slab<Watcher>,
    pub(super) lagging: usize,
    /// Kept between calls for its memory only.
    pub(super) matches: Vec<(WatcherSlot, u32)>,
}

impl Hub {
    /// A hub without watchers, over keyspaces at these (current, compact) revisions, the
    /// users' first.
    pub(crate) fn new(limits: Limits, revisions: [(i64, i64); 2]) -> Self {
        let spaces = revisions.map(|(current, compact)| SpaceState {
            current,
            compact,
            ring: Ring::new(current + 1),
            synced: Index::default(),
        });
        Hub {
            limits,
            spaces,
            streams: Slab::new(),
            watchers: Slab::new(),
            lagging: 0,
            matches: Vec::new(),
        }
    }

    /// Opens a stream.
    pub(crate) fn open(&mut self) -> StreamSlot {
        StreamSlot(self.streams.insert(Stream::default()))
    }

    /// Closes a stream and forgets its watchers.
    pub(crate) fn close(&mut self, stream: StreamSlot) {
        let slots: Vec<_> = self.stream(stream).watchers.values().copied().collect();
        for slot in slots {
            self.remove(slot);
        }
        self.streams.remove(stream.0);
    }

    /// Handles a request for a watcher; `permitted` says whether the client may have it.
    pub(crate) fn create(
        &mut self,
        stream: StreamSlot,
        request: &WatchCreateRequest,
        permitted: Result<(), Error>,
    ) {
        let space = Space::of(&request.key);
        let reply = match self.try_create(stream, space, request, permitted) {
            Ok(id) => (id, ReplyKind::Created),
            Err(reason) => (NO_WATCH, ReplyKind::Refused(reason)),
        };
        self.reply(stream, space, reply);
    }

    fn try_create(
        &mut self,
        stream: StreamSlot,
        space: Space,
        request: &WatchCreateRequest,
        permitted: Result<(), Error>,
    ) -> Result<i64, String> {
        if request.start_revision < 0 {
            return Err(Error::Compacted.text().to_owned());
        }
        permitted.map_err(denial)?;
        let keys = Keys::parse(&request.key, &request.range_end).ok_or(RANGE_EMPTY)?;
        let key_bytes = self.stream(stream).key_bytes + keys.key_bytes();
        if self.stream(stream).watchers.len() >= self.limits.stream_watchers_max
            || key_bytes > self.limits.stream_key_bytes_max
        {
            return Err(Error::LimitExceeded.text().to_owned());
        }
        let id = self.choose_id(stream, request.watch_id)?;
        let has = |filter: FilterType| request.filters().any(|it| it == filter);
        let current = self.space(space).current;
        let is_synced = request.start_revision == 0 || request.start_revision > current;
        let next_revision = if is_synced {
            request.start_revision.max(current + 1)
        } else {
            request.start_revision
        };
        let slot = WatcherSlot(self.watchers.insert(Watcher {
            keys,
            id,
            next_revision,
            start_revision: request.start_revision,
            stream,
            space,
            is_lagging: false,
            no_put: has(FilterType::Noput),
            no_delete: has(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            is_idle: true,
        }));
        self.stream_mut(stream).watchers.insert(id, slot);
        self.stream_mut(stream).key_bytes = key_bytes;
        if is_synced {
            self.enter_synced(slot);
        } else {
            self.enter_lagging(slot, next_revision);
        }
        Ok(id)
    }

    fn choose_id(&mut self, stream: StreamSlot, wanted: i64) -> Result<i64, &'static str> {
        let stream = self.stream_mut(stream);
        if wanted != 0 {
            let is_taken = stream.watchers.contains_key(&wanted);
            return if is_taken {
                Err(DUPLICATE_ID)
            } else {
                Ok(wanted)
            };
        }
        while stream.watchers.contains_key(&stream.next_id) {
            stream.next_id += 1;
        }
        stream.next_id += 1;
        Ok(stream.next_id - 1)
    }

    /// Handles a request to give a watcher up. An unknown one is not answered, as in etcd.
    pub(crate) fn cancel(&mut self, stream: StreamSlot, id: i64) {
        if let Some(&slot) = self.stream(stream).watchers.get(&id) {
            let watcher = self.remove(slot);
            self.reply(stream, watcher.space, (id, ReplyKind::Canceled));
        }
    }

    /// Tells of a new revision. Adds the streams that have something to do and had nothing
    /// before to `wakes`.
    ///
    /// # Panics
    /// If revisions do not come in order: that would lose events.
    pub(crate) fn publish(
        &mut self,
        space: Space,
        revision: i64,
        events: Arc<[Event]>,
        wakes: &mut Vec<StreamSlot>,
    ) {
        let state = &mut self.spaces[space as usize];
        assert!(
            revision > state.current,
            "revision {revision} of {space:?} was published after {}",
            state.current
        );
        state.current = revision;
        let group = Group::new(revision, events);
        let matches = mem::take(&mut self.matches);
        let matches = find_matches(matches, &state.synced, &self.watchers, &group, i64::MIN);
        for run in matches.chunk_by(|a, b| a.0 == b.0) {
            let slot = run[0].0;
            let stream = self.watcher(slot).stream;
            let was_empty = self.stream(stream).queue.is_empty();
            if self.offer(slot, &group, run) {
                self.watcher_mut(slot).next_revision = revision + 1;
            } else {
                self.leave_synced(slot);
                self.enter_lagging(slot, revision);
            }
            if was_empty {
                wakes.push(stream);
            }
        }
        let (revisions_max, bytes_max) =
            (self.limits.ring_revisions_max, self.limits.ring_bytes_max);
        self.space_mut(space)
            .ring
            .push(group, revisions_max, bytes_max);
        self.keep_for_reuse(matches);
    }

    /// Gives the memory of matches back if it has grown unusually large.
    pub(super) fn keep_for_reuse(&mut self, mut matches: Vec<(WatcherSlot, u32)>) {
        matches.clear();
        matches.shrink_to(KEPT_MATCHES_MAX);
        self.matches = matches;
    }

    /// Tells that everything before `revision` may be gone from storage. Watchers that still
    /// need it are canceled when their turn comes.
    pub(crate) fn compacted(&mut self, space: Space, revision: i64) {
        let state = self.space_mut(space);
        state.compact = state.compact.max(revision);
        state.ring.forget_before(revision);
    }

    /// Tells that a keyspace was replaced by a later state of itself (a snapshot): revisions up
    /// to `current` were not published, and are only in storage.
    pub(crate) fn restored(
        &mut self,
        space: Space,
        (current, compact): (i64, i64),
        wakes: &mut Vec<StreamSlot>,
    ) {
        let before = self.space(space).current;
        assert!(
            current >= before,
            "{space:?} went back from revision {before} to {current}"
        );
        let state = self.space_mut(space);
        state.current = current;
        state.compact = state.compact.max(compact);
        state.ring = Ring::new(current + 1);
        let synced = |watcher: &Watcher| watcher.space == space && !watcher.is_lagging;
        let slots: Vec<_> = self
            .watchers
            .iter()
            .filter(|(_, it)| synced(it))
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots.into_iter().map(WatcherSlot) {
            let next_revision = self.watcher(slot).next_revision.max(before + 1);
            if next_revision <= current {
                self.leave_synced(slot);
                self.enter_lagging(slot, next_revision);
                wakes.push(self.watcher(slot).stream);
            }
        }
        wakes.sort_unstable();
        wakes.dedup();
    }

    /// How much is held.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            lagging: self.lagging,
            ring_revisions: self.spaces.iter().map(|space| space.ring.len()).sum(),
            ring_bytes: self.spaces.iter().map(|space| space.ring.bytes()).sum(),
            queued_bytes: self
                .streams
                .iter()
                .map(|(_, stream)| stream.queue.bytes())
                .sum(),
        }
    }

    /// Answers without events that wait in the stream.
    pub(crate) fn replies(&self, stream: StreamSlot) -> usize {
        self.stream(stream).queue.replies()
    }

    pub(super) fn reply(
        &mut self,
        stream: StreamSlot,
        space: Space,
        (watch_id, kind): (i64, ReplyKind),
    ) {
        let revision = self.space(space).current;
        self.stream_mut(stream).queue.push_reply(Reply {
            watch_id,
            revision,
            kind,
        });
    }

    pub(super) fn space(&self, space: Space) -> &SpaceState {
        &self.spaces[space as usize]
    }

    pub(super) fn space_mut(&mut self, space: Space) -> &mut SpaceState {
        &mut self.spaces[space as usize]
    }

    pub(super) fn stream(&self, stream: StreamSlot) -> &Stream {
        self.streams.get(stream.0).expect("the stream is open")
    }

    pub(super) fn stream_mut(&mut self, stream: StreamSlot) -> &mut Stream {
        self.streams.get_mut(stream.0).expect("the stream is open")
    }

    pub(super) fn watcher(&self, slot: WatcherSlot) -> &Watcher {
        self.watchers.get(slot.0).expect("the watcher exists")
    }

    pub(super) fn watcher_mut(&mut self, slot: WatcherSlot) -> &mut Watcher {
        self.watchers.get_mut(slot.0).expect("the watcher exists")
    }
}

/// etcd's text for a watcher that may not be made: that of a gRPC status in Go.
fn denial(error: Error) -> String {
    let error = match error {
        Error::InvalidAuthToken | Error::AuthOldRevision | Error::UserEmpty => error,
        _ => Error::PermissionDenied,
    };
    format!(
        "rpc error: code = {:?} desc = {}",
        error.code(),
        error.text()
    )
}
