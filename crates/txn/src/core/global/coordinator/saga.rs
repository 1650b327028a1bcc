//! Sagas (Garcia-Molina and Salem 1987): steps that commit one by one, each with a compensation.
//!
//! The record says which step is under way, and is written before that step is asked for. So of
//! the steps below it all are done, of those above none was begun, and of this one it is not
//! known: whoever takes over asks for it first, and has it done where it was not. When a step
//! fails, the time is over or the client has changed its mind, the record says that steps are
//! undone, from the last one that may have been done down to the first, each retried until it
//! is undone: sagas have no other way back.
//!
//! A step that may have been done is undone like one that was, and its participant remembers
//! that: the request to do it may still be on its way. A step that has failed stays failed, for
//! the same reason, and needs no compensation.

use super::{
    Desk,
    held::{Held, Next},
    votes,
};
use crate::core::global::{
    message::{Order, Report},
    record::{Participant, Phase, Reason, Record, Standing},
    types::{Outcome, Place},
};

/// Whether a report says something in this phase.
pub(super) fn counts(phase: Phase, place: Place, report: Report) -> bool {
    match phase {
        Phase::Running { step } => {
            place.0 == step && matches!(report, Report::Done | Report::NotDone | Report::Failed)
        }
        Phase::Compensating { left } => {
            place.0.checked_add(1) == Some(left) && report == Report::Compensated
        }
        _ => false,
    }
}

impl Held {
    pub(super) fn next_of_saga(&self, record: &Record, desk: &Desk) -> Next {
        match record.phase {
            Phase::Active if desk.now_ms < record.deadline_ms => Next::Tell,
            Phase::Active => Next::Write(record.given_up(Reason::Timeout)),
            Phase::Running { step } => self.next_of_running(record, step, desk),
            Phase::Compensating { left } => self.next_of_compensating(record, left, desk),
            Phase::Ended { at_ms, .. } => votes::keep(at_ms, desk),
            Phase::PreCommitting | Phase::Committing | Phase::Aborting => Next::Tell,
        }
    }

    fn next_of_running(&self, record: &Record, step: u16, desk: &Desk) -> Next {
        if step >= record.steps() {
            return Next::Write(record.ended(Outcome::Committed, desk.now_ms));
        }
        match self.progress[usize::from(step)].report {
            Some(Report::Done) => Next::Write(after(record, step, desk)),
            Some(Report::Failed) => {
                let failed = record.given_up(Reason::Participant);
                Next::Write(failed.with(Phase::Compensating { left: step }))
            }
            _ if desk.now_ms < record.deadline_ms => Next::Tell,
            _ if desk.settings.rules.compensates_in_doubt => {
                Next::Write(record.given_up(Reason::Timeout))
            }
            _ => {
                let given_up = record.given_up(Reason::Timeout);
                Next::Write(given_up.with(Phase::Compensating { left: step }))
            }
        }
    }

    fn next_of_compensating(&self, record: &Record, left: u16, desk: &Desk) -> Next {
        let Some(step) = left.checked_sub(1) else {
            return Next::Write(record.ended(Outcome::Aborted, desk.now_ms));
        };
        let (Some(progress), Some(participant)) = (
            self.progress.get(usize::from(step)),
            record.participants.get(usize::from(step)),
        ) else {
            // There is no such step to undo.
            return Next::Write(record.with(Phase::Compensating { left: step }));
        };
        let is_undone = progress.report == Some(Report::Compensated);
        if !is_undone && participant.standing == Standing::Enlisted {
            return Next::Tell;
        }
        Next::Write(if step == 0 {
            record.ended(Outcome::Aborted, desk.now_ms)
        } else {
            record.with(Phase::Compensating { left: step })
        })
    }

    pub(super) fn order_of_saga(
        &self,
        phase: Phase,
        place: Place,
        participant: &Participant,
    ) -> Option<Order> {
        match phase {
            Phase::Running { step } if step == place.0 => {
                let progress = &self.progress[place.index()];
                let is_first = self.is_fresh && progress.attempts == 0;
                Some(if is_first || progress.report == Some(Report::NotDone) {
                    let payload = participant.payload.clone();
                    Order::Do { payload }
                } else {
                    Order::Ask
                })
            }
            Phase::Compensating { left } if place.0.checked_add(1) == Some(left) => {
                Some(Order::Compensate {
                    payload: participant.compensation.clone(),
                })
            }
            _ => None,
        }
    }

    /// When this saga's time is over, in its phase.
    pub(super) fn limit_of_saga(&self, record: &Record) -> Option<u64> {
        matches!(record.phase, Phase::Active | Phase::Running { .. }).then_some(record.deadline_ms)
    }
}

/// The record once this step is done.
pub(super) fn after(record: &Record, step: u16, desk: &Desk) -> Record {
    let next = step.saturating_add(1);
    if next >= record.steps() {
        record.ended(Outcome::Committed, desk.now_ms)
    } else {
        record.with(Phase::Running { step: next })
    }
}
