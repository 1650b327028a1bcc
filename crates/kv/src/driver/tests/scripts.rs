//! Scripts and functions over nodes on virtual time.

mod long;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use atoll_world::{clock, task};
use bytes::Bytes;
use futures_util::FutureExt as _;

use super::serving::{Cluster, simulate};
use crate::driver::*;
use crate::{
    api::{Body, Call, Consistency, DatabaseKey, Refusal, Step, Transaction, Version},
    core::{command, reply::Reply, script},
    hub::{Mailbox, Topic},
};

fn call(words: &[&str]) -> Call {
    let words: Vec<Bytes> = words
        .iter()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    Call {
        command: command::find(&words).unwrap(),
        words,
    }
}

fn request(body: Body) -> Request {
    Request {
        by: None,
        caller: None,
        consistency: Consistency::Linearizable,
        body,
    }
}

fn of_call(words: &[&str]) -> Request {
    let call = call(words);
    request(Body::Call { database: 0, call })
}

async fn told(kv: &Kv, words: &[&str]) -> Reply {
    match kv.ask(vec![of_call(words)]).await.pop().unwrap().plain() {
        Answer::Reply(reply) => reply,
        other => panic!("{words:?}: {other:?}"),
    }
}

async fn error(kv: &Kv, words: &[&str]) -> String {
    match told(kv, words).await {
        Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn a_script_runs_where_its_keys_are() {
    simulate(31, || async {
        let mut cluster = Cluster::new(31);
        let code = "return redis.call('incrby', KEYS[1], ARGV[1])";
        for round in 1..=3_i64 {
            for key in ["a", "b", "c", "d", "e"] {
                let node = usize::try_from(round).unwrap() % 3;
                let sum = told(cluster.kv(node), &["EVAL", code, "1", key, "2"]).await;
                assert_eq!(sum, Reply::Integer(2 * round));
            }
        }
        let name = script::hex(&script::digest(code.as_bytes()));
        let by_name = ["EVALSHA", &name, "1", "a", "1"];
        assert_eq!(told(cluster.kv(0), &by_name).await, Reply::Integer(7));
        // In a pipeline each finds what came before it.
        let answers = cluster.kv(1).ask(vec![
            of_call(&["SCRIPT", "FLUSH"]),
            of_call(&by_name),
            of_call(&["SCRIPT", "LOAD", code]),
            of_call(&["SCRIPT", "EXISTS", &name, "x"]),
            of_call(&by_name),
            of_call(&["GET", "a"]),
            of_call(&["EVAL_RO", "return redis.call('get', KEYS[1])", "1", "a"]),
        ]);
        let no_script = "NOSCRIPT No matching script. Please use EVAL.";
        let replies = [
            Reply::OK,
            Reply::Error(no_script.into()),
            Reply::bulk(&name),
            Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]),
            Reply::Integer(8),
            Reply::bulk("8"),
            Reply::bulk("8"),
        ];
        let answers: Vec<Answer> = answers.await.into_iter().map(Answer::plain).collect();
        assert_eq!(answers, replies.map(Answer::Reply));
        assert_eq!(
            cluster
                .kv(0)
                .ask(vec![of_call(&["EVAL", code, "2", "a", "b", "1"])])
                .await,
            [Answer::Refused(Refusal::CrossPartition)]
        );
        // What was acknowledged is there after its owner is gone.
        cluster.crash(0).await;
        assert_eq!(told(cluster.kv(1), &["GET", "a"]).await, Reply::bulk("8"));
        assert_eq!(
            told(cluster.kv(2), &["EVAL", code, "1", "a", "1"]).await,
            Reply::Integer(9)
        );
    });
}

#[test]
fn calls_that_are_none_are_refused() {
    simulate(32, || async {
        let cluster = Cluster::new(32);
        let kv = cluster.kv(0);
        for (words, text) in [
            (
                &["EVAL", "return 1", "x"][..],
                "ERR value is not an integer or out of range",
            ),
            (
                &["EVAL", "return 1", "-12"],
                "ERR Number of keys can't be negative",
            ),
            (
                &["EVAL", "return 1", "2", "k"],
                "ERR Number of keys can't be greater than number of args",
            ),
            (
                &["EVALSHA", "NotValidShaSUM", "0"],
                "NOSCRIPT No matching script. Please use EVAL.",
            ),
            (
                &["EVAL", "#!bash\nls", "0"],
                "ERR Unexpected engine in script shebang: bash",
            ),
            (
                &["EVAL_RO", "#!lua\nreturn 1", "0"],
                "ERR Can not execute a script with write flag using *_ro command.",
            ),
            (
                &["SCRIPT", "KILL"],
                "NOTBUSY No scripts in execution right now.",
            ),
            (
                &["FUNCTION", "KILL"],
                "NOTBUSY No scripts in execution right now.",
            ),
            (
                &["SCRIPT", "FLUSH", "LATER"],
                "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
            ),
            (&["FCALL", "none", "0"], "ERR Function not found"),
            (&["FUNCTION", "DELETE", "none"], "ERR Library not found"),
            (
                &["FUNCTION", "LOAD", "FOO", "x"],
                "ERR Unknown option given: FOO",
            ),
            (&["FUNCTION", "LOAD", "x"], "ERR Missing library metadata"),
            (
                &["FUNCTION", "RESTORE", "x"],
                "ERR DUMP payload version or checksum are wrong",
            ),
            (&["FUNCTION", "LIST", "x"], "ERR Unknown argument x"),
        ] {
            assert_eq!(error(kv, words).await, text, "{words:?}");
        }
        let loaded = error(kv, &["SCRIPT", "LOAD", "return ("]).await;
        assert!(loaded.starts_with("ERR Error compiling script (new function):"));
    });
}

#[test]
fn transactions_hold_scripts_and_publications_are_heard() {
    simulate(33, || async {
        let cluster = Cluster::new(33);
        let mailbox = Arc::<Mailbox>::default();
        let hub = cluster.kv(2).hub();
        hub.subscribe(Topic::Channel, "news".into(), 0, &mailbox);
        let step = |words: &[&str]| Step::Call {
            database: 0,
            call: call(words),
        };
        let key = DatabaseKey {
            database: 0,
            key: "k".into(),
        };
        let steps = vec![
            step(&["SET", "k", "1"]),
            step(&[
                "EVAL",
                "redis.call('publish', 'news', 'm') return redis.call('incr', KEYS[1])",
                "1",
                "k",
            ]),
            step(&[
                "EVALSHA",
                "0000000000000000000000000000000000000000",
                "1",
                "k",
            ]),
            step(&["GET", "k"]),
        ];
        let transaction = |version| {
            request(Body::Transaction(Transaction {
                steps: steps.clone(),
                watched: vec![(key.clone(), Version(version))],
                names: Vec::new(),
            }))
        };
        let executed = Answer::Executed(vec![
            Reply::OK,
            Reply::Integer(2),
            Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into()),
            Reply::bulk("2"),
        ]);
        assert_eq!(
            cluster.kv(0).ask(vec![transaction(0)]).await,
            [Answer::Ran {
                answer: Box::new(executed),
                has_read: false,
                is_counted: false,
            }]
        );
        assert_eq!(
            cluster.kv(1).ask(vec![transaction(0)]).await,
            [Answer::Discarded]
        );
        let mut heard = None;
        for _ in 0..1_000 {
            heard = mailbox.take();
            if heard.is_some() {
                break;
            }
            clock::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(heard.map(|mail| mail.message), Some("m".into()));
        assert_eq!(mailbox.take(), None);
    });
}

const LIBRARY: &str = "#!lua name=lib
    redis.register_function('add', function(keys, args)
        return redis.call('incrby', keys[1], args[1])
    end)
    redis.register_function{function_name='look', flags={'no-writes'}, description='d',
        callback=function(keys) return redis.call('get', keys[1]) end}";

#[test]
fn functions_are_the_same_everywhere_and_stay() {
    simulate(34, || async {
        let mut cluster = Cluster::new(34);
        let loaded = told(cluster.kv(0), &["FUNCTION", "LOAD", LIBRARY]).await;
        assert_eq!(loaded, Reply::bulk("lib"));
        for node in 0..3 {
            let sum = told(cluster.kv(node), &["FCALL", "ADD", "1", "k", "5"]).await;
            assert_eq!(sum, Reply::Integer(5 * (i64::try_from(node).unwrap() + 1)));
            let found = told(cluster.kv(node), &["FCALL_RO", "look", "1", "k"]).await;
            assert!(matches!(found, Reply::Bulk(_)));
        }
        let kv = cluster.kv(1);
        assert_eq!(
            error(kv, &["FUNCTION", "LOAD", LIBRARY]).await,
            "ERR Library 'lib' already exists"
        );
        let other = LIBRARY.replace("name=lib", "name=other");
        assert_eq!(
            error(kv, &["FUNCTION", "LOAD", &other]).await,
            "ERR Function add already exists"
        );
        assert_eq!(
            error(kv, &["FCALL_RO", "add", "1", "k", "1"]).await,
            "ERR Can not execute a script with write flag using *_ro command."
        );
        assert_eq!(
            error(kv, &["FCALL", "add", "x"]).await,
            "ERR Bad number of keys provided"
        );
        told(kv, &["FLUSHALL"]).await;
        let Reply::Array(listed) = told(kv, &["FUNCTION", "LIST", "LIBRARYNAME", "L*"]).await
        else {
            panic!("no list");
        };
        assert_eq!(listed.len(), 1);
        let Reply::Bulk(_) = told(kv, &["FUNCTION", "DUMP"]).await else {
            panic!("no dump");
        };
        let stats = format!("{:?}", told(kv, &["FUNCTION", "STATS"]).await);
        assert!(stats.contains("functions_count"), "{stats}");
        // Everybody loses power.
        for at in 0..3 {
            cluster.crash(at).await;
        }
        for at in 0..3 {
            cluster.start(at);
        }
        assert_eq!(
            told(cluster.kv(2), &["FCALL", "add", "1", "k", "1"]).await,
            Reply::Integer(1)
        );
        assert_eq!(
            told(cluster.kv(0), &["FUNCTION", "DELETE", "lib"]).await,
            Reply::OK
        );
        assert_eq!(
            error(cluster.kv(2), &["FCALL", "add", "1", "k", "1"]).await,
            "ERR Function not found"
        );
    });
}

#[test]
fn a_script_ends_when_somebody_wants_it() {
    let (hunts, orders) = mpsc::channel();
    // Nothing else happens in a simulation's thread while a script runs.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (kvs, kill, over) in orders {
                hunt(&kvs, kill, &over);
            }
        });
        is_ended_by(hunts);
    });
}

/// A KILL that is to be asked of these nodes until it is over.
type Hunt = ([Kv; 3], &'static str, Arc<AtomicBool>);

fn hunt(kvs: &[Kv; 3], kill: &'static str, over: &Arc<AtomicBool>) {
    let ask = |kv: &Kv, name| {
        let asked = kv.ask(vec![of_call(&[name, "KILL"])]).now_or_never();
        asked == Some(vec![Answer::Reply(Reply::OK)])
    };
    let other = if kill == "SCRIPT" {
        "FUNCTION"
    } else {
        "SCRIPT"
    };
    // Nobody else holds it when the simulation failed.
    while !over.load(Ordering::Relaxed) && Arc::strong_count(over) > 1 {
        assert!(
            !kvs.iter().any(|kv| ask(kv, other)),
            "{other} KILL ended what is none"
        );
        for kv in kvs {
            ask(kv, kill);
        }
        std::thread::yield_now();
    }
}

fn is_ended_by(hunts: mpsc::Sender<Hunt>) {
    simulate(36, || async move {
        let cluster = Cluster::new(36);
        told(cluster.kv(0), &["FUNCTION", "LOAD", SPINS]).await;
        let kvs = [0, 1, 2].map(|at| cluster.kv(at).clone());
        for (kill, begin) in [
            ("SCRIPT", ["EVAL", SPIN, "1", "k"]),
            ("FUNCTION", ["FCALL", "spin", "1", "k"]),
        ] {
            let over = Arc::<AtomicBool>::default();
            hunts.send((kvs.clone(), kill, over.clone())).unwrap();
            let killed = error(cluster.kv(0), &begin).await;
            over.store(true, Ordering::Relaxed);
            assert!(killed.contains("Script killed by user with"), "{killed}");
            // Nothing of it is kept, and nothing runs.
            assert_eq!(told(cluster.kv(1), &["GET", "k"]).await, Reply::Null);
            assert_eq!(
                error(cluster.kv(0), &[kill, "KILL"]).await,
                "NOTBUSY No scripts in execution right now."
            );
        }
    });
}

const SPIN: &str = "redis.call('set', KEYS[1], 1) while true do end";
const SPINS: &str = "#!lua name=spins
    redis.register_function('spin', function(keys)
        redis.call('set', keys[1], 1)
        while true do end
    end)";

#[test]
fn a_script_that_changes_something_wakes_who_waits() {
    simulate(37, || async {
        let cluster = Cluster::new(37);
        let waiting = cluster.kv(1).clone();
        let waits = task::spawn(async move { told(&waiting, &["BLPOP", "k", "0"]).await });
        clock::sleep(Duration::from_millis(500)).await;
        let code = "return redis.call('rpush', KEYS[1], 'm')";
        let pushed = told(cluster.kv(0), &["EVAL", code, "1", "k"]).await;
        assert_eq!(pushed, Reply::Integer(1));
        let popped = waits.await.unwrap();
        assert_eq!(
            popped,
            Reply::Array(vec![Reply::bulk("k"), Reply::bulk("m")])
        );
    });
}

#[test]
fn a_script_ends_at_the_time_limit() {
    simulate(35, || async {
        let cluster = Cluster::new(35);
        for node in 0..3 {
            // No virtual time passes while a script runs: its first look is its last.
            cluster.kv(node).set_script_time_limit_ms(0);
        }
        let code = "redis.call('set', KEYS[1], 1) while true do end";
        let text = error(cluster.kv(0), &["EVAL", code, "1", "k"]).await;
        assert!(text.contains("kv.script_time_limit_ms"), "{text}");
        assert_eq!(told(cluster.kv(0), &["GET", "k"]).await, Reply::Null);
    });
}
