//! MONITOR: the lines that it shows (Redis: "MONITOR").
//!
//! Commands are shown as they come to this node, those of a transaction before its EXEC; what is
//! refused before it is run is not. Passwords are never shown.

use std::fmt::Write as _;

use atoll_world::clock;
use bytes::Bytes;

use crate::face::session::Session;

/// So many bytes of a command's words are shown: what monitors hold is kept small.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// A command of a client, from when and whom; none for what is shown to nobody.
pub(super) fn line(session: &Session, address: &str, words: &[Bytes]) -> Option<Bytes> {
    let name = words.first()?;
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is("MONITOR") {
        return None;
    }
    Some(line_of(session.database(), address, words))
}

/// A command in a database, from somebody: a client's address, or `lua`.
pub(super) fn line_of(database: usize, from: &str, words: &[Bytes]) -> Bytes {
    let now_ms = clock::wall_ms();
    let (seconds, micros) = (now_ms / 1000, now_ms % 1000 * 1000);
    let mut line = format!("{seconds}.{micros:06} [{database} {from}]");
    let hidden_from = secret_from(words);
    for (place, word) in words.iter().enumerate() {
        if place >= hidden_from {
            line.push_str(" \"(redacted)\"");
            continue;
        }
        line.push_str(" \"");
        let room = SHOWN_BYTES_MAX.saturating_sub(line.len());
        for byte in &word[..word.len().min(room)] {
            push(&mut line, *byte);
        }
        line.push('"');
        if word.len() > room {
            line.push_str("...");
            break;
        }
    }
    line.into()
}

/// The place of the first word that may be a password, which is shown to nobody; nor are those
/// after it.
pub(super) fn secret_from(words: &[Bytes]) -> usize {
    let is = |place: usize, name: &str| {
        let word = words.get(place);
        word.is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    match () {
        () if is(0, "AUTH") => 1,
        () if is(0, "ACL") && is(1, "SETUSER") => 2,
        () if is(0, "HELLO") => {
            let auth = words.iter().position(|it| it.eq_ignore_ascii_case(b"AUTH"));
            auth.map_or(usize::MAX, |place| place + 1)
        }
        () => usize::MAX,
    }
}

/// As in a string of C.
fn push(line: &mut String, byte: u8) {
    match byte {
        b'\\' | b'"' => {
            line.push('\\');
            line.push(char::from(byte));
        }
        b'\n' => line.push_str("\\n"),
        b'\r' => line.push_str("\\r"),
        b'\t' => line.push_str("\\t"),
        0x07 => line.push_str("\\a"),
        0x08 => line.push_str("\\b"),
        0x20..=0x7e => line.push(char::from(byte)),
        // Writing to a string does not fail.
        _ => {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::session::Settings;

    fn shown(words: &[&'static [u8]]) -> Option<String> {
        let settings = Settings {
            auth_required: false,
            cluster: false,
        };
        let session = Session::new(3, settings);
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::from_static(word)).collect();
        let line = line(&session, "1.2.3.4:5", &words)?;
        let line = String::from_utf8(line.to_vec()).unwrap();
        Some(line.split_once(' ').unwrap().1.to_owned())
    }

    #[test]
    fn words_are_quoted_and_passwords_are_not_shown() {
        assert_eq!(
            shown(&[b"set", b"a\"\\", b"\r\n\x00\xff"]).unwrap(),
            r#"[0 1.2.3.4:5] "set" "a\"\\" "\r\n\x00\xff""#
        );
        assert_eq!(
            shown(&[b"AUTH", b"me", b"secret"]).unwrap(),
            r#"[0 1.2.3.4:5] "AUTH" "(redacted)" "(redacted)""#
        );
        assert_eq!(
            shown(&[b"hello", b"3", b"auth", b"me", b"secret"]).unwrap(),
            r#"[0 1.2.3.4:5] "hello" "3" "auth" "(redacted)" "(redacted)""#
        );
        assert_eq!(
            shown(&[b"acl", b"setuser", b"ann", b">secret"]).unwrap(),
            r#"[0 1.2.3.4:5] "acl" "setuser" "(redacted)" "(redacted)""#
        );
        assert_eq!(shown(&[b"monitor"]), None);
        let long = vec![b'x'; 2 * SHOWN_BYTES_MAX].leak();
        assert!(shown(&[b"set", b"a", long]).unwrap().len() < SHOWN_BYTES_MAX + 64);
    }
}
