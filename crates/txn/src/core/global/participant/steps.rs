//! Who does and undoes a saga's steps: a step is done once, undone once, and never done after it
//! was undone or has failed, whether or not it was ever done.

use std::collections::BTreeMap;

use super::{Happened, Will};
use crate::core::global::{
    message::{Order, Report},
    types::{Branch, Outcome},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    Failed,
    Compensated,
}

/// The service.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    steps: BTreeMap<Branch, Step>,
    happened: Vec<Happened>,
}

impl Steps {
    /// An order arrives; what is told in return, if it is one of this service.
    pub fn step(&mut self, branch: Branch, order: &Order, will: Will) -> Option<Report> {
        let known = self.steps.get(&branch).copied();
        Some(match (order, known) {
            (Order::Do { .. }, None) if will == Will::Cannot => {
                self.steps.insert(branch, Step::Failed);
                Report::Failed
            }
            (Order::Do { .. }, None) => {
                self.steps.insert(branch, Step::Done);
                self.happen(branch, Outcome::Committed);
                Report::Done
            }
            (Order::Ask, None) => Report::NotDone,
            (Order::Do { .. } | Order::Ask, Some(known)) => match known {
                Step::Done => Report::Done,
                Step::Failed => Report::Failed,
                Step::Compensated => Report::Compensated,
            },
            (Order::Compensate { .. }, known) => {
                if known == Some(Step::Done) {
                    self.happen(branch, Outcome::Aborted);
                }
                self.steps.insert(branch, Step::Compensated);
                Report::Compensated
            }
            _ => return None,
        })
    }

    /// What became visible since this was asked last.
    pub fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    fn happen(&mut self, branch: Branch, outcome: Outcome) {
        self.happened.push(Happened { branch, outcome });
    }
}
