//! What scripts call: whether it is run, and what is run otherwise than for clients.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Called, Extent, Run, error, too_large};
use crate::{
    api::Publication,
    core::{
        command::{self, Command, Flags, Group, wait_of},
        data::{DATABASES, parse_integer},
        machine::{OPERATION_BYTES_MAX, OUT_OF_MEMORY, transactions::names_databases},
        reply::Reply,
        route::{self, Plan},
        script::Host,
    },
};

/// What scripts that only read are told.
const WRITES: &str = "ERR Write commands are not allowed from read-only scripts.";

/// Commands that wait, and so are none for scripts; those of streams may come without waiting.
fn would_wait(command: &Command, words: &[Bytes]) -> Option<Reply> {
    if !command.flags.has(Flags::BLOCKING) {
        return None;
    }
    if !["xread", "xreadgroup"].contains(&command.name) {
        return Some(error(NOT_FROM_SCRIPT));
    }
    match wait_of(command, words) {
        Ok(Some(_)) => Some(Reply::Error(Bytes::from(format!(
            "ERR {} command is not allowed with BLOCK option from scripts",
            command.name
        )))),
        // What is wrong with it the command says.
        Ok(None) | Err(_) => None,
    }
}

/// What scripts are told that want all keys.
const ALL_KEYS: &str =
    "ERR This Redis command goes over all keys, of which a script sees one partition";

/// What scripts over several partitions are told of other keys.
const UNDECLARED: &str = "ERR Script attempted to access a key that it did not declare; one whose \
                          keys are in several partitions sees those only, in the database that \
                          it began in";

const NOT_FROM_SCRIPT: &str = "ERR This Redis command is not allowed from script";

impl Host for Run<'_> {
    fn call(&mut self, words: Vec<Bytes>) -> Reply {
        let command = command::find(&words);
        let surroundings = self.home.map(|home| &home.surroundings);
        if let Some(surroundings) = surroundings {
            surroundings.calls(self.database, &words);
        }
        let (is_run, reply) = match self.refusal(command, &words) {
            Ok(command) => (true, self.admitted(command, words)),
            Err(refusal) => (false, refusal),
        };
        let end = match (&reply, is_run) {
            (Reply::Error(text), true) => Called::Failed(text),
            (Reply::Error(text), false) => Called::Rejected(text),
            _ => Called::Done,
        };
        if let Some(surroundings) = surroundings {
            surroundings.called(command, end);
        }
        if let Reply::Error(text) = &reply {
            self.failed = Some(text.clone());
        }
        reply
    }
}

impl Run<'_> {
    /// The command, or why it is not run.
    fn refusal(
        &mut self,
        command: Option<&'static Command>,
        words: &[Bytes],
    ) -> Result<&'static Command, Reply> {
        let command =
            command.ok_or_else(|| error("ERR Unknown Redis command called from script"))?;
        match self.refuses(command, words) {
            Some(refusal) => Err(refusal),
            None => Ok(command),
        }
    }

    fn refuses(&self, command: &Command, words: &[Bytes]) -> Option<Reply> {
        if !command.takes(words.len()) {
            return Some(error(
                "ERR Wrong number of args calling Redis command from script",
            ));
        }
        if command.flags.has(Flags::NOSCRIPT) || command.group == Group::Scripting {
            return Some(error(NOT_FROM_SCRIPT));
        }
        if let Some(caller) = &self.caller
            && let Err(text) = caller.check(command, words)
        {
            return Some(Reply::Error(Bytes::from(text)));
        }
        if let Some(refusal) = would_wait(command, words) {
            return Some(refusal);
        }
        // What reads is not published twice, and so not at all.
        let publishes = matches!(command.name, "publish" | "spublish");
        if self.reads && (publishes || command.flags.has(Flags::WRITE)) {
            return Some(error(WRITES));
        }
        if self.is_limited && command.flags.has(Flags::DENYOOM) {
            return Some(error(OUT_OF_MEMORY));
        }
        if self.bytes > OPERATION_BYTES_MAX {
            return Some(too_large(self.bytes));
        }
        self.check_place(command, words).err()
    }

    fn admitted(&mut self, command: &'static Command, words: Vec<Bytes>) -> Reply {
        if let Some(reply) = self.execute_here(command, &words) {
            return reply;
        }
        self.facts.has_read |= command.flags.has(Flags::READONLY);
        self.execute(command, words)
    }

    /// What only scripts call, or mean otherwise.
    fn execute_here(&mut self, command: &Command, words: &[Bytes]) -> Option<Reply> {
        match command.name {
            "select" => {
                let chosen = parse_integer(&words[1]).and_then(|it| usize::try_from(it).ok());
                Some(match chosen.filter(|index| *index < DATABASES) {
                    Some(index) => {
                        self.database = index;
                        Reply::OK
                    }
                    None if parse_integer(&words[1]).is_none() => {
                        error("ERR value is not an integer or out of range")
                    }
                    None => error("ERR DB index is out of range"),
                })
            }
            "time" => {
                let (seconds, ms) = (self.at.now_ms / 1_000, self.at.now_ms % 1_000);
                Some(Reply::Array(vec![
                    Reply::bulk(seconds.to_string()),
                    Reply::bulk((ms * 1_000).to_string()),
                ]))
            }
            "publish" | "spublish" => {
                let publication = Publication {
                    channel: words[1].clone(),
                    message: words[2].clone(),
                    sharded: command.name == "spublish",
                };
                let hearing = self
                    .home
                    .map_or(0, |home| home.surroundings.hearing(&publication));
                self.bytes += words[1].len() + words[2].len() + 2 * size_of::<usize>();
                self.publications.push(publication);
                Some(Reply::count(hearing))
            }
            _ => None,
        }
    }

    /// Whether everything that these words touch is here.
    fn check_place(&self, command: &Command, words: &[Bytes]) -> Result<(), Reply> {
        let Some(home) = self.home else {
            return Ok(());
        };
        let (id, partitions) = match &home.extent {
            Extent::Partition { id, partitions } => (*id, *partitions),
            Extent::Keys(keys) => return self.check_keys(command, words, keys),
        };
        let of_key = |key: &[u8]| partitions.of_key(key);
        match route::plan(command, words, partitions.count(), of_key) {
            Ok(Plan::One(partition)) if partition == id => Ok(()),
            Ok(Plan::Anywhere) => Ok(()),
            Ok(Plan::Every(_) | Plan::Search | Plan::Scan(_)) => Err(error(ALL_KEYS)),
            Ok(Plan::One(_) | Plan::Parts(..) | Plan::Atomic(_)) => Err(error(
                "ERR Script attempted to access a non local key in a cluster node",
            )),
            Err(error) => Err(Reply::Error(Bytes::from(error.to_string()))),
        }
    }

    /// Whether these words touch keys only that were brought.
    fn check_keys(
        &self,
        command: &Command,
        words: &[Bytes],
        brought: &BTreeSet<(usize, Bytes)>,
    ) -> Result<(), Reply> {
        let places = route::reach(command, words).ok_or_else(|| error(ALL_KEYS))?;
        let mut keys = places.iter().filter_map(|place| words.get(*place));
        let is_brought = keys.all(|key| brought.contains(&(self.database, key.clone())));
        // A database that it names would be another one, most of the time.
        match is_brought && !names_databases(command) {
            true => Ok(()),
            false => Err(error(UNDECLARED)),
        }
    }
}
