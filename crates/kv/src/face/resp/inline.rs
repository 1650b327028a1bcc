//! Requests that a person types: words between spaces.

use bytes::Bytes;

use super::ProtocolError;

/// The words of a line without its end. Double quotes may hold `\n \r \t \a \b \xHH` and `\`
/// before any other character, single quotes `\'`. After a closing quote comes a space.
pub(super) fn words(line: &[u8]) -> Result<Vec<Bytes>, ProtocolError> {
    // In Redis the line is a C string.
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        // Not among ASCII's white space, for Rust.
        if let Some(after) = rest.strip_prefix(b"\x0b") {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Ok(words);
        }
        let word;
        (word, rest) = first(rest)?;
        words.push(Bytes::from(word));
    }
}

/// The first word, and what follows it.
fn first(line: &[u8]) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    let mut word = Vec::new();
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' | b'\'' => {
                rest = quoted(*byte, rest, &mut word)?;
                break;
            }
            _ => word.push(*byte),
        }
    }
    Ok((word, rest))
}

/// What quotes hold is added to the word; gives what follows them.
fn quoted<'a>(
    quote: u8,
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        match (quote, rest) {
            (b'"', [b'\\', b'x', high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (b'"', [b'\\', escaped, after @ ..]) => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            (b'\'', [b'\\', b'\'', after @ ..]) => {
                word.push(b'\'');
                rest = after;
            }
            (_, [byte, after @ ..]) if *byte == quote => {
                return match after.first() {
                    None => Ok(after),
                    Some(next) if next.is_ascii_whitespace() || *next == 0x0b => Ok(after),
                    Some(_) => Err(ProtocolError::UnbalancedQuotes),
                };
            }
            (_, [byte, after @ ..]) => {
                word.push(*byte);
                rest = after;
            }
            (_, []) => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

/// The value of a hexadecimal digit.
fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Whether this is how HTTP begins or goes on. Redis ends the connection at `POST` and `Host:`,
/// since a web page can make a browser send them to any port, with a body that is commands; we
/// end it at the first line already.
pub(super) fn is_http(words: &[Bytes]) -> bool {
    match words {
        [first, ..]
            if first.eq_ignore_ascii_case(b"POST") || first.eq_ignore_ascii_case(b"Host:") =>
        {
            true
        }
        [_, _, third] => third.starts_with(b"HTTP/1."),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_by_redis() {
        let cases: &[(&str, &[&[u8]])] = &[
            ("", &[]),
            (" \t\x0b ", &[]),
            ("set a b", &[b"set", b"a", b"b"]),
            (r#"set "a b" 'c d'"#, &[b"set", b"a b", b"c d"]),
            (r#""\x41\n\q\xZZ""#, &[b"A\nqxZZ"]),
            (r#"'\x41' 'it\'s'"#, &[br"\x41", b"it's"]),
            (r#"a"b" c"#, &[b"ab", b"c"]),
            (r#""" ''"#, &[b"", b""]),
            ("a\0b", &[b"a"]),
        ];
        for (line, expected) in cases {
            let read = words(line.as_bytes()).unwrap();
            assert_eq!(read, *expected, "{line:?}");
        }
        for line in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\", "\"a\\\"", "a\"\0\""] {
            assert_eq!(
                words(line.as_bytes()),
                Err(ProtocolError::UnbalancedQuotes),
                "{line:?}"
            );
        }
    }

    #[test]
    fn http_is_known_by_its_lines() {
        for (line, http) in [
            ("GET / HTTP/1.1", true),
            ("PUT /a HTTP/1.0", true),
            ("post", true),
            ("host: 127.0.0.1", true),
            ("GET a", false),
            ("SET HTTP/1.1 1", false),
            ("HTTP/1.1 200 OK", false),
        ] {
            assert_eq!(is_http(&words(line.as_bytes()).unwrap()), http, "{line:?}");
        }
    }
}
