//! When keys end.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::Milliseconds,
    reply::Reply,
};

pub(super) fn expire(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    end(context, words, 1_000, now_ms, "expire")
}

pub(super) fn pexpire(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    end(context, words, 1, now_ms, "pexpire")
}

pub(super) fn expireat(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    end(context, words, 1_000, 0, "expireat")
}

pub(super) fn pexpireat(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    end(context, words, 1, 0, "pexpireat")
}

/// On which condition a time of expiry is changed.
#[derive(Default)]
struct Condition {
    only_new: bool,
    only_old: bool,
    only_later: bool,
    only_sooner: bool,
}

impl Condition {
    fn read(words: &[Bytes]) -> Result<Condition, CommandError> {
        let mut read = Condition::default();
        for option in Words::from(words, 3) {
            match () {
                () if args::is(option, "NX") => read.only_new = true,
                () if args::is(option, "XX") => read.only_old = true,
                () if args::is(option, "GT") => read.only_later = true,
                () if args::is(option, "LT") => read.only_sooner = true,
                () => {
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::Text(format!(
                        "ERR Unsupported option {option}"
                    )));
                }
            }
        }
        if read.only_new && (read.only_old || read.only_later || read.only_sooner) {
            return Err(CommandError::Other(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if read.only_later && read.only_sooner {
            return Err(CommandError::Other(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(read)
    }

    /// A key that lives for ever ends later than any other.
    fn allows(&self, before: Option<Milliseconds>, at_ms: i64) -> bool {
        let Some(before) = before else {
            return !self.only_old && !self.only_later;
        };
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        !(self.only_new
            || (self.only_later && at_ms <= before)
            || (self.only_sooner && at_ms >= before))
    }
}

fn end(
    context: &mut Context<'_>,
    words: &[Bytes],
    unit_ms: i64,
    since_ms: Milliseconds,
    command: &'static str,
) -> Executed {
    let key = &words[1];
    let condition = Condition::read(words)?;
    let at_ms = args::integer(&words[2])?
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add_unsigned(since_ms))
        .ok_or(CommandError::ExpireTime(command))?;
    let allowed = context
        .entry(key)
        .is_some_and(|entry| condition.allows(entry.expires_at_ms(), at_ms));
    if !allowed {
        return Ok(Reply::Integer(0));
    }
    // What is past, even before 1970, ends the key at once.
    match Milliseconds::try_from(at_ms) {
        Ok(at_ms) if at_ms > context.now_ms() => {
            context.expire_at(key, Some(at_ms));
            context.changed(key, EventClass::Generic, "expire");
        }
        _ => {
            context.remove(key);
            context.changed(key, EventClass::Generic, "del");
        }
    }
    Ok(Reply::Integer(1))
}

pub(super) fn persist(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let ends = context
        .entry(key)
        .is_some_and(|entry| entry.expires_at_ms().is_some());
    if ends {
        context.expire_at(key, None);
        context.changed(key, EventClass::Generic, "persist");
    }
    Ok(Reply::Integer(i64::from(ends)))
}

pub(super) fn ttl(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    Ok(told(context, &words[1], |at_ms| seconds(at_ms - now_ms)))
}

pub(super) fn pttl(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    Ok(told(context, &words[1], |at_ms| at_ms - now_ms))
}

pub(super) fn expiretime(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    Ok(told(context, &words[1], seconds))
}

pub(super) fn pexpiretime(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    Ok(told(context, &words[1], |at_ms| at_ms))
}

/// -2 if the key is not there, -1 if it lives for ever.
fn told(
    context: &mut Context<'_>,
    key: &[u8],
    tell: impl FnOnce(Milliseconds) -> Milliseconds,
) -> Reply {
    Reply::Integer(
        match context.entry(key).map(|entry| entry.expires_at_ms()) {
            None => -2,
            Some(None) => -1,
            Some(Some(at_ms)) => i64::try_from(tell(at_ms)).unwrap_or(i64::MAX),
        },
    )
}

/// To the nearest.
fn seconds(ms: Milliseconds) -> u64 {
    ms.saturating_add(500) / 1_000
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn times_and_what_is_left_of_them() {
        story(
            r#"
            > EXPIRE a 1
            (integer) 0
            > TTL a
            (integer) -2
            > PEXPIRETIME a
            (integer) -2
            > SET a x
            OK
            > TTL a
            (integer) -1
            > EXPIRETIME a
            (integer) -1
            > EXPIRE a 10
            (integer) 1
            ! expire a
            @ 1600
            > TTL a
            (integer) 8
            > PTTL a
            (integer) 8400
            > EXPIRETIME a
            (integer) 1700000010
            > PEXPIREAT a 1700000012700
            (integer) 1
            > PEXPIRETIME a
            (integer) 1700000012700
            > EXPIRETIME a
            (integer) 1700000013
            > EXPIREAT a 1700000011
            (integer) 1
            @ 11000
            > PTTL a
            (integer) 0
            > PERSIST a
            (integer) 1
            ! persist a
            > PERSIST a
            (integer) 0
            > PERSIST missing
            (integer) 0
            > PEXPIRE a 5
            (integer) 1
            @ 11006
            > TTL a
            (integer) -2
            "#,
        );
    }

    #[test]
    fn conditions() {
        story(
            r#"
            > SET a x
            OK
            > EXPIRE a 10 XX
            (integer) 0
            > EXPIRE a 10 GT
            (integer) 0
            > EXPIRE a 10 LT
            (integer) 1
            > EXPIRE a 20 LT
            (integer) 0
            > EXPIRE a 10 GT
            (integer) 0
            > EXPIRE a 10 LT
            (integer) 0
            > EXPIRE a 20 gt xx
            (integer) 1
            > EXPIRE a 30 NX
            (integer) 0
            > EXPIRE a 5 XX LT
            (integer) 1
            > TTL a
            (integer) 5
            > EXPIRE a 5 NX XX
            (error) ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE a 5 NX LT
            (error) ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE a 5 GT LT
            (error) ERR GT and LT options at the same time are not compatible
            > EXPIRE a x MAYBE
            (error) ERR Unsupported option MAYBE
            > EXPIRE a x
            (error) ERR value is not an integer or out of range
            > EXPIRE a 9223372036854775807
            (error) ERR invalid expire time in 'expire' command
            > PEXPIRE a 9223372036854775807
            (error) ERR invalid expire time in 'pexpire' command
            > EXPIREAT a -9223372036854775807
            (error) ERR invalid expire time in 'expireat' command
            > PEXPIREAT a 9223372036854775807
            (integer) 1
            > PEXPIRETIME a
            (integer) 9223372036854775807
            > EXPIREAT a 1 GT
            (integer) 0
            > EXPIREAT a 1700000000
            (integer) 1
            ! del a
            > SET a x
            OK
            > PEXPIRE a -9223372036854775808
            (integer) 1
            ! del a
            > EXISTS a
            (integer) 0
            "#,
        );
    }
}
