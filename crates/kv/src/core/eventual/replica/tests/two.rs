//! What two replicas make of each other's writes.

use super::*;

#[test]
fn both_sides_count() {
    let (mut left, mut right) = (Story::new(1), Story::new(2));
    tell(&mut left, "SET n 10 => OK");
    right.hear(&left);
    tell(&mut left, "INCR n => 11");
    tell(&mut right, "INCRBY n 5 => 15\n DECR n => 14");
    left.hear(&right);
    right.hear(&left);
    left.hear(&right);
    tell(&mut left, "GET n => 15");
    tell(&mut right, "GET n => 15");
    assert_eq!(left.replica.content(), right.replica.content());
    // A later SET begins a new generation; what counts on after it does.
    tell(&mut left, "SET n 100 => OK");
    right.hear(&left);
    tell(&mut right, "INCR n => 101");
    left.hear(&right);
    tell(&mut left, "INCR n => 102");
}

#[test]
fn a_limit_that_ends_counts_on_both_sides_again() {
    let (mut left, mut right) = (Story::new(1), Story::new(2));
    tell(&mut left, "INCR limit => 1\n PEXPIRE limit 100 => 1");
    right.hear(&left);
    tell(&mut right, "INCR limit => 2");
    tell(
        &mut left,
        "@ 150\n INCR limit => 1\n PEXPIRE limit 100 => 1",
    );
    tell(&mut right, "@ 160\n INCR limit => 1");
    left.hear(&right);
    right.hear(&left);
    for side in [&mut left, &mut right] {
        tell(
            side,
            "@ 170\n GET limit => 2\n PTTL limit => 80\n @ 250\n GET limit => nil",
        );
    }
    assert_eq!(left.replica.content(), right.replica.content());
}

#[test]
fn of_two_types_the_last_written_is_seen() {
    let (mut left, mut right) = (Story::new(1), Story::new(2));
    tell(&mut left, "SADD k a => 1");
    tell(&mut right, "@ 1\n HSET k f v => 1");
    left.hear(&right);
    right.hear(&left);
    for side in [&mut left, &mut right] {
        tell(
            side,
            "TYPE k => hash\n HGETALL k => {f:v}\n SADD k b => WRONGTYPE Operation against a key holding the wrong kind of value",
        );
    }
    // The hidden one does not come forth.
    tell(&mut left, "HDEL k f => 1\n EXISTS k => 0");
    right.hear(&left);
    tell(&mut right, "EXISTS k => 0\n TYPE k => none");
    assert_eq!(left.replica.content(), right.replica.content());
}

#[test]
fn tombstones_go_when_they_are_stable_and_what_comes_late_is_ignored() {
    let (mut left, mut right) = (Story::new(1), Story::new(2));
    tell(&mut left, "SADD s a b => 2\n SET t x => OK\n INCR n => 1");
    let early = left.deltas.clone();
    right.hear(&left);
    tell(&mut right, "SREM s a => 1\n DEL t => 1\n DEL n => 1");
    left.hear(&right);
    assert_eq!((left.replica.uncollected(), left.replica.len()), (3, 3));
    assert!(!left.replica.collect(10));
    assert_eq!(
        left.replica.uncollected(),
        3,
        "nothing is known to be stable"
    );
    let stable = left.replica.mark(BEGIN_MS + 1);
    left.replica.settle(stable);
    assert!(left.replica.collect(2), "one at a time has bounds");
    assert!(!left.replica.collect(2));
    assert_eq!((left.replica.uncollected(), left.replica.len()), (0, 1));
    for delta in &early {
        left.replica
            .merge(delta, false, left.now_ms)
            .expect("in time");
    }
    tell(&mut left, "SMEMBERS s => [b]\n EXISTS t n => 0");
    assert_eq!(left.replica.len(), 1);
}

#[test]
fn what_has_ended_is_written_down_by_who_let_it_end() {
    let (mut left, mut right) = (Story::new(1), Story::new(2));
    tell(&mut left, "SADD s a => 1\n PEXPIRE s 10 => 1");
    right.hear(&left);
    assert_eq!(left.replica.end(9, BEGIN_MS + 9), Delta::new());
    assert_eq!(
        right.replica.end(9, BEGIN_MS + 10),
        Delta::new(),
        "it is the other's"
    );
    let delta = left.replica.end(9, BEGIN_MS + 10);
    assert_eq!(delta.len(), 1);
    let delta = right.replica.end(9, BEGIN_MS + 10 + ENDED_KEPT_MS);
    assert_eq!(delta.len(), 1, "but not for ever");
    left.replica
        .merge(&delta, false, BEGIN_MS + 10 + ENDED_KEPT_MS)
        .expect("in time");
    assert_eq!(left.replica.uncollected(), 1);
    let stable = left.replica.mark(0);
    left.replica.settle(stable);
    left.replica.collect(1);
    assert!(left.replica.is_empty());
}

#[test]
fn the_future_is_refused() {
    let (mut left, mut right) = (Story::new(1), Story::new(2));
    tell(&mut left, "@ 6000\n SET a x => OK");
    let refused = right
        .replica
        .merge(&left.deltas[0], false, BEGIN_MS)
        .expect_err("too far");
    assert_eq!(refused.ahead_ms, 6_000);
    assert!(right.replica.is_empty());
}
