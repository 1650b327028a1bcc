//! Tests: a database's index of fields that end says what its hashes say, whatever is done.

use bytes::Bytes;
use proptest::prelude::*;

use crate::core::{
    command::{Context, Effects, Flags, Moment, find, testing::story},
    data::{DATABASES, Database, Entry, Hash, Keyspace, Kind as _, Milliseconds},
};

/// The index of fields that end follows the hash into other places and out of them.
#[test]
fn ends_are_indexed_where_the_hash_is() {
    let mut keyspace = Keyspace::default();
    let mut hash = Hash::default();
    hash.set(b"f", b"v");
    hash.expire_at(b"f", Some(7));
    let entry = Entry::new(hash.into_value(), None, 1);
    let ended = |database: &Database| -> Vec<Vec<u8>> {
        database
            .with_ended_fields(8)
            .map(|key| key.to_vec())
            .collect()
    };
    let database = keyspace.database_mut(0);
    database.insert(b"a", entry.clone());
    assert_eq!(database.with_ended_fields(7).count(), 0);
    assert_eq!(ended(database), [b"a"]);
    let moved = database.remove(b"a").expect("it was put there");
    assert!(ended(database).is_empty());
    database.insert(b"b", moved.clone());
    database.insert(b"c", moved);
    assert_eq!(ended(database), [b"b", b"c"]);
    database.insert(b"b", entry);
    assert_eq!(ended(database), [b"b", b"c"]);
    if let Some(value) = database.get_mut(b"b")
        && let Some(hash) = Hash::of_mut(value)
    {
        hash.expire_at(b"f", None);
    }
    database.index_fields(b"b");
    assert_eq!(ended(database), [b"c"]);
}

#[test]
fn ends_go_with_the_hash() {
    story(
        r#"
        > HSET h a 1 b 2
        (integer) 2
        > HPEXPIRE h 5 FIELDS 1 a
        1) (integer) 1
        > RENAME h i
        OK
        > COPY i j
        (integer) 1
        > HPTTL j FIELDS 1 a
        1) (integer) 5
        > MOVE i 1
        (integer) 1
        > HSET all x 1
        (integer) 1
        > HPEXPIRE all 5 FIELDS 1 x
        1) (integer) 1
        @ 6
        > HGETALL j
        1# "b" => "2"
        > EXISTS all
        (integer) 0
        > TYPE all
        none
        > HSET j c 3
        (integer) 1
        ! hexpired j, hset j
        > DEL all
        (integer) 0
        ! hexpired all, del all
        > SELECT 1
        OK
        > HSET i c 3
        (integer) 1
        ! hexpired i, hset i
        > HGETALL i
        1# "b" => "2"
        2# "c" => "3"
        "#,
    );
}

/// Reading tells the key, for its ended fields to be taken out by an entry of the log; that
/// entry takes them out, and then there is nothing more to tell.
#[test]
fn who_reads_tells_of_ended_fields() {
    let mut keyspace = Keyspace::default();
    let mut run = |call: &str, now_ms: Milliseconds| {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        let command = find(&words);
        let moment = Moment {
            now_ms,
            seed: 1,
            version: 1,
            reading: command.is_some_and(|command| command.flags.has(Flags::READONLY)),
        };
        let mut effects = Effects::default();
        let mut context = Context::new(&mut keyspace, 0, moment, &mut effects);
        match command {
            Some(command) => {
                command
                    .run(&mut context, &words)
                    .expect("it is well formed");
            }
            // What the owner logs.
            None => context.expire_if_ended(&words[0]),
        }
        effects
    };
    run("HSET h a 1 b 2", 1);
    run("HPEXPIRE h 5 FIELDS 1 a", 1);
    assert_eq!(run("HLEN h", 6).ended, []);
    assert_eq!(run("HLEN h", 7).ended, [(0, b"h"[..].into())]);
    let logged = run("h", 7);
    assert_eq!(logged.changed, [(0, b"h"[..].into())]);
    assert_eq!(logged.events.len(), 1);
    assert_eq!(run("HLEN h", 7).ended, []);
}

/// Every hash with a field that ends, soonest first, as the hashes themselves say.
fn truth(database: &Database) -> Vec<(Milliseconds, Vec<u8>)> {
    let entries = (0..database.len()).filter_map(|place| database.at(place));
    let mut ends: Vec<_> = entries
        .filter_map(|(key, entry)| {
            let hash = Hash::of(&entry.value)?;
            let ends = hash.iter_stored();
            let first = ends.filter_map(|(field, _)| hash.expires_at(field)).min()?;
            Some((first, key.to_vec()))
        })
        .collect();
    ends.sort();
    ends
}

fn call() -> impl Strategy<Value = String> {
    let (key, field) = (0..3, 0..3);
    let one = (key.clone(), field, 0..9_u8).prop_flat_map(|(key, field, number)| {
        prop_oneof![
            Just(format!("HSET {key} {field} v")),
            Just(format!("HPEXPIRE {key} {number} FIELDS 1 {field}")),
            Just(format!("HPERSIST {key} FIELDS 1 {field}")),
            Just(format!("HINCRBY {key} n{field} 1")),
            Just(format!("HDEL {key} {field}")),
            Just(format!("HLEN {key}")),
            Just(format!("DEL {key}")),
            Just(format!("SET {key} v")),
            Just(format!("PEXPIRE {key} {number}")),
            Just(format!("MOVE {key} 1")),
        ]
    });
    let two = (key.clone(), key).prop_flat_map(|(from, to)| {
        prop_oneof![
            Just(format!("RENAME {from} {to}")),
            Just(format!("COPY {from} {to} REPLACE")),
            Just(format!("COPY {from} {to} DB 1")),
        ]
    });
    prop_oneof![6 => one, 2 => two, 1 => Just("SWAPDB 0 1".to_owned())]
}

proptest! {
    #[test]
    fn the_index_says_what_the_hashes_say(calls in proptest::collection::vec(call(), 0..60)) {
        let mut keyspace = Keyspace::default();
        for (at, call) in calls.iter().enumerate() {
            let words: Vec<Bytes> = call.split(' ').map(|word| Bytes::from(word.to_owned())).collect();
            let command = find(&words).expect("a command");
            let moment = Moment {
                now_ms: at as Milliseconds,
                seed: 1,
                version: at as u64,
                reading: command.flags.has(Flags::READONLY),
            };
            let mut effects = Effects::default();
            let mut context = Context::new(&mut keyspace, 0, moment, &mut effects);
            // Some are refused (no such key, another type); the index must stand all the same.
            let _ = command.run(&mut context, &words);
            for index in 0..DATABASES {
                let database = keyspace.database(index);
                let truth = truth(database);
                let keys = database.with_ended_fields(Milliseconds::MAX).map(|key| key.to_vec());
                prop_assert_eq!(
                    keys.collect::<Vec<_>>(),
                    truth.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>(),
                    "after {}", call
                );
                if let Some((first, _)) = truth.first() {
                    prop_assert_eq!(database.with_ended_fields(*first).count(), 0);
                }
            }
        }
    }
}
