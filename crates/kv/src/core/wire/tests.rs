//! Everything comes back from its bytes, and noise is refused without harm.

use atoll_base::id::{PartitionId, ReplicaId};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::core::{
    machine::Answered,
    partition::{Outcome, Request, Response},
    paxos::{
        Ballot, Configuration, Entry, LogIndex, Members, Message, Payload, Position, Proof, Record,
        Snapshot,
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
        Record::Install(snapshot()),
        Record::Compact(position(3)),
    ];
    records.extend(configurations().map(Record::Configure));
    for record in records {
        let bytes = encode_record(PartitionId(1_023), &record);
        assert_eq!(decode_record(bytes), Ok((PartitionId(1_023), record)));
    }
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
    ] {
        packets.push(Packet::Response(Response { origin, outcome }));
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
