//! What is in doubt.

use super::Coordinator;
use crate::core::global::{
    message::Report,
    record::{Phase, Standing},
    types::{Kind, Place, TransactionId},
};

/// A transaction whose participants don't all know how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// Which.
    pub id: TransactionId,
    /// How it is brought to its end.
    pub kind: Kind,
    /// How far it is.
    pub phase: Phase,
    /// When it began.
    pub began_at_ms: u64,
    /// Since when it has been in its phase, as far as this node knows.
    pub since_ms: u64,
    /// Who has not answered.
    pub open: Vec<Open>,
}

/// A participant that has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// It was told so many times.
    pub attempts: u32,
    /// What it has said last in this phase.
    pub report: Option<Report>,
}

impl Coordinator {
    /// Transactions that this node brings to their ends, participants of which may hold
    /// something prepared or half done: in the order of their ids, no more than `max`.
    pub fn in_doubt(&self, max: usize) -> Vec<InDoubt> {
        let listed = self.transactions.iter().filter_map(|(id, held)| {
            let record = held.record.as_ref().filter(|it| !it.has_ended())?;
            if !held.drives(&self.desk) {
                return None;
            }
            let places = (0..).map(Place).zip(&record.participants);
            let open = places.filter(|(_, it)| it.standing == Standing::Enlisted);
            let open = open.filter_map(|(place, participant)| {
                let progress = held.progress.get(place.index())?;
                (progress.attempts > 0 && !held.has_answered(place)).then(|| Open {
                    place,
                    name: participant.name.clone(),
                    attempts: progress.attempts,
                    report: progress.report,
                })
            });
            let open: Vec<Open> = open.collect();
            (!open.is_empty()).then_some(InDoubt {
                id: *id,
                kind: record.kind,
                phase: record.phase,
                began_at_ms: record.began_at_ms,
                since_ms: held.phase_since_ms,
                open,
            })
        });
        listed.take(max).collect()
    }
}
