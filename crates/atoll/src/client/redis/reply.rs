//! Answers of the port of Redis clients (RESP2), read with bounds.

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line of an answer.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// The longest string in an answer; none that we ask for is nearly as long.
const STRING_BYTES_MAX: u64 = 1 << 20;
/// The most that the strings of one answer have together.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// The most elements of one answer, those of lists in lists included. Who owns 1,024
/// partitions of three replicas is told in some twenty thousand.
const ELEMENTS_MAX: usize = 1 << 16;
/// So many lists are in each other at most.
const DEPTH_MAX: usize = 8;

const TOO_LONG: &str = "an answer is too long";
const BROKEN: &str = "the connection broke";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A word that says that it was done.
    Done,
    /// A number.
    Integer(i64),
    /// A value.
    String(Bytes),
    /// No value, where there could be one.
    Missing,
    /// Several answers in one.
    List(Vec<Reply>),
    /// It was not done: why.
    Refused(String),
}

/// What a line begins.
enum Begun {
    Whole(Reply),
    String(u64),
    List(usize),
}

/// A list that is being read, and how many elements it has yet to get.
struct Open {
    list: Vec<Reply>,
    left: usize,
}

/// Reads one answer; of a list, all that is in it.
pub(super) async fn read_reply(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut elements = 0;
    let mut bytes_left = ANSWER_BYTES_MAX;
    loop {
        let mut reply = match begin(reader).await? {
            Begun::Whole(reply) => reply,
            Begun::String(length) => {
                bytes_left = bytes_left.checked_sub(length).ok_or(TOO_LONG)?;
                Reply::String(string(reader, length).await?)
            }
            Begun::List(0) => Reply::List(Vec::new()),
            Begun::List(left) => {
                elements += left;
                if elements > ELEMENTS_MAX || open.len() == DEPTH_MAX {
                    return Err(TOO_LONG.into());
                }
                let list = Vec::with_capacity(left);
                open.push(Open { list, left });
                continue;
            }
        };
        // What is complete may complete the list that it is in, and so on.
        loop {
            let Some(mut inner) = open.pop() else {
                return Ok(reply);
            };
            inner.list.push(reply);
            inner.left -= 1;
            if inner.left > 0 {
                open.push(inner);
                break;
            }
            reply = Reply::List(inner.list);
        }
    }
}

async fn begin(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Begun, String> {
    let mut line = Vec::new();
    let read = (&mut *reader)
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .await;
    read.map_err(|error| error.to_string())?;
    let line = line.strip_suffix(b"\r\n").ok_or(BROKEN)?;
    let (mark, rest) = line.split_first().ok_or("an answer is empty")?;
    let text = String::from_utf8_lossy(rest);
    let number = || {
        text.parse::<i64>()
            .map_err(|_| "a number is none".to_owned())
    };
    Ok(match mark {
        b'+' => Begun::Whole(Reply::Done),
        b'-' => Begun::Whole(Reply::Refused(text.into_owned())),
        b':' => Begun::Whole(Reply::Integer(number()?)),
        // Less than nothing is a missing one.
        b'$' => match u64::try_from(number()?) {
            Err(_) => Begun::Whole(Reply::Missing),
            Ok(length) if length > STRING_BYTES_MAX => return Err(TOO_LONG.into()),
            Ok(length) => Begun::String(length),
        },
        b'*' => match number()? {
            ..0 => Begun::Whole(Reply::Missing),
            count => {
                let count = usize::try_from(count).ok();
                Begun::List(count.filter(|it| *it <= ELEMENTS_MAX).ok_or(TOO_LONG)?)
            }
        },
        _ => return Err("this is no port of Redis clients".into()),
    })
}

async fn string(reader: &mut (impl AsyncBufRead + Unpin), length: u64) -> Result<Bytes, String> {
    const END: &[u8] = b"\r\n";
    let whole = length + END.len() as u64;
    let mut string = Vec::new();
    let read = (&mut *reader).take(whole).read_to_end(&mut string).await;
    read.map_err(|error| error.to_string())?;
    if string.len() as u64 != whole {
        return Err(BROKEN.into());
    }
    let string = string.strip_suffix(END).ok_or("a string has no end")?;
    Ok(Bytes::copy_from_slice(string))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Reply, String> {
        let reply = read_reply(&mut bytes).await;
        assert!(reply.is_err() || bytes.is_empty(), "all is read");
        reply
    }

    #[tokio::test]
    async fn answers_of_every_form() {
        let string = |text: &'static str| Reply::String(Bytes::from_static(text.as_bytes()));
        for (bytes, reply) in [
            ("+OK\r\n", Reply::Done),
            (":-3\r\n", Reply::Integer(-3)),
            ("-ERR no\r\n", Reply::Refused("ERR no".into())),
            ("$4\r\na\r\nb\r\n", string("a\r\nb")),
            ("$0\r\n\r\n", string("")),
            ("$-1\r\n", Reply::Missing),
            ("*-1\r\n", Reply::Missing),
            ("*0\r\n", Reply::List(vec![])),
            (
                "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*0\r\n:7\r\n",
                Reply::List(vec![
                    Reply::Integer(1),
                    Reply::List(vec![string("x"), Reply::List(vec![])]),
                    Reply::Integer(7),
                ]),
            ),
        ] {
            assert_eq!(read(bytes.as_bytes()).await, Ok(reply), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        for wrong in [
            "",
            "+OK",
            ":x\r\n",
            "$5\r\nabc",
            "$1\r\nabc\r\n",
            "HTTP/1.1 400\r\n",
            "\r\n",
            "*2\r\n:1\r\n",
        ] {
            assert!(read(wrong.as_bytes()).await.is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn answers_have_bounds() {
        let long = format!("${}\r\n", STRING_BYTES_MAX + 1);
        let wide = format!("*{}\r\n", ELEMENTS_MAX + 1);
        let widening = format!("*2\r\n*{ELEMENTS_MAX}\r\n");
        let deep = "*1\r\n".repeat(DEPTH_MAX + 1);
        let piece = format!("${STRING_BYTES_MAX}\r\n{}\r\n", "a".repeat(1 << 20));
        let large = format!("*9\r\n{}", piece.repeat(9));
        for wrong in [long, wide, widening, deep, large] {
            assert_eq!(read(wrong.as_bytes()).await, Err(TOO_LONG.to_owned()));
        }
    }
}
