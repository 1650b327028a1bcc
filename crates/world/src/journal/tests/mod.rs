//! The journal on a simulated disk: what was acknowledged is there, what is not as it was
//! written is said.

mod bytes_as_documented;
mod properties;

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{format::SEGMENT_HEADER_BYTES, *};
use crate::disk::{Disk, SimDisk, real};

const SEGMENT_BYTES: u64 = 4096;

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

fn dir() -> PathBuf {
    PathBuf::from("/journal")
}

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        reserve_bytes: 0,
        writer: Writer::Task {
            sync_latency: Arc::new(|| Duration::from_millis(3)),
        },
        salt: || 42,
        ..Options::default()
    }
}

struct Opened {
    journal: Journal,
    recovery: Recovery,
    records: Vec<(Position, Bytes)>,
}

impl Opened {
    fn payloads(&self) -> Vec<Bytes> {
        self.records
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect()
    }
}

fn open_with(disk: &SimDisk, options: Options) -> Result<Opened, JournalError> {
    let mut records = Vec::new();
    let mut next = None;
    let (journal, recovery) = Journal::open(
        Arc::new(disk.clone()),
        dir(),
        options,
        &mut |sequence, position, payload| {
            assert!(
                next.is_none_or(|next| next == sequence),
                "sequences have no gap"
            );
            next = Some(Sequence(sequence.0 + 1));
            records.push((position, payload));
            Ok(())
        },
    )?;
    assert_eq!(recovery.records, records.len() as u64);
    Ok(Opened {
        journal,
        recovery,
        records,
    })
}

fn open(disk: &SimDisk) -> Opened {
    open_with(disk, options()).unwrap()
}

async fn put(journal: &Journal, records: Vec<Bytes>) -> Result<Vec<Position>, JournalError> {
    let (tell, told) = oneshot::channel();
    let positions = journal.append(records, move |result| {
        let _ = tell.send(result);
    })?;
    told.await.expect("done is called")?;
    Ok(positions)
}

fn payload(byte: u8, bytes: usize) -> Bytes {
    vec![byte; bytes].into()
}

fn path(segment: u64) -> PathBuf {
    recovery::segment_path(&dir(), segment)
}

#[test]
fn records_come_back_in_order_and_sequences_go_on() {
    run(async {
        let disk = SimDisk::new(1);
        let first = open(&disk);
        assert_eq!(first.recovery, Recovery::default());
        let many: Vec<Bytes> = (1..=50).map(|n| payload(n, 200)).collect();
        let positions = put(&first.journal, many.clone()).await.unwrap();
        assert!(positions.is_sorted() && positions[49].segment > 2);
        first.journal.close();

        let second = open(&disk);
        assert_eq!(second.payloads(), many);
        assert_eq!(second.recovery.last_sequence, Some(Sequence(50)));
        assert!(!second.recovery.is_torn() && !second.recovery.maybe_acknowledged);
        let found: Vec<Position> = second
            .records
            .iter()
            .map(|(position, _)| *position)
            .collect();
        assert_eq!(found, positions);
        let more = put(&second.journal, vec![payload(51, 0)]).await.unwrap();
        assert!(more[0] > positions[49]);
        second.journal.close();
        assert_eq!(open(&disk).recovery.last_sequence, Some(Sequence(51)));
    });
}

#[test]
fn records_can_be_read_before_and_after_they_are_written() {
    run(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk).journal;
        let sizes = [0, 1, 100, 3000, 3900, 7];
        let records: Vec<Bytes> = sizes.iter().map(|size| payload(9, *size)).collect();
        let positions = journal.append(records.clone(), |_| {}).unwrap();
        let check = || {
            for (position, record) in positions.iter().zip(&records) {
                assert_eq!(journal.read(*position).unwrap(), *record);
            }
        };
        check();
        assert!(journal.queued_bytes() > 7000);
        put(&journal, vec![]).await.unwrap();
        assert_eq!(journal.queued_bytes(), 0);
        check();
        let nowhere = Position {
            segment: 99,
            offset: 64,
        };
        assert!(matches!(
            journal.read(nowhere),
            Err(JournalError::NotFound { .. })
        ));
    });
}

#[test]
fn many_appends_share_one_sync() {
    run(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk).journal;
        put(&journal, vec![payload(0, 8)]).await.unwrap();
        let before = disk.syncs();
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        for n in 0..50 {
            let order = Arc::clone(&order);
            let done = move |result: Result<(), JournalError>| {
                result.unwrap();
                order.lock().push(n);
            };
            journal.append(vec![payload(1, 8)], done).unwrap();
        }
        put(&journal, vec![]).await.unwrap();
        assert_eq!(*order.lock(), (0..50).collect::<Vec<_>>());
        assert_eq!(disk.syncs() - before, 1);
    });
}

#[test]
fn a_full_queue_and_a_large_record_are_refused() {
    run(async {
        let segment_bytes = 1 << 20;
        let larger = Options {
            segment_bytes,
            ..options()
        };
        let journal = open_with(&SimDisk::new(1), larger).unwrap().journal;
        let large = journal.append(vec![payload(1, segment_bytes as usize)], |_| {});
        assert!(matches!(
            large,
            Err(JournalError::TooLarge {
                limit_bytes: 1_048_488,
                ..
            })
        ));
        let full = loop {
            let records = vec![payload(1, 100_000); 10];
            if let Err(error) = journal.append(records, |_| {}) {
                break error;
            }
        };
        assert!(matches!(full, JournalError::Full { queued_bytes, .. } if queued_bytes > 63 << 20));
        put_when_there_is_room(&journal).await;
    });
}

async fn put_when_there_is_room(journal: &Journal) {
    while journal.queued_bytes() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    put(journal, vec![payload(2, 1)]).await.unwrap();
}

#[test]
fn a_failed_sync_ends_the_journal() {
    run(async {
        let disk = SimDisk::new(1);
        let fatal = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&fatal);
        let count = move |error: &JournalError| {
            assert!(matches!(error, JournalError::SyncFailed { .. }));
            seen.fetch_add(1, Ordering::SeqCst);
        };
        let journal = open_with(
            &disk,
            Options {
                fatal: Arc::new(count),
                ..options()
            },
        )
        .unwrap()
        .journal;
        put(&journal, vec![payload(1, 10)]).await.unwrap();
        disk.fail_sync(1);
        let positions = journal.append(vec![payload(2, 10)], |_| {}).unwrap();
        let failed = put(&journal, vec![payload(3, 10)]).await;
        assert!(matches!(failed, Err(JournalError::SyncFailed { .. })));
        let later = journal.append(vec![payload(4, 10)], |_| panic!("never queued"));
        assert!(matches!(later, Err(JournalError::SyncFailed { .. })));
        assert_eq!(journal.read(positions[0]).unwrap(), payload(2, 10));
        assert_eq!(fatal.load(Ordering::SeqCst), 1);
        journal.close();
        assert_eq!(fatal.load(Ordering::SeqCst), 1);
        let again = open(&disk.crash());
        assert_eq!(again.payloads()[0], payload(1, 10));
    });
}

/// What a failed sync leaves in the cache is shown to the next process, which counts on it: no
/// loss of power may take it after that.
#[test]
fn what_a_failed_sync_left_is_durable_once_it_was_shown() {
    run(async {
        for seed in 1..=20 {
            let disk = SimDisk::new(seed);
            let journal = open(&disk).journal;
            put(&journal, vec![payload(1, 10)]).await.unwrap();
            disk.fail_sync(1);
            let failed = put(&journal, vec![payload(2, 1500)]).await;
            assert!(matches!(failed, Err(JournalError::SyncFailed { .. })));
            let disk = disk.kill();
            let shown = open(&disk);
            let payloads = shown.payloads();
            assert_eq!(payloads, [payload(1, 10), payload(2, 1500)], "seed {seed}");
            let again = open(&disk.crash());
            assert_eq!(again.payloads(), payloads, "seed {seed}");
        }
    });
}

#[test]
fn a_full_disk_refuses_appends_and_goes_on_reading() {
    run(async {
        let disk = SimDisk::new(1);
        disk.set_capacity_bytes(2 * SEGMENT_BYTES + 1000);
        let journal = open_with(
            &disk,
            Options {
                reserve_bytes: 500,
                ..options()
            },
        )
        .unwrap()
        .journal;
        let mut positions = Vec::new();
        let refused = loop {
            match put(&journal, vec![payload(1, 500)]).await {
                Ok(more) => positions.extend(more),
                Err(error) => break error,
            }
        };
        let JournalError::NoSpace {
            free_bytes,
            needed_bytes,
            reserve_bytes,
        } = refused
        else {
            panic!("{refused}")
        };
        assert_eq!(
            (free_bytes, needed_bytes, reserve_bytes),
            (1000, SEGMENT_BYTES, 500)
        );
        assert_eq!(positions.len(), 14);
        for position in &positions {
            assert_eq!(journal.read(*position).unwrap(), payload(1, 500));
        }
        assert!(!journal.has_room(528).unwrap(), "as much as was refused");
        assert!(journal.has_room(48).unwrap());
        // What still fits into the segment is taken, and freed segments make room.
        put(&journal, vec![payload(2, 20)]).await.unwrap();
        journal.free_before(positions[13]).unwrap();
        assert!(journal.has_room(528).unwrap());
        put(&journal, vec![payload(1, 500)]).await.unwrap();
        journal.close();
        assert_eq!(open(&disk).recovery.records, 9);
    });
}

#[test]
fn whole_segments_are_freed() {
    run(async {
        let disk = SimDisk::new(1);
        let journal = open(&disk).journal;
        let positions = put(&journal, (0..30).map(|n| payload(n, 500)).collect())
            .await
            .unwrap();
        assert_eq!(journal.bytes(), 5 * SEGMENT_BYTES);
        let third = positions
            .iter()
            .find(|position| position.segment == 3)
            .unwrap();
        journal.free_before(*third).unwrap();
        assert_eq!(journal.bytes(), 3 * SEGMENT_BYTES);
        assert!(matches!(
            journal.read(positions[0]),
            Err(JournalError::NotFound { .. })
        ));
        assert!(journal.read(*third).is_ok());
        let again = open(&disk.crash());
        assert_eq!(again.records[0].0, *third);
        assert_eq!(again.recovery.last_sequence, Some(Sequence(30)));
        let beyond = Position {
            segment: 1000,
            offset: 0,
        };
        again.journal.free_before(beyond).unwrap();
        assert_eq!(again.journal.bytes(), SEGMENT_BYTES);
        assert!(again.journal.read(positions[29]).is_ok());
    });
}

#[test]
fn a_journal_is_open_once() {
    run(async {
        let disk = SimDisk::new(1);
        let first = open(&disk);
        assert!(matches!(
            open_with(&disk, options()),
            Err(JournalError::InUse { .. })
        ));
        let other = first.journal.clone();
        first.journal.close();
        assert!(matches!(
            other.append(vec![], |_| {}),
            Err(JournalError::Closed)
        ));
        open(&disk);
    });
}

/// A disk with a closed journal of 30 records of 300 bytes, in 3 segments.
async fn filled() -> (SimDisk, Vec<Position>) {
    let disk = SimDisk::new(1);
    let journal = open(&disk).journal;
    let mut positions = Vec::new();
    for n in 1..=30 {
        positions.extend(put(&journal, vec![payload(n, 300)]).await.unwrap());
    }
    journal.close();
    (disk, positions)
}

#[test]
fn damage_before_the_tail_names_its_place() {
    run(async {
        for damaged_record in [0, 7, 12, 13, 20, 28] {
            let (disk, positions) = filled().await;
            let Position { segment, offset } = positions[damaged_record];
            assert!(disk.rot(&path(segment), offset + 100, 3));
            match open_with(&disk, options()).map(|it| it.recovery) {
                Err(JournalError::Damaged {
                    segment: s,
                    offset: o,
                    ..
                }) => {
                    assert_eq!((s, o), (segment, offset));
                }
                other => panic!("record {damaged_record}: {other:?}"),
            }
        }
    });
}

#[test]
fn rot_in_the_last_record_is_cut_and_told() {
    run(async {
        let (disk, positions) = filled().await;
        assert!(disk.rot(&path(positions[29].segment), positions[29].offset + 100, 3));
        for _ in 0..2 {
            let opened = open(&disk);
            assert_eq!(opened.recovery.records, 29);
            let cut = opened.recovery.cut.clone().unwrap();
            assert_eq!(cut.position, positions[29]);
            assert!(cut.proven_synced && opened.recovery.maybe_acknowledged);
            opened.journal.close(); // without an append the next opening says the same
        }
        let opened = open(&disk);
        put(&opened.journal, vec![payload(77, 10)]).await.unwrap();
        opened.journal.close();
        let settled = open(&disk);
        assert!(!settled.recovery.is_torn() && !settled.recovery.maybe_acknowledged);
        assert_eq!(settled.recovery.last_sequence, Some(Sequence(30)));
        assert_eq!(settled.payloads()[29], payload(77, 10));
    });
}

#[test]
fn a_missing_segment_and_a_newer_format_are_refused() {
    run(async {
        let (disk, _) = filled().await;
        disk.remove(&path(2)).unwrap();
        let gap = open_with(&disk, options()).err();
        assert!(matches!(
            gap,
            Some(JournalError::Damaged {
                segment: 2,
                offset: 0,
                ..
            })
        ));

        let (disk, _) = filled().await;
        let file = disk.open(&path(3), crate::disk::Open::Existing).unwrap();
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_at(0, &mut header).unwrap();
        header[8] = 2;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        file.write_at(0, &header).unwrap();
        let newer = open_with(&disk, options()).err();
        assert!(matches!(
            newer,
            Some(JournalError::NewerFormat {
                found: 2,
                supported: 1
            })
        ));
    });
}

#[test]
fn weaker_durability_waits_for_no_sync_and_closing_syncs() {
    run(async {
        for durability in [
            Durability::None,
            Durability::Interval(Duration::from_secs(1)),
        ] {
            let disk = SimDisk::new(1);
            let weak = Options {
                durability,
                ..options()
            };
            let journal = open_with(&disk, weak.clone()).unwrap().journal;
            put(&journal, vec![payload(1, 10)]).await.unwrap();
            let before = disk.syncs();
            for n in 0..20 {
                put(&journal, vec![payload(n, 10)]).await.unwrap();
            }
            assert_eq!(disk.syncs(), before);
            if durability != Durability::None {
                tokio::time::sleep(Duration::from_secs(2)).await;
                assert_eq!(disk.syncs(), before + 1);
            }
            // What has to be synced takes with it what came before, and nothing else.
            let before = disk.syncs();
            let (done, synced) = tokio::sync::oneshot::channel();
            let records = vec![payload(5, 10)];
            let tell = |result| done.send(result).unwrap();
            journal.append_synced(records, tell).unwrap();
            synced.await.unwrap().unwrap();
            assert_eq!(disk.syncs(), before + 1);
            put(&journal, vec![payload(3, 10)]).await.unwrap();
            assert_eq!(disk.syncs(), before + 1);
            journal.close();
            let strict = open(&disk.crash());
            assert_eq!(strict.recovery.records, 23);
            // Records that promise more begin a segment of their own.
            let position = put(&strict.journal, vec![payload(4, 10)]).await.unwrap()[0];
            assert_eq!(
                position,
                Position {
                    segment: 2,
                    offset: 64
                }
            );
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_it_had_written() {
    run(async {
        let disk = SimDisk::new(1);
        let weak = Options {
            durability: Durability::None,
            ..options()
        };
        let journal = open_with(&disk, weak).unwrap().journal;
        put(&journal, vec![payload(1, 600); 10]).await.unwrap();
        let next = disk.kill();
        assert_eq!(open(&next).recovery.records, 10);
        // What was shown is durable from then on.
        assert_eq!(open(&next.crash()).recovery.records, 10);
    });
}

#[test]
fn a_thread_writes_to_the_real_disk() {
    live_three_times(Durability::Always);
}

#[test]
fn what_needs_no_sync_is_written_by_whoever_comes() {
    live_three_times(Durability::None);
    let temporary = tempfile::tempdir().unwrap();
    let options = Options {
        durability: Durability::None,
        reserve_bytes: 0,
        ..Options::default()
    };
    let at = temporary.path().join("journal");
    let (journal, _) = Journal::open(real(), at, options, &mut |_, _, _| Ok(())).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let done = || {
        let tell = tell.clone();
        move |result| tell.send(result).unwrap()
    };
    // The first one begins a segment, which is synced.
    journal.append(vec![payload(1, 9)], done()).unwrap();
    told.recv().unwrap().unwrap();
    while journal.queued_bytes() > 0 {
        std::thread::yield_now();
    }
    let mut here = 0;
    for _ in 0..100 {
        journal.append(vec![payload(2, 9)], done()).unwrap();
        match told.try_recv() {
            Ok(result) => {
                result.unwrap();
                here += 1;
            }
            // The writer had not let go yet.
            Err(_) => told.recv().unwrap().unwrap(),
        }
    }
    assert!(here > 0, "all were handed over");
    journal.append_synced(vec![payload(3, 9)], done()).unwrap();
    told.recv().unwrap().unwrap();
    journal.close();
}

fn live_three_times(durability: Durability) {
    let temporary = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        durability,
        ..Options::default()
    };
    let at = temporary.path().join("journal");
    for life in 0..3_u64 {
        let mut shown = 0;
        let (journal, recovery) =
            Journal::open(real(), at.clone(), options.clone(), &mut |_, _, record| {
                assert_eq!(record.len(), 1000);
                shown += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!((shown, recovery.records), (life * 2000, life * 2000));
        assert!(!recovery.maybe_acknowledged && !recovery.is_torn());
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let journal = journal.clone();
                std::thread::Builder::new()
                    .spawn(move || write_some(&journal, n))
                    .unwrap()
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        journal.close();
    }
}

fn write_some(journal: &Journal, byte: u8) {
    for _ in 0..50 {
        let (tell, told) = std::sync::mpsc::channel();
        let done = move |result| tell.send(result).unwrap();
        let positions = journal.append(vec![payload(byte, 1000); 10], done).unwrap();
        told.recv().unwrap().unwrap();
        assert_eq!(journal.read(positions[9]).unwrap(), payload(byte, 1000));
    }
}

#[test]
fn a_segment_that_is_full_still_proves_its_last_record() {
    run(async {
        for bytes in 3950..=3984 {
            let disk = SimDisk::new(1);
            let journal = open(&disk).journal;
            let position = put(&journal, vec![payload(0, bytes)]).await.unwrap()[0];
            // In the length: without the mark that would look like an unfinished write.
            assert!(disk.rot(&path(1), position.offset, 6));
            let recovery = open(&disk.kill()).recovery;
            assert!(recovery.maybe_acknowledged && recovery.cut.unwrap().proven_synced);
        }
    });
}
