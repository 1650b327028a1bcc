//! Replies, written for either version of the protocol.

use bytes::{BufMut as _, BytesMut};

use crate::core::{number::format_double, reply::Reply};

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What a connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// What an aggregate still holds.
enum Rest<'a> {
    Items(std::slice::Iter<'a, Reply>),
    Pairs(std::slice::Iter<'a, (Reply, Reply)>),
    /// Each pair is an array of its own.
    Twos(std::slice::Iter<'a, (Reply, Reply)>),
    /// The value of a pair whose key was just written, and the pairs after it.
    Value(&'a Reply, std::slice::Iter<'a, (Reply, Reply)>),
}

/// Writes a reply. Aggregates within aggregates are kept on a list, so that no depth of them
/// exhausts the stack.
pub fn write(out: &mut BytesMut, version: Version, reply: &Reply) {
    let mut open: Vec<Rest<'_>> = Vec::new();
    open.extend(write_one(out, version, reply));
    while let Some(rest) = open.pop() {
        let next = match rest {
            Rest::Items(mut items) => items.next().map(|item| (item, Rest::Items(items))),
            Rest::Pairs(mut pairs) => pairs
                .next()
                .map(|(key, value)| (key, Rest::Value(value, pairs))),
            Rest::Value(value, pairs) => Some((value, Rest::Pairs(pairs))),
            Rest::Twos(mut pairs) => pairs.next().map(|(key, value)| {
                write_array_header(out, 2);
                open.push(Rest::Twos(pairs));
                (key, Rest::Value(value, [].iter()))
            }),
        };
        if let Some((reply, rest)) = next {
            open.push(rest);
            open.extend(write_one(out, version, reply));
        }
    }
}

/// Writes a message that nobody asked for; in RESP2 it is an array like any other.
pub fn write_push(out: &mut BytesMut, version: Version, items: &[Reply]) {
    let mark = match version {
        Version::Resp2 => b'*',
        Version::Resp3 => b'>',
    };
    write_header(out, mark, items.len());
    for item in items {
        write(out, version, item);
    }
}

/// Writes the head of an array of so many replies, which are to follow.
pub fn write_array_header(out: &mut BytesMut, count: usize) {
    write_header(out, b'*', count);
}

/// Writes an error; line ends inside it become spaces, as in Redis.
pub fn write_error(out: &mut BytesMut, text: &[u8]) {
    out.put_u8(b'-');
    let begin = out.len();
    out.put_slice(text.trim_ascii_end());
    for byte in &mut out[begin..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.put_slice(b"\r\n");
}

/// Writes a scalar, or the head of an aggregate, of which the rest is given back.
fn write_one<'a>(out: &mut BytesMut, version: Version, reply: &'a Reply) -> Option<Rest<'a>> {
    let resp3 = version == Version::Resp3;
    match reply {
        Reply::Status(text) => {
            out.put_u8(b'+');
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
        Reply::Simple(text) => {
            out.put_u8(b'+');
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
        Reply::Error(text) => write_error(out, text),
        Reply::Integer(integer) => write_integer(out, b':', *integer),
        Reply::Bulk(bytes) => write_bulk(out, bytes),
        Reply::Null | Reply::NullArray if resp3 => out.put_slice(b"_\r\n"),
        Reply::Null => out.put_slice(b"$-1\r\n"),
        Reply::NullArray => out.put_slice(b"*-1\r\n"),
        Reply::Boolean(truth) if resp3 => {
            out.put_slice(if *truth { b"#t\r\n" } else { b"#f\r\n" });
        }
        Reply::Boolean(truth) => write_integer(out, b':', i64::from(*truth)),
        Reply::Double(number) if resp3 => {
            out.put_u8(b',');
            out.put_slice(format_double(*number).as_bytes());
            out.put_slice(b"\r\n");
        }
        Reply::Double(number) => write_bulk(out, format_double(*number).as_bytes()),
        Reply::BigNumber(digits) if resp3 => {
            out.put_u8(b'(');
            out.put_slice(digits);
            out.put_slice(b"\r\n");
        }
        Reply::BigNumber(digits) => write_bulk(out, digits),
        Reply::Verbatim(text) if resp3 => {
            const FORMAT: &[u8] = b"txt:";
            write_header(out, b'=', FORMAT.len() + text.len());
            out.put_slice(FORMAT);
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
        Reply::Verbatim(text) => write_bulk(out, text),
        Reply::Array(items) => {
            write_header(out, b'*', items.len());
            return Some(Rest::Items(items.iter()));
        }
        Reply::Set(items) => {
            write_header(out, if resp3 { b'~' } else { b'*' }, items.len());
            return Some(Rest::Items(items.iter()));
        }
        Reply::PairsOrMap(pairs) if resp3 => {
            write_header(out, b'%', pairs.len());
            return Some(Rest::Pairs(pairs.iter()));
        }
        Reply::PairsOrMap(pairs) => {
            write_array_header(out, pairs.len());
            return Some(Rest::Twos(pairs.iter()));
        }
        Reply::Pairs(pairs) if resp3 => {
            write_array_header(out, pairs.len());
            return Some(Rest::Twos(pairs.iter()));
        }
        Reply::Pairs(pairs) => {
            write_array_header(out, 2 * pairs.len());
            return Some(Rest::Pairs(pairs.iter()));
        }
        Reply::Map(pairs) => {
            if resp3 {
                write_header(out, b'%', pairs.len());
            } else {
                write_header(out, b'*', 2 * pairs.len());
            }
            return Some(Rest::Pairs(pairs.iter()));
        }
    }
    None
}

fn write_bulk(out: &mut BytesMut, bytes: &[u8]) {
    write_header(out, b'$', bytes.len());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Writes a mark, a length and a line end.
pub(super) fn write_header(out: &mut BytesMut, mark: u8, length: usize) {
    write_digits(out, mark, false, length as u64);
}

fn write_integer(out: &mut BytesMut, mark: u8, integer: i64) {
    write_digits(out, mark, integer < 0, integer.unsigned_abs());
}

/// By hand, since it is on every reply's way and formatting through `fmt` costs several times
/// as much.
fn write_digits(out: &mut BytesMut, mark: u8, negative: bool, mut number: u64) {
    /// A mark, a sign, the digits of the largest number and a line end.
    const BYTES_MAX: usize = 1 + 1 + 20 + 2;
    let mut line = [0; BYTES_MAX];
    line[BYTES_MAX - 2..].copy_from_slice(b"\r\n");
    let mut begin = BYTES_MAX - 2;
    loop {
        begin -= 1;
        line[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if negative {
        begin -= 1;
        line[begin] = b'-';
    }
    begin -= 1;
    line[begin] = mark;
    out.put_slice(&line[begin..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(reply: &Reply) -> (String, String) {
        let text = |version| {
            let mut out = BytesMut::new();
            write(&mut out, version, reply);
            String::from_utf8(out.to_vec()).unwrap()
        };
        (text(Version::Resp2), text(Version::Resp3))
    }

    #[test]
    fn each_reply_in_both_versions() {
        let one = || Reply::Integer(1);
        for (reply, resp2, resp3) in [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (
                Reply::Error("ERR a\r\nb\n".into()),
                "-ERR a  b\r\n",
                "-ERR a  b\r\n",
            ),
            (
                Reply::Integer(i64::MIN),
                ":-9223372036854775808\r\n",
                ":-9223372036854775808\r\n",
            ),
            (Reply::Integer(0), ":0\r\n", ":0\r\n"),
            (Reply::bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (
                Reply::bulk("a\r\nb"),
                "$4\r\na\r\nb\r\n",
                "$4\r\na\r\nb\r\n",
            ),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Boolean(true), ":1\r\n", "#t\r\n"),
            (Reply::Boolean(false), ":0\r\n", "#f\r\n"),
            (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (
                Reply::Verbatim("hi".into()),
                "$2\r\nhi\r\n",
                "=6\r\ntxt:hi\r\n",
            ),
            (Reply::Array(vec![]), "*0\r\n", "*0\r\n"),
            (Reply::Set(vec![one()]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
            (
                Reply::Map(vec![(
                    Reply::bulk("a"),
                    Reply::Array(vec![one(), Reply::Map(vec![(one(), one())]), one()]),
                )]),
                "*2\r\n$1\r\na\r\n*3\r\n:1\r\n*2\r\n:1\r\n:1\r\n:1\r\n",
                "%1\r\n$1\r\na\r\n*3\r\n:1\r\n%1\r\n:1\r\n:1\r\n:1\r\n",
            ),
            (
                Reply::Array(vec![
                    Reply::Pairs(vec![(Reply::Null, one()), (one(), Reply::Null)]),
                    one(),
                ]),
                "*2\r\n*4\r\n$-1\r\n:1\r\n:1\r\n$-1\r\n:1\r\n",
                "*2\r\n*2\r\n*2\r\n_\r\n:1\r\n*2\r\n:1\r\n_\r\n:1\r\n",
            ),
            (
                Reply::PairsOrMap(vec![(Reply::Null, one()), (one(), Reply::Null)]),
                "*2\r\n*2\r\n$-1\r\n:1\r\n*2\r\n:1\r\n$-1\r\n",
                "%2\r\n_\r\n:1\r\n:1\r\n_\r\n",
            ),
        ] {
            assert_eq!(both(&reply), (resp2.to_owned(), resp3.to_owned()));
        }
    }

    #[test]
    fn pushes_are_arrays_to_older_clients() {
        for (version, text) in [
            (Version::Resp2, "*2\r\n$1\r\na\r\n:1\r\n"),
            (Version::Resp3, ">2\r\n$1\r\na\r\n:1\r\n"),
        ] {
            let mut out = BytesMut::new();
            write_push(&mut out, version, &[Reply::bulk("a"), Reply::Integer(1)]);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        const DEPTH: usize = 100_000;
        let mut reply = Reply::Integer(1);
        for _ in 0..DEPTH {
            reply = Reply::Array(vec![reply]);
        }
        let mut out = BytesMut::new();
        write(&mut out, Version::Resp3, &reply);
        assert_eq!(out.len(), DEPTH * 4 + 4);
        // Dropping it would recurse.
        while let Reply::Array(mut items) = reply {
            reply = items.remove(0);
        }
    }
}
