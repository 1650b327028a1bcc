//! Breadth first through every order in which a few things can happen to a few real replicas:
//! letters arrive in any order or, since nothing has to happen, never.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    super::{Rules, Settings},
    world::{Bounds, World},
};

/// More states than any of these searches has: one that does not end is a failure too.
const STATES_MAX: usize = 500_000;

/// What a search came to.
#[derive(Debug)]
enum Found {
    /// Nothing, in so many states: all there are.
    Nothing(usize),
    /// What must not be.
    Violation(String),
}

fn search(bounds: Bounds, rules: Rules) -> Found {
    let settings = Settings {
        rules,
        ..Settings::default()
    };
    let first = World::new(bounds, settings);
    let mut seen = HashSet::from([first.print()]);
    let mut frontier = VecDeque::from([first]);
    while let Some(world) = frontier.pop_front() {
        for event in world.events() {
            let after = catch_unwind(AssertUnwindSafe(|| world.after(event)));
            match after {
                Ok(Ok(after)) => {
                    if seen.insert(after.print()) {
                        frontier.push_back(after);
                    }
                }
                Ok(Err(violation)) => return Found::Violation(violation),
                Err(panic) => {
                    let said = panic.downcast_ref::<String>().cloned();
                    return Found::Violation(said.unwrap_or_else(|| "a panic".to_owned()));
                }
            }
        }
        assert!(seen.len() < STATES_MAX, "more states than {STATES_MAX}");
    }
    Found::Nothing(seen.len())
}

/// Two replicas after another take over from an owner that goes on writing.
const TAKEOVERS: Bounds = Bounds {
    members: &[1, 2, 3],
    moves_to: None,
    leaves_early: false,
    takeovers: 2,
    takers: &[2, 3],
    proposals: 1,
    crashes: 0,
    forgets: false,
    comes_back: false,
};

/// The owner's machine loses power, while another may take over.
const CRASH: Bounds = Bounds {
    takeovers: 1,
    takers: &[1, 2],
    proposals: 2,
    crashes: 1,
    ..TAKEOVERS
};

/// One of two members is replaced, while the other may take over.
const REPLACE: Bounds = Bounds {
    members: &[1, 2],
    moves_to: Some(&[2, 3]),
    takeovers: 1,
    takers: &[2],
    ..TAKEOVERS
};

/// The partition moves to a replica that had nothing of it.
const MOVE: Bounds = Bounds {
    members: &[1],
    moves_to: Some(&[2]),
    takeovers: 2,
    takers: &[2],
    proposals: 2,
    ..TAKEOVERS
};

/// Of three members one stays; the others are let go, and may not have heard of it all.
const FORGET: Bounds = Bounds {
    moves_to: Some(&[1]),
    takeovers: 1,
    takers: &[3],
    proposals: 0,
    forgets: true,
    ..TAKEOVERS
};

/// So many states at the least: fewer, and the search does not search.
fn holds(bounds: Bounds, states_min: usize) {
    match search(bounds, Rules::default()) {
        Found::Nothing(states) => assert!(states >= states_min, "only {states} states"),
        Found::Violation(violation) => panic!("{violation}"),
    }
}

fn is_found(bounds: Bounds, rules: Rules) {
    let found = search(bounds, rules);
    assert!(matches!(found, Found::Violation(_)), "{found:?}");
}

#[test]
fn takeovers_hold() {
    holds(TAKEOVERS, 100_000);
}

#[test]
fn a_crash_holds() {
    holds(CRASH, 10_000);
}

#[test]
fn moves_hold() {
    holds(REPLACE, 25_000);
    holds(MOVE, 25_000);
}

#[test]
fn replicas_that_are_let_go_do_no_harm() {
    holds(FORGET, 1_000);
}

#[test]
fn broken_rules_are_found() {
    let sound = Rules::default();
    let accepts_lower_ballots = Rules {
        compares_promise: false,
        ..sound
    };
    is_found(TAKEOVERS, accepts_lower_ballots);
    let restamps_entries = Rules {
        keeps_births: false,
        ..sound
    };
    is_found(TAKEOVERS, restamps_entries);
    let goes_on_after_restart = Rules {
        forgets_ownership: false,
        ..sound
    };
    is_found(CRASH, goes_on_after_restart);
    let leaves_joint_early = Bounds {
        leaves_early: true,
        ..MOVE
    };
    is_found(leaves_joint_early, sound);
    let forgets_that_it_forgot = Bounds {
        comes_back: true,
        ..FORGET
    };
    is_found(forgets_that_it_forgot, sound);
}
