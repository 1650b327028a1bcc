//! Random lives of a journal: appends, crashes, kills, rot.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;

/// One thing that happens to a journal.
#[derive(Clone, Debug)]
enum Step {
    /// Appends records of these lengths; waits for them if told so.
    Append(Vec<usize>, bool),
    /// Lets virtual time pass.
    Pass(u64),
    /// The machine loses power.
    Crash,
    /// The process is killed.
    Kill,
    /// The journal is closed and opened.
    Close,
    /// Frees what lies before the record with this share (of 100) of all.
    Free(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::collection::vec(0_usize..1500, 1..6), any::<bool>())
            .prop_map(|(sizes, wait)| Step::Append(sizes, wait)),
        3 => (0_u64..5000).prop_map(Step::Pass),
        3 => Just(Step::Crash),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => (0_usize..100).prop_map(Step::Free),
    ]
}

/// The journal and what it must hold.
struct Checked {
    disk: SimDisk,
    opened: Opened,
    appended: Vec<(Position, Bytes)>,
    acknowledged: Arc<AtomicUsize>,
    /// The records before this one may have been freed.
    freed: usize,
    random: u64,
}

impl Checked {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let opened = open(&disk);
        let acknowledged = Arc::default();
        Checked {
            disk,
            opened,
            appended: Vec::new(),
            acknowledged,
            freed: 0,
            random: seed,
        }
    }

    async fn append(&mut self, sizes: &[usize], wait: bool) {
        let fresh = |size: &usize| {
            self.random = self
                .random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            payload((self.random >> 56) as u8, *size)
        };
        let records: Vec<Bytes> = sizes.iter().map(fresh).collect();
        let acknowledged = Arc::clone(&self.acknowledged);
        let all = self.appended.len() + records.len();
        let (tell, told) = oneshot::channel();
        let done = move |result: Result<(), JournalError>| {
            if result.is_ok() {
                let before = acknowledged.swap(all, Ordering::SeqCst);
                assert!(before < all, "in order");
            }
            let _ = tell.send(());
        };
        let positions = self.opened.journal.append(records.clone(), done).unwrap();
        self.appended.extend(positions.into_iter().zip(records));
        if wait {
            told.await.unwrap();
        }
    }

    fn reopen(&mut self, disk: SimDisk) {
        self.disk = disk;
        self.opened = open(&self.disk);
        let found = &self.opened.records;
        let last = self
            .opened
            .recovery
            .last_sequence
            .map_or(0, |it| it.0 as usize);
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        assert!(
            last >= acknowledged,
            "{last} of {acknowledged} acknowledged records are there"
        );
        assert!(last <= self.appended.len(), "records were invented");
        let first = last - found.len();
        assert!(first <= self.freed, "a record is gone that was not freed");
        assert_eq!(found[..], self.appended[first..last]);
        self.appended.truncate(last);
        self.acknowledged = Arc::new(AtomicUsize::new(last));
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Append(sizes, wait) => self.append(&sizes, wait).await,
            Step::Pass(us) => tokio::time::sleep(Duration::from_micros(us)).await,
            Step::Crash => self.reopen(self.disk.crash()),
            Step::Kill => self.reopen(self.disk.kill()),
            Step::Close => {
                self.opened.journal.clone().close();
                assert_eq!(
                    self.acknowledged.load(Ordering::SeqCst),
                    self.appended.len()
                );
                self.reopen(self.disk.clone());
            }
            Step::Free(share) => {
                let acknowledged = self.acknowledged.load(Ordering::SeqCst);
                let before = acknowledged * share / 100;
                if let Some((position, _)) = self.appended.get(before) {
                    self.opened.journal.free_before(*position).unwrap();
                    self.freed = self.freed.max(before);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(async {
            let mut checked = Checked::new(seed);
            for step in steps {
                checked.step(step).await;
            }
            checked.reopen(checked.disk.crash());
        });
    }

    #[test]
    fn rot_is_never_silent(
        sizes in prop::collection::vec(prop::collection::vec(0_usize..900, 1..4), 1..12),
        closed in any::<bool>(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        run(async {
            let mut checked = Checked::new(1);
            for group in &sizes {
                checked.append(group, true).await;
            }
            let disk = if closed {
                checked.opened.journal.clone().close();
                checked.disk.clone()
            } else {
                checked.disk.kill()
            };
            rot_somewhere(&disk, place, bit);
            match open_with(&disk, options()) {
                Err(JournalError::Damaged { .. }) => {}
                Err(other) => panic!("{other}"),
                Ok(opened) if opened.recovery.maybe_acknowledged => {
                    let found = opened.records.len();
                    assert_eq!(opened.records[..], checked.appended[..found]);
                }
                Ok(opened) => assert_eq!(opened.records, checked.appended),
            }
        });
    }
}

fn rot_somewhere(disk: &SimDisk, place: prop::sample::Index, bit: u8) {
    let segments = recovery::segment_numbers(disk, &dir()).unwrap();
    let at = place.index(segments.len() * SEGMENT_BYTES as usize) as u64;
    let segment = segments[(at / SEGMENT_BYTES) as usize];
    assert!(disk.rot(&path(segment), at % SEGMENT_BYTES, bit));
}

#[test]
fn an_unfinished_commit_is_rarely_suspected() {
    let (mut torn, mut suspected) = (0, 0);
    for seed in 0..300 {
        run(async {
            let disk = SimDisk::new(seed);
            let journal = open(&disk).journal;
            put(&journal, vec![payload(1, 100); 3]).await.unwrap();
            journal.append(vec![payload(2, 256); 10], |_| {}).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            let recovery = open(&disk.crash()).recovery;
            torn += usize::from(recovery.is_torn());
            suspected += usize::from(recovery.maybe_acknowledged);
        });
    }
    assert!(torn > 100, "{torn} torn of 300");
    assert!(
        suspected * 10 < torn,
        "{suspected} suspected of {torn} torn"
    );
}

/// Whatever of an unfinished commit is there, where disks write words of eight bytes whole: each
/// sector new, old or torn, after a crash that left a mark on the disk or one that did not.
#[test]
fn an_unfinished_commit_is_never_suspected_where_words_are_whole() {
    let mut torn = 0;
    for seed in 0..3_000 {
        run(async {
            let mut disk = SimDisk::new(seed);
            disk.set_tear_bytes(8);
            let size = |number: u64| (seed.wrapping_mul(31 + number) % 700) as usize;
            for life in 0..3 {
                let journal = open(&disk).journal;
                // Where nothing comes before it, the mark of the life before is in its place.
                if life == 0 || seed.is_multiple_of(2) {
                    let records = vec![payload(1, size(life)); 2];
                    put(&journal, records).await.unwrap();
                }
                let unfinished = (4..10).map(|number| payload(2, size(number + life)));
                journal.append(unfinished.collect(), |_| {}).unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                // What a killed process left is made durable by the next, its mark too.
                disk = if (seed + life).is_multiple_of(3) {
                    disk.kill()
                } else {
                    disk.crash()
                };
                let opened = open(&disk);
                let recovery = &opened.recovery;
                torn += usize::from(recovery.is_torn());
                assert!(!recovery.maybe_acknowledged, "seed {seed}: {recovery:?}");
                opened.journal.close();
            }
        });
    }
    assert!(torn > 1_000, "only {torn} were torn");
}
