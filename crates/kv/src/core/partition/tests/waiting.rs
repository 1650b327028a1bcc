//! Requests that wait for something to do, at the owner and at their coordinators.

use super::*;
use crate::core::partition::{Changed, Coordinator, Found, Given, Kind, Read, Wish};

/// So many things of two kinds, to be taken one at a time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stock {
    left: [u64; 2],
    taken: u64,
    changed: Vec<usize>,
}

const PUT: [&[u8]; 2] = [b"put 0", b"put 1"];
const TAKE: [&[u8]; 2] = [b"take 0", b"take 1"];
const LAST: [&[u8]; 2] = [b"last 0", b"last 1"];
const NOTHING: &[u8] = b"nothing";

fn of(words: [&[u8]; 2], operation: &Bytes) -> Option<usize> {
    words.iter().position(|word| operation == *word)
}

impl StateMachine for Stock {
    /// Which thing it was, from 1; 0 is none.
    type Reply = u64;
    type Key = usize;

    fn apply(&mut self, _: Moment, operation: &Bytes) -> u64 {
        if let Some(kind) = of(PUT, operation) {
            self.left[kind] += 1;
            self.changed.push(kind);
        }
        match of(TAKE, operation).or(of(LAST, operation)) {
            Some(kind) if self.left[kind] > 0 => {
                self.left[kind] -= 1;
                self.taken += 1;
                self.changed.push(kind);
                self.taken
            }
            _ => 0,
        }
    }

    fn found(&self, operation: &Bytes, reply: &u64) -> Found<usize> {
        match (of(TAKE, operation), of(LAST, operation)) {
            (Some(kind), _) if *reply == 0 => Found::NothingYet(Wish {
                since_ms: 1,
                keys: vec![kind],
                again: operation.clone(),
                last: Bytes::from_static(LAST[kind]),
            }),
            (_, Some(_)) if *reply == 0 => Found::Nothing,
            _ => Found::Something,
        }
    }

    fn take_changed(&mut self) -> Changed<usize> {
        Changed::Keys(std::mem::take(&mut self.changed))
    }

    fn read(&mut self, _: Milliseconds, _: u64, _: &Bytes) -> Read<u64> {
        Read::Reply(self.left[0])
    }
}

fn stock() -> Partition<Stock> {
    let members = Members::new(vec![ReplicaId(1)]).expect("some");
    let durable = Durable::new(Configuration::first(members));
    let (state, settings) = (State::new(Stock::default()), Settings::default());
    let limits = Limits::default();
    Partition::new(ReplicaId(1), durable, state, settings, limits, 1)
}

fn ask(partition: &mut Partition<Stock>, sequence: u64, operation: &'static [u8]) {
    let request = Request {
        operation: Bytes::from_static(operation),
        ..request(sequence, operation.is_empty())
    };
    partition.request(COORDINATOR, request, 0);
}

/// All answers by the numbers of their requests.
fn told(partition: &mut Partition<Stock>) -> Vec<(u64, Outcome<u64>)> {
    let mut responses = Vec::new();
    loop {
        let work = partition.ready(0, |_| State::new(Stock::default()));
        responses.extend(work.responses);
        if !work.records.is_empty() {
            partition.advance(Done::Synced(work.written));
        } else if !work.again {
            break;
        }
    }
    let all = responses.into_iter();
    all.map(|(_, response)| (response.origin.sequence, response.outcome))
        .collect()
}

fn waits(kind: usize) -> Outcome<u64> {
    Outcome::Waits {
        again: Bytes::from_static(TAKE[kind]),
        last: Bytes::from_static(LAST[kind]),
    }
}

#[test]
fn who_came_first_is_served_first_and_each_change_serves_as_many_as_it_can() {
    let mut partition = stock();
    for sequence in [1, 2, 3] {
        ask(&mut partition, sequence, TAKE[0]);
    }
    ask(&mut partition, 4, TAKE[1]);
    let all = [(1, waits(0)), (2, waits(0)), (3, waits(0)), (4, waits(1))];
    assert_eq!(told(&mut partition), all);
    ask(&mut partition, 5, PUT[0]);
    let served = [(5, Outcome::Done(0)), (1, Outcome::Done(1))];
    assert_eq!(told(&mut partition), served);
    ask(&mut partition, 6, PUT[0]);
    ask(&mut partition, 7, PUT[0]);
    let served = told(&mut partition);
    assert_eq!(served[2..], [(2, Outcome::Done(2)), (3, Outcome::Done(3))]);
    // What nobody waits for is not tried.
    let before = partition.replica().durable().log.last().index.0;
    ask(&mut partition, 8, PUT[0]);
    assert_eq!(told(&mut partition), [(8, Outcome::Done(0))]);
    assert_eq!(partition.replica().durable().log.last().index.0, before + 1);
}

#[test]
fn who_is_told_of_a_change_sees_what_came_of_it() {
    let mut partition = stock();
    ask(&mut partition, 1, TAKE[0]);
    told(&mut partition);
    ask(&mut partition, 2, PUT[0]);
    let mut work = partition.ready(0, |_| State::new(Stock::default()));
    while work.responses.is_empty() {
        partition.advance(Done::Synced(work.written));
        work = partition.ready(0, |_| State::new(Stock::default()));
    }
    assert_eq!(work.responses[0].1.outcome, Outcome::Done(0));
    assert!(work.again, "nobody was woken");
    // The one that waits is logged, and not applied, when the read comes.
    let work = partition.ready(0, |_| State::new(Stock::default()));
    assert!(!work.records.is_empty());
    ask(&mut partition, 3, b"");
    assert!(
        partition
            .ready(0, |_| State::new(Stock::default()))
            .responses
            .is_empty()
    );
    partition.advance(Done::Synced(work.written));
    let answers = [(1, Outcome::Done(1)), (3, Outcome::Done(0))];
    assert_eq!(told(&mut partition), answers);
}

#[test]
fn a_last_attempt_takes_what_is_there_or_nothing_ever() {
    let mut partition = stock();
    for sequence in [1, 2] {
        ask(&mut partition, sequence, TAKE[0]);
    }
    told(&mut partition);
    ask(&mut partition, 1, LAST[0]);
    assert_eq!(told(&mut partition), [(1, Outcome::Nothing(0))]);
    // It comes late, and changes nothing any more.
    ask(&mut partition, 1, TAKE[0]);
    ask(&mut partition, 3, PUT[0]);
    let answers = told(&mut partition);
    assert!(answers.contains(&(1, Outcome::Nothing(0))), "{answers:?}");
    assert!(answers.contains(&(2, Outcome::Done(1))), "{answers:?}");
    // What was served while the last attempt was on its way is its answer.
    ask(&mut partition, 4, TAKE[0]);
    told(&mut partition);
    ask(&mut partition, 5, PUT[0]);
    ask(&mut partition, 4, LAST[0]);
    let answers = told(&mut partition);
    assert!(answers.contains(&(4, Outcome::Done(2))), "{answers:?}");
    assert_eq!(partition.state().machine.left[0], 0);
}

#[test]
fn nothing_is_taken_for_who_is_gone() {
    let mut partition = stock();
    ask(&mut partition, 1, TAKE[0]);
    told(&mut partition);
    partition.link(COORDINATOR, false, 0);
    ask(&mut partition, 2, PUT[0]);
    told(&mut partition);
    assert_eq!(partition.state().machine.left[0], 1);
    // Back again, it is served.
    partition.link(COORDINATOR, true, 0);
    ask(&mut partition, 1, TAKE[0]);
    assert_eq!(told(&mut partition), [(1, Outcome::Done(1))]);
}

const OWNER: ReplicaId = ReplicaId(1);
const OTHER: ReplicaId = ReplicaId(2);

fn coordinator() -> Coordinator<u64> {
    let session = Session {
        replica: COORDINATOR,
        boot: 1,
    };
    Coordinator::new(session, vec![OWNER, OTHER], 30)
}

fn submit(coordinator: &mut Coordinator<u64>, task: u64, until_ms: Option<u64>) {
    let operation = Bytes::from_static(TAKE[0]);
    coordinator.submit(task, Kind::Wait { until_ms }, operation, 0, 400);
}

fn sent(coordinator: &mut Coordinator<u64>) -> Vec<(ReplicaId, u64, Bytes)> {
    let requests = coordinator.requests().into_iter();
    requests
        .map(|(to, request)| (to, request.origin.sequence, request.operation))
        .collect()
}

fn respond(coordinator: &mut Coordinator<u64>, sequence: u64, outcome: Outcome<u64>, now_ms: u64) {
    let origin = Origin {
        session: Session {
            replica: COORDINATOR,
            boot: 1,
        },
        sequence,
        answered_below: 0,
    };
    coordinator.response(OWNER, Response { origin, outcome }, now_ms);
}

#[test]
fn a_request_that_waits_is_not_late_and_ends_when_its_time_is_over() {
    let mut it = coordinator();
    submit(&mut it, 70, Some(2_000));
    sent(&mut it);
    respond(&mut it, 1, waits(0), 5);
    // Beyond the time for which an owner is looked for.
    for now_ms in (100..2_000).step_by(50) {
        it.tick(now_ms);
        for (to, sequence, operation) in sent(&mut it) {
            assert_eq!((to, sequence, &operation[..]), (OWNER, 1, TAKE[0]));
            respond(&mut it, 1, waits(0), now_ms);
        }
        assert!(it.ended().is_empty());
    }
    it.tick(2_000);
    assert_eq!(sent(&mut it), [(OWNER, 1, Bytes::from_static(LAST[0]))]);
    // An answer to what was asked before says nothing new.
    respond(&mut it, 1, waits(0), 2_001);
    assert!(sent(&mut it).is_empty());
    respond(&mut it, 1, Outcome::Nothing(0), 2_002);
    assert_eq!(it.ended(), [(70, Given::Reply(0))]);
    assert_eq!(it.wants_tick_at_ms(), None);
}

#[test]
fn all_that_wait_at_an_owner_that_is_lost_are_asked_for_elsewhere() {
    let mut it = coordinator();
    for task in 70..73 {
        submit(&mut it, task, None);
    }
    sent(&mut it);
    for sequence in 1..=3 {
        respond(&mut it, sequence, waits(0), 5);
    }
    // Only the first looks after the owner; that says nothing, and all go elsewhere.
    it.tick(105);
    assert_eq!(sent(&mut it), [(OWNER, 1, Bytes::from_static(TAKE[0]))]);
    it.tick(140);
    let elsewhere: Vec<(ReplicaId, u64)> = sent(&mut it)
        .into_iter()
        .map(|(to, sequence, _)| (to, sequence))
        .collect();
    assert_eq!(elsewhere, [(OTHER, 1), (OTHER, 2), (OTHER, 3)]);
}

#[test]
fn who_goes_away_takes_nothing() {
    let mut it = coordinator();
    submit(&mut it, 70, None);
    submit(&mut it, 71, None);
    sent(&mut it);
    respond(&mut it, 1, waits(0), 5);
    let nothing = Bytes::from_static(NOTHING);
    it.withdraw(70, nothing.clone(), 6);
    assert_eq!(sent(&mut it), [(OWNER, 1, nothing.clone())]);
    // The other one's owner has not said yet that it waits.
    it.withdraw(71, nothing.clone(), 6);
    assert!(sent(&mut it).is_empty());
    respond(&mut it, 2, waits(0), 7);
    assert_eq!(sent(&mut it), [(OWNER, 2, nothing)]);
}

#[test]
fn one_that_waited_may_have_been_done_when_it_is_refused() {
    let mut it = coordinator();
    submit(&mut it, 70, Some(200));
    submit(&mut it, 71, Some(200));
    sent(&mut it);
    respond(&mut it, 1, waits(0), 5);
    // The owner may have tried it again before it hears of its end, and before it is crowded.
    it.tick(200);
    respond(&mut it, 1, Outcome::Busy, 201);
    respond(&mut it, 2, Outcome::Busy, 201);
    let ended = it.ended();
    assert!(ended.contains(&(70, Given::Unknown)), "{ended:?}");
}

#[test]
fn what_waits_long_does_not_keep_the_replies_of_all_others() {
    let mut it = coordinator();
    submit(&mut it, 70, None);
    respond(&mut it, 1, waits(0), 0);
    sent(&mut it);
    let mut asked = Vec::new();
    for task in 100..1_300 {
        it.submit(task, Kind::Write, Bytes::from_static(PUT[1]), 1, 400);
        for (_, request) in it.requests() {
            let sequence = request.origin.sequence;
            asked.push(request.clone());
            let outcome = match &request.operation[..] {
                b"last 0" => Outcome::Nothing(0),
                b"take 0" => waits(0),
                _ => Outcome::Done(0),
            };
            respond(&mut it, sequence, outcome, 1);
        }
    }
    let renewed = asked.iter().find(|request| request.operation == LAST[0]);
    assert_eq!(renewed.map(|request| request.origin.sequence), Some(1));
    let last = asked.last().expect("many");
    assert!(last.origin.answered_below > 1_000, "{:?}", last.origin);
    assert!(!it.ended().iter().any(|(task, _)| *task == 70));
}
