//! Whether a user may do what a command asks for.

use bytes::Bytes;

use super::{Selector, User, uses_of};
use crate::core::command::{Command, fenced_by};

/// What is not allowed. Of several selectors, that which allows most says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// The key at this place among the words.
    Key(usize),
    /// The channel at this place.
    Channel(usize),
}

impl Denied {
    /// Why a command of a connection is refused, without the reply's code.
    pub fn text(self, user: &[u8], command: &Command) -> String {
        match self {
            Denied::Command => self.full_text(user, command, &[]),
            Denied::Key(_) => "No permissions to access a key".to_owned(),
            Denied::Channel(_) => "No permissions to access a channel".to_owned(),
        }
    }

    /// What ACL DRYRUN says, to whom names are no secret.
    pub fn full_text(self, user: &[u8], command: &Command, words: &[Bytes]) -> String {
        let user = String::from_utf8_lossy(user);
        let object = self.object(command, words);
        let object = String::from_utf8_lossy(&object);
        match self {
            Denied::Command => {
                format!("User {user} has no permissions to run the '{object}' command")
            }
            Denied::Key(_) => {
                format!("User {user} has no permissions to access the '{object}' key")
            }
            Denied::Channel(_) => {
                format!("User {user} has no permissions to access the '{object}' channel")
            }
        }
    }

    /// Why a command that was queued is not allowed any longer when EXEC comes.
    pub fn text_of_exec(self) -> &'static str {
        match self {
            Denied::Command => {
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and \
                 the EXEC call. This command is no longer allowed for the following reason: no \
                 permission to execute the command or subcommand"
            }
            Denied::Key(_) => {
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and \
                 the EXEC call. This command is no longer allowed for the following reason: no \
                 permission to touch the specified keys"
            }
            Denied::Channel(_) => {
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and \
                 the EXEC call. This command is no longer allowed for the following reason: no \
                 permission to access one of the channels used as arguments to the command"
            }
        }
    }

    /// The name of what is not allowed.
    pub fn object(self, command: &Command, words: &[Bytes]) -> Bytes {
        match self {
            Denied::Command => Bytes::from_static(command.name.as_bytes()),
            Denied::Key(place) | Denied::Channel(place) => {
                words.get(place).cloned().unwrap_or_default()
            }
        }
    }

    /// The same, where so many words come before.
    fn after(self, words: usize) -> Denied {
        match self {
            Denied::Command => Denied::Command,
            Denied::Key(place) => Denied::Key(place + words),
            Denied::Channel(place) => Denied::Channel(place + words),
        }
    }

    /// What kind of thing it is, as ACL LOG tells it.
    pub fn reason(self) -> &'static str {
        match self {
            Denied::Command => "command",
            Denied::Key(_) => "key",
            Denied::Channel(_) => "channel",
        }
    }
}

/// Which words are channels, and whether they are patterns. Who listens no longer needs no
/// right.
fn channels(command: &Command, words: &[Bytes]) -> (std::ops::Range<usize>, bool) {
    match command.name {
        "publish" | "spublish" => (1..words.len().min(2), false),
        "subscribe" | "ssubscribe" => (1..words.len(), false),
        "psubscribe" => (1..words.len(), true),
        _ => (0..0, false),
    }
}

impl User {
    /// Whether the user may call this. The number of words was checked.
    ///
    /// # Errors
    /// What is not allowed.
    pub fn check(&self, command: &Command, words: &[Bytes]) -> Result<(), Denied> {
        if self.root().allows_everything() {
            return Ok(());
        }
        if let Some((inner, rest)) = fenced_by(command, words) {
            let before = words.len() - rest.len();
            self.check(inner, rest)
                .map_err(|denied| denied.after(before))?;
        }
        let mut denied = None;
        for selector in self.all_selectors() {
            match selector.check(command, words) {
                Ok(()) => return Ok(()),
                Err(error) => denied = denied.max(Some(error)),
            }
        }
        Err(denied.unwrap_or(Denied::Command))
    }

    /// Whether the user may listen to a channel or to channels whose names match.
    pub fn may_listen(&self, channel: &[u8], is_pattern: bool) -> bool {
        let mut selectors = self.all_selectors();
        selectors.any(|selector| selector.channels.permit(channel, is_pattern))
    }

    /// Whether the user may call this and it may read any key at all: what SORT's patterns lead
    /// to is known only when it runs.
    pub fn may_read_all(&self, command: &Command, words: &[Bytes]) -> bool {
        self.all_selectors().any(|selector| {
            selector.keys.permit_reading_all() && selector.check(command, words).is_ok()
        })
    }
}

impl Selector {
    fn check(&self, command: &Command, words: &[Bytes]) -> Result<(), Denied> {
        if !self.permit_command(command, words) {
            return Err(Denied::Command);
        }
        if !self.keys.all {
            let (first, others) = uses_of(command, words);
            for (number, place) in command.keys.of(words).into_iter().enumerate() {
                let key_use = if number == 0 { &first } else { &others };
                if !words
                    .get(place)
                    .is_some_and(|key| self.permit_key(key, key_use))
                {
                    return Err(Denied::Key(place));
                }
            }
        }
        if !self.channels.all {
            let (mut places, is_pattern) = channels(command, words);
            let denied = places.find(|place| !self.channels.permit(&words[*place], is_pattern));
            if let Some(place) = denied {
                return Err(Denied::Channel(place));
            }
        }
        Ok(())
    }
}

/// The option by which a SORT looks at keys that are not among its words, if it has one.
pub fn sorts_by_others(command: &Command, words: &[Bytes]) -> Option<&'static str> {
    if !matches!(command.name, "sort" | "sort_ro") {
        return None;
    }
    // A pattern without a star names no other key: it only says that nothing is to be sorted.
    if option(words, "BY").is_some_and(|pattern| pattern.contains(&b'*')) {
        return Some("BY");
    }
    option(words, "GET").map(|_| "GET")
}

/// What follows the first such word.
fn option<'a>(words: &'a [Bytes], name: &str) -> Option<&'a Bytes> {
    let mut places = 2..words.len().saturating_sub(1);
    let place = places.find(|place| words[*place].eq_ignore_ascii_case(name.as_bytes()))?;
    Some(&words[place + 1])
}
