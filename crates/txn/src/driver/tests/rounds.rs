//! How many times what is asked for goes to other nodes and back, one after the other, before it
//! is answered. docs/consistency.md has these figures.

use std::{fmt::Write as _, sync::Arc};

use atoll_kv::{
    api::{Consistency, EventualCall},
    core::{
        eventual::quorum::Level,
        keyspaces::{KeyspaceNumber, Keyspaces, Wanted},
    },
};

use super::*;

/// A message takes so long: much longer than a disk, and not so long that others are asked.
const DELAY: Duration = Duration::from_millis(5);
/// A disk takes no longer.
const SYNC_MAX: Duration = Duration::from_micros(20);

fn plain(text: &str) -> Body {
    let call = call(text);
    Body::Call { database: 0, call }
}

fn whole(texts: &[&str], watched: Vec<(DatabaseKey, Version)>) -> Body {
    let steps = texts.iter().map(|text| Step::Call {
        database: 0,
        call: call(text),
    });
    Body::Transaction(atoll_kv::api::Transaction {
        steps: steps.collect(),
        watched,
        names: Vec::new(),
    })
}

fn script(code: &str, keys: &[&str]) -> Body {
    let mut call = call("EVAL code 0");
    call.words = ["EVAL", code, &keys.len().to_string()]
        .iter()
        .chain(keys)
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    Body::Call { database: 0, call }
}

fn eventual(text: &str, level: Level) -> Body {
    Body::Eventual(EventualCall {
        keyspace: KeyspaceNumber(32),
        write: level,
        read: level,
        call: call(text),
    })
}

/// Round trips of a request.
async fn rounds(kv: &Kv, consistency: Consistency, body: Body) -> f64 {
    let began = clock::now();
    let request = Request {
        consistency,
        by: None,
        caller: None,
        body,
    };
    let answer = Api::ask(kv, vec![request]).await.pop();
    let trips = began.elapsed().as_secs_f64() / (2.0 * DELAY.as_secs_f64());
    match answer.expect("one for each").plain() {
        Answer::Reply(Reply::Error(error)) => panic!("{error:?}"),
        Answer::Reply(_) | Answer::Executed(_) | Answer::Versions(_) => {}
        other => panic!("it came to {other:?}"),
    }
    (trips * 2.0).floor() / 2.0
}

/// What is asked, of which node, and how often it goes to others: all is owned by the first node.
fn rows(b: &str) -> Vec<(&'static str, f64, usize, Consistency, Body)> {
    use Consistency::{Linearizable, Stale};
    let row = |what, rounds, at, body| (what, rounds, at, Linearizable, body);
    let set = [plain("SET a 2"), plain("SET a 3")];
    let [at_owner, elsewhere] = set;
    let two = ["SET a 4".to_owned(), format!("SET {b} 4")];
    let two = [&two[0][..], &two[1]];
    let reads = ["GET a".to_owned(), format!("GET {b}")];
    let reads = [&reads[0][..], &reads[1]];
    let code = "redis.call('set', KEYS[1], redis.call('get', KEYS[2])) \
                return redis.call('incr', KEYS[2])";
    vec![
        row("a write, at the owner", 1.0, 0, at_owner),
        row("a write, elsewhere", 2.0, 1, elsewhere),
        row("a read, at the owner", 1.0, 0, plain("GET a")),
        row("a read, elsewhere", 2.0, 1, plain("GET a")),
        ("a stale read", 0.0, 1, Stale, plain("GET a")),
        row(
            "MULTI in one partition",
            1.0,
            0,
            whole(&["SET a 5", "INCR a"], Vec::new()),
        ),
        row("MULTI over two", 2.0, 0, whole(&two, Vec::new())),
        row("MULTI over two, elsewhere", 4.0, 1, whole(&two, Vec::new())),
        row("MULTI that reads two", 2.0, 0, whole(&reads, Vec::new())),
        row("MSET over two", 2.0, 0, plain(&format!("MSET a 6 {b} 6"))),
        row("EXISTS over two", 1.0, 0, plain(&format!("EXISTS a {b}"))),
        row("RENAME over two", 3.0, 0, plain(&format!("RENAME a {b}"))),
        row("EVAL over two", 3.0, 0, script(code, &["a", b])),
        row(
            "eventual write at ONE",
            0.0,
            0,
            eventual("SET a 2", Level::One),
        ),
        row(
            "eventual write at QUORUM",
            1.0,
            0,
            eventual("SET a 3", Level::Quorum),
        ),
        row(
            "eventual write at ALL",
            1.0,
            0,
            eventual("SET a 4", Level::All),
        ),
        row(
            "eventual read at ONE",
            0.0,
            0,
            eventual("GET a", Level::One),
        ),
        row(
            "eventual read at QUORUM",
            1.0,
            0,
            eventual("GET a", Level::Quorum),
        ),
        row(
            "eventual read at ALL",
            1.0,
            0,
            eventual("GET a", Level::All),
        ),
    ]
}

#[test]
fn what_is_asked_goes_to_others_as_often_as_the_table_says() {
    let mut found = String::new();
    simulate(31, || async {
        let cluster = Cluster::with_disks(31, Duration::from_micros(1)..SYNC_MAX);
        let mut keyspaces = Keyspaces::default();
        let wanted = Wanted {
            name: "carts".to_owned(),
            eventual: Some((3, Level::One, Level::One)),
        };
        let born = vec![1; usize::from(cluster.partitions())];
        keyspaces.create(&wanted, born, 3).expect("it can be");
        let keyspaces = Arc::new(keyspaces);
        for at in 0..3 {
            cluster.kv(at).set_keyspaces(&keyspaces);
        }
        // Everybody learns what is usual.
        cluster.set_delay(DELAY);
        for partition in 0..cluster.partitions() {
            for _ in 0..3 {
                cluster.own(0, PartitionId(partition)).await;
            }
        }
        // Two keys that lie apart.
        let kv = cluster.kv(0);
        let of = |key: &str| kv.partitions().of_key(key.as_bytes());
        let other = (0..).map(|number| format!("b{number}"));
        let b = other.into_iter().find(|key| of(key) != of("a"));
        let b = b.expect("some");
        for key in ["a", &b] {
            told(kv, &format!("SET {key} 1")).await;
        }
        for (what, wanted, at, consistency, body) in rows(&b) {
            // Whatever is still said of the one before is over.
            clock::sleep(Duration::from_secs(1)).await;
            let trips = rounds(cluster.kv(at), consistency, body).await;
            let mark = if trips == wanted { "" } else { " WRONG" };
            writeln!(found, "{what}: {trips}, by the table {wanted}{mark}").expect("text");
        }
    });
    assert!(!found.contains("WRONG"), "\n{found}");
}
