//! From what was queued to the API's messages.

use prost::{Message, encoding::encoded_len_varint};

use super::queue::{Delivery, Picked, Reply, ReplyKind};
use crate::proto::{
    etcdserverpb::{ResponseHeader, WatchResponse},
    mvccpb::{Event, event::EventType},
};

/// Whether the event made its key.
pub(crate) fn is_create(event: &Event) -> bool {
    event.r#type() == EventType::Put
        && event
            .kv
            .as_ref()
            .is_some_and(|kv| kv.create_revision == kv.mod_revision)
}

/// A header with nothing but the revision.
fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

impl From<Reply> for WatchResponse {
    fn from(reply: Reply) -> Self {
        let mut response = WatchResponse {
            header: header(reply.revision),
            watch_id: reply.watch_id,
            ..WatchResponse::default()
        };
        response.created = matches!(reply.kind, ReplyKind::Created | ReplyKind::Refused(_));
        response.canceled = !matches!(reply.kind, ReplyKind::Created | ReplyKind::Progress);
        match reply.kind {
            ReplyKind::Refused(reason) => response.cancel_reason = reason,
            ReplyKind::Failed(reason) => response.cancel_reason = reason.to_owned(),
            ReplyKind::Compacted(revision) => response.compact_revision = revision,
            ReplyKind::Created | ReplyKind::Canceled | ReplyKind::Progress => {}
        }
        response
    }
}

/// One response with the events of one watcher. Its revision is that of the last event, so
/// that a client which resumes behind it misses nothing.
pub(crate) fn to_response(deliveries: &[Delivery]) -> WatchResponse {
    let last = deliveries
        .last()
        .expect("a delivery brings at least one revision");
    let mut response = WatchResponse {
        header: header(last.group.revision),
        watch_id: last.watch_id,
        ..WatchResponse::default()
    };
    for delivery in deliveries {
        let told = |event: &Event| Event {
            prev_kv: event.prev_kv.clone().filter(|_| delivery.prev_kv),
            r#type: event.r#type,
            kv: event.kv.clone(),
        };
        let events = &delivery.group.events;
        match &delivery.picked {
            Picked::All => response.events.extend(events.iter().map(told)),
            Picked::Some(picked) => {
                let picked = picked.iter().map(|&at| told(&events[at as usize]));
                response.events.extend(picked);
            }
        }
    }
    response
}

/// One response, in parts if it is too large and its watcher asked for that.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Everything but the events.
    envelope: WatchResponse,
    events: std::vec::IntoIter<Event>,
    bytes_max: usize,
}

impl Parts {
    /// Divides a response so that each part stays below `bytes_max`, or has one event only.
    pub(crate) fn new(mut response: WatchResponse, bytes_max: usize) -> Self {
        let events = std::mem::take(&mut response.events).into_iter();
        Parts {
            envelope: response,
            events,
            bytes_max,
        }
    }

    /// The next part and whether it was the last.
    pub(crate) fn next_part(&mut self) -> (WatchResponse, bool) {
        let mut part = self.envelope.clone();
        part.fragment = true;
        let mut bytes = part.encoded_len();
        let rest = self.events.as_slice();
        let fits = rest.iter().take_while(|event| {
            let event_bytes = event.encoded_len();
            bytes += 1 + encoded_len_varint(event_bytes as u64) + event_bytes;
            bytes < self.bytes_max
        });
        let take = fits.count().max(1).min(rest.len());
        part.fragment = take < rest.len();
        part.events = self.events.by_ref().take(take).collect();
        let is_last = !part.fragment;
        (part, is_last)
    }
}
