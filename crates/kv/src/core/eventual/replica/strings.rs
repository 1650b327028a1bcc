//! Strings and counters.

use bytes::Bytes;

use super::call::{Call, one_of, without};
use crate::core::{
    command::{
        CommandError, Executed,
        args::{self, Words},
    },
    data::{Key, Milliseconds},
    eventual::{
        clock::Stamp,
        item::{Expiry, Kind, Part},
    },
    reply::Reply,
};

pub(super) fn get(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::String)?;
    Ok(Reply::optional(live.string()))
}

pub(super) fn mget(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let strings = words[1..].iter().map(|key| {
        let live = call.live_as(key, Kind::String).ok();
        Reply::optional(live.and_then(|live| live.string()))
    });
    Ok(Reply::Array(strings.collect()))
}

pub(super) fn strlen(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let string = call.live_as(&words[1], Kind::String)?.string();
    Ok(Reply::count(string.map_or(0, |string| string.len())))
}

pub(super) fn set(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let (mut keeps, mut end) = (false, None);
    let mut options = Words::from(words, 3);
    while let Some(option) = options.next() {
        if let Some(option) = one_of(option, &["NX", "XX", "GET"]) {
            return Err(without(&format!("SET with {option}")));
        }
        if args::is(option, "KEEPTTL") && end.is_none() {
            keeps = true;
            continue;
        }
        let now_ms = call.moment_ms();
        let (unit_ms, since_ms) = match one_of(option, &["EX", "PX", "EXAT", "PXAT"]) {
            Some("EX") => (1_000, now_ms),
            Some("PX") => (1, now_ms),
            Some("EXAT") => (1_000, 0),
            Some("PXAT") => (1, 0),
            _ => return Err(CommandError::Syntax),
        };
        let number = options.expect()?;
        if keeps || end.is_some() {
            return Err(CommandError::Syntax);
        }
        end = Some((number, unit_ms, since_ms));
    }
    let at_ms = match end {
        Some((number, unit_ms, since_ms)) => Some(args::expiry(number, unit_ms, since_ms, "set")?),
        None if keeps => call.live(&words[1]).expires_at_ms(),
        None => None,
    };
    put(call, &words[1], &words[2], at_ms);
    Ok(Reply::OK)
}

pub(super) fn setex(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    set_with_end(call, words, 1_000, "setex")
}

pub(super) fn psetex(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    set_with_end(call, words, 1, "psetex")
}

fn set_with_end(
    call: &mut Call<'_>,
    words: &[Bytes],
    unit_ms: i64,
    command: &'static str,
) -> Executed {
    let at_ms = args::expiry(&words[2], unit_ms, call.moment_ms(), command)?;
    put(call, &words[1], &words[3], Some(at_ms));
    Ok(Reply::OK)
}

/// Puts a string at a key, in the place of all that was there. What ends before it begins is
/// not put there.
fn put(call: &mut Call<'_>, key: &Bytes, string: &Bytes, at_ms: Option<Milliseconds>) {
    if at_ms.is_some_and(|at_ms| at_ms <= call.moment_ms()) {
        call.erase(key);
        return;
    }
    call.write(key, |item, stamp| {
        item.cut_at(stamp, Some(Key::from(string)), stamp);
        if at_ms.is_some() {
            item.expire(Expiry { stamp, at_ms });
        }
    });
}

pub(super) fn incr(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    add(call, &words[1], 1)
}

pub(super) fn incrby(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    add(call, &words[1], args::integer(&words[2])?)
}

pub(super) fn decr(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    add(call, &words[1], -1)
}

pub(super) fn decrby(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let by = args::integer(&words[2])?
        .checked_neg()
        .ok_or(CommandError::Other("ERR decrement would overflow"))?;
    add(call, &words[1], by)
}

fn add(call: &mut Call<'_>, key: &Bytes, by: i64) -> Executed {
    const OVERFLOW: CommandError = CommandError::Other("ERR increment or decrement would overflow");
    let author = call.author();
    let live = call.live_as(key, Kind::String)?;
    let before = live.sum().ok_or(CommandError::NotInteger)?;
    let sum = before.checked_add(by.into()).ok_or(OVERFLOW)?;
    let sum = i64::try_from(sum).map_err(|_| OVERFLOW)?;
    let part = live.part(author);
    let total = part.map_or(0, |part| part.total).checked_add(by.into());
    let total = total.ok_or(OVERFLOW)?;
    // With what it rests on: a part that began after a cut takes the place of the one before it
    // also where nobody has heard of the cut, and whoever cut may never tell. The string there is
    // a number, and short.
    let origin = live.origin();
    call.write(key, |item, stamp| {
        let since = part.map_or(stamp, |part| part.since);
        item.merge(&origin, Stamp::ZERO);
        item.count(
            author,
            Part {
                since,
                stamp,
                total,
            },
        );
    });
    Ok(Reply::Integer(sum))
}
