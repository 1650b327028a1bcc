//! Watches the bytes of an HTTP/1.1 connection on their way to the parser, and finds what two
//! parsers could understand in two ways: the ground of request smuggling.
//!
//! The parser behind (hyper) accepts some of it and repairs it (a lone LF as an end of line, a
//! Content-Length beside a Transfer-Encoding). What is forwarded is written anew and so never
//! ambiguous, but a request that somebody in front has understood otherwise must not be served
//! at all. RFC 9112 sections 2.2, 5.2, 6.1, 6.3 and 7.1 say what has to be refused, or may be.
//!
//! Lines are looked at where they lie. Only a line that is cut by the end of a read is copied,
//! and only as long as a head may be; bodies are skipped. An HTTP/2 connection, told by its
//! first bytes, and a connection that became a tunnel are passed as they are.

use chunks::{Chunks, Step};

mod chunks;
#[cfg(test)]
mod tests;

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most digits of a Content-Length.
const LENGTH_DIGITS_MAX: usize = 18;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// LF without CR before it.
    #[error("a line ends without CR")]
    BareLf,
    /// CR without LF behind it.
    #[error("a CR stands inside a line")]
    BareCr,
    /// A field that goes on in the next line.
    #[error("a field is folded")]
    Folded,
    /// A Content-Length that is no number.
    #[error("Content-Length is not a number")]
    Length,
    /// More than one Content-Length, be they the same.
    #[error("Content-Length is there twice")]
    LengthTwice,
    /// A Transfer-Encoding other than `chunked`, or more than one.
    #[error("Transfer-Encoding is not just chunked")]
    Encoding,
    /// Both.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    /// A chunk's size is no number, or too large, or has something else around it.
    #[error("the size of a chunk is not a number")]
    ChunkSize,
    /// A chunk is longer than its size.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// The trailer, or a chunk's extension, is too long.
    #[error("a trailer or a chunk's extension is too long")]
    ChunkedTooLong,
    /// The head is too long; the parser will have said so before.
    #[error("the head is too long")]
    HeadTooLong,
    /// Bytes behind a request to upgrade that was not answered yet.
    #[error("something came behind a request to upgrade")]
    BeforeUpgrade,
    /// The first line of HTTP/2, and then something else.
    #[error("not HTTP/2, as it was announced")]
    Preface,
}

/// A fault, and how many of the bytes that were shown may still go to the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Bytes before the one that ends the faulty line.
    pub passed_bytes: usize,
    /// Why.
    pub fault: Fault,
    /// It was found in a head of HTTP/1.1 whose end the parser has not seen.
    pub is_head: bool,
}

/// What has become of a request to upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Not known yet.
    Waiting,
    /// It was answered as any request.
    Declined,
    /// The connection is a tunnel from here on.
    Tunnel,
}

/// Where in the connection the last byte stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two requests.
    Between,
    /// In a head.
    Head,
    /// In a body.
    Body,
    /// Not looked at.
    Opaque,
}

/// Follows one connection.
#[derive(Debug)]
pub struct Inspector {
    state: State,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    head: Head,
    head_bytes_max: usize,
    /// HTTP/2 was agreed on.
    is_http2: bool,
}

#[derive(Debug)]
enum State {
    /// As many bytes of HTTP/2's preface have come.
    Preface(usize),
    RequestLine,
    Fields,
    Body(u64),
    Chunked(Chunks),
    AwaitsUpgrade,
    Opaque,
}

/// What is known of the head that comes in.
#[derive(Debug, Default)]
struct Head {
    bytes: usize,
    length: Option<u64>,
    is_chunked: bool,
    wants_upgrade: bool,
}

impl Inspector {
    /// At the beginning of a connection. The parser refuses heads of more than
    /// `head_bytes_max`; here twice as much is bounded, so that the parser's answer comes first.
    pub fn new(head_bytes_max: usize) -> Self {
        Inspector {
            state: State::Preface(0),
            line: Vec::new(),
            head: Head::default(),
            head_bytes_max: head_bytes_max.saturating_mul(2),
            is_http2: false,
        }
    }

    /// At the beginning of a connection whose two sides have agreed on HTTP/2.
    pub fn http2() -> Self {
        Inspector {
            is_http2: true,
            ..Inspector::new(0)
        }
    }

    /// Where the connection is.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::RequestLine if self.head.bytes == 0 => Phase::Between,
            State::AwaitsUpgrade => Phase::Between,
            State::Preface(_) | State::RequestLine | State::Fields => Phase::Head,
            State::Body(_) | State::Chunked(_) => Phase::Body,
            State::Opaque => Phase::Opaque,
        }
    }

    /// Whether a request to upgrade has come, and nothing behind it.
    pub fn awaits_upgrade(&self) -> bool {
        matches!(self.state, State::AwaitsUpgrade)
    }

    /// Looks at the bytes that came next. `upgrade` says what became of the last request to
    /// upgrade. After a refusal nothing more may be shown.
    ///
    /// # Errors
    /// What is to be refused, and where.
    pub fn inspect(&mut self, bytes: &[u8], mut upgrade: Upgrade) -> Result<(), Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            let awaited = self.awaits_upgrade();
            let rest = &bytes[at..];
            let is_head = !self.is_http2
                && matches!(
                    self.state,
                    State::Preface(_) | State::RequestLine | State::Fields
                );
            let refuse = |(used, fault)| Refusal {
                passed_bytes: at + used,
                fault,
                is_head,
            };
            at += self.step(rest, upgrade).map_err(refuse)?;
            if self.awaits_upgrade() && !awaited {
                // What is known is about an earlier request.
                upgrade = Upgrade::Waiting;
            }
        }
        Ok(())
    }

    /// Looks at some of the bytes, at least one, and says at how many. An error says how many
    /// may pass.
    fn step(&mut self, bytes: &[u8], upgrade: Upgrade) -> Result<usize, (usize, Fault)> {
        match &mut self.state {
            State::Opaque => Ok(bytes.len()),
            State::Preface(matched) => {
                let matched = *matched;
                self.preface(matched, bytes).map_err(|fault| (0, fault))
            }
            State::RequestLine | State::Fields => self.head_line(bytes),
            State::Body(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    self.next_request();
                }
                Ok(used)
            }
            State::Chunked(chunks) => match chunks.step(bytes, &mut self.line)? {
                Step::More(used) => Ok(used),
                Step::Last(used) => {
                    self.next_request();
                    Ok(used)
                }
            },
            State::AwaitsUpgrade => match upgrade {
                Upgrade::Waiting => Err((0, Fault::BeforeUpgrade)),
                Upgrade::Tunnel => {
                    self.state = State::Opaque;
                    self.line = Vec::new();
                    Ok(bytes.len())
                }
                Upgrade::Declined => {
                    self.next_request();
                    self.head_line(bytes)
                }
            },
        }
    }

    fn next_request(&mut self) {
        self.state = State::RequestLine;
        self.head = Head::default();
    }

    fn preface(&mut self, matched: usize, bytes: &[u8]) -> Result<usize, Fault> {
        let expected = &PREFACE[matched..];
        let same = bytes
            .iter()
            .zip(expected)
            .take_while(|(a, b)| a == b)
            .count();
        if same == expected.len() {
            self.state = State::Opaque;
            return Ok(same);
        }
        let matched = matched + same;
        if same == bytes.len() {
            self.state = State::Preface(matched);
            return Ok(same);
        }
        // It is HTTP/1.1 after all; so far no line of it has ended.
        let begun = &PREFACE[..matched];
        if self.is_http2 || begun.contains(&b'\n') {
            return Err(Fault::Preface);
        }
        self.line.extend_from_slice(begun);
        self.next_request();
        self.head.bytes = matched;
        // Of the next bytes `same` are in the line already.
        match same {
            0 => self.head_line(bytes).map_err(|(_, fault)| fault),
            same => Ok(same),
        }
    }

    fn head_line(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        self.head.bytes += used;
        if self.head.bytes > self.head_bytes_max {
            return Err((0, Fault::HeadTooLong));
        }
        let Some(end) = end else {
            self.line.extend_from_slice(bytes);
            return Ok(used);
        };
        let result = if self.line.is_empty() {
            self.whole_line(&bytes[..used])
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..used]);
            let result = self.whole_line(&line);
            line.clear();
            // Its room serves the next one.
            self.line = line;
            result
        };
        result.map(|()| used).map_err(|fault| (end, fault))
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let line = without_end(line)?;
        if matches!(self.state, State::RequestLine) {
            // Empty lines before a request are passed over (RFC 9112 section 2.2).
            if !line.is_empty() {
                self.state = State::Fields;
            }
            return Ok(());
        }
        if line.is_empty() {
            return self.head_ends();
        }
        self.field(line)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        match line[0] {
            b' ' | b'\t' => return Err(Fault::Folded),
            b'C' | b'c' | b'T' | b't' | b'U' | b'u' => {}
            _ => return Ok(()),
        }
        // Without a colon it is the parser who refuses it.
        let colon = line.iter().position(|byte| *byte == b':');
        let Some(colon) = colon else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.head.length.is_some() {
                return Err(Fault::LengthTwice);
            }
            self.head.length = Some(length(value).ok_or(Fault::Length)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.head.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Encoding);
            }
            self.head.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.wants_upgrade = true;
        }
        Ok(())
    }

    fn head_ends(&mut self) -> Result<(), Fault> {
        let head = std::mem::take(&mut self.head);
        self.state = match (head.is_chunked, head.length) {
            (true, Some(_)) => return Err(Fault::LengthAndEncoding),
            (true, None) => State::Chunked(Chunks::new(self.head_bytes_max)),
            (false, Some(length)) if length > 0 => State::Body(length),
            _ if head.wants_upgrade => State::AwaitsUpgrade,
            _ => State::RequestLine,
        };
        Ok(())
    }
}

/// The line without its CRLF.
fn without_end(line: &[u8]) -> Result<&[u8], Fault> {
    let line = line.strip_suffix(b"\r\n").ok_or(Fault::BareLf)?;
    if line.contains(&b'\r') {
        return Err(Fault::BareCr);
    }
    Ok(line)
}

fn length(value: &[u8]) -> Option<u64> {
    let is_number = (1..=LENGTH_DIGITS_MAX).contains(&value.len());
    if !is_number || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = value.iter();
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
