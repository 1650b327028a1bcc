//! ZRANGE and its older relatives; counting and taking out by the same bounds.

use std::ops::Range;

use bytes::Bytes;

use super::{
    bounds::{Bounds, Limit},
    members_reply,
};
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::SortedSet,
    reply::Reply,
};

/// What bounds are about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Rank,
    Score,
    Member,
}

/// What is asked for.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    limit: Limit,
    with_scores: bool,
}

/// What a command's name says already; its other options are ZRANGE's.
#[derive(Clone, Copy)]
struct Named {
    by: Option<By>,
    reverse: Option<bool>,
    /// The place of the first bound.
    place: usize,
    stores: bool,
}

impl Named {
    const ZRANGE: Named = Named {
        by: None,
        reverse: None,
        place: 2,
        stores: false,
    };

    const fn older(by: By, reverse: bool) -> Named {
        Named {
            by: Some(by),
            reverse: Some(reverse),
            ..Named::ZRANGE
        }
    }

    fn parse(self, words: &[Bytes]) -> Result<Query<'_>, CommandError> {
        let (mut by, mut reverse) = (self.by, self.reverse);
        let (mut limit, mut with_scores) = (Limit::NONE, false);
        let mut options = Words::from(words, self.place + 2);
        while let Some(option) = options.next() {
            if !self.stores && args::is(option, "WITHSCORES") {
                with_scores = true;
            } else if args::is(option, "LIMIT") {
                if options.left() < 2 {
                    return Err(CommandError::Syntax);
                }
                limit = Limit {
                    offset: options.expect_integer()?,
                    count: options.expect_integer()?,
                };
            } else if reverse.is_none() && args::is(option, "REV") {
                reverse = Some(true);
            } else if by.is_none() && args::is(option, "BYSCORE") {
                by = Some(By::Score);
            } else if by.is_none() && args::is(option, "BYLEX") {
                by = Some(By::Member);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if by == By::Rank && limit.count != -1 {
            return Err(CommandError::Other(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if by == By::Member && with_scores {
            return Err(CommandError::Other(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (first, second) = (&words[self.place], &words[self.place + 1]);
        // From high to low, the higher bound is named first; ranks turn with the order.
        let (min, max) = match reverse {
            true => (second, first),
            false => (first, second),
        };
        Ok(Query {
            bounds: match by {
                By::Rank => Bounds::ranks(first, second)?,
                By::Score => Bounds::scores(min, max)?,
                By::Member => Bounds::members(min, max)?,
            },
            // As in Redis, an offset without a count means nothing to ranks.
            limit: if by == By::Rank { Limit::NONE } else { limit },
            reverse,
            with_scores,
        })
    }
}

impl Query<'_> {
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let ranks = self.bounds.of(set, self.reverse);
        self.limit.of(ranks, self.reverse)
    }
}

fn range(context: &mut Context<'_>, words: &[Bytes], named: Named) -> Executed {
    let query = named.parse(words)?;
    let Some(set) = context.get::<SortedSet>(&words[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let members = set.range(query.ranks(set));
    Ok(if query.reverse {
        members_reply(members.rev(), query.with_scores)
    } else {
        members_reply(members, query.with_scores)
    })
}

pub(super) fn zrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, Named::ZRANGE)
}

pub(super) fn zrevrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, Named::older(By::Rank, true))
}

pub(super) fn zrangebyscore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, Named::older(By::Score, false))
}

pub(super) fn zrevrangebyscore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, Named::older(By::Score, true))
}

pub(super) fn zrangebylex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, Named::older(By::Member, false))
}

pub(super) fn zrevrangebylex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    range(context, words, Named::older(By::Member, true))
}

pub(super) fn zrangestore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let named = Named {
        place: 3,
        stores: true,
        ..Named::ZRANGE
    };
    let query = named.parse(words)?;
    let mut result = SortedSet::default();
    if let Some(set) = context.get::<SortedSet>(&words[2])? {
        for (member, score) in set.range(query.ranks(set)) {
            result.insert(member, score);
        }
    }
    let members = result.len();
    context.store(&words[1], result, EventClass::SortedSet, "zrangestore");
    Ok(Reply::count(members))
}

pub(super) fn zcount(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    count(context, &words[1], &Bounds::scores(&words[2], &words[3])?)
}

pub(super) fn zlexcount(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    count(context, &words[1], &Bounds::members(&words[2], &words[3])?)
}

fn count(context: &mut Context<'_>, key: &[u8], bounds: &Bounds<'_>) -> Executed {
    let set = context.get::<SortedSet>(key)?;
    let members = set.map_or(0, |set| bounds.of(set, false).len());
    Ok(Reply::count(members))
}

pub(super) fn zremrangebyrank(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let bounds = Bounds::ranks(&words[2], &words[3])?;
    remove(context, &words[1], &bounds, "zremrangebyrank")
}

pub(super) fn zremrangebyscore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let bounds = Bounds::scores(&words[2], &words[3])?;
    remove(context, &words[1], &bounds, "zremrangebyscore")
}

pub(super) fn zremrangebylex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let bounds = Bounds::members(&words[2], &words[3])?;
    remove(context, &words[1], &bounds, "zremrangebylex")
}

fn remove(
    context: &mut Context<'_>,
    key: &[u8],
    bounds: &Bounds<'_>,
    event: &'static str,
) -> Executed {
    let Some(set) = context.get_mut::<SortedSet>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let ranks = bounds.of(set, false);
    let removed = ranks.len();
    if removed > 0 {
        set.remove_range(ranks);
        context.changed(key, EventClass::SortedSet, event);
        context.remove_if_spent::<SortedSet>(key);
    }
    Ok(Reply::count(removed))
}
