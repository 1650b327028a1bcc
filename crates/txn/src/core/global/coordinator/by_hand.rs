//! When a person decides about one participant: a machine is gone for good, or a prepared
//! transaction was ended by hand.
//!
//! A person's word is about one participant: it has ended, or will be made to end, in this way.
//! That participant hears no more, and the record says who said so, when and why. Before the
//! decision the word counts as a vote (aborted: no); after it the word may differ from the
//! decision, and then the record says that the transaction is mixed.

use super::{Answer, Desk, Effect, Note, Refusal, Request, RequestId, held::Held, saga};
use crate::core::global::{
    record::{AuditLine, Phase, Reason, Record, Standing},
    types::{Kind, Outcome, Place},
};

/// What a person says.
pub(super) struct Word<'a> {
    pub(super) place: Place,
    pub(super) outcome: Outcome,
    pub(super) by: &'a str,
    pub(super) remark: &'a str,
}

impl Held {
    pub(super) fn resolve(
        &mut self,
        request: RequestId,
        what: &Request,
        word: Word<'_>,
        desk: &mut Desk,
    ) -> Result<(), Refusal> {
        let record = self.record.as_ref().ok_or(Refusal::Unknown)?;
        let participant = record.participants.get(word.place.index());
        let participant = participant.ok_or(Refusal::NotInDoubt)?;
        let standing = participant.standing;
        if standing == Standing::ByHand(word.outcome) {
            // The same word, come again.
            desk.answer(request, self.id, Answer::Resolved);
            return Ok(());
        }
        let is_in_doubt = standing == Standing::Enlisted && !participant.is_keys();
        if !is_in_doubt || record.has_ended() {
            return Err(Refusal::NotInDoubt);
        }
        let settings = &desk.settings;
        for (what, found, max) in [
            (
                "lines of audit",
                record.audit.len() + 1,
                settings.audit_lines_max,
            ),
            (
                "bytes of a remark",
                word.by.len().max(word.remark.len()),
                settings.remark_bytes_max,
            ),
        ] {
            if found > max {
                return Err(Refusal::Limit { what, found, max });
            }
        }
        let mut said = record.clone();
        said.participants[word.place.index()].standing = Standing::ByHand(word.outcome);
        said.audit.push(AuditLine {
            at_ms: desk.now_ms,
            by: word.by.to_owned(),
            what: format!(
                "participant {} {}: {}",
                word.place, word.outcome, word.remark
            ),
        });
        let mut next = follow(record, said, &word, desk)?;
        next.owner = desk.node;
        desk.effects.push(Effect::Note {
            id: next.id,
            note: Note::ByHand {
                place: word.place,
                outcome: word.outcome,
                by: word.by.to_owned(),
            },
        });
        let request = (request, what.clone(), Answer::Resolved);
        self.write(Some(next), Some(request), desk);
        Ok(())
    }
}

/// What follows from a person's word.
fn follow(record: &Record, said: Record, word: &Word<'_>, desk: &Desk) -> Result<Record, Refusal> {
    let is_aborted = word.outcome == Outcome::Aborted;
    match record.phase {
        Phase::Active if record.kind == Kind::Saga => Err(Refusal::NotInDoubt),
        Phase::Active | Phase::PreCommitting if is_aborted => Ok(said.given_up(Reason::Person)),
        Phase::Running { step } if step != word.place.0 => Err(Refusal::NotInDoubt),
        Phase::Running { step } if is_aborted => {
            let given_up = said.given_up(Reason::Person);
            Ok(given_up.with(Phase::Compensating { left: step }))
        }
        Phase::Running { step } => {
            // It is done like any other: should the saga be given up, it is undone.
            let mut done = saga::after(&said, step, desk);
            if !done.has_ended() {
                done.participants[word.place.index()].standing = Standing::Enlisted;
            }
            Ok(done)
        }
        Phase::Compensating { left } if word.place.0.checked_add(1) != Some(left) => {
            Err(Refusal::NotInDoubt)
        }
        _ => Ok(said),
    }
}
