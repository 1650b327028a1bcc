//! Adding, taking out, asking and scanning.

use bytes::Bytes;

use crate::core::{
    command::{Context, EventClass, Executed, scan},
    data::{Kind as _, Set},
    reply::Reply,
};

pub(super) fn sadd(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, members) = (&words[1], &words[2..]);
    // The number of words is Redis's guess of how large the set becomes, too.
    if context.get::<Set>(key)?.is_none() {
        let set = Set::expecting(&members[0], members.len());
        context.insert(key, set.into_value(), None);
    }
    let set = context.get_or_add::<Set>(key)?;
    set.expect(members.len());
    let added = members.iter().filter(|member| set.insert(member)).count();
    if added > 0 {
        context.changed(key, EventClass::Set, "sadd");
    }
    Ok(Reply::count(added))
}

pub(super) fn srem(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let Some(set) = context.get_mut::<Set>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let removed = words[2..]
        .iter()
        .filter(|member| set.remove(member))
        .count();
    if removed > 0 {
        context.changed(key, EventClass::Set, "srem");
        context.remove_if_spent::<Set>(key);
    }
    Ok(Reply::count(removed))
}

pub(super) fn smove(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (from, to, member) = (&words[1], &words[2], &words[3]);
    // Redis looks at the destination's type only where there is a source.
    let Some(source) = context.get::<Set>(from)? else {
        return Ok(Reply::Integer(0));
    };
    let found = source.contains(member);
    context.get::<Set>(to)?;
    if !found || from == to {
        return Ok(Reply::Integer(i64::from(found)));
    }
    if let Some(source) = context.get_mut::<Set>(from)? {
        source.remove(member);
    }
    context.changed(from, EventClass::Set, "srem");
    context.remove_if_spent::<Set>(from);
    if context.get_or_add::<Set>(to)?.insert(member) {
        context.changed(to, EventClass::Set, "sadd");
    }
    Ok(Reply::Integer(1))
}

pub(super) fn scard(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<Set>(&words[1])?;
    Ok(Reply::count(set.map_or(0, Set::len)))
}

pub(super) fn smembers(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<Set>(&words[1])?;
    let members = set.map(|set| set.iter().map(Reply::bulk).collect());
    Ok(Reply::Set(members.unwrap_or_default()))
}

pub(super) fn sismember(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<Set>(&words[1])?;
    let found = set.is_some_and(|set| set.contains(&words[2]));
    Ok(Reply::Integer(i64::from(found)))
}

pub(super) fn smismember(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<Set>(&words[1])?;
    let found = words[2..]
        .iter()
        .map(|member| set.is_some_and(|set| set.contains(member)))
        .map(|found| Reply::Integer(i64::from(found)));
    Ok(Reply::Array(found.collect()))
}

pub(super) fn sscan(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let cursor = scan::cursor(&words[2])?;
    let Some(set) = context.get::<Set>(&words[1])? else {
        return Ok(scan::scanned(0, Vec::new()));
    };
    let scan = scan::Scan::from(words, 3)?;
    if set.is_small() {
        let members = set.iter().filter(|member| scan.wants(member));
        return Ok(scan::scanned(0, members.map(Reply::bulk).collect()));
    }
    let places = scan.places(cursor, set.len());
    let next = places.start;
    let members = places
        .rev()
        .filter_map(|place| set.at(place))
        .filter(|member| scan.wants(member))
        .map(Reply::bulk)
        .collect();
    Ok(scan::scanned(next, members))
}
