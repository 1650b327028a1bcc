//! The participants of a story, and how what they are told is put into words.

use super::End;
use crate::core::global::{
    message::{Order, Report},
    participant::{Action, PeerMessage, Prepared, State, ThreePhase, Timing, Will},
    record::Phase,
    types::{Branch, Kind, Outcome},
};

/// Their names, by place.
pub(super) const NAMES: [&str; 3] = ["orders", "stock", "billing"];

/// A participant.
pub(super) enum Actor {
    Database(Prepared),
    ThreePhase(ThreePhase),
}

impl Actor {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::ThreePhase(by) => Actor::ThreePhase(ThreePhase::new(by, Timing::default())),
            Kind::TwoPhase | Kind::Saga => Actor::Database(Prepared::default()),
        }
    }

    /// An order arrives; what is reported at once.
    pub(super) fn step(&mut self, now_ms: u64, branch: Branch, order: &Order) -> Option<Report> {
        match self {
            Actor::Database(core) => core.step(branch, order, Will::Can),
            Actor::ThreePhase(core) => {
                core.step(now_ms, branch, order, Will::Can);
                None
            }
        }
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        match self {
            Actor::Database(_) => Vec::new(),
            Actor::ThreePhase(core) => core.actions(),
        }
    }

    /// What came to its end since this was asked last.
    pub(super) fn ended(&mut self) -> Option<Outcome> {
        let happened = match self {
            Actor::Database(core) => core.happened(),
            Actor::ThreePhase(core) => core.happened(),
        };
        happened.last().map(|it| it.outcome)
    }

    pub(super) fn due_at_ms(&self) -> Option<u64> {
        match self {
            Actor::Database(_) => None,
            Actor::ThreePhase(core) => core.due_at_ms(),
        }
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        match self {
            Actor::Database(core) => core.list().next().is_some(),
            Actor::ThreePhase(core) => core.in_doubt().next().is_some(),
        }
    }

    /// How it stands, `ended` being how it was seen to end.
    pub(super) fn end(&self, branch: Branch, ended: Option<Outcome>) -> End {
        match self {
            Actor::ThreePhase(core) => match core.state(branch) {
                Some(State::Ended(outcome)) => End::Ended(outcome),
                _ => End::InDoubt,
            },
            Actor::Database(_) => ended.map_or(End::InDoubt, End::Ended),
        }
    }
}

pub(super) fn words_of_order(order: &Order) -> &'static str {
    match order {
        Order::Prepare { .. } => "prepare, and vote",
        Order::PreCommit => "all have voted yes (pre-commit)",
        Order::Commit => "commit",
        Order::Abort => "abort",
        Order::Terminate => "end it among yourselves, and tell",
        Order::Do { .. } => "do your step",
        Order::Ask => "is your step done?",
        Order::Compensate { .. } => "undo your step",
    }
}

pub(super) fn words_of_report(report: Report) -> &'static str {
    match report {
        Report::Yes | Report::YesAmong(_) => "yes (I am bound, and uncertain)",
        Report::ReadOnly => "nothing to commit here",
        Report::No => "no",
        Report::PreCommitted => "I know that all have voted yes",
        Report::Committed => "I have committed",
        Report::Aborted => "I have aborted",
        Report::Unknown => "I know nothing of this",
        Report::Done => "done",
        Report::NotDone => "not done",
        Report::Failed => "it can't be done",
        Report::Compensated => "undone",
    }
}

fn words_of_state(state: State) -> &'static str {
    match state {
        State::Uncertain => "I am uncertain",
        State::PreCommitted => "I know that all have voted yes",
        State::Ended(Outcome::Committed) => "I have committed",
        State::Ended(Outcome::Aborted) => "I have aborted",
    }
}

pub(super) fn words_of_peer(message: PeerMessage) -> &'static str {
    match message {
        PeerMessage::Ask { .. } => "the coordinator is silent: how far are you?",
        PeerMessage::Tell(told) => words_of_state(told.state),
        PeerMessage::Leads => "I come before you, and lead",
        PeerMessage::PreCommit => "all have voted yes: write that down",
        PeerMessage::PreCommitted => "I know that all have voted yes",
        PeerMessage::End(Outcome::Committed) => "commit",
        PeerMessage::End(Outcome::Aborted) => "abort",
    }
}

pub(super) fn words_of_phase(phase: Phase) -> String {
    match phase {
        Phase::Active => "open".to_owned(),
        Phase::PreCommitting => "all have voted yes".to_owned(),
        Phase::Committing => "decided: commit".to_owned(),
        Phase::Aborting => "decided: abort".to_owned(),
        Phase::Running { step } => format!("step {step} is under way"),
        Phase::Compensating { left } => format!("{left} steps are to be undone"),
        Phase::Ended { outcome, .. } => format!("ended: {outcome}"),
    }
}
