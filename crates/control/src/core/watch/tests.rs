//! Tests of the pure part; each file has one subject.

mod cost;
mod index;
mod model;
mod stories;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::{
    core::{Space, error::Error},
    proto::{
        etcdserverpb::{WatchCreateRequest, WatchResponse},
        mvccpb::{Event, KeyValue, event::EventType},
    },
};

/// A put of `key`, its first if `create`.
fn put(revision: i64, key: &str, create: bool) -> Event {
    Event {
        r#type: EventType::Put as i32,
        kv: Some(KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            create_revision: if create { revision } else { 1 },
            mod_revision: revision,
            version: 1,
            value: Bytes::from(format!("{key}@{revision}")),
            lease: 0,
        }),
        prev_kv: None,
    }
}

fn delete(revision: i64, key: &str) -> Event {
    Event {
        r#type: EventType::Delete as i32,
        kv: Some(KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            mod_revision: revision,
            ..KeyValue::default()
        }),
        prev_kv: None,
    }
}

fn create(key: &str, range_end: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(range_end.as_bytes()),
        start_revision,
        ..WatchCreateRequest::default()
    }
}

/// A fresh keyspace stands at revision 1.
fn hub(limits: Limits) -> Hub {
    Hub::new(limits, [(1, 0), (1, 0)])
}

/// Publishes one revision with a put of each key.
fn publish(hub: &mut Hub, revision: i64, keys: &[&str]) -> Vec<StreamSlot> {
    let events: Arc<[Event]> = keys.iter().map(|key| put(revision, key, false)).collect();
    let mut wakes = Vec::new();
    hub.publish(Space::User, revision, events, &mut wakes);
    wakes
}

/// One response in a line: what it is, then `key@revision` for each event.
fn line(response: &WatchResponse) -> String {
    let mut line = format!("{}", response.watch_id);
    if response.created {
        line += " created";
    }
    if response.canceled {
        line += " canceled";
    }
    if response.compact_revision != 0 {
        line += &format!(" compact={}", response.compact_revision);
    }
    if !response.cancel_reason.is_empty() {
        line += &format!(" ({})", response.cancel_reason);
    }
    if response.events.is_empty() && !response.canceled && !response.created {
        line += " progress";
    }
    if let (true, Some(header)) = (response.events.is_empty(), &response.header) {
        line += &format!(" at {}", header.revision);
    }
    for event in &response.events {
        let kv = event.kv.as_ref().expect("an event names its key");
        let sign = if event.r#type() == EventType::Put {
            ""
        } else {
            "-"
        };
        line += &format!(
            " {sign}{}@{}",
            String::from_utf8_lossy(&kv.key),
            kv.mod_revision
        );
    }
    line
}

/// Everything that the stream gives without a read from storage.
fn drain(hub: &mut Hub, stream: StreamSlot) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match hub.poll(stream) {
            Step::Reply(reply) => lines.push(line(&reply.into())),
            Step::Events(deliveries) => lines.push(line(&to_response(&deliveries))),
            Step::Read(space, from) => {
                lines.push(format!("read {space:?} from {from}"));
                return lines;
            }
            Step::Idle => return lines,
        }
    }
}
