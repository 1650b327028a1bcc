//! What a client sees, told as stories.

use super::*;
use crate::proto::etcdserverpb::watch_create_request::FilterType;

const ALLOWED: Result<(), Error> = Ok(());

#[test]
fn created_comes_first_then_what_happens_from_now_on() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    publish(&mut hub, 2, &["a"]);
    hub.create(stream, &create("a", "", 0), ALLOWED);
    hub.create(stream, &create("a", "c", 0), ALLOWED);
    publish(&mut hub, 3, &["a", "b", "c"]);
    publish(&mut hub, 4, &["a"]);
    assert_eq!(
        drain(&mut hub, stream),
        [
            "0 created at 2",
            "1 created at 2",
            "0 a@3",
            "1 a@3 b@3",
            "0 a@4",
            "1 a@4"
        ]
    );
}

#[test]
fn a_stream_is_woken_once_until_it_is_empty_again() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    hub.create(stream, &create("a", "", 0), ALLOWED);
    drain(&mut hub, stream);
    assert_eq!(publish(&mut hub, 2, &["b"]), []);
    assert_eq!(publish(&mut hub, 3, &["a"]), [stream]);
    assert_eq!(publish(&mut hub, 4, &["a"]), []);
    assert_eq!(drain(&mut hub, stream), ["0 a@3 a@4"]);
    assert_eq!(publish(&mut hub, 5, &["a"]), [stream]);
}

#[test]
fn the_past_comes_from_the_ring_and_before_that_from_storage() {
    let limits = Limits {
        ring_revisions_max: 2,
        ..Limits::default()
    };
    let mut hub = hub(limits);
    for revision in 2..=5 {
        publish(&mut hub, revision, &["a"]);
    }
    let stream = hub.open();
    hub.create(stream, &create("a", "", 4), ALLOWED);
    assert_eq!(drain(&mut hub, stream), ["0 created at 5", "0 a@4 a@5"]);
    hub.create(stream, &create("a", "", 2), ALLOWED);
    assert_eq!(
        drain(&mut hub, stream),
        ["1 created at 5", "read User from 2"]
    );
    // Storage is ahead of what was published: the rest comes when it is published.
    let group = |revision| (revision, [put(revision, "a", false)].into());
    hub.feed(stream, Space::User, 2, (2..=7).map(group).collect(), 8);
    assert_eq!(drain(&mut hub, stream), ["1 a@2 a@3 a@4 a@5"]);
    publish(&mut hub, 6, &["a"]);
    assert_eq!(drain(&mut hub, stream), ["0 a@6", "1 a@6"]);
}

#[test]
fn the_future_is_waited_for() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    hub.create(stream, &create("a", "", 4), ALLOWED);
    for revision in 2..=5 {
        publish(&mut hub, revision, &["a"]);
    }
    assert_eq!(drain(&mut hub, stream), ["0 created at 1", "0 a@4 a@5"]);
}

#[test]
fn what_was_compacted_cancels_with_the_compact_revision() {
    let mut hub = hub(Limits::default());
    for revision in 2..=6 {
        publish(&mut hub, revision, &["a"]);
    }
    hub.compacted(Space::User, 5);
    let stream = hub.open();
    hub.create(stream, &create("a", "", 4), ALLOWED);
    hub.create(stream, &create("a", "", 5), ALLOWED);
    hub.create(stream, &create("a", "", -3), ALLOWED);
    assert_eq!(
        drain(&mut hub, stream),
        [
            "0 created at 6",
            "1 created at 6",
            "-1 created canceled (etcdserver: mvcc: required revision has been compacted) at 6",
            "0 canceled compact=5 at 6",
            "1 a@5 a@6"
        ]
    );
}

#[test]
fn who_lags_behind_a_compaction_gets_what_was_queued_and_is_told() {
    let limits = Limits {
        stream_queue_events_max: 2,
        response_bytes_max: 1,
        ..Limits::default()
    };
    let mut hub = hub(limits);
    let stream = hub.open();
    hub.create(stream, &create("a", "", 0), ALLOWED);
    for revision in 2..=9 {
        publish(&mut hub, revision, &["a"]);
    }
    assert_eq!(hub.stats().lagging, 1);
    hub.compacted(Space::User, 6);
    assert_eq!(
        drain(&mut hub, stream),
        [
            "0 created at 1",
            "0 a@2",
            "0 a@3",
            "0 canceled compact=6 at 9"
        ]
    );
    assert_eq!((hub.stats().watchers, hub.stats().lagging), (0, 0));
}

#[test]
fn a_read_that_fails_cancels_only_who_needed_it() {
    let limits = Limits {
        ring_revisions_max: 1,
        ..Limits::default()
    };
    let mut hub = hub(limits);
    publish(&mut hub, 2, &["a"]);
    publish(&mut hub, 3, &["a"]);
    let stream = hub.open();
    hub.create(stream, &create("a", "", 2), ALLOWED);
    hub.create(stream, &create("a", "", 0), ALLOWED);
    drain(&mut hub, stream);
    hub.feed_nothing(stream, Space::User, 2, ReadEnd::Failed);
    publish(&mut hub, 4, &["a"]);
    let lines = drain(&mut hub, stream);
    assert!(
        lines[0].starts_with("0 canceled (atoll: the events"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["1 a@4"]);
}

#[test]
fn ids_are_given_or_chosen_and_never_shared() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    let with_id = |watch_id| WatchCreateRequest {
        watch_id,
        ..create("a", "", 0)
    };
    for id in [0, 1, 1, 0, 7] {
        hub.create(stream, &with_id(id), ALLOWED);
    }
    hub.cancel(stream, 1);
    hub.cancel(stream, 1);
    hub.create(stream, &with_id(1), ALLOWED);
    hub.create(stream, &create("b", "a", 0), ALLOWED);
    assert_eq!(
        drain(&mut hub, stream),
        [
            "0 created at 1",
            "1 created at 1",
            "-1 created canceled (mvcc: duplicate watch ID provided on the WatchStream) at 1",
            "2 created at 1",
            "7 created at 1",
            "1 canceled at 1",
            "1 created at 1",
            "-1 created canceled (mvcc: watcher range is empty) at 1"
        ]
    );
}

#[test]
fn who_may_not_watch_is_told_in_the_words_of_etcd() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    for error in [
        Error::PermissionDenied,
        Error::InvalidAuthToken,
        Error::Timeout,
    ] {
        hub.create(stream, &create("a", "", 0), Err(error));
    }
    assert_eq!(
        drain(&mut hub, stream),
        [
            "-1 created canceled (rpc error: code = PermissionDenied desc = etcdserver: permission denied) at 1",
            "-1 created canceled (rpc error: code = Unauthenticated desc = etcdserver: invalid auth token) at 1",
            "-1 created canceled (rpc error: code = PermissionDenied desc = etcdserver: permission denied) at 1",
        ]
    );
    assert_eq!(hub.stats().watchers, 0);
}

#[test]
fn limits_refuse_one_watch_and_leave_the_others() {
    let limits = Limits {
        stream_watchers_max: 2,
        stream_key_bytes_max: 5,
        ..Limits::default()
    };
    let mut hub = hub(limits);
    let stream = hub.open();
    for key in ["aaaa", "bb", "b", ""] {
        hub.create(stream, &create(key, "", 0), ALLOWED);
    }
    let refused = format!("-1 created canceled ({}) at 1", Error::LimitExceeded.text());
    assert_eq!(
        drain(&mut hub, stream),
        ["0 created at 1", &refused, "1 created at 1", &refused]
    );
    hub.cancel(stream, 0);
    hub.create(stream, &create("cc", "", 0), ALLOWED);
    assert_eq!(
        drain(&mut hub, stream),
        ["0 canceled at 1", "2 created at 1"]
    );
}

#[test]
fn filters_drop_puts_or_deletes() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    for filter in [FilterType::Noput, FilterType::Nodelete] {
        let filters = vec![filter as i32];
        hub.create(
            stream,
            &WatchCreateRequest {
                filters,
                ..create("a", "z", 0)
            },
            ALLOWED,
        );
    }
    let events = [put(2, "a", true), delete(2, "b"), put(2, "c", true)].into();
    hub.publish(Space::User, 2, events, &mut Vec::new());
    let lines = drain(&mut hub, stream);
    assert_eq!(lines[2..], ["0 -b@2", "1 a@2 c@2"]);
}

#[test]
fn the_reserved_keyspace_is_seen_only_by_watches_that_begin_in_it() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    hub.create(stream, &create("", "\0", 0), ALLOWED);
    hub.create(stream, &create("/atoll/", "/atoll0", 0), ALLOWED);
    drain(&mut hub, stream);
    hub.publish(
        Space::System,
        2,
        [put(2, "/atoll/nodes/1", true)].into(),
        &mut Vec::new(),
    );
    publish(&mut hub, 2, &["a"]);
    assert_eq!(drain(&mut hub, stream), ["1 /atoll/nodes/1@2", "0 a@2"]);
}

#[test]
fn progress_is_told_when_all_are_synced_and_behind_their_events() {
    let limits = Limits {
        stream_queue_events_max: 1,
        ..Limits::default()
    };
    let mut hub = hub(limits);
    let stream = hub.open();
    hub.want_progress(stream);
    assert_eq!(
        drain(&mut hub, stream),
        [""; 0],
        "nobody watches, so nobody is told"
    );
    hub.create(stream, &create("a", "", 0), ALLOWED);
    for revision in 2..=4 {
        publish(&mut hub, revision, &["a"]);
    }
    hub.want_progress(stream);
    hub.want_progress(stream);
    assert_eq!(
        drain(&mut hub, stream),
        [
            "0 created at 1",
            "0 a@2",
            "0 a@3",
            "0 a@4",
            "-1 progress at 4"
        ]
    );
    hub.want_progress(stream);
    publish(&mut hub, 5, &["a"]);
    assert_eq!(drain(&mut hub, stream), ["-1 progress at 4", "0 a@5"]);
    hub.create(stream, &create("b", "", 9), ALLOWED);
    hub.want_progress(stream);
    assert_eq!(
        drain(&mut hub, stream),
        ["1 created at 5"],
        "the future has no progress"
    );
}

#[test]
fn watchers_of_both_keyspaces_hear_of_their_own_revision() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    publish(&mut hub, 5, &["a"]);
    hub.create(stream, &create("a", "", 0), ALLOWED);
    hub.create(stream, &create("/atoll/a", "", 0), ALLOWED);
    drain(&mut hub, stream);
    hub.want_progress(stream);
    assert_eq!(
        drain(&mut hub, stream),
        ["0 progress at 5", "1 progress at 1"]
    );
}

#[test]
fn a_tick_tells_only_idle_watchers_that_asked() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    let notify = |key| WatchCreateRequest {
        progress_notify: true,
        ..create(key, "", 0)
    };
    hub.create(stream, &notify("idle"), ALLOWED);
    hub.create(stream, &notify("busy"), ALLOWED);
    hub.create(stream, &create("mute", "", 0), ALLOWED);
    publish(&mut hub, 2, &["busy"]);
    drain(&mut hub, stream);
    hub.progress_tick(stream);
    assert_eq!(drain(&mut hub, stream), ["0 progress at 2"]);
    hub.progress_tick(stream);
    assert_eq!(
        drain(&mut hub, stream),
        ["0 progress at 2", "1 progress at 2"]
    );
}

#[test]
fn after_a_snapshot_watchers_read_what_was_not_published() {
    let mut hub = hub(Limits::default());
    let stream = hub.open();
    hub.create(stream, &create("a", "", 0), ALLOWED);
    hub.create(stream, &create("a", "", 50), ALLOWED);
    publish(&mut hub, 2, &["a"]);
    let mut wakes = Vec::new();
    hub.restored(Space::User, (9, 0), &mut wakes);
    assert_eq!(wakes, [stream]);
    let lines = drain(&mut hub, stream);
    assert_eq!(lines[2..], ["0 a@2", "read User from 3"]);
    hub.feed(
        stream,
        Space::User,
        3,
        vec![(7, [put(7, "a", false)].into())],
        10,
    );
    publish(&mut hub, 10, &["a"]);
    assert_eq!(drain(&mut hub, stream), ["0 a@7 a@10"]);
    // A snapshot at a revision that was compacted beyond what a watcher still needs.
    hub.restored(Space::User, (20, 15), &mut wakes);
    assert_eq!(drain(&mut hub, stream), ["0 canceled compact=15 at 20"]);
}

#[test]
fn parts_stay_below_the_limit_and_only_the_last_says_so() {
    let events: Vec<_> = (0..10)
        .map(|at| put(2, &format!("key{at}"), true))
        .collect();
    let response = WatchResponse {
        watch_id: 3,
        events: events.clone(),
        ..WatchResponse::default()
    };
    let mut parts = Parts::new(response.clone(), 100);
    let mut seen = Vec::new();
    loop {
        let (part, is_last) = parts.next_part();
        assert!(prost::Message::encoded_len(&part) < 100 && !part.events.is_empty());
        assert_eq!((part.fragment, part.watch_id), (!is_last, 3));
        seen.extend(part.events);
        if is_last {
            break;
        }
    }
    assert_eq!(seen, events);
    let (whole, is_last) = Parts::new(response.clone(), usize::MAX).next_part();
    assert!(is_last && whole == response);
    let mut tiny = Parts::new(response, 1);
    for _ in 0..9 {
        assert_eq!(
            tiny.next_part().0.events.len(),
            1,
            "an event is never divided"
        );
    }
    assert!(tiny.next_part().1);
}
