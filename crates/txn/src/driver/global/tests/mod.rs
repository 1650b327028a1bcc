//! The driver on virtual time: nodes die at the moments that matter.

mod hot;
mod keys;
mod storms;
mod town;

use std::{sync::Arc, time::Duration};

use atoll_world::{clock, task};
use bytes::Bytes;
use parking_lot::Mutex;

use self::town::{Node, World};
use super::{Bounds, Call, GlobalError, Later, Outside, Unfit};
use crate::core::global::{
    Branch, Kind, Order,
    Outcome::{self, Aborted, Committed},
    Place, Report, Settings, TransactionId,
    coordinator::{Answer, Refusal, Request, Until},
    record::Standing,
};

const BOTH: [&str; 2] = ["orders", "stock"];
const COMMIT: Request = Request::Commit {
    until: Until::Decided,
};

async fn begin(node: &Node) -> TransactionId {
    let id = node.global.begin(Kind::TwoPhase, 60_000).await;
    let id = id.expect("it begins");
    for (number, name) in (0..).zip(BOTH) {
        let payload = Bytes::from_static(b"work");
        let enlisted = node
            .global
            .enlist(id, name.to_owned(), payload, Bytes::new());
        assert_eq!(enlisted.await, Ok(Answer::Enlisted(Place(number))));
    }
    id
}

fn outcome(answer: Result<Answer, GlobalError>) -> Outcome {
    match answer {
        Ok(Answer::Decided {
            outcome,
            is_mixed: false,
            ..
        }) => outcome,
        other => panic!("no outcome: {other:?}"),
    }
}

async fn ended(world: &World, expected: Outcome) {
    for name in BOTH {
        world.until("all know", |it| it.holds(name) == 0).await;
        assert_eq!(world.happened(name), [expected], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_do_their_part_or_none() {
    let world = World::new(&BOTH);
    let node = world.start(1);
    let id = begin(&node).await;
    assert_eq!(outcome(node.global.ask(id, COMMIT).await), Committed);
    ended(&world, Committed).await;

    world.refuse("stock");
    let id = begin(&node).await;
    assert_eq!(outcome(node.global.ask(id, COMMIT).await), Aborted);
    world
        .until("orders is free", |it| it.holds("orders") == 0)
        .await;
    assert_eq!(world.happened("orders"), [Aborted]);
    assert_eq!(world.happened("stock"), []);
    // Kept for those who ask again, then forgotten.
    assert_eq!(outcome(node.global.ask(id, COMMIT).await), Aborted);
    world
        .until("both are forgotten", |it| it.records() == 0)
        .await;
    let forgotten = node.global.ask(id, COMMIT).await;
    assert_eq!(forgotten, Err(Refusal::Unknown.into()));
    let load = node.global.load();
    assert_eq!((load.begun, load.committed, load.aborted), (2, 1, 1));
}

/// A coordinator dies while it waits for the second vote; which transaction it was asked to
/// commit.
async fn dies_between_votes(world: &World, first: &Node) -> TransactionId {
    let id = begin(first).await;
    world.deafen("stock", &["prepare"]);
    let asking = first.global.clone();
    let lost = task::spawn(async move { asking.ask(id, COMMIT).await });
    world
        .until("one has voted", |it| it.holds("orders") == 1)
        .await;
    world.kill(first);
    lost.abort();
    id
}

#[tokio::test(start_paused = true)]
async fn a_client_goes_on_at_another_node_when_the_coordinator_dies_between_votes_and_decision() {
    let world = World::new(&BOTH);
    let (first, second) = (world.start(1), world.start(2));
    let id = dies_between_votes(&world, &first).await;
    world.deafen("stock", &[]);
    assert_eq!(outcome(second.global.ask(id, COMMIT).await), Committed);
    ended(&world, Committed).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_any_more_is_given_up_soon() {
    let world = World::new(&BOTH);
    let (first, _leader) = (world.start(1), world.start(3));
    dies_between_votes(&world, &first).await;
    let waited_ms = world
        .until("it is free", |it| it.holds("orders") == 0)
        .await;
    assert!(waited_ms < 8_000, "{waited_ms} ms");
    assert_eq!(world.happened("orders"), [Aborted]);
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_told_by_another_node_when_the_coordinator_dies() {
    let world = World::new(&BOTH);
    let (first, leader) = (world.start(1), world.start(3));
    let id = begin(&first).await;
    world.deafen("stock", &["commit"]);
    assert_eq!(outcome(first.global.ask(id, COMMIT).await), Committed);
    world
        .until("one has committed", |it| it.holds("orders") == 0)
        .await;
    world.kill(&first);
    world.deafen("stock", &[]);
    let waited_ms = world.until("both have", |it| it.holds("stock") == 0).await;
    assert!(waited_ms < 3_000, "{waited_ms} ms");
    assert_eq!(world.happened("stock"), [Committed]);
    world
        .until("it has ended", |_| leader.global.load().committed == 1)
        .await;
    assert_eq!(leader.global.load().adopted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_goes_on_with_its_own_when_it_starts_again() {
    let world = World::new(&BOTH);
    let first = world.start(1);
    let id = begin(&first).await;
    world.deafen("stock", &["commit"]);
    assert_eq!(outcome(first.global.ask(id, COMMIT).await), Committed);
    world.kill(&first);
    world.deafen("stock", &[]);
    let again = world.start(1);
    ended(&world, Committed).await;
    assert_eq!(again.global.load().adopted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_living_owner_is_left_alone() {
    let world = World::new(&BOTH);
    let (first, leader) = (world.start(1), world.start(3));
    let id = begin(&first).await;
    world.deafen("stock", &["commit"]);
    assert_eq!(outcome(first.global.ask(id, COMMIT).await), Committed);
    let again = |it: &World| it.received("stock", "commit") > 20;
    world.until("it was told often", again).await;
    assert_eq!(leader.global.load().adopted, 0);
    let load = first.global.load();
    assert_eq!((load.held, load.in_doubt), (1, 1));
    assert!(
        load.in_doubt_ms_max > 5_000 && load.retries >= 10,
        "{load:?}"
    );
    world.deafen("stock", &[]);
    ended(&world, Committed).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_participant_holds_of_an_unknown_transaction_is_aborted() {
    let world = World::new(&BOTH);
    let leader = world.start(3);
    let id = begin(&leader).await;
    world.deafen("stock", &["abort"]);
    world.refuse("orders");
    // It is asked, and stays prepared.
    assert_eq!(outcome(leader.global.ask(id, COMMIT).await), Aborted);
    assert_eq!(world.holds("stock"), 1);
    // A person gives it up, and the record goes; then the service is back.
    let resolve = Request::Resolve {
        place: Place(1),
        outcome: Aborted,
        by: "ann".to_owned(),
        remark: "burnt down".to_owned(),
    };
    assert_eq!(leader.global.ask(id, resolve).await, Ok(Answer::Resolved));
    let record = leader.global.show(id).await.expect("there").expect("kept");
    assert_eq!(record.audit[0].by, "ann");
    world.until("it is forgotten", |it| it.records() == 0).await;
    world.deafen("stock", &[]);
    world
        .until("it is asked about", |it| it.holds("stock") == 0)
        .await;
    assert_eq!(world.happened("stock"), [Aborted]);
    let branch = Branch {
        transaction: id,
        place: Place(1),
    };
    let before = world.received("stock", "abort");
    assert_eq!(leader.global.inquire(branch, "stock".to_owned()), Ok(()));
    let heard = |it: &World| it.received("stock", "abort") > before;
    world.until("it is told", heard).await;
}

#[tokio::test(start_paused = true)]
async fn who_can_not_be_reached_does_not_enlist() {
    let world = World::new(&BOTH);
    let node = world.start(1);
    let id = node
        .global
        .begin(Kind::TwoPhase, 60_000)
        .await
        .expect("begun");
    let strange = node
        .global
        .enlist(id, "nobody".to_owned(), Bytes::new(), Bytes::new());
    assert!(matches!(strange.await, Err(GlobalError::Unfit(_))));
    let unknown = TransactionId(7);
    let name = "orders".to_owned();
    let lost = node
        .global
        .enlist(unknown, name, Bytes::new(), Bytes::new());
    assert_eq!(lost.await, Err(Refusal::Unknown.into()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_no_more_keeps_nobody_from_asking() {
    let world = World::new(&BOTH);
    let node = world.start(1);
    let id = begin(&node).await;
    world.deafen("stock", &["prepare"]);
    let room = Settings::default().requests_max;
    let asks = || {
        let global = node.global.clone();
        task::spawn(async move { global.ask(id, COMMIT).await })
    };
    let waiting: Vec<_> = (0..room).map(|_| asks()).collect();
    world
        .until("one has voted", |it| it.holds("orders") == 1)
        .await;
    let refused = node.global.ask(id, COMMIT).await;
    assert!(
        matches!(refused, Err(GlobalError::Refused(Refusal::Limit { .. }))),
        "{refused:?}"
    );
    for client in waiting {
        client.abort();
    }
    let look_ms = Bounds::default().look_ms;
    clock::sleep(Duration::from_millis(2 * look_ms)).await;
    world.deafen("stock", &[]);
    assert_eq!(outcome(node.global.ask(id, COMMIT).await), Committed);
}

/// A service that takes two seconds for a step, and notes what it is told, and what it has done.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Vec<&'static str>>>);

impl Outside for Slow {
    fn reaches(&self, _: &str) -> Result<(), Unfit> {
        Ok(())
    }

    fn check(&self, _: Kind, _: &str, _: &[u8]) -> Result<(), Unfit> {
        Ok(())
    }

    fn tell(&self, call: Call) -> Later<Option<Report>> {
        let notes = self.0.clone();
        Box::pin(async move {
            if !matches!(call.order, Order::Do { .. }) {
                notes.lock().push("asked for something else");
                return None;
            }
            notes.lock().push("begun");
            clock::sleep(Duration::from_secs(2)).await;
            notes.lock().push("done");
            Some(Report::Done)
        })
    }

    fn held(&self) -> Later<Vec<(Branch, String)>> {
        Box::pin(async { Vec::new() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_sagas_step_may_take_its_time() {
    let slow = Slow::default();
    let node = World::new(&[]).start_with(1, Arc::new(slow.clone()));
    let id = node.global.begin(Kind::Saga, 60_000).await;
    let id = id.expect("it begins");
    let (work, undo) = (Bytes::from_static(b"work"), Bytes::from_static(b"undo"));
    let enlisted = node.global.enlist(id, "orders".to_owned(), work, undo);
    assert_eq!(enlisted.await, Ok(Answer::Enlisted(Place(0))));
    assert_eq!(outcome(node.global.ask(id, COMMIT).await), Committed);
    assert_eq!(*slow.0.lock(), ["begun", "done"]);
}
