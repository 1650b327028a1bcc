//! Patterns of BY and GET: which key, and which field of it, belong to an element.

use bytes::Bytes;

use super::sources;
use crate::core::command::Context;

/// A pattern.
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// The element takes the place of the star.
    Key {
        before: &'a [u8],
        after: &'a [u8],
        /// What follows an arrow; the key is a hash then.
        field: Option<&'a [u8]>,
    },
    /// Without a star: nothing belongs to any element.
    Nothing,
}

impl<'a> Pattern<'a> {
    pub(super) fn read(pattern: &'a [u8]) -> Self {
        if pattern == b"#" {
            return Pattern::Element;
        }
        let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
            return Pattern::Nothing;
        };
        let (before, after) = (&pattern[..star], &pattern[star + 1..]);
        // An arrow with nothing behind it is a part of the key.
        let arrow = after.windows(2).position(|two| two == b"->");
        match arrow.filter(|arrow| arrow + 2 < after.len()) {
            Some(arrow) => Pattern::Key {
                before,
                after: &after[..arrow],
                field: Some(&after[arrow + 2..]),
            },
            None => Pattern::Key {
                before,
                after,
                field: None,
            },
        }
    }

    /// What belongs to the element.
    pub(super) fn find(&self, context: &mut Context<'_>, element: &Bytes) -> Option<Bytes> {
        match self {
            Pattern::Element => Some(element.clone()),
            Pattern::Nothing => None,
            Pattern::Key {
                before,
                after,
                field,
            } => {
                let now_ms = context.now_ms();
                let key = [before, element.as_ref(), after].concat();
                let value = context.value(&key)?;
                match field {
                    None => sources::string(value),
                    Some(field) => sources::field(value, field, now_ms),
                }
            }
        }
    }
}
