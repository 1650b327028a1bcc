//! Scripts are decided without a trace, and doing what was decided is what they did.

mod calls;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    api::Publication,
    core::{
        data::HIDDEN,
        partition::{Moment, Read, StateMachine as _},
        paxos::LogIndex,
        script::{End, Watch},
        sessions::Session,
    },
};
use atoll_base::id::{PartitionId, ReplicaId};
use atoll_ring::partition::Partitions;
use std::sync::Arc;

fn words(text: &str) -> Vec<Bytes> {
    text.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

fn at(now_ms: u64, index: u64) -> Moment {
    Moment {
        now_ms,
        seed: index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        index: LogIndex(index),
    }
}

fn script(code: &str, keys: &str, arguments: Vec<Bytes>) -> Script {
    Script {
        database: 0,
        code: Bytes::copy_from_slice(code.as_bytes()),
        function: None,
        keys: words(keys),
        arguments,
        reads: false,
        when_full: WhenFull::Limited,
        caller: None,
    }
}

/// Decides and applies; what it came to.
fn run(machine: &mut Machine, at: Moment, operation: Operation) -> Answered {
    let operation = operation.encode();
    assert!(machine.is_decided(&operation));
    let before = format!("{:?}", machine.keyspace());
    let decided = machine.decide(at, &operation);
    assert_eq!(
        format!("{:?}", machine.keyspace()),
        before,
        "a trace is left"
    );
    assert!(!machine.is_decided(&decided));
    machine.apply(at, &decided)
}

fn eval(machine: &mut Machine, code: &str) -> Answered {
    run(
        machine,
        at(1_000, 1),
        Operation::Script(script(code, "k", vec![])),
    )
}

fn get(machine: &mut Machine, key: &str) -> Reply {
    let call = Call {
        database: 0,
        words: words(&format!("GET {key}")),
    };
    match machine.apply(at(1_000, 99), &Operation::Call(call).encode()) {
        Answered::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn text(answered: &Answered) -> String {
    match answered.clone().plain() {
        Answered::Reply(Reply::Error(text)) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_script_did_before_it_failed_stays() {
    let mut machine = Machine::default();
    let failed = eval(
        &mut machine,
        "redis.call('set', 'k', 1) redis.call('incr', 'k', 2)",
    );
    assert!(text(&failed).starts_with("ERR Wrong number of args"));
    assert_eq!(get(&mut machine, "k"), Reply::bulk("1"));
}

#[derive(Debug, Default)]
struct Node;

#[derive(Debug)]
struct Always;

impl Watch for Always {
    fn ends(&self) -> Option<End> {
        Some(End::TimedOut)
    }
}

impl Surroundings for Node {
    fn begins(&self, running: Running) -> Arc<dyn Watch> {
        assert_eq!(running.command[0], "eval");
        Arc::new(Always)
    }

    fn calls(&self, _: usize, _: &[Bytes]) {}

    fn called(&self, _: Option<&'static command::Command>, _: Called<'_>) {}

    fn hearing(&self, publication: &Publication) -> usize {
        publication.channel.len()
    }
}

fn at_home(partitions: u16) -> Machine {
    let mut machine = Machine::default();
    let partitions = Partitions::new(partitions).unwrap();
    machine.set_home(Home {
        extent: Extent::Partition {
            id: partitions.of_key(b"k"),
            partitions,
        },
        surroundings: Arc::new(Node),
    });
    machine
}

#[test]
fn of_a_script_that_is_ended_nothing_stays() {
    let mut machine = at_home(1);
    let ended = eval(&mut machine, "redis.call('set', 'k', 1) while true do end");
    assert!(text(&ended).contains("script_time_limit_ms"), "{ended:?}");
    assert_eq!(get(&mut machine, "k"), Reply::Null);
}

#[test]
fn a_script_stays_in_its_partition() {
    let mut machine = at_home(64);
    let other = (0..).map(|it| it.to_string()).find(|it| {
        let partitions = Partitions::new(64).unwrap();
        partitions.of_key(it.as_bytes()) != partitions.of_key(b"k")
    });
    let other = other.unwrap();
    for (call, part) in [
        (format!("'get', '{other}'"), "non local key"),
        (format!("'mset', 'k', 1, '{other}', 2"), "non local key"),
        ("'dbsize'".to_owned(), "one partition"),
        ("'flushall'".to_owned(), "one partition"),
        ("'blpop', 'k', 0".to_owned(), "not allowed from script"),
        (
            "'eval', 'return 1', 0".to_owned(),
            "not allowed from script",
        ),
        ("'client', 'list'".to_owned(), "not allowed from script"),
        (
            "'xread', 'block', 0, 'streams', 'k', '$'".to_owned(),
            "xread command is not allowed with BLOCK",
        ),
        ("'nosuch'".to_owned(), "Unknown Redis command"),
        ("'get'".to_owned(), "Wrong number of args"),
        ("'select', 16".to_owned(), "DB index is out of range"),
    ] {
        let refused = text(&eval(&mut machine, &format!("return redis.call({call})")));
        assert!(
            refused.starts_with("ERR ") && refused.contains(part),
            "{call}: {refused}"
        );
    }
    let allowed = eval(
        &mut machine,
        "redis.call('set', 'k', 1) return redis.call('mget', 'k', '{k}x')",
    );
    assert_eq!(
        allowed.plain(),
        Answered::Reply(Reply::Array(vec![Reply::bulk("1"), Reply::Null]))
    );
}

#[test]
fn publications_are_told_when_it_is_done() {
    let mut machine = at_home(1);
    let code = "return redis.call('publish', 'news', 'm') + redis.call('spublish', 's', 'n')";
    let publication = |channel: &'static str, message: &'static str, sharded| Publication {
        channel: channel.into(),
        message: message.into(),
        sharded,
    };
    let published = Answered::Ran {
        answered: Box::new(Answered::Reply(Reply::Integer(5))),
        facts: Facts::default(),
        publications: vec![publication("news", "m", false), publication("s", "n", true)],
    };
    assert_eq!(eval(&mut machine, code), published);
    assert_eq!(Answered::decode(published.encode()), Ok(published));
}

#[test]
fn databases_are_chosen_and_changed_as_a_whole() {
    let mut machine = Machine::default();
    let code = "
        redis.call('set', 'k', 'zero') redis.call('select', 1) redis.call('set', 'k', 'one')
        redis.call('swapdb', 0, 1) redis.call('select', 2) redis.call('set', 'k', 'two')
        redis.call('flushdb') redis.call('set', 'k', 'again') redis.call('swapdb', 2, 3)
        return redis.call('time')";
    assert_eq!(
        eval(&mut machine, code),
        Answered::Reply(Reply::Array(vec![Reply::bulk("1"), Reply::bulk("0")]))
    );
    assert_eq!(get(&mut machine, "k"), Reply::bulk("one"));
    let version = |database: usize| machine.keyspace().database(database).len();
    assert_eq!([0, 1, 2, 3].map(version), [1, 1, 0, 1]);
}

#[test]
fn a_read_runs_without_the_log() {
    let mut machine = Machine::default();
    eval(&mut machine, "redis.call('set', 'k', 1, 'px', 10)");
    let mut read = script("return redis.call('get', KEYS[1])", "k", vec![]);
    read.reads = true;
    let operation = Operation::Script(read.clone()).encode();
    let found = Read::Reply(Answered::Ran {
        answered: Box::new(Answered::Reply(Reply::bulk("1"))),
        publications: Vec::new(),
        facts: Facts {
            has_read: true,
            is_counted: false,
        },
    });
    assert_eq!(machine.read(1_005, 0, &operation), found);
    // That a key has ended is known to all before anybody hears of it.
    let Read::After(removal) = machine.read(1_011, 0, &operation) else {
        panic!("an ended key was read as if its end were known to all");
    };
    machine.apply(at(1_011, 2), &removal);
    let Read::Reply(gone) = machine.read(1_011, 0, &operation) else {
        panic!("its end is known to all");
    };
    assert_eq!(gone.plain(), Answered::Reply(Reply::Null));
    read.code = Bytes::from_static(b"return redis.call('set', KEYS[1], 1)");
    let operation = Operation::Script(read).encode();
    let Read::Reply(refused) = machine.read(1_011, 0, &operation) else {
        panic!("no reply");
    };
    assert!(text(&refused).starts_with("ERR Write commands are not allowed from read-only"));
    // The same where its batch sent it through the log.
    let decided = machine.decide(at(1_011, 3), &operation);
    assert!(text(&machine.apply(at(1_011, 3), &decided)).starts_with("ERR Write commands"));
}

#[test]
fn an_ended_key_that_a_script_met_is_removed() {
    let mut machine = Machine::default();
    eval(&mut machine, "redis.call('set', 'k', 1, 'px', 10)");
    machine.take_events();
    let seen = run(
        &mut machine,
        at(1_011, 2),
        Operation::Script(script("return redis.call('get', 'k')", "k", vec![])),
    );
    assert_eq!(seen.plain(), Answered::Reply(Reply::Null));
    let names: Vec<&str> = machine
        .take_events()
        .iter()
        .map(|event| event.name)
        .collect();
    assert_eq!(names, ["expired"]);
    assert_eq!(machine.keyspace().database(0).len(), 0);
}

#[test]
fn transactions_may_hold_scripts() {
    let mut machine = Machine::default();
    let steps = vec![
        Step::Call(Call {
            database: 0,
            words: words("SET k 5"),
        }),
        Step::Script(script("return redis.call('incr', 'k')", "k", vec![])),
        Step::Call(Call {
            database: 0,
            words: words("GET k"),
        }),
    ];
    let program = |version| Operation::Program {
        steps: steps.clone(),
        watched: vec![(0, "k".into(), version)],
    };
    assert_eq!(
        run(&mut machine, at(1_000, 4), program(0)),
        Answered::Executed(vec![Reply::OK, Reply::Integer(6), Reply::bulk("6"),])
    );
    assert_eq!(
        run(&mut machine, at(1_000, 5), program(0)),
        Answered::Discarded
    );
    assert_eq!(Operation::decode(program(7).encode()), Ok(program(7)));
}

#[test]
fn where_no_memory_is_left_scripts_do_what_they_say_they_do() {
    let of = |code: &str, when_full| Script {
        when_full,
        ..script(code, "k", vec![])
    };
    let (set, del) = (
        "return redis.call('set', 'k', 1)",
        "return redis.call('del', 'k')",
    );
    let (limited, refused) = (WhenFull::Limited, WhenFull::Refused);
    let commands = "OOM command not allowed when used memory > 'maxmemory'.";
    let flag = "OOM allow-oom flag is not set on the script, can not run it when used memory > \
                'maxmemory'";
    let mut machine = Machine::default();
    machine.set_full(true);
    let told = |machine: &mut Machine, script: Script| {
        let operation = Operation::Script(script);
        assert_eq!(Operation::decode(operation.encode()), Ok(operation.clone()));
        match machine.refuses(&operation.encode()) {
            Some(refusal) => text(&refusal),
            None => match run(machine, at(1_000, 1), operation).plain() {
                Answered::Reply(Reply::Error(error)) => String::from_utf8_lossy(&error).into(),
                other => format!("{other:?}"),
            },
        }
    };
    assert!(told(&mut machine, of(set, limited)).starts_with(commands));
    assert_eq!(get(&mut machine, "k"), Reply::Null);
    assert_eq!(told(&mut machine, of(set, refused)), flag);
    assert_eq!(told(&mut machine, of(del, refused)), flag);
    let read = Script {
        reads: true,
        ..of("return redis.call('get', 'k')", refused)
    };
    assert_eq!(told(&mut machine, read), "Reply(Null)");
    let allowed = told(&mut machine, of(set, WhenFull::Allowed));
    assert!(!allowed.starts_with("OOM"), "{allowed}");
    // Once it has changed something it goes on.
    let code = "redis.call('del', 'k') redis.call('set', 'k', 2)";
    told(&mut machine, of(code, limited));
    assert_eq!(get(&mut machine, "k"), Reply::bulk("2"));
    // In a transaction it answers so in its place.
    let program = |call: &str| Operation::Program {
        steps: vec![
            Step::Script(of(set, refused)),
            Step::Call(Call {
                database: 0,
                words: words(call),
            }),
        ],
        watched: vec![],
    };
    let executed = run(&mut machine, at(1_000, 9), program("GET k"));
    let replies = vec![Reply::Error(flag.into()), Reply::bulk("2")];
    assert_eq!(executed, Answered::Executed(replies));
    assert_eq!(machine.refuses(&program("GET k").encode()), None);
    let refusal = machine
        .refuses(&program("SET k 3").encode())
        .map(|it| text(&it));
    let aborted = format!("EXECABORT Transaction discarded because of: {commands}");
    assert_eq!(refusal, Some(aborted));
}

#[test]
fn what_a_script_changes_wakes_who_waits_for_it() {
    let mut machine = Machine::default();
    eval(
        &mut machine,
        "redis.call('rpush', 'k', 1) redis.call('get', 'other')",
    );
    assert_eq!(
        machine.take_changed(),
        crate::core::partition::Changed::Keys(vec![(0, Key::from(&b"k"[..]))])
    );
    eval(&mut machine, "redis.call('flushdb')");
    assert!(matches!(
        machine.take_changed(),
        crate::core::partition::Changed::Everything
    ));
}

#[test]
fn what_takes_too_much_is_not_kept() {
    let mut machine = Machine::default();
    let code =
        "local big = string.rep('x', 1e6) for i = 1, 7 do redis.call('set', 'k' .. i, big) end";
    assert!(text(&eval(&mut machine, code)).contains("more than the limit"));
    assert_eq!(get(&mut machine, "k1"), Reply::Null);
}

/// Runs the commands of its arguments, each with its number of words before it, and returns what
/// is then there.
const PROGRAM: &str = "
    local at, replies = 1, {}
    while at <= #ARGV do
        local count = tonumber(ARGV[at])
        redis.pcall(unpack(ARGV, at + 1, at + count))
        at = at + count + 1
    end
    for database = 0, 2 do
        redis.call('select', database)
        for _, key in ipairs({'a', 'b', 'c', 'd'}) do
            replies[#replies + 1] = redis.call('dump', key) or ''
            replies[#replies + 1] = redis.call('pexpiretime', key)
        end
    end
    return replies";

fn state(machine: &mut Machine, now_ms: u64) -> Reply {
    let mut replies = Vec::new();
    for database in 0..3 {
        for key in ["a", "b", "c", "d"] {
            for name in ["DUMP", "PEXPIRETIME"] {
                let call = Call {
                    database,
                    words: words(&format!("{name} {key}")),
                };
                let Read::Reply(Answered::Reply(reply)) =
                    machine.read(now_ms, 0, &Operation::Call(call).encode())
                else {
                    panic!("an ended key was not removed");
                };
                replies.push(match reply {
                    Reply::Null => Reply::bulk(""),
                    other => other,
                });
            }
        }
    }
    Reply::Array(replies)
}

fn command() -> impl Strategy<Value = Vec<Bytes>> {
    let key = || select(vec!["a", "b", "c", "d"]);
    let small = 0u8..4;
    (
        select(vec![
            "SET K N",
            "SET K v PX N",
            "APPEND K x",
            "INCR K",
            "DEL K",
            "DEL K J",
            "RENAME K J",
            "COPY K J REPLACE",
            "MOVE K N",
            "PEXPIRE K N",
            "PERSIST K",
            "EXPIRE K 100",
            "RPUSH K a b N",
            "LPUSH K N",
            "LPOP K",
            "LMOVE K J LEFT RIGHT",
            "LREM K 1 a",
            "SADD K 1 2 N",
            "SADD K x y z",
            "SREM K N",
            "SPOP K",
            "SPOP K 2",
            "SMOVE K J x",
            "SUNIONSTORE K J K",
            "HSET K f N g N",
            "HDEL K f",
            "HPEXPIRE K N FIELDS 1 f",
            "HINCRBY K f N",
            "ZADD K N m 1 n",
            "ZREM K m",
            "ZPOPMIN K",
            "ZUNIONSTORE K 2 J K",
            "XADD K * f N",
            "XADD K MAXLEN 1 * f N",
            "XGROUP CREATE K g 0 MKSTREAM",
            "XREADGROUP GROUP g c STREAMS K >",
            "XDEL K 1-1",
            "PFADD K a b N",
            "SETBIT K N 1",
            "GET K",
            "SRANDMEMBER K 2",
            "RANDOMKEY",
            "SCAN 0",
            "HGETALL K",
            "OBJECT FREQ K",
            "SELECT N",
            "FLUSHDB",
            "FLUSHALL",
            "SWAPDB 0 N",
            "GETEX K PX N",
            "SORT K STORE J",
        ]),
        key(),
        key(),
        small,
    )
        .prop_map(|(form, key, other, number)| {
            let word = |word: &str| match word {
                "K" => key.to_owned(),
                "J" => other.to_owned(),
                "N" => number.to_string(),
                word => word.to_owned(),
            };
            form.split(' ').map(|it| Bytes::from(word(it))).collect()
        })
}

proptest! {
    // Each case runs some scripts, and looks at everything before and after.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_decided_is_what_was_done(runs in vec((0u64..6, vec(command(), 1..12)), 1..8)) {
        let mut machine = Machine::default();
        let mut now_ms = 1_000;
        for (index, (passes_ms, commands)) in runs.into_iter().enumerate() {
            now_ms += passes_ms;
            let arguments = commands
                .into_iter()
                .flat_map(|words| {
                    std::iter::once(Bytes::from(words.len().to_string())).chain(words)
                })
                .collect();
            let operation = Operation::Script(script(PROGRAM, "a", arguments)).encode();
            let moment = at(now_ms, index as u64 + 1);
            let before = format!("{:?}", machine.keyspace());
            let decided = machine.decide(moment, &operation);
            prop_assert_eq!(format!("{:?}", machine.keyspace()), before);
            // A key that is made, or put in the place of another, is used now.
            let databases = (0..=HIDDEN).map(|index| machine.keyspace().database(index));
            for database in databases {
                let (known, recount) = database.counted_bytes();
                prop_assert_eq!(known, recount);
                for place in 0..database.len() {
                    let used = database.at(place).map(|(_, entry)| entry.used());
                    prop_assert_eq!(used, Some(Uses::Last.first(now_ms)));
                }
            }
            let mut replica = machine.clone();
            let answered = machine.apply(moment, &decided);
            prop_assert_eq!(&replica.apply(moment, &decided), &answered);
            prop_assert_eq!(
                format!("{:?}", replica.keyspace()),
                format!("{:?}", machine.keyspace())
            );
            prop_assert_eq!(answered.plain(), Answered::Reply(state(&mut machine, now_ms)));
            let again = Operation::decode(decided.clone()).map(|it| it.encode());
            prop_assert_eq!(again, Ok(decided));
        }
    }
}

#[test]
fn what_may_touch_any_key_waits_for_all_locks() {
    let mut machine = Machine::default();
    eval(
        &mut machine,
        "redis.call('rpush', 'k', 1, 2) redis.call('mset', 'w_1', 9, 'w_2', 4)",
    );
    let by_weight = "return redis.call('sort', 'k', 'by', 'w_*')";
    let sorted = |first, second| {
        let all = vec![Reply::bulk(first), Reply::bulk(second)];
        Answered::Reply(Reply::Array(all))
    };
    assert_eq!(eval(&mut machine, by_weight).plain(), sorted("2", "1"));
    let prepare = Prepare {
        id: TransactionId {
            session: Session {
                replica: ReplicaId(1),
                boot: 1,
            },
            number: 1,
        },
        home: PartitionId(0),
        participants: vec![PartitionId(0)],
        locks: Locks::Keys(vec![(0, Bytes::from("w_1"))]),
        watched: Vec::new(),
        calls: Vec::new(),
        waits: false,
        branch: None,
    };
    let prepare = Operation::Transact(Transact::Prepare(prepare));
    machine.apply(at(1_000, 2), &prepare.encode());
    assert!(text(&eval(&mut machine, by_weight)).starts_with("TRYAGAIN"));
    let plain = eval(&mut machine, "return redis.call('sort', 'k')");
    assert_eq!(plain.plain(), sorted("1", "2"));
}
