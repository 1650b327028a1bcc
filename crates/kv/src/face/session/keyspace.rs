//! Keyspaces: which one is chosen, what eventual ones don't have, and what
//! ATOLL.KEYSPACE and ATOLL.CONSISTENCY say.

use bytes::Bytes;

use super::{
    Handled, Outcome, Session,
    ask::{Ask, Finish},
    connection::database_index,
    unhandled,
};
use crate::{
    api::{Body, Call, EventualCall},
    core::{
        command::{Command, CommandError, Flags, Group},
        data::parse_integer,
        eventual::{quorum::Level, replica},
        keyspaces::{Keyspace, KeyspaceNumber},
        reply::Reply,
    },
};

/// An eventual keyspace, and the levels that it was created with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    number: KeyspaceNumber,
    write: Level,
    read: Level,
}

/// What ATOLL.CONSISTENCY said; none is what a keyspace was created with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Levels {
    write: Option<Level>,
    read: Option<Level>,
}

const NOT_HERE: CommandError = CommandError::Other(
    "ERR MULTI and WATCH are not available in an eventual keyspace: use a linearizable keyspace for transactions and scripts",
);
const NOT_TRACKED: CommandError = CommandError::Other(
    "ERR CLIENT TRACKING is not available in an eventual keyspace: nobody is told of what changes there",
);
const NOT_COUNTED: CommandError = CommandError::Other(
    "ERR WAIT is not available in an eventual keyspace: say ATOLL.CONSISTENCY WRITE QUORUM or ALL before what is to be waited for",
);
const NOT_BY_NAME: CommandError =
    CommandError::Other("ERR inside a transaction a keyspace is chosen by its number");
const NOT_IN_MULTI: CommandError =
    CommandError::Other("ERR a transaction can't go to an eventual keyspace");

impl Session {
    /// The keyspace that SELECT names, if it is one that has a name.
    fn named(&self, word: &[u8]) -> Option<Keyspace> {
        let keyspaces = self.condition.keyspaces();
        let found = match parse_integer(word) {
            Some(number) => {
                let number = u32::try_from(number).ok().map(KeyspaceNumber);
                number.and_then(|number| keyspaces.numbered(number))
            }
            None => keyspaces.named(word),
        };
        found.cloned()
    }

    /// SELECT, by number or by name. On a cluster's listener only eventual keyspaces can be
    /// chosen, and by name: Redis's clients there know of one database, and send commands by
    /// their slots to nodes that would not know of another; any node takes those of an eventual
    /// one.
    pub(super) fn select(&mut self, words: &[Bytes]) -> Handled {
        let word = &words[1];
        let is_number = parse_integer(word).is_some();
        let found = self.named(word);
        let eventual = found
            .as_ref()
            .and_then(|it| Some((it.number, it.eventual()?)));
        let chosen = eventual.map(|(number, eventual)| Chosen {
            number,
            write: eventual.write,
            read: eventual.read,
        });
        if let Some(chosen) = chosen.filter(|_| !(self.settings.cluster && is_number)) {
            if self.tracking.is_some() {
                return Err(NOT_TRACKED);
            }
            if self.watched.len() > 0 {
                return Err(NOT_HERE);
            }
            self.database = chosen.number.0 as usize;
            self.keyspace = Some(chosen);
            return Ok(Reply::OK.into());
        }
        let database = match found {
            Some(keyspace) if !is_number && !self.settings.cluster => keyspace.number.0 as usize,
            _ => database_index(words, self.settings.cluster)?,
        };
        self.database = database;
        self.keyspace = None;
        Ok(Reply::OK.into())
    }

    /// Whether a transaction may have this SELECT. It knows databases by their numbers.
    pub(super) fn check_select(&self, words: &[Bytes]) -> Result<(), CommandError> {
        match self.named(&words[1]) {
            Some(found) if found.eventual().is_some() => Err(NOT_IN_MULTI),
            Some(_) if parse_integer(&words[1]).is_none() => Err(NOT_BY_NAME),
            _ => Ok(()),
        }
    }

    /// What a SELECT that was queued answers, if it chooses nothing: what follows it is asked of
    /// the database before, whatever keyspace comes to be meanwhile.
    ///
    /// # Errors
    /// The keyspace has come to be since it was queued, and the transaction can't go there.
    pub(super) fn recheck_select(
        &self,
        words: &[Bytes],
    ) -> Result<Option<&'static str>, CommandError> {
        if let Err(error) = self.check_select(words) {
            return Err(CommandError::Text(format!(
                "EXECABORT Transaction discarded because of: {error}"
            )));
        }
        match database_index(words, self.settings.cluster) {
            Ok(_) => Ok(None),
            Err(CommandError::Other(text)) => Ok(Some(text)),
            Err(_) => Ok(Some("ERR value is not an integer or out of range")),
        }
    }

    /// Refuses what eventual keyspaces don't have.
    pub(super) fn check_keyspace(
        &self,
        command: &Command,
        words: &[Bytes],
    ) -> Result<(), CommandError> {
        if command.name == "select" && self.queue.is_some() {
            return self.check_select(words);
        }
        if self.keyspace.is_none() {
            return Ok(());
        }
        match command.name {
            "multi" | "watch" => Err(NOT_HERE),
            "client|tracking" => Err(NOT_TRACKED),
            "wait" | "waitaof" => Err(NOT_COUNTED),
            _ if command.flags.has(Flags::SESSION) && command.group != Group::Scripting => Ok(()),
            _ => replica::check(words).map(|_| ()),
        }
    }

    /// Has a command done in the eventual keyspace that is chosen.
    pub(super) fn ask_eventual(&mut self, chosen: Chosen, call: Call) -> Outcome {
        let body = Body::Eventual(EventualCall {
            keyspace: chosen.number,
            write: self.levels.write.unwrap_or(chosen.write),
            read: self.levels.read.unwrap_or(chosen.read),
            call,
        });
        Outcome::Ask {
            ask: Ask::Api(self.request(body)),
            finish: Finish::Reply,
            waits: false,
        }
    }

    /// ATOLL.CONSISTENCY.
    pub(super) fn consistency(&mut self, words: &[Bytes]) -> Handled {
        if words.is_empty() {
            let told = |level: Option<Level>| Reply::bulk(level.map_or("DEFAULT", Level::name));
            return Ok(Reply::Map(vec![
                (Reply::bulk("write"), told(self.levels.write)),
                (Reply::bulk("read"), told(self.levels.read)),
            ])
            .into());
        }
        self.levels = said(self.levels, words)?;
        Ok(Reply::OK.into())
    }

    /// What of ATOLL.KEYSPACE needs no node.
    pub(super) fn run_keyspace(&self, name: &str) -> Handled {
        match name {
            "list" => {
                let keyspaces = self.condition.keyspaces();
                Ok(Reply::Array(keyspaces.iter().map(about).collect()).into())
            }
            "help" => Ok(help().into()),
            _ => Err(unhandled(name)),
        }
    }
}

/// What ATOLL.CONSISTENCY says.
fn said(mut levels: Levels, words: &[Bytes]) -> Result<Levels, CommandError> {
    for pair in words.chunks(2) {
        let [what, level] = pair else {
            return Err(CommandError::Syntax);
        };
        let level = match level.eq_ignore_ascii_case(b"DEFAULT") {
            true => None,
            false => Some(Level::parse(level).ok_or(CommandError::Other(
                "ERR a level is ONE, QUORUM, ALL or DEFAULT",
            ))?),
        };
        match what {
            _ if what.eq_ignore_ascii_case(b"WRITE") => levels.write = level,
            _ if what.eq_ignore_ascii_case(b"READ") => levels.read = level,
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(levels)
}

fn about(keyspace: &Keyspace) -> Reply {
    let mut facts = vec![
        (Reply::bulk("name"), Reply::bulk(keyspace.name.clone())),
        (
            Reply::bulk("number"),
            Reply::Integer(keyspace.number.0.into()),
        ),
    ];
    match keyspace.eventual() {
        None => facts.push((Reply::bulk("consistency"), Reply::bulk("linearizable"))),
        Some(eventual) => facts.extend([
            (Reply::bulk("consistency"), Reply::bulk("eventual")),
            (
                Reply::bulk("replicas"),
                Reply::Integer(eventual.replicas.into()),
            ),
            (Reply::bulk("write"), Reply::bulk(eventual.write.name())),
            (Reply::bulk("read"), Reply::bulk(eventual.read.name())),
        ]),
    }
    Reply::Map(facts)
}

fn help() -> Reply {
    let lines = [
        "ATOLL.KEYSPACE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CREATE <name> [LINEARIZABLE | EVENTUAL [REPLICAS <count>] [WRITE <level>] [READ <level>]]",
        "    Create a keyspace, for good. A level is ONE, QUORUM or ALL: how many replicas have a write",
        "    before it is answered, and how many are asked for a read.",
        "LIST",
        "    Tell the keyspaces that have names.",
        "HELP",
        "    Print this help.",
    ];
    Reply::Array(lines.into_iter().map(Reply::Status).collect())
}
