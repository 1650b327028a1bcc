//! What clients ask for. Whatever changes the record is told as done when the log has it. All but a
//! begin may be asked for again.

use super::{Answer, Desk, Refusal, Request, RequestId, Until, held::Held};
use crate::core::global::{
    keys,
    record::{Participant, Phase, Reason, Record, Standing},
    settings::Settings,
    types::{Kind, Outcome, Place, TransactionId},
};

impl Held {
    /// Does what a request asks for. Nothing is under way with the log.
    pub(super) fn handle(&mut self, request: RequestId, what: Request, desk: &mut Desk) {
        let outcome = match &what {
            Request::Begin { kind, timeout_ms } => self.begin(request, *kind, *timeout_ms, desk),
            Request::Enlist {
                name,
                payload,
                compensation,
            } => {
                let participant = Participant {
                    name: name.clone(),
                    payload: payload.clone(),
                    compensation: compensation.clone(),
                    standing: Standing::Enlisted,
                };
                self.enlist(request, &what, participant, desk)
            }
            Request::Commit { until } => self.commit(request, *until, desk),
            Request::Abort => self.abort(request, desk),
            Request::Await { until } => {
                self.wait(request, *until);
                Ok(())
            }
            Request::Resolve {
                place,
                outcome,
                by,
                remark,
            } => {
                let word = super::by_hand::Word {
                    place: *place,
                    outcome: *outcome,
                    by,
                    remark,
                };
                self.resolve(request, &what, word, desk)
            }
        };
        if let Err(refusal) = outcome {
            desk.refuse(request, self.id, refusal);
        }
    }

    fn begin(
        &mut self,
        request: RequestId,
        kind: Kind,
        timeout_ms: u64,
        desk: &mut Desk,
    ) -> Result<(), Refusal> {
        let id = self.id;
        if self.record.is_some() {
            return Err(Refusal::Exists);
        }
        let timeout_ms = timeout_ms.min(desk.settings.timeout_ms_max);
        let record = new_record(id, kind, desk, timeout_ms);
        let what = Request::Begin { kind, timeout_ms };
        self.write(Some(record), Some((request, what, Answer::Begun)), desk);
        Ok(())
    }

    fn enlist(
        &mut self,
        request: RequestId,
        what: &Request,
        participant: Participant,
        desk: &mut Desk,
    ) -> Result<(), Refusal> {
        let record = self.record.as_ref().ok_or(Refusal::Unknown)?;
        if record.phase != Phase::Active || self.commits_since_ms.is_some() {
            return Err(Refusal::NotOpen);
        }
        if record.kind != Kind::Saga && !participant.compensation.is_empty() {
            return Err(Refusal::NotSaga);
        }
        let mut known = (0..).map(Place).zip(&record.participants);
        if let Some((place, known)) = known.find(|(_, it)| it.name == participant.name) {
            if *known != participant {
                return Err(Refusal::Taken);
            }
            desk.answer(request, self.id, Answer::Enlisted(place));
            return Ok(());
        }
        let place = Place(record.steps());
        let mut record = record.clone();
        record.participants.push(participant);
        within_limits(&record, &desk.settings)?;
        keys::check(&record, desk.settings.keys_ops_max).map_err(Refusal::Keys)?;
        record.owner = desk.node;
        let answer = Answer::Enlisted(place);
        self.write(Some(record), Some((request, what.clone(), answer)), desk);
        Ok(())
    }

    fn commit(&mut self, request: RequestId, until: Until, desk: &mut Desk) -> Result<(), Refusal> {
        let record = self.record.clone().ok_or(Refusal::Unknown)?;
        self.wait(request, until);
        if record.phase != Phase::Active {
            return Ok(());
        }
        if record.kind != Kind::Saga {
            self.commits_since_ms.get_or_insert(desk.now_ms);
            return Ok(());
        }
        let mut record = if record.participants.is_empty() {
            record.ended(Outcome::Committed, desk.now_ms)
        } else {
            record.with(Phase::Running { step: 0 })
        };
        record.owner = desk.node;
        self.write_for(record, request, Request::Commit { until }, desk);
        Ok(())
    }

    fn abort(&mut self, request: RequestId, desk: &mut Desk) -> Result<(), Refusal> {
        let record = self.record.as_ref().ok_or(Refusal::Unknown)?;
        match record.phase {
            Phase::PreCommitting => return Err(Refusal::TooLate),
            Phase::Active | Phase::Running { .. } => {
                let mut given_up = record.given_up(Reason::Asked);
                given_up.owner = desk.node;
                self.wait(request, Until::Decided);
                self.write_for(given_up, request, Request::Abort, desk);
            }
            _ => self.wait(request, Until::Decided),
        }
        Ok(())
    }
}

fn new_record(id: TransactionId, kind: Kind, desk: &Desk, timeout_ms: u64) -> Record {
    Record {
        id,
        kind,
        owner: desk.node,
        began_at_ms: desk.now_ms,
        deadline_ms: desk.now_ms.saturating_add(timeout_ms),
        phase: Phase::Active,
        reason: None,
        participants: Vec::new(),
        audit: Vec::new(),
    }
}

fn within_limits(record: &Record, settings: &Settings) -> Result<(), Refusal> {
    let name = record.participants.last().map_or(0, |it| it.name.len());
    for (what, found, max) in [
        (
            "participants",
            record.participants.len(),
            settings.participants_max,
        ),
        ("bytes of a name", name, settings.name_bytes_max),
        (
            "bytes of payload",
            record.payload_bytes(),
            settings.payload_bytes_max,
        ),
    ] {
        if found > max {
            return Err(Refusal::Limit { what, found, max });
        }
    }
    Ok(())
}
