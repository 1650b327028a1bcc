//! Tests: whatever clients send to hashes, lists and streams, no command panics, one that is
//! refused has changed nothing, one that reads doesn't write, and two replicas agree.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Context, Effects, Flags, Group, Moment, find, table};
use crate::core::data::{Keyspace, Milliseconds};

/// Words that mean something to some command, and a few that don't.
const WORDS: &[&str] = &[
    "a",
    "b",
    "c",
    "f",
    "g",
    "",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "100",
    "1.5",
    "1-1",
    "2-*",
    "*",
    "-",
    "+",
    "$",
    ">",
    "~",
    "=",
    "(1",
    "0-0",
    "x y",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615-18446744073709551615",
    "NX",
    "XX",
    "GT",
    "LT",
    "FIELDS",
    "COUNT",
    "MATCH",
    "NOVALUES",
    "WITHVALUES",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "RANK",
    "MAXLEN",
    "MINID",
    "LIMIT",
    "NOMKSTREAM",
    "STREAMS",
    "BLOCK",
    "GROUP",
    "NOACK",
    "MKSTREAM",
    "ENTRIESREAD",
    "ENTRIESADDED",
    "MAXDELETEDID",
    "IDLE",
    "TIME",
    "RETRYCOUNT",
    "FORCE",
    "JUSTID",
    "LASTID",
    "FULL",
    "CREATE",
    "SETID",
    "DESTROY",
    "CREATECONSUMER",
    "DELCONSUMER",
    "CONSUMERS",
    "STREAM",
    "HELP",
];

/// Calls that are well formed, so that there is something to work on.
const GOOD: &[&str] = &[
    "HSET a a 1 b 2 c 3",
    "HPEXPIRE a 3 FIELDS 2 a b",
    "HPEXPIRE a 0 FIELDS 1 c",
    "RPUSH b a b c a",
    "LMOVE b a LEFT RIGHT",
    "LTRIM b 1 2",
    "XADD c * a 1",
    "XADD c MAXLEN ~ 1 * a 1",
    "XDEL c 1-1",
    "XGROUP CREATE c g 0 MKSTREAM",
    "XREADGROUP GROUP g a STREAMS c >",
    "XREADGROUP GROUP g b NOACK BLOCK 0 STREAMS c >",
    "XAUTOCLAIM c g b 0 0",
    "XACK c g 1-1",
    "SET a x",
    "PEXPIRE a 2",
    "RENAME a b",
    "COPY b a REPLACE",
    "DEL b",
];

fn call() -> impl Strategy<Value = Vec<Bytes>> {
    let ours = |group| [Group::Hash, Group::List, Group::Stream].contains(&group);
    let names: Vec<&str> = table::all()
        .filter(|command| ours(command.group))
        .map(|command| command.name)
        .collect();
    let words = proptest::collection::vec(proptest::sample::select(WORDS), 0..9);
    let odd = (proptest::sample::select(names), words).prop_map(|(name, words)| {
        std::iter::once(name)
            .chain(words)
            .map(|word| Bytes::from_static(word.as_bytes()))
            .collect()
    });
    let good = proptest::sample::select(GOOD).prop_map(|call| {
        call.split(' ')
            .map(|word| Bytes::from_static(word.as_bytes()))
            .collect()
    });
    prop_oneof![3 => odd, 2 => good]
}

fn run(keyspace: &mut Keyspace, words: &[Bytes], at: u64) -> (String, Effects) {
    let command = find(words).expect("a command");
    let moment = Moment {
        now_ms: at as Milliseconds,
        seed: at,
        version: at,
        reading: command.flags.has(Flags::READONLY),
    };
    let mut effects = Effects::default();
    let places = command.keys.of(words);
    assert!(places.iter().all(|place| *place < words.len()));
    let mut context = Context::new(keyspace, 0, moment, &mut effects);
    let replied = command.run(&mut context, words);
    (format!("{replied:?}"), effects)
}

proptest! {
    #[test]
    fn odd_calls_do_no_harm(calls in proptest::collection::vec(call(), 1..40)) {
        let (mut one, mut two) = (Keyspace::default(), Keyspace::default());
        let mut before = format!("{one:?}");
        for (at, words) in calls.iter().enumerate() {
            let at = at as u64;
            let (reply, effects) = run(&mut one, words, at);
            let (again, _) = run(&mut two, words, at);
            prop_assert_eq!(&reply, &again);
            let after = format!("{one:?}");
            prop_assert_eq!(&after, &format!("{two:?}"), "{:?}", words);
            let expired = effects
                .events
                .iter()
                .any(|event| ["expired", "hexpired"].contains(&event.name));
            if reply.starts_with("Err") && !expired {
                prop_assert_eq!(&after, &before, "{:?} was refused", words);
                prop_assert!(effects.changed.is_empty() && effects.events.is_empty());
            }
            before = after;
        }
    }
}
