//! Small histories that must be refused, and one that must not.

use atoll_base::id::NodeId;
use atoll_control::core::error::Error;

use super::check;
use crate::history::{Answer, Call, Change, Found, History, Op, Outcome};

fn found(value: u64, mod_revision: i64, version: i64) -> Found {
    Found {
        key: 0,
        value,
        create_revision: 2,
        mod_revision,
        version,
    }
}

fn call(op: Op, times: (u64, Option<u64>), outcome: Outcome) -> Call {
    Call {
        client: 0,
        node: NodeId(1),
        op,
        invoked: times.0,
        invoked_ms: times.0,
        returned: times.1,
        returned_ms: 0,
        outcome,
    }
}

fn done(revision: i64, answer: Answer) -> Outcome {
    Outcome::Done { revision, answer }
}

fn put(value: u64, times: (u64, Option<u64>), revision: i64, before: Option<Found>) -> Call {
    let outcome = match times.1 {
        Some(_) => done(revision, Answer::Put { before }),
        None => Outcome::Unknown,
    };
    call(Op::Put { key: 0, value }, times, outcome)
}

fn get(times: (u64, u64), revision: i64, read: Option<Found>) -> Call {
    let op = Op::Get {
        key: 0,
        serializable: false,
    };
    let answer = Answer::Read(read.into_iter().collect());
    call(op, (times.0, Some(times.1)), done(revision, answer))
}

fn change(revision: i64, value: u64, version: i64) -> Change {
    Change {
        revision,
        key: 0,
        value: Some(value),
        create_revision: 2,
        version,
    }
}

fn history(calls: Vec<Call>, changes: Vec<Change>) -> History {
    let mut history = History::default();
    history.calls = calls;
    history.watched = [(NodeId(1), changes)].into();
    history
}

fn violations(history: &History) -> String {
    check(history).violations.join("\n")
}

#[test]
fn an_unknown_write_may_be_seen_late_or_never() {
    let seen = history(
        vec![
            put(1, (1, Some(2)), 2, None),
            put(2, (3, None), 0, None),
            get((4, 5), 2, Some(found(1, 2, 1))),
            get((6, 7), 3, Some(found(2, 3, 2))),
            put(3, (8, None), 0, None),
        ],
        vec![change(2, 1, 1), change(3, 2, 2)],
    );
    assert_eq!(violations(&seen), "");
}

#[test]
fn a_stale_read_is_refused() {
    let stale = history(
        vec![
            put(1, (1, Some(2)), 2, None),
            put(2, (3, Some(4)), 3, Some(found(1, 2, 1))),
            get((5, 6), 2, Some(found(1, 2, 1))),
        ],
        vec![change(2, 1, 1), change(3, 2, 2)],
    );
    let told = violations(&stale);
    assert!(told.contains("linearizable: key 0"), "{told}");
    assert!(told.contains("revisions only grow"), "{told}");
}

#[test]
fn a_lost_write_is_refused() {
    let lost = history(vec![put(1, (1, Some(2)), 2, None)], vec![]);
    assert!(violations(&lost).contains("nothing acknowledged is lost"));
}

#[test]
fn a_write_that_happened_twice_is_refused() {
    let twice = history(
        vec![put(1, (1, None), 0, None)],
        vec![change(2, 1, 1), change(3, 1, 2)],
    );
    assert!(violations(&twice).contains("every write has its effect once"));
}

#[test]
fn a_gap_in_a_watch_is_refused() {
    let gap = history(
        vec![put(1, (1, None), 0, None), put(2, (2, None), 0, None)],
        vec![change(2, 1, 1), change(4, 2, 2)],
    );
    assert!(violations(&gap).contains("watchers see everything once"));
}

fn past(revision: i64, times: (u64, u64), outcome: Outcome) -> Call {
    call(Op::Past { revision }, (times.0, Some(times.1)), outcome)
}

#[test]
fn the_past_ends_where_it_was_compacted() {
    let told = |compacted: Option<u64>, outcome: Outcome| {
        let mut calls = vec![
            put(1, (1, Some(2)), 2, None),
            put(2, (3, Some(4)), 3, Some(found(1, 2, 1))),
        ];
        calls.extend(compacted.map(|at| {
            let compact = Op::Compact { revision: 3 };
            call(compact, (5, Some(at)), done(3, Answer::Compacted))
        }));
        calls.push(past(2, (8, 9), outcome));
        violations(&history(calls, vec![change(2, 1, 1), change(3, 2, 2)]))
    };
    let read = || done(3, Answer::Read(vec![found(1, 2, 1)]));
    let refused = || Outcome::Refused(Error::Compacted);
    let property = "the past ends where it was compacted";
    assert_eq!(told(None, read()), "");
    assert_eq!(told(Some(6), refused()), "");
    // The compaction was answered only later: either is right.
    assert_eq!(told(Some(10), read()), "");
    assert_eq!(told(Some(10), refused()), "");
    assert!(told(Some(6), read()).contains(property));
    assert!(told(None, refused()).contains(property));
}
