//! Records come back from their bytes as they were, and other bytes are refused.

use atoll_base::id::NodeId;
use bytes::Bytes;
use proptest::prelude::*;

use super::super::{
    CodecError, Kind, Outcome, Record, Termination, TransactionId,
    record::{AuditLine, Participant, Phase, Reason, Standing},
};

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Committed), Just(Outcome::Aborted)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::TwoPhase),
        Just(Kind::ThreePhase(Termination::ByLog)),
        Just(Kind::ThreePhase(Termination::ByPeers)),
        Just(Kind::Saga),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Active),
        Just(Phase::PreCommitting),
        Just(Phase::Committing),
        Just(Phase::Aborting),
        any::<u16>().prop_map(|step| Phase::Running { step }),
        any::<u16>().prop_map(|left| Phase::Compensating { left }),
        (outcome(), any::<u64>()).prop_map(|(outcome, at_ms)| Phase::Ended { outcome, at_ms }),
    ]
}

fn reason() -> impl Strategy<Value = Option<Reason>> {
    prop_oneof![
        Just(None),
        Just(Some(Reason::Asked)),
        Just(Some(Reason::Participant)),
        Just(Some(Reason::Timeout)),
        Just(Some(Reason::Person)),
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn participant() -> impl Strategy<Value = Participant> {
    let standing = prop_oneof![
        Just(Standing::Enlisted),
        Just(Standing::Released),
        outcome().prop_map(Standing::ByHand),
        outcome().prop_map(Standing::Contrary),
    ];
    (".{0,20}", bytes(), bytes(), standing).prop_map(|(name, payload, compensation, standing)| {
        Participant {
            name,
            payload,
            compensation,
            standing,
        }
    })
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let line = (any::<u64>(), ".{0,20}", ".{0,20}");
    let line = line.prop_map(|(at_ms, by, what)| AuditLine { at_ms, by, what });
    (
        (any::<u128>(), kind(), any::<u64>(), any::<[u64; 2]>()),
        (phase(), reason()),
        prop::collection::vec(participant(), 0..5),
        prop::collection::vec(line, 0..5),
    )
        .prop_map(
            |((id, kind, owner, times), (phase, reason), participants, audit)| Record {
                id: TransactionId(id),
                kind,
                owner: NodeId(owner),
                began_at_ms: times[0],
                deadline_ms: times[1],
                phase,
                reason,
                participants,
                audit,
            },
        )
}

proptest! {
    #[test]
    fn records_come_back(record in record()) {
        let bytes = record.encode();
        prop_assert_eq!(bytes[0], 1);
        prop_assert_eq!(Record::decode(bytes), Ok(record));
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_refused(record in record(), cut in any::<prop::sample::Index>()) {
        let bytes = record.encode();
        prop_assert!(Record::decode(bytes.slice(..cut.index(bytes.len()))).is_err());
        let more = Bytes::from([&bytes[..], &[0]].concat());
        prop_assert_eq!(Record::decode(more), Err(CodecError::Rest(1)));
    }

    /// Whatever can be read has one form, so nothing of it is lost.
    #[test]
    fn noise_is_refused_or_means_what_it_says(
        record in record(),
        at in any::<prop::sample::Index>(),
        noise in any::<u8>(),
    ) {
        let mut bytes = record.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= noise;
        let bytes = Bytes::from(bytes);
        if let Ok(read) = Record::decode(bytes.clone()) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn bytes_from_anywhere_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        bytes.insert(0, 1);
        let bytes = Bytes::from(bytes);
        if let Ok(read) = Record::decode(bytes.clone()) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}

#[test]
fn newer_versions_are_named() {
    let newer = Record::decode(Bytes::from_static(&[2]));
    assert_eq!(newer, Err(CodecError::Version { found: 2, known: 1 }));
    assert_eq!(Record::decode(Bytes::new()), Err(CodecError::Short));
}
