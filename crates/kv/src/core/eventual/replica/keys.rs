//! Keys of any type: whether they are there, and when they end.

use bytes::Bytes;

use super::call::{Call, instead};
use crate::core::{
    command::{CommandError, Executed, args},
    data::Milliseconds,
    eventual::item::{Expiry, Kind},
    reply::Reply,
};

pub(super) fn del(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let mut removed = 0;
    for key in &words[1..] {
        // What is not seen is not removed: there is nothing that a tombstone would hold back but
        // what nobody here knows of.
        if call.is_there(key) {
            call.erase(key);
            removed += 1;
        }
    }
    Ok(Reply::Integer(removed))
}

pub(super) fn exists(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let there = words[1..].iter().filter(|key| call.is_there(key)).count();
    Ok(Reply::count(there))
}

pub(super) fn type_of(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let kind = call.live(&words[1]).kind();
    Ok(Reply::Status(kind.map_or("none", Kind::name)))
}

pub(super) fn expire(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let now_ms = call.moment_ms();
    end(call, words, 1_000, now_ms, "expire")
}

pub(super) fn pexpire(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let now_ms = call.moment_ms();
    end(call, words, 1, now_ms, "pexpire")
}

pub(super) fn expireat(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    end(call, words, 1_000, 0, "expireat")
}

pub(super) fn pexpireat(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    end(call, words, 1, 0, "pexpireat")
}

fn end(
    call: &mut Call<'_>,
    words: &[Bytes],
    unit_ms: i64,
    since_ms: Milliseconds,
    command: &'static str,
) -> Executed {
    if words.len() > 3 {
        let what = format!("{} with an option", command.to_ascii_uppercase());
        return Err(CommandError::Text(instead(&what, "use it without one")));
    }
    let at_ms = args::integer(&words[2])?
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add_unsigned(since_ms))
        .ok_or(CommandError::ExpireTime(command))?;
    if !call.is_there(&words[1]) {
        return Ok(Reply::Integer(0));
    }
    // What is past, even before 1970, ends the key at once.
    match Milliseconds::try_from(at_ms) {
        Ok(at_ms) if at_ms > call.moment_ms() => {
            let at_ms = Some(at_ms);
            call.write(&words[1], |item, stamp| {
                item.expire(Expiry { stamp, at_ms })
            });
        }
        _ => call.erase(&words[1]),
    }
    Ok(Reply::Integer(1))
}

pub(super) fn persist(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live(&words[1]);
    let ends = live.kind().is_some() && live.expires_at_ms().is_some();
    if ends {
        let at_ms = None;
        call.write(&words[1], |item, stamp| {
            item.expire(Expiry { stamp, at_ms })
        });
    }
    Ok(Reply::Integer(i64::from(ends)))
}

pub(super) fn ttl(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let now_ms = call.moment_ms();
    Ok(told(call, &words[1], |at_ms| seconds(at_ms - now_ms)))
}

pub(super) fn pttl(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let now_ms = call.moment_ms();
    Ok(told(call, &words[1], |at_ms| at_ms - now_ms))
}

pub(super) fn expiretime(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    Ok(told(call, &words[1], seconds))
}

pub(super) fn pexpiretime(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    Ok(told(call, &words[1], |at_ms| at_ms))
}

/// -2 if the key is not there, -1 if it lives for ever. A time that is told is not past.
fn told(call: &Call<'_>, key: &[u8], tell: impl FnOnce(Milliseconds) -> Milliseconds) -> Reply {
    let live = call.live(key);
    Reply::Integer(match (live.kind(), live.expires_at_ms()) {
        (None, _) => -2,
        (Some(_), None) => -1,
        (Some(_), Some(at_ms)) => i64::try_from(tell(at_ms)).unwrap_or(i64::MAX),
    })
}

/// To the nearest.
fn seconds(ms: Milliseconds) -> u64 {
    ms.saturating_add(500) / 1_000
}
