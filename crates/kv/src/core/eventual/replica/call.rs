//! Which commands there are in an eventual keyspace, and what is said of the others.

use bytes::Bytes;

use super::{Delta, Replica, collections, keys, strings};
use crate::core::{
    command::{Command, CommandError, Executed, Flags, Group, args, find},
    data::Milliseconds,
    eventual::{
        Author,
        clock::Stamp,
        item::{Item, Kind, Live},
    },
    reply::Reply,
};

/// A command with more than this, in bytes, is refused: what it changes has to fit into a message.
pub const COMMAND_BYTES_MAX: usize = 2 << 20;
/// The longest key, in bytes: many of them have to fit into one record when they end together.
pub(super) const KEY_BYTES_MAX: usize = 64 << 10;
/// Each of its words counts for so many bytes more, which are its stamp's and its lengths'.
const WORD_BYTES: usize = 16;

/// A command that was executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// What it answers.
    pub reply: Reply,
    /// What it changed: for the other replicas. It was joined here.
    pub delta: Delta,
}

/// A command while it runs.
pub(super) struct Call<'a> {
    replica: &'a mut Replica,
    /// What it writes has this stamp.
    stamp: Stamp,
    now_ms: Milliseconds,
    delta: Delta,
}

impl Call<'_> {
    /// The time by which keys end.
    pub(super) fn moment_ms(&self) -> Milliseconds {
        self.replica.clock.moment_ms(self.now_ms)
    }

    /// The replica's part of a counter may go on by itself.
    pub(super) fn author(&self) -> Author {
        self.replica.author()
    }

    /// What is seen of a key.
    pub(super) fn live(&self, key: &[u8]) -> Live<'_> {
        self.replica.live(key, self.now_ms)
    }

    /// What is seen of a key that is there as this type, or not there at all.
    pub(super) fn live_as(&self, key: &[u8], kind: Kind) -> Result<Live<'_>, CommandError> {
        let live = self.live(key);
        match live.kind() {
            Some(other) if other != kind => Err(CommandError::WrongType),
            _ => Ok(live),
        }
    }

    /// Whether a key is there.
    pub(super) fn is_there(&self, key: &[u8]) -> bool {
        self.live(key).kind().is_some()
    }

    /// Writes to a key: what is written into an empty item with this command's stamp.
    pub(super) fn write(&mut self, key: &Bytes, write: impl FnOnce(&mut Item, Stamp)) {
        let mut item = Item::default();
        if let Some(end) = self.live(key).end() {
            item.cut_at(end, None, self.stamp);
        }
        write(&mut item, self.stamp);
        self.replica.join(key, &item, Stamp::ZERO);
        self.delta.push((key.into(), item));
    }

    /// Removes a key, and all that was written to it up to now.
    pub(super) fn erase(&mut self, key: &Bytes) {
        self.write(key, |item, stamp| item.cut_at(stamp, None, stamp));
    }
}

type Execute = fn(&mut Call<'_>, &[Bytes]) -> Executed;

/// The commands that there are.
pub const COMMANDS: &[&str] = &[
    "decr",
    "decrby",
    "del",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hkeys",
    "hlen",
    "hmget",
    "hmset",
    "hset",
    "hstrlen",
    "hvals",
    "incr",
    "incrby",
    "mget",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "psetex",
    "pttl",
    "sadd",
    "scard",
    "set",
    "setex",
    "sismember",
    "smembers",
    "smismember",
    "srem",
    "strlen",
    "ttl",
    "type",
    "unlink",
];

fn executor(name: &str) -> Option<Execute> {
    Some(match name {
        "decr" => strings::decr,
        "decrby" => strings::decrby,
        "del" | "unlink" => keys::del,
        "exists" => keys::exists,
        "expire" => keys::expire,
        "expireat" => keys::expireat,
        "expiretime" => keys::expiretime,
        "get" => strings::get,
        "hdel" => collections::hdel,
        "hexists" => collections::hexists,
        "hget" => collections::hget,
        "hgetall" => collections::hgetall,
        "hkeys" => collections::hkeys,
        "hlen" => collections::hlen,
        "hmget" => collections::hmget,
        "hmset" => collections::hmset,
        "hset" => collections::hset,
        "hstrlen" => collections::hstrlen,
        "hvals" => collections::hvals,
        "incr" => strings::incr,
        "incrby" => strings::incrby,
        "mget" => strings::mget,
        "persist" => keys::persist,
        "pexpire" => keys::pexpire,
        "pexpireat" => keys::pexpireat,
        "pexpiretime" => keys::pexpiretime,
        "psetex" => strings::psetex,
        "pttl" => keys::pttl,
        "sadd" => collections::sadd,
        "scard" => collections::scard,
        "set" => strings::set,
        "setex" => strings::setex,
        "sismember" => collections::sismember,
        "smembers" => collections::smembers,
        "smismember" => collections::smismember,
        "srem" => collections::srem,
        "strlen" => strings::strlen,
        "ttl" => keys::ttl,
        "type" => keys::type_of,
        _ => return None,
    })
}

/// The command that the words call, and what does it.
fn called(words: &[Bytes]) -> Result<(&'static Command, Execute), CommandError> {
    let Some(command) = find(words) else {
        return Err(CommandError::Text(instead("this command", LINEARIZABLE)));
    };
    if !command.takes(words.len()) {
        return Err(CommandError::Arity(command.name));
    }
    let Some(execute) = executor(command.name) else {
        let name = command.name.replace('|', " ").to_ascii_uppercase();
        let advice = advice(command.name, command.group);
        return Err(CommandError::Text(instead(&name, advice)));
    };
    let bytes: usize = words.iter().map(|word| word.len() + WORD_BYTES).sum();
    if bytes > COMMAND_BYTES_MAX {
        return Err(CommandError::Text(format!(
            "ERR a command in an eventual keyspace has at most {COMMAND_BYTES_MAX} bytes, not {bytes}"
        )));
    }
    let places = command.keys.of(words);
    let mut keys = places.iter().filter_map(|place| words.get(*place));
    if keys.any(|key| key.len() > KEY_BYTES_MAX) {
        return Err(CommandError::Text(format!(
            "ERR a key of an eventual keyspace has at most {KEY_BYTES_MAX} bytes"
        )));
    }
    Ok((command, execute))
}

/// The command that the words call, if eventual keyspaces have it.
///
/// # Errors
/// The reply; those that they don't have are refused with a word on what to use.
pub fn check(words: &[Bytes]) -> Result<&'static Command, CommandError> {
    called(words).map(|(command, _)| command)
}

impl Replica {
    /// Does a command: answers from what is here, and changes it. The keys are of this partition.
    ///
    /// # Errors
    /// The reply; nothing was changed. [`check`] tells some of them before.
    pub fn execute(&mut self, words: &[Bytes], now_ms: Milliseconds) -> Result<Done, CommandError> {
        let (command, execute) = called(words)?;
        // A write is stamped before it looks, so that it looks by a time not before its stamp.
        let stamp = match command.flags.has(Flags::WRITE) {
            true => self.clock.stamp(now_ms),
            false => Stamp::ZERO,
        };
        let mut call = Call {
            replica: self,
            stamp,
            now_ms,
            delta: Delta::new(),
        };
        let reply = execute(&mut call, words)?;
        let delta = call.delta;
        Ok(Done { reply, delta })
    }
}

const LINEARIZABLE: &str = "use a linearizable keyspace";
const CONDITION: &str = "what depends on what is there is decided in a linearizable keyspace; here, write without a condition";
const ALL_AT_ONCE: &str =
    "write each key by itself, or use a linearizable keyspace for all or nothing";

/// What to use in the place of a command.
fn advice(name: &str, group: Group) -> &'static str {
    match name {
        "setnx" | "getset" | "getdel" | "getex" | "hsetnx" => CONDITION,
        "mset" | "msetnx" | "smove" | "rename" | "renamenx" | "copy" | "move" => ALL_AT_ONCE,
        "append" | "setrange" => "use SET with the whole string",
        "incrbyfloat" => "count in a smaller unit with INCRBY",
        "hincrby" | "hincrbyfloat" => "use INCRBY on a key of its own, which counts on every side",
        "spop" => "use SMEMBERS and SREM",
        _ => match group {
            Group::List | Group::Stream => {
                "their order is kept in a linearizable keyspace; here, use a set or a hash"
            }
            Group::SortedSet | Group::Geo => "use a hash here, or a linearizable keyspace",
            Group::Transactions | Group::Scripting => {
                "use a linearizable keyspace for transactions and scripts"
            }
            _ => LINEARIZABLE,
        },
    }
}

/// The refusal of what eventual keyspaces don't have.
pub(super) fn instead(what: &str, advice: &str) -> String {
    format!("ERR {what} is not available in an eventual keyspace: {advice}")
}

/// The refusal of an option.
pub(super) fn without(option: &str) -> CommandError {
    CommandError::Text(instead(option, CONDITION))
}

/// Whether the word is one of these options, in any case.
pub(super) fn one_of(word: &[u8], options: &[&'static str]) -> Option<&'static str> {
    options
        .iter()
        .copied()
        .find(|option| args::is(word, option))
}
