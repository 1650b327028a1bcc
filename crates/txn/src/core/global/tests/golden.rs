//! Records as version 1 writes them: `docs/formats/golden/txn-records-1.bin`, each after its
//! length.

use atoll_base::id::NodeId;
use atoll_world::golden::golden;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::super::{
    Kind, Outcome, Record, Termination, TransactionId,
    record::{AuditLine, Participant, Phase, Reason, Standing},
};

fn participant(name: &str, standing: Standing) -> Participant {
    Participant {
        name: name.to_owned(),
        payload: Bytes::from_static(br#"{"order":7}"#),
        compensation: Bytes::new(),
        standing,
    }
}

fn records() -> Vec<Record> {
    let active = Record {
        id: TransactionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        kind: Kind::TwoPhase,
        owner: NodeId(0xfeed_beef),
        began_at_ms: 1_790_000_000_000,
        deadline_ms: 1_790_000_060_000,
        phase: Phase::Active,
        reason: None,
        participants: vec![
            participant("http://127.0.0.1:8080/orders", Standing::Enlisted),
            participant("postgres:stock", Standing::Enlisted),
        ],
        audit: Vec::new(),
    };
    let aborting = Record {
        phase: Phase::Aborting,
        reason: Some(Reason::Participant),
        participants: vec![
            participant("postgres:stock", Standing::Released),
            participant("postgres:bills", Standing::ByHand(Outcome::Aborted)),
            participant("postgres:mail", Standing::Contrary(Outcome::Committed)),
        ],
        audit: vec![AuditLine {
            at_ms: 1_790_000_005_000,
            by: "ann".to_owned(),
            what: "participant 1 aborted: the machine is gone".to_owned(),
        }],
        ..active.clone()
    };
    let step = Participant {
        compensation: Bytes::from_static(b"refund"),
        ..participant("https://pay.example/charge", Standing::Enlisted)
    };
    let saga = |phase, reason| Record {
        kind: Kind::Saga,
        phase,
        reason,
        participants: vec![step.clone()],
        ..active.clone()
    };
    let ended = Phase::Ended {
        outcome: Outcome::Committed,
        at_ms: 1_790_000_001_234,
    };
    vec![
        active.clone(),
        active.with(Phase::Committing),
        Record {
            kind: Kind::ThreePhase(Termination::ByLog),
            ..active.with(Phase::PreCommitting)
        },
        Record {
            kind: Kind::ThreePhase(Termination::ByPeers),
            reason: Some(Reason::Timeout),
            ..active.with(Phase::Aborting)
        },
        aborting,
        saga(Phase::Running { step: 1 }, None),
        saga(Phase::Compensating { left: 1 }, Some(Reason::Asked)),
        saga(ended, Some(Reason::Person)),
    ]
}

#[test]
fn records_are_written_and_read_as_documented() {
    let mut written = BytesMut::new();
    for record in records() {
        let bytes = record.encode();
        written.put_u32(u32::try_from(bytes.len()).expect("short"));
        written.put(bytes);
    }
    let mut stored = golden("txn-records-1.bin", &written);
    for record in records() {
        let length = usize::try_from(stored.get_u32()).expect("short");
        assert_eq!(Record::decode(stored.split_to(length)), Ok(record));
    }
    assert!(stored.is_empty());
}
