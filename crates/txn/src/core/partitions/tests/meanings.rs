//! Commands over several partitions come to what they come to in one.

use std::collections::BTreeMap;

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_kv::{
    api::{self, Answer, DatabaseKey, Refusal, Step, Version},
    core::{
        command,
        machine::{Answered, Call, Machine, Operation, TransactionId},
        partition::{Given, Moment, Read, StateMachine as _},
        paxos::LogIndex,
        reply::Reply,
        sessions::Session,
    },
};
use atoll_ring::partition::Partitions;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::core::partitions::{Ask, End, Execution, Manner, Outcome, Program};

/// Partitions, each a state machine.
struct Cluster {
    partitions: Partitions,
    machines: BTreeMap<PartitionId, Machine>,
    index: u64,
    number: u64,
    /// How many entries were logged.
    logged: usize,
    manner: Manner,
}

fn words(text: &str) -> Vec<Bytes> {
    let words = text.split(' ');
    words
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

fn step(text: &str) -> Step {
    let words = words(text);
    let command = command::find(&words).expect("a command");
    Step::Call {
        database: 0,
        call: api::Call { command, words },
    }
}

impl Cluster {
    fn new(count: u16) -> Cluster {
        let partitions = Partitions::new(count).expect("some");
        Cluster {
            partitions,
            machines: partitions
                .ids()
                .map(|id| (id, Machine::default()))
                .collect(),
            index: 0,
            number: 0,
            logged: 0,
            manner: Manner::Looking,
        }
    }

    fn apply(&mut self, partition: PartitionId, operation: &Operation) -> Answered {
        self.index += 1;
        self.logged += 1;
        let at = Moment {
            now_ms: 5_000,
            seed: self.index,
            index: LogIndex(self.index),
        };
        let machine = self.machines.get_mut(&partition).expect("all are there");
        machine.apply(at, &operation.encode())
    }

    fn answer(&mut self, ask: &Ask) -> Given<Answered> {
        if !ask.reads {
            return Given::Reply(self.apply(ask.partition, &ask.operation));
        }
        let machine = self.machines.get_mut(&ask.partition).expect("it is there");
        match machine.read(5_000, 1, &ask.operation.encode()) {
            Read::Reply(reply) => Given::Reply(reply),
            Read::After(_) => panic!("nothing ends here"),
        }
    }

    fn execute(&mut self, steps: Vec<Step>, watched: &[(DatabaseKey, Version)]) -> End {
        let program = match Program::new(steps, watched, self.partitions, 7) {
            Ok(program) => program,
            Err(answer) => return End::Answer(answer),
        };
        self.number += 1;
        let id = TransactionId {
            session: Session {
                replica: ReplicaId(1),
                boot: 1,
            },
            number: self.number,
        };
        let mut execution = Execution::new(id, program, self.manner);
        let mut end = None;
        loop {
            let asks = execution.asks();
            if asks.is_empty() {
                assert!(execution.is_over());
                return end.expect("whoever asks nothing has an end");
            }
            for ask in asks {
                let given = self.answer(&ask);
                execution.answered(ask.number, given);
            }
            end = end.or_else(|| execution.take_end());
        }
    }

    fn run(&mut self, text: &str) -> Reply {
        match self.execute(vec![step(text)], &[]) {
            End::Done(mut outcomes) => match outcomes.pop() {
                Some(Outcome::Reply(reply)) => reply,
                other => panic!("{text} came to {other:?}"),
            },
            End::Answer(Answer::Reply(reply)) => reply,
            other => panic!("{text} came to {other:?}"),
        }
    }

    /// What DUMP and PEXPIRETIME say of a key.
    fn value(&mut self, key: &str) -> (Answered, Answered) {
        let partition = self.partitions.of_key(key.as_bytes());
        let mut ask = |name: &str| {
            let words = words(&format!("{name} {key}"));
            self.apply(partition, &Operation::Call(Call { database: 0, words }))
        };
        (ask("DUMP"), ask("PEXPIRETIME"))
    }
}

const KEYS: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];

/// Commands over up to three keys, in the place of which stand 0, 1 and 2.
const COMMANDS: [&str; 34] = [
    "SET 0 text",
    "SET 0 5 PX 90000",
    "RPUSH 0 a b c",
    "SADD 0 m n o 5",
    "ZADD 0 1 m 2 n 3 p",
    "HSET 0 f v",
    "MSET 0 x 1 y 2 z",
    "MSETNX 0 x 1 y",
    "RENAME 0 1",
    "RENAMENX 0 1",
    "COPY 0 1",
    "COPY 0 1 REPLACE",
    "SMOVE 0 1 m",
    "LMOVE 0 1 LEFT RIGHT",
    "RPOPLPUSH 0 1",
    "SUNION 0 1",
    "SINTER 0 1 2",
    "SDIFFSTORE 0 1 2",
    "SUNIONSTORE 0 1 2",
    "SINTERCARD 2 0 1",
    "ZUNIONSTORE 0 2 1 2",
    "ZINTER 2 0 1 WITHSCORES",
    "ZRANGESTORE 0 1 0 -1",
    "PFADD 0 a b",
    "PFMERGE 0 1 2",
    "BITOP OR 0 1 2",
    "LCS 0 1",
    "SORT 0 ALPHA STORE 1",
    "MGET 0 1 2",
    "DEL 0 1",
    "EXISTS 0 1 2",
    "LMPOP 2 0 1 LEFT",
    "PERSIST 0",
    "STRLEN 0",
];

fn commands() -> impl Strategy<Value = String> {
    let keys = (select(&KEYS[..]), select(&KEYS[..]), select(&KEYS[..]));
    (select(&COMMANDS[..]), keys).prop_map(|(text, (zero, one, two))| {
        let words = text.split(' ').enumerate().map(|(at, word)| match word {
            // `SINTERCARD 2 0 1`: how many keys follow is no key.
            "2" if at == 1 && text.contains(" 2 0 1") => word,
            "2" if at == 2 && text.starts_with("ZUNIONSTORE") => word,
            "0" if at == 3 && text.starts_with("ZRANGESTORE") => word,
            "1" | "2" | "3" if text.starts_with("ZADD") => word,
            "0" => zero,
            "1" => one,
            "2" => two,
            word => word,
        });
        words.collect::<Vec<_>>().join(" ")
    })
}

/// Without an order that nobody promised.
fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Set(mut items) => {
            items.sort_by_key(|item| format!("{item:?}"));
            Reply::Set(items)
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn many_partitions_come_to_what_one_comes_to(
        manner in select(&[Manner::Looking, Manner::Locking, Manner::Waiting][..]),
        transactions in vec(vec(commands(), 1..5), 1..12),
    ) {
        let (mut many, mut one) = (Cluster::new(64), Cluster::new(1));
        many.manner = manner;
        for texts in transactions {
            let steps = || texts.iter().map(|text| step(text)).collect::<Vec<_>>();
            let [of_many, of_one] = [&mut many, &mut one].map(|cluster| {
                match cluster.execute(steps(), &[]) {
                    End::Done(outcomes) => outcomes
                        .into_iter()
                        .map(|outcome| match outcome {
                            Outcome::Reply(reply) => sorted(reply),
                            Outcome::Publish(_) => Reply::Null,
                        })
                        .collect::<Vec<_>>(),
                    other => panic!("{texts:?} came to {other:?}"),
                }
            });
            prop_assert_eq!(of_many, of_one, "{:?}", texts);
            for key in KEYS {
                prop_assert_eq!(many.value(key), one.value(key), "{} after {:?}", key, texts);
            }
        }
        for machine in many.machines.values() {
            prop_assert_eq!(machine.transactions().prepared().len(), 0);
        }
    }
}

#[test]
fn what_only_reads_logs_nothing() {
    let mut cluster = Cluster::new(64);
    cluster.run("MSET alpha 1 beta 2");
    let logged = cluster.logged;
    let steps = vec![
        step("GET alpha"),
        step("MGET beta gamma"),
        step("SUNION delta gamma"),
    ];
    let End::Done(outcomes) = cluster.execute(steps, &[]) else {
        panic!("it only reads");
    };
    let read = [
        Reply::bulk("1"),
        Reply::Array(vec![Reply::bulk("2"), Reply::Null]),
        Reply::Set(Vec::new()),
    ];
    assert_eq!(outcomes, read.map(Outcome::Reply));
    assert_eq!(cluster.logged, logged);
}

#[test]
fn two_partitions_cost_four_entries() {
    let mut cluster = Cluster::new(64);
    assert_eq!(cluster.run("MSET alpha 1 beta 2"), Reply::OK);
    // Both prepare, home decides, the other is told.
    assert_eq!(cluster.logged, 4);
}

#[test]
fn watched_keys_that_changed_let_nothing_be_done() {
    let mut cluster = Cluster::new(64);
    cluster.run("SET alpha 1");
    let key = |key: &'static str| DatabaseKey {
        database: 0,
        key: Bytes::from(key),
    };
    let steps = || vec![step("SET beta 2"), step("SET gamma 3")];
    let stale = cluster.execute(steps(), &[(key("alpha"), Version(99))]);
    assert_eq!(stale, End::Answer(Answer::Discarded));
    assert_eq!(cluster.run("EXISTS beta gamma"), Reply::Integer(0));
    let absent = cluster.execute(steps(), &[(key("delta"), Version(0))]);
    assert!(matches!(absent, End::Done(_)), "{absent:?}");
    assert_eq!(cluster.run("EXISTS beta gamma"), Reply::Integer(2));
}

#[test]
fn whole_databases_change_in_a_transaction() {
    let mut cluster = Cluster::new(8);
    cluster.run("MSET alpha 1 beta 2 gamma 3");
    let steps = vec![
        step("DBSIZE"),
        step("FLUSHDB"),
        step("SET alpha 4"),
        step("DBSIZE"),
    ];
    let End::Done(outcomes) = cluster.execute(steps, &[]) else {
        panic!("it can be done");
    };
    let told = [Reply::Integer(3), Reply::OK, Reply::OK, Reply::Integer(1)];
    assert_eq!(outcomes, told.map(Outcome::Reply));
    assert_eq!(cluster.run("SWAPDB 0 1"), Reply::OK);
    assert_eq!(cluster.run("EXISTS alpha"), Reply::Integer(0));
    assert_eq!(cluster.run("SWAPDB 0 1"), Reply::OK);
    assert_eq!(cluster.run("EXISTS alpha"), Reply::Integer(1));
}

#[test]
fn what_can_not_be_had_is_refused_and_nothing_is_done() {
    let mut cluster = Cluster::new(64);
    let anywhere = cluster.execute(vec![step("SORT alpha BY w_*"), step("SET beta 1")], &[]);
    assert_eq!(
        anywhere,
        End::Answer(Answer::Refused(Refusal::CrossPartition))
    );
    let wanders = cluster.execute(vec![step("SET beta 1"), step("SCAN 0")], &[]);
    assert!(
        matches!(&wanders, End::Answer(Answer::Reply(Reply::Error(text))) if text.starts_with(b"ERR RANDOMKEY"))
    );
    assert_eq!(cluster.run("EXISTS beta"), Reply::Integer(0));
}
