//! Dumps that Redis wrote, dumps that we wrote, and noise.

mod redis;

use proptest::prelude::*;

use super::*;
use crate::core::data::{
    End, Group, Hash, Kind as _, List, Pack, RedisString, Set, SortedSet, Stream, StreamId,
};

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
        stream(),
    ]
}

fn stream() -> impl Strategy<Value = Value> {
    let fields = proptest::collection::vec((0..4_u8, word()), 1..4);
    // Some share their fields with others, some do not.
    let entries = proptest::collection::vec((0..3_u64, 1..5_u64, fields), 0..300);
    let owners = proptest::collection::vec((0..3_u8, any::<u32>(), 1..9_u64), 0..300);
    (entries, owners, any::<bool>()).prop_map(|(entries, owners, known)| {
        let mut stream = Stream::default();
        let mut group = Group::new(StreamId { ms: 7, seq: 1 }, known.then_some(5));
        let mut id = StreamId {
            ms: 1 << 40,
            seq: 0,
        };
        for consumer in 0..3_u8 {
            group.add_consumer(&[consumer], u64::from(consumer) + 9);
        }
        group.was_active(&[1], 77);
        for (number, (ms, seq, fields)) in entries.into_iter().enumerate() {
            id = match ms {
                0 => StreamId {
                    ms: id.ms,
                    seq: id.seq + seq,
                },
                ms => StreamId {
                    ms: id.ms + ms,
                    seq,
                },
            };
            let mut pack = Pack::default();
            for (name, value) in fields {
                pack.push_back(format!("field{name}").as_bytes());
                pack.push_back(&value);
            }
            stream.add(id, pack);
            if let Some((consumer, at_ms, times)) = owners.get(number) {
                group.assign(id, &[*consumer], u64::from(*at_ms), *times);
            }
            if number % 5 == 3 {
                stream.remove(id);
            }
        }
        stream.add_group(b"readers", group);
        stream.add_group(b"", Group::new(StreamId::MAX, None));
        stream.into_value()
    })
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
        Value::Stream(stream) => vec![(Vec::new(), format!("{stream:?}"))],
        Value::Hash(hash) => hash
            .iter_stored()
            .map(|(field, value)| {
                (
                    field.to_vec(),
                    format!("{value:?} {:?}", hash.expires_at(field)),
                )
            })
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_dumped_comes_back(value in any_value()) {
        let restored = restore(&dump(&value)).unwrap();
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

    /// Noise in the right place: a dump with a few bytes changed and an envelope that is right
    /// is refused, or is a value that comes back.
    #[test]
    fn damage_is_seen_or_harmless(
        kind in 0..7_usize,
        places in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in 0..3_usize,
    ) {
        let rows = [
            redis::LISTPACK,
            redis::SORTED_SET,
            redis::INTSET,
            redis::PACKED,
            redis::HASH,
            redis::ZIPLIST,
            redis::STREAM,
        ];
        let payload = bytes(rows[kind]);
        let mut body = payload[..payload.len() - FOOTER_BYTES].to_vec();
        for (place, byte) in places {
            let place = place % body.len();
            body[place] = byte;
        }
        body.truncate(body.len() - cut.min(body.len()));
        crate::fuzzing::dump(&body);
    }
}
