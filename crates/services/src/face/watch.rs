//! A watch: what a list shows, kept up to date, one JSON line an event (API concepts,
//! "Efficient detection of changes").
//!
//! It is the control plane's own watch of the keys. An event goes to a client whose selectors
//! choose the object before or after it: one that is chosen no more is told as deleted. A client
//! that does not read holds back its own stream only; what it misses it reads from storage, and
//! if that is compacted it hears 410 and lists anew. One who has lost the right hears 403.
//!
//! Many objects may be written in one revision (bindings are). A client that was cut off between
//! two of its events goes on from that revision, so events of a revision that has more than one
//! come again for whoever goes on from there: rather twice than never.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use atoll_control::{
    api::{ControlApi, Watches as _},
    driver::system_identity,
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::{Event, event::EventType},
    },
};
use atoll_world::clock;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};

use super::{identity::Right, render::Rendered, select::Selection};
use crate::{
    core::{
        kinds::Kind,
        status::{Failure, Reason},
    },
    driver::store::{self, Page, Store},
};

/// How often a client that wants bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// So many objects are read at a time for the first events.
const PAGE: i64 = 500;
/// Says in a bookmark that the first events are over.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What is watched, and how it is told.
pub(super) struct Wanted {
    pub(super) kind: &'static Kind,
    pub(super) namespace: Option<String>,
    pub(super) selection: Selection,
    /// From the revision after this one; none: what there is now comes first.
    pub(super) after: Option<i64>,
    /// A bookmark tells when the first events are over.
    pub(super) tells_end_of_initial: bool,
    pub(super) wants_bookmarks: bool,
    pub(super) timeout: Duration,
    pub(super) rendered: Rendered,
}

struct Watch<C: ControlApi> {
    wanted: Wanted,
    store: Store<C>,
    right: Right,
    /// The first events that are still to be read: from this key on.
    initial: Option<Bytes>,
    watches: Option<C::Watches>,
    /// How far the client is told.
    revision: i64,
    /// The revision from which the client goes on, of which it may have seen a part, until its
    /// events were looked at.
    resumed: Option<i64>,
    ready: VecDeque<Bytes>,
    until: clock::Instant,
    bookmark_at: clock::Instant,
    has_ended: bool,
}

/// Begins a watch.
///
/// # Errors
/// Those of the cluster, as far as they show before the first event.
pub(super) async fn begin<C: ControlApi>(
    store: Store<C>,
    wanted: Wanted,
    right: Right,
) -> Result<Body, Failure> {
    let now = clock::now();
    let mut watch = Watch {
        until: now + wanted.timeout,
        bookmark_at: now + BOOKMARK_INTERVAL,
        initial: None,
        watches: None,
        revision: wanted.after.unwrap_or(0),
        resumed: wanted.after.filter(|revision| *revision > 0),
        ready: VecDeque::new(),
        has_ended: false,
        store,
        right,
        wanted,
    };
    match watch.wanted.after {
        None => watch.read_page(None).await?,
        Some(_) => watch.follow().await?,
    }
    Ok(Body::from_stream(stream::unfold(watch, step)))
}

async fn step<C: ControlApi>(
    mut watch: Watch<C>,
) -> Option<(Result<Bytes, std::convert::Infallible>, Watch<C>)> {
    loop {
        if let Some(line) = watch.ready.pop_front() {
            return Some((Ok(line), watch));
        }
        if watch.has_ended {
            return None;
        }
        if let Err(failure) = watch.advance().await {
            watch.tell("ERROR", &failure.to_json());
            watch.has_ended = true;
        }
    }
}

impl<C: ControlApi> Watch<C> {
    /// Waits for the next thing to tell.
    async fn advance(&mut self) -> Result<(), Failure> {
        if clock::now() >= self.until {
            self.has_ended = true;
            return Ok(());
        }
        if let Some(from) = self.initial.take() {
            self.right.check(self.store.control())?;
            return self.read_page(Some(from)).await;
        }
        let Some(watches) = &mut self.watches else {
            return self.follow().await;
        };
        let bookmarks = self.wanted.wants_bookmarks;
        tokio::select! {
            biased;
            news = watches.next() => {
                self.right.check(self.store.control())?;
                self.hear(news).await
            }
            () = clock::sleep_until(self.until) => {
                self.has_ended = true;
                Ok(())
            }
            () = clock::sleep_until(self.bookmark_at), if bookmarks => {
                self.bookmark_at = clock::now() + BOOKMARK_INTERVAL;
                let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                let request = pb::WatchRequest { request_union: Some(ask) };
                watches.request(request).await.map_err(|error| store::failure(&error))
            }
        }
    }

    /// Reads a part of what there is now, as first events.
    async fn read_page(&mut self, from: Option<Bytes>) -> Result<(), Failure> {
        let (kind, namespace) = (self.wanted.kind, self.wanted.namespace.clone());
        let page = self
            .store
            .list(kind, namespace.as_deref(), from, self.revision, PAGE)
            .await?;
        let Page {
            objects,
            next,
            revision,
            ..
        } = page;
        self.revision = revision;
        for stored in objects {
            if self.wanted.selection.chooses(&stored.object) {
                self.tell_object("ADDED", &stored.object);
            }
        }
        self.initial = next;
        if self.initial.is_none() {
            self.follow().await?;
            if self.wanted.tells_end_of_initial {
                self.bookmark(true);
            }
        }
        Ok(())
    }

    /// Begins to follow what changes after what was told.
    async fn follow(&mut self) -> Result<(), Failure> {
        let prefix = store::prefix(self.wanted.kind, self.wanted.namespace.as_deref());
        let create = pb::WatchCreateRequest {
            range_end: store::range_end(&prefix),
            key: prefix.into(),
            start_revision: self.resumed.unwrap_or(self.revision.saturating_add(1)),
            // Where all are shown, what was before a change does not matter.
            prev_kv: !self.wanted.selection.is_everything(),
            ..pb::WatchCreateRequest::default()
        };
        let mut watches = self.store.control().watch(system_identity());
        let request_union = Some(RequestUnion::CreateRequest(create));
        let asked = watches.request(pb::WatchRequest { request_union }).await;
        asked.map_err(|error| store::failure(&error))?;
        self.watches = Some(watches);
        Ok(())
    }

    async fn hear(&mut self, news: pb::WatchResponse) -> Result<(), Failure> {
        if news.canceled {
            if news.compact_revision > 0 {
                if self.resumed.take().is_some() {
                    // What comes after it may be there all the same.
                    self.watches = None;
                    return Ok(());
                }
                let message = format!(
                    "too old resource version: {} ({})",
                    self.revision, news.compact_revision
                );
                return Err(Failure::new(Reason::Expired, message));
            }
            return Err(Failure::new(Reason::ServiceUnavailable, news.cancel_reason));
        }
        let is_progress = news.events.is_empty() && !news.created;
        let events = news.events.iter();
        let values = events.flat_map(|event| event.kv.iter().chain(&event.prev_kv));
        if self.store.is_shut(values) {
            let unlocked = self.store.unlock().await;
            unlocked.map_err(|error| store::failure(&error))?;
        }
        let mut events = news.events;
        if !events.is_empty()
            && let Some(resumed) = self.resumed.take()
        {
            events = unseen(events, resumed);
        }
        for event in events {
            self.hear_event(event).await?;
        }
        if let Some(header) = news.header
            && is_progress
        {
            self.revision = self.revision.max(header.revision);
            self.bookmark(false);
        }
        Ok(())
    }

    async fn hear_event(&mut self, event: Event) -> Result<(), Failure> {
        let is_put = event.r#type() == EventType::Put;
        let Some(kv) = event.kv else { return Ok(()) };
        let revision = kv.mod_revision;
        self.revision = self.revision.max(revision);
        let is_new = is_put && kv.create_revision == revision;
        let is_everything = self.wanted.selection.is_everything();
        if is_everything && is_put {
            let what = if is_new { "ADDED" } else { "MODIFIED" };
            let object = self.store.read_change(kv)?;
            self.tell_object(what, &object);
            return Ok(());
        }
        let before = match event.prev_kv {
            Some(before) => Some(self.store.read_change(before)?),
            None if is_everything => self.store.before(kv.key.clone(), revision).await?,
            None => None,
        };
        if before.is_none() && !is_new {
            // It was compacted meanwhile, so nobody knows whether the client has seen it.
            return Err(Failure::new(
                Reason::Expired,
                "what was before this event is not kept any more",
            ));
        }
        let after = match is_put {
            true => Some(self.store.read_change(kv)?),
            false => None,
        };
        let chosen = |object: &Arc<Value>| self.wanted.selection.chooses(object);
        match (before.filter(chosen), after.filter(chosen)) {
            (None, Some(object)) => self.tell_object("ADDED", &object),
            (Some(_), Some(object)) => self.tell_object("MODIFIED", &object),
            (Some(last), None) => {
                let gone = store::with_revision(Arc::unwrap_or_clone(last), revision);
                self.tell_object("DELETED", &gone);
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn bookmark(&mut self, ends_initial: bool) {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if ends_initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = self.wanted.rendered.bookmark(metadata);
        self.tell("BOOKMARK", &object);
    }

    fn tell_object(&mut self, what: &str, object: &Value) {
        let object = self.wanted.rendered.event(object);
        self.tell(what, &object);
    }

    fn tell(&mut self, what: &str, object: &Value) {
        self.ready.push_back(line(what, object));
    }
}

/// The events that a client which goes on from a revision may not have seen. A revision's events
/// come together.
fn unseen(mut events: Vec<Event>, resumed: i64) -> Vec<Event> {
    let is_of_it = |event: &Event| {
        event
            .kv
            .as_ref()
            .is_some_and(|kv| kv.mod_revision == resumed)
    };
    if events.iter().filter(|event| is_of_it(event)).count() == 1 {
        events.retain(|event| !is_of_it(event));
    }
    events
}

/// An event, as it is sent.
fn line(what: &str, object: &Value) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a> {
        r#type: &'a str,
        object: &'a Value,
    }
    let line = Line {
        r#type: what,
        object,
    };
    let mut line = serde_json::to_vec(&line).expect("JSON in memory can be written");
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn a_revision_of_many_events_comes_again() {
        let after = |resumed: i64, revisions: &[i64]| -> Vec<i64> {
            let event = |mod_revision: &i64| Event {
                kv: Some(KeyValue {
                    mod_revision: *mod_revision,
                    ..KeyValue::default()
                }),
                ..Event::default()
            };
            let events = revisions.iter().map(event).collect();
            let unseen = unseen(events, resumed).into_iter();
            unseen
                .filter_map(|event| Some(event.kv?.mod_revision))
                .collect()
        };
        assert_eq!(after(5, &[5, 6, 7]), [6, 7]);
        assert_eq!(after(5, &[5, 5, 6]), [5, 5, 6]);
        assert_eq!(after(5, &[6, 6]), [6, 6]);
    }
}
