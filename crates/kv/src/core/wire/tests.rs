//! Everything comes back from its bytes, and noise is refused without harm.

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_world::golden::golden;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::core::{
    machine::Answered,
    partition::{Look, Outcome, Request, Response, Seen},
    paxos::{
        Ballot, Configuration, Durable, Entry, Forgotten, LogIndex, Members, Message, Payload,
        Position, Proof, Record, Snapshot,
    },
    reply::Reply,
    sessions::{Origin, Session},
};

fn ballot(round: u64) -> Ballot {
    Ballot {
        configuration: 300,
        round,
        replica: ReplicaId(2),
    }
}

fn position(index: u64) -> Position {
    Position {
        birth: ballot(7),
        index: LogIndex(index),
    }
}

fn entries() -> Vec<Entry> {
    let payloads = [Payload::Nothing, Payload::Batch(Bytes::from_static(b"xyz"))];
    (9..)
        .zip(payloads)
        .map(|(index, payload)| Entry {
            position: position(index),
            payload,
        })
        .collect()
}

fn configurations() -> [Configuration; 3] {
    let members = |ids: &[u64]| {
        let ids = ids.iter().copied().map(ReplicaId).collect();
        Members::new(ids).expect("some")
    };
    let first = Configuration::first(members(&[1, 2, 3]));
    let joint = first.joint(members(&[2, 3, 4])).expect("it is stable");
    let proof = Proof {
        committed: Position {
            birth: Ballot {
                configuration: joint.number,
                ..ballot(1)
            },
            index: LogIndex(4),
        },
    };
    let new = joint.finish(proof).expect("it is joint");
    [first, joint, new]
}

fn snapshot() -> Snapshot {
    Snapshot {
        base: position(3),
        state: Bytes::from_static(b"state"),
    }
}

#[test]
fn records_come_back() {
    let mut records = vec![
        Record::Promise(ballot(5)),
        Record::Append {
            after: LogIndex(8),
            entries: entries(),
        },
        Record::Compact(position(3)),
    ];
    records.extend(configurations().map(Record::Configure));
    for record in records {
        let bytes = encode_record(PartitionId(1_023), &record);
        let logged = Logged::Record(record);
        assert_eq!(decode_record(bytes), Ok((PartitionId(1_023), logged)));
    }
    // The state itself has a file of its own.
    let bytes = encode_record(PartitionId(1), &Record::Install(snapshot()));
    let installed = Logged::Installed {
        base: snapshot().base,
        mark: FileMark::of(b"state"),
    };
    assert_eq!(decode_record(bytes), Ok((PartitionId(1), installed)));
    let forgotten = Forgotten { configuration: 300 };
    let bytes = encode_forgotten(PartitionId(1), forgotten);
    let logged = Logged::Forgotten(forgotten);
    assert_eq!(decode_record(bytes), Ok((PartitionId(1), logged)));
}

#[test]
fn a_checkpoint_carries_the_whole_log_in_small_records() {
    let [_, joint, _] = configurations();
    let mut durable = Durable::new(joint.clone());
    durable.apply(Record::Promise(ballot(5)));
    durable.apply(Record::Compact(position(8)));
    durable.apply(Record::Append {
        after: LogIndex(8),
        entries: entries(),
    });
    let records = encode_checkpoint(PartitionId(2), &durable, 1);
    let logged: Vec<Logged> = records
        .into_iter()
        .map(|record| decode_record(record).expect("a record").1)
        .collect();
    let carried = |entry: Entry| Logged::Carried {
        after: entry.index().previous(),
        entries: vec![entry],
    };
    let checkpoint = Checkpoint {
        configuration: joint,
        promised: ballot(5),
        base: position(8),
        last: LogIndex(10),
    };
    let mut expected = vec![Logged::Checkpoint(checkpoint)];
    expected.extend(entries().into_iter().map(carried));
    assert_eq!(logged, expected);
}

fn messages() -> Vec<Message> {
    let ballot = ballot(9);
    let [first, joint, new] = configurations();
    let commit = LogIndex(2);
    vec![
        Message::Prepare {
            ballot,
            configuration: joint,
            last: position(4),
            commit,
        },
        Message::Promise {
            ballot,
            last: position(4),
            commit,
            tail: entries(),
        },
        Message::Nack {
            ballot,
            promised: ballot,
            configuration: new,
        },
        Message::Fetch {
            ballot,
            after: commit,
        },
        Message::Tail {
            ballot,
            previous: position(8),
            entries: entries(),
        },
        Message::Accept {
            ballot,
            configuration: first.clone(),
            previous: position(8),
            entries: entries(),
            commit,
        },
        Message::Ack {
            ballot,
            matched: commit,
        },
        Message::Need {
            ballot,
            from: commit,
        },
        Message::Commit { ballot, commit },
        Message::Snapshot {
            ballot,
            configuration: first,
            snapshot: snapshot(),
        },
        Message::Confirm { ballot, round: 3 },
        Message::Confirmed { ballot, round: 3 },
        Message::Ask { ballot },
        Message::Probe {
            ballot,
            asker: ReplicaId(3),
        },
        Message::Alive {
            ballot,
            asker: ReplicaId(3),
        },
        Message::OwnerDown { ballot },
    ]
}

fn packets() -> Vec<(PartitionId, Packet)> {
    let origin = Origin {
        session: Session {
            replica: ReplicaId(5),
            boot: 2,
        },
        sequence: 1_000,
        answered_below: 990,
    };
    let mut packets: Vec<Packet> = messages().into_iter().map(Packet::Message).collect();
    for (reads, takes_over) in [(true, false), (false, true)] {
        packets.push(Packet::Request(Request {
            origin,
            reads,
            takes_over,
            operation: Bytes::from_static(b"operation"),
        }));
    }
    for outcome in [
        Outcome::Done(Answered::Executed(vec![Reply::OK])),
        Outcome::NotOwner(None),
        Outcome::NotOwner(Some(ReplicaId(4))),
        Outcome::Busy,
        Outcome::Stale,
        Outcome::Waits {
            again: Bytes::from_static(b"again"),
            last: Bytes::from_static(b"last"),
        },
        Outcome::Nothing(Answered::Reply(Reply::Null)),
    ] {
        packets.push(Packet::Response(Response { origin, outcome }));
    }
    let of = Whole {
        base: position(3),
        bytes: 5,
        checksum: u64::MAX,
    };
    let [first, ..] = configurations();
    packets.push(Packet::Piece(Piece {
        ballot: ballot(9),
        configuration: first,
        of,
        offset: 2,
        bytes: Bytes::from_static(b"ate"),
    }));
    packets.push(Packet::Arrived(Arrived { of, offset: 5 }));
    packets.push(Packet::Look(Look {
        origin,
        operation: Bytes::from_static(b"operation"),
    }));
    for view in [None, Some((300, Answered::Reply(Reply::Null)))] {
        packets.push(Packet::Seen(Seen {
            origin,
            configuration: configurations()[1].clone(),
            view,
        }));
    }
    let partitions = (0..).map(PartitionId);
    partitions.zip(packets).collect()
}

fn bundle() -> Bytes {
    let mut bundle = Bundle::new(ReplicaId(6));
    for (partition, packet) in packets() {
        bundle.add(partition, &packet);
    }
    bundle.encode()
}

#[test]
fn bundles_come_back() {
    assert_eq!(Bundle::decode(bundle()), Ok((ReplicaId(6), packets())));
}

#[test]
fn the_golden_files_are_what_is_written() {
    golden("hot-data-packets-1.bin", &bundle());
    let mut records = vec![
        encode_record(PartitionId(1_023), &Record::Promise(ballot(5))),
        encode_record(
            PartitionId(7),
            &Record::Append {
                after: LogIndex(8),
                entries: entries(),
            },
        ),
        encode_record(PartitionId(7), &Record::Install(snapshot())),
        encode_record(PartitionId(7), &Record::Compact(position(3))),
    ];
    for configuration in configurations() {
        records.push(encode_record(
            PartitionId(0),
            &Record::Configure(configuration),
        ));
    }
    let forgotten = Forgotten { configuration: 300 };
    records.push(encode_forgotten(PartitionId(7), forgotten));
    let mut framed = crate::core::codec::Writer::default();
    for record in records {
        framed.bytes(&record);
    }
    golden("hot-data-records-1.bin", &framed.finish());
}

proptest! {
    #[test]
    fn noise_is_refused(noise in vec(any::<u8>(), 0..300)) {
        let noise = Bytes::from(noise);
        let _ = decode_record(noise.clone());
        let _ = Bundle::decode(noise);
    }

    #[test]
    fn damage_is_refused_or_read(at in 0_usize..400, byte: u8) {
        let mut bytes = bundle().to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = Bundle::decode(Bytes::from(bytes));
    }
}
