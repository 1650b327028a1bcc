//! Stories: commands and what they answer, as a person would see them in redis-cli.
//!
//! ```text
//! > SET a 1 PX 5        a command; words in double quotes may hold \" \\ \n \r \t \xHH
//! OK                    its whole answer
//! @ 6                   the clock, in milliseconds since the story began
//! > GET a
//! (nil)
//! ! set a               (optional, after an answer) the events of the last command, in order;
//!                       nothing after the mark if there are none
//! ```
//! Every story is told twice, on two keyspaces; they have to end the same. Commands that only
//! read are run as reads.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Context, Effects, Executed, Flags, Moment, find};
use crate::core::{data::Keyspace, reply::Reply};

/// When stories begin: an arbitrary day.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// Runs a command of plain words in a database; as a read, if it only reads.
pub(crate) fn run(keyspace: &mut Keyspace, database: usize, call: &str, now_ms: u64) -> Executed {
    let words: Vec<Bytes> = call
        .split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let command = find(&words).expect("a command");
    let at = Moment {
        now_ms,
        seed: 1,
        version: 1,
        reading: command.flags.has(Flags::READONLY),
    };
    let mut effects = Effects::default();
    let mut context = Context::new(keyspace, database, at, &mut effects);
    command.run(&mut context, &words)
}

/// Tells a story; panics where an answer differs, with both.
pub(crate) fn story(text: &str) {
    let (first, second) = (tell(text), tell(text));
    assert_eq!(
        format!("{first:?}"),
        format!("{second:?}"),
        "told twice, a story ended in two ways"
    );
}

fn tell(text: &str) -> Keyspace {
    let mut teller = Teller::default();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        // Answers are indented as their commands are; what is beyond shows nesting.
        let indent = lines[at].len() - line.len();
        at += 1;
        if let Some(call) = line.strip_prefix("> ") {
            let begin = at;
            while at < lines.len() && !is_next(lines[at]) {
                at += 1;
            }
            let expected: Vec<&str> = lines[begin..at]
                .iter()
                .map(|line| line.get(indent..).unwrap_or_default())
                .collect();
            let expected = expected.join("\n");
            let answered = teller.call(call);
            assert_eq!(answered.trim_end(), expected.trim_end(), "> {call}");
        } else if let Some(now) = line.strip_prefix("@ ") {
            teller.now_ms = now.parse().expect("milliseconds");
        } else if let Some(events) = line.strip_prefix('!') {
            assert_eq!(teller.events, events.trim(), "events before line {at}");
        } else {
            assert!(line.is_empty(), "what is {line:?}?");
        }
    }
    teller.keyspace
}

fn is_next(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || ["> ", "@ ", "!"].iter().any(|mark| line.starts_with(mark))
}

#[derive(Default)]
struct Teller {
    keyspace: Keyspace,
    database: usize,
    now_ms: u64,
    calls: u64,
    events: String,
}

impl Teller {
    fn call(&mut self, call: &str) -> String {
        let words = split(call);
        // The connection's, not a command of a keyspace.
        if words[0].eq_ignore_ascii_case(b"SELECT") {
            self.database = std::str::from_utf8(&words[1])
                .ok()
                .and_then(|index| index.parse().ok())
                .expect("a database");
            return "OK".to_owned();
        }
        self.calls += 1;
        let Some(command) = find(&words) else {
            panic!("no such command: {call}");
        };
        let mut effects = Effects::default();
        let moment = Moment {
            now_ms: BEGIN_MS + self.now_ms,
            seed: self.calls,
            version: self.calls,
            reading: command.flags.has(Flags::READONLY),
        };
        let mut context = Context::new(&mut self.keyspace, self.database, moment, &mut effects);
        let places = command.keys.of(&words);
        assert!(places.iter().all(|place| *place < words.len()));
        let reply = command.run(&mut context, &words);
        let events: Vec<String> = effects
            .events
            .iter()
            .map(|event| format!("{} {}", event.name, show(&event.key)))
            .collect();
        self.events = events.join(", ");
        let mut shown = String::new();
        if effects.blocks {
            shown.push_str("(blocks)\n");
        }
        match reply {
            Ok(reply) => write(&mut shown, &reply, 0),
            Err(error) => {
                assert!(
                    effects
                        .changed
                        .iter()
                        .all(|(_, key)| effects
                            .events
                            .iter()
                            .any(|event| ["expired", "hexpired"].contains(&event.name)
                                && event.key == *key)),
                    "{call} failed and changed something"
                );
                let _ = writeln!(shown, "(error) {error}");
            }
        }
        shown
    }
}

/// As redis-cli shows replies.
fn write(out: &mut String, reply: &Reply, depth: usize) {
    let _ = match reply {
        Reply::Status(text) => writeln!(out, "{text}"),
        Reply::Simple(text) | Reply::BigNumber(text) => {
            writeln!(out, "{}", String::from_utf8_lossy(text))
        }
        Reply::Error(text) => writeln!(out, "(error) {}", String::from_utf8_lossy(text)),
        Reply::Integer(integer) => writeln!(out, "(integer) {integer}"),
        Reply::Bulk(bytes) => writeln!(out, "\"{}\"", show(bytes)),
        Reply::Verbatim(bytes) => writeln!(out, "{}", String::from_utf8_lossy(bytes)),
        Reply::Null | Reply::NullArray => writeln!(out, "(nil)"),
        Reply::Double(number) => writeln!(out, "(double) {number}"),
        Reply::Boolean(truth) => writeln!(out, "({truth})"),
        Reply::Array(items) => {
            return write_all(out, items, "empty array", depth, |at| format!("{at})"));
        }
        Reply::Set(items) => {
            return write_all(out, items, "empty set", depth, |at| format!("{at}~"));
        }
        // As RESP3 has them.
        Reply::Pairs(pairs) => {
            let items: Vec<Reply> = pairs
                .iter()
                .map(|(first, second)| Reply::Array(vec![first.clone(), second.clone()]))
                .collect();
            return write_all(out, &items, "empty array", depth, |at| format!("{at})"));
        }
        Reply::Map(pairs) | Reply::PairsOrMap(pairs) => {
            if pairs.is_empty() {
                out.push_str("(empty hash)\n");
            }
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push_str(&"   ".repeat(depth));
                }
                let mut shown = String::new();
                write(&mut shown, key, depth + 1);
                let _ = write!(out, "{}# {} => ", at + 1, shown.trim_end());
                write(out, value, depth + 1);
            }
            return;
        }
    };
}

fn write_all(
    out: &mut String,
    items: &[Reply],
    empty: &str,
    depth: usize,
    mark: fn(usize) -> String,
) {
    if items.is_empty() {
        let _ = writeln!(out, "({empty})");
    }
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(&"   ".repeat(depth));
        }
        let _ = write!(out, "{} ", mark(at + 1));
        write(out, item, depth + 1);
    }
}

fn show(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for byte in bytes {
        match byte {
            b'"' => shown.push_str("\\\""),
            b'\\' => shown.push_str("\\\\"),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b'\t' => shown.push_str("\\t"),
            0x20..0x7f => shown.push(char::from(*byte)),
            _ => {
                let _ = write!(shown, "\\x{byte:02x}");
            }
        }
    }
    shown
}

/// Words between spaces; inside double quotes with escapes.
fn split(line: &str) -> Vec<Bytes> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let mut word = Vec::new();
        match byte {
            b' ' => continue,
            b'"' => loop {
                match bytes.next().expect("a closing quote") {
                    b'"' => break,
                    b'\\' => match bytes.next().expect("an escape") {
                        b'n' => word.push(b'\n'),
                        b'r' => word.push(b'\r'),
                        b't' => word.push(b'\t'),
                        b'x' => {
                            let digits = [bytes.next(), bytes.next()]
                                .map(|digit| char::from(digit.expect("two digits")).to_digit(16));
                            let [Some(high), Some(low)] = digits else {
                                panic!("not hexadecimal: {line}");
                            };
                            word.push(u8::try_from(high * 16 + low).expect("a byte"));
                        }
                        other => word.push(other),
                    },
                    other => word.push(other),
                }
            },
            first => {
                word.push(first);
                while let Some(next) = bytes.next_if(|next| *next != b' ') {
                    word.push(next);
                }
            }
        }
        words.push(Bytes::from(word));
    }
    words
}
