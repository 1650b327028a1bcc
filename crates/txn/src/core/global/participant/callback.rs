//! A service with callbacks for prepare, commit and abort, each done once per transaction.
//!
//! The service remembers how each of its branches has ended, for longer than any message can be
//! late: a Prepare after an Abort, of which it may never have heard before, is answered with no.
//! It can't be asked for a list; a branch that stays prepared for long it asks a coordinator
//! about itself ([`in_doubt`](Callback::in_doubt)).

use std::collections::BTreeMap;

use super::{Happened, Will};
use crate::core::global::{
    message::{Order, Report},
    types::{Branch, Outcome},
};

/// The service.
#[derive(Clone, Debug, Default)]
pub struct Callback {
    /// Without an outcome: prepared.
    branches: BTreeMap<Branch, Option<Outcome>>,
    happened: Vec<Happened>,
}

impl Callback {
    /// A callback is called; what it returns, if it is one of this service.
    pub fn step(&mut self, branch: Branch, order: &Order, will: Will) -> Option<Report> {
        let known = self.branches.get(&branch).copied();
        match (order, known) {
            (Order::Prepare { .. }, None) => Some(self.prepare(branch, will)),
            (Order::Prepare { .. }, Some(None)) => Some(Report::Yes),
            (Order::Prepare { .. }, Some(Some(Outcome::Aborted))) => Some(Report::No),
            (Order::Commit, None) => Some(Report::Unknown),
            (Order::Commit, Some(None)) => Some(self.end(branch, Outcome::Committed)),
            (Order::Abort, Some(None)) => Some(self.end(branch, Outcome::Aborted)),
            (Order::Abort, None) => {
                self.branches.insert(branch, Some(Outcome::Aborted));
                Some(Report::Aborted)
            }
            (Order::Prepare { .. } | Order::Commit | Order::Abort, Some(Some(outcome))) => {
                Some(match outcome {
                    Outcome::Committed => Report::Committed,
                    Outcome::Aborted => Report::Aborted,
                })
            }
            (Order::PreCommit | Order::Terminate, _) => None,
            (Order::Do { .. } | Order::Ask | Order::Compensate { .. }, _) => None,
        }
    }

    fn prepare(&mut self, branch: Branch, will: Will) -> Report {
        match will {
            Will::Can => {
                self.branches.insert(branch, None);
                Report::Yes
            }
            Will::Cannot => {
                self.branches.insert(branch, Some(Outcome::Aborted));
                Report::No
            }
            Will::ReadOnly => Report::ReadOnly,
        }
    }

    fn end(&mut self, branch: Branch, outcome: Outcome) -> Report {
        self.branches.insert(branch, Some(outcome));
        self.happened.push(Happened { branch, outcome });
        match outcome {
            Outcome::Committed => Report::Committed,
            Outcome::Aborted => Report::Aborted,
        }
    }

    /// What is prepared, to be asked about when that lasts.
    pub fn in_doubt(&self) -> impl Iterator<Item = Branch> + '_ {
        let open = self.branches.iter().filter(|(_, ended)| ended.is_none());
        open.map(|(branch, _)| *branch)
    }

    /// What became visible since this was asked last.
    pub fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    /// Loses what is prepared, which a service must not.
    pub fn forget_votes(&mut self) {
        self.branches.retain(|_, ended| ended.is_some());
    }
}
