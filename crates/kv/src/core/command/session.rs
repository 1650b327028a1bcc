//! Commands that need no keyspace but the connection that they came on: the table of them, for
//! COMMAND and for whoever looks a call up. What they do is the face's; a script that calls one
//! is refused, except for those that mean the same everywhere.

use bytes::Bytes;

use super::{
    CommandError, Context, Executed,
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::reply::Reply;

/// Entries of the table: name, number of words, flags, the version that brought it, cost and
/// summary, and where it has them: `keys`, `execute`, `subcommands`.
macro_rules! commands {
    ($group:expr; $(
        $name:literal, $arity:literal, $flags:expr, $since:literal, $complexity:literal,
        $summary:literal $(, $field:ident: $value:expr)*;
    )*) => {
        &[$({
            #[allow(unused_mut, reason = "most need no more")]
            let mut command = Command {
                name: $name,
                arity: $arity,
                flags: Flags::SESSION.and($flags),
                keys: KeyPlaces::None,
                group: $group,
                since: $since,
                summary: $summary,
                complexity: $complexity,
                execute: refused,
                subcommands: &[],
            };
            $(command.$field = $value;)*
            command
        }),*]
    };
}

pub(super) use commands;

/// What a call from a script comes to.
pub(super) fn refused(_: &mut Context<'_>, _: &[Bytes]) -> Executed {
    Err(CommandError::Other(
        "ERR This Redis command is not allowed from script",
    ))
}

fn ping(_: &mut Context<'_>, words: &[Bytes]) -> Executed {
    match words {
        [_] => Ok(Reply::Status("PONG")),
        [_, message] => Ok(Reply::Bulk(message.clone())),
        _ => Err(CommandError::Arity("ping")),
    }
}

fn echo(_: &mut Context<'_>, words: &[Bytes]) -> Executed {
    Ok(Reply::Bulk(words[1].clone()))
}

/// Allowed while data is loaded and on old data.
pub(super) const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
/// The same, not from scripts.
pub(super) const HERE: Flags = ALWAYS.and(Flags::NOSCRIPT);
const HERE_FAST: Flags = HERE.and(Flags::FAST);
/// The same, while a script runs too long.
const HERE_BUSY: Flags = HERE_FAST.and(Flags::ALLOW_BUSY);
/// The same, before AUTH.
const ANYBODY: Flags = HERE_BUSY.and(Flags::NO_AUTH);
pub(super) const ADMIN: Flags = HERE.and(Flags::ADMIN);
const SUBSCRIBE: Flags = HERE.and(Flags::PUBSUB);
const PUBLISH: Flags = ALWAYS.and(Flags::PUBSUB).and(Flags::FAST);
const PUBSUB: Flags = ALWAYS.and(Flags::PUBSUB);
const ALL_KEYS: KeyPlaces = KeyPlaces::Range {
    first: 1,
    last: -1,
    step: 1,
};

pub(super) const CONNECTION: &[Command] = commands! { Group::Connection;
    "ping", -1, Flags::FAST, "1.0.0", "O(1)",
        "Answers, so that one knows that the connection works.", execute: ping;
    "echo", 2, ALWAYS.and(Flags::FAST), "1.0.0", "O(1)",
        "Returns the given string.", execute: echo;
    "quit", -1, ANYBODY, "1.0.0", "O(1)",
        "Closes the connection.";
    "reset", 1, ANYBODY, "6.2.0", "O(1)",
        "Makes the connection as if it were new.";
    "hello", -1, ANYBODY, "6.0.0", "O(1)",
        "Chooses the version of the protocol, and may name and authenticate the connection.";
    "auth", -2, ANYBODY, "1.0.0", "O(N) where N is the number of passwords defined for the user",
        "Authenticates the connection.";
    "select", 2, ALWAYS.and(Flags::FAST), "1.0.0", "O(1)",
        "Chooses the logical database, or a keyspace by its number or name.";
    "client", -2, Flags::SESSION, "2.4.0", "Depends on subcommand.",
        "A container for commands about connections.", subcommands: CLIENT;
};

const CLIENT: &[Command] = commands! { Group::Connection;
    "client|caching", 3, HERE, "6.0.0", "O(1)",
        "Says whether the next command's keys are tracked.";
    "client|getname", 2, HERE, "2.6.9", "O(1)",
        "Returns the name of the connection.";
    "client|getredir", 2, HERE, "6.0.0", "O(1)",
        "Returns the connection that invalidation messages go to.";
    "client|help", 2, ALWAYS, "5.0.0", "O(1)",
        "Tells what CLIENT can do.";
    "client|id", 2, HERE, "5.0.0", "O(1)",
        "Returns the number of the connection.";
    "client|info", 2, HERE, "6.2.0", "O(1)",
        "Tells about this connection.";
    "client|kill", -3, ADMIN, "2.4.0", "O(N) where N is the number of client connections",
        "Closes connections.";
    "client|list", -2, ADMIN, "2.4.0", "O(N) where N is the number of client connections",
        "Tells about all connections.";
    "client|no-evict", 3, ADMIN, "7.0.0", "O(1)",
        "Keeps the connection from being closed when memory is short.";
    "client|no-touch", 3, HERE, "7.2.0", "O(1)",
        "Keeps the connection's commands from counting as uses of keys.";
    "client|pause", -3, ADMIN, "3.0.0", "O(1)",
        "Lets commands of clients wait for a time.";
    "client|reply", 3, HERE, "3.2.0", "O(1)",
        "Says whether the connection is answered.";
    "client|setinfo", 4, HERE, "7.2.0", "O(1)",
        "Names the library that the client uses.";
    "client|setname", 3, HERE, "2.6.9", "O(1)",
        "Names the connection.";
    "client|tracking", -3, HERE, "6.0.0", "O(1). Some options may introduce additional complexity.",
        "Says whether the client is told of changes to keys that it read.";
    "client|trackinginfo", 2, HERE, "6.2.0", "O(1)",
        "Tells how the connection's reads are tracked.";
    "client|unblock", -3, ADMIN, "5.0.0", "O(log N) where N is the number of client connections",
        "Ends a waiting command of another connection.";
    "client|unpause", 2, ADMIN, "6.2.0", "O(N) Where N is the number of paused clients",
        "Ends what CLIENT PAUSE began.";
};

pub(super) const TRANSACTIONS: &[Command] = commands! { Group::Transactions;
    "multi", 1, HERE_BUSY, "1.2.0", "O(1)",
        "Begins a transaction: commands are queued.";
    "exec", 1, HERE, "1.2.0", "Depends on commands in the transaction",
        "Executes the queued commands.";
    "discard", 1, HERE_BUSY, "2.0.0", "O(N), when N is the number of queued commands",
        "Forgets the queued commands.";
    "watch", -2, HERE_BUSY, "2.2.0", "O(1) for every key.",
        "Lets the next transaction fail if one of these keys has changed by then.",
        keys: ALL_KEYS;
    "unwatch", 1, HERE_BUSY, "2.2.0", "O(1)",
        "Forgets all watched keys.";
};

pub(super) const PUB_SUB: &[Command] = commands! { Group::PubSub;
    "subscribe", -2, SUBSCRIBE, "2.0.0", "O(N) where N is the number of channels to subscribe to.",
        "Listens to channels.";
    "unsubscribe", -1, SUBSCRIBE, "2.0.0", "O(N) where N is the number of channels to unsubscribe.",
        "Stops listening to channels, or to all.";
    "psubscribe", -2, SUBSCRIBE, "2.0.0", "O(N) where N is the number of patterns to subscribe to.",
        "Listens to the channels whose names match.";
    "punsubscribe", -1, SUBSCRIBE, "2.0.0", "O(N) where N is the number of patterns to unsubscribe.",
        "Stops listening to patterns, or to all.";
    "ssubscribe", -2, SUBSCRIBE, "7.0.0", "O(N) where N is the number of shard channels to subscribe to.",
        "Listens to shard channels.";
    "sunsubscribe", -1, SUBSCRIBE, "7.0.0", "O(N) where N is the number of shard channels to unsubscribe.",
        "Stops listening to shard channels, or to all.";
    "publish", 3, PUBLISH, "2.0.0", "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of subscribed patterns (by any client).",
        "Sends a message to a channel.";
    "spublish", 3, PUBLISH, "7.0.0", "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        "Sends a message to a shard channel.";
    "pubsub", -2, Flags::SESSION, "2.8.0", "Depends on subcommand.",
        "A container for commands about subscriptions.", subcommands: PUBSUB_SUBCOMMANDS;
};

const PUBSUB_SUBCOMMANDS: &[Command] = commands! { Group::PubSub;
    "pubsub|channels", -2, PUBSUB, "2.8.0", "O(N) where N is the number of active channels",
        "Lists channels that somebody listens to.";
    "pubsub|help", 2, ALWAYS, "6.2.0", "O(1)",
        "Tells what PUBSUB can do.";
    "pubsub|numpat", 2, PUBSUB, "2.8.0", "O(1)",
        "Counts the patterns that somebody listens to.";
    "pubsub|numsub", -2, PUBSUB, "2.8.0", "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        "Counts who listens to channels.";
    "pubsub|shardchannels", -2, PUBSUB, "7.0.0", "O(N) where N is the number of active shard channels",
        "Lists shard channels that somebody listens to.";
    "pubsub|shardnumsub", -2, PUBSUB, "7.0.0", "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        "Counts who listens to shard channels.";
};

pub(super) const CLUSTER: &[Command] = commands! { Group::Cluster;
    "readonly", 1, ALWAYS.and(Flags::FAST), "3.0.0", "O(1)",
        "Lets the connection read from the nearest replica, which may be behind.";
    "readwrite", 1, ALWAYS.and(Flags::FAST), "3.0.0", "O(1)",
        "Lets the connection read only what is up to date.";
    "asking", 1, Flags::FAST, "3.0.0", "O(1)",
        "Is answered for clients that follow a redirection; there is none of its kind.";
};

pub(super) const KEYSPACES: &[Command] = commands! { Group::Connection;
    "atoll.consistency", -1, HERE, "7.4.0", "O(1)",
        "Says how many replicas have to answer this connection's commands in eventual keyspaces: WRITE and READ, each ONE, QUORUM, ALL, or DEFAULT for what the keyspace was created with. Alone, tells what was said.";
    "atoll.keyspace", -2, Flags::SESSION, "7.4.0", "Depends on subcommand.",
        "A container for commands about keyspaces that have names.", subcommands: KEYSPACE;
};

const KEYSPACE: &[Command] = commands! { Group::Connection;
    "atoll.keyspace|create", -3, ADMIN, "7.4.0", "O(N) where N is the number of partitions",
        "Creates a keyspace of this name: LINEARIZABLE, or EVENTUAL with REPLICAS, WRITE and READ, for good.", group: Group::Server;
    "atoll.keyspace|help", 2, HERE, "7.4.0", "O(1)",
        "Tells what ATOLL.KEYSPACE can do.";
    "atoll.keyspace|list", 2, HERE, "7.4.0", "O(N) where N is the number of keyspaces",
        "Tells the keyspaces that have names, in the order of the numbers that SELECT takes.";
};

pub(super) const SERVER: &[Command] = commands! { Group::Server;
    "monitor", 1, ADMIN, "1.0.0", "O(1)",
        "Shows each command that comes to this node, until RESET or the end of the connection.";
    "command", -1, ALWAYS, "2.8.13", "O(N) where N is the total number of Redis commands",
        "Tells about all commands.", subcommands: COMMAND;
};

pub(super) const GENERIC: &[Command] = commands! { Group::Generic;
    "wait", 3, Flags::BLOCKING, "3.0.0", "O(1)",
        "Waits until replicas hold what was written, and counts them.";
    "waitaof", 4, Flags::BLOCKING, "7.2.0", "O(1)",
        "Waits until what was written is on disks, and counts them.";
};

const COMMAND: &[Command] = commands! { Group::Server;
    "command|count", 2, ALWAYS, "2.8.13", "O(1)",
        "Counts the commands.";
    "command|docs", -2, ALWAYS, "7.0.0", "O(N) where N is the number of commands to look up",
        "Tells what commands are for.";
    "command|getkeys", -4, ALWAYS, "2.8.13", "O(N) where N is the number of arguments to the command",
        "Finds the keys in a call.";
    "command|getkeysandflags", -4, ALWAYS, "7.0.0", "O(N) where N is the number of arguments to the command",
        "Finds the keys in a call, and what is done to them.";
    "command|help", 2, ALWAYS, "5.0.0", "O(1)",
        "Tells what COMMAND can do.";
    "command|info", -2, ALWAYS, "2.8.13", "O(N) where N is the number of commands to look up",
        "Tells about some commands.";
    "command|list", -2, ALWAYS, "7.0.0", "O(N) where N is the total number of Redis commands",
        "Lists the names of commands.";
};
