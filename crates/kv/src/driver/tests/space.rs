//! Tests: a disk that is full.

use atoll_world::clock;

use super::*;

const NO_SPACE: &[u8] = b"MISCONF Errors writing to the AOF file: No space left on device";

/// So long no answer takes that waits for nothing.
const AT_ONCE: Duration = Duration::from_millis(50);

/// A node that cuts its journal before it has four segments.
fn small() -> SnapshotSettings {
    SnapshotSettings {
        log_entries_max: 200,
        log_bytes_max: 8 << 10,
        segments_kept: 2,
        carry_bytes_max: 2 << 10,
    }
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(Reply::Error(text)) if **text == *NO_SPACE)
}

/// Asks, and sees to it that the answer comes at once.
async fn at_once(kv: &Kv, line: &str) -> Answer {
    let begin = clock::now();
    let answer = ask(kv, request(line)).await;
    let took = clock::now() - begin;
    assert!(took <= AT_ONCE, "{line} took {took:?}");
    answer
}

/// Writes until that is refused; how many keys were written.
async fn fill(kv: &Kv) -> u64 {
    let value = "y".repeat(1_000);
    for number in 0..500 {
        let answer = at_once(kv, &format!("SET fill:{number} {value}")).await;
        if is_refused(&answer) {
            return number;
        }
        assert_eq!(answer, Answer::Reply(Reply::OK));
    }
    panic!("the disk is never full");
}

#[test]
fn on_a_full_disk_writes_are_refused_at_once_and_reads_go_on() {
    simulate(3, async {
        let net = SimNet::new(3);
        let layout = layout(&[1], 4);
        let mut machine = Machine::new(1, 3, small());
        machine.start(&net, &layout).await.expect("it starts");
        let kv = machine.kv();
        let ends = at_once(&kv, "SET ends x PX 300").await;
        assert_eq!(ends, Answer::Reply(Reply::OK));
        assert_eq!(at_once(&kv, "SET key 7").await, Answer::Reply(Reply::OK));
        machine.disk.set_capacity_bytes(SEGMENT_BYTES);
        let written = fill(&kv).await;
        assert!(written > 10, "{written}");

        for write in ["SET key 8", "DEL key", "INCR key", "LPUSH list a"] {
            assert!(is_refused(&at_once(&kv, write).await), "{write}");
        }
        // Not even in vain, and not by those who would wait.
        assert!(is_refused(&at_once(&kv, "BLPOP list 1").await));
        let read = at_once(&kv, "GET key").await;
        assert_eq!(read, Answer::Reply(Reply::Bulk(Bytes::from_static(b"7"))));
        // For a long time, in which keys end, and nothing piles up.
        clock::sleep(Duration::from_secs(30)).await;
        assert!(is_refused(&at_once(&kv, "GET ends").await));
        assert_eq!(number(&kv, "key").await, Some(7));

        machine.disk.set_capacity_bytes(DISK_BYTES);
        assert_eq!(
            at_once(&kv, "INCR key").await,
            Answer::Reply(Reply::Integer(8))
        );
        assert_eq!(at_once(&kv, "GET ends").await, Answer::Reply(Reply::Null));
        machine.crash(&net, true).await;
        machine.start(&net, &layout).await.expect("it starts");
        let kv = machine.kv();
        assert_eq!(number(&kv, "key").await, Some(8));
        for key in 0..written {
            let there = at_once(&kv, &format!("STRLEN fill:{key}")).await;
            assert_eq!(there, Answer::Reply(Reply::Integer(1_000)), "fill:{key}");
        }
        let last = at_once(&kv, &format!("EXISTS fill:{written}")).await;
        assert_eq!(last, Answer::Reply(Reply::Integer(0)), "it was refused");
    });
}

/// What was logged before anybody knew is not refused any more: it is done once there is room.
#[test]
fn what_came_all_at_once_waits_for_room_and_is_done() {
    simulate(4, async {
        let net = SimNet::new(4);
        let layout = layout(&[1], 16);
        let mut machine = Machine::new(1, 4, small());
        machine.start(&net, &layout).await.expect("it starts");
        let kv = machine.kv();
        assert_eq!(at_once(&kv, "SET key 1").await, Answer::Reply(Reply::OK));
        machine.disk.set_capacity_bytes(SEGMENT_BYTES);
        // More than is left for what is logged already, at a shard in one turn.
        let value = "y".repeat(4_000);
        let burst = (0..48).map(|number| request(&format!("SET burst:{number} {value}")));
        let asking = kv.clone();
        let burst: Vec<Request> = burst.collect();
        let asked = task::spawn(async move { asking.ask(burst).await });
        clock::sleep(Duration::from_millis(100)).await;
        assert!(!asked.is_finished());
        // One shard may have got its part in; nobody waits in either.
        let mut refused = 0;
        for number in 0..48 {
            let answer = at_once(&kv, &format!("SET burst:{number} 2")).await;
            refused += usize::from(is_refused(&answer));
        }
        assert!(refused > 0);
        assert_eq!(number(&kv, "key").await, Some(1));
        machine.disk.set_capacity_bytes(DISK_BYTES);
        for answer in asked.await.expect("it ends") {
            assert_eq!(answer, Answer::Reply(Reply::OK));
        }
        assert_eq!(at_once(&kv, "SET key 2").await, Answer::Reply(Reply::OK));
    });
}
