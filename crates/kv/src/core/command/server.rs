//! Commands that a node answers by itself: the table of them. What they do is the face's.

use bytes::Bytes;

use super::{
    CommandError, Context, Executed, args,
    session::{ADMIN, ALWAYS, commands, refused},
    table::{Command, Flags, Group, KeyPlaces},
};
use crate::core::{data::SAMPLES, reply::Reply};

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
    "memory", -2, Flags::NONE, "4.0.0", "Depends on subcommand.",
        "Tells of memory.", subcommands: MEMORY;
    "role", 1, ALWAYS.and(Flags::NOSCRIPT).and(Flags::FAST), "2.8.12", "O(1)",
        "Tells that this node takes writes.";
    "save", 1, ADMIN.and(Flags::NO_MULTI), "1.0.0", "O(1)",
        "Is answered at once: what was acknowledged is on disk already.";
    "shutdown", -1, ADMIN.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), "1.0.0", "O(1)",
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

const MEMORY: &[Command] = commands! { Group::Server;
    "memory|doctor", 2, Flags::NONE, "4.0.0", "O(1)",
        "Tells about this node's memory, for people.";
    "memory|help", 2, ALWAYS, "4.0.0", "O(1)",
        "Tells what MEMORY can do.";
    "memory|malloc-stats", 2, Flags::NONE, "4.0.0", "O(1)",
        "Tells what the allocator knows: nothing.";
    "memory|purge", 2, Flags::NONE, "4.0.0", "O(1)",
        "Is answered at once: what is freed goes back by itself.";
    "memory|stats", 2, Flags::NONE, "4.0.0", "O(1)",
        "Tells what this node's data takes.";
    "memory|usage", -3, Flags::READONLY, "4.0.0", "O(N) where N is the number of samples",
        "Tells what a key and its value take.",
        // It is the key's partition that knows.
        flags: Flags::READONLY, keys: KeyPlaces::SECOND, execute: usage;
};

/// MEMORY USAGE. Of lists and streams some parts are looked at, as many as SAMPLES says, or all
/// if that is 0; of other values it is known what they take.
fn usage(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let samples = match &words[3..] {
        [] => SAMPLES,
        [option, samples] if args::is(option, "SAMPLES") => match args::integer(samples)? {
            0 => usize::MAX,
            samples => usize::try_from(samples).map_err(|_| CommandError::Syntax)?,
        },
        _ => return Err(CommandError::Syntax),
    };
    if !context.exists(&words[2]) {
        return Ok(Reply::Null);
    }
    let bytes = context.database().key_bytes(&words[2], samples);
    Ok(bytes.map_or(Reply::Null, Reply::count))
}

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

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn what_keys_take() {
        story(
            r#"
            > MEMORY USAGE a
            (nil)
            > SET a x
            OK
            > MEMORY USAGE a
            (integer) 79
            > SET a xxxxxxxxxxxxxxxxxxxxxxx
            OK
            > MEMORY USAGE a SAMPLES 0
            (integer) 111
            > PEXPIRE a 5
            (integer) 1
            > MEMORY USAGE a samples 7
            (integer) 159
            @ 6
            > MEMORY USAGE a
            (nil)
            > MEMORY USAGE a SAMPLES -1
            (error) ERR syntax error
            > MEMORY USAGE a SAMPLES x
            (error) ERR value is not an integer or out of range
            > MEMORY USAGE a SAMPLES
            (error) ERR syntax error
            > MEMORY USAGE
            (error) ERR wrong number of arguments for 'memory|usage' command
            "#,
        );
    }
}
