//! Rules and what follows from them.

mod checks;
mod properties;
mod record;
mod rules;

use bytes::Bytes;

use super::*;
use crate::core::command::{Command, all, find};

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

/// A user to whom these rules were given.
fn user(rules: &str) -> User {
    let mut user = User::default();
    user.apply(&words(rules)).unwrap();
    user
}

fn text(user: &User) -> String {
    String::from_utf8(user.text()).unwrap()
}

/// What a user is refused.
fn denied(user: &User, call: &str) -> Option<Denied> {
    let call = words(call);
    user.check(find(&call).unwrap(), &call).err()
}

fn all_commands() -> impl Iterator<Item = &'static Command> {
    all().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

#[test]
fn somebody_has_said_what_every_command_does_with_its_keys() {
    for command in all_commands() {
        let has_keys = !matches!(command.keys, crate::core::command::KeyPlaces::None);
        assert!(
            !has_keys || super::uses::is_known(command),
            "{} is in no family of uses",
            command.name
        );
    }
}

#[test]
fn uses_fit_what_commands_are_flagged_as() {
    use crate::core::command::Flags;
    for command in all_commands() {
        let (first, others) = uses_of(command, &words("x"));
        if command.flags.has(Flags::READONLY) {
            assert!(!first.writes() && !others.writes(), "{}", command.name);
        }
        if command.flags.has(Flags::WRITE) {
            assert!(
                first.mode != "RO"
                    || others.mode != "RO"
                    || command.name == "bitfield"
                    || command.name == "xreadgroup",
                "{}",
                command.name
            );
        }
    }
}

#[test]
fn categories_are_those_of_redis() {
    for (name, expected) in [
        ("get", "read string fast"),
        ("set", "write string slow"),
        ("config|set", "admin slow dangerous"),
        ("config|help", "slow"),
        ("config", "slow"),
        ("sort", "write set sortedset list slow dangerous"),
        ("keys", "keyspace read slow dangerous"),
        ("flushall", "keyspace write slow dangerous"),
        ("subscribe", "pubsub slow"),
        ("blpop", "write list slow blocking"),
        ("multi", "fast transaction"),
        ("client|kill", "admin slow dangerous connection"),
        ("client|id", "slow connection"),
        ("ping", "fast connection"),
        ("wait", "slow blocking connection"),
        ("xinfo|stream", "read stream slow"),
        ("role", "admin fast dangerous"),
        ("dbsize", "keyspace read fast"),
        ("publish", "pubsub fast"),
    ] {
        let call = words(&name.replace('|', " "));
        let categories: Vec<&str> = categories_of(find(&call).unwrap()).iter().collect();
        assert_eq!(categories.join(" "), expected, "{name}");
    }
}
