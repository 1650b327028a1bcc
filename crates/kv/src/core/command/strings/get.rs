//! Reading strings: GET and MGET, and GETDEL and GETEX, which change something beside.

use bytes::Bytes;

use super::expiry::Expiry;
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::{Kind, RedisString},
    reply::Reply,
};

pub(super) fn get(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let string = context.get::<RedisString>(&words[1])?;
    Ok(Reply::optional(string.map(RedisString::bytes)))
}

/// Other types count as nothing here.
pub(super) fn mget(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let strings = words[1..]
        .iter()
        .map(|key| {
            let string = context.value(key).and_then(RedisString::of);
            Reply::optional(string.map(RedisString::bytes))
        })
        .collect();
    Ok(Reply::Array(strings))
}

pub(super) fn getdel(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let reply = get(context, words)?;
    if context.remove(key).is_some() {
        context.changed(key, EventClass::Generic, "del");
    }
    Ok(reply)
}

pub(super) fn getex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let (mut expiry, mut persist) = (None, false);
    let mut options = Words::from(words, 2);
    while let Some(option) = options.next() {
        if args::is(option, "PERSIST") && expiry.is_none() {
            persist = true;
            continue;
        }
        match Expiry::read(expiry, option, &mut options)? {
            Some(read) if !persist => expiry = Some(read),
            _ => return Err(CommandError::Syntax),
        }
    }
    let Some(string) = context.get::<RedisString>(key)? else {
        return Ok(Reply::Null);
    };
    let reply = Reply::bulk(string.bytes());
    if let Some(expiry) = expiry {
        let at_ms = expiry.at_ms(context.now_ms(), "getex")?;
        if expiry.is_absolute() && at_ms <= context.now_ms() {
            context.remove(key);
            context.changed(key, EventClass::Generic, "del");
        } else {
            context.expire_at(key, Some(at_ms));
            context.changed(key, EventClass::Generic, "expire");
        }
    } else if persist {
        let ends = context
            .entry(key)
            .is_some_and(|entry| entry.expires_at_ms().is_some());
        if ends {
            context.expire_at(key, None);
            context.changed(key, EventClass::Generic, "persist");
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn reading_one_and_many() {
        story(
            r#"
            > GET a
            (nil)
            > SET a 1
            OK
            > SET b x
            OK
            > MGET a missing b a
            1) "1"
            2) (nil)
            3) "x"
            4) "1"
            > GETDEL a
            "1"
            ! del a
            > GETDEL a
            (nil)
            > GET
            (error) ERR wrong number of arguments for 'get' command
            "#,
        );
    }

    #[test]
    fn getex_says_when_the_key_ends() {
        story(
            r#"
            > SET a x
            OK
            > GETEX a
            "x"
            > GETEX a EX 10
            "x"
            ! expire a
            > TTL a
            (integer) 10
            > GETEX a PERSIST
            "x"
            ! persist a
            > TTL a
            (integer) -1
            > GETEX a PERSIST PERSIST
            "x"
            > GETEX a PX 1500
            "x"
            > PTTL a
            (integer) 1500
            > GETEX a PX 1 EX 1
            (error) ERR syntax error
            > GETEX a PERSIST EX 1
            (error) ERR syntax error
            > GETEX a EX 1 PERSIST
            (error) ERR syntax error
            > GETEX a EX
            (error) ERR syntax error
            > GETEX a NX
            (error) ERR syntax error
            > GETEX a EX 0
            (error) ERR invalid expire time in 'getex' command
            > GETEX a EX x
            (error) ERR value is not an integer or out of range
            > GETEX missing EX 0
            (nil)
            > GETEX a PXAT 1
            "x"
            ! del a
            > EXISTS a
            (integer) 0
            "#,
        );
    }
}
