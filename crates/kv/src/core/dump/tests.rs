//! Dumps that Redis wrote, dumps that we wrote, and noise.

use proptest::prelude::*;

use super::*;
use crate::core::data::{End, Hash, Kind as _, List, RedisString, Set, SortedSet};

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u32> = hexadecimal
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// A type and a value in an envelope that is right.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = body.to_vec();
    seal(&mut payload);
    payload
}

fn list<T: AsRef<[u8]>>(items: &[T]) -> Value {
    let mut list = List::default();
    for item in items {
        list.push(End::Right, item.as_ref());
    }
    list.into_value()
}

fn set(members: &[&str]) -> Value {
    let mut set = Set::default();
    for member in members {
        set.insert(member.as_bytes());
    }
    set.into_value()
}

fn sorted_set(members: &[(f64, &str)]) -> Value {
    let mut set = SortedSet::default();
    for (score, member) in members {
        set.insert(member.as_bytes(), *score);
    }
    set.into_value()
}

fn hash(fields: &[(&str, &str, u64)]) -> Value {
    let mut hash = Hash::default();
    for (field, value, at_ms) in fields {
        hash.set(field.as_bytes(), value.as_bytes());
        if *at_ms > 0 {
            hash.expire_at(field.as_bytes(), Some(*at_ms));
        }
    }
    hash.into_value()
}

fn string(text: &str) -> Value {
    RedisString::new(text.as_bytes()).into_value()
}

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
        (
            "00c30b3c0361626361e02d020162630a006f6029e4afd764ac",
            string(&abc),
        ),
        (
            "120102c32e406e196e0000000700816102dffb02c12c02f270110104f4141a99be1c20180909\
             f3006cca8805e04678e03c000148ff0a00c042ae112488aa6d",
            list(&["a", "-5", "300", "70000", "123456789012", "-2000000000", &x]),
        ),
        (
            "120102c3407a510007001100000b008a77e00000020be040e0000be02e000242e082e02e39e0\
             4200030184efffe0424ee0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0\
             ff00e0ff00e0ff00e0ff00e0ff00e0ff00e033001a2081dfff02cfff02d00002f1001003f2ff\
             ff7f04f200008004f4ff8000027f09ff0a00a4d67eada6bfa767",
            list(&words),
        ),
        (
            "0b140400000003000000fdffffff05000000701101000a009db067c236a65f3f",
            set(&["5", "-3", "70000"]),
        ),
        (
            "02030163016201610a005ea67e5623750bab",
            set(&["a", "b", "c"]),
        ),
        (
            "10151500000004008266310382763103826632030c01ff0a0083ebdfcfc8bb7bc8",
            hash(&[("f1", "v1", 0), ("f2", "12", 0)]),
        ),
        (
            "04010166c3094041017979e034000179790a0021ef8f5990cf4fd0",
            hash(&[("f", &y, 0)]),
        ),
        (
            "1125250000000800816302842d696e6605816102010181620283322e3504816402f270110104\
             ff0a007e1d0450dce0e675",
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
        // Redis's documentation of RESTORE: a ziplist.
        (
            "0a171700000012000000030000c0010004c0020004c00300ff040075233cc03b2ee9dd",
            list(&["1", "2", "3"]),
        ),
    ] {
        let payload = bytes(&payload.replace(char::is_whitespace, ""));
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

/// Forms that older and newer versions write, by their descriptions.
#[test]
fn other_forms() {
    let ziplist = |items: &[&[u8]]| {
        let mut row = vec![0; 10];
        for item in items {
            // The length of the item before is of no use here.
            row.push(0);
            row.extend_from_slice(item);
        }
        row.push(0xff);
        let length = u8::try_from(row.len()).unwrap();
        row[0] = length;
        [&[length][..], &row].concat()
    };
    let pair = ziplist(&[b"\x01f", b"\xfe\xfb"]);
    let wide = ziplist(&[
        b"\xd0\x70\x11\x01\x00",
        b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xf0\x00\x00\x80",
        b"\xf1",
        b"\xfd",
        b"\x40\x02ab",
        b"\x80\x00\x00\x00\x02cd",
    ]);
    let wide_items = [
        "70000",
        "9223372036854775807",
        "-8388608",
        "0",
        "12",
        "ab",
        "cd",
    ];
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
    for (kind, body, value) in [
        (10, &wide[..], list(&wide_items)),
        (13, &pair, hash(&[("f", "-5", 0)])),
        (12, &pair, sorted_set(&[(-5.0, "f")])),
        (14, &[&[1][..], &wide].concat(), list(&wide_items)),
        (
            9,
            b"\x0a\x01\x01a\x02\x02bc\x00\x00\xff",
            hash(&[("a", "bc", 0)]),
        ),
        (1, b"\x02\x01a\xc0\xff", list(&["a", "-1"])),
        (2, b"\x40\x01\x01a", set(&["a"])),
        (
            3,
            b"\x02\x01a\x031.5\x01b\xfe",
            sorted_set(&[(1.5, "a"), (f64::INFINITY, "b")]),
        ),
        (18, b"\x01\x01\x80\x00\x00\x00\x01a", list(&["a"])),
        (
            20,
            b"\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff",
            set(&["a"]),
        ),
        (24, &moments, hash(&[("a", "1", 0), ("b", "2", 0x1236)])),
        (25, &packed_moments, hash(&[("a", "1", 0), ("b", "2", 7)])),
    ] {
        let payload = sealed(&[&[kind][..], body].concat());
        assert_eq!(restore(&payload), Ok(value), "type {kind}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for body in [
        &b""[..],
        // Unknown types, modules and streams.
        b"\x07\x00",
        b"\x63\x00",
        // Nothing inside.
        b"\x01\x00",
        b"\x02\x00",
        b"\x04\x00",
        b"\x05\x00",
        b"\x12\x00",
        // Too short, too long, or too much.
        b"\x00\x05abc",
        b"\x00\x01ab",
        b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x04\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\xc3\x02\x81\x00\x00\x00\xff\x00\x00\x00\x00\x00a",
        // Twice the same.
        b"\x02\x02\x01a\x01a",
        b"\x04\x02\x01a\x01b\x01a\x01c",
        // Not a number.
        b"\x03\x01\x01a\xfd",
        b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f",
        b"\x03\x01\x01a\x03nan",
        // An intset of a strange width, and one that is cut.
        b"\x0b\x0b\x03\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00",
        b"\x0b\x09\x02\x00\x00\x00\x01\x00\x00\x00\x01",
        // A listpack without an end, and one that goes on after it.
        b"\x14\x09\x09\x00\x00\x00\x01\x00\x81a\x02",
        b"\x14\x0b\x0b\x00\x00\x00\x01\x00\x81a\x02\xff\xff",
        // A field that ends after the end of time.
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01a\x01b",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x01a\x01b",
    ] {
        assert_eq!(
            restore(&sealed(body)),
            Err(RestoreError::Data),
            "{body:02x?}"
        );
    }
    let mut newer = b"\x00\x01a".to_vec();
    newer.extend_from_slice(&(RDB_VERSION + 1).to_le_bytes());
    let sum = crc64(&newer);
    newer.extend_from_slice(&sum.to_le_bytes());
    assert_eq!(restore(&newer), Err(RestoreError::Envelope));
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..9),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        2 => any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        1 => (60..20_000_usize).prop_map(|length| vec![b'x'; length]),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = || proptest::collection::vec(word(), 1..200);
    prop_oneof![
        word().prop_map(|text| RedisString::new(&text).into_value()),
        words().prop_map(|items| list(&items)),
        words().prop_map(|members| {
            let mut set = Set::default();
            for member in &members {
                set.insert(member);
            }
            set.into_value()
        }),
        proptest::collection::vec((word(), -1e9..1e9_f64), 1..200).prop_map(|members| {
            let mut set = SortedSet::default();
            for (member, score) in &members {
                set.insert(member, *score);
            }
            set.into_value()
        }),
        proptest::collection::vec((word(), word(), 0..3_u64), 1..200).prop_map(|fields| {
            let mut hash = Hash::default();
            for (field, value, at_ms) in &fields {
                hash.set(field, value);
                hash.expire_at(field, (*at_ms > 0).then_some(*at_ms << 40));
            }
            hash.into_value()
        }),
    ]
}

/// What can be told of a value from outside, in the order it has.
fn told(value: &Value) -> Vec<(Vec<u8>, String)> {
    let lone = |item: &[u8]| (item.to_vec(), String::new());
    match value {
        Value::String(text) => vec![lone(&text.bytes())],
        Value::List(list) => list.iter().map(lone).collect(),
        Value::Set(set) => set.iter().map(|member| lone(&member)).collect(),
        Value::SortedSet(set) => set
            .iter()
            .map(|(member, score)| (member.to_vec(), format!("{score:?}")))
            .collect(),
        Value::Hash(hash) => hash
            .iter_stored()
            .map(|(field, value)| {
                (
                    field.to_vec(),
                    format!("{value:?} {:?}", hash.expires_at(field)),
                )
            })
            .collect(),
        Value::Stream(_) => unreachable!("none is made here"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_dumped_comes_back(value in any_value()) {
        let restored = restore(&dump(&value).unwrap()).unwrap();
        prop_assert_eq!(restored.type_name(), value.type_name());
        prop_assert_eq!(told(&restored), told(&value));
    }

    #[test]
    fn noise_panics_nowhere(
        kind in 0..27_u8,
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = restore(&body);
        let _ = restore(&sealed(&[&[kind][..], &body].concat()));
    }

    /// Noise in the right place: a dump with a few bytes changed and an envelope that is right.
    #[test]
    fn damage_panics_nowhere(
        kind in 0..6_usize,
        places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in 0..3_usize,
    ) {
        let rows = [
            "120102c3407a510007001100000b008a77e00000020be040e0000be02e000242e082e02e39e0\
             4200030184efffe0424ee0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0ff00e0\
             ff00e0ff00e0ff00e0ff00e0ff00e0ff00e033001a2081dfff02cfff02d00002f1001003f2ff\
             ff7f04f200008004f4ff8000027f09ff0a00a4d67eada6bfa767",
            "1125250000000800816302842d696e6605816102010181620283322e3504816402f270110104\
             ff0a007e1d0450dce0e675",
            "0b140400000003000000fdffffff05000000701101000a009db067c236a65f3f",
            "00c30b3c0361626361e02d020162630a006f6029e4afd764ac",
            "10151500000004008266310382763103826632030c01ff0a0083ebdfcfc8bb7bc8",
            "0a171700000012000000030000c0010004c0020004c00300ff040075233cc03b2ee9dd",
        ];
        let payload = bytes(&rows[kind].replace(char::is_whitespace, ""));
        let mut body = payload[..payload.len() - FOOTER_BYTES].to_vec();
        for (place, byte) in places {
            let place = place % body.len();
            body[place] = byte;
        }
        body.truncate(body.len() - cut.min(body.len()));
        let _ = restore(&sealed(&body));
    }
}
