//! Requests that wait until others let go.

use super::*;
use crate::core::{
    machine::{
        Answered, Call, Locks, Machine, Operation, Prepare, Transact, Transacted, TransactionId,
    },
    partition::Read,
    reply::Reply,
};
use atoll_base::id::PartitionId;

type Held = Partition<Machine>;

fn partition() -> Held {
    let members = Members::new(vec![ReplicaId(1)]).expect("some");
    let durable = Durable::new(Configuration::first(members));
    let state = State::new(Machine::default());
    let limits = Limits::default();
    Partition::new(ReplicaId(1), durable, state, Settings::default(), limits, 1)
}

fn id() -> TransactionId {
    TransactionId {
        session: Session {
            replica: COORDINATOR,
            boot: 1,
        },
        number: 1,
    }
}

fn call(text: &str) -> Bytes {
    let words = text.split(' ');
    let words = words.map(|word| Bytes::copy_from_slice(word.as_bytes()));
    let words = words.collect();
    Operation::Call(Call { database: 0, words }).encode()
}

fn prepare(keys: &[&str]) -> Bytes {
    let keys = keys.iter();
    let keys = keys.map(|key| (0, Bytes::copy_from_slice(key.as_bytes())));
    Operation::Transact(Transact::Prepare(Prepare {
        id: id(),
        home: PartitionId(0),
        participants: Vec::new(),
        locks: Locks::Keys(keys.collect()),
        watched: Vec::new(),
        calls: Vec::new(),
        waits: false,
        branch: None,
    }))
    .encode()
}

fn finish() -> Bytes {
    Operation::Transact(Transact::Finish {
        id: id(),
        commits: false,
    })
    .encode()
}

/// A partition, asked one thing after the other, whose journal writes when it is told.
struct Asked {
    partition: Held,
    sequence: u64,
    written: u64,
}

impl Asked {
    fn new() -> Self {
        let mut asked = Asked {
            partition: partition(),
            sequence: 0,
            written: 0,
        };
        // It is the owner from now on.
        assert_eq!(asked.ask(call("PING")), 1);
        assert_eq!(asked.settle().len(), 1);
        asked
    }

    fn ask(&mut self, operation: Bytes) -> u64 {
        self.ask_as(operation, false)
    }

    fn ask_as(&mut self, operation: Bytes, reads: bool) -> u64 {
        self.sequence += 1;
        let request = Request {
            operation,
            takes_over: true,
            ..request(self.sequence, reads)
        };
        self.partition.request(COORDINATOR, request, 0);
        self.sequence
    }

    /// Who was answered what, before anything is written.
    fn ready(&mut self) -> Vec<(u64, Answered)> {
        let mut answers = Vec::new();
        loop {
            let work = self.partition.ready(1_000, |_| unreachable!("no snapshot"));
            self.written = self.written.max(work.written);
            for (_, response) in work.responses {
                match response.outcome {
                    Outcome::Done(answered) => answers.push((response.origin.sequence, answered)),
                    other => panic!("it came to {other:?}"),
                }
            }
            if !work.again {
                return answers;
            }
        }
    }

    /// Who was answered what, once all is written.
    fn settle(&mut self) -> Vec<(u64, Answered)> {
        let mut answers = self.ready();
        for _ in 0..10 {
            self.partition.advance(Done::Synced(self.written));
            answers.extend(self.ready());
        }
        answers
    }
}

fn ok() -> Answered {
    Answered::Reply(Reply::OK)
}

fn bulk(text: &'static str) -> Answered {
    Answered::Reply(Reply::bulk(text))
}

#[test]
fn what_is_locked_is_waited_for_and_what_follows_keeps_its_order() {
    let mut asked = Asked::new();
    let locks = asked.ask(prepare(&["a"]));
    assert!(matches!(
        &asked.settle()[..],
        [(sequence, Answered::Transacted(Transacted::Prepared { .. }))] if *sequence == locks
    ));
    let set = asked.ask(call("SET a 1"));
    let append = asked.ask(call("APPEND b x"));
    let get = asked.ask_as(call("GET a"), true);
    let other = asked.ask_as(call("GET b"), true);
    assert_eq!(asked.settle(), [], "all of them wait");
    asked.ask(finish());
    let answers = asked.settle();
    let place = |sequence| {
        let mut answers = answers.iter();
        answers.position(|(answered, _)| *answered == sequence)
    };
    assert!(place(set) < place(append) && place(get) < place(other));
    assert!(answers.contains(&(set, ok())));
    assert!(answers.contains(&(append, Answered::Reply(Reply::Integer(1)))));
    // A read may take place before the write that is on its way; it was asked for meanwhile.
    let read = answers.iter().find(|(sequence, _)| *sequence == get);
    assert!(matches!(
        read,
        Some((_, Answered::Reply(Reply::Null | Reply::Bulk(_))))
    ));
}

/// Or who reads a locked key would have the locks of a script ended that is at work.
#[test]
fn a_coordinator_at_work_is_heard_although_readers_wait() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    asked.settle();
    asked.ask_as(call("GET a"), true);
    assert_eq!(asked.settle(), []);
    let tend = asked.ask_as(Operation::Tend(id()).encode(), true);
    let heard = (tend, Answered::Transacted(Transacted::Done));
    assert_eq!(asked.settle(), [heard]);
    let tended = asked.partition.machine_mut().take_tended();
    assert!(tended.contains(&id()));
}

#[test]
fn what_was_asked_twice_is_done_once_and_both_are_told() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    asked.settle();
    let incr = asked.ask(call("INCR a"));
    let again = Request {
        operation: call("INCR a"),
        takes_over: true,
        ..request(incr, false)
    };
    asked.partition.request(RELAY, again.clone(), 0);
    asked.partition.request(COORDINATOR, again, 0);
    assert_eq!(asked.settle(), []);
    asked.ask(finish());
    let one = (incr, Answered::Reply(Reply::Integer(1)));
    let answers = asked.settle();
    assert_eq!(answers.iter().filter(|it| **it == one).count(), 2);
}

#[test]
fn what_is_withdrawn_while_it_waits_is_not_done() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    asked.settle();
    let incr = asked.ask(call("INCR a"));
    let nothing = Request {
        operation: Operation::nothing().encode(),
        takes_over: true,
        ..request(incr, false)
    };
    asked.partition.request(COORDINATOR, nothing, 0);
    assert_eq!(asked.settle(), []);
    asked.ask(finish());
    let none = (incr, Answered::Versions(Vec::new()));
    assert!(asked.settle().contains(&none));
    let get = asked.ask_as(call("GET a"), true);
    assert_eq!(asked.settle(), [(get, Answered::Reply(Reply::Null))]);
}

#[test]
fn a_lock_in_the_log_is_a_lock() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    // It is logged, but not yet written.
    assert_eq!(asked.ready(), []);
    let set = asked.ask(call("SET a 1"));
    asked.settle();
    let operation = call("GET a");
    let state = asked.partition.machine_mut();
    assert_eq!(
        state.read(1, 1, &operation),
        Read::Reply(Answered::Reply(Reply::Null))
    );
    asked.ask(finish());
    assert!(asked.settle().contains(&(set, ok())));
    let read = asked.ask_as(call("GET a"), true);
    assert_eq!(asked.settle(), [(read, bulk("1"))]);
}

#[test]
fn who_takes_hold_stands_back_for_those_who_wait() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    asked.settle();
    let set = asked.ask(call("SET a 1"));
    assert_eq!(asked.settle(), []);
    let other = |keys: &[&str]| {
        let Ok(Operation::Transact(Transact::Prepare(prepare))) = Operation::decode(prepare(keys))
        else {
            unreachable!("it was just made");
        };
        let id = TransactionId { number: 2, ..id() };
        Operation::Transact(Transact::Prepare(Prepare { id, ..prepare })).encode()
    };
    let refused = asked.ask(other(&["b", "a"]));
    let answers = asked.settle();
    assert!(
        matches!(
            &answers[..],
            [(sequence, Answered::Transacted(Transacted::Conflict(_)))] if *sequence == refused
        ),
        "{answers:?}"
    );
    // It waits for nobody who waits for other keys.
    let granted = asked.ask(other(&["b"]));
    assert!(matches!(
        &asked.settle()[..],
        [(sequence, Answered::Transacted(Transacted::Prepared { .. }))] if *sequence == granted
    ));
    asked.ask(finish());
    assert!(asked.settle().contains(&(set, ok())));
}

#[test]
fn a_transaction_that_waits_in_line_has_its_turn() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    asked.settle();
    let set = asked.ask(call("SET a 1"));
    let Ok(Operation::Transact(Transact::Prepare(first))) = Operation::decode(prepare(&["a"]))
    else {
        unreachable!("it was just made");
    };
    let id = TransactionId { number: 2, ..id() };
    let waits = Prepare {
        id,
        waits: true,
        ..first
    };
    let waits = asked.ask(Operation::Transact(Transact::Prepare(waits)).encode());
    let append = asked.ask(call("APPEND a 2"));
    assert_eq!(asked.settle(), []);
    asked.ask(finish());
    let answers = asked.settle();
    assert!(answers.contains(&(set, ok())));
    assert!(answers.iter().any(|(sequence, answered)| *sequence == waits
        && matches!(answered, Answered::Transacted(Transacted::Prepared { .. }))));
    assert!(!answers.iter().any(|(sequence, _)| *sequence == append));
    let finish = Transact::Finish { id, commits: false };
    asked.ask(Operation::Transact(finish).encode());
    assert!(
        asked
            .settle()
            .contains(&(append, Answered::Reply(Reply::Integer(2))))
    );
}

#[test]
fn who_waits_is_sent_away_with_all_others() {
    let mut asked = Asked::new();
    asked.ask(prepare(&["a"]));
    asked.settle();
    let set = asked.ask(call("SET a 1"));
    asked.settle();
    let told = asked.partition.close();
    let outcome = told.iter().find(|(_, it)| it.origin.sequence == set);
    let outcome = outcome.map(|(_, response)| &response.outcome);
    assert!(matches!(outcome, Some(Outcome::NotOwner(_))), "{outcome:?}");
}
