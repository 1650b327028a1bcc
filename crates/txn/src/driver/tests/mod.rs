//! Nodes on virtual time: simulated disks and links, real shards, and transactions over them.

pub(super) mod cluster;
mod rounds;

use std::time::Duration;

use atoll_base::id::PartitionId;
use atoll_kv::{
    api::{Answer, Api, Body, DatabaseKey, Request, Step, Version},
    core::machine::{Call, Locks, Prepare},
    driver::Kv,
};
use atoll_world::clock;

use super::*;
use cluster::{Cluster, call, simulate};

const ACCOUNTS: usize = 12;
const EACH: i64 = 100;
/// The longest time for which a node that dies keeps anybody else waiting.
const GAP_MAX: Duration = Duration::from_millis(100);

async fn ask(kv: &Kv, body: Body) -> Answer {
    let request = Request {
        consistency: atoll_kv::api::Consistency::Linearizable,
        by: None,
        caller: None,
        body,
    };
    let mut answers = Api::ask(kv, vec![request]).await;
    answers.pop().expect("one for each")
}

pub(super) async fn told(kv: &Kv, text: &str) -> Reply {
    let call = call(text);
    match ask(kv, Body::Call { database: 0, call }).await {
        Answer::Reply(reply) => reply,
        other => panic!("{text} came to {other:?}"),
    }
}

async fn transact(kv: &Kv, texts: &[&str], watched: Vec<(DatabaseKey, Version)>) -> Answer {
    let steps = texts.iter().map(|text| Step::Call {
        database: 0,
        call: call(text),
    });
    let transaction = atoll_kv::api::Transaction {
        steps: steps.collect(),
        watched,
        names: Vec::new(),
    };
    ask(kv, Body::Transaction(transaction)).await
}

fn number(reply: &Reply) -> i64 {
    match reply {
        Reply::Bulk(text) => {
            let text = std::str::from_utf8(text).expect("a number");
            text.parse().expect("a number")
        }
        other => panic!("no number: {other:?}"),
    }
}

async fn sum(kv: &Kv) -> i64 {
    let gets: Vec<String> = (0..ACCOUNTS).map(|at| format!("GET account{at}")).collect();
    let gets: Vec<&str> = gets.iter().map(String::as_str).collect();
    match transact(kv, &gets, Vec::new()).await {
        Answer::Executed(replies) => replies.iter().map(number).sum(),
        other => panic!("a look came to {other:?}"),
    }
}

async fn open_accounts(kv: &Kv) {
    let pairs: Vec<String> = (0..ACCOUNTS)
        .map(|at| format!("account{at} {EACH}"))
        .collect();
    assert_eq!(
        told(kv, &format!("MSET {}", pairs.join(" "))).await,
        Reply::OK
    );
}

fn all() -> i64 {
    EACH * i64::try_from(ACCOUNTS).expect("few")
}

async fn transfer(kv: &Kv, from: usize, to: usize) -> Answer {
    let (take, give) = (
        format!("DECRBY account{from} 3"),
        format!("INCRBY account{to} 3"),
    );
    transact(kv, &[&take, &give], Vec::new()).await
}

#[test]
fn any_node_changes_any_keys_at_one_moment() {
    simulate(1, || async {
        let cluster = Cluster::new(1);
        let (one, other) = (cluster.kv(0), cluster.kv(1));
        open_accounts(one).await;
        assert_eq!(sum(other).await, all());
        assert!(matches!(transfer(other, 0, 1).await, Answer::Executed(_)));
        assert_eq!(sum(one).await, all());
        assert_eq!(told(one, "RENAME account0 elsewhere").await, Reply::OK);
        assert_eq!(told(other, "GET elsewhere").await, Reply::bulk("97"));
        assert_eq!(told(other, "EXISTS account0").await, Reply::Integer(0));
        let none = told(other, "MSETNX account0 1 elsewhere 2").await;
        assert_eq!(none, Reply::Integer(0));
        assert_eq!(told(other, "EXISTS account0").await, Reply::Integer(0));
        let missing = told(other, "RENAME nothing account1").await;
        assert_eq!(missing, Reply::Error("ERR no such key".into()));
    });
}

#[test]
fn a_watched_key_that_changed_lets_nothing_be_done() {
    simulate(2, || async {
        let cluster = Cluster::new(2);
        let kv = cluster.kv(0);
        open_accounts(kv).await;
        let key = DatabaseKey {
            database: 0,
            key: "account1".into(),
        };
        let Answer::Versions(versions) = ask(kv, Body::Versions(vec![key.clone()])).await else {
            panic!("it was asked where a key stands");
        };
        told(cluster.kv(1), "INCRBY account1 0").await;
        told(cluster.kv(1), "SET account1 5").await;
        let watched = vec![(key, versions[0])];
        let texts = ["SET account2 1", "SET account3 1"];
        assert_eq!(transact(kv, &texts, watched).await, Answer::Discarded);
        assert_eq!(told(kv, "GET account2").await, Reply::bulk("100"));
    });
}

#[test]
fn who_waits_for_a_change_hears_of_one_made_with_others() {
    simulate(3, || async {
        let cluster = Cluster::new(3);
        let kv = cluster.kv(0).clone();
        let waits = task::spawn(async move { told(&kv, "BLPOP list 0").await });
        task::yield_now().await;
        let texts = ["RPUSH list one", "SET flag up"];
        let pushed = transact(cluster.kv(1), &texts, Vec::new()).await;
        assert!(matches!(pushed, Answer::Executed(_)), "{pushed:?}");
        let popped = [Reply::bulk("list"), Reply::bulk("one")];
        assert_eq!(waits.await.expect("it ends"), Reply::Array(popped.to_vec()));
    });
}

/// Clients of a node run transfers as fast as they can; tells what they were busy with.
fn busy(kv: &Kv, seed: usize) {
    for client in 0..4 {
        let kv = kv.clone();
        task::spawn(async move {
            for round in 0..1_000 {
                let from = (seed + client + 5 * round) % ACCOUNTS;
                let to = (seed + 3 * client + 7 * round + 1) % ACCOUNTS;
                transfer(&kv, from, to).await;
            }
        });
    }
}

#[test]
fn a_coordinator_that_dies_leaves_nothing_locked_and_nothing_half_done() {
    let mut longest = Duration::ZERO;
    for seed in 0..20 {
        simulate(seed, || async {
            let mut cluster = Cluster::new(seed);
            open_accounts(cluster.kv(1)).await;
            // Somebody else owns everything, so only what the dead node had begun is missing.
            for partition in 0..cluster.partitions() {
                cluster.own(1, PartitionId(partition)).await;
            }
            busy(cluster.kv(0), usize::try_from(seed).expect("few"));
            clock::sleep(Duration::from_millis(20 + seed)).await;
            cluster.crash(0).await;
            for at in 0..ACCOUNTS {
                let begin = clock::now();
                told(cluster.kv(1 + at % 2), &format!("INCRBY account{at} 0")).await;
                longest = longest.max(begin.elapsed());
            }
            assert_eq!(sum(cluster.kv(2)).await, all(), "seed {seed}");
        });
    }
    assert!(longest <= GAP_MAX, "somebody waited {longest:?}");
    assert!(
        longest >= Duration::from_millis(5),
        "nothing was ever locked: {longest:?}"
    );
}

#[test]
fn any_node_may_die_and_come_back_and_the_sum_stands() {
    for seed in 0..10 {
        simulate(100 + seed, || async {
            let mut cluster = Cluster::new(seed);
            open_accounts(cluster.kv(0)).await;
            for at in 0..3 {
                busy(cluster.kv(at), at);
            }
            for round in 0..4 {
                clock::sleep(Duration::from_millis(37 + seed)).await;
                let victim = usize::try_from(seed + round).expect("few") % 3;
                cluster.crash(victim).await;
                assert_eq!(
                    sum(cluster.kv((victim + 1) % 3)).await,
                    all(),
                    "seed {seed}"
                );
                cluster.start(victim);
                busy(cluster.kv(victim), victim);
            }
            clock::sleep(Duration::from_millis(500)).await;
            assert_eq!(sum(cluster.kv(0)).await, all(), "seed {seed}");
        });
    }
}

/// Locks a key that is all that a transaction changes.
fn increment(id: TransactionId, home: PartitionId) -> Transact {
    Transact::Prepare(Prepare {
        id,
        home,
        participants: vec![home],
        locks: Locks::Keys(vec![(0, Bytes::from("key"))]),
        watched: Vec::new(),
        calls: vec![Call {
            database: 0,
            words: call("INCR key").words,
        }],
        waits: false,
        branch: None,
    })
}

/// What its coordinator asks late finds that it was aborted, and takes no locks.
#[test]
fn what_others_aborted_is_remembered_until_nothing_of_it_comes() {
    simulate(12, || async {
        let cluster = Cluster::new(12);
        let kv = cluster.kv(0);
        let home = kv.partitions().of_key(b"key");
        let id = TransactionId {
            session: Participants::session(kv),
            number: 1_000,
        };
        let prepare = || step_of(kv, home, increment(id, home));
        let prepared = prepare().await;
        assert!(
            matches!(prepared, Some(Transacted::Prepared { .. })),
            "{prepared:?}"
        );
        for _ in 0..19 {
            clock::sleep(Duration::from_mins(1)).await;
            let late = prepare().await;
            assert!(
                matches!(late, Some(Transacted::Decided { commits: false, .. })),
                "{late:?}"
            );
        }
        // It is not kept for ever, either.
        clock::sleep(Duration::from_mins(2)).await;
        let prepared = prepare().await;
        assert!(
            matches!(prepared, Some(Transacted::Prepared { .. })),
            "{prepared:?}"
        );
    });
}

/// A node at work on a transaction may take its time; one that says nothing may not.
#[test]
fn who_says_that_it_is_at_work_keeps_its_locks() {
    simulate(11, || async {
        let cluster = Cluster::new(11);
        assert_eq!(told(cluster.kv(0), "SET key 1").await, Reply::OK);
        let mut committed = Vec::new();
        for tends in [true, false] {
            let kv = cluster.kv(0);
            let id = TransactionId {
                session: Participants::session(kv),
                number: 1_000 + u64::from(tends),
            };
            let home = kv.partitions().of_key(b"key");
            let prepared = step_of(kv, home, increment(id, home)).await;
            assert!(
                matches!(prepared, Some(Transacted::Prepared { .. })),
                "{prepared:?}"
            );
            for _ in 0..60 {
                clock::sleep(TEND_EVERY).await;
                if tends {
                    let ask = Participants::ask(kv, None, home, true, &Operation::Tend(id));
                    assert!(matches!(ask.await, Given::Reply(_)));
                }
            }
            let decide = Transact::Decide { id, commits: true };
            match step_of(kv, home, decide).await {
                Some(Transacted::Decided { commits, .. }) => committed.push(commits),
                other => panic!("home came to {other:?}"),
            }
        }
        assert_eq!(committed, [true, false]);
        assert_eq!(told(cluster.kv(1), "GET key").await, Reply::bulk("2"));
    });
}

/// Scripts move money between partitions; a look at all accounts finds all of it.
#[test]
fn scripts_over_several_partitions_are_done_whole() {
    const MOVE: &str = "local from = tonumber(redis.call('get', KEYS[1])) \
                        if from < 5 then return redis.error_reply('ERR too poor') end \
                        redis.call('set', KEYS[1], from - 5) \
                        redis.call('publish', 'moved', KEYS[2]) \
                        return redis.call('incrby', KEYS[2], 5)";
    simulate(12, || async {
        let cluster = Cluster::new(12);
        open_accounts(cluster.kv(0)).await;
        let mut moved = 0;
        for round in 0..40 {
            let (from, to) = (
                format!("account{}", round % 3),
                format!("account{}", 3 + round % 9),
            );
            let words = ["EVAL", MOVE, "2", &from, &to].map(|word| Bytes::from(word.to_owned()));
            let command = atoll_kv::core::command::find(&words).expect("a command");
            let call = atoll_kv::api::Call {
                command,
                words: words.to_vec(),
            };
            match ask(cluster.kv(round % 3), Body::Call { database: 0, call }).await {
                Answer::Ran {
                    answer,
                    has_read: true,
                    is_counted: false,
                } => match *answer {
                    Answer::Reply(Reply::Integer(_)) => moved += 1,
                    Answer::Reply(Reply::Error(text)) => assert_eq!(&text[..], b"ERR too poor"),
                    other => panic!("a script came to {other:?}"),
                },
                other => panic!("a script came to {other:?}"),
            }
            assert_eq!(
                sum(cluster.kv((round + 1) % 3)).await,
                ACCOUNTS as i64 * EACH
            );
        }
        assert_eq!(moved, 40);
    });
}
