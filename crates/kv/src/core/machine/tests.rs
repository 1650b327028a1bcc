//! Operations and answers come back from their bytes; reads remove nothing by themselves.

use std::collections::BTreeSet;

use proptest::prelude::*;

use atoll_base::id::NodeId;

use super::*;
use crate::core::{
    data::Packing,
    partition::{Moment, Read, StateMachine as _},
    paxos::LogIndex,
};

fn words(text: &str) -> Vec<Bytes> {
    text.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

fn call(text: &str) -> Operation {
    Operation::Call(Call {
        database: 3,
        words: words(text),
    })
}

fn at(now_ms: u64, index: u64) -> Moment {
    Moment {
        now_ms,
        seed: 7,
        index: LogIndex(index),
    }
}

fn reply(reply: Reply) -> Answered {
    Answered::Reply(reply)
}

#[test]
fn a_read_of_an_ended_key_asks_for_its_removal_first() {
    let mut machine = Machine::default();
    machine.apply(at(1_000, 1), &call("SET a 1 PX 10").encode());
    let get = call("GET a").encode();
    assert_eq!(
        machine.read(1_010, 0, &get),
        Read::Reply(reply(Reply::bulk("1")))
    );
    let Read::After(removal) = machine.read(1_011, 0, &get) else {
        panic!("an ended key was read as if its end were known to all");
    };
    machine.apply(at(1_011, 2), &removal);
    assert_eq!(
        machine.read(1_000, 0, &get),
        Read::Reply(reply(Reply::Null))
    );
    assert_eq!(machine.expire(5_000), None);
}

#[test]
fn watched_keys_decide() {
    let mut machine = Machine::default();
    let key = Bytes::from_static(b"a");
    let versions = Operation::Versions(vec![(3, key.clone())]).encode();
    assert_eq!(
        machine.read(0, 0, &versions),
        Read::Reply(Answered::Versions(vec![0]))
    );
    machine.apply(at(0, 4), &call("SET a 1").encode());
    let add = |version| {
        let Operation::Call(add) = call("INCRBY a 1") else {
            unreachable!()
        };
        Operation::Transaction {
            calls: vec![add.clone(), add],
            watched: vec![(3, key.clone(), version)],
        }
        .encode()
    };
    assert_eq!(machine.apply(at(0, 5), &add(0)), Answered::Discarded);
    assert_eq!(
        machine.apply(at(0, 6), &add(4)),
        Answered::Executed(vec![Reply::Integer(2), Reply::Integer(3)])
    );
}

#[test]
fn limits_of_small_forms_come_with_an_operation() {
    let mut machine = Machine::default();
    let packing = Packing {
        hash_fields_max: 1,
        stream_trimmed_at_once: 2,
        ..Packing::default()
    };
    let mut apply = |index, text: &str, packing: Option<&Packing>| {
        let mut operation = call(text).encode();
        if let Some(packing) = packing {
            let terms = Terms {
                packing: Some(*packing),
                author: None,
            };
            operation = Operation::with_terms(operation, &terms);
            assert_eq!(Operation::decode(operation.clone()), Ok(call(text)));
        }
        machine.apply(at(0, index), &operation)
    };
    apply(1, "HSET small a 1 b 2", None);
    apply(2, "HSET large a 1 b 2", Some(&packing));
    let encoding = |name| Answered::Reply(Reply::bulk(name));
    assert_eq!(
        apply(3, "OBJECT ENCODING small", None),
        encoding("listpack")
    );
    assert_eq!(
        apply(4, "OBJECT ENCODING large", None),
        encoding("hashtable")
    );
    for index in 5..8 {
        apply(index, "XADD s * a 1", None);
    }
    let trimmed = |number| Answered::Reply(Reply::Integer(number));
    assert_eq!(apply(8, "XTRIM s MAXLEN ~ 0", None), trimmed(0));
    assert_eq!(apply(9, "XTRIM s MAXLEN ~ 0", Some(&packing)), trimmed(2));
}

#[test]
fn changes_are_told_with_who_made_them() {
    let mut machine = Machine::default();
    machine.apply(at(0, 1), &call("SET a 1").encode());
    assert_eq!(machine.take_changes(), []);
    machine.keep_changes(true);
    let author = Author {
        node: NodeId(7),
        client: 9,
    };
    let terms = Terms {
        author: Some(author),
        ..Terms::default()
    };
    let operation = Operation::with_terms(call("RENAME a b").encode(), &terms);
    machine.apply(at(0, 2), &operation);
    machine.apply(at(0, 3), &call("GET b").encode());
    machine.apply(at(0, 4), &call("FLUSHDB").encode());
    let changed = |key: Option<&'static str>, author| Changed {
        key: key.map(Bytes::from),
        author,
    };
    let mut changes = machine.take_changes();
    changes.dedup();
    assert_eq!(
        changes,
        [
            changed(Some("a"), Some(author)),
            changed(Some("b"), Some(author)),
            changed(None, None)
        ]
    );
    let mut bytes = operation.to_vec();
    bytes[2] = 4;
    assert!(Operation::decode(bytes.into()).is_err());
}

#[test]
fn a_read_can_not_write() {
    let mut machine = Machine::default();
    let Read::Reply(Answered::Reply(reply)) = machine.read(0, 0, &call("SET a 1").encode()) else {
        panic!("no reply");
    };
    assert!(matches!(reply, Reply::Error(_)), "{reply:?}");
}

fn replies() -> impl Strategy<Value = Reply> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Reply::OK),
        Just(Reply::Null),
        Just(Reply::NullArray),
        any::<i64>().prop_map(Reply::Integer),
        any::<bool>().prop_map(Reply::Boolean),
        (-1e9..1e9).prop_map(Reply::Double),
        bytes().prop_map(Reply::Bulk),
        bytes().prop_map(Reply::Error),
        bytes().prop_map(Reply::Verbatim),
        bytes().prop_map(Reply::Simple),
        bytes().prop_map(Reply::BigNumber),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let many = || proptest::collection::vec(inner.clone(), 0..8);
        let pairs = || proptest::collection::vec((inner.clone(), inner.clone()), 0..8);
        prop_oneof![
            many().prop_map(Reply::Array),
            many().prop_map(Reply::Set),
            pairs().prop_map(Reply::Map),
            pairs().prop_map(Reply::Pairs),
            pairs().prop_map(Reply::PairsOrMap),
        ]
    })
}

proptest! {
    #[test]
    fn answers_come_back(reply in replies(), words: Option<[u8; 3]>) {
        let answered = match words {
            None => Answered::Reply(reply),
            Some(word) => Answered::Waits {
                reply,
                words: Some(vec![Bytes::copy_from_slice(&word)]),
            },
        };
        prop_assert_eq!(Answered::decode(answered.encode()), Ok(answered));
    }

    #[test]
    fn noise_is_refused(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let noise = Bytes::from(noise);
        let _ = Answered::decode(noise.clone());
        let _ = Operation::decode(noise);
    }
}

#[test]
fn evicted_keys_are_gone_and_it_is_told() {
    let mut machine = Machine::default();
    for (index, text) in ["SET a 1", "SET b 2 PX 10"].iter().enumerate() {
        machine.apply(at(1_000, index as u64 + 1), &call(text).encode());
    }
    machine.take_events();
    let keys = ["a", "b", "missing"].map(|key| (3, Bytes::from_static(key.as_bytes())));
    let evict = Operation::Evict(keys.to_vec());
    assert_eq!(Operation::decode(evict.encode()), Ok(evict.clone()));
    let answered = machine.apply(at(2_000, 3), &evict.encode());
    assert_eq!(answered, reply(Reply::OK));
    let events: Vec<_> = machine.take_events();
    let names: Vec<_> = events.iter().map(|it| (it.name, &*it.key)).collect();
    // The other one had ended, which comes first.
    assert_eq!(names, [("evicted", &b"a"[..]), ("expired", &b"b"[..])]);
    assert!(machine.keyspace().is_empty());
}

/// A key that was missing, was there and is missing again has been changed.
#[test]
fn no_two_states_of_a_key_stand_at_the_same_place() {
    let mut machine = Machine::default();
    let mut index = 0;
    let mut apply = |machine: &mut Machine, now_ms, operation: &Operation| {
        index += 1;
        let at = Moment {
            now_ms,
            seed: 1,
            index: LogIndex(index),
        };
        machine.apply(at, &operation.encode())
    };
    let key = (3, Bytes::from("a"));
    let mut seen = BTreeSet::new();
    for (now_ms, text) in [
        (1, "PING"),
        (1, "SET a 1"),
        (1, "DEL a"),
        (1, "SET a 1"),
        (1, "GETDEL a"),
        (1, "SET a 1 PX 10"),
        // It ends by itself.
        (20, "GET a"),
        (20, "SADD a m"),
        (20, "SREM a m"),
        (20, "SET a 1"),
        (20, "RENAME a b"),
        (20, "SET a 1"),
        (20, "FLUSHDB"),
        (20, "SET a 1"),
        (20, "SWAPDB 3 1"),
        (20, "SWAPDB 3 1"),
    ] {
        apply(&mut machine, now_ms, &call(text));
        let asked = apply(
            &mut machine,
            now_ms,
            &Operation::Versions(vec![key.clone()]),
        );
        let Answered::Versions(versions) = asked else {
            panic!("{asked:?}");
        };
        let watched = vec![(key.0, key.1.clone(), versions[0])];
        assert!(seen.insert(versions[0]), "{text}: {versions:?} again");
        // What others do is nothing to it, wherever that can be told apart.
        for other in ["SET c 1", "DEL c"] {
            apply(&mut machine, now_ms, &call(other));
        }
        let calls = Vec::new();
        let stands = apply(
            &mut machine,
            now_ms,
            &Operation::Transaction { calls, watched },
        );
        assert_eq!(stands, Answered::Executed(Vec::new()), "{text}");
    }
}

#[test]
fn a_full_node_refuses_what_needs_memory() {
    let mut machine = Machine::default();
    let transaction = |text: &str| Operation::Transaction {
        calls: ["DEL a", text]
            .iter()
            .map(|text| Call {
                database: 0,
                words: words(text),
            })
            .collect(),
        watched: Vec::new(),
    };
    let set = call("SET a 1").encode();
    assert_eq!(machine.refuses(&set), None);
    machine.set_full(true);
    let text = "OOM command not allowed when used memory > 'maxmemory'.";
    let error = |text: &str| reply(Reply::Error(Bytes::copy_from_slice(text.as_bytes())));
    assert_eq!(machine.refuses(&set), Some(error(text)));
    let wait = |attempt| Operation::Wait {
        since_ms: 0,
        attempt,
        call: Call {
            database: 0,
            words: words("BLMOVE a b LEFT LEFT 0"),
        },
    };
    let first = wait(Attempt::First).encode();
    assert_eq!(machine.refuses(&first), Some(error(text)));
    let exec = format!("EXECABORT Transaction discarded because of: {text}");
    let operation = transaction("LPUSH b 1").encode();
    assert_eq!(machine.refuses(&operation), Some(error(&exec)));
    for allowed in [
        call("DEL a"),
        call("GET a"),
        call("EXPIRE a 1"),
        call("LPOP a"),
        transaction("HDEL a 1"),
        wait(Attempt::Last),
        Operation::Evict(Vec::new()),
        Operation::Expire(Vec::new()),
    ] {
        assert_eq!(machine.refuses(&allowed.encode()), None, "{allowed:?}");
    }
    machine.set_full(false);
    assert_eq!(machine.refuses(&set), None);

    // What the cluster keeps for itself may get shorter.
    let own = |text: &str| {
        let words = words(text);
        let database = HIDDEN;
        Operation::Call(Call { database, words }).encode()
    };
    machine.apply(at(1_000, 1), &own("SET f abc"));
    machine.set_full(true);
    assert_eq!(machine.refuses(&own("SET f abd")), None);
    assert_eq!(machine.refuses(&own("SET f abcd")), Some(error(text)));
    assert_eq!(machine.refuses(&own("SET g a")), Some(error(text)));
}

#[test]
fn a_node_whose_journal_has_no_room_refuses_what_would_be_logged() {
    let mut machine = Machine::default();
    machine.apply(at(1_000, 1), &call("SET a 1 PX 500").encode());
    let get = call("GET a").encode();
    machine.set_lacks_space(true);
    let error = |text: &str| reply(Reply::Error(Bytes::copy_from_slice(text.as_bytes())));
    let text = "MISCONF Errors writing to the AOF file: No space left on device";
    let of = |text: &str| Call {
        database: 0,
        words: words(text),
    };
    let wait = |attempt, text| Operation::Wait {
        since_ms: 0,
        attempt,
        call: of(text),
    };
    for refused in [
        call("SET a 1"),
        call("DEL a"),
        wait(Attempt::First, "BLPOP a 0"),
        wait(Attempt::First, "XREAD BLOCK 0 STREAMS a $"),
        wait(Attempt::Last, "BLPOP a 0"),
    ] {
        let answer = machine.refuses(&refused.encode());
        assert_eq!(answer, Some(error(text)), "{refused:?}");
    }
    let transaction = Operation::Transaction {
        calls: vec![of("DEL a")],
        watched: Vec::new(),
    };
    let exec = format!("EXECABORT Transaction discarded because of: {text}");
    assert_eq!(machine.refuses(&transaction.encode()), Some(error(&exec)));
    for own in [Operation::nothing(), Operation::Expire(Vec::new())] {
        assert_eq!(machine.refuses(&own.encode()), None, "{own:?}");
    }
    // What is there is read. That a key has ended would have to be logged first.
    let value = Read::Reply(reply(Reply::Bulk(Bytes::from_static(b"1"))));
    assert_eq!(machine.read(1_100, 1, &get), value);
    assert_eq!(machine.read(2_000, 1, &get), Read::Reply(error(text)));
    machine.set_lacks_space(false);
    assert_eq!(machine.refuses(&call("SET a 1").encode()), None);
    assert!(matches!(machine.read(2_000, 1, &get), Read::After(_)));
}

#[test]
fn a_look_without_a_clock_is_no_use_of_a_key() {
    let mut machine = Machine::default();
    machine.apply(at(9_000, 1), &call("SET a 1").encode());
    let (_, seen) = machine.observe(&call("GET a").encode()).expect("an answer");
    assert_eq!(seen, reply(Reply::bulk("1")));
    assert_eq!(
        machine.read(11_000, 0, &call("OBJECT IDLETIME a").encode()),
        Read::Reply(reply(Reply::Integer(2)))
    );
    machine.read(11_000, 0, &call("GET a").encode());
    assert_eq!(
        machine.read(12_000, 0, &call("OBJECT IDLETIME a").encode()),
        Read::Reply(reply(Reply::Integer(1)))
    );
}

fn summed(machine: &mut Machine, index: u64) -> u64 {
    machine.apply(at(index, index), &Operation::Sum.encode());
    let (made_at, sum) = machine.sum().expect("a sum was made");
    assert_eq!(made_at, index);
    sum
}

#[test]
fn replicas_that_hold_the_same_agree() {
    let (mut one, mut other) = (Machine::default(), Machine::default());
    let empty = summed(&mut one, 1);
    for machine in [&mut one, &mut other] {
        machine.apply(at(2, 2), &call("SADD key a b c").encode());
    }
    // What is read, and how often, is nobody else's affair.
    one.read(5_000, 1, &call("SMEMBERS key").encode());
    let sum = summed(&mut one, 3);
    assert_ne!(sum, empty);
    summed(&mut other, 3);
    let compare = Operation::Compare { index: 3, sum };
    other.apply(at(4, 4), &compare.encode());
    // The sum of another place says nothing.
    other.apply(at(5, 5), &call("SREM key b").encode());
    summed(&mut other, 6);
    other.apply(at(7, 7), &compare.encode());
}

#[test]
#[should_panic(expected = "the data of this replica after entry 3 is not the owner's")]
fn a_replica_that_holds_something_else_does_not_go_on() {
    let (mut one, mut other) = (Machine::default(), Machine::default());
    one.apply(at(2, 2), &call("SET key a").encode());
    other.apply(at(2, 2), &call("SET key b").encode());
    let sum = summed(&mut one, 3);
    summed(&mut other, 3);
    other.apply(at(4, 4), &Operation::Compare { index: 3, sum }.encode());
}

#[test]
fn a_source_of_another_type_is_waited_out_and_a_destination_is_not() {
    let mut machine = Machine::default();
    let wait = |text: &str| {
        let operation = Operation::Wait {
            since_ms: 1,
            attempt: Attempt::Again,
            call: Call {
                database: 3,
                words: words(text),
            },
        };
        operation.encode()
    };
    let waits = |answered| matches!(answered, Answered::Waits { .. });
    machine.apply(at(1, 1), &call("SET text t").encode());
    assert!(waits(machine.apply(at(2, 2), &wait("BLPOP text 0"))));
    assert!(waits(
        machine.apply(at(3, 3), &wait("BRPOPLPUSH list text 0"))
    ));
    machine.apply(at(4, 4), &call("RPUSH list x").encode());
    let Answered::Reply(Reply::Error(text)) =
        machine.apply(at(5, 5), &wait("BRPOPLPUSH list text 0"))
    else {
        panic!("it waits for ever");
    };
    assert!(text.starts_with(b"WRONGTYPE"));
    // What was popped is not forgotten because of a key that was not needed.
    let popped = machine.apply(at(6, 6), &wait("BLPOP list text 0"));
    assert!(
        matches!(popped, Answered::Reply(Reply::Array(_))),
        "{popped:?}"
    );
}
