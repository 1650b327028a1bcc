//! Streams as a client sees them, on paused time and a history in memory.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::Message as _;

use atoll_world::{clock, task};

use super::*;
use crate::{
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::{KeyValue, event::EventType},
    },
};

/// Everything that was ever applied to one keyspace; the other one is empty.
#[derive(Default)]
struct MemoryHistory {
    groups: Mutex<BTreeMap<i64, Arc<[Event]>>>,
    compact: Mutex<i64>,
    reads: AtomicUsize,
    breaks: bool,
}

impl History for MemoryHistory {
    fn read(
        &self,
        space: Space,
        from_revision: i64,
        bytes_max: usize,
    ) -> Result<HistoryChunk, HistoryError> {
        assert_eq!(space, Space::User);
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.breaks {
            return Err(HistoryError::Fault("the disk is gone".into()));
        }
        let compact = *self.compact.lock();
        if from_revision < compact {
            return Err(HistoryError::Compacted(compact));
        }
        let mut chunk = HistoryChunk::default();
        let mut bytes = 0;
        for (&revision, events) in self.groups.lock().range(from_revision..) {
            chunk.groups.push((revision, events.clone()));
            chunk.next_revision = revision + 1;
            bytes += events.iter().map(Event::encoded_len).sum::<usize>();
            if bytes > bytes_max {
                break;
            }
        }
        Ok(chunk)
    }

    fn previous(&self, _: Space, key: &[u8], before_revision: i64) -> Option<KeyValue> {
        let groups = self.groups.lock();
        let events = groups
            .range(..before_revision)
            .rev()
            .flat_map(|(_, events)| events.iter());
        let mut of_key = events.filter(|event| event.kv.as_ref().unwrap().key == key);
        let last = of_key.next()?;
        (last.r#type() == EventType::Put).then(|| last.kv.clone())?
    }

    fn current_revision(&self, space: Space) -> i64 {
        let last = self
            .groups
            .lock()
            .last_key_value()
            .map_or(1, |(&revision, _)| revision);
        if space == Space::User { last } else { 1 }
    }

    fn compact_revision(&self, space: Space) -> i64 {
        if space == Space::User {
            *self.compact.lock()
        } else {
            0
        }
    }
}

/// A node that applies puts and publishes them.
struct Node {
    history: Arc<MemoryHistory>,
    hub: WatchHub,
}

impl Node {
    fn new(config: WatchConfig) -> Self {
        Node::over(Arc::default(), config)
    }

    fn over(history: Arc<MemoryHistory>, config: WatchConfig) -> Self {
        let hub = WatchHub::new(history.clone(), config);
        Node { history, hub }
    }

    /// Applies one revision: keys that begin with '-' are deleted.
    fn apply(&self, keys: &[&str]) -> i64 {
        let revision = self.store(keys);
        let events = self.history.groups.lock()[&revision].clone();
        self.hub.publish(Space::User, revision, events);
        revision
    }

    fn store(&self, keys: &[&str]) -> i64 {
        let revision = self.history.current_revision(Space::User) + 1;
        let events = keys.iter().map(|key| {
            let name = key.trim_start_matches('-');
            let is_delete = name != *key;
            let before = self
                .history
                .previous(Space::User, name.as_bytes(), revision);
            let create_revision = before.map_or(revision, |kv| kv.create_revision);
            Event {
                r#type: i32::from(is_delete),
                kv: Some(KeyValue {
                    key: Bytes::copy_from_slice(name.as_bytes()),
                    create_revision: if is_delete { 0 } else { create_revision },
                    mod_revision: revision,
                    value: Bytes::from(if is_delete { vec![] } else { vec![b'v'; 100] }),
                    ..KeyValue::default()
                }),
                prev_kv: None,
            }
        });
        let events = events.collect();
        self.history.groups.lock().insert(revision, events);
        revision
    }

    fn compact(&self, revision: i64) {
        *self.history.compact.lock() = revision;
        self.hub.compacted(Space::User, revision);
    }

    fn stream(&self) -> WatchStream {
        self.hub.stream(Box::new(|_, _| Ok(())))
    }
}

fn prefix(key: &str, start_revision: i64) -> pb::WatchCreateRequest {
    let mut range_end = key.as_bytes().to_vec();
    *range_end.last_mut().unwrap() += 1;
    pb::WatchCreateRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: range_end.into(),
        start_revision,
        ..pb::WatchCreateRequest::default()
    }
}

async fn create(stream: &mut WatchStream, request: pb::WatchCreateRequest) {
    let request = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(request)),
    };
    stream.request(request).await.unwrap();
}

async fn ask_progress(stream: &mut WatchStream) -> Result<(), Error> {
    let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    stream
        .request(pb::WatchRequest {
            request_union: Some(progress),
        })
        .await
}

fn revision(response: &pb::WatchResponse) -> i64 {
    response.header.as_ref().unwrap().revision
}

/// The revisions of the response's events.
fn told(response: &pb::WatchResponse) -> Vec<i64> {
    response
        .events
        .iter()
        .map(|event| event.kv.as_ref().unwrap().mod_revision)
        .collect()
}

/// Reads until this many events have come.
async fn take(stream: &mut WatchStream, events: usize) -> Vec<i64> {
    let mut all = Vec::new();
    while all.len() < events {
        all.extend(told(&stream.next().await));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_is_woken_by_what_is_applied() {
    let node = Node::new(WatchConfig::default());
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 0)).await;
    let created = stream.next().await;
    assert!(created.created && created.watch_id == 0 && revision(&created) == 1);
    assert!(stream.next().now_or_never().is_none());
    let waiting = task::spawn(async move { stream.next().await });
    task::yield_now().await;
    node.apply(&["b"]);
    node.apply(&["a1", "a2"]);
    assert_eq!(told(&waiting.await.unwrap()), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_past_is_read_from_storage_in_chunks() {
    let before = Node::new(WatchConfig::default());
    for _ in 0..50 {
        before.store(&["a"]);
    }
    let config = WatchConfig {
        history_read_bytes_max: 1_000,
        ..WatchConfig::default()
    };
    let node = Node::over(before.history, config);
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 2)).await;
    node.apply(&["a"]);
    assert_eq!(take(&mut stream, 51).await, (2..=52).collect::<Vec<_>>());
    assert!(node.history.reads.load(Ordering::Relaxed) > 3);
    assert_eq!(node.hub.stats().lagging, 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_next_at_any_point_loses_nothing() {
    let limits = Limits {
        ring_revisions_max: 3,
        stream_queue_events_max: 2,
        ..Limits::default()
    };
    let node = Node::new(WatchConfig {
        limits,
        ..WatchConfig::default()
    });
    for _ in 0..20 {
        node.apply(&["a"]);
    }
    let mut stream = node.stream();
    create(
        &mut stream,
        pb::WatchCreateRequest {
            prev_kv: true,
            ..prefix("a", 2)
        },
    )
    .await;
    let mut all = Vec::new();
    while all.len() < 40 {
        if let Some(response) = stream.next().now_or_never() {
            all.extend(told(&response));
        }
        if node.history.current_revision(Space::User) < 41 {
            node.apply(&["a"]);
        }
        task::yield_now().await;
    }
    assert_eq!(all, (2..=41).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_compacted_revisions_is_created_then_canceled() {
    let node = Node::new(WatchConfig::default());
    for _ in 0..9 {
        node.apply(&["a"]);
    }
    node.compact(6);
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 5)).await;
    let (created, canceled) = (stream.next().await, stream.next().await);
    assert!(created.created && !created.canceled);
    assert!(canceled.canceled && canceled.compact_revision == 6);
    assert!(canceled.cancel_reason.is_empty() && canceled.watch_id == created.watch_id);
    assert_eq!(node.hub.stats().watchers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_bounded_and_loses_nothing() {
    let limits = Limits {
        ring_revisions_max: 100,
        stream_queue_bytes_max: 32 << 10,
        ..Limits::default()
    };
    let node = Node::new(WatchConfig {
        limits,
        ..WatchConfig::default()
    });
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 0)).await;
    for _ in 0..3_000 {
        node.apply(&["a", "b"]);
    }
    let stats = node.hub.stats();
    assert!(
        stats.queued_bytes <= 32 << 10 && stats.lagging == 1,
        "{stats:?}"
    );
    assert_eq!(
        take(&mut stream, 3_000).await,
        (2..=3_001).collect::<Vec<_>>()
    );
    let stats = node.hub.stats();
    assert_eq!((stats.queued_bytes, stats.lagging), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn storage_that_fails_cancels_and_says_what_to_do() {
    let history = MemoryHistory {
        breaks: true,
        ..MemoryHistory::default()
    };
    history.groups.lock().insert(2, [Event::default()].into());
    let node = Node::over(Arc::new(history), WatchConfig::default());
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 2)).await;
    assert!(stream.next().await.created);
    let canceled = stream.next().await;
    assert!(canceled.canceled && canceled.cancel_reason.contains("watch again"));
}

#[tokio::test(start_paused = true)]
async fn previous_values_come_for_changes_but_not_for_creations() {
    let node = Node::new(WatchConfig::default());
    let mut stream = node.stream();
    create(
        &mut stream,
        pb::WatchCreateRequest {
            prev_kv: true,
            ..prefix("a", 0)
        },
    )
    .await;
    create(&mut stream, prefix("a", 0)).await;
    for keys in [["a"], ["a"], ["-a"]] {
        node.apply(&keys);
    }
    let mut previous = [Vec::new(), Vec::new()];
    for _ in 0..8 {
        let response = stream.next().await;
        let events = response.events.into_iter();
        let before = events.map(|event| event.prev_kv.map(|kv| kv.mod_revision));
        previous[usize::try_from(response.watch_id).unwrap()].extend(before);
    }
    assert_eq!(
        previous,
        [vec![None, Some(2), Some(3)], vec![None, None, None]]
    );
}

#[tokio::test(start_paused = true)]
async fn large_revisions_are_divided_only_if_asked() {
    let limits = Limits {
        response_bytes_max: 500,
        ..Limits::default()
    };
    let node = Node::new(WatchConfig {
        limits,
        ..WatchConfig::default()
    });
    let mut stream = node.stream();
    create(
        &mut stream,
        pb::WatchCreateRequest {
            fragment: true,
            ..prefix("a", 0)
        },
    )
    .await;
    create(&mut stream, prefix("a", 0)).await;
    let keys: Vec<_> = (0..10).map(|at| format!("a{at}")).collect();
    node.apply(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    stream.next().await;
    stream.next().await;
    let mut fragments = Vec::new();
    loop {
        let part = stream.next().await;
        assert!(part.watch_id == 0 && part.encoded_len() < 500 && revision(&part) == 2);
        fragments.push(part.events.len());
        if !part.fragment {
            break;
        }
    }
    assert!(
        fragments.len() > 2 && fragments.iter().sum::<usize>() == 10,
        "{fragments:?}"
    );
    let whole = stream.next().await;
    assert!(whole.watch_id == 1 && whole.events.len() == 10 && !whole.fragment);
}

#[tokio::test(start_paused = true)]
async fn idle_watchers_hear_of_progress_at_the_interval() {
    let interval = Duration::from_secs(10);
    let config = WatchConfig {
        progress_interval: interval,
        ..WatchConfig::default()
    };
    let node = Node::new(config);
    let mut stream = node.stream();
    create(
        &mut stream,
        pb::WatchCreateRequest {
            progress_notify: true,
            ..prefix("a", 0)
        },
    )
    .await;
    stream.next().await;
    node.apply(&["b"]);
    let start = clock::now();
    let progress = stream.next().await;
    assert!(progress.events.is_empty() && progress.watch_id == 0 && revision(&progress) == 2);
    let waited = clock::now() - start;
    assert!(waited >= interval && waited <= interval + interval / 10 + Duration::from_millis(1));
    // What was sent in between is news enough: the next tick is silent.
    node.apply(&["a"]);
    assert_eq!(told(&stream.next().await), [3]);
    let start = clock::now();
    assert!(stream.next().await.events.is_empty());
    assert!(clock::now() - start >= 2 * interval);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_progress_is_answered_behind_the_events() {
    let node = Node::new(WatchConfig::default());
    for _ in 0..5 {
        node.apply(&["a"]);
    }
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 2)).await;
    create(&mut stream, prefix("b", 0)).await;
    ask_progress(&mut stream).await.unwrap();
    assert_eq!(take(&mut stream, 5).await, [2, 3, 4, 5, 6]);
    let progress = stream.next().await;
    assert_eq!(
        (progress.watch_id, revision(&progress)),
        (crate::core::watch::NO_WATCH, 6)
    );
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn each_watch_needs_its_permission() {
    let node = Node::new(WatchConfig::default());
    let mut stream = node.hub.stream(Box::new(|key, range_end| {
        assert_eq!(range_end.len(), 1);
        if key == b"a" {
            Ok(())
        } else {
            Err(Error::PermissionDenied)
        }
    }));
    create(&mut stream, prefix("a", 0)).await;
    create(&mut stream, prefix("b", 0)).await;
    assert!(!stream.next().await.canceled);
    let denied = stream.next().await;
    assert!(denied.created && denied.canceled && denied.watch_id == crate::core::watch::NO_WATCH);
    assert!(
        denied
            .cancel_reason
            .ends_with("etcdserver: permission denied")
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_without_reading_is_held_back_then_ended() {
    let limits = Limits {
        stream_replies_max: 300,
        ..Limits::default()
    };
    let node = Node::new(WatchConfig {
        limits,
        ..WatchConfig::default()
    });
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 0)).await;
    let mut asked = 1;
    while ask_progress(&mut stream).await.is_ok() {
        asked += 1;
        assert_eq!(stream.has_room(), asked < 256);
    }
    assert_eq!(asked, 300);
    stream.next().await;
    assert!(ask_progress(&mut stream).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_wakes_waiting_clients() {
    let node = Node::new(WatchConfig::default());
    let mut stream = node.stream();
    create(&mut stream, prefix("a", 0)).await;
    stream.next().await;
    let waiting = task::spawn(async move { take(&mut stream, 4).await });
    task::yield_now().await;
    for _ in 0..3 {
        node.store(&["a"]);
    }
    node.hub.restored(Space::User);
    node.apply(&["a"]);
    assert_eq!(waiting.await.unwrap(), [2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_leaves_nothing() {
    let node = Node::new(WatchConfig::default());
    let mut first = node.stream();
    create(&mut first, prefix("a", 0)).await;
    let second = node.stream();
    drop(first);
    drop(second);
    let mut third = node.stream();
    create(&mut third, prefix("a", 0)).await;
    assert_eq!(
        (node.hub.stats().streams, node.hub.stats().watchers),
        (1, 1)
    );
    node.apply(&["a"]);
    third.next().await;
    assert_eq!(told(&third.next().await), [2]);
}
