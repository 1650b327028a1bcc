//! What became of commands, for who counts them (Redis: "INFO", commandstats and errorstats).

use bytes::Bytes;

use super::Session;
use crate::core::{command::Command, reply::Reply};

/// The longest code of an error that is counted by itself, in bytes.
const CODE_BYTES_MAX: usize = 32;

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was run.
    Done,
    /// It was run, and its reply is an error of this code: `WRONGTYPE`.
    Failed(Bytes),
    /// It was run, and its reply is an error that was counted when a script's call gave it.
    FailedInside,
    /// It was not run; the reply is an error of this code.
    Rejected(Bytes),
}

/// A command that came to its end; none if there is no such command.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub command: Option<&'static Command>,
    /// How.
    pub end: End,
}

impl Session {
    /// Commands that came to their ends since this was asked last, in order; those of a
    /// transaction each by itself.
    pub fn take_ended(&mut self) -> std::vec::Drain<'_, Ended> {
        self.ended.drain(..)
    }

    /// What [`take_ended`](Self::take_ended) would take.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    pub(super) fn note_reply(&mut self, command: &'static Command, reply: &Reply) {
        let end = match reply {
            Reply::Error(text) => End::Failed(code(text)),
            _ => End::Done,
        };
        self.note(Some(command), end);
    }

    pub(super) fn note(&mut self, command: Option<&'static Command>, end: End) {
        self.ended.push(Ended { command, end });
    }
}

/// The word that an error begins with. What is no code is counted together.
pub fn code(text: &[u8]) -> Bytes {
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_code = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    if word.is_empty() || word.len() > CODE_BYTES_MAX || !word.iter().all(is_code) {
        return Bytes::from_static(b"ERR");
    }
    Bytes::copy_from_slice(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_codes() {
        assert_eq!(code(b"WRONGTYPE Operation against"), "WRONGTYPE");
        assert_eq!(code(b"NOAUTH"), "NOAUTH");
        for text in ["my own words", "", " ", "A{b} c", &"A".repeat(33)] {
            assert_eq!(code(text.as_bytes()), "ERR", "{text}");
        }
    }
}
