//! Which keys there are.

use bytes::Bytes;

use crate::core::{
    command::{
        Context, Executed, args,
        scan::{Scan, cursor},
    },
    data::Entry,
    glob,
    reply::Reply,
};

/// So many times RANDOMKEY picks anew when it met a key that has ended.
const PICKS_MAX: usize = 100;

pub(super) fn keys(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let places = 0..context.database().len();
    Ok(found(context, places, |key, _| {
        glob::matches(&words[1], key)
    }))
}

/// The names of keys at these places that are as wanted and have not ended.
fn found(
    context: &mut Context<'_>,
    places: impl Iterator<Item = usize>,
    wanted: impl Fn(&[u8], &Entry) -> bool,
) -> Reply {
    let database = context.database();
    let mut keys: Vec<Bytes> = places
        .filter_map(|place| database.at(place))
        .filter(|(key, entry)| wanted(key, entry))
        .map(|(key, _)| Bytes::copy_from_slice(key))
        .collect();
    // Those that have ended are noted, so that no later answer knows them again.
    keys.retain(|key| context.exists(key));
    Reply::Array(keys.into_iter().map(Reply::Bulk).collect())
}

pub(super) fn randomkey(context: &mut Context<'_>, _words: &[Bytes]) -> Executed {
    let keys = context.database().len();
    if keys == 0 {
        return Ok(Reply::Null);
    }
    let mut place = 0;
    for _ in 0..PICKS_MAX {
        place = context.random_below(keys);
        if let Some(key) = key_at(context, place) {
            return Ok(Reply::Bulk(key));
        }
    }
    // Nearly all have ended: the next one that has not.
    let next = (place..keys)
        .chain(0..place)
        .find_map(|place| key_at(context, place));
    Ok(next.map_or(Reply::Null, Reply::Bulk))
}

/// The key at a place, if it has not ended.
fn key_at(context: &mut Context<'_>, place: usize) -> Option<Bytes> {
    let (key, _) = context.database().at(place)?;
    let key = Bytes::copy_from_slice(key);
    context.exists(&key).then_some(key)
}

/// The cursor is the number of places still to be looked at. It goes from the last place to the
/// first, and what is removed gives its place to the last key; so a key that is there all the
/// time is met, maybe twice.
pub(super) fn scan(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let cursor = cursor(&words[1])?;
    let mut type_name = None;
    let scan = Scan::with(words, 2, |option, options| {
        let is_type = args::is(option, "TYPE");
        if is_type {
            type_name = Some(options.expect()?);
        }
        Ok(is_type)
    })?;
    let places = scan.places(cursor, context.database().len());
    let next = places.start;
    let found = found(context, places.rev(), |key, entry| {
        scan.wants(key) && type_name.is_none_or(|name| args::is(name, entry.value.type_name()))
    });
    Ok(Reply::Array(vec![Reply::bulk(next.to_string()), found]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::core::{
        command::{Effects, Moment, find, testing::story},
        data::Keyspace,
    };

    #[test]
    fn names_of_keys() {
        story(
            r#"
            > RANDOMKEY
            (nil)
            > MSET a1 x a2 y b x
            OK
            > KEYS a?
            1) "a1"
            2) "a2"
            > DBSIZE
            (integer) 3
            > SCAN 0
            1) "0"
            2) 1) "b"
               2) "a2"
               3) "a1"
            > SCAN 0 COUNT 2 MATCH a*
            1) "1"
            2) 1) "a2"
            > SCAN 1 COUNT 2 TYPE STRING
            1) "0"
            2) 1) "a1"
            > SCAN 0 TYPE list
            1) "0"
            2) (empty array)
            > SCAN 18446744073709551615 COUNT 9223372036854775807 MATCH b
            1) "0"
            2) 1) "b"
            > SCAN x
            (error) ERR invalid cursor
            > SCAN -1
            (error) ERR invalid cursor
            > SCAN 0 COUNT 0
            (error) ERR syntax error
            > SCAN 0 COUNT x
            (error) ERR value is not an integer or out of range
            > SCAN 0 MATCH
            (error) ERR syntax error
            > SCAN 0 NOTHING 1
            (error) ERR syntax error
            > PEXPIRE b 5
            (integer) 1
            > PEXPIRE a1 5
            (integer) 1
            @ 6
            > RANDOMKEY
            "a2"
            > KEYS *
            1) "a2"
            > SCAN 0
            1) "0"
            2) 1) "a2"
            > PEXPIRE a2 1
            (integer) 1
            @ 8
            > RANDOMKEY
            (nil)
            "#,
        );
    }

    fn run(keyspace: &mut Keyspace, now_ms: u64, call: &str) -> (Reply, Effects) {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        let command = find(&words).expect("a command");
        let moment = Moment {
            now_ms,
            seed: 1,
            version: 1,
            reading: call.starts_with("SCAN"),
        };
        let mut effects = Effects::default();
        let mut context = Context::new(keyspace, 0, moment, &mut effects);
        let reply = command.run(&mut context, &words).expect("no error");
        (reply, effects)
    }

    #[test]
    fn ended_keys_are_noted() {
        let mut keyspace = Keyspace::default();
        run(&mut keyspace, 1, "PSETEX a 5 x");
        run(&mut keyspace, 1, "PSETEX b 50 x");
        let (_, effects) = run(&mut keyspace, 20, "SCAN 0");
        assert_eq!(effects.ended, [(0, b"a"[..].into())]);
    }

    proptest! {
        /// Whatever is added and removed between the steps of a scan, it meets each key that is
        /// there from its beginning to its end.
        #[test]
        fn a_scan_misses_nothing_that_stays(
            keys in 0u32..60,
            count in 1u32..9,
            changes in prop::collection::vec((any::<bool>(), 0u32..80), 0..60),
        ) {
            let mut keyspace = Keyspace::default();
            for key in 0..keys {
                run(&mut keyspace, 1, &format!("SET {key} x"));
            }
            let mut stayed: BTreeSet<String> = (0..keys).map(|key| key.to_string()).collect();
            let mut changes = changes.into_iter();
            let mut cursor = "0".to_owned();
            let mut met = BTreeSet::new();
            loop {
                let (reply, _) = run(&mut keyspace, 1, &format!("SCAN {cursor} COUNT {count}"));
                let Reply::Array(parts) = reply else { panic!("no array") };
                let [Reply::Bulk(next), Reply::Array(found)] = &parts[..] else { panic!("not a cursor and keys") };
                for key in found {
                    let Reply::Bulk(key) = key else { panic!("no key") };
                    met.insert(String::from_utf8_lossy(key).into_owned());
                }
                cursor = String::from_utf8_lossy(next).into_owned();
                if cursor == "0" {
                    break;
                }
                for (add, key) in changes.by_ref().take(4) {
                    if add {
                        run(&mut keyspace, 1, &format!("SET {key} x"));
                    } else {
                        run(&mut keyspace, 1, &format!("DEL {key}"));
                        stayed.remove(&key.to_string());
                    }
                }
            }
            prop_assert!(stayed.is_subset(&met), "{stayed:?} {met:?}");
        }
    }
}
