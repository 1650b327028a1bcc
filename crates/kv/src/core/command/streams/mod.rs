//! Streams: XADD, XREAD, groups of consumers.

mod call;
mod claiming;
mod grouped;
mod groups;
mod ids;
mod info;
mod pending;
mod ranges;
mod reading;
mod writing;

use bytes::Bytes;

use super::{
    CommandError, Executed,
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{
    data::{Pack, StreamId},
    reply::Reply,
};

pub(super) use call::timeout_of;
pub use reading::fix_last_ids;

/// The word after a subcommand.
const SECOND: KeyPlaces = KeyPlaces::Range {
    first: 2,
    last: 2,
    step: 1,
};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "xack",
        arity: -4,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Acknowledges entries that a group delivered.",
        complexity: "O(log N) for each id",
        execute: groups::xack,
        subcommands: &[],
    },
    Command {
        name: "xadd",
        arity: -5,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Adds an entry to a stream.",
        complexity: "O(log N), and O(M) for M entries trimmed",
        execute: writing::xadd,
        subcommands: &[],
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "6.2.0",
        summary: "Gives entries that were pending for long to a consumer.",
        complexity: "O(1) where COUNT is small",
        execute: claiming::xautoclaim,
        subcommands: &[],
    },
    Command {
        name: "xclaim",
        arity: -6,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Gives pending entries to another consumer.",
        complexity: "O(log N) for each id",
        execute: claiming::xclaim,
        subcommands: &[],
    },
    Command {
        name: "xdel",
        arity: -3,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Takes entries out of a stream.",
        complexity: "O(log N) for each id",
        execute: writing::xdel,
        subcommands: &[],
    },
    Command {
        name: "xgroup",
        arity: -2,
        flags: Flags::NONE,
        keys: KeyPlaces::None,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Makes, changes and removes groups of consumers.",
        complexity: "Depends on the subcommand",
        execute: groups::xgroup,
        subcommands: &[
            Command {
                name: "xgroup|create",
                arity: -5,
                flags: Flags::WRITE.and(Flags::DENYOOM),
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Makes a group.",
                complexity: "O(log N)",
                execute: groups::create,
                subcommands: &[],
            },
            Command {
                name: "xgroup|createconsumer",
                arity: 5,
                flags: Flags::WRITE.and(Flags::DENYOOM),
                keys: SECOND,
                group: Group::Stream,
                since: "6.2.0",
                summary: "Adds a consumer to a group.",
                complexity: "O(log N)",
                execute: groups::createconsumer,
                subcommands: &[],
            },
            Command {
                name: "xgroup|delconsumer",
                arity: 5,
                flags: Flags::WRITE,
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Removes a consumer and what is pending for it.",
                complexity: "O(N), N being the number of entries pending for it",
                execute: groups::delconsumer,
                subcommands: &[],
            },
            Command {
                name: "xgroup|destroy",
                arity: 4,
                flags: Flags::WRITE,
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Removes a group.",
                complexity: "O(N), N being the number of pending entries",
                execute: groups::destroy,
                subcommands: &[],
            },
            Command {
                name: "xgroup|help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                keys: KeyPlaces::None,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Tells of the subcommands.",
                complexity: "O(1)",
                execute: groups::help,
                subcommands: &[],
            },
            Command {
                name: "xgroup|setid",
                arity: -5,
                flags: Flags::WRITE,
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Sets the entry after which a group goes on.",
                complexity: "O(log N)",
                execute: groups::setid,
                subcommands: &[],
            },
        ],
    },
    Command {
        name: "xinfo",
        arity: -2,
        flags: Flags::NONE,
        keys: KeyPlaces::None,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Tells of streams, groups and consumers.",
        complexity: "Depends on the subcommand",
        execute: info::xinfo,
        subcommands: &[
            Command {
                name: "xinfo|consumers",
                arity: 4,
                flags: Flags::READONLY,
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Tells of the consumers of a group.",
                complexity: "O(N), N being the number of consumers",
                execute: info::consumers,
                subcommands: &[],
            },
            Command {
                name: "xinfo|groups",
                arity: 3,
                flags: Flags::READONLY,
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Tells of the groups of a stream.",
                complexity: "O(N), N being the number of groups",
                execute: info::groups,
                subcommands: &[],
            },
            Command {
                name: "xinfo|help",
                arity: 2,
                flags: Flags::LOADING.and(Flags::STALE),
                keys: KeyPlaces::None,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Tells of the subcommands.",
                complexity: "O(1)",
                execute: info::help,
                subcommands: &[],
            },
            Command {
                name: "xinfo|stream",
                arity: -3,
                flags: Flags::READONLY,
                keys: SECOND,
                group: Group::Stream,
                since: "5.0.0",
                summary: "Tells of a stream.",
                complexity: "O(1); with FULL, O(N) for N entries, groups and consumers",
                execute: info::stream,
                subcommands: &[],
            },
        ],
    },
    Command {
        name: "xlen",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Number of entries of a stream.",
        complexity: "O(1)",
        execute: writing::xlen,
        subcommands: &[],
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Tells of entries that were delivered and not acknowledged.",
        complexity: "O(N), N being the number of entries looked at, or of consumers",
        execute: pending::xpending,
        subcommands: &[],
    },
    Command {
        name: "xrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "The entries of a range of ids.",
        complexity: "O(log N), and O(M) for M entries answered",
        execute: ranges::xrange,
        subcommands: &[],
    },
    Command {
        name: "xread",
        arity: -4,
        flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: KeyPlaces::Custom(call::xread_keys),
        group: Group::Stream,
        since: "5.0.0",
        summary: "The entries of streams after given ids; can wait for some.",
        complexity: "O(log N) for each stream, and O(M) for M entries answered",
        execute: reading::xread,
        subcommands: &[],
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS),
        keys: KeyPlaces::Custom(call::xreadgroup_keys),
        group: Group::Stream,
        since: "5.0.0",
        summary: "Entries of streams for a consumer of a group; can wait for some.",
        complexity: "O(log N) for each stream and for each entry answered",
        execute: grouped::xreadgroup,
        subcommands: &[],
    },
    Command {
        name: "xrevrange",
        arity: -4,
        flags: Flags::READONLY,
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "The entries of a range of ids, backwards.",
        complexity: "O(log N), and O(M) for M entries answered",
        execute: ranges::xrevrange,
        subcommands: &[],
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Sets the last id of a stream, and what it counts.",
        complexity: "O(1)",
        execute: writing::xsetid,
        subcommands: &[],
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: Flags::WRITE,
        keys: KeyPlaces::ONE,
        group: Group::Stream,
        since: "5.0.0",
        summary: "Takes entries out at the beginning of a stream.",
        complexity: "O(N), N being the number of entries taken out",
        execute: writing::xtrim,
        subcommands: &[],
    },
];

/// An id.
fn id(id: StreamId) -> Reply {
    Reply::bulk(id.to_string())
}

/// Fields and values.
fn fields(fields: &Pack) -> Reply {
    Reply::Array(fields.iter().map(Reply::bulk).collect())
}

/// An entry: its id, its fields and values.
fn entry(at: StreamId, pack: &Pack) -> Reply {
    Reply::Array(vec![id(at), fields(pack)])
}

/// A key, or a group of it, that is not there.
fn no_group(key: &[u8], group: &[u8], rest: &str) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::Text(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}'{rest}"
    ))
}

/// A group that a stream which is there does not have.
fn no_group_of(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    CommandError::Text(format!(
        "NOGROUP No such consumer group '{group}' for key name '{key}'"
    ))
}

/// A container called without one of its subcommands.
fn unknown_subcommand(container: &str, words: &[Bytes]) -> Executed {
    Err(CommandError::Text(format!(
        "ERR unknown subcommand '{}'. Try {container} HELP.",
        shown(&words[1])
    )))
}

/// A subcommand with words that it doesn't know.
fn odd_subcommand(container: &str, words: &[Bytes]) -> CommandError {
    CommandError::Text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.",
        shown(&words[1])
    ))
}

/// So much of a word as an error tells, in bytes; as in Redis.
const SHOWN_BYTES_MAX: usize = 128;

fn shown(word: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&word[..word.len().min(SHOWN_BYTES_MAX)])
}

/// What HELP answers.
fn help(container: &'static str, lines: &[&'static str]) -> Reply {
    let lines = [container].into_iter().chain(lines.iter().copied());
    let last = ["HELP", "    Print this help."];
    Reply::Array(lines.chain(last).map(Reply::Status).collect())
}
