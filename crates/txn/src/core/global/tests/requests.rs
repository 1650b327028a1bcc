//! What clients and people may ask for, and what they are told.

use atoll_base::id::NodeId;
use bytes::Bytes;
use proptest::prelude::*;

use super::{
    super::{
        Branch, Coordinator, Kind, Order, Outcome, Place, Report, Settings, Termination,
        TransactionId, Version,
        coordinator::{Answer, Effect, Input, Note, Refusal, Request, RequestId},
        record::{Phase, Standing},
    },
    codec::record,
    desk::{Desk, ID, two},
};

fn refused(refusal: Refusal) -> Option<Answer> {
    Some(Answer::Refused(refusal))
}

fn decided(outcome: Outcome, is_mixed: bool) -> impl Fn(&Answer) -> bool {
    move |answer| {
        matches!(answer, Answer::Decided { outcome: told, is_mixed: mixed, .. }
            if *told == outcome && *mixed == is_mixed)
    }
}

#[test]
fn all_but_a_begin_may_be_asked_for_again() {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.begin(Kind::TwoPhase), Some(Answer::Begun));
    assert_eq!(desk.begin(Kind::TwoPhase), refused(Refusal::Exists));
    for _ in 0..2 {
        assert_eq!(desk.enlist("a", b"x"), Some(Answer::Enlisted(Place(0))));
    }
    assert_eq!(desk.enlist("a", b"other"), refused(Refusal::Taken));
    assert_eq!(desk.commit(), None);
    assert_eq!(desk.enlist("b", b"y"), refused(Refusal::NotOpen));
    let told = desk.report(0, Report::Yes);
    assert!(
        told.as_ref()
            .is_some_and(decided(Outcome::Committed, false))
    );
    assert_eq!(desk.commit(), told, "and again, once it is decided");
    desk.report(0, Report::Committed);
    assert!(desk.record().has_ended());
    assert_eq!(desk.coordinator.held(), 0, "nothing is left in memory");
    assert_eq!(desk.commit(), told, "and again, when it has ended");
    desk.log = None;
    assert_eq!(desk.commit(), refused(Refusal::Unknown));
}

#[test]
fn a_transaction_in_which_nobody_has_anything_to_commit_ends_at_once() {
    let mut desk = two(Kind::TwoPhase);
    assert_eq!(desk.report(0, Report::ReadOnly), None);
    let told = desk.report(1, Report::ReadOnly);
    assert!(
        told.as_ref()
            .is_some_and(decided(Outcome::Committed, false))
    );
    assert!(desk.record().has_ended());
    let prepares = |(_, order): &(u16, Order)| matches!(order, Order::Prepare { .. });
    assert!(desk.sent.iter().all(prepares), "{:?}", desk.sent);
}

#[test]
fn limits_say_no() {
    let settings = Settings {
        participants_max: 1,
        transactions_max: 1,
        name_bytes_max: 4,
        payload_bytes_max: 8,
        requests_max: 2,
        ..Settings::default()
    };
    let mut desk = Desk::new(settings);
    let limit = |what, found, max| refused(Refusal::Limit { what, found, max });
    desk.begin(Kind::TwoPhase);
    assert_eq!(
        desk.enlist("long name", b""),
        limit("bytes of a name", 9, 4)
    );
    assert_eq!(
        desk.enlist("a", b"123456789"),
        limit("bytes of payload", 9, 8)
    );
    assert_eq!(desk.enlist("a", b""), Some(Answer::Enlisted(Place(0))));
    assert_eq!(desk.enlist("b", b""), limit("participants", 2, 1));
    let compensation = Bytes::from_static(b"undo");
    let with_compensation = Request::Enlist {
        name: "c".to_owned(),
        payload: Bytes::new(),
        compensation,
    };
    assert_eq!(desk.ask(with_compensation), refused(Refusal::NotSaga));
    for _ in 0..2 {
        assert_eq!(desk.commit(), None);
    }
    let what = "requests that wait for one transaction";
    assert_eq!(desk.commit(), limit(what, 3, 2));
    let id = TransactionId(8);
    desk.step(Input::Asked {
        request: RequestId(2),
        id,
        what: Request::Abort,
    });
    assert_eq!(desk.answers.pop(), limit("transactions at once", 2, 1));
}

#[test]
fn a_person_ends_what_a_lost_machine_holds_up() {
    let mut desk = two(Kind::TwoPhase);
    desk.report(0, Report::Yes);
    assert!(desk.report(1, Report::Yes).is_some());
    desk.report(0, Report::Committed);
    // The second machine burns down.
    let listed = desk.coordinator.in_doubt(10);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].phase, Phase::Committing);
    let open: Vec<&str> = listed[0].open.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(open, ["b"]);
    let resolved = desk.resolve(1, Outcome::Aborted, "the machine is gone");
    assert_eq!(resolved, Some(Answer::Resolved));
    assert!(desk.record().has_ended() && desk.record().is_mixed());
    let line = &desk.record().audit[0];
    assert_eq!(line.by, "ann");
    assert_eq!(line.what, "participant 1 aborted: the machine is gone");
    assert!(desk.coordinator.in_doubt(10).is_empty());
    let again = desk.resolve(1, Outcome::Aborted, "again");
    assert_eq!(again, Some(Answer::Resolved), "the answer was lost");
    assert_eq!(desk.record().audit.len(), 1);
    let other = desk.resolve(1, Outcome::Committed, "changed my mind");
    assert_eq!(other, refused(Refusal::NotInDoubt));
    let told = desk.commit();
    assert!(told.as_ref().is_some_and(decided(Outcome::Committed, true)));
}

#[test]
fn a_persons_word_counts_as_a_vote() {
    let mut desk = two(Kind::TwoPhase);
    desk.report(0, Report::Yes);
    desk.resolve(1, Outcome::Committed, "committed it in psql");
    assert_eq!(desk.record().phase, Phase::Committing);
    assert!(!desk.record().is_mixed());

    let mut desk = two(Kind::TwoPhase);
    desk.resolve(1, Outcome::Aborted, "rolled it back in psql");
    assert_eq!(desk.record().phase, Phase::Aborting);
    desk.report(0, Report::Aborted);
    assert!(desk.record().has_ended() && !desk.record().is_mixed());
}

#[test]
fn a_person_decides_about_a_sagas_step() {
    let mut desk = two(Kind::Saga);
    let far = desk.resolve(1, Outcome::Aborted, "it is not begun");
    assert_eq!(far, refused(Refusal::NotInDoubt));
    desk.resolve(0, Outcome::Committed, "the shop has called");
    assert_eq!(desk.record().phase, Phase::Running { step: 1 });
    desk.resolve(1, Outcome::Aborted, "sold out");
    assert_eq!(desk.record().phase, Phase::Compensating { left: 1 });
    desk.resolve(0, Outcome::Aborted, "sent back by hand");
    let ended = desk.record();
    assert!(ended.has_ended() && !ended.is_mixed(), "{ended:?}");
    assert_eq!(ended.audit.len(), 3);
}

#[test]
fn where_peers_may_decide_a_yes_knows_all_of_them_and_gets_old() {
    let mut desk = two(Kind::ThreePhase(Termination::ByPeers));
    desk.report(0, Report::YesAmong(2));
    for report in [Report::Yes, Report::YesAmong(1)] {
        desk.report(1, report);
        assert_eq!(desk.record().phase, Phase::Active, "{report:?}");
    }
    // The second answers late, and the first may have aborted by then.
    let late = Settings {
        vote_ms: 60_000,
        ..Settings::default()
    };
    let mut desk = Desk::new(late);
    desk.begin(Kind::ThreePhase(Termination::ByPeers));
    desk.enlist("a", b"x");
    desk.enlist("b", b"y");
    desk.commit();
    desk.report(0, Report::YesAmong(2));
    desk.now_ms = late.yes_ms;
    desk.step(Input::Tick);
    desk.sent.clear();
    desk.report(1, Report::YesAmong(2));
    assert_eq!(desk.record().phase, Phase::PreCommitting);
    let asked = |desk: &Desk, place: u16| {
        let prepares =
            |(to, order): &&(u16, Order)| *to == place && matches!(order, Order::Prepare { .. });
        desk.sent.iter().filter(prepares).count()
    };
    assert_eq!(asked(&desk, 0), 1, "it is asked anew: {:?}", desk.sent);
    assert!(
        desk.sent
            .iter()
            .all(|(_, order)| *order != Order::PreCommit)
    );
    desk.report(0, Report::YesAmong(2));
    desk.report(1, Report::YesAmong(2));
    let told = desk.sent.iter().filter(|(_, it)| *it == Order::PreCommit);
    assert_eq!(told.count(), 2, "both at once: {:?}", desk.sent);
}

#[test]
fn a_participant_that_ended_otherwise_is_told_of() {
    let mut desk = two(Kind::TwoPhase);
    desk.report(0, Report::Yes);
    desk.report(1, Report::Yes);
    desk.report(1, Report::Unknown);
    let lost = Note::LostVote { place: Place(1) };
    assert!(desk.notes.contains(&lost));
    assert_eq!(
        desk.coordinator.in_doubt(10)[0].open.len(),
        2,
        "it stays in doubt"
    );
    desk.report(0, Report::Aborted);
    desk.report(1, Report::Committed);
    let contrary = Standing::Contrary(Outcome::Aborted);
    assert_eq!(desk.record().participants[0].standing, contrary);
    assert!(desk.record().has_ended() && desk.record().is_mixed());
}

#[test]
fn orders_are_sent_again_ever_more_seldom() {
    let mut desk = two(Kind::TwoPhase);
    desk.report(0, Report::Yes);
    desk.report(1, Report::Yes);
    let mut at_ms = Vec::new();
    while at_ms.len() < 12 {
        let due_ms = desk.coordinator.due_at_ms().expect("it goes on for ever");
        assert!(due_ms > desk.now_ms);
        desk.now_ms = due_ms;
        desk.sent.clear();
        desk.step(Input::Tick);
        at_ms.extend(desk.sent.iter().filter(|(to, _)| *to == 1).map(|_| due_ms));
    }
    let pauses: Vec<u64> = at_ms.windows(2).map(|it| it[1] - it[0]).collect();
    assert!(pauses[0] <= 400 && pauses[10] >= 15_000, "{pauses:?}");
}

#[test]
fn who_asks_about_what_is_forgotten_is_told_to_abort() {
    let mut desk = Desk::new(Settings::default());
    let branch = Branch {
        transaction: ID,
        place: Place(3),
    };
    let name = "a".to_owned();
    desk.step(Input::Inquired { branch, name });
    assert_eq!(desk.sent, [(3, Order::Abort)]);
    assert_eq!(desk.coordinator.held(), 0);
}

proptest! {
    /// What is in the log may have been written by a later version, or by anybody: no record,
    /// and no report about it, makes a coordinator fail.
    #[test]
    fn no_record_does_harm(
        record in record(),
        reports in prop::collection::vec((0_u16..6, 0_usize..REPORTS.len()), 0..12),
    ) {
        let transaction = record.id;
        let mut coordinator = Coordinator::new(NodeId(1), Settings::default(), 1);
        coordinator.step(5, Input::Adopt { version: Version(9), record });
        let mut versions = 9;
        for (at, (place, report)) in reports.into_iter().enumerate() {
            for effect in coordinator.effects() {
                if let Effect::Write { ticket, expected, .. } = effect {
                    prop_assert_eq!(expected, Some(Version(versions)));
                    versions += 1;
                    let version = Version(versions);
                    coordinator.step(5, Input::Written { ticket, version });
                }
            }
            let branch = Branch { transaction, place: Place(place) };
            let report = REPORTS[report];
            coordinator.step(at as u64 * 10_000, Input::Reported { branch, report });
            coordinator.step(u64::MAX - 100 + at as u64, Input::Tick);
            prop_assert!(coordinator.in_doubt(10).len() < 2);
        }
    }
}

const REPORTS: [Report; 12] = [
    Report::Yes,
    Report::YesAmong(2),
    Report::ReadOnly,
    Report::No,
    Report::PreCommitted,
    Report::Committed,
    Report::Aborted,
    Report::Unknown,
    Report::Done,
    Report::NotDone,
    Report::Failed,
    Report::Compensated,
];

#[test]
fn who_asks_by_anothers_name_is_told_nothing() {
    let mut desk = two(Kind::TwoPhase);
    desk.report(0, Report::Yes);
    desk.report(1, Report::Yes);
    assert_eq!(desk.record().phase, Phase::Committing);
    let mut told = Vec::new();
    for name in ["b", "a"] {
        desk.sent.clear();
        let branch = Branch {
            transaction: ID,
            place: Place(0),
        };
        let name = name.to_owned();
        desk.step(Input::Inquired { branch, name });
        told.push(std::mem::take(&mut desk.sent));
    }
    assert_eq!(told, [vec![], vec![(0, Order::Commit)]]);
}
