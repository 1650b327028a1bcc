//! Dumps that a Redis 7.0 wrote.

use super::*;

/// A list of words and numbers of all widths.
pub(super) const LISTPACK: &str = "120102c3407a510007001100000b008a77e00000020be040e0000be02e000242e082e02e39e042000301\
    84efffe0424ee0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00\
    e0ff00e0ff00e0ff00e033001a2081dfff02cfff02d00002f1001003f2ffff7f04f200008004f4ff8000\
    027f09ff0a00a4d67eada6bfa767";
/// A small sorted set.
pub(super) const SORTED_SET: &str = "1125250000000800816302842d696e6605816102010181620283322e3504816402f270110104ff0a007e\
    1d0450dce0e675";
/// A set of numbers.
pub(super) const INTSET: &str = "0b140400000003000000fdffffff05000000701101000a009db067c236a65f3f";
/// A compressed string.
pub(super) const PACKED: &str = "00c30b3c0361626361e02d020162630a006f6029e4afd764ac";
/// A small hash.
pub(super) const HASH: &str = "10151500000004008266310382763103826632030c01ff0a0083ebdfcfc8bb7bc8";
/// The example of Redis's documentation of RESTORE: a list of an older version.
pub(super) const ZIPLIST: &str =
    "0a171700000012000000030000c0010004c0020004c00300ff040075233cc03b2ee9dd";
/// A stream with groups.
pub(super) const STREAM: &str = "130110000000000000000500000000000000014051510000001f00030101010201816102816202000102\
    0100010001010181780205010301000101010201817902050100010101dfff0201018163020301060102\
    01c127020601f290eefe04827a7a030501ff03412c070501050204020167060081ffffffffffffffff02\
    0000000000000005000000000000000129dde6fda1010000010000000000000006000000000000000029\
    dde6fda1010000010203626f6229dde6fda1010000020000000000000005000000000000000100000000\
    000000060000000000000000036576652cdde6fda1010000000168412c0781ffffffffffffffff00000a\
    006975a5c488af6fe4";
/// A list with an item of a strange length.
const EDGE: &str = "120202c340cf80000040090b094000000100f0fa3f000076e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00\
    e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00\
    e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00\
    e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00\
    e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00\
    e000000300ffffff020c0c000000010083656e6404ff0a00249ef6f07b15c2af";

/// What a Redis 7.0 answers to DUMP.
#[test]
fn dumps_of_redis() {
    let (x, y, z) = ("x".repeat(70), "y".repeat(65), "z".repeat(65));
    let abc = "abc".repeat(20);
    let words: Vec<String> = [10, 64, 130, 4095]
        .into_iter()
        .map(|length| "w".repeat(length))
        .chain(
            [
                "-1",
                "4095",
                "-4096",
                "4096",
                "8388607",
                "-8388608",
                "9223372036854775807",
            ]
            .map(str::to_owned),
        )
        .collect();
    for (payload, value) in [
        ("000568656c6c6f0a006372df766534200a", string("hello")),
        ("00c290eefeff0a002875de7b13eb2800", string("-70000")),
        (PACKED, string(&abc)),
        (
            "120102c32e406e196e0000000700816102dffb02c12c02f270110104f4141a99be1c20180909\
             f3006cca8805e04678e03c000148ff0a00c042ae112488aa6d",
            list(&["a", "-5", "300", "70000", "123456789012", "-2000000000", &x]),
        ),
        (LISTPACK, list(&words)),
        (INTSET, set(&["5", "-3", "70000"])),
        (
            "02030163016201610a005ea67e5623750bab",
            set(&["a", "b", "c"]),
        ),
        (HASH, hash(&[("f1", "v1", 0), ("f2", "12", 0)])),
        (
            "04010166c3094041017979e034000179790a0021ef8f5990cf4fd0",
            hash(&[("f", &y, 0)]),
        ),
        (
            SORTED_SET,
            sorted_set(&[
                (1.0, "a"),
                (2.5, "b"),
                (f64::NEG_INFINITY, "c"),
                (70_000.0, "d"),
            ]),
        ),
        (
            "05020171000000000000f07fc3094041017a7ae03400017a7a000000000000f83f0a00340a0d\
             9314b122e0",
            // Redis writes from high to low.
            sorted_set(&[(f64::INFINITY, "q"), (1.5, &z)]),
        ),
        (ZIPLIST, list(&["1", "2", "3"])),
    ] {
        let payload = bytes(payload);
        let restored = restore(&payload);
        // Sets keep the order in which members came, which is Redis's business here.
        if let (Ok(Value::Set(restored)), Value::Set(expected)) = (&restored, &value) {
            let sorted = |set: &Set| {
                let mut members: Vec<Vec<u8>> =
                    set.iter().map(|member| member.into_owned()).collect();
                members.sort();
                members
            };
            assert_eq!(sorted(restored), sorted(expected));
        } else {
            assert_eq!(restored, Ok(value), "{payload:02x?}");
        }
        let mut changed = payload.clone();
        changed[0] ^= 1;
        assert_eq!(restore(&changed), Err(RestoreError::Envelope));
    }
}

/// A Redis 7.0 was told XADD, XDEL, XGROUP CREATE and XREADGROUP.
#[test]
fn a_stream_of_redis() {
    let payload = bytes(STREAM);
    let restored = restore(&payload).unwrap();
    let Value::Stream(stream) = &restored else {
        panic!("not a stream: {restored:?}");
    };
    let id = |ms, seq| StreamId { ms, seq };
    let entries: Vec<(StreamId, Vec<&[u8]>)> = stream
        .range(StreamId::MIN, StreamId::MAX)
        .map(|(id, fields)| (id, fields.iter().collect()))
        .collect();
    let words = |words: &[&'static str]| words.iter().map(|word| word.as_bytes()).collect();
    let expected: [(StreamId, Vec<&[u8]>); 3] = [
        (id(5, 1), words(&["a", "1", "b", "x"])),
        (id(6, 0), words(&["c", "3"])),
        (id(300, 7), words(&["a", "-70000", "b", "zz"])),
    ];
    assert_eq!(entries, expected);
    assert_eq!(stream.last_id(), id(300, 7));
    assert_eq!(stream.max_deleted_id(), id(5, 2));
    assert_eq!(stream.entries_added(), 4);
    let group = &stream.groups()[&b"g"[..]];
    assert_eq!(group.last_id, id(6, 0));
    let owners: Vec<(StreamId, &[u8], u64)> = group
        .pending()
        .iter()
        .map(|(id, pending)| (*id, &*pending.consumer, pending.deliveries))
        .collect();
    assert_eq!(owners, [(id(5, 1), &b"bob"[..], 1), (id(6, 0), b"bob", 1)]);
    assert!(group.consumers()[&b"eve"[..]].pending().is_empty());
    assert_eq!(stream.groups()[&b"h"[..]].last_id, id(300, 7));
    assert_eq!(restore(&dump(&restored)), Ok(restored));
}

/// An item whose length Redis writes in three bytes though two would do.
#[test]
fn a_length_at_the_edge() {
    let payload = bytes(EDGE);
    let expected = list(&["v".repeat(16_378), "end".to_owned()]);
    assert_eq!(restore(&payload), Ok(expected));
}
