//! Which commands are allowed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::LazyLock,
};

use bytes::Bytes;

use super::{Categories, RuleError, categories_of, patterns::is_word};
use crate::core::command::{Command, all, find};

/// Every command and subcommand, by its place in a set.
static PLACES: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let names = all().flat_map(with_subcommands);
    let places = names.enumerate();
    places
        .map(|(place, command)| (command.name, place))
        .collect()
});

fn with_subcommands(command: &'static Command) -> impl Iterator<Item = &'static Command> {
    std::iter::once(command).chain(command.subcommands)
}

/// A rule as it was given, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allows: bool,
    /// `get`, `client|id`, `select|0`, `@string`.
    name: Vec<u8>,
}

/// Which commands are allowed, and the rules that say so.
///
/// The rules are those since the last `+@all` or `-@all`, without those that a later one takes
/// back whole; they give the same set again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    /// What holds for commands that no rule names: those of later releases, too.
    by_default: bool,
    rules: Vec<Rule>,
    /// Commands that are an exception to that.
    exceptions: BTreeSet<usize>,
    /// Commands that are allowed only with one of these for their first argument, in lower
    /// case.
    first_arguments: BTreeMap<usize, BTreeSet<Vec<u8>>>,
}

/// What a rule about a command is about.
enum Subject {
    /// All of these.
    Commands(Vec<&'static Command>),
    /// One command with one first argument.
    FirstArgument(&'static Command, Vec<u8>),
}

impl Commands {
    /// `+@all` or `-@all`
    pub(super) fn reset(&mut self, allows: bool) {
        *self = Commands {
            by_default: allows,
            ..Commands::default()
        };
    }

    /// Whether everything is allowed, now and in later releases.
    pub(super) fn allow_all(&self) -> bool {
        self.by_default && self.rules.is_empty()
    }

    /// A rule that begins with `+` or `-`: what follows that.
    pub(super) fn set(&mut self, allows: bool, name: &[u8]) -> Result<(), RuleError> {
        let name = name.to_ascii_lowercase();
        if name == b"@all" {
            self.reset(allows);
            return Ok(());
        }
        match subject(allows, &name)? {
            Subject::Commands(commands) => {
                for command in commands {
                    self.set_one(command, allows);
                }
            }
            // It says nothing of a command that is allowed whatever follows it.
            Subject::FirstArgument(command, _) if self.allows(place(command)) => {}
            Subject::FirstArgument(command, argument) => {
                let arguments = self.first_arguments.entry(place(command)).or_default();
                arguments.insert(argument);
            }
        }
        self.note(allows, name);
        Ok(())
    }

    /// A rule that is kept although this release knows no such command.
    pub(super) fn note(&mut self, allows: bool, name: Vec<u8>) {
        self.rules.retain(|rule| {
            rule.name
                .strip_prefix(&name[..])
                .is_none_or(|rest| !rest.is_empty() && (name[0] == b'@' || rest[0] != b'|'))
        });
        self.rules.push(Rule { allows, name });
        // The first ones say nothing if they only repeat what holds anyway.
        let mut rules = self.rules.iter();
        let said = rules.position(|rule| rule.allows != self.by_default);
        self.rules.drain(..said.unwrap_or(self.rules.len()));
    }

    fn allows(&self, place: usize) -> bool {
        self.by_default != self.exceptions.contains(&place)
    }

    fn set_one(&mut self, command: &'static Command, allows: bool) {
        let place = place(command);
        if allows == self.by_default {
            self.exceptions.remove(&place);
        } else {
            self.exceptions.insert(place);
        }
        self.first_arguments.remove(&place);
    }

    /// Whether this call is allowed, as far as it is about the command.
    pub(super) fn permit(&self, command: &Command, words: &[Bytes]) -> bool {
        if self.allow_all() {
            return true;
        }
        let place = place(command);
        if self.allows(place) {
            return true;
        }
        let Some(arguments) = self.first_arguments.get(&place) else {
            return false;
        };
        words.get(1).is_some_and(|word| {
            let mut arguments = arguments.iter();
            arguments.any(|argument| word.eq_ignore_ascii_case(argument))
        })
    }

    /// As ACL GETUSER tells them.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.by_default { b"+@all" } else { b"-@all" });
        for rule in &self.rules {
            out.extend_from_slice(if rule.allows { b" +" } else { b" -" });
            out.extend_from_slice(&rule.name);
        }
    }
}

/// The place of a command in a set. All that are called come from the table.
fn place(command: &Command) -> usize {
    PLACES.get(command.name).copied().unwrap_or(usize::MAX)
}

fn subject(allows: bool, name: &[u8]) -> Result<Subject, RuleError> {
    if let Some(category) = name.strip_prefix(b"@") {
        let category = Categories::parse(category).ok_or(RuleError::Unknown)?;
        let commands = all().flat_map(with_subcommands);
        let commands = commands.filter(|command| categories_of(command).meets(category));
        return Ok(Subject::Commands(commands.collect()));
    }
    if let Some(command) = named(name) {
        return Ok(Subject::Commands(with_subcommands(command).collect()));
    }
    // What follows the last bar is an argument, if what is before it is a command.
    let bar = name.iter().rposition(|byte| *byte == b'|');
    let (command, argument) = name.split_at(bar.ok_or(RuleError::Unknown)?);
    let (command, argument) = (named(command).ok_or(RuleError::Unknown)?, &argument[1..]);
    if command.name.contains('|') {
        return Err(RuleError::FirstArgument);
    }
    if !allows || !command.subcommands.is_empty() {
        return Err(RuleError::Unknown);
    }
    if argument.is_empty() || !is_word(argument) {
        return Err(RuleError::Syntax);
    }
    Ok(Subject::FirstArgument(command, argument.to_vec()))
}

/// The command of this name, which may be `container|name`.
fn named(name: &[u8]) -> Option<&'static Command> {
    let words: Vec<Bytes> = name
        .splitn(2, |byte| *byte == b'|')
        .map(Bytes::copy_from_slice)
        .collect();
    find(&words).filter(|command| command.name.as_bytes() == name)
}
