//! Tests: what goes is what the policy means, and enough of it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::core::command::testing;

fn run(keyspace: &mut Keyspace, database: usize, call: &str, now_ms: u64) {
    testing::run(keyspace, database, call, now_ms).expect("a reply");
}

fn rules(policy: Policy) -> Rules {
    Rules {
        policy,
        samples: 5,
        now_ms: 1_000_000,
    }
}

fn names(chosen: &[Chosen<u8>]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for one in chosen {
        let key = String::from_utf8_lossy(&one.key);
        assert!(all.insert(format!("{}/{}/{key}", one.partition, one.database)));
    }
    all
}

#[test]
fn policies_have_names() {
    for name in Policy::names() {
        let policy = Policy::parse(name.to_uppercase().as_bytes()).expect("a policy");
        assert_eq!(policy.name(), name);
        assert_eq!(Policy::at(policy.place()), policy);
        assert_eq!(policy.evicts(), name != "noeviction");
        assert_eq!(policy.is_volatile(), name.starts_with("volatile"));
        assert_eq!(policy.counts_uses(), name.ends_with("lfu"));
        assert_eq!(policy.is_random(), name.ends_with("random"));
    }
    assert_eq!(Policy::parse(b"lru"), None);
    assert_eq!(Policy::at(8), Policy::NoEviction);
}

/// A thousand keys in two partitions, key `n` used `n` seconds after the beginning.
fn aged() -> [Keyspace; 2] {
    let mut keyspaces = [Keyspace::default(), Keyspace::default()];
    for number in 0..1_000_usize {
        let now_ms = number as u64 * 1000;
        let keyspace = &mut keyspaces[number % 2];
        run(keyspace, number % 3, &format!("SET {number} x"), now_ms);
    }
    keyspaces
}

fn mean_age(chosen: &[Chosen<u8>]) -> usize {
    let numbers = chosen.iter().map(|it| {
        let number: usize = String::from_utf8_lossy(&it.key).parse().expect("a number");
        number
    });
    numbers.sum::<usize>() / chosen.len()
}

#[test]
fn what_was_not_used_for_long_goes_first() {
    let keyspaces = aged();
    let all = [(3, &keyspaces[0]), (7, &keyspaces[1])];
    let one_bytes = keyspaces[0]
        .database(0)
        .key_bytes(b"0", 5)
        .expect("it is there");
    let chosen = Chooser::new(9).choose(&all, rules(Policy::AllKeysLru), 100 * one_bytes);
    assert_eq!(names(&chosen).len(), 100);
    // The oldest hundred would have a mean of fifty; drawn by chance they have five hundred.
    assert!(mean_age(&chosen) < 150, "{}", mean_age(&chosen));
    let chosen = Chooser::new(9).choose(&all, rules(Policy::AllKeysRandom), 100 * one_bytes);
    assert_eq!(names(&chosen).len(), 100);
    assert!(
        mean_age(&chosen).abs_diff(500) < 100,
        "{}",
        mean_age(&chosen)
    );
    for policy in [
        Policy::VolatileLru,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ] {
        assert_eq!(Chooser::new(9).choose(&all, rules(policy), 1), []);
    }
    assert_eq!(
        Chooser::<u8>::new(9).choose(&[], rules(Policy::AllKeysLru), 1),
        []
    );
}

#[test]
fn what_is_seldom_used_goes_first() {
    let mut keyspace = Keyspace::default();
    keyspace.set_uses(Uses::Frequency {
        log_factor: 1,
        decay_minutes: 0,
    });
    for number in 0..200 {
        run(&mut keyspace, 0, &format!("SET {number} x EX 2000"), 0);
        // The later half is used often.
        for _ in 0..(number / 100 * 20) {
            run(&mut keyspace, 0, &format!("GET {number}"), 0);
        }
    }
    for policy in [Policy::AllKeysLfu, Policy::VolatileLfu] {
        let chosen = Chooser::new(9).choose(&[(1, &keyspace)], rules(policy), 50 * 80);
        assert!(chosen.len() > 20);
        assert!(mean_age(&chosen) < 100, "{policy:?}: {}", mean_age(&chosen));
    }
}

#[test]
fn what_ends_soonest_goes_first() {
    let mut keyspace = Keyspace::default();
    for number in 0..100 {
        run(&mut keyspace, 2, &format!("SET {number} x"), 0);
    }
    run(&mut keyspace, 2, "EXPIRE 7 5000", 0);
    run(&mut keyspace, 2, "EXPIRE 8 4000", 0);
    let chosen = Chooser::new(9).choose(&[(1, &keyspace)], rules(Policy::VolatileTtl), 1);
    assert_eq!(names(&chosen), BTreeSet::from(["1/2/8".to_owned()]));
    // Few end among many that don't: they are found, and no others.
    for policy in [Policy::VolatileLru, Policy::VolatileRandom] {
        let chosen = Chooser::new(9).choose(&[(1, &keyspace)], rules(policy), 1 << 20);
        let both = BTreeSet::from(["1/2/7".to_owned(), "1/2/8".to_owned()]);
        assert_eq!(names(&chosen), both, "{policy:?}");
    }
}

#[test]
fn candidates_that_are_gone_do_not_go() {
    let mut keyspace = Keyspace::default();
    for number in 0..20 {
        run(&mut keyspace, 0, &format!("SET {number} x EX 2000"), 0);
    }
    let mut chooser = Chooser::new(3);
    let first = chooser.choose(&[(1, &keyspace)], rules(Policy::VolatileLru), 1);
    assert_eq!(first.len(), 1);
    run(&mut keyspace, 0, "FLUSHDB", 0);
    run(&mut keyspace, 0, "SET 1 x", 0);
    assert_eq!(
        chooser.choose(&[(1, &keyspace)], rules(Policy::VolatileLru), 1),
        []
    );
}

proptest! {
    /// Enough goes, nothing twice, nothing that may not go, and no more than has to.
    #[test]
    fn enough_goes(
        keys in proptest::collection::vec((0_usize..2, 0_usize..3, any::<bool>(), 0_usize..200), 1..80),
        policy in proptest::sample::select(POLICIES.to_vec()),
        bytes in 1_usize..20_000,
        seed in any::<u64>(),
    ) {
        let (name, policy) = policy;
        prop_assume!(policy.evicts());
        let mut keyspaces = [Keyspace::default(), Keyspace::default()];
        for (number, (partition, database, ends, length)) in keys.iter().enumerate() {
            let mut call = format!("SET {number} {}", "x".repeat(*length));
            if *ends {
                call.push_str(" PX 2000000");
            }
            run(&mut keyspaces[*partition], *database, &call, number as u64 * 1000);
        }
        let all = [(0_u8, &keyspaces[0]), (1, &keyspaces[1])];
        let chosen = Chooser::new(seed).choose(&all, rules(policy), bytes);
        prop_assert_eq!(names(&chosen).len(), chosen.len());
        let mut sum = 0;
        for (place, one) in chosen.iter().enumerate() {
            prop_assert!(sum < bytes, "{} came after enough", place);
            let number: usize = String::from_utf8_lossy(&one.key).parse().expect("a number");
            let (partition, database, ends, _) = keys[number];
            prop_assert_eq!((usize::from(one.partition), one.database), (partition, database));
            prop_assert!(ends || !name.starts_with("volatile"));
            sum += one.bytes;
        }
        let may_go = keys.iter().filter(|(_, _, ends, _)| *ends || !policy.is_volatile());
        let may_go = may_go.count();
        // By chance some may not have been drawn, but never most of them.
        prop_assert!(sum >= bytes || chosen.len() * 2 >= may_go, "{} of {}", chosen.len(), may_go);
        // The same seed chooses the same.
        prop_assert_eq!(Chooser::new(seed).choose(&all, rules(policy), bytes), chosen);
    }
}
