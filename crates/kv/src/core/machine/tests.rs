//! Operations and answers come back from their bytes; reads remove nothing by themselves.

use proptest::prelude::*;

use super::*;
use crate::core::paxos::LogIndex;

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
}
