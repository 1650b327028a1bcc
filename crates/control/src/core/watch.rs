//! Watches, the pure part: which watcher is told of which event, in which order, and what is
//! remembered of those that do not keep up.
//!
//! Events of applied revisions flow in through [`Hub::publish`]. They are matched by an index
//! ([`index`]) and put, as shared groups, into the one bounded queue ([`queue`]) of each stream
//! that has a matching watcher. A watcher whose queue is full falls behind ("lagging"): only its
//! next revision is remembered. When the stream drains, [`Hub::poll`] catches it up from the ring
//! of recent revisions ([`ring`]), or asks the driver to read older ones from storage and feeds
//! them through [`Hub::feed`].
//!
//! Invariants:
//! - A watcher is either synced (in its keyspace's index, and everything up to the current
//!   revision has been queued for it) or lagging (in its stream's index and order).
//! - Per watcher, events are queued in the order of revisions, none missing, none twice.
//! - What is queued behind a revision is newer: a progress answer never overtakes an event.
//! - A stream holds at most its queue's limits, plus one group that is larger than they allow.
//!
//! The semantics are those of etcd v3 (its API documentation, "Watch API").

mod catch_up;
mod hub;
mod index;
mod progress;
mod queue;
mod response;
mod ring;
mod slab;
mod watcher;

pub(crate) use catch_up::ReadEnd;
pub(crate) use hub::{Hub, Step, StreamSlot};
pub(crate) use queue::Delivery;
pub(crate) use response::{Parts, is_create, to_response};

#[cfg(test)]
mod tests;

/// The watch id of answers that concern no single watcher.
pub const NO_WATCH: i64 = -1;

/// Revisions that the ring of a keyspace keeps, unless configured.
pub const RING_REVISIONS_MAX: usize = 16_384;
/// Bytes that the ring of a keyspace keeps, unless configured.
pub const RING_BYTES_MAX: u64 = 32 << 20;
/// Undelivered events (one per watcher and revision) that a stream may hold.
pub const STREAM_QUEUE_EVENTS_MAX: usize = 4_096;
/// Bytes that the undelivered events of a stream may pin.
pub const STREAM_QUEUE_BYTES_MAX: u64 = 4 << 20;
/// Answers other than events that may wait in a stream; with more the stream ends. Above
/// [`STREAM_WATCHERS_MAX`], so that a client may make all of its watchers before it reads.
pub const STREAM_REPLIES_MAX: usize = 20_000;
/// With this many answers waiting, no further request should be read from the client.
pub const STREAM_REPLIES_READ_AHEAD: usize = 256;
/// Watchers of one stream.
pub const STREAM_WATCHERS_MAX: usize = 16_384;
/// Bytes that the keys of one stream's watchers may take.
pub const STREAM_KEY_BYTES_MAX: usize = 8 << 20;
/// Size at which the events of one response are split, or no longer gathered: etcd's request
/// limit of 1.5 MiB and its 512 KiB of overhead.
pub const RESPONSE_BYTES_MAX: usize = 2 << 20;

/// The bounds of the watches on one node.
#[derive(Clone, Debug)]
pub struct Limits {
    /// See [`RING_REVISIONS_MAX`].
    pub ring_revisions_max: usize,
    /// See [`RING_BYTES_MAX`].
    pub ring_bytes_max: u64,
    /// See [`STREAM_QUEUE_EVENTS_MAX`].
    pub stream_queue_events_max: usize,
    /// See [`STREAM_QUEUE_BYTES_MAX`].
    pub stream_queue_bytes_max: u64,
    /// See [`STREAM_REPLIES_MAX`].
    pub stream_replies_max: usize,
    /// See [`STREAM_WATCHERS_MAX`].
    pub stream_watchers_max: usize,
    /// See [`STREAM_KEY_BYTES_MAX`].
    pub stream_key_bytes_max: usize,
    /// See [`RESPONSE_BYTES_MAX`].
    pub response_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            ring_revisions_max: RING_REVISIONS_MAX,
            ring_bytes_max: RING_BYTES_MAX,
            stream_queue_events_max: STREAM_QUEUE_EVENTS_MAX,
            stream_queue_bytes_max: STREAM_QUEUE_BYTES_MAX,
            stream_replies_max: STREAM_REPLIES_MAX,
            stream_watchers_max: STREAM_WATCHERS_MAX,
            stream_key_bytes_max: STREAM_KEY_BYTES_MAX,
            response_bytes_max: RESPONSE_BYTES_MAX,
        }
    }
}

/// How much the watches on this node hold, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open streams.
    pub streams: usize,
    /// Watchers on all of them.
    pub watchers: usize,
    /// Those of them that have fallen behind.
    pub lagging: usize,
    /// Revisions in the rings.
    pub ring_revisions: usize,
    /// Bytes in the rings.
    pub ring_bytes: u64,
    /// Bytes that wait in the queues of streams; shared events count once per stream.
    pub queued_bytes: u64,
}
