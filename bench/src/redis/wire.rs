//! Just enough of RESP2 to ask and to count answers: building requests and finding where answers
//! end costs the generator less than the servers pay for the same.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::error::{Error, Result};

/// No answer that the bench asks for is longer.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Answers nest no deeper: `CLUSTER SLOTS` has four levels.
const DEPTH_MAX: usize = 8;
const READ_BYTES: usize = 64 << 10;
/// How long a connection may take to open, and how long a single question may stay open.
const WAIT: Duration = Duration::from_secs(30);

/// Appends a request: its words as an array of bulk strings.
pub(crate) fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    number(out, b'*', words.len());
    for word in words {
        number(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn number(out: &mut Vec<u8>, mark: u8, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push(mark);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A status, or a bulk string.
    Bytes(Vec<u8>),
    /// A refusal.
    Refused(String),
    Integer(i64),
    /// A missing string or array.
    Null,
    Array(Vec<Answer>),
}

/// The answer at the beginning of `bytes` and its length; `None` if it isn't all there yet.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    parse(bytes, 0, DEPTH_MAX)
}

fn parse(bytes: &[u8], at: usize, depth: usize) -> Result<Option<(Answer, usize)>> {
    if depth == 0 {
        return Err(Error::Protocol("an answer nests too deeply"));
    }
    let Some(line) = line(bytes, at) else {
        return Ok(None);
    };
    let rest = &bytes[at + 1..line];
    let mut end = line + 2;
    let found = match bytes[at] {
        b'+' => Answer::Bytes(rest.to_vec()),
        b'-' => Answer::Refused(String::from_utf8_lossy(rest).into_owned()),
        b':' => Answer::Integer(integer(rest)?),
        b'$' => match length(rest)? {
            None => Answer::Null,
            Some(length) => {
                if bytes.len() < end + length + 2 {
                    return Ok(None);
                }
                let text = bytes[end..end + length].to_vec();
                end += length + 2;
                Answer::Bytes(text)
            }
        },
        b'*' => match length(rest)? {
            None => Answer::Null,
            Some(count) => {
                let mut all = Vec::new();
                for _ in 0..count {
                    let Some((one, next)) = parse(bytes, end, depth - 1)? else {
                        return Ok(None);
                    };
                    all.push(one);
                    end = next;
                }
                Answer::Array(all)
            }
        },
        _ => return Err(Error::Protocol("an answer begins with an unknown mark")),
    };
    Ok(Some((found, end)))
}

/// Where the line that begins at `at` ends.
fn line(bytes: &[u8], at: usize) -> Option<usize> {
    let found = bytes.get(at..)?.iter().position(|byte| *byte == b'\r')?;
    // The line feed belongs to it.
    (bytes.len() > at + found + 1).then_some(at + found)
}

fn integer(text: &[u8]) -> Result<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Error::Protocol("an answer's number is none"))
}

fn length(text: &[u8]) -> Result<Option<usize>> {
    match integer(text)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= ANSWER_BYTES_MAX => Ok(Some(length)),
            _ => Err(Error::Protocol("an answer's length is out of range")),
        },
    }
}

/// One connection: requests go out together, answers come in order.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// Up to where what was read has been looked at.
    at: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let opened = timeout(WAIT, TcpStream::connect(address)).await;
        let stream = opened
            .map_err(|_| Error::Late("a connection", WAIT))?
            .map_err(Error::io(&format!("connect to {address}")))?;
        stream
            .set_nodelay(true)
            .map_err(Error::io("set TCP_NODELAY"))?;
        Ok(Self {
            stream,
            read: Vec::with_capacity(READ_BYTES),
            at: 0,
        })
    }

    /// Sends `requests` and reads `count` answers, none of which may be a refusal.
    pub(crate) async fn round_trip(&mut self, requests: &[u8], count: usize) -> Result<()> {
        self.round_trip_counted(requests, count, &mut 0).await
    }

    /// The same; `done` grows by each answer that came, also where not all come.
    pub(crate) async fn round_trip_counted(
        &mut self,
        requests: &[u8],
        count: usize,
        done: &mut u64,
    ) -> Result<()> {
        self.send(requests).await?;
        let mut left = count;
        loop {
            while left > 0 {
                match skip(&self.read[self.at..])? {
                    Some(length) => self.at += length,
                    None => break,
                }
                left -= 1;
                *done += 1;
            }
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Sends `requests` and reads `count` answers.
    pub(crate) async fn answers(&mut self, requests: &[u8], count: usize) -> Result<Vec<Answer>> {
        self.send(requests).await?;
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            match answer(&self.read[self.at..])? {
                Some((answer, length)) => {
                    self.at += length;
                    answers.push(answer);
                }
                None => self.more().await?,
            }
        }
        Ok(answers)
    }

    /// Asks one question.
    pub(crate) async fn ask(&mut self, words: &[&[u8]]) -> Result<Answer> {
        self.ask_within(words, WAIT).await
    }

    /// Asks one question that must be answered in time.
    pub(crate) async fn ask_within(&mut self, words: &[&[u8]], wait: Duration) -> Result<Answer> {
        let mut out = Vec::new();
        request(&mut out, words);
        match timeout(wait, self.exchange(&out)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Late("an answer", wait)),
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request).await?;
        loop {
            if let Some((answer, length)) = answer(&self.read[self.at..])? {
                self.at += length;
                return Ok(answer);
            }
            self.more().await?;
        }
    }

    async fn send(&mut self, requests: &[u8]) -> Result<()> {
        self.stream
            .write_all(requests)
            .await
            .map_err(Error::io("send"))
    }

    async fn more(&mut self) -> Result<()> {
        if self.at == self.read.len() {
            self.read.clear();
        } else if self.at > 0 {
            self.read.drain(..self.at);
        }
        self.at = 0;
        if self.read.len() > ANSWER_BYTES_MAX {
            return Err(Error::Protocol("an answer is too long"));
        }
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) => Err(Error::Protocol("the server closed a connection")),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::io("receive")(error)),
        }
    }
}

/// The length of the answer at the beginning, with no copy of the usual ones.
fn skip(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(line) = line(bytes, 0) else {
        return Ok(None);
    };
    match bytes[0] {
        b'+' | b':' => Ok(Some(line + 2)),
        b'$' => Ok(match length(&bytes[1..line])? {
            None => Some(line + 2),
            Some(length) => Some(line + 2 + length + 2).filter(|end| *end <= bytes.len()),
        }),
        _ => match answer(bytes)? {
            Some((Answer::Refused(text), _)) => Err(Error::Answer(text)),
            Some((_, end)) => Ok(Some(end)),
            None => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        request(&mut out, &[b"GET", b"0123456789", b""]);
        assert_eq!(out, b"*3\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n$0\r\n\r\n");
    }

    #[test]
    fn every_beginning_of_an_answer_waits_for_the_rest() {
        let whole = b"*4\r\n$2\r\nab\r\n*2\r\n:-7\r\n$-1\r\n+OK\r\n*-1\r\n";
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end]).unwrap(), None, "{end}");
            assert_eq!(skip(&whole[..end]).unwrap(), None, "{end}");
        }
        let inner = Answer::Array(vec![Answer::Integer(-7), Answer::Null]);
        let all = vec![
            Answer::Bytes(b"ab".to_vec()),
            inner,
            Answer::Bytes(b"OK".to_vec()),
            Answer::Null,
        ];
        assert_eq!(
            answer(whole).unwrap(),
            Some((Answer::Array(all), whole.len()))
        );
        assert_eq!(skip(whole).unwrap(), Some(whole.len()));
    }

    #[test]
    fn skips_what_it_would_parse() {
        for text in [
            "+OK\r\n",
            ":12\r\n",
            "$3\r\nabc\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
        ] {
            let followed = [text.as_bytes(), b"+more\r\n"].concat();
            assert_eq!(skip(&followed).unwrap(), Some(text.len()), "{text}");
            assert_eq!(answer(&followed).unwrap().unwrap().1, text.len());
        }
        assert!(matches!(skip(b"-ERR no\r\n"), Err(Error::Answer(_))));
        assert!(skip(b"?\r\n").is_err() && skip(b"$-2\r\n").is_err());
    }
}
