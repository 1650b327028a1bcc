//! Requests, taken off a buffer as it fills.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Limits, ProtocolError, inline,
    limits::{
        LINE_BYTES_MAX, WORD_BYTES_MAX_UNAUTHENTICATED, WORDS_MAX, WORDS_MAX_UNAUTHENTICATED,
    },
};
use crate::core::data::parse_integer;

/// Room for words that is kept from one request to the next.
const WORDS_KEPT: usize = 1024;

/// Takes requests off the front of a buffer that its owner only appends to.
///
/// What a request looks like does not depend on how it was cut into reads. Nothing is looked at
/// twice, and nothing is set aside for what a client has only announced: what is kept grows
/// with what was received, and is bounded by [`Limits`].
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    /// The array at the front of the buffer.
    array: Option<Array>,
    /// Its words so far: places in the buffer.
    words: Vec<Range<usize>>,
    /// So many bytes of the line at hand are known to hold no end.
    scanned: usize,
}

/// An array whose count was read.
#[derive(Debug)]
struct Array {
    /// Words that are still to come.
    left: usize,
    /// The place in the buffer of what was not read yet.
    at: usize,
    /// The length of the word at that place, once it is known.
    length: Option<usize>,
}

impl Parser {
    /// At the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        Parser {
            limits,
            ..Parser::default()
        }
    }

    /// The next request, if the buffer holds all of it: at least one word, each a view of what
    /// was received. Until the client is `authenticated`, only small ones are taken.
    ///
    /// # Errors
    /// [`ProtocolError`], after which the connection is of no use: nothing says where the next
    /// request begins.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        authenticated: bool,
    ) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            if let Some(mut array) = self.array.take() {
                if self.words_of(&mut array, buffer, authenticated)? {
                    return Ok(Some(self.cut(array.at, buffer)));
                }
                self.array = Some(array);
                return self.unfinished(buffer);
            }
            let Some(first) = buffer.first() else {
                return Ok(None);
            };
            if *first == b'*' {
                let Some(line) = self.line(buffer, 0, b'\r', ProtocolError::CountTooLong)? else {
                    return self.unfinished(buffer);
                };
                let count = count(&buffer[1..line], authenticated)?;
                // The end of a line is two bytes; the second one is not looked at, as in Redis.
                let at = line + 2;
                if count == 0 {
                    buffer.advance(at);
                } else {
                    self.array = Some(Array {
                        left: count,
                        at,
                        length: None,
                    });
                }
            } else {
                let Some(end) = self.line(buffer, 0, b'\n', ProtocolError::InlineTooLong)? else {
                    return self.unfinished(buffer);
                };
                let line = &buffer[..end];
                let words = inline::words(line.strip_suffix(b"\r").unwrap_or(line))?;
                buffer.advance(end + 1);
                if inline::is_http(&words) {
                    return Err(ProtocolError::Http);
                }
                if !words.is_empty() {
                    return Ok(Some(words));
                }
            }
        }
    }

    /// Reads on in an array; says whether it is complete.
    fn words_of(
        &mut self,
        array: &mut Array,
        buffer: &[u8],
        authenticated: bool,
    ) -> Result<bool, ProtocolError> {
        while array.left > 0 {
            let length = match array.length {
                Some(length) => length,
                None => {
                    let line = self.line(buffer, array.at, b'\r', ProtocolError::LengthTooLong)?;
                    let Some(line) = line else {
                        return Ok(false);
                    };
                    let length = self.length(&buffer[array.at..line], authenticated)?;
                    array.at = line + 2;
                    *array.length.insert(length)
                }
            };
            let end = array.at + length;
            // With the end of its line, which is not looked at either.
            if buffer.len() < end + 2 {
                return Ok(false);
            }
            self.words.push(array.at..end);
            array.at = end + 2;
            array.length = None;
            array.left -= 1;
        }
        Ok(true)
    }

    /// Where the line that begins at `from` ends, if a byte follows its end or has not to.
    fn line(
        &mut self,
        buffer: &[u8],
        from: usize,
        end: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let line = buffer.get(from..).unwrap_or_default();
        let found = line[self.scanned.min(line.len())..]
            .iter()
            .position(|byte| *byte == end)
            .map(|place| self.scanned + place);
        let length = found.unwrap_or(line.len());
        if length > LINE_BYTES_MAX {
            return Err(too_long);
        }
        let followed = end == b'\n' || length + 1 < line.len();
        if found.is_none() || !followed {
            self.scanned = length;
            return Ok(None);
        }
        self.scanned = 0;
        Ok(Some(from + length))
    }

    /// The length of a word, from its line.
    fn length(&self, line: &[u8], authenticated: bool) -> Result<usize, ProtocolError> {
        let digits = match line {
            [b'$', digits @ ..] => digits,
            [other, ..] => return Err(ProtocolError::NoWord(*other)),
            [] => return Err(ProtocolError::NoWord(b'\r')),
        };
        let length = parse_integer(digits)
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= self.limits.word_bytes_max)
            .ok_or(ProtocolError::Length)?;
        if !authenticated && length > WORD_BYTES_MAX_UNAUTHENTICATED {
            return Err(ProtocolError::LengthUnauthenticated);
        }
        Ok(length)
    }

    /// Takes a complete array off the buffer.
    fn cut(&mut self, bytes: usize, buffer: &mut BytesMut) -> Vec<Bytes> {
        let request = buffer.split_to(bytes).freeze();
        let words = self.words.drain(..).map(|word| request.slice(word));
        let words = words.collect();
        self.words.shrink_to(WORDS_KEPT);
        words
    }

    /// The request goes on in what is still to be received.
    fn unfinished(&self, buffer: &[u8]) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let request_bytes_max = self.limits.request_bytes_max;
        if buffer.len() > request_bytes_max {
            return Err(ProtocolError::TooLarge { request_bytes_max });
        }
        Ok(None)
    }
}

/// A number of words, from its line; a negative one is none, as in Redis.
fn count(digits: &[u8], authenticated: bool) -> Result<usize, ProtocolError> {
    let count = parse_integer(digits).ok_or(ProtocolError::Count)?;
    let count = usize::try_from(count.max(0)).map_err(|_| ProtocolError::Count)?;
    if count > WORDS_MAX {
        return Err(ProtocolError::Count);
    }
    if !authenticated && count > WORDS_MAX_UNAUTHENTICATED {
        return Err(ProtocolError::CountUnauthenticated);
    }
    Ok(count)
}
