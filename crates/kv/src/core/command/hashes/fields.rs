//! Fields set, read and taken out.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed},
    data::Hash,
    reply::Reply,
};

pub(super) fn hset(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    set_all(context, words, "hset").map(Reply::count)
}

pub(super) fn hmset(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    set_all(context, words, "hmset").map(|_| Reply::OK)
}

/// Sets all pairs; how many fields are new.
fn set_all(
    context: &mut Context<'_>,
    words: &[Bytes],
    name: &'static str,
) -> Result<usize, CommandError> {
    let (key, pairs) = (&words[1], &words[2..]);
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name));
    }
    let hash = context.get_or_add::<Hash>(key)?;
    let new = pairs
        .chunks_exact(2)
        .filter(|pair| hash.set(&pair[0], &pair[1]))
        .count();
    context.changed(key, EventClass::Hash, "hset");
    Ok(new)
}

pub(super) fn hsetnx(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, field, value) = (&words[1], &words[2], &words[3]);
    let now_ms = context.now_ms();
    let before = context.get::<Hash>(key)?;
    if before.is_some_and(|hash| hash.get(field, now_ms).is_some()) {
        return Ok(Reply::Integer(0));
    }
    context.get_or_add::<Hash>(key)?.set(field, value);
    context.changed(key, EventClass::Hash, "hset");
    Ok(Reply::Integer(1))
}

pub(super) fn hdel(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, fields) = (&words[1], &words[2..]);
    let Some(hash) = context.get_mut::<Hash>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let removed = fields.iter().filter(|field| hash.remove(field)).count();
    if removed > 0 {
        context.changed(key, EventClass::Hash, "hdel");
        context.remove_if_spent::<Hash>(key);
    }
    Ok(Reply::count(removed))
}

pub(super) fn hget(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    Ok(Reply::optional(value(context, words)?))
}

pub(super) fn hexists(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    Ok(Reply::Integer(value(context, words)?.is_some().into()))
}

pub(super) fn hstrlen(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    Ok(Reply::count(value(context, words)?.map_or(0, <[u8]>::len)))
}

/// The value of the one field that the words name.
fn value<'a>(
    context: &'a mut Context<'_>,
    words: &[Bytes],
) -> Result<Option<&'a [u8]>, CommandError> {
    let now_ms = context.now_ms();
    let hash = context.get::<Hash>(&words[1])?;
    Ok(hash.and_then(|hash| hash.get(&words[2], now_ms)))
}

pub(super) fn hmget(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    let hash = context.get::<Hash>(&words[1])?;
    let values = words[2..]
        .iter()
        .map(|field| Reply::optional(hash.and_then(|hash| hash.get(field, now_ms))));
    Ok(Reply::Array(values.collect()))
}

pub(super) fn hlen(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    let hash = context.get::<Hash>(&words[1])?;
    Ok(Reply::count(hash.map_or(0, |hash| hash.len(now_ms))))
}

pub(super) fn hgetall(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let pairs = all(context, words, |field, value| {
        (Reply::bulk(field), Reply::bulk(value))
    })?;
    Ok(Reply::Map(pairs))
}

pub(super) fn hkeys(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    all(context, words, |field, _| Reply::bulk(field)).map(Reply::Array)
}

pub(super) fn hvals(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    all(context, words, |_, value| Reply::bulk(value)).map(Reply::Array)
}

fn all<T>(
    context: &mut Context<'_>,
    words: &[Bytes],
    show: impl Fn(&[u8], &[u8]) -> T,
) -> Result<Vec<T>, CommandError> {
    let now_ms = context.now_ms();
    let Some(hash) = context.get::<Hash>(&words[1])? else {
        return Ok(Vec::new());
    };
    Ok(hash
        .iter(now_ms)
        .map(|(field, value)| show(field, value))
        .collect())
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn fields_are_set_read_and_removed() {
        story(
            r#"
            > HSET h a 1 b 2
            (integer) 2
            ! new h, hset h
            > HSET h a 3 c 4
            (integer) 1
            ! hset h
            > HMSET h d 5
            OK
            > HSET h a
            (error) ERR wrong number of arguments for 'hset' command
            > HSET h a 1 b
            (error) ERR wrong number of arguments for 'hset' command
            > HMSET h a 1 b
            (error) ERR wrong number of arguments for 'hmset' command
            > HSETNX h a 9
            (integer) 0
            > HSETNX other a 9
            (integer) 1
            ! new other, hset other
            > HGET h a
            "3"
            > HGET h x
            (nil)
            > HGET none x
            (nil)
            > HMGET h a x b
            1) "3"
            2) (nil)
            3) "2"
            > HMGET none a b
            1) (nil)
            2) (nil)
            > HLEN h
            (integer) 4
            > HLEN none
            (integer) 0
            > HEXISTS h a
            (integer) 1
            > HEXISTS h x
            (integer) 0
            > HSTRLEN h a
            (integer) 1
            > HSTRLEN h x
            (integer) 0
            > HGETALL h
            1# "a" => "3"
            2# "b" => "2"
            3# "c" => "4"
            4# "d" => "5"
            > HGETALL none
            (empty hash)
            > HKEYS h
            1) "a"
            2) "b"
            3) "c"
            4) "d"
            > HVALS h
            1) "3"
            2) "2"
            3) "4"
            4) "5"
            > HVALS none
            (empty array)
            > HDEL h a x a
            (integer) 1
            ! hdel h
            > HDEL h x
            (integer) 0
            > HDEL h b c d
            (integer) 3
            ! hdel h, del h
            > HDEL h b
            (integer) 0
            "#,
        );
    }

    #[test]
    fn another_type_is_refused() {
        let calls = [
            "HSET s a 1",
            "HMSET s a 1",
            "HSETNX s a 1",
            "HGET s a",
            "HMGET s a",
            "HGETALL s",
            "HDEL s a",
            "HEXISTS s a",
            "HLEN s",
            "HSTRLEN s a",
            "HKEYS s",
            "HVALS s",
            "HINCRBY s a 1",
            "HINCRBYFLOAT s a 1",
            "HRANDFIELD s",
            "HRANDFIELD s 1",
            "HSCAN s 0",
            "HEXPIRE s 1 FIELDS 1 a",
            "HPEXPIRE s 1 FIELDS 1 a",
            "HEXPIREAT s 1 FIELDS 1 a",
            "HPEXPIREAT s 1 FIELDS 1 a",
            "HPERSIST s FIELDS 1 a",
            "HTTL s FIELDS 1 a",
            "HPTTL s FIELDS 1 a",
            "HEXPIRETIME s FIELDS 1 a",
            "HPEXPIRETIME s FIELDS 1 a",
        ];
        let refused = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
        let told: Vec<String> = calls
            .iter()
            .map(|call| format!("> {call}\n{refused}\n"))
            .collect();
        story(&format!("> SET s x\nOK\n{}", told.concat()));
    }
}
