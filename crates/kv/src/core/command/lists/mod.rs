//! Lists: LPUSH, LPOP and what goes with them, waiting included.

mod ends;
mod moving;
mod places;
mod waiting;

use super::{
    CommandError, args,
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::data::End;

/// A source and a destination.
const TWO: KeyPlaces = KeyPlaces::Range {
    first: 1,
    last: 2,
    step: 1,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "blmove",
        arity: 6,
        flags: Flags::WRITE
            .and(Flags::DENYOOM)
            .and(Flags::NOSCRIPT)
            .and(Flags::BLOCKING),
        keys: TWO,
        group: Group::List,
        since: "6.2.0",
        summary: "Moves an element from one list to another; waits for one.",
        complexity: "O(1)",
        execute: waiting::blmove,
        subcommands: &[],
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: KeyPlaces::Counted {
            count: 2,
            also: None,
        },
        group: Group::List,
        since: "7.0.0",
        summary: "Takes elements out of the first list that has any; waits for one.",
        complexity: "O(N + M), N being the number of keys and M that of elements answered",
        execute: waiting::blmpop,
        subcommands: &[],
    },
    Command {
        name: "blpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING),
        keys: KeyPlaces::Range {
            first: 1,
            last: -2,
            step: 1,
        },
        group: Group::List,
        since: "2.0.0",
        summary: "Takes the first element out of the first list that has any; waits for one.",
        complexity: "O(N), N being the number of keys",
        execute: waiting::blpop,
        subcommands: &[],
    },
    Command {
        name: "brpop",
        arity: -3,
        flags: Flags::WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING),
        keys: KeyPlaces::Range {
            first: 1,
            last: -2,
            step: 1,
        },
        group: Group::List,
        since: "2.0.0",
        summary: "Takes the last element out of the first list that has any; waits for one.",
        complexity: "O(N), N being the number of keys",
        execute: waiting::brpop,
        subcommands: &[],
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE
            .and(Flags::DENYOOM)
            .and(Flags::NOSCRIPT)
            .and(Flags::BLOCKING),
        keys: TWO,
        group: Group::List,
        since: "2.2.0",
        summary: "Moves a list's last element to the beginning of another; waits for one.",
        complexity: "O(1)",
        execute: waiting::brpoplpush,
        subcommands: &[],
    },
    Command {
        name: "lindex",
        arity: 3,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "The element at a place of a list.",
        complexity: "O(N), N being the distance from the nearer end, in chunks",
        execute: places::lindex,
        subcommands: &[],
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "2.2.0",
        summary: "Puts an element before or after another one.",
        complexity: "O(N), N being the number of elements before that one",
        execute: places::linsert,
        subcommands: &[],
    },
    Command {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Number of elements of a list.",
        complexity: "O(1)",
        execute: ends::llen,
        subcommands: &[],
    },
    Command {
        name: "lmove",
        arity: 5,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: TWO,
        group: Group::List,
        since: "6.2.0",
        summary: "Moves an element from an end of a list to an end of another.",
        complexity: "O(1)",
        execute: moving::lmove,
        subcommands: &[],
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
        keys: KeyPlaces::Counted {
            count: 1,
            also: None,
        },
        group: Group::List,
        since: "7.0.0",
        summary: "Takes elements out of the first list that has any.",
        complexity: "O(N + M), N being the number of keys and M that of elements answered",
        execute: moving::lmpop,
        subcommands: &[],
    },
    Command {
        name: "lpop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Takes the first elements out of a list.",
        complexity: "O(N), N being the number of elements answered",
        execute: ends::lpop,
        subcommands: &[],
    },
    Command {
        name: "lpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "6.0.6",
        summary: "The places of elements that are equal to a word.",
        complexity: "O(N), N being the number of elements looked at",
        execute: places::lpos,
        subcommands: &[],
    },
    Command {
        name: "lpush",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Puts elements at the beginning of a list.",
        complexity: "O(N), N being the number of elements pushed",
        execute: ends::lpush,
        subcommands: &[],
    },
    Command {
        name: "lpushx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "2.2.0",
        summary: "Puts elements at the beginning of a list that is there.",
        complexity: "O(N), N being the number of elements pushed",
        execute: ends::lpushx,
        subcommands: &[],
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "The elements of a range of places.",
        complexity: "O(S + N), S being the distance from the nearer end, in chunks, and N the number of elements answered",
        execute: places::lrange,
        subcommands: &[],
    },
    Command {
        name: "lrem",
        arity: 4,
        flags: Flags::WRITE,
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Takes elements that are equal to a word out of a list.",
        complexity: "O(N), N being the length of the list",
        execute: places::lrem,
        subcommands: &[],
    },
    Command {
        name: "lset",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Puts another element at a place of a list.",
        complexity: "O(N), N being the distance from the nearer end, in chunks",
        execute: places::lset,
        subcommands: &[],
    },
    Command {
        name: "ltrim",
        arity: 4,
        flags: Flags::WRITE,
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Takes out of a list what is not within a range of places.",
        complexity: "O(N), N being the number of elements taken out",
        execute: places::ltrim,
        subcommands: &[],
    },
    Command {
        name: "rpop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Takes the last elements out of a list.",
        complexity: "O(N), N being the number of elements answered",
        execute: ends::rpop,
        subcommands: &[],
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: TWO,
        group: Group::List,
        since: "1.2.0",
        summary: "Moves a list's last element to the beginning of another.",
        complexity: "O(1)",
        execute: moving::rpoplpush,
        subcommands: &[],
    },
    Command {
        name: "rpush",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "1.0.0",
        summary: "Puts elements at the end of a list.",
        complexity: "O(N), N being the number of elements pushed",
        execute: ends::rpush,
        subcommands: &[],
    },
    Command {
        name: "rpushx",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::List,
        since: "2.2.0",
        summary: "Puts elements at the end of a list that is there.",
        complexity: "O(N), N being the number of elements pushed",
        execute: ends::rpushx,
        subcommands: &[],
    },
];

/// `LEFT` or `RIGHT`.
fn end(word: &[u8]) -> Result<End, CommandError> {
    match () {
        () if args::is(word, "LEFT") => Ok(End::Left),
        () if args::is(word, "RIGHT") => Ok(End::Right),
        () => Err(CommandError::Syntax),
    }
}

/// The event of taking an element from an end.
fn popped(end: End) -> &'static str {
    match end {
        End::Left => "lpop",
        End::Right => "rpop",
    }
}

/// The event of putting an element to an end.
fn pushed(end: End) -> &'static str {
    match end {
        End::Left => "lpush",
        End::Right => "rpush",
    }
}
