//! Keys of the control plane as participants, with a log that never fails.

use atoll_control::{
    core::error::Error,
    proto::{
        etcdserverpb::{DeleteRangeRequest, RangeRequest, RequestOp, request_op::Request as Asked},
        internal::Part,
    },
};
use bytes::Bytes;
use prost::Message as _;

use super::{
    super::{
        Kind, Order, Outcome, Place, Report, Settings, Termination,
        coordinator::{Answer, Refusal, Request},
        keys::{self, KeysError},
        record::{Phase, Reason, Standing},
    },
    desk::Desk,
    keyspace::put_if,
};

const BY_LOG: Kind = Kind::ThreePhase(Termination::ByLog);

fn begun(kind: Kind) -> Desk {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.begin(kind), Some(Answer::Begun));
    desk
}

fn enlist(desk: &mut Desk, name: &str, part: &Part) -> Option<Answer> {
    desk.ask(Request::Enlist {
        name: name.to_owned(),
        payload: part.encode_to_vec().into(),
        compensation: Bytes::new(),
    })
}

/// A service, keys, and a service.
fn mixed(kind: Kind) -> Desk {
    let mut desk = begun(kind);
    assert_eq!(desk.enlist("a", b"x"), Some(Answer::Enlisted(Place(0))));
    let enlisted = enlist(&mut desk, keys::NAME, &put_if("k", 0));
    assert_eq!(enlisted, Some(Answer::Enlisted(Place(1))));
    assert_eq!(desk.enlist("b", b"y"), Some(Answer::Enlisted(Place(2))));
    assert_eq!(desk.commit(), None);
    desk
}

fn decided(outcome: Outcome, reason: Option<Reason>) -> Option<Answer> {
    Some(Answer::Decided {
        outcome,
        reason,
        is_mixed: false,
    })
}

fn told(desk: &Desk) -> Vec<u16> {
    desk.sent.iter().map(|(place, _)| *place).collect()
}

#[test]
fn keys_alone_are_one_write() {
    for kind in [Kind::TwoPhase, BY_LOG] {
        let mut desk = begun(kind);
        for (name, key) in [("atoll:keys", "k"), ("atoll:keys:more", "l")] {
            let enlisted = enlist(&mut desk, name, &put_if(key, 0));
            assert!(matches!(enlisted, Some(Answer::Enlisted(_))));
        }
        let version = desk.log.as_ref().expect("there").0;
        assert_eq!(desk.commit(), decided(Outcome::Committed, None));
        let (after, record) = desk.log.clone().expect("kept");
        assert_eq!(after.0, version.0 + 1);
        assert!(record.has_ended() && record.payload_bytes() == 0);
        assert_eq!((desk.done, desk.sent), (vec![0, 1], vec![]));
    }
}

#[test]
fn keys_are_written_with_the_decision_when_all_others_have_voted_yes() {
    let mut desk = mixed(Kind::TwoPhase);
    assert_eq!(told(&desk), [0, 2], "keys are not asked");
    assert_eq!(desk.report(0, Report::Yes), None);
    assert!(desk.done.is_empty());
    let answer = desk.report(2, Report::Yes);
    assert_eq!(answer, decided(Outcome::Committed, None));
    assert_eq!(desk.done, [1]);
    let record = desk.record();
    assert_eq!(record.phase, Phase::Committing);
    assert_eq!(record.participants[1].standing, Standing::Released);
    assert_eq!(told(&desk), [0, 2, 0, 2], "nor told");
    for place in [0, 2] {
        desk.report(place, Report::Committed);
    }
    assert!(desk.record().has_ended());
    assert_eq!(desk.done, [1], "once");
}

#[test]
fn keys_are_not_written_when_somebody_votes_no() {
    let mut desk = mixed(Kind::TwoPhase);
    desk.report(0, Report::Yes);
    let answer = desk.report(2, Report::No);
    let aborted = decided(Outcome::Aborted, Some(Reason::Participant));
    assert_eq!(answer, aborted);
    desk.report(0, Report::Aborted);
    assert!(desk.record().has_ended());
    assert!(desk.done.is_empty());
}

#[test]
fn keys_that_are_not_as_compared_are_a_no() {
    for kind in [Kind::TwoPhase, BY_LOG] {
        let mut desk = mixed(kind);
        desk.cannot = Some(1);
        desk.report(0, Report::Yes);
        let mut answer = desk.report(2, Report::Yes);
        if kind == BY_LOG {
            assert_eq!(desk.record().phase, Phase::PreCommitting);
            assert_eq!(answer, None);
            desk.report(0, Report::PreCommitted);
            answer = desk.report(2, Report::PreCommitted);
        }
        let aborted = decided(Outcome::Aborted, Some(Reason::Participant));
        assert_eq!(answer, aborted);
        let aborts = desk.sent.iter().filter(|(_, order)| *order == Order::Abort);
        let aborts: Vec<u16> = aborts.map(|(place, _)| *place).collect();
        assert_eq!(aborts, [0, 2]);
        for place in [0, 2] {
            desk.report(place, Report::Aborted);
        }
        assert!(desk.record().has_ended() && !desk.record().is_mixed());
        assert!(desk.done.is_empty());
    }
}

#[test]
fn keys_are_never_in_doubt() {
    let mut desk = mixed(Kind::TwoPhase);
    let not_in_doubt = Some(Answer::Refused(Refusal::NotInDoubt));
    assert_eq!(desk.resolve(1, Outcome::Aborted, "why"), not_in_doubt);
    let open = &desk.coordinator.in_doubt(9)[0].open;
    let places: Vec<u16> = open.iter().map(|it| it.place.0).collect();
    assert_eq!(places, [0, 2]);
}

#[test]
fn keys_take_part_where_the_log_alone_decides() {
    for kind in [Kind::Saga, Kind::ThreePhase(Termination::ByPeers)] {
        let refused = enlist(&mut begun(kind), keys::NAME, &put_if("k", 0));
        let why = Refusal::Keys(KeysError::Kind);
        assert_eq!(refused, Some(Answer::Refused(why)));
    }
}

#[test]
fn all_keys_of_a_transaction_are_one_of_etcds() {
    let mut desk = begun(Kind::TwoPhase);
    let first = put_if("k", 0);
    let enlisted = Some(Answer::Enlisted(Place(0)));
    assert_eq!(enlist(&mut desk, keys::NAME, &first), enlisted);
    assert_eq!(
        enlist(&mut desk, keys::NAME, &first),
        enlisted,
        "come again"
    );
    let taken = enlist(&mut desk, keys::NAME, &put_if("l", 0));
    assert_eq!(taken, Some(Answer::Refused(Refusal::Taken)));

    let op = |request| RequestOp {
        request: Some(request),
    };
    let with = |ops: Vec<RequestOp>| {
        let mut part = put_if("other", 0);
        part.txn.as_mut().expect("something").success = ops;
        part
    };
    let delete = |prev_kv| DeleteRangeRequest {
        key: "k".into(),
        prev_kv,
        ..DeleteRangeRequest::default()
    };
    let range = RangeRequest {
        key: "k".into(),
        ..RangeRequest::default()
    };
    let puts = (0..=128).flat_map(|number| {
        let part = put_if(&format!("{number}"), 0);
        part.txn.expect("something").success
    });
    let puts: Vec<RequestOp> = puts.collect();
    let mut otherwise = put_if("l", 0);
    let txn = otherwise.txn.as_mut().expect("something");
    txn.failure = std::mem::take(&mut txn.success);
    let duplicate = KeysError::Refused(Error::DuplicateKey);
    for (part, why) in [
        (put_if("k", 7), duplicate),
        (
            with(vec![op(Asked::RequestDeleteRange(delete(false)))]),
            duplicate,
        ),
        (
            with(vec![op(Asked::RequestDeleteRange(delete(true)))]),
            KeysError::Previous,
        ),
        (
            with(vec![op(Asked::RequestRange(range))]),
            KeysError::Operation,
        ),
        (
            with(vec![RequestOp { request: None }]),
            KeysError::Operation,
        ),
        (
            with(puts[..128].to_vec()),
            KeysError::Refused(Error::TooManyOps),
        ),
        (put_if("", 0), KeysError::Refused(Error::EmptyKey)),
        (otherwise, KeysError::Operation),
        (Part::default(), KeysError::Nothing),
    ] {
        let refused = enlist(&mut desk, "atoll:keys:more", &part);
        assert_eq!(refused, Some(Answer::Refused(Refusal::Keys(why))));
    }
    let unreadable = desk.enlist("atoll:keys:more", b"\xff");
    let why = Refusal::Keys(KeysError::Unreadable);
    assert_eq!(unreadable, Some(Answer::Refused(why)));
    let fits = enlist(&mut desk, "atoll:keys:more", &with(puts[..127].to_vec()));
    assert_eq!(fits, Some(Answer::Enlisted(Place(1))));
}

#[test]
fn what_is_called_keys_is() {
    for (name, is_so) in [
        ("atoll:keys", true),
        ("atoll:keys:", true),
        ("atoll:keys:more", true),
        ("atoll:keyspace", false),
        ("xatoll:keys", false),
        ("http://localhost/atoll:keys", false),
    ] {
        assert_eq!(keys::is_keys(name), is_so, "{name}");
    }
}
