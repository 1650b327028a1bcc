//! The stories end as theory says.

use super::super::{
    Outcome::{Aborted, Committed},
    Termination,
    scenario::{End, Play, Scenario},
};

const IN_DOUBT: [End; 3] = [End::InDoubt; 3];
const ALL_COMMITTED: [End; 3] = [End::Ended(Committed); 3];
const ALL_ABORTED: [End; 3] = [End::Ended(Aborted); 3];

fn play(scenario: Scenario) -> Play {
    let play = scenario.play();
    assert_eq!(play, scenario.play(), "it is the same each time");
    println!("{}", play.trace);
    play
}

/// A story's lines, in this order, among others.
fn tells(play: &Play, lines: &[&str]) {
    let mut rest = play.trace.lines();
    for line in lines {
        let found = rest.any(|it| it.ends_with(line));
        assert!(
            found,
            "\"{line}\" is missing, or too early, in\n{}",
            play.trace
        );
    }
}

#[test]
fn a_single_coordinator_of_two_phase_commit_leaves_all_blocked() {
    let play = play(Scenario::SingleCoordinatorDies);
    assert_eq!(play.ends, IN_DOUBT);
    tells(
        &play,
        &[
            "billing ─▶ coordinator: yes (I am bound, and uncertain)",
            "coordinator dies before what follows from the votes is in its log",
            "orders is in doubt",
        ],
    );
}

#[test]
fn with_a_replicated_log_another_node_goes_on() {
    let play = play(Scenario::ReplicatedCoordinatorDies);
    assert_eq!(play.ends, ALL_COMMITTED);
    tells(
        &play,
        &[
            "coordinator dies before what follows from the votes is in its log",
            "second node finds the record in the log, and takes over",
            "second node writes: decided: commit",
            "second node ─▶ client: committed",
            "second node ─▶ orders: commit",
        ],
    );
}

#[test]
fn termination_of_three_phase_commit_unblocks_who_is_left() {
    let uncertain = play(Scenario::DiesBeforePreCommit);
    assert_eq!(uncertain.ends, ALL_ABORTED);
    tells(
        &uncertain,
        &[
            "orders ─▶ stock: the coordinator is silent: how far are you?",
            "stock ─▶ orders: I am uncertain",
            "orders has aborted",
        ],
    );
    let one_knows = play(Scenario::DiesDuringPreCommit);
    assert_eq!(one_knows.ends, ALL_COMMITTED);
    tells(
        &one_knows,
        &[
            "coordinator dies when it has told the first participant only",
            "orders ─▶ stock: all have voted yes: write that down",
            "orders has committed",
            "stock has committed",
        ],
    );
}

#[test]
fn a_cut_network_makes_peers_decide_differently() {
    let play = play(Scenario::CutDuringPreCommit(Termination::ByPeers));
    let split = [
        End::Ended(Committed),
        End::Ended(Aborted),
        End::Ended(Aborted),
    ];
    assert_eq!(play.before_healing, split);
    assert_eq!(play.ends, split, "nothing puts it right afterwards");
    assert!(play.is_mixed, "and the record says so");
}

#[test]
fn a_cut_network_makes_some_wait_where_the_log_decides() {
    let play = play(Scenario::CutDuringPreCommit(Termination::ByLog));
    let waiting = [End::Ended(Committed), End::InDoubt, End::InDoubt];
    assert_eq!(play.before_healing, waiting);
    assert_eq!(play.ends, ALL_COMMITTED);
    assert!(!play.is_mixed);
}
