//! What must hold in every run, one property a file.
//!
//! A checker reads the history and tells what contradicts its property; it asks no node.

mod agreement;
mod compaction;
mod exactly_once;
mod leaders;
mod linearizable;
mod lost_writes;
mod reads;
mod revisions;
pub(crate) mod search;
mod timeline;
mod watches;

use crate::history::History;

/// What the checkers found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be, each with the property it contradicts.
    pub violations: Vec<String>,
    /// Keys for which the search for an order was given up.
    pub undecided: usize,
}

/// Says of one property what contradicts it.
type Check = fn(&History, &timeline::Timeline) -> Vec<String>;

const CHECKS: [(&str, Check); 8] = [
    ("one leader a term", leaders::check),
    ("replicas agree", agreement::check),
    ("nothing acknowledged is lost", lost_writes::check),
    ("every write has its effect once", exactly_once::check),
    ("revisions only grow", revisions::check),
    ("an answer fits its revision", reads::check),
    ("watchers see everything once, in order", watches::check),
    ("the past ends where it was compacted", compaction::check),
];

/// More of one property's contradictions are not told.
const TOLD_MAX: usize = 5;

/// Asks every checker.
pub fn check(history: &History) -> Verdict {
    let timeline = timeline::Timeline::of(history);
    let mut verdict = Verdict {
        violations: history.faults.clone(),
        undecided: 0,
    };
    for (property, check) in CHECKS {
        let found = check(history, &timeline).into_iter().take(TOLD_MAX);
        verdict
            .violations
            .extend(found.map(|found| format!("{property}: {found}")));
    }
    let order = linearizable::check(history, &timeline);
    verdict.undecided = order.undecided;
    let told = order.violations.into_iter();
    verdict
        .violations
        .extend(told.map(|found| format!("linearizable: {found}")));
    verdict
}

#[cfg(test)]
mod tests;
