//! A file that Redis wrote, files of every type of value, and damaged ones.

use proptest::prelude::*;

use super::*;
use crate::core::data::{
    End, Hash, Kind as _, List, Milliseconds, RedisString, Set, SortedSet, Value,
};

/// Saved by a Redis 7.0 that was told one or two of every type, and a library of functions.
const REDIS: &[u8] = include_bytes!("redis-7.0.rdb");

/// A key with all that was read of its value.
#[derive(Clone, Debug, PartialEq)]
struct Whole {
    key: Key,
    body: Vec<u8>,
    /// By its elements; none for a stream and a module's value.
    elements: Option<Vec<Element>>,
}

#[derive(Debug, Default, PartialEq)]
struct File {
    keys: Vec<Whole>,
    auxiliary: Vec<(Vec<u8>, Vec<u8>)>,
    functions: Vec<Vec<u8>>,
    modules: usize,
    bytes: usize,
}

/// Reads a file that comes in pieces of so many bytes.
fn read(bytes: &[u8], piece: usize) -> Result<File, RdbError> {
    let mut parser = Parser::default();
    let (mut begin, mut end) = (0, 0);
    let mut file = File::default();
    let mut open: Option<Whole> = None;
    loop {
        let (event, length) = match parser.next(&bytes[begin..end])? {
            Step::Found(event, length) => (event, length),
            Step::More(_) if end == bytes.len() => return Err(parser.short(end - begin)),
            Step::More(count) => {
                assert!(count > 0);
                end = (end + count.max(piece)).min(bytes.len());
                continue;
            }
        };
        begin += length;
        assert_eq!(parser.at(), begin as u64);
        match event {
            Event::Passed => {}
            Event::Auxiliary { name, value } => {
                file.auxiliary.push((name.into_owned(), value.into_owned()));
            }
            Event::Function(code) => file.functions.push(code.into_owned()),
            Event::Module => file.modules += 1,
            Event::Key(key) => {
                let elements = key.kind.map(|_| Vec::new());
                let body = Vec::new();
                open = Some(Whole {
                    key,
                    body,
                    elements,
                });
            }
            Event::Between(bytes) => open.as_mut().unwrap().body.extend_from_slice(bytes),
            Event::Element(bytes) => {
                let whole = open.as_mut().unwrap();
                let found = elements(whole.key.kind.unwrap(), &whole.body, bytes);
                match (found.ok().flatten(), &mut whole.elements) {
                    (Some(found), Some(all)) => all.extend(found),
                    _ => whole.elements = None,
                }
                whole.body.extend_from_slice(bytes);
            }
            Event::ValueEnd => file.keys.push(open.take().unwrap()),
            Event::End => {
                file.bytes = begin;
                return Ok(file);
            }
        }
    }
}

/// The value that writing these elements one by one makes.
fn written(elements: &[Element]) -> Value {
    let mut list = List::default();
    let mut set = Set::default();
    let mut sorted = SortedSet::default();
    let mut hash = Hash::default();
    for element in elements {
        match element {
            Element::String(text) => return RedisString::new(text).into_value(),
            Element::Item(item) => list.push(End::Right, item),
            Element::Member(member) => assert!(set.insert(member)),
            Element::Scored(member, score) => {
                assert_eq!(sorted.insert(member, score.parse().unwrap()), None);
            }
            Element::Field(field, value, at_ms) => {
                assert!(hash.set(field, value));
                if at_ms.is_some() {
                    hash.expire_at(field, *at_ms);
                }
            }
        }
    }
    match elements[0] {
        Element::String(_) | Element::Item(_) => list.into_value(),
        Element::Member(_) => set.into_value(),
        Element::Scored(..) => sorted.into_value(),
        Element::Field(..) => hash.into_value(),
    }
}

fn restored(whole: &Whole) -> Value {
    dump::restore(&payload(whole.key.kind.unwrap(), &whole.body)).unwrap()
}

/// A file of version 12 with this between its head and its end.
fn file(middle: &[u8]) -> Vec<u8> {
    file_of_version("0012", middle)
}

fn file_of_version(version: &str, middle: &[u8]) -> Vec<u8> {
    let mut bytes = [b"REDIS", version.as_bytes(), middle, b"\xff"].concat();
    let sum = dump::crc64_of(0, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn a_file_of_redis() {
    let found = read(REDIS, usize::MAX / 2).unwrap();
    assert_eq!(found.bytes, REDIS.len());
    let version = (b"redis-ver".to_vec(), b"7.0.15".to_vec());
    assert!(found.auxiliary.contains(&version));
    assert!(found.functions[0].starts_with(b"#!lua name=mylib\n"));
    let named = |name: &str| {
        let mut keys = found.keys.iter();
        keys.find(|whole| whole.key.name == name.as_bytes())
            .unwrap()
    };
    assert_eq!(found.keys.len(), 16);
    for (name, text) in [
        ("word", "hello"),
        ("number", "12"),
        ("large", "123456789012"),
        ("negative", "-70000"),
        ("packed", &"abc".repeat(40)),
    ] {
        let value = RedisString::new(text.as_bytes()).into_value();
        assert_eq!(restored(named(name)), value, "{name}");
    }
    assert_eq!(named("ends").key.expires_at_ms, Some(4_102_444_800_000));
    assert_eq!(named("word").key.expires_at_ms, None);
    let databases = |number| {
        found
            .keys
            .iter()
            .filter(|it| it.key.database == number)
            .count()
    };
    assert_eq!((databases(0), databases(9)), (15, 1));
    let lengths = |name: &str| match restored(named(name)) {
        Value::List(list) => list.len(),
        Value::Set(set) => set.len(),
        Value::SortedSet(set) => set.len(),
        Value::Hash(hash) => hash.stored(),
        Value::Stream(stream) => stream.len(),
        Value::String(_) => 1,
    };
    let all = [
        "list", "numbers", "words", "small", "wide", "few", "many", "stream",
    ];
    assert_eq!(all.map(lengths), [7, 3, 4, 2, 2, 4, 2, 2]);
    for whole in &found.keys {
        match &whole.elements {
            Some(elements) => assert_eq!(written(elements), restored(whole), "{whole:?}"),
            None => assert_eq!(whole.key.name, b"stream"),
        }
    }
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(read(REDIS, piece).unwrap(), found, "{piece}");
    }
}

/// Forms of values that Redis 7.0 does not write, by their descriptions.
#[test]
fn older_and_newer_forms() {
    let row = b"\x0e\x0e\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x00\x01f\xff";
    let pair = b"\x11\x11\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x00\x01f\x00\xfe\xfb\xff";
    let moments = [
        &0x1234_u64.to_le_bytes()[..],
        b"\x02\x00\x01a\x011\x03\x01b\x012",
    ]
    .concat();
    let packed_moments = [
        &7_u64.to_le_bytes()[..],
        b"\x15\x15\x00\x00\x00\x06\x00\x81a\x02\x01\x01\x00\x01\x81b\x02\x02\x01\x07\x01\xff",
    ]
    .concat();
    for (kind, body, count) in [
        (1, &b"\x02\x01a\xc0\xff"[..], 2),
        (2, b"\x02\x01a\x01b", 2),
        (3, b"\x02\x01a\x031.5\x01b\xfe", 2),
        (9, b"\x0a\x01\x01a\x02\x02bc\x00\x00\xff", 1),
        (10, row, 1),
        (12, pair, 1),
        (13, pair, 1),
        (14, &[&[2][..], row, row].concat(), 2),
        (18, b"\x02\x01\x80\x00\x00\x00\x01a\x01\x01b", 2),
        (20, b"\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff", 1),
        (24, &moments, 2),
        (25, &packed_moments, 2),
    ] {
        let bytes = file(&[&[kind][..], b"\x03key", body].concat());
        let found = read(&bytes, 1).unwrap_or_else(|error| panic!("type {kind}: {error}"));
        let [whole] = &found.keys[..] else {
            panic!("type {kind}: one key");
        };
        assert_eq!((&whole.key.name[..], &whole.body[..]), (&b"key"[..], body));
        let elements = whole.elements.as_ref().unwrap();
        assert_eq!(elements.len(), count, "type {kind}");
        assert_eq!(written(elements), restored(whole), "type {kind}");
    }
}

#[test]
fn what_stands_between_keys() {
    let middle = [
        // Of a cluster: slot 7 with two keys, one of which ends.
        &b"\xf4\x07\x02\x01"[..],
        // Data of a module, with one piece of each form.
        b"\xf7\x81\x01\x02\x03\x04\x05\x06\x07\x08\x02\x01\x01\x2a\x02\x2b",
        b"\x03abcd\x04abcdefgh\x05\x02hi\x00",
        // Two databases, and in one of them keys with moments, an idle time, a frequency.
        b"\xfe\x00\xfb\x02\x01",
        b"\xfd\x01\x00\x00\x00\xf8\x40\x40\x00\x01a\x011",
        b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xf9\xff\x00\x01b\x012",
        b"\xfe\x02\x00\x01c\x013",
        // A module's value.
        b"\x07\x01m\x81\x01\x02\x03\x04\x05\x06\x07\x08\x05\x02hi\x00",
    ]
    .concat();
    let found = read(&file(&middle), 1).unwrap();
    assert_eq!(found.modules, 1);
    let keys: Vec<_> = found
        .keys
        .iter()
        .map(|it| {
            (
                it.key.name[0],
                it.key.database,
                it.key.expires_at_ms,
                it.key.kind,
            )
        })
        .collect();
    assert_eq!(
        keys,
        [
            (b'a', 0, Some(1_000), Some(0)),
            (b'b', 0, Some(1), Some(0)),
            (b'c', 2, None, Some(0)),
            (b'm', 2, None, None),
        ]
    );
    assert!(is_over(keys[1].2, 1) && !is_over(keys[0].2, 999) && !is_over(None, u64::MAX));
}

#[test]
fn versions() {
    let old = b"REDIS0003\xfe\x00\x00\x01a\x011\xff";
    assert_eq!(read(old, 1).unwrap().keys.len(), 1, "without a checksum");
    let mut unsummed = file(b"");
    let at = unsummed.len() - 8;
    unsummed[at..].fill(0);
    assert_eq!(read(&unsummed, 1).unwrap().bytes, unsummed.len());
    let followed = [&file(b"")[..], b"more"].concat();
    assert_eq!(read(&followed, 100).unwrap().bytes, followed.len() - 4);
    for (version, digits) in [(0, "0000"), (13, "0013"), (9_999, "9999")] {
        let refused = read(&file_of_version(digits, b""), 1);
        assert_eq!(refused, Err(RdbError::Version { version }));
    }
    for other in [
        "REDIS",
        "REDIS00x2\u{ff}",
        "REDIS-001x",
        "*1\r\n$4\r\nPING\r\n",
    ] {
        assert_eq!(read(other.as_bytes(), 1), Err(RdbError::NoRdb), "{other}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |middle: &[u8]| read(&file(middle), 1).unwrap_err();
    for kind in [6, 8, 22, 26, 200, 243, 246] {
        assert_eq!(refused(&[kind]), RdbError::Unknown { at: 9, kind });
    }
    // A string of 2^63 bytes; one of an unknown form; a database in the form of a string.
    let long = refused(b"\x00\x01a\x81\x80\x00\x00\x00\x00\x00\x00\x00");
    assert_eq!(long, RdbError::TooLong { at: 12 });
    for damaged in [
        &b"\x00\x01a\xc4"[..],
        b"\xfe\xc0\x01",
        b"\x03\x01a\x01\x01b\xfd",
        b"\xf7\x01\x02\x00\x09",
        b"\x00\xc3\x01\x05a",
    ] {
        let error = refused(damaged);
        assert!(matches!(error, RdbError::Damaged { .. }), "{error}");
    }
    // Members that are claimed and not there end with the file, and take no memory.
    let short = read(
        b"REDIS0012\x02\x01a\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01b",
        1,
    );
    assert_eq!(short, Err(RdbError::Short { at: 23 }));
}

#[test]
fn every_beginning_is_short_and_every_change_is_seen() {
    for end in 0..REDIS.len() {
        let error = read(&REDIS[..end], 64).unwrap_err();
        let short = matches!(error, RdbError::Short { .. } | RdbError::NoRdb);
        assert!(short, "{end}: {error}");
    }
    for at in 0..REDIS.len() {
        let mut changed = REDIS.to_vec();
        changed[at] ^= 0x10;
        assert!(read(&changed, 256).is_err(), "{at}");
    }
}

proptest! {
    /// What any dump holds is found again, and its elements make the same value.
    #[test]
    fn sets_and_hashes_of_any_bytes(
        members in proptest::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 1..20),
        moment in 1..1_000_000 as Milliseconds,
        piece in 1..100_usize,
    ) {
        let mut hash = Hash::default();
        let mut set = Set::default();
        for (index, (field, value)) in members.iter().enumerate() {
            hash.set(field, value);
            if index % 3 == 1 {
                hash.expire_at(field, Some(moment + index as Milliseconds));
            }
            set.insert(field);
        }
        let mut middle = Vec::new();
        let values = [hash.into_value(), set.into_value()];
        for value in &values {
            let dumped = dump::dump(value);
            middle.push(dumped[0]);
            middle.extend_from_slice(b"\x01k");
            middle.extend_from_slice(&dumped[1..dumped.len() - 10]);
        }
        let found = read(&file(&middle), piece).unwrap();
        for (whole, value) in found.keys.iter().zip(&values) {
            prop_assert_eq!(&restored(whole), value);
            prop_assert_eq!(&written(whole.elements.as_ref().unwrap()), value);
        }
    }

    /// A file of Redis that was changed, and says nothing about its checksum.
    #[test]
    fn changed_files_are_read_alike_in_all_pieces(
        changes in proptest::collection::vec((9..REDIS.len() - 8, any::<u8>()), 1..6),
        cut in any::<u8>(),
    ) {
        let mut bytes = REDIS.to_vec();
        let sum = bytes.len() - 8;
        bytes[sum..].fill(0);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.insert(0, cut);
        crate::fuzzing::rdb(&bytes);
    }

    #[test]
    fn no_bytes_panic(middle in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..50_usize) {
        let bytes = file(&middle);
        prop_assert_eq!(read(&bytes, piece), read(&bytes, bytes.len()));
    }
}
