//! Thousands of seeds of each protocol; and mistakes made on purpose, which are found.

use std::collections::BTreeSet;

use super::{
    super::{Kind, Outcome, Rules, Termination},
    world::{Options, World},
};

const SEEDS: u64 = 1_500;

/// What all runs came to together.
#[derive(Debug, Default)]
struct Total {
    committed: u64,
    aborted: u64,
    crashes: u64,
    conflicts: u64,
    taken_over: u64,
    by_peers: u64,
    keys: u64,
    refusals: u64,
}

fn runs(options: Options, seeds: u64) -> Result<Total, String> {
    let mut total = Total::default();
    for seed in 0..seeds {
        let run = World::new(seed, options).run();
        let checks = run.map_err(|violation| format!("seed {seed}: {violation}"))?;
        total.committed += checks.count(Outcome::Committed);
        total.aborted += checks.count(Outcome::Aborted);
        total.crashes += checks.crashes;
        total.conflicts += checks.conflicts;
        total.taken_over += checks.taken_over;
        total.by_peers += checks.by_peers;
        total.keys += checks.keys();
        total.refusals += checks.refusals;
    }
    Ok(total)
}

/// Holds under all seeds, in which much has happened.
fn holds(options: Options) {
    match runs(options, SEEDS) {
        Ok(total) => {
            assert!(total.committed > SEEDS / 2, "{total:?}");
            assert!(total.aborted > SEEDS / 2, "{total:?}");
            assert!(total.crashes > SEEDS, "{total:?}");
            assert!(total.conflicts > SEEDS / 20, "{total:?}");
            assert!(total.taken_over > SEEDS / 10, "{total:?}");
            let by_peers = options.kind == Kind::ThreePhase(Termination::ByPeers);
            assert_eq!(total.by_peers > SEEDS / 10, by_peers, "{total:?}");
            let takes_keys = !by_peers && options.kind != Kind::Saga;
            assert_eq!(total.keys > SEEDS / 4, takes_keys, "{total:?}");
            assert_eq!(total.refusals > SEEDS / 20, takes_keys, "{total:?}");
        }
        Err(violation) => panic!("{violation}"),
    }
}

/// Is found by one seed or another, as what it is.
fn is_found(options: Options, as_what: &str) {
    let mut others = BTreeSet::new();
    for seed in 0..SEEDS {
        let Err(violation) = World::new(seed, options).run() else {
            continue;
        };
        let what = violation.split([':', ';']).nth(1).unwrap_or_default();
        if violation.contains(as_what) {
            return;
        }
        others.insert(what.to_owned());
    }
    panic!("{options:?} is not found as \"{as_what}\", but as {others:#?}");
}

#[test]
fn two_phase_commit_holds() {
    holds(Options::of(Kind::TwoPhase));
}

#[test]
fn three_phase_commit_by_the_log_holds_whatever_the_network_does() {
    holds(Options::of(Kind::ThreePhase(Termination::ByLog)));
}

#[test]
fn three_phase_commit_by_peers_holds_where_silence_means_death() {
    holds(Options::of(Kind::ThreePhase(Termination::ByPeers)));
}

#[test]
fn sagas_hold() {
    holds(Options::of(Kind::Saga));
}

fn broken(kind: Kind, break_it: impl FnOnce(&mut Rules)) -> Options {
    let mut options = Options::of(kind);
    break_it(&mut options.rules);
    options
}

#[test]
fn telling_before_the_log_has_it_is_found() {
    let options = broken(Kind::TwoPhase, |rules| rules.waits_for_log = false);
    is_found(options, "one participant commits while another aborts");
    is_found(options, "clients are told different outcomes");
}

#[test]
fn forgetting_before_all_know_is_found() {
    let forgets = |rules: &mut Rules| rules.remembers_until_acknowledged = false;
    is_found(
        broken(Kind::TwoPhase, forgets),
        "commits while another aborts",
    );
}

#[test]
fn forgetting_a_vote_is_found() {
    for kind in [Kind::TwoPhase, Kind::ThreePhase(Termination::ByLog)] {
        let options = Options {
            forgets_votes: true,
            ..Options::of(kind)
        };
        // It is never told that the other's vote is void, and goes on asking.
        is_found(options, "not all has ended");
    }
}

#[test]
fn writing_over_what_somebody_else_decided_is_found() {
    let options = broken(Kind::TwoPhase, |rules| rules.compares_versions = false);
    is_found(options, "one participant commits while another aborts");
}

#[test]
fn writing_keys_where_the_record_has_changed_is_found() {
    for kind in [Kind::TwoPhase, Kind::ThreePhase(Termination::ByLog)] {
        let options = Options {
            writes_keys_unguarded: true,
            ..Options::of(kind)
        };
        is_found(options, "keys are written after the decision");
        is_found(options, "are not as decided");
    }
}

#[test]
fn deciding_whatever_keys_say_is_found() {
    let options = Options {
        decides_without_keys: true,
        ..Options::of(Kind::TwoPhase)
    };
    is_found(options, "are not as decided");
}

#[test]
fn telling_clients_of_the_presumed_abort_is_found() {
    let tells = |rules: &mut Rules| rules.presumes_for_participants_only = false;
    is_found(broken(Kind::TwoPhase, tells), "told");
}

#[test]
fn leaving_a_step_in_doubt_is_found() {
    let leaves = |rules: &mut Rules| rules.compensates_in_doubt = false;
    is_found(broken(Kind::Saga, leaves), "undone out of order");
}

#[test]
fn deciding_after_a_crash_as_if_nothing_was_is_found() {
    let options = Options {
        recovered_only_ask: false,
        ..Options::of(Kind::ThreePhase(Termination::ByPeers))
    };
    is_found(options, "commits while another aborts");
}

#[test]
fn peers_that_take_silence_for_death_are_found_where_it_is_not() {
    let options = Options {
        is_synchronous: false,
        ..Options::of(Kind::ThreePhase(Termination::ByPeers))
    };
    is_found(options, "commits while another aborts");
}
