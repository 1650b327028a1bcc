//! Unions, intersections and differences.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::{Kind as _, Set},
    reply::Reply,
};

pub(super) fn sinter(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let sets = sets(context, &words[1..])?;
    Ok(answer(&inter(&sets)))
}

pub(super) fn sinterstore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let result = inter(&sets(context, &words[2..])?);
    store(context, &words[1], result, "sinterstore")
}

pub(super) fn sunion(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let sets = sets(context, &words[1..])?;
    Ok(answer(&union(&sets)))
}

pub(super) fn sunionstore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let result = union(&sets(context, &words[2..])?);
    store(context, &words[1], result, "sunionstore")
}

pub(super) fn sdiff(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let sets = sets(context, &words[1..])?;
    Ok(answer(&diff(&sets)))
}

pub(super) fn sdiffstore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let result = diff(&sets(context, &words[2..])?);
    store(context, &words[1], result, "sdiffstore")
}

pub(super) fn sintercard(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let number = args::at_least(&words[1], 1, "ERR numkeys should be greater than 0")?;
    if number > words.len() - 2 {
        return Err(CommandError::Other(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let (keys, _) = words[2..].split_at(number);
    // None, and 0, is no limit.
    let mut limit = 0;
    let mut options = Words::from(words, 2 + number);
    while let Some(option) = options.next() {
        if !args::is(option, "LIMIT") {
            return Err(CommandError::Syntax);
        }
        limit = args::at_least(options.expect()?, 0, "ERR LIMIT can't be negative")?;
    }
    let sets = sets(context, keys)?;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let Some((smallest, others)) = smallest(&sets) else {
        return Ok(Reply::Integer(0));
    };
    let common = smallest
        .iter()
        .filter(|member| others.iter().all(|other| other.contains(member)));
    Ok(Reply::count(common.take(limit).count()))
}

/// The sets at the keys; each key may be missing, none may hold another type.
fn sets<'c>(
    context: &'c mut Context<'_>,
    keys: &[Bytes],
) -> Result<Vec<Option<&'c Set>>, CommandError> {
    context
        .values(keys)
        .into_iter()
        .map(|value| {
            value
                .map(|value| Set::of(value).ok_or(CommandError::WrongType))
                .transpose()
        })
        .collect()
}

/// The smallest set and the others from small to large; none where a set is missing, which is
/// as good as empty.
fn smallest<'a>(sets: &[Option<&'a Set>]) -> Option<(&'a Set, Vec<&'a Set>)> {
    let mut sets: Vec<&Set> = sets.iter().copied().collect::<Option<_>>()?;
    sets.sort_by_key(|set| set.len());
    let smallest = *sets.first()?;
    Some((smallest, sets.split_off(1)))
}

fn inter(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    if let Some((smallest, others)) = smallest(sets) {
        for member in smallest.iter() {
            if others.iter().all(|other| other.contains(&member)) {
                result.insert(&member);
            }
        }
    }
    result
}

fn union(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    for set in sets.iter().flatten() {
        for member in set.iter() {
            result.insert(&member);
        }
    }
    result
}

fn diff(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    if let [Some(first), others @ ..] = sets {
        for member in first.iter() {
            if !others.iter().flatten().any(|other| other.contains(&member)) {
                result.insert(&member);
            }
        }
    }
    result
}

fn answer(set: &Set) -> Reply {
    Reply::Set(set.iter().map(Reply::bulk).collect())
}

fn store(context: &mut Context<'_>, key: &[u8], set: Set, name: &'static str) -> Executed {
    let members = set.len();
    context.store(key, set, EventClass::Set, name);
    Ok(Reply::count(members))
}
