//! A body in chunks (RFC 9112 section 7.1), followed without being kept.

use super::{Fault, without_end};

/// A line with a chunk's size and its extensions, bytes.
const SIZE_LINE_BYTES_MAX: usize = 4_096;
/// Digits of a size. One less than fit, so that no sum of sizes wraps anybody's counter.
const SIZE_DIGITS_MAX: usize = 15;

/// Where in the body the last byte stood.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    trailer_bytes: usize,
    trailer_bytes_max: usize,
}

#[derive(Debug)]
enum State {
    Size,
    Data(u64),
    /// CR and LF behind a chunk: as many of them have come.
    End(usize),
    Trailer,
}

/// How many bytes were looked at.
pub(super) enum Step {
    /// The body goes on.
    More(usize),
    /// They were its last.
    Last(usize),
}

impl Chunks {
    pub(super) fn new(trailer_bytes_max: usize) -> Self {
        Chunks {
            state: State::Size,
            trailer_bytes: 0,
            trailer_bytes_max,
        }
    }

    /// Looks at some of the bytes, at least one. `line` holds what there is of a cut line.
    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        line: &mut Vec<u8>,
    ) -> Result<Step, (usize, Fault)> {
        match &mut self.state {
            State::Data(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    self.state = State::End(0);
                }
                Ok(Step::More(used))
            }
            State::End(come) => {
                if bytes[0] != b"\r\n"[*come] {
                    return Err((0, Fault::ChunkEnd));
                }
                self.state = match *come {
                    0 => State::End(1),
                    _ => State::Size,
                };
                Ok(Step::More(1))
            }
            State::Size | State::Trailer => self.line(bytes, line),
        }
    }

    fn line(&mut self, bytes: &[u8], line: &mut Vec<u8>) -> Result<Step, (usize, Fault)> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        let is_too_long = if matches!(self.state, State::Trailer) {
            self.trailer_bytes += used;
            self.trailer_bytes > self.trailer_bytes_max
        } else {
            line.len() + used > SIZE_LINE_BYTES_MAX
        };
        if is_too_long {
            return Err((0, Fault::ChunkedTooLong));
        }
        let Some(end) = end else {
            line.extend_from_slice(bytes);
            return Ok(Step::More(used));
        };
        let result = if line.is_empty() {
            self.whole_line(&bytes[..used])
        } else {
            line.extend_from_slice(&bytes[..used]);
            let result = self.whole_line(line);
            line.clear();
            result
        };
        match result {
            Ok(true) => Ok(Step::Last(used)),
            Ok(false) => Ok(Step::More(used)),
            Err(fault) => Err((end, fault)),
        }
    }

    /// Whether it was the body's last.
    fn whole_line(&mut self, line: &[u8]) -> Result<bool, Fault> {
        let line = without_end(line)?;
        if matches!(self.state, State::Trailer) {
            return Ok(line.is_empty());
        }
        self.state = match size(line).ok_or(Fault::ChunkSize)? {
            0 => State::Trailer,
            size => State::Data(size),
        };
        Ok(false)
    }
}

/// The size in a line that may have extensions.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    if !(1..=SIZE_DIGITS_MAX).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |size: u64, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(size * 16 + u64::from(digit))
    })
}
