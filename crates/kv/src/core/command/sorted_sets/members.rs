//! Taking out, asking, members by chance, and scanning.

use bytes::Bytes;

use super::members_reply;
use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args, sample::Sample, scan},
    data::SortedSet,
    number::format_double,
    reply::Reply,
};

pub(super) fn zrem(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let Some(set) = context.get_mut::<SortedSet>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let removed = words[2..]
        .iter()
        .filter(|member| set.remove(member).is_some())
        .count();
    if removed > 0 {
        context.changed(key, EventClass::SortedSet, "zrem");
        context.remove_if_spent::<SortedSet>(key);
    }
    Ok(Reply::count(removed))
}

pub(super) fn zcard(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<SortedSet>(&words[1])?;
    Ok(Reply::count(set.map_or(0, SortedSet::len)))
}

pub(super) fn zscore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<SortedSet>(&words[1])?;
    let score = set.and_then(|set| set.score(&words[2]));
    Ok(score.map_or(Reply::Null, Reply::Double))
}

pub(super) fn zmscore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let set = context.get::<SortedSet>(&words[1])?;
    let scores = words[2..]
        .iter()
        .map(|member| set.and_then(|set| set.score(member)))
        .map(|score| score.map_or(Reply::Null, Reply::Double));
    Ok(Reply::Array(scores.collect()))
}

pub(super) fn zrank(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    rank(context, words, "zrank", |rank, _| rank)
}

pub(super) fn zrevrank(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    rank(context, words, "zrevrank", |rank, length| length - 1 - rank)
}

fn rank(
    context: &mut Context<'_>,
    words: &[Bytes],
    name: &'static str,
    direction: fn(usize, usize) -> usize,
) -> Executed {
    let with_score = match &words[3..] {
        [] => false,
        [option] if args::is(option, "WITHSCORE") => true,
        [_] => return Err(CommandError::Syntax),
        _ => return Err(CommandError::Arity(name)),
    };
    let set = context.get::<SortedSet>(&words[1])?;
    let found = set.and_then(|set| {
        let rank = direction(set.rank(&words[2])?, set.len());
        Some((Reply::count(rank), Reply::Double(set.score(&words[2])?)))
    });
    Ok(match (found, with_score) {
        (Some((rank, score)), true) => Reply::Array(vec![rank, score]),
        (Some((rank, _)), false) => rank,
        (None, true) => Reply::NullArray,
        (None, false) => Reply::Null,
    })
}

pub(super) fn zrandmember(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let (sample, one) = match words.get(2) {
        None => (Sample::Distinct(1), true),
        Some(count) => (Sample::parse(count)?, false),
    };
    let with_scores = match words.get(3..).unwrap_or_default() {
        [] => false,
        [option] if args::is(option, "WITHSCORES") => true,
        _ => return Err(CommandError::Syntax),
    };
    // Redis counts members and scores in one number.
    if let (true, Sample::Distinct(count)) = (with_scores, sample)
        && i64::try_from(count).is_ok_and(|count| count > i64::MAX / 2)
    {
        return Err(CommandError::Other("ERR value is out of range"));
    }
    let length = context.get::<SortedSet>(key)?.map_or(0, SortedSet::len);
    let places = sample.places(context, length);
    let Some(set) = context.get::<SortedSet>(key)? else {
        return Ok(if one {
            Reply::Null
        } else {
            Reply::Array(Vec::new())
        });
    };
    // Small sets are walked to find a place, so they are read once.
    let members: Vec<(&[u8], f64)> = if set.is_small() {
        let all: Vec<(&[u8], f64)> = set.iter().collect();
        places.into_iter().map(|place| all[place]).collect()
    } else {
        let members = places.into_iter().filter_map(|place| set.at(place));
        members.collect()
    };
    Ok(match (one, members.first()) {
        (true, Some((member, _))) => Reply::bulk(member),
        _ => members_reply(members.into_iter(), with_scores),
    })
}

pub(super) fn zscan(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let cursor = scan::cursor(&words[2])?;
    let Some(set) = context.get::<SortedSet>(&words[1])? else {
        return Ok(scan::scanned(0, Vec::new()));
    };
    let scan = scan::Scan::from(words, 3)?;
    let mut found = Vec::new();
    let look = |(member, score): (&[u8], f64)| {
        if scan.wants(member) {
            // Scores are strings here, even in RESP3.
            found.extend([Reply::bulk(member), Reply::bulk(format_double(score))]);
        }
    };
    if set.is_small() {
        set.iter().for_each(look);
        return Ok(scan::scanned(0, found));
    }
    let places = scan.places(cursor, set.len());
    let next = places.start;
    places
        .rev()
        .filter_map(|place| set.at(place))
        .for_each(look);
    Ok(scan::scanned(next, found))
}
