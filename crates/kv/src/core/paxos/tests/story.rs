//! Stories: what three replicas tell each other, step by step.

use atoll_base::id::ReplicaId;
use bytes::Bytes;

use super::{
    super::{
        Ballot, Configuration, Done, LogIndex, Message, Payload, Position, Proof, Ready, Replica,
        Settings, Snapshot, Tail, TakeOver,
    },
    batch, members, replica,
};

/// Replicas whose disks are quick and whose letters arrive at once, where none is cut off.
struct Three {
    replicas: Vec<Replica>,
    cut_off: Vec<u64>,
    applied: Vec<Vec<Payload>>,
    now_ms: u64,
}

impl Three {
    fn new() -> Three {
        let first = Configuration::first(members(&[1, 2, 3]));
        let replica = |id| replica(id, &first, Settings::default());
        Three {
            replicas: (1..=3).map(replica).collect(),
            cut_off: Vec::new(),
            applied: vec![Vec::new(); 3],
            now_ms: 0,
        }
    }

    fn at(&mut self, id: u64) -> &mut Replica {
        &mut self.replicas[usize::try_from(id).expect("small") - 1]
    }

    /// What a replica does, when its disk is quick.
    fn turn(&mut self, id: u64) -> Ready {
        let mut all = Ready::default();
        loop {
            let ready = self.at(id).ready();
            if ready.is_empty() {
                break;
            }
            self.at(id).advance(Done::Synced(ready.written));
            all.append(ready);
        }
        let payloads = all.committed.iter().map(|entry| entry.payload.clone());
        self.applied[usize::try_from(id).expect("small") - 1].extend(payloads);
        all
    }

    /// Until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let mut letters = Vec::new();
            for from in 1..=3 {
                for (to, message) in self.turn(from).messages {
                    letters.push((from, to.0, message));
                }
            }
            letters
                .retain(|(from, to, _)| !self.cut_off.contains(from) && !self.cut_off.contains(to));
            if letters.is_empty() {
                return;
            }
            let now_ms = self.now_ms;
            for (from, to, message) in letters {
                self.at(to).step(ReplicaId(from), message, now_ms);
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let now_ms = self.now_ms;
        for id in 1..=3 {
            if !self.cut_off.contains(&id) {
                self.at(id).tick(now_ms);
            }
        }
        self.settle();
    }

    fn take_over(&mut self, id: u64) {
        let now_ms = self.now_ms;
        assert_eq!(self.at(id).take_over(now_ms), TakeOver::Begun);
        self.settle();
        for _ in 0..20 {
            self.pass(5);
        }
        assert!(
            self.at(id).owned().is_some(),
            "{id} does not own the ballot"
        );
    }
}

#[test]
fn a_write_is_handed_out_everywhere() {
    let mut three = Three::new();
    three.take_over(1);
    assert!(three.at(1).propose(batch("a")).is_ok());
    three.settle();
    three.pass(10);
    for applied in &three.applied {
        assert_eq!(*applied, [Payload::Nothing, batch("a")]);
    }
}

#[test]
fn who_takes_over_goes_on_with_what_may_have_been_committed() {
    let mut three = Three::new();
    three.take_over(1);
    assert!(three.at(1).propose(batch("a")).is_ok());
    // The second has it, and the owner dies before it hears so.
    let to_second = three.turn(1).messages;
    for (to, message) in to_second {
        if to == ReplicaId(2) {
            three.at(2).step(ReplicaId(1), message, 0);
        }
    }
    three.cut_off = vec![1];
    // The third, which has nothing of it, gets it from the second's promise.
    three.take_over(3);
    assert_eq!(
        three.applied[2],
        [Payload::Nothing, batch("a"), Payload::Nothing]
    );
    // The first comes back, and is taught.
    three.cut_off.clear();
    three.at(3).link(ReplicaId(1), true, 0);
    three.settle();
    assert_eq!(three.applied[0], three.applied[2]);
    assert_eq!(three.at(1).owned(), None);
}

#[test]
fn a_doubled_accept_cuts_nothing() {
    let mut three = Three::new();
    three.take_over(1);
    assert!(three.at(1).propose(batch("a")).is_ok());
    let first = three.turn(1).messages;
    for (to, message) in first.clone() {
        three.at(to.0).step(ReplicaId(1), message, 0);
    }
    three.settle();
    assert!(three.at(1).propose(batch("b")).is_ok());
    three.settle();
    let log = three.at(2).durable().log.clone();
    for (to, message) in first {
        three.at(to.0).step(ReplicaId(1), message, 0);
    }
    assert!(three.turn(2).records.is_empty());
    assert_eq!(three.at(2).durable().log, log);
    assert_eq!(log.last().index, LogIndex(3));
}

#[test]
fn a_refusal_teaches_the_configuration() {
    let mut three = Three::new();
    three.take_over(1);
    let first = three.at(1).configuration().clone();
    let joint = first.joint(members(&[1, 2])).expect("it was stable");
    // Only the second hears of the step, and asks for a ballot under it.
    three.cut_off = vec![3];
    three.at(2).configure(joint.clone(), 0);
    three.at(2).stand(0);
    three.settle();
    assert!(three.at(2).owned().is_some());
    three.cut_off.clear();
    // The third still believes in the first configuration, and is refused.
    three.at(3).stand(0);
    three.settle();
    assert_eq!(*three.at(3).configuration(), joint);
}

#[test]
fn who_is_taught_while_it_fetches_asks_again() {
    let first = Configuration::first(members(&[1, 2, 3]));
    let joint = first.joint(members(&[1, 2, 4])).expect("it was stable");
    let mut candidate = replica(1, &first, Settings::default());
    candidate.stand(0);
    let ready = candidate.ready();
    candidate.advance(Done::Synced(ready.written));
    let own = candidate.ready();
    assert!(
        own.messages
            .iter()
            .any(|(_, message)| matches!(message, Message::Prepare { .. }))
    );
    let ballot = candidate.durable().promised;
    let last = Position {
        birth: Ballot { round: 0, ..ballot },
        index: LogIndex(1),
    };
    // The log to go on with is elsewhere; while it is fetched, a refusal comes.
    let promise = Message::Promise {
        ballot,
        last,
        commit: LogIndex(0),
        tail: Vec::new(),
    };
    candidate.step(ReplicaId(2), promise, 0);
    let promised = Ballot {
        configuration: 2,
        ..ballot
    };
    let refusal = Message::Nack {
        ballot,
        promised,
        configuration: joint,
    };
    candidate.step(ReplicaId(3), refusal, 0);
    assert_eq!(candidate.durable().promised.configuration, 2);
    assert!(candidate.is_taking_over());
}

/// Three entries that the first two have, and the third does not.
fn third_is_behind() -> Three {
    let mut three = Three::new();
    three.take_over(1);
    three.cut_off = vec![3];
    for text in ["a", "b", "c"] {
        assert!(three.at(1).propose(batch(text)).is_ok());
        three.settle();
    }
    three
}

#[test]
fn who_is_too_far_behind_gets_a_snapshot() {
    // The owner's log begins anew, its state is saved.
    let mut three = third_is_behind();
    let base = three.at(1).durable().log.last();
    three.at(1).advance(Done::Snapshot(base));
    three.settle();
    assert_eq!(three.at(1).durable().log.count(), 0);
    third_catches_up_by_a_snapshot(three);

    // The owner has forgotten what it would have to send.
    let mut three = third_is_behind();
    let tail = Tail {
        bytes: 0,
        lagging_bytes: 0,
    };
    three.at(1).forget(&tail);
    let log = &three.at(1).durable().log;
    assert_eq!((log.held_bytes(), log.start()), (0, log.last()));
    assert_eq!((log.base().index, log.count()), (LogIndex(0), 4));
    third_catches_up_by_a_snapshot(three);
}

#[test]
fn what_a_replica_lacks_is_held_for_a_while() {
    let mut three = third_is_behind();
    let tail = Tail {
        bytes: 0,
        lagging_bytes: 1_000,
    };
    three.at(1).forget(&tail);
    // The first entry is the owner's own, and the third has it.
    assert_eq!(three.at(1).durable().log.start().index, LogIndex(1));
    three.cut_off.clear();
    three.at(1).link(ReplicaId(3), true, 0);
    three.settle();
    three.pass(10);
    assert_eq!(three.applied[2].last(), Some(&batch("c")));
    three.at(1).forget(&tail);
    assert_eq!(three.at(1).durable().log.held_bytes(), 0);
    // It goes on where it was.
    assert!(three.at(1).propose(batch("d")).is_ok());
    three.settle();
    three.pass(10);
    assert_eq!(three.applied[2].last(), Some(&batch("d")));
}

fn third_catches_up_by_a_snapshot(mut three: Three) {
    let base = three.at(1).durable().log.last();
    three.cut_off.clear();
    three.at(1).link(ReplicaId(3), true, 0);
    let asked = |ready: &Ready| ready.snapshots == [ReplicaId(3)];
    // A probe tells that the third has nothing after the first entry.
    let mut is_asked = false;
    for _ in 0..4 {
        let ready = three.turn(1);
        is_asked = is_asked || asked(&ready);
        for (to, message) in ready.messages {
            three.at(to.0).step(ReplicaId(1), message, 0);
        }
        for id in [2, 3] {
            for (to, message) in three.turn(id).messages {
                three.at(to.0).step(ReplicaId(id), message, 0);
            }
        }
    }
    assert!(is_asked);
    let snapshot = Snapshot {
        base,
        state: Bytes::from_static(b"a b c"),
    };
    three.at(1).send_snapshot(ReplicaId(3), snapshot);
    three.settle();
    assert_eq!(three.at(3).durable().log.base(), base);
    assert!(three.at(1).propose(batch("d")).is_ok());
    three.settle();
    three.pass(10);
    assert_eq!(three.applied[2].last(), Some(&batch("d")));
}

#[test]
fn a_joint_configuration_is_left_with_its_own_proof_only() {
    let first = Configuration::first(members(&[1, 2, 3]));
    let joint = first.joint(members(&[2, 3, 4])).expect("it was stable");
    let proof = |configuration| Proof {
        committed: Position {
            birth: Ballot {
                configuration,
                ..Ballot::default()
            },
            index: LogIndex(1),
        },
    };
    assert!(first.finish(proof(1)).is_err());
    assert!(joint.joint(members(&[1])).is_err());
    assert!(joint.finish(proof(1)).is_err());
    assert!(joint.finish(proof(2)).is_ok());
}

/// A follower that can be heard but not reached is not followed for ever: somebody who reaches it
/// relays, though the owner's entries keep coming.
#[test]
fn who_hears_the_owner_and_cannot_reach_it_finds_a_way() {
    let mut three = Three::new();
    three.take_over(1);
    let ballot = three.at(1).owned().expect("it owns it");
    assert_eq!(three.at(3).take_over(1_000), TakeOver::Begun);
    let asks = three.turn(3).messages;
    assert!(asks.iter().any(|(to, _)| *to == ReplicaId(2)));
    assert!(three.at(1).propose(batch("a")).is_ok());
    for (to, message) in three.turn(1).messages {
        if to == ReplicaId(3) {
            three.at(3).step(ReplicaId(1), message, 1_000);
        }
    }
    assert!(three.at(3).is_taking_over(), "it gave up asking");
    let alive = Message::Alive {
        ballot,
        asker: ReplicaId(3),
    };
    three.at(3).step(ReplicaId(2), alive, 1_001);
    assert_eq!(three.at(3).relay(), Some(ReplicaId(2)));
}
