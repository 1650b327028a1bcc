//! Taking out the lowest or the highest, waiting for them if need be.

use bytes::Bytes;

use super::members_reply;
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, ManyPop},
        blocking,
    },
    data::SortedSet,
    reply::Reply,
};

/// Which end of a sorted set.
#[derive(Clone, Copy)]
enum Side {
    Min,
    Max,
}

/// Members that were taken out, with their scores.
type Popped = Vec<(Vec<u8>, f64)>;

/// Takes up to `count` members out of the first of the keys that is there; none where no key
/// is. The number of the key comes with them.
fn pop_first(
    context: &mut Context<'_>,
    keys: &[Bytes],
    side: Side,
    count: usize,
) -> Result<Option<(usize, Popped)>, CommandError> {
    for (number, key) in keys.iter().enumerate() {
        let Some(set) = context.get_mut::<SortedSet>(key)? else {
            continue;
        };
        let count = count.min(set.len());
        let (ranks, event) = match side {
            Side::Min => (0..count, "zpopmin"),
            Side::Max => (set.len() - count..set.len(), "zpopmax"),
        };
        let members = set.range(ranks.clone());
        let mut popped: Popped = members
            .map(|(member, score)| (member.to_vec(), score))
            .collect();
        if matches!(side, Side::Max) {
            popped.reverse();
        }
        if count > 0 {
            set.remove_range(ranks);
            context.changed(key, EventClass::SortedSet, event);
            context.remove_if_spent::<SortedSet>(key);
        }
        return Ok(Some((number, popped)));
    }
    Ok(None)
}

fn borrowed(popped: &Popped) -> impl Iterator<Item = (&[u8], f64)> {
    popped
        .iter()
        .map(|(member, score)| (member.as_slice(), *score))
}

pub(super) fn zpopmin(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    pop(context, words, Side::Min)
}

pub(super) fn zpopmax(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    pop(context, words, Side::Max)
}

fn pop(context: &mut Context<'_>, words: &[Bytes], side: Side) -> Executed {
    let count = match &words[2..] {
        [] => None,
        [count] => Some(args::at_least(
            count,
            0,
            "ERR value is out of range, must be positive",
        )?),
        _ => return Err(CommandError::Syntax),
    };
    let popped = pop_first(context, &words[1..2], side, count.unwrap_or(1))?;
    Ok(match (popped, count) {
        (None, _) => Reply::Array(Vec::new()),
        (Some((_, popped)), Some(_)) => members_reply(borrowed(&popped), true),
        // Without a count, it is one member and its score even in RESP3.
        (Some((_, popped)), None) => Reply::Array(
            borrowed(&popped)
                .flat_map(|(member, score)| [Reply::bulk(member), Reply::Double(score)])
                .collect(),
        ),
    })
}

pub(super) fn bzpopmin(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    blocking_pop(context, words, Side::Min)
}

pub(super) fn bzpopmax(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    blocking_pop(context, words, Side::Max)
}

fn blocking_pop(context: &mut Context<'_>, words: &[Bytes], side: Side) -> Executed {
    let (keys, timeout) = (&words[1..words.len() - 1], &words[words.len() - 1]);
    blocking::timeout(timeout)?;
    let Some((number, popped)) = pop_first(context, keys, side, 1)? else {
        return Ok(context.block(Reply::NullArray));
    };
    let mut reply = vec![Reply::Bulk(keys[number].clone())];
    for (member, score) in borrowed(&popped) {
        reply.extend([Reply::bulk(member), Reply::Double(score)]);
    }
    Ok(Reply::Array(reply))
}

pub(super) fn zmpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let many = ManyPop::read(words, 1, side)?;
    Ok(many.pop(context)?.unwrap_or(Reply::NullArray))
}

pub(super) fn bzmpop(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    blocking::timeout(&words[1])?;
    let many = ManyPop::read(words, 2, side)?;
    match many.pop(context)? {
        Some(reply) => Ok(reply),
        None => Ok(context.block(Reply::NullArray)),
    }
}

fn side(word: &[u8]) -> Result<Side, CommandError> {
    match () {
        () if args::is(word, "MIN") => Ok(Side::Min),
        () if args::is(word, "MAX") => Ok(Side::Max),
        () => Err(CommandError::Syntax),
    }
}

impl ManyPop<'_, Side> {
    /// The key and what was taken out of it, each member with its score in an array of its own,
    /// in both versions of the protocol.
    fn pop(&self, context: &mut Context<'_>) -> Result<Option<Reply>, CommandError> {
        let popped = pop_first(context, self.keys, self.side, self.count)?;
        Ok(popped.map(|(number, popped)| {
            let members = borrowed(&popped)
                .map(|(member, score)| {
                    Reply::Array(vec![Reply::bulk(member), Reply::Double(score)])
                })
                .collect();
            let key = Reply::Bulk(self.keys[number].clone());
            Reply::Array(vec![key, Reply::Array(members)])
        }))
    }
}
