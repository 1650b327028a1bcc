//! What was told comes true, what was aborted left nothing, and locks keep others away.

use atoll_base::id::ReplicaId;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::core::{
    machine::Operation,
    partition::{Moment, Read, State, StateMachine as _},
    paxos::{Ballot, Position},
    sessions::Session,
    snapshot,
};

mod branches;

const HOME: PartitionId = PartitionId(3);

fn id(number: u64) -> TransactionId {
    TransactionId {
        session: Session {
            replica: ReplicaId(1),
            boot: 1,
        },
        number,
    }
}

fn call(text: &str) -> Call {
    let words = text.split(' ');
    let words = words.map(|word| Bytes::copy_from_slice(word.as_bytes()));
    Call {
        database: 0,
        words: words.collect(),
    }
}

fn keys(names: &[&str]) -> Locks {
    let names = names.iter();
    Locks::Keys(
        names
            .map(|name| (0, Bytes::copy_from_slice(name.as_bytes())))
            .collect(),
    )
}

fn prepare(number: u64, locked: &[&str], calls: &[&str]) -> Prepare {
    Prepare {
        id: id(number),
        home: HOME,
        participants: vec![HOME, PartitionId(7)],
        locks: keys(locked),
        watched: Vec::new(),
        calls: calls.iter().map(|text| call(text)).collect(),
        waits: false,
        branch: None,
    }
}

/// A machine that is handed one operation after the other.
#[derive(Clone, Default)]
struct Log {
    machine: Machine,
    index: u64,
}

impl Log {
    fn at(&mut self) -> Moment {
        self.index += 1;
        Moment {
            now_ms: 1_000 + self.index,
            seed: self.index * 77,
            index: LogIndex(self.index),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Answered {
        let at = self.at();
        self.machine.apply(at, &operation.encode())
    }

    fn step(&mut self, step: Transact) -> Transacted {
        match self.apply(&Operation::Transact(step)) {
            Answered::Transacted(transacted) => transacted,
            other => panic!("a step came to {other:?}"),
        }
    }

    fn run(&mut self, text: &str) -> Reply {
        match self.apply(&Operation::Call(call(text))) {
            Answered::Reply(reply) => reply,
            other => panic!("{text} came to {other:?}"),
        }
    }

    fn get(&mut self, text: &str) -> Reply {
        let operation = Operation::Call(call(text)).encode();
        match self.machine.read(1_000, 1, &operation) {
            Read::Reply(Answered::Reply(reply)) => reply,
            other => panic!("{text} came to {other:?}"),
        }
    }

    fn is_held_up(&self, text: &str) -> bool {
        let operation = Operation::Call(call(text)).encode();
        self.machine.is_held_up(&operation, LogIndex(self.index))
    }

    fn state(&self) -> State<Machine> {
        let mut state = State::new(self.machine.clone());
        state.applied = Position {
            birth: Ballot::default(),
            index: LogIndex(self.index),
        };
        state
    }
}

fn told(transacted: Transacted) -> Vec<Reply> {
    match transacted {
        Transacted::Prepared { replies, .. } => replies,
        other => panic!("it was not prepared: {other:?}"),
    }
}

fn decided(commits: bool) -> Transacted {
    Transacted::Decided {
        commits,
        participants: vec![HOME, PartitionId(7)],
    }
}

#[test]
fn home_does_its_part_and_decides_in_one() {
    let mut log = Log::default();
    log.run("SET a 1");
    let commit = |number, watched: &[u64]| {
        Transact::Commit(Prepare {
            watched: watched
                .iter()
                .map(|version| (0, Bytes::from("b"), *version))
                .collect(),
            ..prepare(number, &["a"], &["INCR a"])
        })
    };
    // Somebody else holds it; or what was watched has changed; or it was aborted before.
    told(log.step(Transact::Prepare(prepare(1, &["a"], &[]))));
    // Only the log says so: it may be there already.
    let again = Operation::Transact(commit(2, &[])).encode();
    assert_eq!(log.machine.refuses_step(&again), None);
    let conflict = Transacted::Conflict(Some(id(1)));
    assert_eq!(log.step(commit(2, &[])), conflict);
    log.step(Transact::Finish {
        id: id(1),
        commits: false,
    });
    assert_eq!(log.step(commit(2, &[77])), Transacted::Changed);
    let abort = |number| Transact::Decide {
        id: id(number),
        commits: false,
    };
    log.step(abort(3));
    assert!(matches!(
        log.step(commit(3, &[])),
        Transacted::Decided { commits: false, .. }
    ));
    assert_eq!(log.get("GET a"), Reply::bulk("1"));

    let Transacted::Committed { replies, .. } = log.step(commit(2, &[])) else {
        panic!("nothing is in the way");
    };
    assert_eq!(replies, [Reply::Integer(2)]);
    assert!(!log.is_held_up("GET a"));
    // Whoever asks, or does it again, is told that it is committed.
    assert_eq!(log.step(abort(2)), decided(true));
    assert_eq!(log.step(commit(2, &[])), decided(true));
    assert_eq!(log.get("GET a"), Reply::bulk("2"));
}

#[test]
fn nothing_is_seen_until_it_is_decided_and_then_all_of_it_is() {
    let mut log = Log::default();
    log.run("SET a 1");
    let replies = told(log.step(Transact::Prepare(prepare(
        1,
        &["a", "b"],
        &["INCR a", "RPUSH b x y", "GET a"],
    ))));
    assert_eq!(
        replies,
        [Reply::Integer(2), Reply::Integer(2), Reply::bulk("2")]
    );
    assert_eq!(log.get("GET a"), Reply::bulk("1"));
    assert_eq!(log.get("EXISTS b"), Reply::Integer(0));

    // More of it: what came before is seen by what follows.
    let more = told(log.step(Transact::Prepare(prepare(
        1,
        &["c"],
        &["LLEN b", "SET c z"],
    ))));
    assert_eq!(more, [Reply::Integer(2), Reply::OK]);
    assert!(log.is_held_up("GET c"));

    let decide = Transact::Decide {
        id: id(1),
        commits: true,
    };
    log.step(decide.clone());
    assert_eq!(log.get("GET a"), Reply::bulk("2"));
    assert_eq!(log.get("LLEN b"), Reply::Integer(2));
    assert!(!log.is_held_up("GET c"));
    // Whoever asks later is told the same, also who would abort it.
    let abort = Transact::Decide {
        id: id(1),
        commits: false,
    };
    assert!(matches!(
        log.step(abort),
        Transacted::Decided { commits: true, .. }
    ));
    assert_eq!(log.get("GET a"), Reply::bulk("2"));
    log.step(Transact::Forget(vec![id(1)]));
    assert_eq!(log.machine.transactions().decisions().len(), 0);
}

#[test]
fn what_was_aborted_commits_nothing_that_comes_late() {
    let mut log = Log::default();
    let abort = Transact::Decide {
        id: id(1),
        commits: false,
    };
    // Somebody found its locks elsewhere; here it has not come yet.
    assert_eq!(
        log.step(abort),
        Transacted::Decided {
            commits: false,
            participants: Vec::new()
        }
    );
    let late = log.step(Transact::Prepare(prepare(1, &["a"], &["SET a 1"])));
    assert!(matches!(late, Transacted::Decided { commits: false, .. }));
    assert!(!log.is_held_up("GET a"));
    let commit = Transact::Decide {
        id: id(1),
        commits: true,
    };
    assert!(matches!(
        log.step(commit),
        Transacted::Decided { commits: false, .. }
    ));
    // What is not prepared is not committed either.
    let unknown = Transact::Decide {
        id: id(2),
        commits: true,
    };
    assert!(matches!(
        log.step(unknown),
        Transacted::Decided { commits: false, .. }
    ));
    assert_eq!(log.get("GET a"), Reply::Null);
}

#[test]
fn two_do_not_hold_the_same() {
    let mut log = Log::default();
    told(log.step(Transact::Prepare(prepare(1, &["a"], &["SET a 1"]))));
    let second = log.step(Transact::Prepare(prepare(2, &["b", "a"], &["SET b 1"])));
    assert_eq!(second, Transacted::Conflict(Some(id(1))));
    assert!(!log.is_held_up("GET b"), "a conflict locks nothing");
    let everything = Prepare {
        locks: Locks::Everything,
        ..prepare(2, &[], &["FLUSHDB"])
    };
    let second = log.step(Transact::Prepare(everything.clone()));
    assert_eq!(second, Transacted::Conflict(Some(id(1))));
    log.step(Transact::Finish {
        id: id(1),
        commits: false,
    });
    told(log.step(Transact::Prepare(everything)));
    assert!(log.is_held_up("GET elsewhere"));
    assert!(!log.is_held_up("PING"));
    let third = log.step(Transact::Prepare(prepare(3, &["c"], &[])));
    assert_eq!(third, Transacted::Conflict(Some(id(2))));
}

#[test]
fn watched_keys_have_to_stand_and_then_stay() {
    let mut log = Log::default();
    log.run("SET a 1");
    let watched = |version| Prepare {
        watched: vec![(0, Bytes::from("a"), version)],
        ..prepare(1, &["b"], &["SET b 1"])
    };
    let stale = log.step(Transact::Prepare(watched(7)));
    assert_eq!(stale, Transacted::Changed);
    assert!(!log.is_held_up("SET b 2"));
    told(log.step(Transact::Prepare(watched(1))));
    assert!(log.is_held_up("SET a 2"));
}

#[test]
fn nobody_else_removes_what_is_locked() {
    let mut log = Log::default();
    log.run("SET a 1 PX 50");
    told(log.step(Transact::Prepare(prepare(1, &["a"], &["GETEX a PERSIST"]))));
    let gone = |log: &mut Log, operation: Operation| {
        log.index += 100;
        log.apply(&operation);
    };
    gone(&mut log, Operation::Expire(vec![(0, Bytes::from("a"))]));
    gone(&mut log, Operation::Evict(vec![(0, Bytes::from("a"))]));
    log.step(Transact::Finish {
        id: id(1),
        commits: true,
    });
    // It was told that it found the key, so it did.
    assert_eq!(log.run("GET a"), Reply::bulk("1"));
}

#[test]
fn what_reaches_further_waits_for_all_locks_and_for_those_of_its_time_only() {
    let mut log = Log::default();
    log.run("SET a 1");
    let before = LogIndex(log.index);
    told(log.step(Transact::Prepare(prepare(1, &["a"], &["DEL a"]))));
    let waits = [
        "DBSIZE",
        "FLUSHALL",
        "SORT b BY w_*",
        "RANDOMKEY",
        "COPY b a",
    ];
    for text in waits {
        assert!(log.is_held_up(text), "{text}");
    }
    for text in ["SORT b", "GET b", "PING", "TIME"] {
        assert!(!log.is_held_up(text), "{text}");
    }
    let earlier = Operation::Call(call("GET a")).encode();
    assert!(!log.machine.is_held_up(&earlier, before));
    // An owner never logs it; were it logged, it would do nothing.
    let refused = log.run("SET a 2");
    assert!(matches!(refused, Reply::Error(text) if text.starts_with(b"TRYAGAIN")));
    assert_eq!(log.get("GET a"), Reply::bulk("1"));
}

/// Commands on keys `a`, `b` and `c`, of every kind of change and of chance.
const COMMANDS: [&str; 22] = [
    "SET a 5",
    "INCRBY a 3",
    "GETDEL a",
    "SET b x PX 100",
    "PEXPIRE a 500",
    "TTL a",
    "RPUSH b p q r",
    "LPOP b",
    "SADD c m n o p q",
    "SPOP c",
    "SRANDMEMBER c",
    "SREM c m n",
    "HSET c f 1 g 2",
    "HINCRBYFLOAT c f 0.5",
    "ZADD b 1 one 2 two",
    "ZPOPMIN b",
    "XADD c * f v",
    "SINTERSTORE a b c",
    "RENAME a b",
    "COPY b c REPLACE",
    "APPEND a tail",
    "DEL a b",
];

proptest! {
    #[test]
    fn what_was_told_comes_true_and_what_was_aborted_left_nothing(
        before in vec(select(&COMMANDS[..]), 0..20),
        first in vec(select(&COMMANDS[..]), 1..8),
        second in vec(select(&COMMANDS[..]), 0..8),
        between in vec(select(&["SET other 1", "INCR other", "DEL other"][..]), 0..4),
        commits in any::<bool>(),
    ) {
        let mut log = Log::default();
        for text in &before {
            log.run(text);
        }
        let untouched = log.clone();
        // The same commands at the same moment, with nothing around them.
        let mut alone = log.clone();
        let mut at = alone.at();
        at.index = LogIndex(log.index + 3 + between.len() as u64);
        let at = CommandMoment {
            now_ms: at.now_ms,
            seed: at.seed,
            version: at.index.0,
            reading: false,
        };
        let all: Vec<Call> = first.iter().chain(&second).map(|text| call(text)).collect();
        let expected = alone.machine.run_calls(at, &all, &mut Effects::default());

        let locked = ["a", "b", "c"];
        let mut replies = told(log.step(Transact::Prepare(prepare(1, &locked, &first))));
        let keyspace = |log: &Log| snapshot::sum(log.machine.keyspace());
        prop_assert_eq!(keyspace(&log), keyspace(&untouched), "it is seen too early");
        for text in &between {
            log.run(text);
            alone.run(text);
        }
        replies.extend(told(log.step(Transact::Prepare(prepare(1, &[], &second)))));
        prop_assert_eq!(&replies, &expected);

        // A replica that has it from a snapshot goes on alike.
        let state = log.state();
        let bytes: Vec<u8> = snapshot::encode(&state).pieces.concat();
        let restored = snapshot::decode(&bytes.into()).expect("it was just written");
        prop_assert_eq!(restored.fingerprint(), state.fingerprint());
        let mut other = Log { machine: restored.machine, index: log.index };
        for log in [&mut log, &mut other] {
            log.step(Transact::Decide { id: id(1), commits });
        }
        prop_assert_eq!(log.state().fingerprint(), other.state().fingerprint());
        prop_assert!(!log.is_held_up("DBSIZE"));

        if commits {
            for name in ["a", "b", "c"] {
                let told = |log: &mut Log| {
                    let value = log.run(&format!("DUMP {name}"));
                    (value, log.run(&format!("PEXPIRETIME {name}")))
                };
                prop_assert_eq!(told(&mut log.clone()), told(&mut alone.clone()), "{}", name);
            }
        } else {
            for text in &between {
                untouched.clone().run(text);
            }
            for name in ["a", "b", "c"] {
                let text = format!("DUMP {name}");
                prop_assert_eq!(log.clone().run(&text), untouched.clone().run(&text));
            }
        }
    }

    #[test]
    fn steps_and_what_they_come_to_return_from_their_bytes(
        number in any::<u64>(),
        commits in any::<bool>(),
        watched in vec((0..17_usize, vec(any::<u8>(), 0..5), any::<u64>()), 0..3),
    ) {
        let watched = watched.into_iter();
        let prepare = Prepare {
            watched: watched.map(|(at, key, version)| (at, key.into(), version)).collect(),
            ..prepare(number, &["a", "b"], &["SET a 1"])
        };
        let everything = Prepare { locks: Locks::Everything, ..prepare.clone() };
        let steps = [
            Transact::Prepare(prepare),
            Transact::Prepare(everything),
            Transact::Decide { id: id(number), commits },
            Transact::Finish { id: id(number), commits },
            Transact::Forget(vec![id(number), id(1)]),
        ];
        for step in steps {
            let operation = Operation::Transact(step);
            prop_assert_eq!(Operation::decode(operation.encode()), Ok(operation));
        }
        let tend = Operation::Tend(id(number));
        prop_assert_eq!(Operation::decode(tend.encode()), Ok(tend));
        let told = [
            Transacted::Prepared { now_ms: number, replies: vec![Reply::OK, Reply::Null] },
            Transacted::Conflict(None),
            Transacted::Conflict(Some(id(number))),
            Transacted::Changed,
            decided(commits),
            Transacted::Done,
        ];
        for transacted in told {
            let answered = Answered::Transacted(transacted);
            prop_assert_eq!(Answered::decode(answered.encode()), Ok(answered));
        }
    }
}
