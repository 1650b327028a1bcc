//! What many watchers cost.

use super::super::{
    index::{Index, Keys, WatcherSlot},
    watcher::{Stream, Watcher},
};
use super::*;

/// A B-tree's nodes are at least half full, and hold a little more than their entries.
const TREE_OVERHEAD: usize = 2;
/// What an allocator and a shared byte string add to a key's bytes.
const KEY_OVERHEAD_BYTES: usize = 64;

#[test]
fn an_idle_watcher_costs_less_than_a_kibibyte() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    let key_bytes = "registry/pods/default/pod-00000".len();
    for number in 0..10_000 {
        let key = format!("registry/pods/default/pod-{number:05}");
        hub.create(stream, &create(&key, "", 0), Ok(()));
    }
    while !matches!(hub.poll(stream), Step::Idle) {}
    let stats = hub.stats();
    assert_eq!((stats.watchers, stats.queued_bytes), (10_000, 0));

    let in_slab = size_of::<Option<Watcher>>() * 2; // a vector doubles
    let in_index = size_of::<(Bytes, smallvec::SmallVec<[WatcherSlot; 4]>)>() * TREE_OVERHEAD;
    let in_stream = size_of::<(i64, WatcherSlot)>() * TREE_OVERHEAD;
    let watcher_bytes = in_slab + in_index + in_stream + key_bytes + KEY_OVERHEAD_BYTES;
    assert!(
        watcher_bytes < 1024,
        "{watcher_bytes} bytes for one of many on a stream"
    );
    let alone_bytes = watcher_bytes + size_of::<Option<Stream>>() * 2;
    assert!(
        alone_bytes < 1024,
        "{alone_bytes} bytes for one with a stream of its own"
    );
}

#[test]
fn a_revision_touches_only_the_watchers_of_its_keys() {
    let mut index = Index::default();
    for number in 0..10_000 {
        let key = format!("key-{number:05}");
        let (begin, end) = (format!("dir-{number:05}/"), format!("dir-{number:05}0"));
        let one = Keys::parse(key.as_bytes(), b"").unwrap();
        let range = Keys::parse(begin.as_bytes(), end.as_bytes()).unwrap();
        index.insert(&one, WatcherSlot(2 * number));
        index.insert(&range, WatcherSlot(2 * number + 1));
    }
    let mut found = Vec::new();
    let visited = index.lookup(b"key-00700", |slot| found.push(slot));
    assert_eq!(found, [WatcherSlot(1400)]);
    assert!(visited < 100, "{visited} of 10,000 ranges were looked at");
    found.clear();
    let visited = index.lookup(b"dir-00700/file", |slot| found.push(slot));
    assert_eq!(found, [WatcherSlot(1401)]);
    assert!(visited < 100, "{visited} of 10,000 ranges were looked at");
}

#[test]
fn a_stream_that_is_never_read_holds_its_limits_at_most() {
    let limits = Limits {
        stream_queue_bytes_max: 64 << 10,
        stream_queue_events_max: 1_000_000,
        ..Limits::default()
    };
    let mut hub = hub(limits);
    let stream = hub.open();
    for id in 1..=20 {
        hub.create(
            stream,
            &WatchCreateRequest {
                watch_id: id,
                ..create("a", "b", 0)
            },
            Ok(()),
        );
    }
    for revision in 2..=2_000 {
        publish(&mut hub, revision, &["a"]);
    }
    let stats = hub.stats();
    assert!(stats.queued_bytes <= 64 << 10, "{stats:?}");
    assert_eq!(stats.lagging, 20);
    let events: usize = drain(&mut hub, stream)
        .iter()
        .map(|line| line.matches("a@").count())
        .sum();
    assert_eq!(events, 20 * 1_999, "and yet nothing is lost");
    assert_eq!((hub.stats().lagging, hub.stats().queued_bytes), (0, 0));
}

#[test]
fn watchers_share_the_events_themselves() {
    let mut hub = hub(Limits::default());
    let events: Arc<[Event]> = [put(2, "a", true)].into();
    let streams: Vec<_> = (0..100).map(|_| hub.open()).collect();
    for &stream in &streams {
        hub.create(stream, &create("a", "", 0), Ok(()));
    }
    hub.publish(Space::User, 2, events.clone(), &mut Vec::new());
    assert_eq!(
        Arc::strong_count(&events),
        1 + 1 + 100,
        "here, the ring, and each queue"
    );
    let value = events[0].kv.as_ref().unwrap().value.as_ptr();
    hub.poll(streams[7]);
    let Step::Events(told) = hub.poll(streams[7]) else {
        panic!("an event was queued")
    };
    let told = to_response(&told);
    assert_eq!(told.events[0].kv.as_ref().unwrap().value.as_ptr(), value);
}

#[test]
fn closing_streams_leaves_nothing() {
    let mut hub = hub(Limits {
        stream_queue_events_max: 1,
        ..Limits::default()
    });
    let streams: Vec<_> = (0..50).map(|_| hub.open()).collect();
    for &stream in &streams {
        hub.create(stream, &create("a", "", 0), Ok(()));
        hub.create(stream, &create("a", "\0", 0), Ok(()));
    }
    publish(&mut hub, 2, &["a"]);
    publish(&mut hub, 3, &["a"]);
    assert_eq!(hub.stats().lagging, 100);
    for stream in streams {
        hub.close(stream);
    }
    let stats = hub.stats();
    assert_eq!((stats.streams, stats.watchers, stats.lagging), (0, 0, 0));
    assert_eq!(publish(&mut hub, 4, &["a"]), []);
}
