//! What waits to be sent on one stream, first in, first out.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{Limits, ring::Group};
use crate::core::Space;

/// Fixed part of what a queued delivery costs.
const DELIVERY_BYTES: u64 = size_of::<Item>() as u64;
/// An emptied queue gives its memory back when it has grown beyond this.
const KEPT_ITEMS_MAX: usize = 16;

/// An answer without events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) watch_id: i64,
    /// Where the keyspace stood.
    pub(crate) revision: i64,
    pub(crate) kind: ReplyKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// The watcher exists.
    Created,
    /// The watcher was not made, and why.
    Refused(String),
    /// The client gave it up.
    Canceled,
    /// What it still needed has been compacted away.
    Compacted(i64),
    /// What it still needed could not be read, and what to do.
    Failed(&'static str),
    /// Everything up to the revision has been sent.
    Progress,
}

/// Which events of a group.
#[derive(Clone, Debug)]
pub(crate) enum Picked {
    All,
    Some(SmallVec<[u32; 4]>),
}

/// Events of one revision for one watcher.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) watch_id: i64,
    pub(crate) space: Space,
    pub(crate) prev_kv: bool,
    pub(crate) fragment: bool,
    pub(crate) group: Group,
    pub(crate) picked: Picked,
    /// Size of the picked events on the wire.
    encoded_bytes: u64,
    /// What it counts for in the queue.
    charged_bytes: u64,
}

impl Delivery {
    pub(crate) fn new(watch_id: i64, space: Space, group: &Group, picked: Picked) -> Self {
        let encoded_bytes = match &picked {
            Picked::All => group.encoded_bytes,
            Picked::Some(picked) => {
                let events = picked.iter().map(|&at| &group.events[at as usize]);
                events
                    .map(|event| prost::Message::encoded_len(event) as u64)
                    .sum()
            }
        };
        Delivery {
            watch_id,
            space,
            prev_kv: false,
            fragment: false,
            group: group.clone(),
            picked,
            encoded_bytes,
            charged_bytes: 0,
        }
    }
}

#[derive(Debug)]
enum Item {
    Reply(Reply),
    Events(Delivery),
}

/// What leaves the queue together.
#[derive(Debug)]
pub(crate) enum Popped {
    Reply(Reply),
    /// Events of one watcher, in the order of revisions.
    Events(Vec<Delivery>),
}

/// What waits on one stream.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    replies: usize,
    bytes: u64,
    /// The group that was queued last; its memory is charged once while deliveries of it
    /// follow each other.
    last_group: Option<(Space, i64)>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Answers without events that wait.
    pub(crate) fn replies(&self) -> usize {
        self.replies
    }

    /// Whether at least half of the queue is free.
    pub(crate) fn is_half_empty(&self, limits: &Limits) -> bool {
        self.events() <= limits.stream_queue_events_max / 2
            && self.bytes <= limits.stream_queue_bytes_max / 2
    }

    fn events(&self) -> usize {
        self.items.len() - self.replies
    }

    pub(crate) fn push_reply(&mut self, reply: Reply) {
        self.replies += 1;
        self.items.push_back(Item::Reply(reply));
    }

    /// Queues events if there is room; without any events in the queue there always is, so
    /// that even a revision beyond the limits gets through. Answers whether it did.
    pub(crate) fn offer(&mut self, mut delivery: Delivery, limits: &Limits) -> bool {
        let group = Some((delivery.space, delivery.group.revision));
        let shared_bytes = if self.last_group == group {
            0
        } else {
            delivery.group.pinned_bytes()
        };
        let picked_bytes = match &delivery.picked {
            Picked::Some(picked) if picked.spilled() => picked.len() * size_of::<u32>(),
            _ => 0,
        };
        delivery.charged_bytes = DELIVERY_BYTES + shared_bytes + picked_bytes as u64;
        let bytes = self.bytes + delivery.charged_bytes;
        let has_room = self.events() < limits.stream_queue_events_max
            && bytes <= limits.stream_queue_bytes_max;
        if !has_room && self.events() > 0 {
            return false;
        }
        self.bytes = bytes;
        self.last_group = group;
        self.items.push_back(Item::Events(delivery));
        true
    }

    /// Takes the first answer, or the events at the head that belong to one watcher and fit
    /// into one response together. A revision is never divided.
    pub(crate) fn pop(&mut self, response_bytes_max: usize) -> Option<Popped> {
        let popped = match self.items.pop_front()? {
            Item::Reply(reply) => {
                self.replies -= 1;
                Popped::Reply(reply)
            }
            Item::Events(first) => Popped::Events(self.gather(first, response_bytes_max as u64)),
        };
        if self.items.is_empty() {
            self.last_group = None;
            if self.items.capacity() > KEPT_ITEMS_MAX {
                self.items = VecDeque::new();
            }
        }
        Some(popped)
    }

    fn gather(&mut self, first: Delivery, bytes_max: u64) -> Vec<Delivery> {
        let watch_id = first.watch_id;
        self.bytes -= first.charged_bytes;
        let mut bytes = first.encoded_bytes;
        let mut gathered = vec![first];
        while let Some(Item::Events(next)) = self.items.front()
            && next.watch_id == watch_id
            && bytes + next.encoded_bytes < bytes_max
        {
            bytes += next.encoded_bytes;
            self.bytes -= next.charged_bytes;
            if let Some(Item::Events(next)) = self.items.pop_front() {
                gathered.push(next);
            }
        }
        gathered
    }
}
