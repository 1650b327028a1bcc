//! Members by chance.

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args, sample::Sample},
    data::Set,
    reply::Reply,
};

pub(super) fn spop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let count = match &words[2..] {
        [] => None,
        [count] => Some(args::at_least(
            count,
            0,
            "ERR value is out of range, must be positive",
        )?),
        _ => return Err(CommandError::Syntax),
    };
    let length = context.get::<Set>(key)?.map_or(0, Set::len);
    let wanted = count.unwrap_or(1).min(length);
    let popped = pop(context, key, wanted, length)?;
    if wanted > 0 {
        context.changed(key, EventClass::Set, "spop");
        context.remove_if_spent::<Set>(key);
    }
    Ok(match count {
        Some(_) => Reply::Set(popped.into_iter().map(Reply::bulk).collect()),
        None => Reply::optional(popped.first()),
    })
}

/// Takes out so many of the set's `length` members.
fn pop(
    context: &mut Context<'_>,
    key: &[u8],
    wanted: usize,
    length: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    // All of them need no chance.
    let places: Vec<usize> = (0..wanted)
        .map(|popped| match wanted == length {
            true => length - popped - 1,
            false => context.random_below(length - popped),
        })
        .collect();
    Ok(match context.get_mut::<Set>(key)? {
        Some(set) => places
            .into_iter()
            .filter_map(|place| set.remove_at(place))
            .collect(),
        None => Vec::new(),
    })
}

pub(super) fn srandmember(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let (sample, one) = match &words[2..] {
        [] => (Sample::Distinct(1), true),
        [count] => (Sample::parse(count)?, false),
        _ => return Err(CommandError::Syntax),
    };
    let length = context.get::<Set>(key)?.map_or(0, Set::len);
    let places = sample.places(context, length);
    let set = context.get::<Set>(key)?;
    // Small sets are walked to find a place, so those asked for often are read once.
    let members: Vec<Reply> = match set {
        Some(set) if set.is_small() && places.len() > 1 => {
            let members: Vec<Bytes> = set
                .iter()
                .map(|member| member.into_owned().into())
                .collect();
            places
                .into_iter()
                .map(|place| Reply::Bulk(members[place].clone()))
                .collect()
        }
        Some(set) => places
            .into_iter()
            .filter_map(|place| set.at(place))
            .map(Reply::bulk)
            .collect(),
        None => Vec::new(),
    };
    Ok(if one {
        members.into_iter().next().unwrap_or(Reply::Null)
    } else {
        Reply::Array(members)
    })
}
