//! A disk that is full while others go on, and what is kept for one that is away.

use super::*;

/// What others write is not taken while there is no room for it, so that it does not pile up in
/// memory, and comes once there is.
#[test]
fn what_others_write_waits_for_room() {
    for seed in 0..2 {
        simulate(seed, async move {
            let story = Story::begin(seed, &[1, 2]).await;
            let all = ask(&story.kv(1), eventual("SET a x", Level::All)).await;
            assert_eq!(all, Answer::Reply(Reply::OK));
            story.machines[1].disk.set_capacity_bytes(SEGMENT_BYTES);
            let value = "y".repeat(1_000);
            // Until the journal has no room.
            let mut refused = false;
            for number in 0..500 {
                let answer = one(&story.kv(1), &format!("SET own:{number} {value}")).await;
                refused |= matches!(answer, Answer::Reply(Reply::Error(_)));
                if refused {
                    break;
                }
            }
            assert!(refused, "the disk is never full");
            // What was on its way comes to an end.
            clock::sleep(Duration::from_secs(2)).await;
            let before = status(&story.kv(1));
            for number in 0..400 {
                let line = format!("SET other:{number} {value}");
                assert_eq!(one(&story.kv(0), &line).await, Answer::Reply(Reply::OK));
            }
            // Nor does what it would say pile up, or keep answers waiting.
            clock::sleep(Duration::from_secs(300)).await;
            let full = status(&story.kv(1));
            assert!(
                full.bytes < before.bytes + 20 * 1_000,
                "{before:?}, then {full:?}"
            );
            assert_eq!(one(&story.kv(1), "GET a").await, bulk("x"));
            for at in 0..2 {
                let all = ask(&story.kv(at), eventual("GET a", Level::All)).await;
                assert_eq!(all, bulk("x"), "asked at {at}");
            }
            story.machines[1].disk.set_capacity_bytes(DISK_BYTES);
            for number in [0, 200, 399] {
                story
                    .until_all(&format!("STRLEN other:{number}"), &integer(1_000))
                    .await;
            }
        });
    }
}

/// What waits for one that is away counts as memory.
#[test]
fn what_is_kept_for_who_is_away_is_counted() {
    simulate(3, async move {
        let story = Story::begin(3, &[1, 2]).await;
        let all = ask(&story.kv(0), eventual("SET a x", Level::All)).await;
        assert_eq!(all, Answer::Reply(Reply::OK));
        story.net.isolate(NodeId(2));
        let value = "y".repeat(1_000);
        for number in 0..100 {
            let line = format!("SET k:{number} {value}");
            assert_eq!(one(&story.kv(0), &line).await, Answer::Reply(Reply::OK));
        }
        let used = || story.kv(0).memory().used_bytes();
        let keeps = |it: EventualStatus| it.hints_bytes > 100_000;
        // Until a request is over it waits for the one that is away.
        assert!(used() > 2 * 100_000, "{}", used());
        story.until(0, "it keeps hints", keeps).await;
        assert!(used() > 2 * 100_000, "{}", used());
        story.net.heal();
        let kept_nothing = |it: EventualStatus| it.hints_bytes == 0;
        story.until(0, "they are taken", kept_nothing).await;
        assert!(used() < 2 * 100_000, "{}", used());
    });
}
