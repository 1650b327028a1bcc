//! Patterns of keys and channels.

use bytes::Bytes;

use super::{KeyUse, RuleError};
use crate::core::glob;

/// Keys whose names match, and what may be done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Bytes,
    reads: bool,
    writes: bool,
}

impl KeyPattern {
    fn prefix(&self) -> &'static str {
        match (self.reads, self.writes) {
            (true, false) => "%R~",
            (false, true) => "%W~",
            _ => "~",
        }
    }
}

/// Which keys are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) all: bool,
    patterns: Vec<KeyPattern>,
}

impl Keys {
    /// `allkeys`
    pub(super) fn allow_all(&mut self) {
        self.all = true;
        self.patterns.clear();
    }

    /// A rule that begins with `~` or `%`.
    pub(super) fn allow(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all {
            return Err(RuleError::AllKeys);
        }
        let (mut reads, mut writes) = (false, false);
        let pattern = match rule {
            [b'~', pattern @ ..] => {
                (reads, writes) = (true, true);
                pattern
            }
            [_, rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'~');
                let (permissions, pattern) = rest.split_at(end.ok_or(RuleError::Syntax)?);
                for permission in permissions {
                    match permission.to_ascii_uppercase() {
                        b'R' if !reads => reads = true,
                        b'W' if !writes => writes = true,
                        _ => return Err(RuleError::Syntax),
                    }
                }
                &pattern[1..]
            }
            [] => return Err(RuleError::Syntax),
        };
        if !(reads || writes) || !is_word(pattern) {
            return Err(RuleError::Syntax);
        }
        let known = self.patterns.iter_mut();
        let mut known = known.filter(|known| known.pattern == pattern);
        match known.next() {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.patterns.push(KeyPattern {
                pattern: Bytes::copy_from_slice(pattern),
                reads,
                writes,
            }),
        }
        let is_all = |known: &KeyPattern| known.reads && known.writes && known.pattern == "*";
        if self.patterns.iter().any(is_all) {
            self.allow_all();
        }
        Ok(())
    }

    /// Whether this may be done to the key. Who only looks whether it is there needs some
    /// right to it.
    pub(super) fn permit(&self, key: &[u8], key_use: &KeyUse) -> bool {
        self.all
            || self.patterns.iter().any(|known| {
                (known.reads || !key_use.reads())
                    && (known.writes || !key_use.writes())
                    && glob::matches(&known.pattern, key)
            })
    }

    /// Whether every key may be read.
    pub(super) fn permit_reading_all(&self) -> bool {
        let mut patterns = self.patterns.iter();
        self.all || patterns.any(|known| known.reads && known.pattern == "*")
    }

    /// As ACL GETUSER tells them.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.all {
            out.extend_from_slice(b"~*");
        }
        for (place, known) in self.patterns.iter().enumerate() {
            if place > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(known.prefix().as_bytes());
            out.extend_from_slice(&known.pattern);
        }
    }
}

/// Which channels are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) all: bool,
    patterns: Vec<Bytes>,
}

impl Channels {
    /// `allchannels`
    pub(super) fn allow_all(&mut self) {
        self.all = true;
        self.patterns.clear();
    }

    /// What follows the `&`.
    pub(super) fn allow(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all {
            return Err(RuleError::AllChannels);
        }
        if !is_word(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.patterns.iter().any(|known| known == pattern) {
            self.patterns.push(Bytes::copy_from_slice(pattern));
        }
        Ok(())
    }

    /// Whether somebody may listen or publish there. A pattern must be allowed letter by
    /// letter.
    pub(super) fn permit(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all
            || self.patterns.iter().any(|known| {
                if is_pattern {
                    known == channel
                } else {
                    glob::matches(known, channel)
                }
            })
    }

    /// As ACL GETUSER tells them.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.all {
            out.extend_from_slice(b"&*");
        }
        for (place, known) in self.patterns.iter().enumerate() {
            if place > 0 {
                out.push(b' ');
            }
            out.push(b'&');
            out.extend_from_slice(known);
        }
    }
}

/// Whether it can stand among other words.
pub(super) fn is_word(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}
