//! HRANDFIELD and HSCAN.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, Executed,
        args::{self, Words},
    },
    data::Hash,
    glob,
    reply::Reply,
};

/// So many fields HRANDFIELD answers at most where they may repeat. Redis has no such limit; a
/// reply of any size that a client cares to name would take the node's memory.
const REPEATED_MAX: usize = 1 << 20;

pub(super) fn hrandfield(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let Some(count) = words.get(2) else {
        return one(context, key);
    };
    let count = args::integer(count)?;
    if count == i64::MIN {
        return Err(CommandError::Text(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_values = match &words[3..] {
        [] => false,
        [word] if args::is(word, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    let asked = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let repeats = count < 0;
    if (repeats && asked > REPEATED_MAX) || (with_values && count.unsigned_abs() > 1 << 62) {
        return Err(CommandError::Other("ERR value is out of range"));
    }
    let now_ms = context.now_ms();
    let fields = context.get::<Hash>(key)?.map_or(0, |hash| hash.len(now_ms));
    if fields == 0 || asked == 0 {
        return Ok(Reply::Array(Vec::new()));
    }
    let chosen: Vec<usize> = if repeats {
        (0..asked).map(|_| context.random_below(fields)).collect()
    } else {
        some(context, asked.min(fields), fields)
    };
    let Some(hash) = context.get::<Hash>(key)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let pairs: Vec<(&[u8], &[u8])> = hash.iter(now_ms).collect();
    let chosen = chosen.into_iter().map(|place| pairs[place]);
    Ok(if with_values {
        let pairs = chosen.map(|(field, value)| (Reply::bulk(field), Reply::bulk(value)));
        Reply::Pairs(pairs.collect())
    } else {
        Reply::Array(chosen.map(|(field, _)| Reply::bulk(field)).collect())
    })
}

fn one(context: &mut Context<'_>, key: &[u8]) -> Executed {
    let now_ms = context.now_ms();
    let fields = context.get::<Hash>(key)?.map_or(0, |hash| hash.len(now_ms));
    if fields == 0 {
        return Ok(Reply::Null);
    }
    let place = context.random_below(fields);
    let Some(hash) = context.get::<Hash>(key)? else {
        return Ok(Reply::Null);
    };
    // Places are those of the table unless some fields have ended.
    let direct = (fields == hash.stored()).then(|| hash.at(place)).flatten();
    let chosen = direct.or_else(|| hash.iter(now_ms).nth(place));
    Ok(Reply::optional(chosen.map(|(field, _)| field)))
}

/// So many different places below `all`: the first steps of a Fisher-Yates shuffle.
fn some(context: &mut Context<'_>, wanted: usize, all: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..all).collect();
    if wanted < all {
        for at in 0..wanted {
            let other = at + context.random_below(all - at);
            places.swap(at, other);
        }
        places.truncate(wanted);
    }
    places
}

/// What HSCAN is asked for. Redis gives about ten where no COUNT is named.
struct Scan<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    values: bool,
}

impl<'a> Scan<'a> {
    fn of(words: &'a [Bytes]) -> Result<Self, CommandError> {
        let mut scan = Scan {
            count: 10,
            pattern: None,
            values: true,
        };
        let mut options = Words::from(words, 3);
        while let Some(option) = options.next() {
            if args::is(option, "COUNT") {
                let count = options.expect_integer()?;
                scan.count = usize::try_from(count).map_err(|_| CommandError::Syntax)?;
                if scan.count == 0 {
                    return Err(CommandError::Syntax);
                }
            } else if args::is(option, "MATCH") {
                scan.pattern = Some(options.expect()?);
            } else if args::is(option, "NOVALUES") {
                scan.values = false;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(scan)
    }
}

/// A small hash is answered whole. A table is walked from its end to its beginning; the cursor
/// is the number of places that are still to be looked at.
pub(super) fn hscan(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let cursor = std::str::from_utf8(&words[2])
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .ok_or(CommandError::Other("ERR invalid cursor"))?;
    let now_ms = context.now_ms();
    let Some(hash) = context.get::<Hash>(&words[1])? else {
        return Ok(scanned(0, Vec::new()));
    };
    let scan = Scan::of(words)?;
    let mut found = Vec::new();
    let mut look = |(field, value): (&[u8], &[u8])| {
        if scan
            .pattern
            .is_none_or(|pattern| glob::matches(pattern, field))
        {
            found.push(Reply::bulk(field));
            if scan.values {
                found.push(Reply::bulk(value));
            }
        }
    };
    if hash.is_packed() {
        hash.iter(now_ms).for_each(look);
        return Ok(scanned(0, found));
    }
    let stored = hash.stored();
    let from = match usize::try_from(cursor).unwrap_or(usize::MAX) {
        0 => stored,
        cursor => cursor.min(stored),
    };
    let to = from.saturating_sub(scan.count);
    (to..from)
        .rev()
        .filter_map(|place| hash.at(place))
        .filter(|(field, _)| hash.get(field, now_ms).is_some())
        .for_each(&mut look);
    Ok(scanned(to, found))
}

fn scanned(cursor: usize, found: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::bulk(cursor.to_string()), Reply::Array(found)])
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::core::{
        command::testing::story,
        data::{Database, Hash, Keyspace, Kind as _},
    };

    #[test]
    fn fields_by_chance() {
        story(
            r#"
            > HRANDFIELD h
            (nil)
            > HRANDFIELD h 3
            (empty array)
            > HRANDFIELD h -3 WITHVALUES
            (empty array)
            > HSET h a 1
            (integer) 1
            > HRANDFIELD h
            "a"
            > HRANDFIELD h 5 WITHVALUES
            1) 1) "a"
               2) "1"
            > HRANDFIELD h -2
            1) "a"
            2) "a"
            > HRANDFIELD h 0
            (empty array)
            > HRANDFIELD h x
            (error) ERR value is not an integer or out of range
            > HRANDFIELD h 1 VALUES
            (error) ERR syntax error
            > HRANDFIELD h 1 WITHVALUES WITHVALUES
            (error) ERR syntax error
            > HRANDFIELD h -9223372036854775808
            (error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > HRANDFIELD h -9223372036854770000 WITHVALUES
            (error) ERR value is out of range
            > HRANDFIELD h 9223372036854770000 WITHVALUES
            (error) ERR value is out of range
            > HRANDFIELD h 9223372036854770000
            1) "a"
            > HSET h b 2 c 3
            (integer) 2
            > HPEXPIRE h 5 FIELDS 2 a c
            1) (integer) 1
            2) (integer) 1
            @ 6
            > HRANDFIELD h 3
            1) "b"
            > HRANDFIELD h
            "b"
            "#,
        );
    }

    #[test]
    fn small_hashes_are_scanned_whole() {
        story(
            r#"
            > HSCAN none 0
            1) "0"
            2) (empty array)
            > HSET h a1 1 b 2 a2 3
            (integer) 3
            > HSCAN h 0 COUNT 1 MATCH a*
            1) "0"
            2) 1) "a1"
               2) "1"
               3) "a2"
               4) "3"
            > HSCAN h 0 NOVALUES
            1) "0"
            2) 1) "a1"
               2) "b"
               3) "a2"
            > HSCAN h x
            (error) ERR invalid cursor
            > HSCAN h 0 COUNT 0
            (error) ERR syntax error
            > HSCAN h 0 COUNT x
            (error) ERR value is not an integer or out of range
            > HSCAN h 0 MATCH
            (error) ERR syntax error
            > HSCAN h 0 TYPE hash
            (error) ERR syntax error
            > HPEXPIRE h 5 FIELDS 1 b
            1) (integer) 1
            @ 6
            > HSCAN h 0 NOVALUES
            1) "0"
            2) 1) "a1"
               2) "a2"
            "#,
        );
    }

    #[test]
    fn large_hashes_are_scanned_from_the_end() {
        let mut told = String::new();
        for field in 0..200 {
            let _ = write!(told, "> HSET h {field} v\n(integer) 1\n");
        }
        story(&format!(
            r#"{told}
            > HSCAN h 0 COUNT 2 NOVALUES
            1) "198"
            2) 1) "199"
               2) "198"
            > HDEL h 0
            (integer) 1
            > HSCAN h 198 COUNT 2 NOVALUES
            1) "196"
            2) 1) "197"
               2) "196"
            > HSCAN h 999999 COUNT 1 NOVALUES
            1) "198"
            2) 1) "198"
            > HSCAN h 3 COUNT 10
            1) "0"
            2) 1) "2"
               2) "v"
               3) "1"
               4) "v"
               5) "199"
               6) "v"
            "#
        ));
    }

    /// The index of fields that end follows the hash into other places and out of them.
    #[test]
    fn ends_are_indexed_where_the_hash_is() {
        use crate::core::data::Entry;

        let mut keyspace = Keyspace::default();
        let mut hash = Hash::default();
        hash.set(b"f", b"v");
        hash.expire_at(b"f", Some(7));
        let entry = Entry {
            value: hash.into_value(),
            expires_at_ms: None,
            version: 1,
        };
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
        if let Some((value, _)) = database.get_mut(b"b")
            && let Some(hash) = Hash::of_mut(value)
        {
            hash.expire_at(b"f", None);
        }
        database.index_fields(b"b");
        assert_eq!(ended(database), [b"c"]);
    }
}
