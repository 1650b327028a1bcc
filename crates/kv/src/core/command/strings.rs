//! Strings: SET, GET and what counts with them.

use bytes::Bytes;

use super::{
    CommandError, Context, EventClass, Executed,
    args::{self, Words},
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{
    data::{Milliseconds, RedisString, Value},
    reply::Reply,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::String,
        since: "1.0.0",
        summary: "Returns the string value of a key.",
        complexity: "O(1)",
        execute: get,
        subcommands: &[],
    },
    Command {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::ONE,
        group: Group::String,
        since: "1.0.0",
        summary: "Sets the string value of a key, and whether and when it ends.",
        complexity: "O(1)",
        execute: set,
        subcommands: &[],
    },
    Command {
        name: "incrby",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::String,
        since: "1.0.0",
        summary: "Adds to the number at a key, which is 0 if there is none.",
        complexity: "O(1)",
        execute: incrby,
        subcommands: &[],
    },
];

fn get(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let value = context.get::<RedisString>(&words[1])?;
    Ok(Reply::optional(value.map(RedisString::bytes)))
}

/// What SET does about the time of expiry.
#[derive(Clone, Copy)]
enum Expiry {
    Never,
    Keep,
    At(Milliseconds),
}

fn set(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, value) = (&words[1], &words[2]);
    let (mut only_new, mut only_old, mut answer_old) = (false, false, false);
    let mut expiry = None;
    let mut options = Words::from(words, 3);
    while let Some(option) = options.next() {
        if args::is(option, "NX") && !only_old {
            only_new = true;
        } else if args::is(option, "XX") && !only_new {
            only_old = true;
        } else if args::is(option, "GET") {
            answer_old = true;
        } else if expiry.is_some() {
            return Err(CommandError::Syntax);
        } else if args::is(option, "KEEPTTL") {
            expiry = Some(Expiry::Keep);
        } else {
            let (unit_ms, since_ms) = match () {
                () if args::is(option, "EX") => (1_000, context.now_ms()),
                () if args::is(option, "PX") => (1, context.now_ms()),
                () if args::is(option, "EXAT") => (1_000, 0),
                () if args::is(option, "PXAT") => (1, 0),
                () => return Err(CommandError::Syntax),
            };
            let at_ms = args::expiry(options.expect()?, unit_ms, since_ms, "set")?;
            expiry = Some(Expiry::At(at_ms));
        }
    }
    // With GET another type is refused, without it is overwritten.
    let before = if answer_old {
        Reply::optional(context.get::<RedisString>(key)?.map(RedisString::bytes))
    } else {
        Reply::Null
    };
    let (exists, expires_at_ms) = match context.entry(key) {
        Some(entry) => (true, entry.expires_at_ms),
        None => (false, None),
    };
    if (only_new && exists) || (only_old && !exists) {
        return Ok(before);
    }
    let expires_at_ms = match expiry.unwrap_or(Expiry::Never) {
        Expiry::Never => None,
        Expiry::Keep => expires_at_ms,
        Expiry::At(at_ms) => Some(at_ms),
    };
    let value = Value::String(RedisString::new(value));
    context.insert(key, value, expires_at_ms);
    context.changed(key, EventClass::String, "set");
    if let Some(Expiry::At(_)) = expiry {
        context.event(EventClass::Generic, "expire", key);
    }
    Ok(if answer_old { before } else { Reply::OK })
}

fn incrby(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    add(context, &words[1], args::integer(&words[2])?)
}

fn add(context: &mut Context<'_>, key: &[u8], by: i64) -> Executed {
    let number = match context.get::<RedisString>(key)? {
        None => 0,
        Some(RedisString::Integer(number)) => *number,
        Some(RedisString::Bytes(_)) => return Err(CommandError::NotInteger),
    };
    let sum = number.checked_add(by).ok_or(CommandError::Other(
        "ERR increment or decrement would overflow",
    ))?;
    match context.get_mut::<RedisString>(key)? {
        Some(value) => *value = RedisString::Integer(sum),
        None => context.insert(key, Value::String(RedisString::Integer(sum)), None),
    }
    context.changed(key, EventClass::String, "incrby");
    Ok(Reply::Integer(sum))
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn set_and_get() {
        story(
            r#"
            > GET a
            (nil)
            > SET a 1 EX 10
            OK
            > GET a
            "1"
            > SET a 2 NX
            (nil)
            > SET a 2 XX GET KEEPTTL
            "1"
            > INCRBY a 40
            (integer) 42
            @ 10000
            > GET a
            "42"
            @ 10001
            > GET a
            (nil)
            > SET a x PX 0
            (error) ERR invalid expire time in 'set' command
            > SET a x EX 1 PX 1
            (error) ERR syntax error
            "#,
        );
    }
}
