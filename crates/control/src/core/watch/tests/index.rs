//! The index finds what a look at every watcher finds.

use proptest::prelude::*;

use super::super::index::{End, Index, Keys, WatcherSlot};
use super::*;

fn contains(keys: &Keys, key: &[u8]) -> bool {
    match keys {
        Keys::One(one) => one[..] == *key,
        Keys::Range(begin, End::Before(end)) => begin[..] <= *key && *key < end[..],
        Keys::Range(begin, End::Never) => begin[..] <= *key,
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_scan(
        steps in prop::collection::vec(("[abc]{0,3}", "[abc]{0,3}|\\PC{0}\0", any::<bool>(), any::<prop::sample::Index>()), 1..150),
        probes in prop::collection::vec("[abc]{0,4}", 1..20),
    ) {
        let mut index = Index::default();
        let mut model: Vec<(WatcherSlot, Keys)> = Vec::new();
        for (slot, (key, range_end, removes, which)) in (0..).zip(steps) {
            if removes && !model.is_empty() {
                let (slot, keys) = model.swap_remove(which.index(model.len()));
                index.remove(&keys, slot);
            }
            if let Some(keys) = Keys::parse(key.as_bytes(), range_end.as_bytes()) {
                index.insert(&keys, WatcherSlot(slot));
                model.push((WatcherSlot(slot), keys));
            }
        }
        for probe in probes {
            let mut found = Vec::new();
            index.lookup(probe.as_bytes(), |slot| found.push(slot));
            found.sort_unstable();
            let mut want: Vec<_> = model.iter().filter(|(_, keys)| contains(keys, probe.as_bytes())).map(|(slot, _)| *slot).collect();
            want.sort_unstable();
            prop_assert_eq!(found, want);
        }
    }
}

#[test]
fn keys_and_ends_are_read_as_in_the_api() {
    let key = Bytes::from_static;
    assert_eq!(Keys::parse(b"a", b""), Some(Keys::One(key(b"a"))));
    assert_eq!(Keys::parse(b"", b""), Some(Keys::One(key(b"\0"))));
    assert_eq!(
        Keys::parse(b"a", b"\0"),
        Some(Keys::Range(key(b"a"), End::Never))
    );
    assert_eq!(
        Keys::parse(b"", b"\0"),
        Some(Keys::Range(key(b"\0"), End::Never))
    );
    assert_eq!(
        Keys::parse(b"a", b"b"),
        Some(Keys::Range(key(b"a"), End::Before(key(b"b"))))
    );
    assert_eq!(Keys::parse(b"a", b"a"), None);
    assert_eq!(Keys::parse(b"b", b"a"), None);
}
