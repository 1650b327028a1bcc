//! Messages and records come back from their bytes, and noise is refused without harm.

use std::collections::BTreeMap;

use atoll_base::id::{ConfigurationNumber, PartitionId, ReplicaId};
use atoll_world::golden::golden;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::super::{
    Author, DecodeError, Life,
    bundle::{Bundle, Parcel, RoomId},
    clock::Stamp,
    item::Place,
    membership::Members,
    merkle::{DEPTH, FAN_OUT, LEAVES, Node},
    message::{Message, Packet, Step},
    noted::{Noted, Past},
    partition::{Partition, Record, Settings},
    quorum::Level,
    replica::{Cursor, Delta, Replica},
};
use crate::core::{
    codec::{CodecError, Reader, Writer},
    data::Key,
    keyspaces::KeyspaceNumber,
    reply::Reply,
    wire::{FileMark, Logged, decode_record, encode_noted},
};

const NOW_MS: u64 = 1_700_000_000_000;
const CALLS: [&str; 7] = [
    "SET a x PX 100",
    "SADD s a b",
    "SREM s a",
    "HSET h f v",
    "INCRBY n -5",
    "DEL a",
    "PERSIST s",
];

fn delta() -> Delta {
    let mut replica = Replica::new(Author::first(300), Stamp::ZERO);
    let deltas = CALLS.into_iter().flat_map(|call| {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::from(word.to_owned()))
            .collect();
        replica.execute(&words, NOW_MS).expect("it is known").delta
    });
    deltas.collect()
}

fn packets() -> Vec<Packet> {
    let step = Step {
        session: 1 << 33,
        step: 2,
    };
    let mark = Stamp::of_moment(1_700_000_000_123);
    let row = BTreeMap::from([(ReplicaId(1), mark), (ReplicaId(300), Stamp::ZERO)]);
    let leaf = Node {
        level: DEPTH,
        index: (LEAVES - 1) as u16,
    };
    let cursor = |place| {
        Some(Cursor {
            key: Key::from(b"key"),
            place,
        })
    };
    let messages = [
        Message::Delta {
            id: 1,
            delta: delta(),
        },
        Message::Ack { id: 300 },
        Message::Look {
            id: 2,
            keys: vec![(Key::from(b"key"), u64::MAX)],
        },
        Message::Seen {
            id: 2,
            part: 0,
            parts: 1,
            delta: delta(),
        },
        Message::Compare {
            step,
            row: row.clone(),
            nodes: vec![(Node::ROOT, 7), (leaf, 8)],
        },
        Message::Compared {
            step,
            mark,
            row: row.clone(),
            is_filled: true,
            nodes: vec![(Node::ROOT, [9; FAN_OUT])],
            leaves: vec![leaf],
        },
        Message::List {
            step,
            leaf,
            from: 5,
        },
        Message::Listed {
            step,
            places: vec![(1, 2), (3, 4)],
            next: Some(5),
        },
        Message::Listed {
            step,
            places: vec![],
            next: None,
        },
        Message::Exchange {
            step,
            want: vec![1, u64::MAX],
            after: cursor(Some(Place::Member(Key::from(b"m")))),
            give: delta(),
        },
        Message::Exchange {
            step,
            want: vec![],
            after: cursor(None),
            give: Delta::new(),
        },
        Message::Given {
            step,
            delta: delta(),
            done: 3,
            after: cursor(Some(Place::Field(Key::from(b"f")))),
        },
        Message::Given {
            step,
            delta: Delta::new(),
            done: 0,
            after: None,
        },
        Message::Finished {
            mark,
            row,
            is_filled: false,
        },
    ];
    let packet = |message| Packet {
        number: ConfigurationNumber(3),
        stable: mark,
        message,
    };
    messages.map(packet).into()
}

fn records() -> Vec<Record> {
    let members = Members {
        number: ConfigurationNumber(300),
        replicas: [1, 2, 300].map(ReplicaId).into(),
    };
    vec![
        Record::Joined {
            delta: delta(),
            is_whole: true,
        },
        Record::Settled(Stamp::of_moment(7)),
        Record::Members(members),
        Record::Filled(true),
        Record::Reserved(1_700_000_000_000),
    ]
}

#[test]
fn messages_and_records_come_back() {
    for packet in packets() {
        assert_eq!(Packet::decode(packet.encode()), Ok(packet));
    }
    for record in records() {
        assert_eq!(Record::decode(record.encode()), Ok(record));
    }
}

fn room() -> RoomId {
    RoomId {
        keyspace: KeyspaceNumber(32),
        partition: PartitionId(300),
    }
}

fn parcels() -> Vec<(RoomId, Parcel)> {
    let words = ["SET", "a", "x"].map(|word| Bytes::from_static(word.as_bytes()));
    let (write, read) = (Level::Quorum, Level::All);
    let asked = [
        Parcel::Request {
            id: 7,
            write,
            read,
            words: words.into(),
        },
        Parcel::Response { id: 7, reply: None },
        Parcel::Response {
            id: 300,
            reply: Some(Reply::Integer(-1)),
        },
    ];
    let packets = packets().into_iter().map(Parcel::Packet);
    packets
        .chain(asked)
        .map(|parcel| (room(), parcel))
        .collect()
}

fn bundle() -> Bytes {
    let mut bundle = Bundle::new(ReplicaId(6));
    for (room, parcel) in parcels() {
        bundle.add(room, &parcel);
    }
    bundle.encode()
}

fn noted() -> [Noted; 5] {
    let (bytes, checksum) = (300, u64::MAX);
    let mark = FileMark { bytes, checksum };
    [
        Noted::Whole(Bytes::from_static(b"snapshot")),
        Noted::Mark(u64::MAX),
        Noted::Based { number: 7, mark },
        Noted::Record(Bytes::from_static(b"record")),
        Noted::Left(Past {
            life: Life::of_number(300).expect("there is"),
            number: ConfigurationNumber(1 << 40),
        }),
    ]
}

#[test]
fn bundles_and_notes_come_back() {
    assert_eq!(Bundle::decode(bundle()), Ok((ReplicaId(6), parcels())));
    for noted in noted() {
        let RoomId {
            keyspace,
            partition,
        } = room();
        let logged = Logged::Noted(keyspace, noted.clone());
        let bytes = encode_noted(room(), &noted);
        assert_eq!(decode_record(bytes), Ok((partition, logged)));
    }
}

/// Each of some things with its length before it.
fn framed(all: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut framed = Writer::default();
    for one in all {
        framed.bytes(&one);
    }
    framed.finish()
}

#[test]
fn the_golden_files_are_what_is_written() {
    let packets = packets().into_iter().map(|packet| packet.encode());
    golden("eventual-packets-1.bin", &framed(packets));
    let records = records().into_iter().map(|record| record.encode());
    golden("eventual-records-1.bin", &framed(records));
    golden("eventual-bundle-1.bin", &bundle());
    let noted = noted().map(|noted| encode_noted(room(), &noted));
    golden("eventual-journal-2.bin", &framed(noted));
    let over = Packet {
        message: Message::Over,
        ..second_life()
    };
    assert_eq!(Packet::decode(over.encode()), Ok(over.clone()));
    let ahead = Packet {
        message: Message::Ahead { ahead_ms: 5_001 },
        ..second_life()
    };
    assert_eq!(Packet::decode(ahead.encode()), Ok(ahead.clone()));
    let later = [second_life(), over, ahead].map(|packet| packet.encode());
    golden("eventual-lives-1.bin", &framed(later));
}

/// A packet of a replica that has come back.
fn second_life() -> Packet {
    let life = Life::FIRST.next().expect("there are more");
    let mut replica = Replica::new(Author::new(ReplicaId(300), life), Stamp::ZERO);
    let words = ["INCRBY", "n", "-5"].map(|word| Bytes::from(word.to_owned()));
    let delta = replica.execute(&words, NOW_MS).expect("it is known").delta;
    Packet {
        number: ConfigurationNumber(9),
        stable: replica.last(),
        message: Message::Delta { id: 1, delta },
    }
}

/// What was noted before lives were told apart.
#[test]
fn an_older_journal_is_read() {
    let stored = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/formats/golden/eventual-journal-1.bin"
    ));
    let mut from = Reader::new(Bytes::from_static(stored));
    let mut last = None;
    while !from.is_empty() {
        let record = from.bytes().expect("it is framed");
        last = Some(decode_record(record).expect("it is read").1);
    }
    let past = Past {
        life: Life::FIRST,
        number: ConfigurationNumber(0),
    };
    assert_eq!(
        last,
        Some(Logged::Noted(room().keyspace, Noted::Left(past)))
    );
}

/// A snapshot of an earlier release is written as it was, and read.
#[test]
fn the_golden_snapshot_is_read_and_written() {
    let author = Author::first(7);
    let replicas = [1, 7, 300].map(ReplicaId).into();
    let number = ConfigurationNumber(2);
    let members = Members { number, replicas };
    let settings = Settings::default();
    let mut partition = Partition::new(author, members, true, 1, settings);
    for call in CALLS {
        let words = call.split(' ').map(|word| Bytes::from(word.to_owned()));
        let taken = partition.request(1, words.collect(), Level::One, Level::One, NOW_MS);
        assert_eq!(taken, Ok(()));
    }
    partition.ready();
    let stored = golden("eventual-partition-1.snap", &partition.encode());
    let again = Partition::restore(stored, [], 2, settings).expect("a snapshot");
    assert_eq!(again.replica().content(), partition.replica().content());
    assert_eq!(again.membership(), partition.membership());
    assert!(again.is_filled());
}

#[test]
fn what_cannot_be_is_refused() {
    let version = Bytes::from_static(&[2, 0]);
    let newer = DecodeError::Codec(CodecError::Version { found: 2, known: 1 });
    assert_eq!(Packet::decode(version.clone()), Err(newer));
    assert_eq!(Record::decode(version), Err(newer));
    let nobody = Bytes::from_static(&[1, 2, 9, 0]);
    let refused = DecodeError::Impossible("members that are none, too many or twice there");
    assert_eq!(Record::decode(nobody), Err(refused));
    let mut list = vec![1, 3];
    list.extend([0; 9]);
    list.extend([6, 1, 1, DEPTH, 0xff, 0xff, 0x03]);
    list.extend([0; 8]);
    assert_eq!(
        Packet::decode(list.into()),
        Err(DecodeError::Impossible("a node that no tree has"))
    );
}

proptest! {
    #[test]
    fn noise_is_refused(noise in vec(any::<u8>(), 0..200)) {
        let mut versioned = vec![1];
        versioned.extend(&noise);
        for noise in [noise, versioned] {
            let noise = Bytes::from(noise);
            let _ = Packet::decode(noise.clone());
            let _ = Record::decode(noise.clone());
            let _ = Bundle::decode(noise.clone());
            prop_assert!(Replica::decode(&noise).is_err());
        }
    }

    #[test]
    fn damage_is_refused_or_is_another_message(which in any::<prop::sample::Index>(), at: usize, byte: u8) {
        let all = packets();
        let mut bytes = which.get(&all).encode().to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        if let Ok(packet) = Packet::decode(bytes.into()) {
            prop_assert_eq!(Packet::decode(packet.encode()), Ok(packet));
        }
    }
}
