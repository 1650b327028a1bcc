//! What COMMAND and COMMAND DOCS tell of a command, from the table.

use super::{key_flags, tips};
use crate::core::{
    acl,
    command::{Command, Flags, KeyPlaces, all},
    reply::Reply,
    route,
};

/// What COMMAND answers.
pub(super) fn all_commands() -> Reply {
    Reply::Array(all().map(command).collect())
}

/// One command: name, number of words, flags, places of keys, categories, tips, places of keys
/// in detail, subcommands.
pub(super) fn command(command: &'static Command) -> Reply {
    let (first, last, step) = range(command);
    Reply::Array(vec![
        Reply::bulk(command.name),
        Reply::Integer(i64::from(command.arity)),
        Reply::Set(flags(command).into_iter().map(Reply::Status).collect()),
        Reply::count(first),
        Reply::Integer(last),
        Reply::count(step),
        Reply::Set(
            acl::categories_of(command)
                .marked()
                .map(Reply::Status)
                .collect(),
        ),
        Reply::Set(tips::of(command).iter().map(Reply::bulk).collect()),
        Reply::Set(key_specifications(command)),
        if command.subcommands.is_empty() {
            Reply::Set(Vec::new())
        } else {
            Reply::Array(command.subcommands.iter().map(self::command).collect())
        },
    ])
}

/// A command's name and what it is for.
pub(super) fn docs(command: &'static Command) -> (Reply, Reply) {
    let mut summary = command.summary.to_owned();
    if let Some(promise) = route::promise(command) {
        summary.push(' ');
        summary.push_str(promise);
    }
    let mut facts = vec![
        (Reply::bulk("summary"), Reply::bulk(summary)),
        (Reply::bulk("since"), Reply::bulk(command.since)),
        (Reply::bulk("group"), Reply::bulk(command.group.name())),
        (Reply::bulk("complexity"), Reply::bulk(command.complexity)),
    ];
    if !command.subcommands.is_empty() {
        let subcommands = command.subcommands.iter().map(docs).collect();
        facts.push((Reply::bulk("subcommands"), Reply::Map(subcommands)));
    }
    (Reply::bulk(command.name), Reply::Map(facts))
}

fn flags(command: &Command) -> Vec<&'static str> {
    let all = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
    let mut flags: Vec<&str> = all
        .into_iter()
        .filter(|(flag, _)| command.flags.has(*flag))
        .map(|(_, name)| name)
        .collect();
    if is_movable(command) {
        flags.push("movablekeys");
    }
    flags
}

/// Whether only the words say where keys are.
fn is_movable(command: &Command) -> bool {
    command.flags.has(Flags::MOVABLEKEYS)
        || matches!(
            command.keys,
            KeyPlaces::Counted { .. } | KeyPlaces::Custom(_)
        )
}

/// First and last place of keys, and the step, as far as three numbers can tell.
fn range(command: &Command) -> (usize, i64, usize) {
    match command.name {
        // Shard channels are no keys, but they have slots, too, by which clients find nodes.
        "spublish" => return (1, 1, 1),
        "ssubscribe" | "sunsubscribe" => return (1, -1, 1),
        // The first key is where it always is; only those after it move.
        "sort" | "georadius" | "georadiusbymember" => return (1, 1, 1),
        _ => {}
    }
    match command.keys {
        KeyPlaces::Range { first, last, step } => {
            (first, i64::try_from(last).unwrap_or(i64::MAX), step)
        }
        KeyPlaces::Counted {
            also: Some(also), ..
        } => (also, i64::try_from(also).unwrap_or(i64::MAX), 1),
        KeyPlaces::None | KeyPlaces::Counted { also: None, .. } | KeyPlaces::Custom(_) => (0, 0, 0),
    }
}

fn key_specifications(command: &Command) -> Vec<Reply> {
    let index = |place: usize| {
        let spec = vec![(Reply::bulk("index"), Reply::count(place))];
        typed("index", spec)
    };
    let range = |last: i64, step: usize| {
        let spec = vec![
            (Reply::bulk("lastkey"), Reply::Integer(last)),
            (Reply::bulk("keystep"), Reply::count(step)),
            (Reply::bulk("limit"), Reply::Integer(0)),
        ];
        typed("range", spec)
    };
    let specification = |nth: usize, begin: Reply, find: Reply| {
        Reply::Map(vec![
            (Reply::bulk("flags"), key_flags::of(command, &[], nth)),
            (Reply::bulk("begin_search"), begin),
            (Reply::bulk("find_keys"), find),
        ])
    };
    match command.keys {
        KeyPlaces::None => Vec::new(),
        KeyPlaces::Range { first, last, step } => {
            let last = i64::try_from(last).unwrap_or(i64::MAX);
            // Counted from the first key, unless from the end.
            let last = if last < 0 {
                last
            } else {
                last - i64::try_from(first).unwrap_or(0)
            };
            vec![specification(0, index(first), range(last, step))]
        }
        KeyPlaces::Counted { count, also } => {
            let counted = vec![
                (Reply::bulk("keynumidx"), Reply::Integer(0)),
                (Reply::bulk("firstkey"), Reply::Integer(1)),
                (Reply::bulk("keystep"), Reply::Integer(1)),
            ];
            also.map(|also| specification(0, index(also), range(0, 1)))
                .into_iter()
                .chain([specification(1, index(count), typed("keynum", counted))])
                .collect()
        }
        KeyPlaces::Custom(_) => vec![specification(
            0,
            typed("unknown", Vec::new()),
            typed("unknown", Vec::new()),
        )],
    }
}

fn typed(name: &str, spec: Vec<(Reply, Reply)>) -> Reply {
    Reply::Map(vec![
        (Reply::bulk("type"), Reply::bulk(name)),
        (Reply::bulk("spec"), Reply::Map(spec)),
    ])
}
