//! A database with prepared transactions, like PostgreSQL: PREPARE TRANSACTION, COMMIT PREPARED,
//! ROLLBACK PREPARED, and the list of what is prepared.
//!
//! The database itself forgets a transaction that has ended, and would prepare it anew when a
//! late Prepare arrives. So the branch's name is written into a table of its own as a part of
//! the transaction: its key keeps work from being done twice, and tells a Commit of what was
//! committed before from one whose vote was lost. After an abort there is no such row, and a
//! late Prepare leaves something prepared that nobody will commit; whoever looks through
//! [`list`](Prepared::list) asks a coordinator what to do about it.

use std::collections::BTreeSet;

use super::{Happened, Will};
use crate::core::global::{
    message::{Order, Report},
    types::{Branch, Outcome},
};

/// The database.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    prepared: BTreeSet<Branch>,
    /// The table's rows.
    committed: BTreeSet<Branch>,
    happened: Vec<Happened>,
}

impl Prepared {
    /// An order arrives; what is told in return, if anything.
    pub fn step(&mut self, branch: Branch, order: &Order, will: Will) -> Option<Report> {
        match order {
            Order::Prepare { .. } if self.committed.contains(&branch) => Some(Report::Committed),
            Order::Prepare { .. } if self.prepared.contains(&branch) => Some(Report::Yes),
            Order::Prepare { .. } => Some(match will {
                Will::Can => {
                    self.prepared.insert(branch);
                    Report::Yes
                }
                Will::Cannot => Report::No,
                Will::ReadOnly => Report::ReadOnly,
            }),
            Order::Commit if self.prepared.remove(&branch) => {
                self.committed.insert(branch);
                self.happen(branch, Outcome::Committed);
                Some(Report::Committed)
            }
            Order::Commit if self.committed.contains(&branch) => Some(Report::Committed),
            Order::Commit => Some(Report::Unknown),
            Order::Abort if self.committed.contains(&branch) => Some(Report::Committed),
            Order::Abort => {
                if self.prepared.remove(&branch) {
                    self.happen(branch, Outcome::Aborted);
                }
                Some(Report::Aborted)
            }
            Order::PreCommit | Order::Terminate => None,
            Order::Do { .. } | Order::Ask | Order::Compensate { .. } => None,
        }
    }

    /// What is prepared.
    pub fn list(&self) -> impl Iterator<Item = Branch> + '_ {
        self.prepared.iter().copied()
    }

    /// What became visible since this was asked last.
    pub fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    /// Loses what is prepared, which a database must not.
    pub fn forget_votes(&mut self) {
        self.prepared.clear();
    }

    fn happen(&mut self, branch: Branch, outcome: Outcome) {
        self.happened.push(Happened { branch, outcome });
    }
}
