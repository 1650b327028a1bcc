//! What commands there are.

use std::{collections::HashMap, ops::BitOr, sync::LazyLock};

use bytes::Bytes;

use super::{
    Context, Executed, acl, bits, cluster, databases, dump, fenced, geo, hashes, hyperloglog, keys,
    lists, scripting, server, session, sets, sorted_sets, streams, strings,
};

/// One command, as COMMAND tells of it.
#[derive(Debug)]
pub struct Command {
    /// Its name in lower case; a subcommand's is `container|name`.
    pub name: &'static str,
    /// Number of words with the name; at least so many, if negative.
    pub arity: i32,
    /// What kind of command it is.
    pub flags: Flags,
    /// Which words are keys.
    pub keys: KeyPlaces,
    /// The family it is documented with.
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// Does it. The number of words was checked.
    pub execute: fn(&mut Context<'_>, &[Bytes]) -> Executed,
    /// What its second word can be, for commands that are many.
    pub subcommands: &'static [Command],
}

/// Properties of a command; Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// None: of a command that only has subcommands.
    pub const NONE: Flags = Flags(0);
    /// Changes the keyspace.
    pub const WRITE: Flags = Flags(1);
    /// Only looks.
    pub const READONLY: Flags = Flags(1 << 1);
    /// May need more memory, so it is refused when there is none.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// Constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 3);
    /// May wait for another client.
    pub const BLOCKING: Flags = Flags(1 << 4);
    /// Not from scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    /// For operators.
    pub const ADMIN: Flags = Flags(1 << 6);
    /// Publish and subscribe.
    pub const PUBSUB: Flags = Flags(1 << 7);
    /// Allowed while data is loaded.
    pub const LOADING: Flags = Flags(1 << 8);
    /// Allowed on a replica with old data.
    pub const STALE: Flags = Flags(1 << 9);
    /// Allowed before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 10);
    /// Not inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 11);
    /// Key places depend on the words.
    pub const MOVABLEKEYS: Flags = Flags(1 << 12);
    /// Allowed while a script runs too long.
    pub const ALLOW_BUSY: Flags = Flags(1 << 13);
    /// Is about the connection that it came on, not about a keyspace. Our own word; the highest
    /// bit, so that Redis's have room.
    pub const SESSION: Flags = Flags(1 << 31);

    /// Whether all of these are set.
    pub const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both; a `BitOr` for tables that are constants.
    pub const fn and(self, flags: Flags) -> Flags {
        Flags(self.0 | flags.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, flags: Flags) -> Flags {
        self.and(flags)
    }
}

/// Which words of a command are keys. Place 0 is the name.
#[derive(Clone, Copy, Debug)]
pub enum KeyPlaces {
    /// None.
    None,
    /// From `first` to `last` (from the end, if negative) in steps.
    Range {
        /// The first key's place.
        first: usize,
        /// The last key's place; -1 is the last word.
        last: isize,
        /// 1, or 2 where keys and values alternate.
        step: usize,
    },
    /// The word at `count` says how many keys follow it; `also` is one more key's place.
    Counted {
        /// The place of the number of keys.
        count: usize,
        /// A further key (a destination), before the count.
        also: Option<usize>,
    },
    /// As the words say. Places that are returned exist.
    Custom(fn(&[Bytes]) -> Vec<usize>),
}

impl KeyPlaces {
    /// One key, right after the name.
    pub const ONE: KeyPlaces = KeyPlaces::Range {
        first: 1,
        last: 1,
        step: 1,
    };

    /// One key, after the name of a subcommand.
    pub const SECOND: KeyPlaces = KeyPlaces::Range {
        first: 2,
        last: 2,
        step: 1,
    };

    /// The keys' places in this command. A count that is no number, or more than there are
    /// words, gives no places: the command itself will refuse it.
    pub fn of(&self, words: &[Bytes]) -> Vec<usize> {
        match *self {
            KeyPlaces::None => Vec::new(),
            KeyPlaces::Range { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => last,
                    Err(_) => words.len().saturating_add_signed(last),
                };
                (first..=end.min(words.len().saturating_sub(1)))
                    .step_by(step)
                    .collect()
            }
            KeyPlaces::Counted { count, also } => {
                let number = words
                    .get(count)
                    .and_then(|word| super::args::integer(word).ok())
                    .and_then(|number| usize::try_from(number).ok())
                    .filter(|number| *number < words.len() - count);
                let counted = number.map(|number| count + 1..=count + number);
                also.filter(|place| *place < words.len())
                    .into_iter()
                    .chain(counted.into_iter().flatten())
                    .collect()
            }
            KeyPlaces::Custom(places) => places(words),
        }
    }
}

/// The family a command is documented with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Bits of strings.
    Bitmap,
    /// Keys of any type.
    Generic,
    /// Hashes.
    Hash,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Places on Earth, in sorted sets.
    Geo,
    /// HyperLogLog.
    HyperLogLog,
    /// Streams.
    Stream,
    /// MULTI and EXEC.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// Publish and subscribe.
    PubSub,
    /// Connections.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// As COMMAND DOCS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Bitmap => "bitmap",
            Group::Generic => "generic",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Geo => "geo",
            Group::HyperLogLog => "hyperloglog",
            Group::Stream => "stream",
            Group::Transactions => "transactions",
            Group::Scripting => "scripting",
            Group::PubSub => "pubsub",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }
}

/// Each family's commands.
const FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    bits::COMMANDS,
    keys::COMMANDS,
    databases::COMMANDS,
    hashes::COMMANDS,
    lists::COMMANDS,
    sets::COMMANDS,
    sorted_sets::COMMANDS,
    sorted_sets::ALGEBRA,
    geo::COMMANDS,
    dump::COMMANDS,
    fenced::COMMANDS,
    hyperloglog::COMMANDS,
    streams::COMMANDS,
    session::CONNECTION,
    session::TRANSACTIONS,
    session::PUB_SUB,
    session::CLUSTER,
    session::KEYSPACES,
    cluster::COMMANDS,
    session::SERVER,
    server::COMMANDS,
    acl::COMMANDS,
    session::GENERIC,
    scripting::COMMANDS,
];

/// The longest name of a command, in bytes.
const NAME_BYTES_MAX: usize = 32;

static BY_NAME: LazyLock<HashMap<&'static str, &'static Command>> =
    LazyLock::new(|| all().map(|command| (command.name, command)).collect());

/// Every command, family by family; subcommands are inside theirs.
pub fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten()
}

/// The command that these words call, by its name in any case; a container's subcommand if the
/// second word names one.
pub fn find(words: &[Bytes]) -> Option<&'static Command> {
    let mut buffer = [0; NAME_BYTES_MAX];
    let name = lower(words.first()?, &mut buffer)?;
    let command = *BY_NAME.get(name)?;
    let called = words.get(1).and_then(|second| {
        command.subcommands.iter().find(|subcommand| {
            let name = subcommand.name.rsplit('|').next().unwrap_or_default();
            second.eq_ignore_ascii_case(name.as_bytes())
        })
    });
    Some(called.unwrap_or(command))
}

fn lower<'a>(name: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a str> {
    let buffer = buffer.get_mut(..name.len())?;
    buffer.copy_from_slice(name);
    buffer.make_ascii_lowercase();
    std::str::from_utf8(buffer).ok()
}

impl Command {
    /// Runs the command, once the number of words is right.
    ///
    /// # Errors
    /// [`CommandError`](super::CommandError): the reply, and nothing was changed.
    pub fn run(&self, context: &mut Context<'_>, words: &[Bytes]) -> Executed {
        if !self.takes(words.len()) {
            return Err(super::CommandError::Arity(self.name));
        }
        (self.execute)(context, words)
    }

    /// Whether a call can have so many words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 {
            words >= arity
        } else {
            words == arity
        }
    }
}
