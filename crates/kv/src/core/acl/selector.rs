//! Rights that belong together: commands, keys and channels.

use bytes::Bytes;

use super::{
    KeyUse, RuleError,
    commands::Commands,
    patterns::{Channels, Keys},
};
use crate::core::command::{Command, Flags};

/// Rights that belong together: a command is allowed if one selector allows the command itself
/// and all its keys and channels. At first nothing is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub(super) commands: Commands,
    pub(super) keys: Keys,
    pub(super) channels: Channels,
}

impl Selector {
    /// Everything is allowed.
    pub(super) fn everything() -> Selector {
        let mut selector = Selector::default();
        selector.commands.reset(true);
        selector.keys.allow_all();
        selector.channels.allow_all();
        selector
    }

    /// Whether everything is allowed, now and in later releases.
    pub(super) fn allows_everything(&self) -> bool {
        self.commands.allow_all() && self.keys.all && self.channels.all
    }

    /// Changes it as a rule says that is no user's but a selector's.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |name: &str| rule.eq_ignore_ascii_case(name.as_bytes());
        match rule {
            _ if is("allkeys") || is("~*") => self.keys.allow_all(),
            _ if is("resetkeys") => self.keys = Keys::default(),
            _ if is("allchannels") || is("&*") => self.channels.allow_all(),
            _ if is("resetchannels") => self.channels = Channels::default(),
            _ if is("allcommands") => self.commands.reset(true),
            _ if is("nocommands") => self.commands.reset(false),
            [b'~' | b'%', ..] => self.keys.allow(rule)?,
            [b'&', pattern @ ..] => self.channels.allow(pattern)?,
            [b'+', name @ ..] => self.commands.set(true, name)?,
            [b'-', name @ ..] => self.commands.set(false, name)?,
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    /// The selector in these parentheses.
    pub(super) fn parse(
        text: &[u8],
        apply: impl Fn(&mut Selector, &[u8]) -> Result<(), RuleError>,
    ) -> Result<Selector, RuleError> {
        let inside = text
            .strip_prefix(b"(")
            .and_then(|text| text.strip_suffix(b")"))
            .ok_or(RuleError::Parenthesis)?;
        let mut selector = Selector::default();
        for rule in inside.split(|byte| *byte == b' ') {
            match rule {
                [] => {}
                // In its text that would look like the selector's end.
                [.., b')'] => return Err(RuleError::Syntax),
                rule => apply(&mut selector, rule)?,
            }
        }
        Ok(selector)
    }

    /// Whether the command may be called so.
    pub(super) fn permit_command(&self, command: &Command, words: &[Bytes]) -> bool {
        // Who may not log in could never become somebody who may do more.
        command.flags.has(Flags::NO_AUTH) || self.commands.permit(command, words)
    }

    /// Whether this may be done to the key.
    pub(super) fn permit_key(&self, key: &[u8], key_use: &KeyUse) -> bool {
        self.keys.permit(key, key_use)
    }

    /// Its commands, as ACL GETUSER tells them.
    pub fn commands(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.commands.write(&mut text);
        text
    }

    /// Its keys, as ACL GETUSER tells them.
    pub fn keys(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.keys.write(&mut text);
        text
    }

    /// Its channels, as ACL GETUSER tells them.
    pub fn channels(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.channels.write(&mut text);
        text
    }

    /// Its canonical form.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        self.keys.write(out);
        if out.len() > begin {
            out.push(b' ');
        }
        if !self.channels.all {
            out.extend_from_slice(b"resetchannels ");
        }
        let begin = out.len();
        self.channels.write(out);
        if out.len() > begin {
            out.push(b' ');
        }
        self.commands.write(out);
    }
}
