//! Categories of commands (Redis: "ACL", "Command categories").

use std::{collections::HashMap, sync::LazyLock};

use crate::core::command::{Command, Flags, Group};

/// A set of categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

/// In the order in which Redis tells them, each with the mark that tells it from a command.
const NAMES: [&str; 21] = [
    "@keyspace",
    "@read",
    "@write",
    "@set",
    "@sortedset",
    "@list",
    "@hash",
    "@string",
    "@bitmap",
    "@hyperloglog",
    "@geo",
    "@stream",
    "@pubsub",
    "@admin",
    "@fast",
    "@slow",
    "@blocking",
    "@dangerous",
    "@connection",
    "@transaction",
    "@scripting",
];

/// Commands of a category that follows neither from their flags nor from their name.
const MEMBERS: &[(&str, &str)] = &[
    (
        "keyspace",
        "copy dbsize del dump exists expire expireat expiretime flushall flushdb keys migrate move \
         object|encoding object|freq object|help object|idletime object|refcount persist pexpire \
         pexpireat pexpiretime pttl randomkey rename renamenx restore restore-asking scan swapdb \
         touch ttl type unlink",
    ),
    (
        "connection",
        "asking auth client|caching client|getname client|getredir client|help client|id \
         client|info client|kill client|list client|no-evict client|no-touch client|pause \
         client|reply client|setinfo client|setname client|tracking client|trackinginfo \
         client|unblock client|unpause command command|count command|docs command|getkeys \
         command|getkeysandflags command|help command|info command|list echo hello ping quit \
         readonly readwrite reset select wait waitaof",
    ),
    (
        "dangerous",
        "flushall flushdb info keys lastsave migrate restore restore-asking role sort sort_ro \
         swapdb",
    ),
    ("admin", "lastsave role"),
    ("set", "sort sort_ro"),
    ("sortedset", "sort sort_ro"),
    ("list", "sort sort_ro"),
];

/// What [`MEMBERS`] says, by command.
static NAMED: LazyLock<HashMap<&'static str, Categories>> = LazyLock::new(|| {
    let mut named: HashMap<&str, Categories> = HashMap::new();
    for (category, commands) in MEMBERS {
        let category = Categories::parse(category.as_bytes()).unwrap_or_default();
        for command in commands.split(' ') {
            let categories = named.entry(command).or_default();
            *categories = categories.and(category);
        }
    }
    named
});

impl Categories {
    /// Every category's name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().map(plain)
    }

    /// The one of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Categories> {
        let place = NAMES
            .iter()
            .position(|known| name.eq_ignore_ascii_case(plain(known).as_bytes()))?;
        Some(Categories(1 << place))
    }

    /// The names of these.
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        self.marked().map(plain)
    }

    /// Their names, each with its mark, as COMMAND INFO tells them.
    pub fn marked(self) -> impl Iterator<Item = &'static str> {
        let places = NAMES.into_iter().enumerate();
        places.filter_map(move |(place, name)| (self.0 & (1 << place) != 0).then_some(name))
    }

    /// Whether one of the others is among these.
    pub fn meets(self, others: Categories) -> bool {
        self.0 & others.0 != 0
    }

    fn and(self, others: Categories) -> Categories {
        Categories(self.0 | others.0)
    }
}

/// A name without its mark.
fn plain(name: &'static str) -> &'static str {
    name.strip_prefix('@').unwrap_or(name)
}

/// The category of a family's data type. Containers have none, their subcommands do.
fn of_family(command: &Command) -> Option<&'static str> {
    if !command.subcommands.is_empty() {
        return None;
    }
    match command.group {
        Group::String => Some("string"),
        Group::Bitmap => Some("bitmap"),
        Group::Hash => Some("hash"),
        Group::List => Some("list"),
        Group::Set => Some("set"),
        Group::SortedSet => Some("sortedset"),
        Group::Geo => Some("geo"),
        Group::HyperLogLog => Some("hyperloglog"),
        Group::Stream => Some("stream"),
        Group::Transactions => Some("transaction"),
        Group::Scripting => Some("scripting"),
        Group::Generic | Group::PubSub | Group::Connection | Group::Server | Group::Cluster => None,
    }
}

/// The categories of a command.
pub fn categories_of(command: &Command) -> Categories {
    let has = |flag| command.flags.has(flag);
    let named = NAMED.get(command.name).copied().unwrap_or_default();
    let follows = [
        ("write", has(Flags::WRITE)),
        // Scripts that only read still run whatever they like.
        (
            "read",
            has(Flags::READONLY) && command.group != Group::Scripting,
        ),
        ("admin", has(Flags::ADMIN)),
        ("dangerous", has(Flags::ADMIN)),
        ("pubsub", has(Flags::PUBSUB)),
        ("blocking", has(Flags::BLOCKING)),
        ("fast", has(Flags::FAST)),
        ("slow", !has(Flags::FAST)),
    ];
    follows
        .into_iter()
        .filter_map(|(name, belongs)| belongs.then_some(name))
        .chain(of_family(command))
        .filter_map(|name| Categories::parse(name.as_bytes()))
        .fold(named, Categories::and)
}
