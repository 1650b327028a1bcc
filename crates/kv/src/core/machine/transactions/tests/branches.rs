//! What is held for a transaction that is decided outside is ended by nobody else, and once.

use super::*;

fn branch(place: u16) -> BranchId {
    BranchId {
        transaction: u128::MAX - 5,
        place,
    }
}

/// An attempt of branch 0 to increment `a`.
fn attempt(number: u64) -> Transact {
    Transact::Prepare(Prepare {
        branch: Some(branch(0)),
        ..prepare(number, &["a"], &["INCR a"])
    })
}

fn hold(number: u64) -> Transact {
    Transact::Hold {
        id: id(number),
        branch: branch(0),
    }
}

fn settle(how: Settlement) -> Transact {
    Transact::Settle {
        branch: branch(0),
        how,
    }
}

fn settled(commits: bool, number: Option<u64>) -> Transacted {
    Transacted::Settled {
        commits,
        id: number.map(id),
        participants: match number {
            Some(_) => vec![HOME, PartitionId(7)],
            None => Vec::new(),
        },
    }
}

/// One whose attempt 1 is held.
fn holding() -> Log {
    let mut log = Log::default();
    log.run("SET a 1");
    assert_eq!(told(log.step(attempt(1))), [Reply::Integer(2)]);
    assert_eq!(log.step(hold(1)), Transacted::Held(id(1)));
    log
}

#[test]
fn what_is_held_is_ended_by_whoever_decides_only_and_once() {
    for (how, commits, value) in [
        (Settlement::Commit, true, "2"),
        (Settlement::Abort, false, "1"),
    ] {
        let mut log = holding();
        for commits in [true, false] {
            for number in [1, 1] {
                let id = id(number);
                let held = Transacted::Held(id);
                assert_eq!(log.step(Transact::Decide { id, commits }), held);
                assert_eq!(log.step(Transact::Finish { id, commits }), held);
            }
        }
        // It was prepared, and asked for again: by the same attempt, by another, by a late refusal.
        assert_eq!(log.step(hold(1)), Transacted::Held(id(1)));
        assert_eq!(log.step(attempt(1)), Transacted::Held(id(1)));
        assert_eq!(
            log.step(settle(Settlement::Refuse)),
            Transacted::Held(id(1))
        );
        log.step(Transact::ForgetBranches(vec![branch(0)]));
        assert!(log.is_held_up("GET a"));

        assert_eq!(log.step(settle(how)), settled(commits, Some(1)));
        assert!(!log.is_held_up("GET a"));
        assert_eq!(log.get("GET a"), Reply::bulk(value));
        for again in [Settlement::Commit, Settlement::Abort, Settlement::Refuse] {
            assert_eq!(
                log.step(settle(again)),
                settled(commits, Some(1)),
                "{again:?}"
            );
        }
        assert_eq!(log.step(hold(1)), settled(commits, Some(1)));
        assert_eq!(log.get("GET a"), Reply::bulk(value));
        // The owners of the others' locks ask for the attempt.
        let commits_not = Transact::Decide {
            id: id(1),
            commits: false,
        };
        assert_eq!(log.step(commits_not), decided(commits));
        // When all of them know, only how it ended is remembered.
        log.step(Transact::Forget(vec![id(1)]));
        let known = Transacted::Settled {
            commits,
            id: Some(id(1)),
            participants: Vec::new(),
        };
        assert_eq!(log.step(settle(Settlement::Commit)), known);
        log.step(Transact::ForgetBranches(vec![branch(0)]));
        assert!(log.machine.transactions().is_empty());
        assert_eq!(log.step(settle(Settlement::Commit)), Transacted::Done);
        assert_eq!(log.get("GET a"), Reply::bulk(value));
    }
}

#[test]
fn what_comes_after_the_end_is_held_no_more() {
    for how in [Settlement::Abort, Settlement::Refuse] {
        let mut log = Log::default();
        log.run("SET a 1");
        // One attempt is on its way, one comes late.
        told(log.step(attempt(1)));
        assert_eq!(log.step(settle(how)), settled(false, None));
        assert_eq!(log.step(hold(1)), settled(false, None));
        let id = id(1);
        log.step(Transact::Finish { id, commits: false });
        assert_eq!(log.step(attempt(2)), settled(false, None));
        assert!(!log.is_held_up("GET a"));
        assert_eq!(log.step(hold(2)), settled(false, None));
        assert_eq!(log.get("GET a"), Reply::bulk("1"));
        assert!(log.machine.transactions().prepared().next().is_none());
    }
}

#[test]
fn an_attempt_that_is_not_held_is_ended_by_anybody() {
    let mut log = Log::default();
    log.run("SET a 1");
    told(log.step(attempt(1)));
    let abort = Transact::Decide {
        id: id(1),
        commits: false,
    };
    assert_eq!(log.step(abort), decided(false));
    assert_eq!(log.step(hold(1)), decided(false));
    // Also where that is forgotten, and for what was prepared for no branch, or another one.
    log.step(Transact::Forget(vec![id(1)]));
    told(log.step(Transact::Prepare(prepare(2, &["b"], &["INCR b"]))));
    told(log.step(Transact::Prepare(Prepare {
        branch: Some(branch(1)),
        ..prepare(3, &["c"], &["INCR c"])
    })));
    for number in [1, 2, 3] {
        let nobody = Transacted::Decided {
            commits: false,
            participants: Vec::new(),
        };
        assert_eq!(log.step(hold(number)), nobody);
    }
    // The next attempt has it.
    told(log.step(attempt(4)));
    assert_eq!(log.step(hold(4)), Transacted::Held(id(4)));
    // And no other: it is told so, be it that what it wants is locked.
    let second = Operation::Transact(attempt(5)).encode();
    assert_eq!(log.machine.refuses(&second), None, "it is to be logged");
    assert_eq!(log.step(attempt(5)), Transacted::Held(id(4)));
    assert_eq!(log.step(hold(5)), Transacted::Held(id(4)));
    let third = Operation::Transact(Transact::Prepare(prepare(6, &["a"], &["INCR a"])));
    assert_eq!(
        log.machine.refuses(&third.encode()),
        Some(Answered::Transacted(Transacted::Conflict(Some(id(4)))))
    );
}

#[test]
fn nobody_waits_for_what_is_held_for_long() {
    let mut log = holding();
    let text = |text: &str| Operation::Call(call(text)).encode();
    let waits = Operation::Transact(Transact::Prepare(Prepare {
        waits: true,
        ..prepare(2, &["a", "b"], &["INCR a"])
    }));
    let both = Operation::Transaction {
        calls: vec![call("INCR b"), call("INCR a")],
        watched: Vec::new(),
    };
    let all = [text("GET a"), text("DBSIZE"), waits.encode(), both.encode()];
    let no_more = |log: &Log| {
        all.iter()
            .map(|operation| log.machine.waits_no_more(operation))
            .collect::<Vec<_>>()
    };
    assert_eq!(no_more(&log), vec![None; 4]);
    log.machine.set_held_for_long(id(1));
    let error = |text: &str| Some(Answered::Reply(Reply::Error(Bytes::from(text.to_owned()))));
    let held = "TRYAGAIN A transaction with others outside holds a key of this command; nothing \
                was done";
    let discarded = format!("EXECABORT Transaction discarded because of: {held}");
    let conflict = Some(Answered::Transacted(Transacted::Conflict(Some(id(1)))));
    assert_eq!(
        no_more(&log),
        [error(held), error(held), conflict, error(&discarded)]
    );
    // What does not meet it goes on, and what ends it does.
    assert_eq!(log.machine.waits_no_more(&text("GET b")), None);
    let commit = Operation::Transact(settle(Settlement::Commit)).encode();
    assert_eq!(log.machine.waits_no_more(&commit), None);
    log.step(settle(Settlement::Commit));
    assert_eq!(no_more(&log), vec![None; 4]);
    // Of what is no branch's, and ends by itself, nobody says so.
    told(log.step(Transact::Prepare(prepare(3, &["a"], &["INCR a"]))));
    log.machine.set_held_for_long(id(3));
    assert_eq!(no_more(&log), vec![None; 4]);
}

/// The home of a branch may have nothing to do but to hold it, whatever else is locked there.
#[test]
fn who_locks_nothing_is_in_nobodys_way() {
    let mut log = holding();
    log.step(settle(Settlement::Commit));
    told(log.step(Transact::Prepare(Prepare {
        locks: Locks::Everything,
        ..prepare(5, &[], &["DBSIZE"])
    })));
    told(log.step(Transact::Prepare(Prepare {
        branch: Some(branch(3)),
        ..prepare(6, &[], &[])
    })));
    let state = log.state();
    let bytes: Vec<u8> = snapshot::encode(&state).pieces.concat();
    let restored = snapshot::decode(&bytes.into()).expect("it was just written");
    assert_eq!(restored.fingerprint(), state.fingerprint());
    assert!(log.is_held_up("DBSIZE"));
    log.step(Transact::Finish {
        id: id(5),
        commits: false,
    });
    assert!(!log.is_held_up("DBSIZE"));
    told(log.step(Transact::Prepare(Prepare {
        locks: Locks::Everything,
        ..prepare(7, &[], &["DBSIZE"])
    })));
}

#[test]
fn a_replica_that_has_it_from_a_snapshot_goes_on_alike() {
    for how in [Settlement::Commit, Settlement::Abort] {
        let mut log = holding();
        log.step(Transact::Settle {
            branch: branch(1),
            how: Settlement::Abort,
        });
        told(log.step(Transact::Prepare(Prepare {
            branch: Some(branch(2)),
            ..prepare(9, &["z"], &["INCR z"])
        })));
        let state = log.state();
        let bytes: Vec<u8> = snapshot::encode(&state).pieces.concat();
        let restored = snapshot::decode(&bytes.into()).expect("it was just written");
        assert_eq!(restored.fingerprint(), state.fingerprint());
        let mut other = Log {
            machine: restored.machine,
            index: log.index,
        };
        assert_eq!(other.machine.transactions(), log.machine.transactions());
        assert!(other.is_held_up("GET a"));
        for log in [&mut log, &mut other] {
            assert_eq!(
                log.step(Transact::Decide {
                    id: id(1),
                    commits: false
                }),
                Transacted::Held(id(1))
            );
            log.step(settle(how));
        }
        assert_eq!(log.state().fingerprint(), other.state().fingerprint());
        let value = if how == Settlement::Commit { "2" } else { "1" };
        assert_eq!(other.get("GET a"), Reply::bulk(value));
    }
}

proptest! {
    #[test]
    fn steps_of_branches_return_from_their_bytes(
        transaction in any::<u128>(),
        place in any::<u16>(),
        number in any::<u64>(),
        commits in any::<bool>(),
        others in vec(any::<u16>(), 0..4),
    ) {
        let branch = BranchId { transaction, place };
        let steps = [
            Transact::Prepare(Prepare {
                branch: Some(branch),
                ..prepare(number, &["a", "b"], &["SET a 1"])
            }),
            Transact::Hold { id: id(number), branch },
            Transact::Settle { branch, how: Settlement::Commit },
            Transact::Settle { branch, how: Settlement::Abort },
            Transact::Settle { branch, how: Settlement::Refuse },
            Transact::ForgetBranches(vec![branch, self::branch(1)]),
        ];
        for step in steps {
            let operation = Operation::Transact(step);
            prop_assert_eq!(Operation::decode(operation.encode()), Ok(operation));
        }
        let participants: Vec<PartitionId> = others.into_iter().map(PartitionId).collect();
        let told = [
            Transacted::Held(id(number)),
            Transacted::Settled { commits, id: Some(id(number)), participants },
            Transacted::Settled { commits, id: None, participants: Vec::new() },
        ];
        for transacted in told {
            let answered = Answered::Transacted(transacted);
            prop_assert_eq!(Answered::decode(answered.encode()), Ok(answered));
        }
    }
}
