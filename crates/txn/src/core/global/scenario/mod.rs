//! What the protocols gain over each other, and where theory says that they break: played by the
//! real cores, step by step, the same each time.
//!
//! - A *single* coordinator of two-phase commit that dies between votes and decision leaves its
//!   participants blocked (Skeen 1981: two-phase commit is a blocking protocol).
//! - With its decisions in a replicated log, another node goes on, and nobody is blocked.
//! - Three-phase commit lets participants end it among themselves, whatever the coordinator's
//!   crash has left: aborted where all are uncertain, committed where somebody knows more.
//! - Cut the network in two during its pre-commit, and the two sides decide differently; no
//!   protocol could let both go on and have them agree (Skeen and Stonebraker 1983). Here the
//!   participants may leave the decision to the log instead: then the side without a majority
//!   waits until the network is whole.

mod actors;
mod node;
mod stage;

use std::fmt;

use self::stage::Stage;
use super::types::{Kind, Outcome, Termination};

/// A story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Two-phase commit; the only coordinator dies before it decides, and its log with it.
    SingleCoordinatorDies,
    /// The same, with the log in the cluster.
    ReplicatedCoordinatorDies,
    /// Three-phase commit; the only coordinator dies when all have voted.
    DiesBeforePreCommit,
    /// Three-phase commit; the only coordinator dies when one participant knows that all have
    /// voted yes.
    DiesDuringPreCommit,
    /// Three-phase commit; the network is cut during pre-commit, and participants end it among
    /// themselves or leave it to the log.
    CutDuringPreCommit(Termination),
}

/// How a participant stands when the story is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It can neither commit nor abort: it is blocked.
    InDoubt,
    /// It has ended.
    Ended(Outcome),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::InDoubt => f.write_str("in doubt"),
            End::Ended(outcome) => outcome.fmt(f),
        }
    }
}

/// A story as it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// What happened, a line each, for people.
    pub trace: String,
    /// How participants stood before the network was whole again, or at the end where it was
    /// never cut.
    pub before_healing: Vec<End>,
    /// How they stand at the end.
    pub ends: Vec<End>,
    /// Whether the record says that participants have ended differently.
    pub is_mixed: bool,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 6] = [
        Scenario::SingleCoordinatorDies,
        Scenario::ReplicatedCoordinatorDies,
        Scenario::DiesBeforePreCommit,
        Scenario::DiesDuringPreCommit,
        Scenario::CutDuringPreCommit(Termination::ByPeers),
        Scenario::CutDuringPreCommit(Termination::ByLog),
    ];

    /// What it is about.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::SingleCoordinatorDies => {
                "Two-phase commit: the only coordinator dies before it decides"
            }
            Scenario::ReplicatedCoordinatorDies => {
                "Two-phase commit with a replicated log: a coordinator dies before it decides"
            }
            Scenario::DiesBeforePreCommit => {
                "Three-phase commit: the only coordinator dies when all have voted"
            }
            Scenario::DiesDuringPreCommit => {
                "Three-phase commit: the only coordinator dies during pre-commit"
            }
            Scenario::CutDuringPreCommit(Termination::ByPeers) => {
                "Three-phase commit: the network is cut during pre-commit, and peers decide"
            }
            Scenario::CutDuringPreCommit(Termination::ByLog) => {
                "Three-phase commit: the network is cut during pre-commit, and the log decides"
            }
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Scenario::SingleCoordinatorDies | Scenario::ReplicatedCoordinatorDies => Kind::TwoPhase,
            Scenario::CutDuringPreCommit(termination) => Kind::ThreePhase(termination),
            Scenario::DiesBeforePreCommit | Scenario::DiesDuringPreCommit => {
                Kind::ThreePhase(Termination::ByPeers)
            }
        }
    }

    /// Plays it.
    pub fn play(self) -> Play {
        Stage::new(self).play()
    }
}
