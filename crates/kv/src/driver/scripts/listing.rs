//! What FUNCTION LIST, FUNCTION STATS and HELP answer.

use bytes::Bytes;

use super::is;
use crate::core::{
    glob,
    machine::Running,
    reply::Reply,
    script::{Catalog, Function, Library},
};

/// Lines, each a status as in Redis.
pub(super) fn help(lines: &[&'static str]) -> Reply {
    Reply::Array(lines.iter().copied().map(Reply::Status).collect())
}

pub(super) const SCRIPT: &[&str] = &[
    "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "EXISTS <sha1> [<sha1> ...]",
    "    Tell which of these scripts this node knows.",
    "FLUSH [ASYNC|SYNC]",
    "    Have this node forget all scripts.",
    "KILL",
    "    End the scripts that run on this node; nothing of what they did is kept.",
    "LOAD <script>",
    "    Make a script known to this node, without running it.",
    "HELP",
    "    Print this help.",
];

pub(super) const FUNCTION: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Add a library, for all nodes.",
    "DELETE <LIBRARY NAME>",
    "    Remove a library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    List libraries, those of a name or all, with their text if that is wanted.",
    "STATS",
    "    Tell about the function that runs on this node, and count functions.",
    "KILL",
    "    End the functions that run on this node; nothing of what they did is kept.",
    "FLUSH [ASYNC|SYNC]",
    "    Remove all libraries.",
    "DUMP",
    "    Return all libraries as one string, which RESTORE takes.",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Add the libraries of a dump: in the place of all (FLUSH), to those that are there",
    "    (APPEND, the default), or in the place of those of the same names (REPLACE).",
    "HELP",
    "    Print this help.",
];

/// What FUNCTION LIST answers.
pub(super) fn list(catalog: &Catalog, options: &[Bytes]) -> Result<Reply, String> {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        if is(option, "withcode") && !with_code {
            with_code = true;
        } else if is(option, "libraryname") && pattern.is_none() {
            pattern = Some(
                options
                    .next()
                    .ok_or("ERR library name argument was not given")?,
            );
        } else {
            let text = String::from_utf8_lossy(option);
            return Err(format!("ERR Unknown argument {text}"));
        }
    }
    let is_meant = |library: &&Library| {
        pattern.is_none_or(|pattern| {
            glob::matches(
                &pattern.to_ascii_lowercase(),
                &library.name.to_ascii_lowercase(),
            )
        })
    };
    let libraries = catalog.libraries().iter().filter(is_meant);
    Ok(Reply::Array(
        libraries.map(|it| one(it, with_code)).collect(),
    ))
}

fn one(library: &Library, with_code: bool) -> Reply {
    let mut facts = vec![
        (
            Reply::bulk("library_name"),
            Reply::Bulk(library.name.clone()),
        ),
        (Reply::bulk("engine"), Reply::bulk("LUA")),
        (
            Reply::bulk("functions"),
            Reply::Array(library.functions.iter().map(function).collect()),
        ),
    ];
    if with_code {
        let code = Reply::Bulk(library.code.clone());
        facts.push((Reply::bulk("library_code"), code));
    }
    Reply::Map(facts)
}

fn function(function: &Function) -> Reply {
    let flags = function.flags.iter().map(|flag| Reply::Status(flag.name()));
    Reply::Map(vec![
        (Reply::bulk("name"), Reply::Bulk(function.name.clone())),
        (
            Reply::bulk("description"),
            Reply::optional(function.description.as_ref()),
        ),
        (Reply::bulk("flags"), Reply::Set(flags.collect())),
    ])
}

/// What FUNCTION STATS answers.
pub(super) fn stats(catalog: &Catalog, running: Option<(Running, u64)>) -> Reply {
    let running = match running {
        None => Reply::Null,
        Some((running, passed_ms)) => Reply::Map(vec![
            (
                Reply::bulk("name"),
                Reply::optional(running.function.as_ref()),
            ),
            (
                Reply::bulk("command"),
                Reply::Array(running.command.into_iter().map(Reply::Bulk).collect()),
            ),
            (
                Reply::bulk("duration_ms"),
                Reply::Integer(i64::try_from(passed_ms).unwrap_or(i64::MAX)),
            ),
        ]),
    };
    let functions = catalog.libraries().iter().map(|it| it.functions.len());
    let counts = Reply::Map(vec![
        (
            Reply::bulk("libraries_count"),
            Reply::count(catalog.libraries().len()),
        ),
        (
            Reply::bulk("functions_count"),
            Reply::count(functions.sum()),
        ),
    ]);
    Reply::Map(vec![
        (Reply::bulk("running_script"), running),
        (
            Reply::bulk("engines"),
            Reply::Map(vec![(Reply::bulk("LUA"), counts)]),
        ),
    ])
}
