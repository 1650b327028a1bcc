//! How participants of three-phase commit end a transaction when the coordinator is silent
//! (Skeen 1981; Skeen and Stonebraker 1983).
//!
//! [`ByLog`](Termination::ByLog): they ask a coordinator, any, again and again.
//!
//! [`ByPeers`](Termination::ByPeers): the first of those who live leads. It asks all for their
//! states, and whoever answers promises to let no coordinator change that state any more but by
//! a decision. Of those who have been there all the time:
//! - one has ended: so do all;
//! - one knows that all voted yes: the others are told so, and when they have written it down,
//!   all commit;
//! - all are uncertain: all abort. Nobody has committed then: a commit needs all participants to
//!   know that all voted yes.
//!
//! Who has crashed meanwhile does not count, since the others may have ended it without him; he
//! asks how it ended. Should all have crashed, they decide when all are back.
//!
//! All of it holds as long as silence means death. Cut a network in two while some participants
//! know that all voted yes and others do not, and the one side commits and the other aborts: no
//! protocol whose survivors never wait can do better (Skeen and Stonebraker 1983, section 7).

use std::collections::{BTreeMap, BTreeSet};

use super::three_phase::{Action, State, ThreePhase, sibling};
use crate::core::global::message::Report;
use crate::core::global::types::{Branch, Outcome, Place, Termination};

/// What a participant tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How far it is.
    pub state: State,
    /// Whether it was away meanwhile.
    pub has_crashed: bool,
}

/// What participants tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// Tell your state, and don't let a coordinator change it.
    Ask {
        /// Whether the asker was away meanwhile, and only wants to know.
        has_crashed: bool,
    },
    /// This is it.
    Tell(Told),
    /// Somebody who comes before you lives, and leads.
    Leads,
    /// All have voted yes: write that down.
    PreCommit,
    /// It is written.
    PreCommitted,
    /// This is the end.
    End(Outcome),
}

/// What a leader waits for.
#[derive(Clone, Debug)]
pub(super) struct Leading {
    until_ms: u64,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    Asking(BTreeMap<Place, Told>),
    PreCommitting(BTreeSet<Place>),
}

impl ThreePhase {
    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let open: Vec<Branch> = self.in_doubt().collect();
        for branch in open {
            let Some(part) = self.parts.get(&branch) else {
                continue;
            };
            match &part.leading {
                Some(leading) if now_ms >= leading.until_ms => self.conclude(branch),
                None if now_ms >= self.leads_at_ms(branch, part.heard_at_ms) => {
                    self.actions.push(Action::Inquire { branch });
                    self.lead(branch);
                }
                _ => {}
            }
        }
    }

    /// When the next tick is due.
    pub fn due_at_ms(&self) -> Option<u64> {
        let due = self.in_doubt().filter_map(|branch| {
            let part = self.parts.get(&branch)?;
            let leads = || self.leads_at_ms(branch, part.heard_at_ms);
            Some(part.leading.as_ref().map_or_else(leads, |it| it.until_ms))
        });
        due.min()
    }

    fn leads_at_ms(&self, branch: Branch, heard_at_ms: u64) -> u64 {
        let rank_ms = self.timing.rank_ms.saturating_mul(branch.place.0.into());
        heard_at_ms
            .saturating_add(self.timing.silence_ms)
            .saturating_add(rank_ms)
    }

    fn lead(&mut self, branch: Branch) {
        let by_peers = self.termination == Termination::ByPeers;
        let until_ms = self.now_ms.saturating_add(self.timing.answer_ms);
        let now_ms = self.now_ms;
        let Some(told) = self.told(branch) else {
            return;
        };
        let Some(part) = self.parts.get_mut(&branch) else {
            return;
        };
        part.heard_at_ms = now_ms;
        if !by_peers {
            return;
        }
        part.has_promised = true;
        part.leading = Some(Leading {
            until_ms,
            step: Step::Asking(BTreeMap::new()),
        });
        let others = self.others(branch);
        if others.is_empty() {
            self.conclude(branch);
        }
        for to in others {
            let has_crashed = told.has_crashed;
            self.send(branch, to, PeerMessage::Ask { has_crashed });
        }
    }

    /// Another participant of the transaction, at this place, has sent this to `branch`.
    pub fn hear(&mut self, now_ms: u64, branch: Branch, from: Place, message: PeerMessage) {
        self.now_ms = now_ms;
        match message {
            PeerMessage::Ask { has_crashed } => self.asked(branch, from, has_crashed),
            PeerMessage::Tell(told) => self.answered(branch, from, told),
            PeerMessage::Leads => {
                if let Some(part) = self.parts.get_mut(&branch) {
                    part.leading = None;
                    part.heard_at_ms = now_ms;
                }
            }
            PeerMessage::PreCommit => self.pre_commit(branch, from),
            PeerMessage::PreCommitted => self.pre_committed(branch, from),
            PeerMessage::End(outcome) => {
                self.end(branch, outcome);
                self.report_end(branch);
            }
        }
    }

    fn asked(&mut self, branch: Branch, from: Place, asker_has_crashed: bool) {
        if !self.parts.contains_key(&branch) {
            self.never(branch);
        }
        let now_ms = self.now_ms;
        let Some(told) = self.told(branch) else {
            return;
        };
        let Some(part) = self.parts.get_mut(&branch) else {
            return;
        };
        let is_open = !matches!(part.state, State::Ended(_));
        // Who was away can decide only where all were, and nothing changes meanwhile.
        part.has_promised |= is_open && told.has_crashed;
        if is_open && !asker_has_crashed {
            if !told.has_crashed && branch.place < from {
                // It comes first, so it leads.
                let leads = part.leading.is_some();
                self.send(branch, from, PeerMessage::Leads);
                if !leads {
                    self.lead(branch);
                }
                return;
            }
            part.leading = None;
            part.has_promised = true;
            part.heard_at_ms = now_ms;
        }
        self.send(branch, from, PeerMessage::Tell(told));
    }

    fn answered(&mut self, branch: Branch, from: Place, told: Told) {
        let others = self.others(branch);
        let leading = self.parts.get_mut(&branch).map(|it| &mut it.leading);
        let Some(Some(Leading {
            step: Step::Asking(answers),
            ..
        })) = leading
        else {
            return;
        };
        answers.insert(from, told);
        let has_ended = matches!(told.state, State::Ended(_));
        if has_ended || answers.len() == others.len() {
            self.conclude(branch);
        }
    }

    fn pre_commit(&mut self, branch: Branch, from: Place) {
        let Some(part) = self.parts.get_mut(&branch) else {
            return;
        };
        match part.state {
            State::Uncertain | State::PreCommitted => {
                part.state = State::PreCommitted;
                part.heard_at_ms = self.now_ms;
                self.send(branch, from, PeerMessage::PreCommitted);
            }
            State::Ended(outcome) => self.send(branch, from, PeerMessage::End(outcome)),
        }
    }

    fn pre_committed(&mut self, branch: Branch, from: Place) {
        let leading = self.parts.get_mut(&branch).map(|it| &mut it.leading);
        if let Some(Some(Leading {
            step: Step::PreCommitting(open),
            ..
        })) = leading
        {
            open.remove(&from);
            if open.is_empty() {
                self.finish(branch, Outcome::Committed);
            }
        }
    }

    /// All have answered who will, and the leader does what follows.
    fn conclude(&mut self, branch: Branch) {
        let others = self.others(branch);
        let own = self.told(branch);
        let Some((part, own)) = self.parts.get_mut(&branch).zip(own) else {
            return;
        };
        let answers = match part.leading.take() {
            Some(Leading {
                step: Step::Asking(answers),
                ..
            }) => answers,
            // Who has not written it down is dead; where all have crashed, all are needed.
            Some(_) if own.has_crashed => return,
            Some(_) => return self.finish(branch, Outcome::Committed),
            None => return,
        };
        let ended = answers.values().find_map(|told| match told.state {
            State::Ended(outcome) => Some(outcome),
            _ => None,
        });
        if let Some(outcome) = ended {
            return self.finish(branch, outcome);
        }
        let all_crashed = own.has_crashed && answers.values().all(|told| told.has_crashed);
        if own.has_crashed && !(all_crashed && answers.len() == others.len()) {
            // Others may know more.
            return;
        }
        let counts = |told: &Told| all_crashed || !told.has_crashed;
        let mut counted = answers.iter().filter(|(_, told)| counts(told));
        let knows = |told: &Told| told.state == State::PreCommitted;
        if !knows(&own) && !counted.any(|(_, told)| knows(told)) {
            return self.finish(branch, Outcome::Aborted);
        }
        part.state = State::PreCommitted;
        let uncertain = answers
            .iter()
            .filter(|(_, told)| counts(told) && !knows(told));
        let open: BTreeSet<Place> = uncertain.map(|(place, _)| *place).collect();
        if open.is_empty() {
            return self.finish(branch, Outcome::Committed);
        }
        part.leading = Some(Leading {
            until_ms: self.now_ms.saturating_add(self.timing.answer_ms),
            step: Step::PreCommitting(open.clone()),
        });
        for to in open {
            self.send(branch, to, PeerMessage::PreCommit);
        }
    }

    fn finish(&mut self, branch: Branch, outcome: Outcome) {
        self.end(branch, outcome);
        for to in self.others(branch) {
            self.send(branch, to, PeerMessage::End(outcome));
        }
        self.report_end(branch);
    }

    fn report_end(&mut self, branch: Branch) {
        let is_end = |it: &Report| matches!(it, Report::Committed | Report::Aborted);
        if let Some(report) = self.report(branch).filter(is_end) {
            self.actions.push(Action::Report { branch, report });
        }
    }

    /// The branch that a message to a place of this transaction is about.
    pub fn branch_at(from: Branch, to: Place) -> Branch {
        sibling(from.transaction, to)
    }
}
