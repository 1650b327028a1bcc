//! Commands over several partitions come to what they come to in one.

use std::{collections::BTreeMap, sync::Arc};

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_kv::{
    api::{self, Answer, AtomicStep, DatabaseKey, Refusal, Version},
    core::{
        command,
        machine::{
            self, Answered, BranchId, Call, Called, Machine, Operation, Running, Script,
            Settlement, Surroundings, Transact, TransactionId, WhenFull,
        },
        partition::{Given, Moment, Read, StateMachine as _},
        paxos::LogIndex,
        reply::Reply,
        script::Watch,
        sessions::Session,
    },
};
use atoll_ring::partition::Partitions;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::core::partitions::{
    ATTEMPT_MAX, Ask, Condition, End, Execution, Manner, Outcome, Program, Purpose, home_of,
};

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

/// Scripts, with so many of the keys.
const SCRIPTS: [(&str, usize, bool); 8] = [
    (
        "redis.call('set', KEYS[1], 7) return redis.call('type', KEYS[2])",
        2,
        false,
    ),
    ("return redis.pcall('rename', KEYS[1], KEYS[2])", 2, false),
    ("redis.call('del', KEYS[1]) error('stop')", 2, false),
    (
        "redis.call('sadd', KEYS[1], 's') return redis.call('sunionstore', KEYS[2], KEYS[1])",
        2,
        false,
    ),
    (
        "local n = 0 for _, key in ipairs(KEYS) do n = n + redis.call('exists', key) end return n",
        3,
        true,
    ),
    ("return redis.pcall('set', KEYS[1], 1)", 1, true),
    ("return redis.call('pexpire', KEYS[3], 70000)", 3, false),
    ("return math.pi", 0, false),
];

/// `SCRIPT s2 alpha beta gamma` is the third script, and its keys.
fn script(text: &str) -> AtomicStep {
    let words = words(text);
    let number = usize::from(words[1][1] - b'0');
    let (code, keys, reads) = SCRIPTS[number];
    AtomicStep::Script(Script {
        database: 0,
        code: Bytes::from(code),
        function: None,
        keys: words[2..2 + keys].to_vec(),
        arguments: Vec::new(),
        reads,
        when_full: WhenFull::Allowed,
        caller: None,
    })
}

fn step(text: &str) -> AtomicStep {
    if text.starts_with("SCRIPT ") {
        return script(text);
    }
    let words = words(text);
    let command = command::find(&words).expect("a command");
    AtomicStep::Call {
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

    /// The same in one partition, as its owner does it.
    fn run_whole(&mut self, steps: &[AtomicStep]) -> Vec<Reply> {
        let steps = steps.iter().map(|step| match step {
            AtomicStep::Call { database, call } => machine::Step::Call(Call {
                database: *database,
                words: call.words.clone(),
            }),
            AtomicStep::Script(script) => machine::Step::Script(script.clone()),
            other => panic!("not for one partition: {other:?}"),
        });
        let program = Operation::Program {
            steps: steps.collect(),
            watched: Vec::new(),
        };
        self.index += 1;
        let at = Moment {
            now_ms: 5_000,
            seed: self.index,
            index: LogIndex(self.index),
        };
        let machine = self.machines.get_mut(&PartitionId(0)).expect("the one");
        let decided = machine.decide(at, &program.encode());
        let answered = match machine.apply(at, &decided) {
            Answered::Ran { answered, .. } => *answered,
            other => other,
        };
        match answered {
            Answered::Executed(replies) => replies,
            other => panic!("a program came to {other:?}"),
        }
    }

    fn program(
        &self,
        steps: Vec<AtomicStep>,
        watched: &[(DatabaseKey, Version)],
    ) -> Result<Program, Answer> {
        Program::new(steps, watched, Vec::new(), self.partitions, 5_000, 7)
    }

    /// One that sets two keys, in two partitions.
    fn of_two_keys(&self) -> Program {
        let steps = vec![step("SET alpha 1"), step("SET beta 2")];
        self.program(steps, &[]).expect("it can be done")
    }

    fn new_id(&mut self) -> TransactionId {
        self.number += 1;
        let session = Session {
            replica: ReplicaId(1),
            boot: 1,
        };
        TransactionId {
            session,
            number: self.number,
        }
    }

    fn execute(&mut self, steps: Vec<AtomicStep>, watched: &[(DatabaseKey, Version)]) -> End {
        let program = match self.program(steps, watched) {
            Ok(program) => program,
            Err(answer) => return End::Answer(answer),
        };
        let id = self.new_id();
        let mut execution = Execution::new(id, program, self.manner);
        let mut end = None;
        loop {
            while let Some(job) = execution.take_job() {
                execution.ran(job.run(Some(Arc::new(Node))));
            }
            end = end.or_else(|| execution.take_end());
            let asks = execution.asks();
            if asks.is_empty() {
                assert!(execution.is_over());
                return end.expect("whoever asks nothing has an end");
            }
            for ask in asks {
                let given = self.answer(&ask);
                execution.answered(ask.number, given);
            }
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
const COMMANDS: [&str; 44] = [
    "ATOLL.FENCED 0 5 APPEND 1 x",
    "ATOLL.FENCED 0 4 SADD 1 m",
    "SCRIPT s0 0 1 2",
    "SCRIPT s1 0 1 2",
    "SCRIPT s2 0 1 2",
    "SCRIPT s3 0 1 2",
    "SCRIPT s4 0 1 2",
    "SCRIPT s5 0 1 2",
    "SCRIPT s6 0 1 2",
    "SCRIPT s7 0 1 2",
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

fn reply_of(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Reply(reply) | Outcome::Ran { reply, .. } => reply,
        Outcome::Publish(_) => Reply::Null,
    }
}

/// A node on which nobody ends scripts.
#[derive(Debug)]
struct Node;

#[derive(Debug)]
struct Unwatched;

impl Watch for Unwatched {
    fn ends(&self) -> Option<atoll_kv::core::script::End> {
        None
    }
}

impl Surroundings for Node {
    fn begins(&self, _: Running) -> Arc<dyn Watch> {
        Arc::new(Unwatched)
    }

    fn calls(&self, _: usize, _: &[Bytes]) {}

    fn called(&self, _: Option<&'static command::Command>, _: Called<'_>) {}

    fn hearing(&self, _: &api::Publication) -> usize {
        3
    }
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
            let of_many: Vec<Reply> = match many.execute(steps(), &[]) {
                End::Done(outcomes) => outcomes.into_iter().map(reply_of).map(sorted).collect(),
                other => panic!("{texts:?} came to {other:?}"),
            };
            let has_scripts = texts.iter().any(|text| text.starts_with("SCRIPT "));
            let of_one: Vec<Reply> = match has_scripts {
                true => one.run_whole(&steps()).into_iter().map(sorted).collect(),
                false => match one.execute(steps(), &[]) {
                    End::Done(outcomes) => outcomes.into_iter().map(reply_of).map(sorted).collect(),
                    other => panic!("{texts:?} came to {other:?}"),
                },
            };
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
fn a_key_without_its_value_is_told_and_nothing_is_set() {
    let mut cluster = Cluster::new(64);
    for name in ["mset", "msetnx"] {
        let told = cluster.run(&format!("{name} alpha 1 beta"));
        let text = format!("ERR wrong number of arguments for '{name}' command");
        assert_eq!(told, Reply::Error(Bytes::from(text)));
        assert_eq!(cluster.run("EXISTS alpha beta"), Reply::Integer(0));
    }
}

#[test]
fn two_partitions_cost_three_entries() {
    let mut cluster = Cluster::new(64);
    assert_eq!(cluster.run("MSET alpha 1 beta 2"), Reply::OK);
    // One prepares, home does its part and decides, the other is told.
    assert_eq!(cluster.logged, 3);
    // What home is to do is known only when the other has told: both prepare.
    assert_eq!(cluster.run("RENAME alpha beta"), Reply::OK);
    assert_eq!(cluster.logged, 3 + 6);
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

#[test]
fn a_script_over_several_partitions_sees_what_it_declares() {
    let mut cluster = Cluster::new(64);
    cluster.run("MSET alpha 1 beta 2 gamma 3");
    let run = |cluster: &mut Cluster, code: &'static str| {
        let AtomicStep::Script(step) = script("SCRIPT s0 alpha beta") else {
            panic!("a script");
        };
        let code = Bytes::from(code);
        let step = AtomicStep::Script(Script { code, ..step });
        match cluster.execute(vec![step], &[]) {
            End::Done(mut outcomes) => outcomes.pop().map(reply_of),
            other => panic!("it came to {other:?}"),
        }
    };
    let refused = |code| match run(&mut cluster, code) {
        Some(Reply::Error(text)) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{code} came to {other:?}"),
    };
    let mut refused = refused;
    let undeclared = "ERR Script attempted to access a key that it did not declare";
    assert!(refused("return redis.call('get', 'gamma')").starts_with(undeclared));
    assert!(
        refused("return redis.call('copy', KEYS[1], KEYS[2], 'DB', 3)").starts_with(undeclared)
    );
    assert!(
        refused("redis.call('select', 1) return redis.call('get', KEYS[1])")
            .starts_with(undeclared)
    );
    let all = "ERR This Redis command goes over all keys";
    assert!(refused("return redis.call('keys', '*')").starts_with(all));
    assert!(refused("return redis.call('sort', KEYS[1], 'by', 'w_*')").starts_with(all));
    assert_eq!(
        cluster.run("MGET alpha beta gamma"),
        Reply::Array(vec![Reply::bulk("1"), Reply::bulk("2"), Reply::bulk("3"),])
    );
}

/// Whoever ended it has forgotten how: nobody may say that nothing was done.
#[test]
fn what_somebody_else_ended_and_forgot_is_told_as_unknown() {
    let mut cluster = Cluster::new(64);
    let id = cluster.new_id();
    let mut execution = Execution::new(id, cluster.of_two_keys(), Manner::Locking);
    let mut decides = 0;
    let end = loop {
        for ask in execution.asks() {
            let Operation::Transact(Transact::Decide { .. } | Transact::Commit(_)) = &ask.operation
            else {
                let given = cluster.answer(&ask);
                execution.answered(ask.number, given);
                continue;
            };
            decides += 1;
            match decides {
                // It is decided, and no answer comes.
                1 => {
                    cluster.answer(&ask);
                    execution.answered(ask.number, Given::Unknown);
                }
                _ => {
                    let forget = Operation::Transact(Transact::Forget(vec![id]));
                    cluster.apply(ask.partition, &forget);
                    let given = cluster.answer(&ask);
                    execution.answered(ask.number, given);
                }
            }
        }
        if let Some(end) = execution.take_end() {
            break end;
        }
    };
    assert_eq!(end, End::Answer(Answer::Refused(Refusal::Unknown)));
}

/// Home may have aborted it and forgotten that: then locks are gone that it counts on.
#[test]
fn what_takes_too_long_is_not_committed() {
    let mut cluster = Cluster::new(64);
    let id = cluster.new_id();
    let mut execution = Execution::new(id, cluster.of_two_keys(), Manner::Locking);
    let end = loop {
        for ask in execution.asks() {
            let given = cluster.answer(&ask);
            execution.has_taken(2 * ATTEMPT_MAX);
            execution.answered(ask.number, given);
        }
        if let Some(end) = execution.take_end() {
            break end;
        }
    };
    assert_eq!(end, End::Answer(Answer::Refused(Refusal::Unavailable)));
    for ask in execution.asks() {
        cluster.answer(&ask);
    }
    let none = vec![Reply::Null, Reply::Null];
    assert_eq!(cluster.run("MGET alpha beta"), Reply::Array(none));
}

/// Its coordinator heard nothing of it, and asks again when its branch was committed already.
#[test]
fn what_was_held_and_has_ended_is_ended_alike() {
    let mut cluster = Cluster::new(64);
    let branch = BranchId {
        transaction: 3,
        place: 0,
    };
    let home = home_of(branch, cluster.partitions);
    let program = cluster.of_two_keys().with_home(home);
    let id = cluster.new_id();
    let conditions = vec![Condition::default(); 2];
    let purpose = Purpose { branch, conditions };
    let mut execution = Execution::of_branch(id, program, Manner::Locking, purpose);
    let mut holds = 0;
    let end = loop {
        for ask in execution.asks() {
            let mut given = cluster.answer(&ask);
            if let Operation::Transact(Transact::Hold { .. }) = &ask.operation {
                holds += 1;
                if holds == 1 {
                    let how = Settlement::Commit;
                    let settle = Operation::Transact(Transact::Settle { branch, how });
                    cluster.apply(home, &settle);
                    given = Given::Unknown;
                }
            }
            execution.answered(ask.number, given);
        }
        if let Some(end) = execution.take_end() {
            break end;
        }
    };
    assert_eq!(end, End::Settled(true));
    for ask in execution.asks() {
        cluster.answer(&ask);
    }
    let both = vec![Reply::bulk("1"), Reply::bulk("2")];
    assert_eq!(cluster.run("MGET alpha beta"), Reply::Array(both));
}
