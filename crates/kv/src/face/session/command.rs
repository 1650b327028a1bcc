//! COMMAND and its subcommands.

use bytes::Bytes;

use super::{Handled, describe, help, key_flags, unhandled};
use crate::core::{
    acl,
    command::{Command, CommandError, Group, KeyPlaces, all, find},
    glob,
    reply::Reply,
};

/// `name` is the subcommand's; the number of words was checked.
pub(super) fn run_command(name: &str, words: &[Bytes]) -> Handled {
    let rest = &words[2..];
    let reply = match name {
        "count" => Reply::count(all().count()),
        "info" if rest.is_empty() => describe::all_commands(),
        "info" => Reply::Array(
            rest.iter()
                .map(|name| named(name).map_or(Reply::Null, describe::command))
                .collect(),
        ),
        "docs" if rest.is_empty() => Reply::Map(all().map(describe::docs).collect()),
        // Unknown names are left out, as Redis does.
        "docs" => Reply::Map(
            rest.iter()
                .filter_map(|name| named(name))
                .map(describe::docs)
                .collect(),
        ),
        "list" => list(rest)?,
        "getkeys" => Reply::Array(keys(rest)?.1),
        "getkeysandflags" => {
            let (command, keys) = keys(rest)?;
            let pair = |(nth, key)| Reply::Array(vec![key, key_flags::of(command, rest, nth)]);
            Reply::Array(keys.into_iter().enumerate().map(pair).collect())
        }
        "help" => help::of(help::COMMAND),
        _ => return Err(unhandled(name)),
    };
    Ok(reply.into())
}

/// The command of this name, which may be `container|name`.
fn named(name: &Bytes) -> Option<&'static Command> {
    let words: Vec<Bytes> = name
        .splitn(2, |byte| *byte == b'|')
        .map(|word| name.slice_ref(word))
        .collect();
    let found = find(&words)?;
    found
        .name
        .as_bytes()
        .eq_ignore_ascii_case(name)
        .then_some(found)
}

/// The keys in a call.
fn keys(call: &[Bytes]) -> Result<(&'static Command, Vec<Reply>), CommandError> {
    let command = find(call).ok_or(CommandError::Other("ERR Invalid command specified"))?;
    if matches!(command.keys, KeyPlaces::None) {
        return Err(CommandError::Other("ERR The command has no key arguments"));
    }
    if !command.takes(call.len()) {
        return Err(CommandError::Other(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let places = command.keys.of(call);
    // Scripts may do without keys.
    if places.is_empty() && command.group != Group::Scripting {
        return Err(CommandError::Other(
            "ERR Invalid arguments specified for command",
        ));
    }
    let keys = places
        .into_iter()
        .map(|place| Reply::Bulk(call[place].clone()))
        .collect();
    Ok((command, keys))
}

fn list(options: &[Bytes]) -> Result<Reply, CommandError> {
    let is = |word: &Bytes, name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let passes: Box<dyn Fn(&Command) -> bool> = match options {
        [] => Box::new(|_| true),
        [filter, by, what] if is(filter, "FILTERBY") => {
            let what = what.clone();
            match () {
                // There are no modules.
                () if is(by, "MODULE") => Box::new(|_| false),
                () if is(by, "ACLCAT") => Box::new(move |command| {
                    acl::categories_of(command)
                        .iter()
                        .any(|category| what.eq_ignore_ascii_case(category.as_bytes()))
                }),
                () if is(by, "PATTERN") => Box::new(move |command| {
                    glob::matches_ignoring_case(&what, command.name.as_bytes())
                }),
                () => return Err(CommandError::Syntax),
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    let names = all()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| passes(command))
        .map(|command| Reply::bulk(command.name));
    Ok(Reply::Array(names.collect()))
}
