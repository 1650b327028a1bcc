//! Plans, against one keyspace that holds everything.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::core::{
    command::{Context, Executed, Flags, Group, KeyPlaces, find},
    reply::Reply,
};

pub(super) const PARTITIONS: u16 = 7;

fn nothing(_: &mut Context<'_>, _: &[Bytes]) -> Executed {
    Ok(Reply::Null)
}

/// A command as far as routing looks at it.
const fn command(name: &'static str, keys: KeyPlaces) -> Command {
    Command {
        name,
        arity: -1,
        flags: Flags::FAST,
        keys,
        group: Group::Generic,
        since: "",
        summary: "",
        complexity: "",
        execute: nothing,
        subcommands: &[],
    }
}

const ALL_KEYS: KeyPlaces = KeyPlaces::Range {
    first: 1,
    last: -1,
    step: 1,
};
const PAIRS: KeyPlaces = KeyPlaces::Range {
    first: 1,
    last: -1,
    step: 2,
};

/// Keys that are numbers are in the partition of their last digit.
pub(super) fn partition_of(key: &[u8]) -> PartitionId {
    PartitionId(u16::from(key.last().copied().unwrap_or(0)) % PARTITIONS)
}

pub(super) fn words(line: &str) -> Vec<Bytes> {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

fn plan_of(command: &Command, line: &str) -> Plan {
    plan(command, &words(line), PARTITIONS, partition_of).unwrap()
}

/// The plan in short.
fn shape(command: &Command, line: &str) -> String {
    match plan_of(command, line) {
        Plan::Anywhere => "anywhere".to_owned(),
        Plan::One(partition) => format!("one {partition}"),
        Plan::Parts(parts, merge) => {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| {
                    let words: Vec<_> = part
                        .words
                        .iter()
                        .map(|word| String::from_utf8_lossy(word).into_owned())
                        .collect();
                    format!("{} {:?}", words.join(" "), part.keys)
                })
                .collect();
            format!("{merge:?}: {}", parts.join(", "))
        }
        Plan::Every(merge) => format!("every {merge:?}"),
        Plan::Search => "search".to_owned(),
        Plan::Scan(_) => "scan".to_owned(),
        Plan::Atomic(partitions) => format!("atomic {}", partitions.len()),
    }
}

#[test]
fn each_command_has_its_way() {
    let (get, del, mget, mset) = (
        command("get", KeyPlaces::ONE),
        command("del", ALL_KEYS),
        command("mget", ALL_KEYS),
        command("mset", PAIRS),
    );
    // '0' is 48, in partition 6; '1' in 0.
    for (command, line, expected) in [
        (&get, "get 1", "one 0"),
        (&del, "del 1", "one 0"),
        (&del, "del a1 b1", "one 0"),
        (&del, "del a1 0 b1", "Sum: del a1 b1 [0, 2], del 0 [1]"),
        (&mget, "mget 0 1 0", "Places: mget 1 [1], mget 0 0 [0, 2]"),
        (&mset, "mset 0 x 1 y", "atomic 2"),
        (&mset, "mset 1 0 8 y", "one 0"),
    ] {
        assert_eq!(shape(command, line), expected, "{line}");
    }
    for (name, expected) in [
        ("dbsize", "every Sum"),
        ("keys", "every Concatenation"),
        ("flushdb", "every Status"),
        ("flushall", "every Status"),
        ("randomkey", "search"),
        ("swapdb", "atomic 7"),
        ("time", "anywhere"),
    ] {
        let command = command(name, KeyPlaces::None);
        assert_eq!(shape(&command, name), expected);
    }
    assert_eq!(shape(&command("scan", KeyPlaces::None), "scan 0"), "scan");
    assert!(promise(&del).is_some() && promise(&mset).is_none());
}

#[test]
fn sort_goes_where_its_patterns_may_lead() {
    /// As a Redis Cluster places keys: by the tag, if there is one.
    fn by_tag(key: &[u8]) -> PartitionId {
        let tag = key.split(|byte| matches!(byte, b'{' | b'}')).nth(1);
        partition_of(tag.unwrap_or(key))
    }
    for name in ["sort", "sort_ro"] {
        let sort = command(name, KeyPlaces::ONE);
        for (line, touched) in [
            ("sort 1", 1),
            ("sort 1 BY nosort GET #", 1),
            ("sort 1 by w_* GET #", 7),
            ("sort 1 GET w_*", 7),
            ("sort 1 GET {1}*", 1),
            ("sort 1 GET {0}* BY {1}*", 2),
            ("sort 1 GET *{1}", 7),
            ("sort 1 GET {*}", 7),
            ("sort 1 GET {}*{1}", 7),
            ("sort 1 GET {1*", 7),
        ] {
            let plan = plan(&sort, &words(line), PARTITIONS, by_tag).unwrap();
            let counted = match plan {
                Plan::One(partition) if partition == by_tag(b"1") => 1,
                Plan::Atomic(partitions) => partitions.len(),
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(counted, touched, "{line}");
        }
    }
}

#[test]
fn one_partition_takes_everything() {
    for (name, line) in [
        ("mset", "mset 0 x 1 y"),
        ("scan", "scan x"),
        ("keys", "keys *"),
    ] {
        let plan = plan(&command(name, PAIRS), &words(line), 1, partition_of);
        assert!(matches!(plan, Ok(Plan::One(PartitionId(0)))), "{name}");
    }
}

#[test]
fn a_transaction_is_as_wide_as_all_of_it() {
    let get = command("get", KeyPlaces::ONE);
    let dbsize = command("dbsize", KeyPlaces::None);
    let time = command("time", KeyPlaces::None);
    let wide = |calls: &[(&Command, &str)], watched: &[&[u8]]| {
        let calls: Vec<_> = calls
            .iter()
            .map(|(command, line)| (*command, words(line)))
            .collect();
        let calls = calls.iter().map(|(command, words)| (*command, &words[..]));
        match plan_transaction(calls, watched.iter().copied(), PARTITIONS, partition_of).unwrap() {
            Plan::Anywhere => 0,
            Plan::One(_) => 1,
            Plan::Atomic(all) => all.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wide(&[(&time, "time")], &[]), 0);
    assert_eq!(wide(&[(&get, "get 1"), (&time, "time")], &[b"1"]), 1);
    assert_eq!(wide(&[(&get, "get 1")], &[b"0"]), 2);
    assert_eq!(wide(&[(&get, "get 1"), (&get, "get 2")], &[]), 2);
    assert_eq!(wide(&[(&get, "get 1"), (&dbsize, "dbsize")], &[]), 7);
}

#[test]
fn answers_that_do_not_fit_are_an_error() {
    let error = Reply::Error("ERR a".into());
    for merge in [Merge::Sum, Merge::Concatenation, Merge::Status] {
        let merged = merge.of_all(vec![Reply::OK, error.clone()]);
        assert_eq!(merged, error, "{merge:?}");
    }
    assert!(matches!(
        Merge::Sum.of_all(vec![Reply::OK]),
        Reply::Error(_)
    ));
    let Plan::Parts(parts, merge) = plan_of(&command("mget", ALL_KEYS), "mget 0 1") else {
        panic!("it is split");
    };
    for answers in [vec![], vec![Reply::OK; 2], vec![Reply::Array(vec![]); 2]] {
        assert!(matches!(merge.of_parts(&parts, answers), Reply::Error(_)));
    }
}

#[test]
fn a_cursor_is_a_number() {
    let scan = command("scan", KeyPlaces::None);
    for cursor in ["x", "-1", "+1", "1.0", "", "18446744073709551616"] {
        let words = [Bytes::from("scan"), Bytes::from(cursor)];
        assert_eq!(
            plan(&scan, &words, PARTITIONS, partition_of).err(),
            Some(CommandError::Other("ERR invalid cursor")),
            "{cursor:?}"
        );
    }
    assert_eq!(shape(&scan, "scan 18446744073709551615"), "scan");
}

/// A partition's SCAN: keys in a row, looked at from the end.
fn scan_of(keys: &[u64], words: &[Bytes]) -> Reply {
    let number = |word: &Bytes| std::str::from_utf8(word).unwrap().parse::<usize>().unwrap();
    let from = match number(&words[1]) {
        0 => keys.len(),
        place => place.min(keys.len()),
    };
    let to = from.saturating_sub(words.get(3).map_or(10, number));
    let found = keys[to..from]
        .iter()
        .map(|key| Reply::bulk(key.to_string()));
    Reply::Array(vec![
        Reply::bulk(to.to_string()),
        Reply::Array(found.collect()),
    ])
}

proptest! {
    #[test]
    fn a_scan_meets_every_key_once(
        keys in proptest::collection::btree_set(0u64..1000, 0..60),
        partitions in select(vec![2u16, 3, 64, 65, 1024]),
        count in 1usize..20,
    ) {
        let mut held: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        for key in &keys {
            held.entry((key % u64::from(partitions)) as u16).or_default().push(*key);
        }
        let mut met = Vec::new();
        let mut cursor = "0".to_owned();
        let mut rounds = 0;
        loop {
            let mut scan = Scan::new(&words(&format!("scan {cursor} COUNT {count}")), partitions)
                .unwrap();
            let answer = loop {
                let (partition, words) = scan.ask();
                let keys = held.get(&partition.0).map_or(&[][..], |keys| keys);
                if let Some(answer) = scan.take(scan_of(keys, &words)) {
                    break answer;
                }
            };
            let Reply::Array(pair) = answer else { panic!("an array") };
            let (Reply::Bulk(next), Reply::Array(found)) = (&pair[0], &pair[1]) else {
                panic!("a cursor and keys");
            };
            // What one partition gives, and less than that from those before it.
            prop_assert!(found.len() < 2 * count);
            met.extend(found.iter().map(|key| match key {
                Reply::Bulk(key) => std::str::from_utf8(key).unwrap().parse::<u64>().unwrap(),
                other => panic!("{other:?}"),
            }));
            cursor = String::from_utf8(next.to_vec()).unwrap();
            if cursor == "0" {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 2000, "it ends");
        }
        met.sort_unstable();
        prop_assert_eq!(met, keys.into_iter().collect::<Vec<_>>());
    }

    /// Each key's answer is the key: it has to come back to its place.
    #[test]
    fn parts_come_together_again(keys in vec(0u16..100, 1..20)) {
        let line = keys.iter().fold("mget".to_owned(), |line, key| format!("{line} {key}"));
        let expected: Vec<Reply> = keys.iter().map(|key| Reply::bulk(key.to_string())).collect();
        let answer = |words: &[Bytes]| {
            Reply::Array(words[1..].iter().map(Reply::bulk).collect())
        };
        let merged = match plan_of(&command("mget", ALL_KEYS), &line) {
            Plan::One(_) => answer(&words(&line)),
            Plan::Parts(parts, merge) => {
                prop_assert!(parts.len() > 1);
                for part in &parts {
                    for key in &part.words[1..] {
                        prop_assert_eq!(partition_of(key), part.partition);
                    }
                }
                let answers = parts.iter().map(|part| answer(&part.words)).collect();
                merge.of_parts(&parts, answers)
            }
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(merged, Reply::Array(expected));
    }
}

#[test]
fn what_is_spread_is_in_the_table() {
    for name in [
        "del",
        "unlink",
        "exists",
        "touch",
        "mget",
        "dbsize",
        "keys",
        "flushdb",
        "flushall",
        "randomkey",
        "scan",
        "swapdb",
    ] {
        let command = find(&[Bytes::from(name)]).unwrap_or_else(|| panic!("{name}"));
        assert!(!matches!(spread(command), Spread::No), "{name}");
    }
}
