//! Setting strings, whatever was at the key before.

use bytes::Bytes;

use super::expiry::Expiry;
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::{Milliseconds, RedisString, Value},
    reply::Reply,
};

/// Puts a string at the key.
fn put(context: &mut Context<'_>, key: &[u8], bytes: &[u8], expires_at_ms: Option<Milliseconds>) {
    let value = Value::String(RedisString::new(bytes));
    context.insert(key, value, expires_at_ms);
    context.changed(key, EventClass::String, "set");
}

pub(super) fn set(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, bytes) = (&words[1], &words[2]);
    let (mut only_new, mut only_old) = (false, false);
    let (mut answer_old, mut keep) = (false, false);
    let mut expiry = None;
    let mut options = Words::from(words, 3);
    while let Some(option) = options.next() {
        match () {
            () if args::is(option, "NX") && !only_old => only_new = true,
            () if args::is(option, "XX") && !only_new => only_old = true,
            () if args::is(option, "GET") => answer_old = true,
            () if args::is(option, "KEEPTTL") && expiry.is_none() => keep = true,
            () => match Expiry::read(expiry, option, &mut options)? {
                Some(read) if !keep => expiry = Some(read),
                _ => return Err(CommandError::Syntax),
            },
        }
    }
    let ends_at_ms = expiry
        .map(|expiry| expiry.at_ms(context.now_ms(), "set"))
        .transpose()?;
    // With GET another type is refused, without it is overwritten.
    let before = if answer_old {
        Reply::optional(context.get::<RedisString>(key)?.map(RedisString::bytes))
    } else {
        Reply::Null
    };
    let kept = context.entry(key).map(|entry| entry.expires_at_ms());
    if (only_new && kept.is_some()) || (only_old && kept.is_none()) {
        return Ok(before);
    }
    let expires_at_ms = if keep { kept.flatten() } else { ends_at_ms };
    put(context, key, bytes, expires_at_ms);
    if ends_at_ms.is_some() {
        context.event(EventClass::Generic, "expire", key);
    }
    Ok(if answer_old { before } else { Reply::OK })
}

pub(super) fn setnx(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let is_new = !context.exists(&words[1]);
    if is_new {
        put(context, &words[1], &words[2], None);
    }
    Ok(Reply::Integer(i64::from(is_new)))
}

pub(super) fn setex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    set_with_end(context, words, 1_000, "setex")
}

pub(super) fn psetex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    set_with_end(context, words, 1, "psetex")
}

fn set_with_end(
    context: &mut Context<'_>,
    words: &[Bytes],
    unit_ms: i64,
    command: &'static str,
) -> Executed {
    let key = &words[1];
    let at_ms = args::expiry(&words[2], unit_ms, context.now_ms(), command)?;
    put(context, key, &words[3], Some(at_ms));
    context.event(EventClass::Generic, "expire", key);
    Ok(Reply::OK)
}

pub(super) fn getset(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let before = context.get::<RedisString>(&words[1])?;
    let before = Reply::optional(before.map(RedisString::bytes));
    put(context, &words[1], &words[2], None);
    Ok(before)
}

pub(super) fn mset(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    put_pairs(context, pairs(words, "mset")?);
    Ok(Reply::OK)
}

pub(super) fn msetnx(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let pairs = pairs(words, "msetnx")?;
    // Each is looked at, so that each key that has ended is taken out.
    let there = pairs.iter().filter(|pair| context.exists(&pair[0])).count();
    if there == 0 {
        put_pairs(context, pairs);
    }
    Ok(Reply::Integer(i64::from(there == 0)))
}

fn put_pairs(context: &mut Context<'_>, pairs: &[[Bytes; 2]]) {
    for [key, bytes] in pairs {
        put(context, key, bytes, None);
    }
}

/// Keys and values, alternately.
fn pairs<'a>(words: &'a [Bytes], command: &'static str) -> Result<&'a [[Bytes; 2]], CommandError> {
    match words[1..].as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err(CommandError::Arity(command)),
    }
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn set_with_its_options() {
        story(
            r#"
            > SET a 1 EX 10
            OK
            ! new a, set a, expire a
            > SET a 2 NX
            (nil)
            > SET a 2 XX GET KEEPTTL
            "1"
            ! set a
            > INCRBY a 40
            (integer) 42
            @ 10000
            > GET a
            "42"
            @ 10001
            > GET a
            (nil)
            > SET a x XX
            (nil)
            > SET a x NX GET
            (nil)
            > SET a y NX GET
            "x"
            > GET a
            "x"
            > SET a y PX 5
            OK
            > SET a z
            OK
            > TTL a
            (integer) -1
            > SET a z EX 1 EX 2 EX 3
            OK
            > TTL a
            (integer) 3
            > SET a z EXAT 1700000015 get
            "z"
            > PTTL a
            (integer) 4999
            > SET a z PXAT 1700000011000
            OK
            > PTTL a
            (integer) 999
            "#,
        );
    }

    #[test]
    fn set_refuses() {
        story(
            r#"
            > SET a x PX 0
            (error) ERR invalid expire time in 'set' command
            > SET a x EX 9223372036854775807
            (error) ERR invalid expire time in 'set' command
            > SET a x PX 9223372036854775807
            (error) ERR invalid expire time in 'set' command
            > SET a x EX x
            (error) ERR value is not an integer or out of range
            > SET a x EX x WHAT
            (error) ERR syntax error
            > SET a x EX 1 PX 1
            (error) ERR syntax error
            > SET a x EX 1 KEEPTTL
            (error) ERR syntax error
            > SET a x KEEPTTL EX 1
            (error) ERR syntax error
            > SET a x NX XX
            (error) ERR syntax error
            > SET a x PERSIST
            (error) ERR syntax error
            > SET a x EX
            (error) ERR syntax error
            > EXISTS a
            (integer) 0
            "#,
        );
    }

    #[test]
    fn the_other_ways_to_set() {
        story(
            r#"
            > SETEX a 10 x
            OK
            ! new a, set a, expire a
            > TTL a
            (integer) 10
            > PSETEX a 1500 x
            OK
            > PTTL a
            (integer) 1500
            > SETEX a -1 x
            (error) ERR invalid expire time in 'setex' command
            > PSETEX a 0 x
            (error) ERR invalid expire time in 'psetex' command
            > SETNX a y
            (integer) 0
            > GETSET a y
            "x"
            ! set a
            > TTL a
            (integer) -1
            > SETNX b y
            (integer) 1
            > GETSET c y
            (nil)
            "#,
        );
    }

    #[test]
    fn many_at_once() {
        story(
            r#"
            > MSET a 1 b 2 a 3
            OK
            ! new a, set a, new b, set b, set a
            > MGET a b
            1) "3"
            2) "2"
            > MSET a
            (error) ERR wrong number of arguments for 'mset' command
            > MSET a 1 b
            (error) ERR wrong number of arguments for 'mset' command
            > MSETNX c 1 d
            (error) ERR wrong number of arguments for 'msetnx' command
            > MSETNX c 1 a 1
            (integer) 0
            > EXISTS c
            (integer) 0
            > MSETNX c 1 d 2 c 3
            (integer) 1
            > MGET c d
            1) "3"
            2) "2"
            > PEXPIRE c 5
            (integer) 1
            @ 6
            > MSETNX c 1 d 1
            (integer) 0
            ! expired c
            "#,
        );
    }
}
