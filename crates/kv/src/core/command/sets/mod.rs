//! Sets: members without order.

mod algebra;
mod chance;
mod members;

use super::table::{Command, Flags, Group, KeyPlaces};

/// What most commands of sets have in common.
const SET: Command = Command {
    name: "",
    arity: 0,
    flags: Flags::READONLY,
    keys: KeyPlaces::ONE,
    group: Group::Set,
    since: "1.0.0",
    summary: "",
    complexity: "O(1)",
    execute: members::smembers,
    subcommands: &[],
};

/// A destination, and sets from the second word on.
const ALL: KeyPlaces = KeyPlaces::Range {
    first: 1,
    last: -1,
    step: 1,
};

const STORES: Flags = Flags::WRITE.and(Flags::DENYOOM);

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: STORES.and(Flags::FAST),
        summary: "Adds members to a set.",
        complexity: "O(N), N being the number of members named",
        execute: members::sadd,
        ..SET
    },
    Command {
        name: "scard",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        summary: "Counts the members of a set.",
        execute: members::scard,
        ..SET
    },
    Command {
        name: "sdiff",
        arity: -2,
        keys: ALL,
        summary: "Returns the members of a set that are in none of the others.",
        complexity: "O(N), N being the number of members of all sets",
        execute: algebra::sdiff,
        ..SET
    },
    Command {
        name: "sdiffstore",
        arity: -3,
        flags: STORES,
        keys: ALL,
        summary: "Keeps the members of a set that are in none of the others in a key.",
        complexity: "O(N), N being the number of members of all sets",
        execute: algebra::sdiffstore,
        ..SET
    },
    Command {
        name: "sinter",
        arity: -2,
        keys: ALL,
        summary: "Returns the members that all sets have.",
        complexity: "O(N*M), N being the size of the smallest set, M the number of sets",
        execute: algebra::sinter,
        ..SET
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
        keys: KeyPlaces::Counted {
            count: 1,
            also: None,
        },
        since: "7.0.0",
        summary: "Counts the members that all sets have.",
        complexity: "O(N*M), N being the size of the smallest set, M the number of sets",
        execute: algebra::sintercard,
        ..SET
    },
    Command {
        name: "sinterstore",
        arity: -3,
        flags: STORES,
        keys: ALL,
        summary: "Keeps the members that all sets have in a key.",
        complexity: "O(N*M), N being the size of the smallest set, M the number of sets",
        execute: algebra::sinterstore,
        ..SET
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        summary: "Says whether a set has a member.",
        execute: members::sismember,
        ..SET
    },
    Command {
        name: "smembers",
        arity: 2,
        summary: "Returns all members of a set.",
        complexity: "O(N), N being the size of the set",
        execute: members::smembers,
        ..SET
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: Flags::READONLY.and(Flags::FAST),
        since: "6.2.0",
        summary: "Says which of several members a set has.",
        complexity: "O(N), N being the number of members named",
        execute: members::smismember,
        ..SET
    },
    Command {
        name: "smove",
        arity: 4,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::Range {
            first: 1,
            last: 2,
            step: 1,
        },
        summary: "Moves a member from one set to another.",
        execute: members::smove,
        ..SET
    },
    Command {
        name: "spop",
        arity: -2,
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Takes members out of a set by chance, and returns them.",
        complexity: "O(N), N being the number of members taken out",
        execute: chance::spop,
        ..SET
    },
    Command {
        name: "srandmember",
        arity: -2,
        summary: "Returns members of a set by chance.",
        complexity: "O(N), N being the number of members returned",
        execute: chance::srandmember,
        ..SET
    },
    Command {
        name: "srem",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        summary: "Takes members out of a set, and the set when none is left.",
        complexity: "O(N), N being the number of members named",
        execute: members::srem,
        ..SET
    },
    Command {
        name: "sscan",
        arity: -3,
        since: "2.8.0",
        summary: "Goes through the members of a set, some at a time.",
        complexity: "O(1) for each call, O(N) for all members",
        execute: members::sscan,
        ..SET
    },
    Command {
        name: "sunion",
        arity: -2,
        keys: ALL,
        summary: "Returns the members that any of the sets has.",
        complexity: "O(N), N being the number of members of all sets",
        execute: algebra::sunion,
        ..SET
    },
    Command {
        name: "sunionstore",
        arity: -3,
        flags: STORES,
        keys: ALL,
        summary: "Keeps the members that any of the sets has in a key.",
        complexity: "O(N), N being the number of members of all sets",
        execute: algebra::sunionstore,
        ..SET
    },
];

#[cfg(test)]
mod tests;
