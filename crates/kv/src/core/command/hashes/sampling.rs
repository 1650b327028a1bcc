//! HRANDFIELD and HSCAN.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, Executed, args,
        sample::Sample,
        scan::{self, Scan, scanned},
    },
    data::{Hash, Milliseconds},
    reply::Reply,
};

pub(super) fn hrandfield(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let Some(count) = words.get(2) else {
        return one(context, key);
    };
    let sample = Sample::parse(count)?;
    let with_values = match &words[3..] {
        [] => false,
        [word] if args::is(word, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax),
    };
    // Redis refuses what would be twice as many words as it can count.
    if with_values && sample.is_beyond(usize::MAX >> 2) {
        return Err(CommandError::Other("ERR value is out of range"));
    }
    let now_ms = context.now_ms();
    let fields = context.get::<Hash>(key)?.map_or(0, |hash| hash.len(now_ms));
    let chosen = sample.places(context, fields);
    let Some(hash) = context.get::<Hash>(key)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let found = at_places(hash, &chosen, now_ms);
    let chosen = found.into_iter();
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
    let chosen = at_places(hash, &[place], now_ms);
    Ok(Reply::optional(chosen.first().map(|(field, _)| *field)))
}

/// What is at these places among the fields that have not ended.
fn at_places<'a>(
    hash: &'a Hash,
    places: &[usize],
    now_ms: Milliseconds,
) -> Vec<(&'a [u8], &'a [u8])> {
    // In a table of which none has ended, places are found without a walk.
    if !hash.is_packed() && !hash.has_ended_fields(now_ms) {
        return places.iter().filter_map(|place| hash.at(*place)).collect();
    }
    let pairs: Vec<_> = hash.iter(now_ms).collect();
    let found = places.iter().filter_map(|place| pairs.get(*place));
    found.copied().collect()
}

/// A small hash is answered whole. A table is walked from its end to its beginning; the cursor
/// is the number of places that are still to be looked at.
pub(super) fn hscan(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let cursor = scan::cursor(&words[2])?;
    let now_ms = context.now_ms();
    let Some(hash) = context.get::<Hash>(&words[1])? else {
        return Ok(scanned(0, Vec::new()));
    };
    let mut values = true;
    let scan = Scan::with(words, 3, |option, _| {
        let is_novalues = args::is(option, "NOVALUES");
        values &= !is_novalues;
        Ok(is_novalues)
    })?;
    let mut found = Vec::new();
    let mut look = |(field, value): (&[u8], &[u8])| {
        if scan.wants(field) {
            found.push(Reply::bulk(field));
            if values {
                found.push(Reply::bulk(value));
            }
        }
    };
    if hash.is_packed() {
        hash.iter(now_ms).for_each(look);
        return Ok(scanned(0, found));
    }
    let places = scan.places(cursor, hash.stored());
    let next = places.start;
    places
        .rev()
        .filter_map(|place| hash.at(place))
        .filter(|(field, _)| hash.get(field, now_ms).is_some())
        .for_each(&mut look);
    Ok(scanned(next, found))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::core::command::testing::story;

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
    fn large_hashes_give_fields_by_chance() {
        let mut told = String::new();
        for field in 0..200 {
            let _ = write!(told, "> HSET h {field} v{field}\n(integer) 1\n");
        }
        // Of 200 fields, one is left: every choice must be that one.
        let ends: Vec<String> = (0..199).map(|field| field.to_string()).collect();
        let every: String = (0..200)
            .map(|at| format!("{}) \"{at}\"\n", at + 1))
            .collect();
        let ones = "(integer) 1\n";
        let replies: String = (1..200).map(|at| format!("{at}) {ones}")).collect();
        story(&format!(
            r#"{told}
            > HRANDFIELD h 0 WITHVALUES
            (empty array)
> HRANDFIELD h 300
{every}
> HPEXPIRE h 5 FIELDS 199 {}
{replies}
            @ 6
            > HRANDFIELD h -2 WITHVALUES
            1) 1) "199"
               2) "v199"
            2) 1) "199"
               2) "v199"
            > HRANDFIELD h
            "199"
            "#,
            ends.join(" ")
        ));
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
}
