//! What commands come to in a session.

use bytes::Bytes;

use super::ask::{Ask, Finish};
use crate::core::{
    command::{Command, CommandError, find},
    reply::Reply,
};

/// What of an unknown command is told back, in bytes.
const ECHOED_BYTES_MAX: usize = 128;

/// What a command came to in this session.
pub(super) enum Outcome {
    Reply(Reply),
    /// The reply was written.
    Written,
    /// The reply was written, and was the last one.
    Close,
    /// The reply follows from an answer.
    Ask {
        ask: Ask,
        finish: Finish,
        waits: bool,
    },
}

impl Outcome {
    /// The reply follows from an answer, for which everything else waits.
    pub(super) fn wait(ask: Ask, finish: Finish) -> Self {
        let waits = true;
        Outcome::Ask { ask, finish, waits }
    }
}

pub(super) type Handled = Result<Outcome, CommandError>;

/// A command that is not run, if it is one, and why.
pub(super) type Refused = (Option<&'static Command>, CommandError);

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Outcome::Reply(reply)
    }
}

/// What to say to a command that is in the table and nowhere else: our own mistake.
pub(super) fn unhandled(name: &str) -> CommandError {
    CommandError::Text(format!("ERR '{name}' is not supported on a connection"))
}

/// What to say to a subcommand that has too many words, where the table can't tell.
pub(super) fn wrong_arguments(words: &[Bytes]) -> CommandError {
    let text = |place: usize| {
        let word = words.get(place).map_or(&[][..], |word| word);
        String::from_utf8_lossy(&word[..word.len().min(ECHOED_BYTES_MAX)]).into_owned()
    };
    CommandError::Text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        text(1),
        text(0).to_ascii_uppercase()
    ))
}

/// What to say to words that call nothing.
pub(super) fn unknown(words: &[Bytes]) -> CommandError {
    let text = |word: &Bytes, bytes_max: usize| {
        String::from_utf8_lossy(&word[..word.len().min(bytes_max)]).into_owned()
    };
    let name = words.first().map(|name| text(name, ECHOED_BYTES_MAX));
    let name = name.unwrap_or_default();
    if let (Some(container), Some(second)) = (find(words), words.get(1)) {
        return CommandError::Text(format!(
            "ERR unknown subcommand '{}'. Try {} HELP.",
            text(second, ECHOED_BYTES_MAX),
            container.name.to_ascii_uppercase()
        ));
    }
    let mut arguments = String::new();
    for word in words.iter().skip(1) {
        let Some(left) = ECHOED_BYTES_MAX.checked_sub(arguments.len()) else {
            break;
        };
        if left == 0 {
            break;
        }
        arguments.push_str(&format!("'{}' ", text(word, left)));
    }
    CommandError::Text(format!(
        "ERR unknown command '{name}', with args beginning with: {arguments}"
    ))
}
