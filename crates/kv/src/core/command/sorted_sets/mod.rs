//! Sorted sets: members with scores.

mod add;
mod algebra;
mod bounds;
mod members;
mod pops;
mod ranges;

use super::table::{Command, Flags, Group, KeyPlaces};
use crate::core::reply::Reply;

pub(super) use add::{Rules, add};
pub(super) use algebra::COMMANDS as ALGEBRA;

/// What most commands of sorted sets have in common.
const SORTED_SET: Command = Command {
    name: "",
    arity: 0,
    flags: Flags::READONLY,
    keys: KeyPlaces::ONE,
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "",
    complexity: "",
    execute: members::zcard,
    subcommands: &[],
};

/// Commands that add, and those that take out.
const ADDS: Flags = Flags::WRITE.and(Flags::DENYOOM);
const REMOVES: Flags = Flags::WRITE;
/// Commands that look at one member, or few.
const LOOKS: Flags = Flags::READONLY.and(Flags::FAST);
/// Commands that name the number of their keys.
const LOOKS_AT_MANY: Flags = Flags::READONLY.and(Flags::MOVABLEKEYS);

const COUNTED: KeyPlaces = KeyPlaces::Counted {
    count: 1,
    also: None,
};
const BLOCKING_KEYS: KeyPlaces = KeyPlaces::Range {
    first: 1,
    last: -2,
    step: 1,
};

const BY_RANK: &str =
    "O(log(N)+M), N being the size of the sorted set, M the number of members returned";
const TAKES: &str =
    "O(log(N)*M), N being the size of the sorted set, M the number of members taken out";

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "bzmpop",
        arity: -5,
        flags: REMOVES.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: KeyPlaces::Counted {
            count: 2,
            also: None,
        },
        since: "7.0.0",
        summary: "Takes the lowest or highest members out of the first sorted set that has any, or waits.",
        complexity: TAKES,
        execute: pops::bzmpop,
        ..SORTED_SET
    },
    Command {
        name: "bzpopmax",
        arity: -3,
        flags: REMOVES.and(Flags::FAST).and(Flags::BLOCKING),
        keys: BLOCKING_KEYS,
        since: "5.0.0",
        summary: "Takes the highest member out of the first sorted set that has any, or waits.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: pops::bzpopmax,
        ..SORTED_SET
    },
    Command {
        name: "bzpopmin",
        arity: -3,
        flags: REMOVES.and(Flags::FAST).and(Flags::BLOCKING),
        keys: BLOCKING_KEYS,
        since: "5.0.0",
        summary: "Takes the lowest member out of the first sorted set that has any, or waits.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: pops::bzpopmin,
        ..SORTED_SET
    },
    Command {
        name: "zadd",
        arity: -4,
        flags: ADDS.and(Flags::FAST),
        summary: "Adds members with scores, or gives them other scores.",
        complexity: "O(log(N)) for each member, N being the size of the sorted set",
        execute: add::zadd,
        ..SORTED_SET
    },
    Command {
        name: "zcard",
        arity: 2,
        flags: LOOKS,
        summary: "Counts the members of a sorted set.",
        complexity: "O(1)",
        execute: members::zcard,
        ..SORTED_SET
    },
    Command {
        name: "zcount",
        arity: 4,
        flags: LOOKS,
        since: "2.0.0",
        summary: "Counts the members with scores within a range.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: ranges::zcount,
        ..SORTED_SET
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: ADDS.and(Flags::FAST),
        summary: "Adds to the score of a member, which is 0 if it is not there.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: add::zincrby,
        ..SORTED_SET
    },
    Command {
        name: "zlexcount",
        arity: 4,
        flags: LOOKS,
        since: "2.8.9",
        summary: "Counts the members within a range of bytes, all scores being the same.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: ranges::zlexcount,
        ..SORTED_SET
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: REMOVES.and(Flags::MOVABLEKEYS),
        keys: COUNTED,
        since: "7.0.0",
        summary: "Takes the lowest or highest members out of the first sorted set that has any.",
        complexity: TAKES,
        execute: pops::zmpop,
        ..SORTED_SET
    },
    Command {
        name: "zmscore",
        arity: -3,
        flags: LOOKS,
        since: "6.2.0",
        summary: "Returns the scores of members.",
        complexity: "O(N), N being the number of members named",
        execute: members::zmscore,
        ..SORTED_SET
    },
    Command {
        name: "zpopmax",
        arity: -2,
        flags: REMOVES.and(Flags::FAST),
        since: "5.0.0",
        summary: "Takes the highest members out of a sorted set, and returns them.",
        complexity: TAKES,
        execute: pops::zpopmax,
        ..SORTED_SET
    },
    Command {
        name: "zpopmin",
        arity: -2,
        flags: REMOVES.and(Flags::FAST),
        since: "5.0.0",
        summary: "Takes the lowest members out of a sorted set, and returns them.",
        complexity: TAKES,
        execute: pops::zpopmin,
        ..SORTED_SET
    },
    Command {
        name: "zrandmember",
        arity: -2,
        since: "6.2.0",
        summary: "Returns members of a sorted set by chance.",
        complexity: "O(N), N being the number of members returned",
        execute: members::zrandmember,
        ..SORTED_SET
    },
    Command {
        name: "zrange",
        arity: -4,
        summary: "Returns members within a range of ranks, scores or bytes.",
        complexity: BY_RANK,
        execute: ranges::zrange,
        ..SORTED_SET
    },
    Command {
        name: "zrangebylex",
        arity: -4,
        since: "2.8.9",
        summary: "Returns members within a range of bytes, all scores being the same.",
        complexity: BY_RANK,
        execute: ranges::zrangebylex,
        ..SORTED_SET
    },
    Command {
        name: "zrangebyscore",
        arity: -4,
        since: "1.0.5",
        summary: "Returns members with scores within a range.",
        complexity: BY_RANK,
        execute: ranges::zrangebyscore,
        ..SORTED_SET
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: ADDS,
        keys: KeyPlaces::Range {
            first: 1,
            last: 2,
            step: 1,
        },
        since: "6.2.0",
        summary: "Keeps members within a range of ranks, scores or bytes in a key.",
        complexity: BY_RANK,
        execute: ranges::zrangestore,
        ..SORTED_SET
    },
    Command {
        name: "zrank",
        arity: -3,
        flags: LOOKS,
        since: "2.0.0",
        summary: "Returns how many members come before one, from low to high.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: members::zrank,
        ..SORTED_SET
    },
    Command {
        name: "zrem",
        arity: -3,
        flags: REMOVES.and(Flags::FAST),
        summary: "Takes members out of a sorted set, and the sorted set when none is left.",
        complexity: TAKES,
        execute: members::zrem,
        ..SORTED_SET
    },
    Command {
        name: "zremrangebylex",
        arity: 4,
        flags: REMOVES,
        since: "2.8.9",
        summary: "Takes out members within a range of bytes, all scores being the same.",
        complexity: TAKES,
        execute: ranges::zremrangebylex,
        ..SORTED_SET
    },
    Command {
        name: "zremrangebyrank",
        arity: 4,
        flags: REMOVES,
        since: "2.0.0",
        summary: "Takes out members within a range of ranks.",
        complexity: TAKES,
        execute: ranges::zremrangebyrank,
        ..SORTED_SET
    },
    Command {
        name: "zremrangebyscore",
        arity: 4,
        flags: REMOVES,
        summary: "Takes out members with scores within a range.",
        complexity: TAKES,
        execute: ranges::zremrangebyscore,
        ..SORTED_SET
    },
    Command {
        name: "zrevrange",
        arity: -4,
        summary: "Returns members within a range of ranks, from high to low.",
        complexity: BY_RANK,
        execute: ranges::zrevrange,
        ..SORTED_SET
    },
    Command {
        name: "zrevrangebylex",
        arity: -4,
        since: "2.8.9",
        summary: "Returns members within a range of bytes, from last to first.",
        complexity: BY_RANK,
        execute: ranges::zrevrangebylex,
        ..SORTED_SET
    },
    Command {
        name: "zrevrangebyscore",
        arity: -4,
        since: "2.2.0",
        summary: "Returns members with scores within a range, from high to low.",
        complexity: BY_RANK,
        execute: ranges::zrevrangebyscore,
        ..SORTED_SET
    },
    Command {
        name: "zrevrank",
        arity: -3,
        flags: LOOKS,
        since: "2.0.0",
        summary: "Returns how many members come before one, from high to low.",
        complexity: "O(log(N)), N being the size of the sorted set",
        execute: members::zrevrank,
        ..SORTED_SET
    },
    Command {
        name: "zscan",
        arity: -3,
        since: "2.8.0",
        summary: "Goes through the members of a sorted set with their scores, some at a time.",
        complexity: "O(1) for each call, O(N) for all members",
        execute: members::zscan,
        ..SORTED_SET
    },
    Command {
        name: "zscore",
        arity: 3,
        flags: LOOKS,
        summary: "Returns the score of a member.",
        complexity: "O(1)",
        execute: members::zscore,
        ..SORTED_SET
    },
];

/// Members in the order they come, as pairs with their scores if those are wanted.
fn members_reply<'a>(members: impl Iterator<Item = (&'a [u8], f64)>, with_scores: bool) -> Reply {
    if with_scores {
        let pairs = members.map(|(member, score)| (Reply::bulk(member), Reply::Double(score)));
        Reply::Pairs(pairs.collect())
    } else {
        Reply::Array(members.map(|(member, _)| Reply::bulk(member)).collect())
    }
}

#[cfg(test)]
mod tests;
