//! One node that crashes: what was acknowledged is there again, and the disk does not fill up.

use std::collections::BTreeMap;

use atoll_world::clock;

use super::*;
use crate::driver::SnapshotFault;

const WRITERS: u64 = 6;
/// Three hundred held when this was written; these are what every run has time for.
const SEEDS: u64 = 8;

fn small() -> SnapshotSettings {
    SnapshotSettings {
        log_entries_max: 200,
        log_bytes_max: 8 << 10,
        segments_kept: 2,
        carry_bytes_max: 2 << 10,
    }
}

/// Counts up under its own keys for as long as it is let; the last number that was acknowledged.
async fn count_up(kv: Kv, writer: u64, acknowledged: Arc<Mutex<BTreeMap<String, u64>>>) {
    let mut next = acknowledged.lock().values().max().copied().unwrap_or(0) + 1;
    loop {
        let key = format!("{writer}:{}", next % 5);
        let padding = "x".repeat(300);
        let write = format!("SET {key} {next}");
        let other = format!("SETRANGE pad:{key} 0 {padding}");
        let answers = kv.ask(vec![request(&write), request(&other)]).await;
        if let Answer::Reply(Reply::Status("OK")) = &answers[0] {
            acknowledged.lock().insert(key, next);
        }
        next += 1;
    }
}

#[test]
fn whatever_was_acknowledged_survives_crashes_in_bounded_space() {
    for seed in 0..SEEDS {
        simulate(seed, async move {
            let net = SimNet::new(seed);
            let layout = layout(&[1], 8);
            let mut machine = Machine::new(1, seed, small());
            let syncs = seed % 4 != 3;
            if !syncs {
                machine.durability = Durability::Interval(Duration::from_millis(50));
            }
            let acknowledged: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
            let (mut used_bytes, mut writes) = (0, 0);
            for life in 0..7 {
                machine.start(&net, &layout).await.expect("it starts");
                let kv = machine.kv();
                let known = acknowledged.lock().clone();
                for (key, value) in &known {
                    let found = number(&kv, key).await.expect("it is read");
                    assert!(found >= *value, "{key} is {found}, and was {value}");
                }
                writes = known.values().max().copied().unwrap_or(0);
                let (_, group) = machine.life.as_ref().expect("it runs");
                for writer in 0..WRITERS {
                    let acknowledged = acknowledged.clone();
                    let writer = count_up(kv.clone(), writer, acknowledged);
                    task::scope_sync(group.clone(), || task::spawn(writer));
                }
                drop(kv);
                for _ in 0..8 {
                    let pause_ms = random::range(1..150);
                    clock::sleep(Duration::from_millis(pause_ms)).await;
                    used_bytes = used_bytes.max(machine.used_bytes());
                }
                machine.crash(&net, syncs && life % 2 == 0).await;
            }
            let log_bytes = writes * WRITERS * 300;
            assert!(
                log_bytes > 20 * SEGMENT_BYTES,
                "only {log_bytes} were written"
            );
            // Kept segments, those that wait to be freed, and two snapshots of each partition.
            let bound = 8 * SEGMENT_BYTES + 2 * 8 * 16 * 1024;
            assert!(used_bytes < bound, "{used_bytes} bytes on disk");
        });
    }
}

#[test]
fn the_journal_grows_with_the_data_and_not_further() {
    const KEYS: u64 = 640;
    const VALUE_BYTES: usize = 4 << 10;
    simulate(4, async {
        let net = SimNet::new(4);
        let layout = layout(&[1], 4);
        let mut machine = Machine::new(1, 4, small());
        machine.start(&net, &layout).await.expect("it starts");
        let kv = machine.kv();
        let value = "z".repeat(VALUE_BYTES);
        let mut segments = 0;
        for round in 0..4 {
            for key in 0..KEYS {
                let answer = ask(&kv, request(&format!("SET key:{key} {value}"))).await;
                assert_eq!(answer, Answer::Reply(Reply::OK));
                // At first there is less data.
                if round > 0 {
                    segments = segments.max(machine.files("journal").len() as u64);
                }
            }
            // What the snapshots take is looked at once a second.
            clock::sleep(Duration::from_secs(2)).await;
        }
        let snapshots = machine.files("snapshots").into_iter();
        let lengths =
            snapshots.map(|file| machine.disk.read_all(&file).expect("it is there").len());
        let bytes: u64 = lengths.map(|length| length as u64).sum();
        assert!(bytes >= KEYS * VALUE_BYTES as u64);
        let kept = bytes / 4 / SEGMENT_BYTES;
        assert!(kept > 2 * small().segments_kept);
        // One is being written, and some wait until what was written in their place is durable.
        assert!(
            (kept..=kept + 4).contains(&segments),
            "{segments}, {kept} kept"
        );
    });
}

/// A node with a snapshot, stopped.
async fn stopped(net: &SimNet, layout: &Layout) -> Machine {
    let mut machine = Machine::new(1, 3, small());
    machine.start(net, layout).await.expect("it starts");
    let kv = machine.kv();
    for number in 0..500 {
        let answer = ask(&kv, request(&format!("SET key {number}"))).await;
        assert_eq!(answer, Answer::Reply(Reply::OK));
    }
    clock::sleep(Duration::from_millis(100)).await;
    kv.stop().await;
    machine.crash(net, true).await;
    machine
}

#[test]
fn a_damaged_or_missing_snapshot_is_named() {
    simulate(1, async {
        let net = SimNet::new(1);
        let layout = layout(&[1], 1);
        let mut machine = stopped(&net, &layout).await;
        machine.start(&net, &layout).await.expect("it starts");
        assert_eq!(number(&machine.kv(), "key").await, Some(499));
        let progress = *machine.progress.lock();
        assert!(progress.records > 0);
        assert_eq!(
            (progress.partitions, progress.partitions_total),
            (1, Some(1))
        );
        assert_eq!(progress.snapshots, 1);
        let snapshot_bytes: usize = machine
            .files("snapshots")
            .iter()
            .map(|file| machine.disk.read_all(file).expect("it is there").len())
            .sum();
        assert!(progress.bytes >= SEGMENT_BYTES + snapshot_bytes as u64);
        assert_eq!(progress.bytes, progress.bytes_total);
        machine.crash(&net, false).await;

        let files = machine.files("snapshots");
        assert!(!files.is_empty());
        for file in &files {
            assert!(machine.disk.rot(file, 40, 3));
        }
        let error = machine.start(&net, &layout).await;
        let error = error.expect_err("it is damaged");
        let StartError::Snapshot { file, reason, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(matches!(reason, SnapshotFault::Content(_)), "{reason:?}");
        assert!(error.to_string().contains(&*file.to_string_lossy()));

        machine.disk.remove(file).expect("it is there");
        let error = machine.start(&net, &layout).await;
        let error = error.expect_err("it is gone");
        let StartError::Snapshot { reason, .. } = &error else {
            panic!("{error:?}");
        };
        let is_gone = matches!(reason, SnapshotFault::Disk(error) if error.is_not_found());
        assert!(is_gone, "{reason:?}");
    });
}

#[test]
fn a_full_disk_delays_snapshots_and_loses_nothing() {
    simulate(2, async {
        let net = SimNet::new(2);
        let layout = layout(&[1], 1);
        let mut machine = Machine::new(1, 2, small());
        machine.start(&net, &layout).await.expect("it starts");
        let kv = machine.kv();
        let big = "y".repeat(4_000);
        ask(&kv, request("SET key 0")).await;
        // Room for the journal's segment that is there, and for no snapshot.
        machine.disk.set_capacity_bytes(SEGMENT_BYTES);
        for number in 1..=8 {
            let answer = ask(&kv, request(&format!("SET key {number}"))).await;
            assert_eq!(answer, Answer::Reply(Reply::OK));
            let answer = ask(&kv, request(&format!("SET big {big}"))).await;
            assert_eq!(answer, Answer::Reply(Reply::OK));
        }
        clock::sleep(Duration::from_secs(3)).await;
        assert!(machine.files("snapshots").is_empty());
        machine.disk.set_capacity_bytes(DISK_BYTES);
        clock::sleep(Duration::from_secs(3)).await;
        assert_eq!(machine.files("snapshots").len(), 1);
        machine.crash(&net, true).await;
        machine.start(&net, &layout).await.expect("it starts");
        assert_eq!(number(&machine.kv(), "key").await, Some(8));
    });
}
