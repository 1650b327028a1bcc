//! Sets and hashes.

use bytes::Bytes;

use super::call::Call;
use crate::core::{
    command::{CommandError, Executed},
    data::Key,
    eventual::item::{Expiry, Item, Kind, Slot, Slots},
    reply::Reply,
};

/// The registers of a type, to write in a delta.
fn slots_of(item: &mut Item, kind: Kind) -> &mut Slots {
    match kind {
        Kind::Set => item.members_mut(),
        Kind::Hash => item.fields_mut(),
        Kind::String => unreachable!("strings have no registers"),
    }
}

/// Writes registers, whether or not they are there: who writes again writes later than whoever
/// takes out at the same time. How many were not there.
fn put_all<'a>(
    call: &mut Call<'_>,
    key: &Bytes,
    kind: Kind,
    named: impl Iterator<Item = (&'a Bytes, Key)> + Clone,
) -> Executed {
    let live = call.live_as(key, kind)?;
    let is_there = |name: &Bytes| match kind {
        Kind::Set => live.has_member(name),
        _ => live.field(name).is_some(),
    };
    let mut new: Vec<&Bytes> = named.clone().map(|(name, _)| name).collect();
    new.retain(|name| !is_there(name));
    new.sort_unstable();
    new.dedup();
    let new = new.len();
    call.write(key, |item, stamp| {
        let slots = slots_of(item, kind);
        for (name, value) in named {
            // Of a name that comes twice, the last one counts.
            slots.replace(
                Key::from(name),
                Slot {
                    stamp,
                    value: Some(value),
                },
            );
        }
    });
    Ok(Reply::count(new))
}

/// Takes registers out, those that are there. How many were. The last one takes the key along,
/// with its end and with all that was hidden behind it.
fn take_all(call: &mut Call<'_>, words: &[Bytes], kind: Kind) -> Executed {
    let key = &words[1];
    let live = call.live_as(key, kind)?;
    let mut names: Vec<&Bytes> = words[2..].iter().collect();
    names.sort_unstable();
    names.dedup();
    let len = match kind {
        Kind::Set => {
            names.retain(|name| live.has_member(name));
            live.members_len()
        }
        _ => {
            names.retain(|name| live.field(name).is_some());
            live.fields_len()
        }
    };
    let is_last = names.len() == len;
    let (hides, ends) = (live.hides(), live.expires_at_ms().is_some());
    if names.is_empty() {
        return Ok(Reply::Integer(0));
    }
    if is_last && hides {
        call.erase(key);
        return Ok(Reply::count(names.len()));
    }
    call.write(key, |item, stamp| {
        for name in &names {
            let value = None;
            slots_of(item, kind).put(Key::from(*name), Slot { stamp, value });
        }
        if is_last && ends {
            let at_ms = None;
            item.expire(Expiry { stamp, at_ms });
        }
    });
    Ok(Reply::count(names.len()))
}

pub(super) fn sadd(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let members = words[2..].iter().map(|member| (member, Key::default()));
    put_all(call, &words[1], Kind::Set, members)
}

pub(super) fn srem(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    take_all(call, words, Kind::Set)
}

pub(super) fn smembers(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Set)?;
    Ok(Reply::Set(live.members().map(Reply::bulk).collect()))
}

pub(super) fn scard(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Set)?;
    Ok(Reply::count(live.members_len()))
}

pub(super) fn sismember(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Set)?;
    Ok(Reply::Integer(live.has_member(&words[2]).into()))
}

pub(super) fn smismember(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Set)?;
    let members = words[2..].iter();
    let found = members.map(|member| Reply::Integer(live.has_member(member).into()));
    Ok(Reply::Array(found.collect()))
}

pub(super) fn hset(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    set_fields(call, words, "hset")
}

pub(super) fn hmset(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    set_fields(call, words, "hmset").map(|_| Reply::OK)
}

fn set_fields(call: &mut Call<'_>, words: &[Bytes], name: &'static str) -> Executed {
    let pairs = &words[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name));
    }
    let fields = pairs
        .chunks_exact(2)
        .map(|pair| (&pair[0], Key::from(&pair[1])));
    put_all(call, &words[1], Kind::Hash, fields)
}

pub(super) fn hdel(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    take_all(call, words, Kind::Hash)
}

pub(super) fn hget(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    Ok(Reply::optional(live.field(&words[2])))
}

pub(super) fn hmget(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    let values = words[2..]
        .iter()
        .map(|field| Reply::optional(live.field(field)));
    Ok(Reply::Array(values.collect()))
}

pub(super) fn hexists(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    Ok(Reply::Integer(live.field(&words[2]).is_some().into()))
}

pub(super) fn hstrlen(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    Ok(Reply::count(
        live.field(&words[2]).map_or(0, |value| value.len()),
    ))
}

pub(super) fn hlen(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    Ok(Reply::count(live.fields_len()))
}

pub(super) fn hgetall(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    let fields = live
        .fields()
        .map(|(field, value)| (Reply::bulk(field), Reply::bulk(value)));
    Ok(Reply::Map(fields.collect()))
}

pub(super) fn hkeys(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    Ok(Reply::Array(
        live.fields().map(|(field, _)| Reply::bulk(field)).collect(),
    ))
}

pub(super) fn hvals(call: &mut Call<'_>, words: &[Bytes]) -> Executed {
    let live = call.live_as(&words[1], Kind::Hash)?;
    Ok(Reply::Array(
        live.fields().map(|(_, value)| Reply::bulk(value)).collect(),
    ))
}
