//! A participant of three-phase commit (Skeen 1981): uncertain after its yes, then knowing that
//! all have voted yes, then committed. What it does when the coordinator is silent is in
//! [`termination`](super::termination).
//!
//! Without a vote a participant may abort by itself, and does so as soon as anybody asks for
//! what it knows nothing of. States are written durably before anything is told; who leads a
//! termination and what was promised in it is not.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Happened, Will,
    termination::{Leading, PeerMessage, Told},
};
use crate::core::global::{
    message::{Order, Report},
    types::{Branch, Outcome, Place, Termination, TransactionId},
};

/// How far a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has voted yes, and can't know how the others did.
    Uncertain,
    /// It knows that all have voted yes.
    PreCommitted,
    /// It is over.
    Ended(Outcome),
}

/// What a participant does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It tells the coordinator.
    Report {
        /// About what.
        branch: Branch,
        /// What.
        report: Report,
    },
    /// It asks any coordinator how a transaction ends.
    Inquire {
        /// Which.
        branch: Branch,
    },
    /// It tells another participant.
    Peer {
        /// About what, as the sender knows it.
        from: Branch,
        /// Whom.
        to: Place,
        /// Whom, by name.
        name: String,
        /// What.
        message: PeerMessage,
    },
}

/// Times of a participant, and the rules by which it ends a transaction without a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A coordinator that was silent for so long is dead, as far as this participant knows.
    pub silence_ms: u64,
    /// The first participant leads; each later one waits so much longer.
    pub rank_ms: u64,
    /// Who has not answered a leader within this time is dead, as far as the leader knows.
    pub answer_ms: u64,
    /// Who has crashed in the meantime only asks how it ended, unless all are there to tell.
    /// Broken only to show that a simulation would notice.
    pub recovered_only_ask: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            silence_ms: 10_000,
            rank_ms: 2_000,
            answer_ms: 1_000,
            recovered_only_ask: true,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    // Durable.
    pub(super) state: State,
    pub(super) peers: Vec<String>,
    // Lost in a crash.
    pub(super) has_crashed: bool,
    /// It has told a leader its state, and does not let the coordinator change it any more.
    pub(super) has_promised: bool,
    pub(super) heard_at_ms: u64,
    pub(super) leading: Option<Leading>,
}

/// The participant.
#[derive(Clone, Debug)]
pub struct ThreePhase {
    pub(super) termination: Termination,
    pub(super) timing: Timing,
    pub(super) parts: BTreeMap<Branch, Part>,
    pub(super) now_ms: u64,
    pub(super) actions: Vec<Action>,
    happened: Vec<Happened>,
}

impl ThreePhase {
    /// Knows nothing yet. Who may end transactions is agreed beforehand with whoever begins them.
    pub fn new(termination: Termination, timing: Timing) -> Self {
        ThreePhase {
            termination,
            timing,
            parts: BTreeMap::new(),
            now_ms: 0,
            actions: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// An order of a coordinator arrives.
    pub fn step(&mut self, now_ms: u64, branch: Branch, order: &Order, will: Will) {
        self.now_ms = now_ms;
        let Some(part) = self.parts.get_mut(&branch) else {
            let report = match order {
                Order::Prepare { peers, .. } => self.vote(branch, peers, will),
                Order::Commit => Report::Unknown,
                Order::Abort | Order::PreCommit | Order::Terminate => self.never(branch),
                Order::Do { .. } | Order::Ask | Order::Compensate { .. } => return,
            };
            self.tell(branch, report);
            return;
        };
        // A coordinator lives.
        if part.leading.is_none() && *order != Order::Terminate {
            part.heard_at_ms = now_ms;
        }
        match order {
            // A yes would be good for a while, and this one is not.
            Order::Prepare { .. } if part.has_promised && part.state == State::Uncertain => return,
            Order::Prepare { peers, .. } if part.peers.len() < peers.len() => {
                // Others have enlisted since it was asked first.
                part.peers.clone_from(peers);
            }
            Order::PreCommit if part.state == State::Uncertain => {
                if part.has_promised {
                    return;
                }
                part.state = State::PreCommitted;
            }
            Order::Commit => self.end(branch, Outcome::Committed),
            Order::Abort => self.end(branch, Outcome::Aborted),
            Order::Terminate => {
                // It is time, for the first of those who live; and being told again puts nobody off.
                let silent_since_ms = now_ms.saturating_sub(self.timing.silence_ms);
                part.heard_at_ms = part.heard_at_ms.min(silent_since_ms);
            }
            _ => {}
        }
        if let Some(report) = self.report(branch) {
            self.tell(branch, report);
        }
    }

    fn vote(&mut self, branch: Branch, peers: &[String], will: Will) -> Report {
        let state = match will {
            Will::Cannot => State::Ended(Outcome::Aborted),
            Will::ReadOnly if self.termination == Termination::ByLog => return Report::ReadOnly,
            // Peers may ask, and who has left would be taken for one who never voted.
            Will::Can | Will::ReadOnly => State::Uncertain,
        };
        self.parts.insert(branch, self.part(state, peers.to_vec()));
        self.report(branch).unwrap_or(Report::No)
    }

    /// It has not voted, and never will vote yes.
    pub(super) fn never(&mut self, branch: Branch) -> Report {
        let aborted = State::Ended(Outcome::Aborted);
        self.parts.insert(branch, self.part(aborted, Vec::new()));
        Report::Aborted
    }

    fn part(&self, state: State, peers: Vec<String>) -> Part {
        Part {
            state,
            peers,
            has_crashed: false,
            has_promised: false,
            heard_at_ms: self.now_ms,
            leading: None,
        }
    }

    fn tell(&mut self, branch: Branch, report: Report) {
        self.actions.push(Action::Report { branch, report });
    }

    /// What it tells a coordinator of itself.
    pub(super) fn report(&self, branch: Branch) -> Option<Report> {
        let part = self.parts.get(&branch)?;
        Some(match (part.state, self.termination) {
            (State::Uncertain, Termination::ByLog) => Report::Yes,
            (State::Uncertain, Termination::ByPeers) => {
                Report::YesAmong(u16::try_from(part.peers.len()).unwrap_or(u16::MAX))
            }
            (State::PreCommitted, _) => Report::PreCommitted,
            (State::Ended(Outcome::Committed), _) => Report::Committed,
            (State::Ended(Outcome::Aborted), _) => Report::Aborted,
        })
    }

    /// How far it is with a transaction, if it has heard of it.
    pub fn state(&self, branch: Branch) -> Option<State> {
        Some(self.parts.get(&branch)?.state)
    }

    /// What has to be done.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// What became visible since this was asked last.
    pub fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    /// It comes back from a crash: what was not written is lost, and it knows that it was away.
    pub fn restart(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.actions.clear();
        for part in self.parts.values_mut() {
            part.has_crashed = true;
            part.has_promised = false;
            part.heard_at_ms = now_ms;
            part.leading = None;
        }
    }

    /// Loses what it has voted, which it must not.
    pub fn forget_votes(&mut self) {
        let ended = |part: &Part| matches!(part.state, State::Ended(_));
        self.parts.retain(|_, part| ended(part));
    }

    /// What is in doubt here.
    pub fn in_doubt(&self) -> impl Iterator<Item = Branch> + '_ {
        let open = |part: &Part| !matches!(part.state, State::Ended(_));
        let open = self.parts.iter().filter(move |(_, part)| open(part));
        open.map(|(branch, _)| *branch)
    }

    /// Ends its part, once.
    pub(super) fn end(&mut self, branch: Branch, outcome: Outcome) {
        let Some(part) = self.parts.get_mut(&branch) else {
            return;
        };
        if matches!(part.state, State::Ended(_)) {
            return;
        }
        part.state = State::Ended(outcome);
        part.leading = None;
        self.happened.push(Happened { branch, outcome });
    }

    /// The others, by place.
    pub(super) fn others(&self, branch: Branch) -> BTreeSet<Place> {
        let peers = self.parts.get(&branch).map_or(0, |it| it.peers.len());
        let peers = u16::try_from(peers).unwrap_or(u16::MAX);
        (0..peers)
            .map(Place)
            .filter(|it| *it != branch.place)
            .collect()
    }

    pub(super) fn send(&mut self, from: Branch, to: Place, message: PeerMessage) {
        let peers = self.parts.get(&from).map(|it| &it.peers);
        let name = peers.and_then(|it| it.get(to.index())).cloned();
        // Who asks is answered even where nothing is known of who takes part.
        let name = name.unwrap_or_default();
        self.actions.push(Action::Peer {
            from,
            to,
            name,
            message,
        });
    }

    /// What it tells of itself to a peer, who must not have it changed behind its back.
    pub(super) fn told(&self, branch: Branch) -> Option<Told> {
        let part = self.parts.get(&branch)?;
        Some(Told {
            state: part.state,
            has_crashed: part.has_crashed && self.timing.recovered_only_ask,
        })
    }
}

/// A branch of the same transaction.
pub(super) fn sibling(transaction: TransactionId, place: Place) -> Branch {
    Branch { transaction, place }
}
