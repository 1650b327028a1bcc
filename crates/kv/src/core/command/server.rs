//! Commands that a node answers by itself: the table of them. What they do is the face's.

use super::{
    session::{ADMIN, ALWAYS, commands, refused},
    table::{Command, Flags, Group, KeyPlaces},
};

pub(super) const COMMANDS: &[Command] = commands! { Group::Server;
    "bgrewriteaof", 1, ADMIN, "1.0.0", "O(1)",
        "Is answered at once: what was acknowledged is on disk already.";
    "bgsave", -1, ADMIN, "1.0.0", "O(1)",
        "Is answered at once: what was acknowledged is on disk already.";
    "config", -2, Flags::NONE, "2.0.0", "Depends on subcommand.",
        "Tells and changes how this node is set.", subcommands: CONFIG;
    "debug", -2, ADMIN, "1.0.0", "Depends on subcommand.",
        "Helps to test clients.", subcommands: DEBUG;
    "info", -1, ALWAYS, "1.0.0", "O(1); with keyspace, O(N) where N is the number of partitions",
        "Tells about this node.";
    "lastsave", 1, ALWAYS.and(Flags::FAST), "1.0.0", "O(1)",
        "Tells since when all is on disk: now, for what was acknowledged.";
    "latency", -2, Flags::NONE, "2.8.13", "Depends on subcommand.",
        "Tells when commands were slow, and how long each takes.", subcommands: LATENCY;
    "lolwut", -1, ALWAYS.and(Flags::FAST), "5.0.0", "O(1)",
        "Tells the version.";
    "role", 1, ALWAYS.and(Flags::NOSCRIPT).and(Flags::FAST), "2.8.12", "O(1)",
        "Tells that this node takes writes.";
    "save", 1, ADMIN, "1.0.0", "O(1)",
        "Is answered at once: what was acknowledged is on disk already.";
    "shutdown", -1, ADMIN, "1.0.0", "O(1)",
        "Is refused: a node is stopped by whoever runs it.";
    "slowlog", -2, Flags::NONE, "2.2.12", "Depends on subcommand.",
        "Tells of slow commands.", subcommands: SLOWLOG;
    "time", 1, ALWAYS.and(Flags::FAST), "2.6.0", "O(1)",
        "Tells the node's time.";
};

const CONFIG: &[Command] = commands! { Group::Server;
    "config|get", -3, ADMIN, "2.0.0", "O(N) where N is the number of settings",
        "Tells settings.";
    "config|help", 2, ALWAYS, "5.0.0", "O(1)",
        "Tells what CONFIG can do.";
    "config|resetstat", 2, ADMIN, "2.0.0", "O(1)",
        "Begins to count anew.";
    "config|rewrite", 2, ADMIN, "2.8.0", "O(1)",
        "Is refused: there is no file of these settings.";
    "config|set", -4, ADMIN, "2.0.0", "O(N) where N is the number of settings",
        "Changes settings of this node, until it stops.";
};

const DEBUG: &[Command] = commands! { Group::Server;
    "debug|help", 2, ADMIN, "1.0.0", "O(1)",
        "Tells what DEBUG can do.";
    "debug|sleep", 3, ADMIN, "1.0.0", "O(1)",
        "Lets this connection wait for some seconds.";
};

const LATENCY: &[Command] = commands! { Group::Server;
    "latency|doctor", 2, ADMIN, "2.8.13", "O(1)",
        "Tells about latency, for people.";
    "latency|graph", 3, ADMIN, "2.8.13", "O(1)",
        "Draws the samples of an event.";
    "latency|histogram", -2, ADMIN, "7.0.0", "O(N) where N is the number of commands with latency information being retrieved.",
        "Tells how often commands took how long.";
    "latency|help", 2, ALWAYS, "2.8.13", "O(1)",
        "Tells what LATENCY can do.";
    "latency|history", 3, ADMIN, "2.8.13", "O(1)",
        "Tells the samples of an event.";
    "latency|latest", 2, ADMIN, "2.8.13", "O(1)",
        "Tells the last sample of each event.";
    "latency|reset", -2, ADMIN, "2.8.13", "O(1)",
        "Forgets samples.";
};

const SLOWLOG: &[Command] = commands! { Group::Server;
    "slowlog|get", -2, ADMIN, "2.2.12", "O(N) where N is the number of entries",
        "Tells the last slow commands.";
    "slowlog|help", 2, ALWAYS, "6.2.0", "O(1)",
        "Tells what SLOWLOG can do.";
    "slowlog|len", 2, ADMIN, "2.2.12", "O(1)",
        "Counts the slow commands that are kept.";
    "slowlog|reset", 2, ADMIN, "2.2.12", "O(N) where N is the number of entries",
        "Forgets slow commands.";
};
