//! Both stores against one model, and what each does in a crash.

#![allow(
    clippy::disallowed_methods,
    reason = "files are damaged and threads raced on purpose"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::random;

const TABLES: &[&str] = &["meta", "data"];

fn real(dir: &TempDir) -> Store {
    Store::open(
        dir.path(),
        StoreOptions {
            cache_bytes: 1 << 20,
        },
        TABLES,
    )
    .unwrap()
}

fn both(check: impl Fn(Store)) {
    let dir = TempDir::new().unwrap();
    check(real(&dir));
    check(Store::simulated(&SimStore::new(), TABLES));
}

fn put(store: &Store, pairs: &[(&'static str, &'static str)]) {
    let mut batch = Batch::new();
    for (key, value) in pairs {
        batch.put("data", *key, *value);
    }
    store.write(batch).unwrap();
}

fn keys(scan: impl Iterator<Item = Result<Pair, StoreError>>) -> String {
    let keys = scan.map(|pair| String::from_utf8(pair.unwrap().0.to_vec()).unwrap());
    keys.collect::<Vec<_>>().join(" ")
}

#[test]
fn ranges_in_both_directions() {
    both(|store| {
        put(&store, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        assert_eq!(keys(store.scan("data", ..)), "a b c d");
        assert_eq!(keys(store.scan("data", ..).rev()), "d c b a");
        assert_eq!(keys(store.scan("data", &b"b"[..]..&b"d"[..])), "b c");
        assert_eq!(
            keys(store.scan("data", &b"b"[..]..=&b"d"[..]).rev()),
            "d c b"
        );
        assert_eq!(
            keys(store.scan("data", (Bound::Excluded(&b"b"[..]), Bound::Unbounded))),
            "c d"
        );
        assert_eq!(
            keys(store.scan("data", &b"d"[..]..&b"b"[..])),
            "",
            "backwards is empty"
        );
        assert_eq!(keys(store.scan("meta", ..)), "");
        assert_eq!(store.get("data", b"b").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(store.get("data", b"bb").unwrap(), None);
        assert_eq!(store.get("data", b"").unwrap(), None);
        let mut ends = store.scan("data", ..);
        let from_both = [
            ends.next(),
            ends.next_back(),
            ends.next(),
            ends.next_back(),
            ends.next(),
        ];
        assert_eq!(keys(from_both.into_iter().flatten()), "a d b c");
    });
}

#[test]
fn a_snapshot_stands_still() {
    both(|store| {
        put(&store, &[("a", "1"), ("b", "2")]);
        let before = store.snapshot();
        let mut scan = store.scan("data", ..);
        assert!(scan.next().is_some());
        let mut batch = Batch::new();
        batch.delete("data", "b");
        batch.put("data", "a", "9");
        batch.put("meta", "applied", "7");
        store.write(batch).unwrap();
        store.persist().unwrap();
        assert_eq!(keys(before.scan("data", ..)), "a b");
        assert_eq!(
            before.get("data", b"a").unwrap().as_deref(),
            Some(&b"1"[..])
        );
        assert_eq!(before.get("meta", b"applied").unwrap(), None);
        assert_eq!(keys(scan), "b", "so does a scan");
        assert_eq!(keys(store.scan("data", ..)), "a");
        store.clear().unwrap();
        assert_eq!(keys(before.scan("data", ..)), "a b");
        assert_eq!(keys(store.scan("data", ..)), "");
        assert_eq!(store.get("meta", b"applied").unwrap(), None);
        assert!(store.disk_bytes().is_ok());
    });
}

#[test]
fn removing_a_range_in_steps() {
    both(|store| {
        put(
            &store,
            &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")],
        );
        let first = store.remove_range("data", &b"b"[..].., 2).unwrap();
        assert_eq!(
            first,
            Removed {
                keys: 2,
                rest: Some(Bytes::from("d"))
            }
        );
        let second = store.remove_range("data", &b"d"[..].., 2).unwrap();
        assert_eq!(
            second,
            Removed {
                keys: 2,
                rest: None
            }
        );
        assert_eq!(keys(store.scan("data", ..)), "a");
    });
}

#[test]
fn later_writes_of_a_batch_win() {
    both(|store| {
        let mut batch = Batch::new();
        batch.put("data", "a", "1");
        batch.delete("data", "a");
        batch.put("data", "b", "1");
        batch.put("data", "b", "2");
        assert_eq!(
            (batch.len(), batch.bytes(), batch.is_empty()),
            (4, 7, false)
        );
        store.write(batch).unwrap();
        assert_eq!(keys(store.scan("data", ..)), "b");
        assert_eq!(store.get("data", b"b").unwrap().as_deref(), Some(&b"2"[..]));
    });
}

#[test]
fn bad_keys_are_refused_before_anything_is_written() {
    both(|store| {
        for key in [Bytes::new(), Bytes::from(vec![0; KEY_BYTES_MAX + 1])] {
            let mut batch = Batch::new();
            batch.put("data", "good", "");
            batch.put("data", key, "");
            assert!(matches!(store.write(batch), Err(StoreError::BadKey { .. })));
        }
        assert_eq!(keys(store.scan("data", ..)), "");
        put(&store, &[("good", "")]);
    });
}

#[test]
#[should_panic(expected = "without a table")]
fn an_unknown_table_is_our_own_bug() {
    let _ = Store::simulated(&SimStore::new(), TABLES).get("dada", b"a");
}

#[test]
fn the_real_store_is_found_again_and_opened_once() {
    let dir = TempDir::new().unwrap();
    let store = real(&dir);
    put(&store, &[("a", "1")]);
    store.persist().unwrap();
    let second = Store::open(dir.path(), StoreOptions::default(), TABLES);
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    drop(store);
    let store = real(&dir);
    assert_eq!(keys(store.scan("data", ..)), "a");
    store.clear().unwrap();
    put(&store, &[("b", "1")]);
    drop(store);
    assert_eq!(keys(real(&dir).scan("data", ..)), "b");
    for _ in 0..2 {
        Store::destroy(dir.path()).unwrap();
    }
    assert_eq!(keys(real(&dir).scan("data", ..)), "");
}

#[test]
fn readers_never_see_half_a_batch() {
    const ROUNDS: u32 = 300;
    let dir = TempDir::new().unwrap();
    let store = real(&dir);
    let writer = store.clone();
    let writing = std::thread::spawn(move || {
        for round in 1..=ROUNDS {
            let mut batch = Batch::new();
            batch.put("meta", "round", round.to_be_bytes().to_vec());
            // So that applying it takes a while.
            for filler in 0u8..200 {
                batch.put("data", vec![filler], "");
            }
            batch.put("data", "round", round.to_be_bytes().to_vec());
            writer.write(batch).unwrap();
        }
    });
    let round = |value: Option<Bytes>| {
        value.map_or(0, |value| u32::from_be_bytes(value[..].try_into().unwrap()))
    };
    let mut last = 0;
    while last < ROUNDS {
        let view = store.snapshot();
        let first = round(store.get("meta", b"round").unwrap());
        let second = round(store.get("data", b"round").unwrap());
        assert!(last <= first && first <= second, "{last} {first} {second}");
        let viewed = ["meta", "data"].map(|table| round(view.get(table, b"round").unwrap()));
        assert!(
            viewed[0] == viewed[1] && viewed[0] <= first,
            "{viewed:?} {first}"
        );
        last = first;
    }
    writing.join().unwrap();
}

#[test]
fn a_damaged_store_says_so() {
    let dir = TempDir::new().unwrap();
    drop(real(&dir));
    std::fs::write(dir.path().join("version"), b"nonsense").unwrap();
    let opened = Store::open(dir.path(), StoreOptions::default(), TABLES);
    assert!(matches!(opened, Err(StoreError::Damaged { .. })));
}

#[test]
fn a_simulated_crash_loses_a_suffix_of_what_was_not_persisted() {
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..40 {
        random::seed_thread(seed);
        let disk = SimStore::new();
        let store = Store::simulated(&disk, TABLES);
        for step in 0u8..6 {
            let mut batch = Batch::new();
            batch.put("data", vec![step], "x");
            batch.put("meta", "last", vec![step]);
            store.write(batch).unwrap();
            if step == 2 {
                store.persist().unwrap();
            }
        }
        let view = store.snapshot();
        disk.crash();
        assert!(matches!(store.get("data", b"a"), Err(StoreError::Crashed)));
        assert!(matches!(
            view.scan("data", ..).next(),
            Some(Err(StoreError::Crashed))
        ));
        let store = Store::simulated(&disk, TABLES);
        let last = store.get("meta", b"last").unwrap().unwrap()[0];
        assert!(last >= 2, "what was persisted is there");
        assert_eq!(
            store.scan("data", ..).count(),
            usize::from(last) + 1,
            "batches are whole"
        );
        kept.insert(last);
    }
    assert_eq!(kept.len(), 4, "every outcome happens");
    random::unseed_thread();
}

#[test]
fn a_simulated_failure_poisons_until_the_next_opening() {
    let disk = SimStore::new();
    let store = Store::simulated(&disk, TABLES);
    put(&store, &[("a", "1")]);
    disk.set_failing(true);
    assert!(matches!(store.persist(), Err(StoreError::Disk { .. })));
    disk.set_failing(false);
    assert!(matches!(store.persist(), Err(StoreError::Poisoned)));
    Store::simulated(&disk, TABLES).persist().unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, Option<u8>)>),
    Persist,
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = proptest::collection::vec((0u8..200, proptest::option::of(any::<u8>())), 1..40);
    let step = prop_oneof![4 => write.prop_map(Step::Write), 1 => Just(Step::Persist), 1 => Just(Step::Look)];
    proptest::collection::vec(step, 1..40)
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(scan: impl Iterator<Item = Result<Pair, StoreError>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    scan.map(|pair| {
        pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
            .unwrap()
    })
    .collect()
}

#[test]
fn a_store_that_is_not_needed_is_deleted_after_its_last_reader() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = Store::open(&path, StoreOptions::default(), TABLES).unwrap();
    let mut batch = Batch::new();
    for key in 0..100_u8 {
        batch.put("data", vec![key], vec![key; 1000]);
    }
    store.write(batch).unwrap();
    let mut reader = store.scan("data", ..);
    assert!(reader.next().is_some());
    store.destroy_when_closed();
    drop(store);
    assert_eq!(contents(reader.by_ref()).len(), 99, "it reads to the end");
    assert!(path.exists());
    drop(reader);
    assert!(!path.exists());
}

/// So many rows, in order, of incompressible values.
fn fill(store: &Store, keys: std::ops::Range<u32>) {
    for key in keys {
        let mut batch = Batch::new();
        let value: Vec<u8> = std::iter::repeat_with(|| random::u64().to_le_bytes())
            .take(512)
            .flatten()
            .collect();
        batch.put("data", key.to_be_bytes().to_vec(), value);
        store.write(batch).unwrap();
    }
}

#[test]
fn the_space_of_what_was_deleted_comes_back_while_others_write() {
    const ROWS: u32 = 2_000;
    const KEPT: u32 = 100;
    let dir = TempDir::new().unwrap();
    let store = real(&dir);
    fill(&store, 0..ROWS);
    store.give_back("data").unwrap();
    let full = store.disk_bytes().unwrap();
    assert!(full > u64::from(ROWS) * 4096, "{full} bytes");

    let view = store.snapshot();
    let from = KEPT.to_be_bytes();
    store
        .remove_range("data", &from[..].., ROWS as usize)
        .unwrap();
    store.give_back("data").unwrap();
    assert_eq!(view.scan("data", ..).count(), ROWS as usize);
    drop(view);

    let writer = store.clone();
    let (first, last) = (ROWS, ROWS + 200);
    let writing = std::thread::spawn(move || fill(&writer, first..last));
    store.give_back("data").unwrap();
    writing.join().unwrap();
    // Once more, with nothing under way: the first may have met the writer's.
    store.give_back("data").unwrap();
    let left = store.disk_bytes().unwrap();
    assert!(left < full / 4, "{left} of {full} bytes are left");
    let files = files_bytes(&dir.path().join("keyspaces"));
    assert!(files < full / 2, "{files} of {full} bytes are left on disk");
    assert_eq!(store.scan("data", ..).count() as u32, KEPT + last - first);
}

fn files_bytes(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => files_bytes(&entry.path()),
            meta => meta.len(),
        })
        .sum()
}

/// Runs the steps, checks every snapshot taken on the way, and gives the model's states.
fn run(store: &Store, steps: Vec<Step>) -> (Vec<Model>, usize) {
    let mut states = vec![Model::new()];
    let mut durable = 0;
    let mut views = Vec::new();
    for step in steps {
        match step {
            Step::Persist => {
                store.persist().unwrap();
                durable = states.len() - 1;
            }
            Step::Look => views.push((store.snapshot(), states.len() - 1)),
            Step::Write(writes) => {
                let mut model = states.last().unwrap().clone();
                let mut batch = Batch::new();
                for (key, value) in writes {
                    let key = vec![key / 16, key];
                    match value {
                        Some(value) => {
                            model.insert(key.clone(), vec![value]);
                            batch.put("data", key, vec![value]);
                        }
                        None => {
                            model.remove(&key);
                            batch.delete("data", key);
                        }
                    }
                }
                store.write(batch).unwrap();
                states.push(model);
            }
        }
    }
    for (view, state) in views {
        let model: Vec<_> = states[state].clone().into_iter().collect();
        assert_eq!(contents(view.scan("data", ..)), model);
        let mut reversed = contents(view.scan("data", &[3u8][..]..).rev());
        reversed.reverse();
        let tail: Vec<_> = states[state]
            .range(vec![3u8]..)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(reversed, tail);
    }
    (states, durable)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_simulated_store_is_the_model_even_in_crashes(steps in steps(), seed in any::<u64>()) {
        random::seed_thread(seed);
        let disk = SimStore::new();
        let (states, durable) = run(&Store::simulated(&disk, TABLES), steps);
        disk.crash();
        let left: Model = contents(Store::simulated(&disk, TABLES).scan("data", ..)).into_iter().collect();
        prop_assert!(states[durable..].contains(&left));
        random::unseed_thread();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_real_store_is_the_model_and_found_again(steps in steps()) {
        let dir = TempDir::new().unwrap();
        let (states, _) = run(&real(&dir), steps);
        let left: Model = contents(real(&dir).scan("data", ..)).into_iter().collect();
        prop_assert_eq!(Some(&left), states.last());
    }
}
