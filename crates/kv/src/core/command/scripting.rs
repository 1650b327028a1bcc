//! Scripts and functions: the table of their commands. What they do is the node's, which finds
//! the text and brings it to its keys' partition; there `core::machine` runs it.

use super::{
    session::{ALWAYS, refused},
    table::{Command, Flags, Group, KeyPlaces},
};

/// Flags of what runs scripts, which may write.
const RUNS: Flags = Flags::NOSCRIPT.and(Flags::STALE).and(Flags::MOVABLEKEYS);
/// Flags of what runs scripts that only read.
const READS: Flags = RUNS.and(Flags::READONLY);
/// Flags of what is about scripts, not keys. One that waits for other nodes is no part of a
/// transaction.
const ABOUT: Flags = ALWAYS.and(Flags::NOSCRIPT).and(Flags::NO_MULTI);
/// The same, for what changes the functions.
const CHANGES: Flags = Flags::NOSCRIPT.and(Flags::NO_MULTI).and(Flags::WRITE);

/// Whether the command runs what somebody wrote.
pub fn runs_scripts(command: &Command) -> bool {
    command.group == Group::Scripting && matches!(command.keys, KeyPlaces::Counted { .. })
}

const COUNTED: KeyPlaces = KeyPlaces::Counted {
    count: 2,
    also: None,
};

const DEPENDS: &str = "Depends on the script that is executed.";

const fn command(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: KeyPlaces::None,
        group: Group::Scripting,
        since,
        summary,
        complexity,
        execute: refused,
        subcommands: &[],
    }
}

const fn runs(
    name: &'static str,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
) -> Command {
    let mut command = command(name, -3, flags, since, DEPENDS, summary);
    command.keys = COUNTED;
    command
}

const fn holds(
    name: &'static str,
    since: &'static str,
    summary: &'static str,
    subcommands: &'static [Command],
) -> Command {
    let mut command = command(
        name,
        -2,
        Flags::NONE,
        since,
        "Depends on subcommand.",
        summary,
    );
    command.subcommands = subcommands;
    command
}

pub(super) const COMMANDS: &[Command] = &[
    runs(
        "eval",
        RUNS,
        "2.6.0",
        "Runs a Lua script; its keys have to be in one partition.",
    ),
    runs(
        "eval_ro",
        READS,
        "7.0.0",
        "Runs a Lua script that only reads.",
    ),
    runs(
        "evalsha",
        RUNS,
        "2.6.0",
        "Runs a Lua script that this node knows, by its SHA-1.",
    ),
    runs(
        "evalsha_ro",
        READS,
        "7.0.0",
        "Runs a Lua script that only reads and that this node knows, by its SHA-1.",
    ),
    runs(
        "fcall",
        RUNS,
        "7.0.0",
        "Runs a function; its keys have to be in one partition.",
    ),
    runs(
        "fcall_ro",
        READS,
        "7.0.0",
        "Runs a function that only reads.",
    ),
    holds(
        "script",
        "2.6.0",
        "A container for commands about scripts.",
        SCRIPT,
    ),
    holds(
        "function",
        "7.0.0",
        "A container for commands about functions.",
        FUNCTION,
    ),
];

const SCRIPT: &[Command] = &[
    command(
        "script|debug",
        3,
        ABOUT,
        "3.2.0",
        "O(1)",
        "Is refused: there is no debugger.",
    ),
    command(
        "script|exists",
        -3,
        ABOUT,
        "2.6.0",
        "O(N) with N being the number of scripts to check",
        "Tells which scripts this node knows.",
    ),
    command(
        "script|flush",
        -2,
        ABOUT,
        "2.6.0",
        "O(N) with N being the number of scripts in cache",
        "Has this node forget all scripts.",
    ),
    command(
        "script|help",
        2,
        ABOUT,
        "5.0.0",
        "O(1)",
        "Tells what SCRIPT can do.",
    ),
    command(
        "script|kill",
        2,
        ABOUT.and(Flags::ALLOW_BUSY),
        "2.6.0",
        "O(1)",
        "Ends the scripts that run on this node; nothing of what they did is kept.",
    ),
    command(
        "script|load",
        3,
        ABOUT,
        "2.6.0",
        "O(N) with N being the length in bytes of the script body",
        "Makes a script known to this node.",
    ),
];

const FUNCTION: &[Command] = &[
    command(
        "function|delete",
        3,
        CHANGES,
        "7.0.0",
        "O(1)",
        "Removes a library.",
    ),
    command(
        "function|dump",
        2,
        ABOUT,
        "7.0.0",
        "O(N) where N is the number of functions",
        "Returns all libraries as one string.",
    ),
    command(
        "function|flush",
        -2,
        CHANGES,
        "7.0.0",
        "O(N) where N is the number of functions deleted",
        "Removes all libraries.",
    ),
    command(
        "function|help",
        2,
        ABOUT,
        "7.0.0",
        "O(1)",
        "Tells what FUNCTION can do.",
    ),
    command(
        "function|kill",
        2,
        ABOUT.and(Flags::ALLOW_BUSY),
        "7.0.0",
        "O(1)",
        "Ends the functions that run on this node; nothing of what they did is kept.",
    ),
    command(
        "function|list",
        -2,
        ABOUT,
        "7.0.0",
        "O(N) where N is the number of functions",
        "Lists libraries.",
    ),
    command(
        "function|load",
        -3,
        CHANGES.and(Flags::DENYOOM),
        "7.0.0",
        "O(1) (considering compilation time is redundant)",
        "Adds a library, for all nodes.",
    ),
    command(
        "function|restore",
        -3,
        CHANGES.and(Flags::DENYOOM),
        "7.0.0",
        "O(N) where N is the number of functions on the payload",
        "Adds libraries of a dump, for all nodes.",
    ),
    command(
        "function|stats",
        2,
        ABOUT.and(Flags::ALLOW_BUSY),
        "7.0.0",
        "O(1)",
        "Tells about the function that runs on this node, and counts functions.",
    ),
];
