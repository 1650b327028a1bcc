//! Tests: whatever commands of every family do, a database knows what it takes.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Context, Effects, Flags, Moment, find, table};
use crate::core::data::{DATABASES, Keyspace};

/// Calls that are well formed, so that there is something to work on. `#` is a long word.
const GOOD: &[&str] = &[
    "SET a #",
    "SET b 12345",
    "APPEND a #",
    "APPEND b x",
    "SETRANGE a 100 #",
    "INCR b",
    "SETBIT c 3000 1",
    "BITOP NOT a c",
    "BITFIELD a SET u8 999 7",
    "PFADD d a b c # 1 2 3",
    "PFMERGE a d e",
    "GETDEL a",
    "HSET a a 1 b # c 3",
    "HSET b # # a #",
    "HDEL b #",
    "HPEXPIRE a 3 FIELDS 2 a b",
    "HPEXPIRE # 9 FIELDS 1 a",
    "HINCRBY a n 1",
    "RPUSH b a # c a",
    "LPUSH # # # #",
    "LMOVE b a LEFT RIGHT",
    "LTRIM b 1 2",
    "LREM # 0 #",
    "SADD c 1 2 3",
    "SADD c # a b",
    "SREM c 1 #",
    "SUNIONSTORE d c d",
    "SPOP c",
    "ZADD d 1 a 2 b 3 #",
    "ZADD e 1 #",
    "ZINCRBY e 7 a",
    "ZREMRANGEBYRANK d 0 0",
    "ZUNIONSTORE e 2 d e",
    "GEOADD d 13 38 p 15 37 #",
    "XADD e * a 1",
    "XADD e MAXLEN ~ 1 * a # b #",
    "XDEL e 1-0",
    "XGROUP CREATE e g 0 MKSTREAM",
    "XREADGROUP GROUP g a STREAMS e >",
    "PEXPIRE a 4",
    "PEXPIRE # 2",
    "PERSIST a",
    "RENAME a #",
    "COPY # b REPLACE",
    "MOVE a 1",
    "SWAPDB 0 1",
    "DEL b #",
    "FLUSHDB",
];

fn words(call: &str) -> Vec<Bytes> {
    let long = "a word that is too long to be kept in place, and then some more of it";
    call.split(' ')
        .map(|word| word.replace('#', long).into())
        .collect()
}

fn call() -> impl Strategy<Value = Vec<Bytes>> {
    let names: Vec<String> = table::all()
        .filter(|command| !command.flags.has(Flags::SESSION))
        .map(|command| command.name.to_owned())
        .collect();
    let some = [
        "a", "b", "c", "d", "e", "#", "0", "1", "2", "7", "-1", "g", "COUNT",
    ];
    let tail = proptest::collection::vec(proptest::sample::select(some.to_vec()), 0..6);
    let odd = (proptest::sample::select(names), tail)
        .prop_map(|(name, tail)| words(&format!("{name} {}", tail.join(" "))));
    // Many members, so that small forms become large.
    let many = (
        proptest::sample::select(vec!["SADD c", "ZADD d", "HSET a", "RPUSH #"]),
        60..300_u64,
    )
        .prop_map(|(begin, count)| {
            let members: Vec<String> = (0..2 * count).map(|it| it.to_string()).collect();
            words(&format!("{begin} {}", members.join(" ")))
        });
    let good = proptest::sample::select(GOOD).prop_map(words);
    prop_oneof![2 => odd, 6 => good, 1 => many]
}

proptest! {
    // Each looks at every key after every call.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_taken_is_known(calls in proptest::collection::vec(call(), 1..60)) {
        let mut keyspace = Keyspace::default();
        for (at, words) in calls.iter().enumerate() {
            let at = at as u64;
            let Some(command) = find(words) else {
                continue;
            };
            let moment = Moment {
                now_ms: at,
                seed: at,
                version: at,
                reading: command.flags.has(Flags::READONLY),
            };
            let mut effects = Effects::default();
            let mut context = Context::new(&mut keyspace, 0, moment, &mut effects);
            // What is refused must leave everything counted, too.
            let _ = command.run(&mut context, words);
            for index in 0..DATABASES {
                let (kept, counted) = keyspace.database(index).counted_bytes();
                prop_assert_eq!(kept, counted, "after {:?}", words);
            }
        }
        // And when all is gone, nothing is left.
        for index in 0..DATABASES {
            let database = keyspace.database(index);
            let keys: Vec<_> = (0..database.len()).filter_map(|at| database.at(at)).collect();
            let keys: Vec<_> = keys.into_iter().map(|(key, _)| key.clone()).collect();
            let one_by_one: usize = keys.iter().filter_map(|key| database.key_bytes(key, 5)).sum();
            prop_assert!(keys.is_empty() || one_by_one > 0);
            for key in keys {
                keyspace.database_mut(index).remove(&key);
            }
            prop_assert_eq!(keyspace.database(index).heap_bytes(), 0);
        }
    }
}
