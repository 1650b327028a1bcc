//! One replica's partition, and who waits there.

mod held_up;
mod waiting;

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{
    Coordinator, Given, Kind, Limits, Look, Moment, Outcome, Partition, Request, Response, State,
    StateMachine, Work, coordinator::HELD_MS_MAX,
};
use crate::core::{
    data::Milliseconds,
    paxos::{Ballot, Configuration, Done, Durable, Members, Message, Settings},
    sessions::{Origin, Session},
};

/// Counts what was applied.
#[derive(Clone, Debug, PartialEq)]
struct Count(u64);

impl StateMachine for Count {
    type Reply = u64;
    type Key = ();

    fn apply(&mut self, _: Moment, operation: &Bytes) -> u64 {
        self.0 += match operation.strip_prefix(b"so many more: ") {
            Some(count) => count.iter().map(|byte| u64::from(*byte)).sum(),
            None => 1,
        };
        self.0
    }

    fn is_decided(&self, operation: &Bytes) -> bool {
        operation == TWICE
    }

    fn decide(&mut self, at: Moment, _: &Bytes) -> Bytes {
        let place = u8::try_from(self.0).expect("few");
        assert_eq!(u64::from(place), at.index.0 - 2, "entries are missing");
        Bytes::from([&b"so many more: "[..], &[place]].concat())
    }

    fn refuses(&self, operation: &Bytes) -> Option<u64> {
        (operation == REFUSED).then_some(u64::MAX)
    }

    fn read(&mut self, _: Milliseconds, _: u64, _: &Bytes) -> super::Read<u64> {
        super::Read::Reply(self.0)
    }

    fn observe(&mut self, _: &Bytes) -> Option<(u64, u64)> {
        Some((self.0, self.0))
    }
}

/// As many more as there are.
const TWICE: &[u8] = b"twice";
const REFUSED: &[u8] = b"refused";

const COORDINATOR: ReplicaId = ReplicaId(9);
const RELAY: ReplicaId = ReplicaId(8);

fn partition(ids: &[u64], waiting_max: usize) -> Partition<Count> {
    let members = Members::new(ids.iter().copied().map(ReplicaId).collect()).expect("some");
    let durable = Durable::new(Configuration::first(members));
    let limits = Limits {
        waiting_max,
        ..Limits::default()
    };
    let state = State::new(Count(0));
    Partition::new(ReplicaId(1), durable, state, Settings::default(), limits, 1)
}

fn request(sequence: u64, reads: bool) -> Request {
    Request {
        origin: Origin {
            session: Session {
                replica: COORDINATOR,
                boot: 1,
            },
            sequence,
            answered_below: 1,
        },
        reads,
        takes_over: true,
        operation: Bytes::from_static(b"one more"),
    }
}

fn ready(partition: &mut Partition<Count>) -> Work<Count> {
    partition.ready(0, |_| State::new(Count(0)))
}

/// All answers, with a disk that is quick.
fn settle(partition: &mut Partition<Count>) -> Vec<(ReplicaId, Response<u64>)> {
    let mut responses = Vec::new();
    loop {
        let work = ready(partition);
        responses.extend(work.responses);
        if !work.records.is_empty() {
            partition.advance(Done::Synced(work.written));
        } else if !work.again {
            return responses;
        }
    }
}

fn outcomes(responses: &[(ReplicaId, Response<u64>)]) -> Vec<(ReplicaId, &Outcome<u64>)> {
    responses
        .iter()
        .map(|(to, response)| (*to, &response.outcome))
        .collect()
}

#[test]
fn what_is_asked_twice_is_logged_once_and_answered_to_both() {
    let mut partition = partition(&[1], 10);
    partition.request(COORDINATOR, request(1, false), 0);
    partition.request(COORDINATOR, request(1, false), 0);
    assert!(settle(&mut partition).len() == 1, "held twice");
    partition.request(COORDINATOR, request(2, false), 0);
    partition.request(RELAY, request(2, false), 0);
    partition.request(COORDINATOR, request(2, false), 0);
    let responses = settle(&mut partition);
    let done = Outcome::Done(2);
    assert_eq!(outcomes(&responses), [(COORDINATOR, &done), (RELAY, &done)]);
    let last = partition.replica().durable().log.last();
    assert_eq!(last.index.0, 3, "an entry too many");
}

#[test]
fn a_request_that_was_held_goes_with_the_first_write_to_disk() {
    let mut partition = partition(&[1], 10);
    partition.request(COORDINATOR, request(1, false), 0);
    let mut syncs = 0;
    loop {
        let work = ready(&mut partition);
        if !work.responses.is_empty() {
            break;
        }
        syncs += 1;
        partition.advance(Done::Synced(work.written));
    }
    // The promise; then the owner's first entry together with the request.
    assert_eq!(syncs, 2);
}

/// Whoever asked may have told a client meanwhile that nobody knows what becomes of it: begun now,
/// it would undo what was acknowledged since.
#[test]
fn what_was_held_for_long_is_begun_only_if_it_is_asked_again() {
    let mut partition = partition(&[1], 10);
    partition.request(COORDINATOR, request(1, false), 0);
    let work = ready(&mut partition);
    let late_ms = HELD_MS_MAX + 1;
    partition.tick(late_ms);
    partition.advance(Done::Synced(work.written));
    let responses = settle(&mut partition);
    let owner = Outcome::NotOwner(Some(ReplicaId(1)));
    assert_eq!(outcomes(&responses), [(COORDINATOR, &owner)]);
    partition.request(COORDINATOR, request(1, false), late_ms);
    let responses = settle(&mut partition);
    assert_eq!(outcomes(&responses), [(COORDINATOR, &Outcome::Done(1))]);
}

#[test]
fn nobody_is_asked_for_what_could_be_done_only_when_it_was_given_up() {
    let members = vec![ReplicaId(1), ReplicaId(2), ReplicaId(3)];
    let session = request(1, false).origin.session;
    let mut it: Coordinator<u64> = Coordinator::new(session, members, 30);
    let deadline_ms = 400;
    it.submit(7, Kind::Write, Bytes::from_static(b"x"), 0, deadline_ms);
    let mut asked_at_ms = Vec::new();
    for now_ms in 0..deadline_ms {
        it.tick(now_ms);
        asked_at_ms.extend(it.requests().iter().map(|_| now_ms));
        if now_ms % 50 == 40 {
            it.link(ReplicaId(1 + now_ms % 3), false, now_ms);
        }
    }
    let last_ms = asked_at_ms.last().copied().expect("some");
    assert!(asked_at_ms.len() > 5 && last_ms < deadline_ms - HELD_MS_MAX);
    assert!(it.ended().is_empty());
    it.tick(deadline_ms);
    assert_eq!(it.ended(), [(7, Given::Unknown)]);
}

#[test]
fn what_the_owner_decides_rests_on_everything_before_it_and_is_decided_once() {
    let mut partition = partition(&[1], 10);
    let twice = |sequence| Request {
        operation: Bytes::from_static(TWICE),
        ..request(sequence, false)
    };
    partition.request(COORDINATOR, request(1, false), 0);
    settle(&mut partition);
    partition.request(COORDINATOR, request(2, false), 0);
    // Its entry waits for the disk, and what comes now would have to wait for it.
    let work = ready(&mut partition);
    partition.request(COORDINATOR, twice(3), 0);
    partition.request(COORDINATOR, request(4, false), 0);
    let waits = ready(&mut partition);
    assert!(
        waits.records.is_empty() && !waits.again,
        "decided too early"
    );
    partition.advance(Done::Synced(work.written));
    let done = |count| (COORDINATOR, Outcome::Done(count));
    let told = |responses: Vec<(ReplicaId, Response<u64>)>| -> Vec<(ReplicaId, Outcome<u64>)> {
        let all = responses.into_iter();
        all.map(|(to, response)| (to, response.outcome)).collect()
    };
    assert_eq!(told(settle(&mut partition)), [done(2), done(4), done(5)]);
    // Asked again, it is what it was.
    partition.request(COORDINATOR, twice(3), 0);
    assert_eq!(told(settle(&mut partition)), [done(4)]);
}

/// It is in the log that an owner left, and will be done: to refuse it would tell that it was not.
#[test]
fn what_an_owner_before_has_logged_is_not_refused() {
    let mut before = partition(&[1], 10);
    before.request(COORDINATOR, request(1, false), 0);
    settle(&mut before);
    before.request(COORDINATOR, request(2, false), 0);
    let work = ready(&mut before);
    before.advance(Done::Synced(work.written));
    let durable = before.replica().durable().clone();
    let state = State::new(Count(0));
    let (settings, limits) = (Settings::default(), Limits::default());
    let mut after = Partition::new(ReplicaId(1), durable, state, settings, limits, 2);
    let again = Request {
        operation: Bytes::from_static(REFUSED),
        ..request(2, false)
    };
    after.request(COORDINATOR, again, 0);
    let responses = settle(&mut after);
    assert_eq!(outcomes(&responses), [(COORDINATOR, &Outcome::Done(2))]);
}

#[test]
fn what_the_owner_refuses_is_not_logged() {
    let mut partition = partition(&[1], 10);
    partition.request(COORDINATOR, request(1, false), 0);
    let done = settle(&mut partition);
    let before = partition.replica().durable().log.last();
    let refused = Request {
        operation: Bytes::from_static(REFUSED),
        ..request(2, false)
    };
    partition.request(COORDINATOR, refused, 0);
    let responses = settle(&mut partition);
    assert_eq!(
        outcomes(&responses),
        [(COORDINATOR, &Outcome::Done(u64::MAX))]
    );
    assert_eq!(partition.replica().durable().log.last(), before);
    // Asked again, what was applied before is answered as it was.
    let again = Request {
        operation: Bytes::from_static(REFUSED),
        ..request(1, false)
    };
    partition.request(COORDINATOR, again, 0);
    assert_eq!(settle(&mut partition), done);
}

#[test]
fn who_waits_is_told_when_the_partition_is_closed() {
    let mut partition = partition(&[1, 2, 3], 10);
    partition.request(COORDINATOR, request(1, false), 0);
    partition.request(RELAY, request(2, true), 0);
    assert!(settle(&mut partition).is_empty());
    let told = partition.close();
    let away = Outcome::NotOwner(None);
    assert_eq!(outcomes(&told), [(COORDINATOR, &away), (RELAY, &away)]);
}

#[test]
fn too_much_is_refused_whatever_it_waits_for() {
    let mut partition = partition(&[1, 2, 3], 2);
    for sequence in 1..=3 {
        partition.request(COORDINATOR, request(sequence, sequence == 1), 0);
    }
    let responses = settle(&mut partition);
    assert_eq!(outcomes(&responses), [(COORDINATOR, &Outcome::Busy)]);
}

#[test]
fn a_look_sees_nothing_where_something_is_pending() {
    let mut partition = partition(&[1, 2, 3], 10);
    let look = Look {
        origin: request(1, true).origin,
        operation: Bytes::new(),
    };
    assert_eq!(partition.look(&look).view, Some((0, 0)));
    let mut owner = self::partition(&[1], 10);
    owner.request(COORDINATOR, request(2, false), 0);
    settle(&mut owner);
    // The second replica's entries arrive, and nobody says that they are committed.
    let log = &owner.replica().durable().log;
    let ballot = Ballot {
        configuration: 1,
        round: 1,
        replica: ReplicaId(2),
    };
    let accept = Message::Accept {
        ballot,
        configuration: partition.replica().configuration().clone(),
        previous: log.base(),
        entries: log.tail(log.base().index.next(), usize::MAX),
        commit: log.base().index,
    };
    partition.step(ReplicaId(2), accept, 0);
    settle(&mut partition);
    assert_eq!(partition.look(&look).view, None);
    let commit = Message::Commit {
        ballot,
        commit: log.last().index,
    };
    partition.step(ReplicaId(2), commit, 0);
    settle(&mut partition);
    assert_eq!(partition.look(&look).view, Some((1, 1)));
}
