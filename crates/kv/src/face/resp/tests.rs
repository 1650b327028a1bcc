//! Requests in, words out, however they are cut.

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};

use super::*;

type Read = Result<Vec<Vec<Bytes>>, ProtocolError>;

/// What is read of bytes that come in pieces of these sizes, again and again; the first error
/// ends it.
fn read(bytes: &[u8], pieces: &[usize], limits: Limits, authenticated: bool) -> Read {
    let mut parser = Parser::new(limits);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    let mut rest = bytes;
    let mut sizes = pieces.iter().copied().cycle();
    loop {
        while let Some(words) = parser.next(&mut buffer, authenticated)? {
            requests.push(words);
        }
        if rest.is_empty() {
            return Ok(requests);
        }
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        buffer.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
    }
}

fn whole(bytes: impl AsRef<[u8]>) -> Read {
    read(bytes.as_ref(), &[], Limits::default(), true)
}

fn unknown(bytes: impl AsRef<[u8]>) -> Read {
    read(bytes.as_ref(), &[], Limits::default(), false)
}

fn words(words: &[&'static str]) -> Vec<Bytes> {
    words.iter().copied().map(Bytes::from).collect()
}

#[test]
fn requests_follow_each_other() {
    let read = whole(
        "*2\r\n$3\r\nGET\r\n$1\r\na\r\n\r\n  \nPING\r\n*0\r\n*-1\r\nset a \"b c\"\n*1\r\n$0\r\n\r\n*1\r\n$4\r\nPI",
    );
    assert_eq!(
        read,
        Ok(vec![
            words(&["GET", "a"]),
            words(&["PING"]),
            words(&["set", "a", "b c"]),
            words(&[""]),
        ])
    );
}

#[test]
fn words_of_one_read_are_not_copied() {
    let mut buffer = BytesMut::from("*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n");
    let begin = buffer.as_ptr() as usize;
    let mut parser = Parser::default();
    for place in [8, 19] {
        let read = parser.next(&mut buffer, true).unwrap().unwrap();
        assert_eq!(read[0].as_ptr() as usize - begin, place);
    }
}

#[test]
fn nonsense_is_told_in_the_words_of_redis() {
    let long = "a".repeat(70_000);
    for (bytes, text) in [
        (format!("*{long}"), "too big mbulk count string"),
        (format!("*1\r\n${long}"), "too big bulk count string"),
        (long.clone(), "too big inline request"),
        (format!("{long}\r\n"), "too big inline request"),
        ("*a\r\n".to_owned(), "invalid multibulk length"),
        ("*\r\n".to_owned(), "invalid multibulk length"),
        ("*3000000000\r\n".to_owned(), "invalid multibulk length"),
        ("*1048577\r\n".to_owned(), "invalid multibulk length"),
        ("*1\r\nfoo\r\n".to_owned(), "expected '$', got 'f'"),
        ("*1\r\n\r\n".to_owned(), "expected '$', got ' '"),
        ("*1\r\n$-1\r\n".to_owned(), "invalid bulk length"),
        ("*-0\r\n".to_owned(), "invalid multibulk length"),
        ("*01\r\n".to_owned(), "invalid multibulk length"),
        ("*1\r\n$04\r\n".to_owned(), "invalid bulk length"),
        ("*1\r\n$a\r\n".to_owned(), "invalid bulk length"),
        ("*1\r\n$536870913\r\n".to_owned(), "invalid bulk length"),
        ("set \"a\r\n".to_owned(), "unbalanced quotes in request"),
    ] {
        let error = whole(&bytes).unwrap_err();
        let mut out = BytesMut::new();
        write_error(&mut out, &error.reply().expect("it is told"));
        assert_eq!(
            out,
            format!("-ERR Protocol error: {text}\r\n"),
            "{}",
            &bytes[..bytes.len().min(20)]
        );
    }
}

#[test]
fn the_unknown_may_say_little() {
    assert_eq!(unknown("*11\r\n"), Err(ProtocolError::CountUnauthenticated));
    assert_eq!(unknown("*10\r\n"), Ok(vec![]));
    assert_eq!(
        unknown("*1\r\n$16385\r\n"),
        Err(ProtocolError::LengthUnauthenticated)
    );
    assert_eq!(unknown("*1\r\n$16384\r\n"), Ok(vec![]));
    assert_eq!(whole("*11\r\n$16385\r\n"), Ok(vec![]));
}

#[test]
fn a_browser_is_shown_the_door_without_a_word() {
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\n",
        "hOST: a\r\n",
    ] {
        let error = whole(bytes).unwrap_err();
        assert_eq!(error, ProtocolError::Http);
        assert_eq!(error.reply(), None);
    }
}

#[test]
fn a_request_is_bounded_as_a_whole() {
    let limits = Limits {
        request_bytes_max: 64,
        ..Limits::default()
    };
    let long = format!("*1\r\n$100\r\n{}\r\n", "a".repeat(100));
    assert_eq!(
        read(long.as_bytes(), &[10], limits, true),
        Err(ProtocolError::TooLarge {
            request_bytes_max: 64
        })
    );
    // Many that are complete may be in the buffer at once.
    let many = "PING\r\n".repeat(100);
    assert_eq!(
        read(many.as_bytes(), &[], limits, true).map(|read| read.len()),
        Ok(100)
    );
}

#[test]
fn what_is_announced_is_not_set_aside() {
    let mut parser = Parser::default();
    let mut buffer = BytesMut::from("*1048576\r\n$536870912\r\n");
    assert_eq!(parser.next(&mut buffer, true), Ok(None));
    assert!(buffer.capacity() < 1024);
    assert!(format!("{parser:?}").len() < 1024);
}

fn requests() -> impl Strategy<Value = Vec<Vec<Bytes>>> {
    let word = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    vec(vec(word, 1..6), 0..6)
}

/// Bytes that are likely to be nearly a request.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..8),
        proptest::sample::select(vec![
            "*",
            "$",
            "\r\n",
            "*1\r\n",
            "$1\r\na\r\n",
            "*2\r\n$1\r\n",
            "-1",
            "\"",
            "'",
            "\\x4",
            "PING\r\n",
            "*-5\r\n",
            "\0",
            "$0\r\n\r\n",
            "HTTP/1.1\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_was_written_is_read(requests in requests(), pieces in vec(1usize..50, 1..10)) {
        let mut bytes = BytesMut::new();
        for words in &requests {
            write_request(&mut bytes, words);
        }
        let limits = Limits::default();
        prop_assert_eq!(read(&bytes, &pieces, limits, true), Ok(requests));
    }

    #[test]
    fn how_bytes_are_cut_does_not_matter(bytes in noise(), pieces in vec(1usize..9, 1..6)) {
        let limits = Limits { word_bytes_max: 64, request_bytes_max: 1024 };
        prop_assert_eq!(
            read(&bytes, &pieces, limits, false),
            read(&bytes, &[], limits, false)
        );
    }
}
