//! What the SCAN family has in common.

use std::ops::Range;

use bytes::Bytes;

use super::{
    CommandError,
    args::{self, Words},
};
use crate::core::{glob, number::parse_unsigned, reply::Reply};

/// So many elements a call looks at where no COUNT is named (Redis: "SCAN").
const COUNT_DEFAULT: usize = 10;

/// Options of a scan of one key's members.
pub(super) struct Scan<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
}

/// The cursor: the number of places still to be looked at; 0 to begin, and at the end.
///
/// # Errors
/// Where it is no number of 64 bits without a sign.
pub(super) fn cursor(argument: &[u8]) -> Result<u64, CommandError> {
    parse_unsigned(argument).ok_or(CommandError::Other("ERR invalid cursor"))
}

impl<'a> Scan<'a> {
    /// Reads `[MATCH pattern] [COUNT count]` from a place on.
    pub(super) fn from(words: &'a [Bytes], place: usize) -> Result<Self, CommandError> {
        Scan::with(words, place, |_, _| Ok(false))
    }

    /// The same; `takes` sees every other word and those that follow it, and says whether it is an
    /// option, too.
    pub(super) fn with(
        words: &'a [Bytes],
        place: usize,
        mut takes: impl FnMut(&[u8], &mut Words<'a>) -> Result<bool, CommandError>,
    ) -> Result<Self, CommandError> {
        let mut scan = Scan {
            count: COUNT_DEFAULT,
            pattern: None,
        };
        let mut options = Words::from(words, place);
        while let Some(option) = options.next() {
            if args::is(option, "COUNT") {
                let count = options.expect_integer()?;
                scan.count = usize::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::Syntax)?;
            } else if args::is(option, "MATCH") {
                scan.pattern = Some(options.expect()?);
            } else if !takes(option, &mut options)? {
                return Err(CommandError::Syntax);
            }
        }
        Ok(scan)
    }

    /// Whether the pattern wants this element.
    pub(super) fn wants(&self, element: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, element))
    }

    /// The places to look at, of a table of so many; its beginning is the next cursor. A scan
    /// goes from the end to the beginning, since the last element takes the place of one that
    /// is taken out.
    pub(super) fn places(&self, cursor: u64, length: usize) -> Range<usize> {
        let end = match usize::try_from(cursor) {
            Ok(0) => length,
            Ok(cursor) => cursor.min(length),
            Err(_) => length,
        };
        end.saturating_sub(self.count)..end
    }
}

/// A scan's answer.
pub(super) fn scanned(cursor: usize, found: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::bulk(cursor.to_string()), Reply::Array(found)])
}
