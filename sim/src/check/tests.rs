//! Small histories that must be refused, and one that must not.

use atoll_base::id::NodeId;

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
