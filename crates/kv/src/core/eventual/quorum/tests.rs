//! Requests alone.

use super::*;

fn asking(id: u64, request: u64, level: Level) -> Asking {
    Asking {
        id,
        request,
        others: [2, 3].map(ReplicaId).into(),
        level,
        now_ms: 0,
    }
}

fn delta() -> Delta {
    vec![(Key::from(b"key"), Item::default())]
}

fn write(quorum: &mut Quorum, id: u64, level: Level) -> Vec<Effect> {
    quorum.write(asking(id, id + 100, level), Reply::OK, delta())
}

#[test]
fn as_many_as_the_level_says() {
    for (level, word, of) in [
        (Level::One, "one", [1, 1, 1, 1]),
        (Level::Quorum, "Quorum", [1, 2, 2, 3]),
        (Level::All, "ALL", [1, 2, 3, 4]),
    ] {
        assert_eq!(Level::parse(word.as_bytes()), Some(level));
        assert_eq!([1, 2, 3, 4].map(|replicas| level.of(replicas)), of);
    }
    assert_eq!(Level::parse(b"TWO"), None);
}

#[test]
fn writes_are_answered_once_enough_have_them() {
    let mut quorum = Quorum::new(QuorumLimits::default());
    assert_eq!(
        write(&mut quorum, 1, Level::One),
        [Effect::Written(101, Reply::OK)]
    );
    assert_eq!(write(&mut quorum, 2, Level::Quorum), []);
    assert_eq!(write(&mut quorum, 3, Level::All), []);
    assert_eq!(
        quorum.acked(ReplicaId(2), 2),
        Some(vec![Effect::Written(102, Reply::OK)])
    );
    assert_eq!(quorum.acked(ReplicaId(2), 2), None, "twice is once");
    assert_eq!(quorum.acked(ReplicaId(2), 3), Some(vec![]));
    assert_eq!(quorum.tick(999), []);
    let ended = quorum.tick(1_000);
    assert_eq!(
        ended,
        [
            Effect::Hint(ReplicaId(2), delta()),
            Effect::Hint(ReplicaId(3), delta()),
            Effect::Hint(ReplicaId(3), delta()),
            Effect::TooFew {
                request: 103,
                is_write: true,
                answered: 2,
                needed: 3
            },
            Effect::Hint(ReplicaId(3), delta()),
        ]
    );
    assert!(quorum.is_empty() && quorum.bytes == 0);
}

#[test]
fn reads_wait_for_all_parts_and_mend() {
    let mut quorum = Quorum::new(QuorumLimits::default());
    let words = vec![Bytes::from_static(b"GET"), Bytes::from_static(b"key")];
    assert_eq!(quorum.read(asking(1, 9, Level::Quorum), words.clone()), []);
    assert_eq!(quorum.seen(ReplicaId(2), 1, (1, 2), delta()), []);
    let bytes = quorum.bytes();
    assert!(bytes > 0, "what was sent is kept");
    assert_eq!(quorum.seen(ReplicaId(2), 1, (1, 2), delta()), []);
    assert_eq!(quorum.bytes(), bytes, "once");
    assert_eq!(
        quorum.seen(ReplicaId(2), 1, (0, 2), Delta::new()),
        [
            Effect::Read(9, words),
            Effect::Repair(ReplicaId(2), delta())
        ]
    );
    assert!(quorum.is_empty() && quorum.bytes() == 0);
}

#[test]
fn who_is_no_member_is_not_waited_for() {
    let mut quorum = Quorum::new(QuorumLimits::default());
    write(&mut quorum, 1, Level::All);
    quorum.acked(ReplicaId(2), 1);
    let ended = quorum.retain(|member| member != ReplicaId(3));
    assert_eq!(
        ended,
        [Effect::TooFew {
            request: 101,
            is_write: true,
            answered: 2,
            needed: 3
        }]
    );
}

#[test]
fn there_are_bounds() {
    let limits = QuorumLimits {
        requests_max: 2,
        ..QuorumLimits::default()
    };
    let mut quorum = Quorum::new(limits);
    write(&mut quorum, 1, Level::All);
    assert!(!quorum.is_full());
    write(&mut quorum, 2, Level::All);
    assert!(quorum.is_full());
    let mut quorum = Quorum::new(QuorumLimits {
        bytes_max: 10,
        ..limits
    });
    write(&mut quorum, 1, Level::All);
    assert!(quorum.is_full());
}
