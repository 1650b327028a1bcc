//! What a node's memory and the log have to do with each other.
//!
//! At most one thing is under way with the log: a write or a load. Until its answer comes,
//! requests wait and nobody is told anything new. A write that was refused, or may be in the log
//! or not, is followed by a load: what the log then holds is the truth, whoever wrote it.

use super::{
    Answer, Desk, Effect, Note, Refusal, Request, RequestId, Ticket,
    held::{Held, Progress, Writing},
};
use crate::core::global::{
    keys,
    message::{Order, Report},
    record::{Phase, Record},
    types::{ABSENT, Kind, Outcome, Place, Termination, Version},
};

impl Held {
    pub(super) fn adopt(&mut self, version: Version, record: Record, desk: &mut Desk) {
        self.adopted = true;
        if !self.is_busy() && version > self.version {
            self.take(version, record, desk);
        }
    }

    /// Has a record written on behalf of a request, which waits for what comes of it and comes
    /// again if the record is not written.
    pub(super) fn write_for(
        &mut self,
        record: Record,
        request: RequestId,
        what: Request,
        desk: &mut Desk,
    ) {
        self.write(Some(record), None, desk);
        if let Some(writing) = &mut self.writing {
            writing.again = Some((request, what));
        }
    }

    /// Has a record written over the one that is known.
    pub(super) fn write(
        &mut self,
        mut record: Option<Record>,
        request: Option<(RequestId, Request, Answer)>,
        desk: &mut Desk,
    ) {
        let parts = match &mut record {
            Some(next) => keys::settle(self.record.as_ref(), next),
            None => Vec::new(),
        };
        desk.tickets += 1;
        let ticket = Ticket(desk.tickets);
        desk.writes.insert(ticket, self.id);
        desk.effects.push(Effect::Write {
            ticket,
            id: self.id,
            expected: desk
                .settings
                .rules
                .compares_versions
                .then_some(self.version),
            record: record.clone(),
            parts,
        });
        let decided = record.as_ref().filter(|it| it.outcome().is_some());
        if let Some(record) = decided.filter(|_| !desk.settings.rules.waits_for_log) {
            self.set(record.clone(), desk);
            self.tell(desk);
        }
        self.writing = Some(Writing {
            record,
            request,
            again: None,
        });
    }

    pub(super) fn written(&mut self, version: Version, desk: &mut Desk) {
        let Some(writing) = self.writing.take() else {
            return;
        };
        if let Some((request, _, answer)) = writing.request {
            desk.answer(request, self.id, answer);
        }
        match writing.record {
            Some(record) => {
                self.version = version;
                self.set(record, desk);
                self.is_fresh = true;
            }
            None => self.vanish(desk),
        }
    }

    /// A write was refused, or may be in the log or not. Whoever asked for it comes again; but a
    /// transaction is begun once or, for this reason, not at all.
    pub(super) fn not_written(&mut self, refusal: Refusal, desk: &mut Desk) {
        if let Some((request, what)) = self.take_back() {
            if matches!(what, Request::Begin { .. }) {
                desk.refuse(request, self.id, refusal);
                self.adopted = false;
                return;
            }
            self.comes_again(request, what);
        }
        self.load(desk);
    }

    /// Nothing was written, since the part of these keys can't be done: they vote no.
    pub(super) fn refused(&mut self, place: Place) {
        if let Some((request, what)) = self.take_back() {
            self.comes_again(request, what);
        }
        if let Some(progress) = self.progress.get_mut(place.index()) {
            progress.report = Some(Report::No);
        }
    }

    /// Ends what is under way; on whose behalf it was.
    fn take_back(&mut self) -> Option<(RequestId, Request)> {
        let writing = self.writing.take()?;
        let request = writing.request.map(|(request, what, _)| (request, what));
        request.or(writing.again)
    }

    fn comes_again(&mut self, request: RequestId, what: Request) {
        self.waiting.retain(|(waits, _)| *waits != request);
        self.requests.push_front((request, what));
    }

    pub(super) fn load(&mut self, desk: &mut Desk) {
        self.loading = true;
        desk.effects.push(Effect::Load { id: self.id });
    }

    pub(super) fn found(&mut self, found: Option<(Version, Record)>, desk: &mut Desk) {
        // An answer that nobody waits for any more.
        if !self.loading {
            return;
        }
        self.loading = false;
        match found {
            Some((version, _)) if version < self.version => self.load(desk),
            Some((version, record)) => self.take(version, record, desk),
            None => self.vanish(desk),
        }
    }

    /// Takes over what somebody else has written, or this node without knowing it.
    fn take(&mut self, version: Version, record: Record, desk: &mut Desk) {
        if record.owner != desk.node && version > self.version && self.version != ABSENT {
            self.adopted = false;
        }
        self.version = version;
        self.is_fresh = false;
        self.set(record, desk);
    }

    /// There is nothing in the log.
    fn vanish(&mut self, desk: &mut Desk) {
        self.record = None;
        self.commits_since_ms = None;
        self.adopted = false;
        self.version = ABSENT;
        self.progress.clear();
        for (branch, name) in std::mem::take(&mut self.inquiries) {
            desk.effects.push(Effect::Send {
                branch,
                name,
                attempt: 1,
                order: Order::Abort,
            });
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let requests = std::mem::take(&mut self.requests).into_iter();
        let requests = requests.map(|(request, _)| request);
        for request in waiting.map(|(request, _)| request).chain(requests) {
            if desk.settings.rules.presumes_for_participants_only {
                desk.refuse(request, self.id, Refusal::Unknown);
                continue;
            }
            let answer = Answer::Decided {
                outcome: Outcome::Aborted,
                reason: None,
                is_mixed: false,
            };
            desk.answer(request, self.id, answer);
        }
    }

    fn set(&mut self, record: Record, desk: &mut Desk) {
        let id = self.id;
        let before = self.record.replace(record);
        let Some(record) = &self.record else { return };
        if before.as_ref().map(|it| it.phase) != Some(record.phase) {
            if record.phase == Phase::PreCommitting {
                // Votes count on, as long as they are good.
                for progress in &mut self.progress {
                    progress.attempts = 0;
                    progress.again_at_ms = 0;
                }
            } else {
                self.progress.clear();
            }
            self.has_told_all = false;
            self.phase_since_ms = desk.now_ms;
        }
        let grew = before
            .as_ref()
            .is_some_and(|it| it.participants.len() != record.participants.len());
        if grew && record.kind == Kind::ThreePhase(Termination::ByPeers) {
            // A yes was given in the knowledge of fewer.
            self.progress.clear();
        }
        self.progress
            .resize_with(record.participants.len(), Progress::default);
        if record.phase != Phase::Active {
            self.commits_since_ms = None;
        }
        let mut note = |note| desk.effects.push(Effect::Note { id, note });
        let was = before.and_then(|it| it.outcome());
        if let Some(outcome) = record.outcome().filter(|_| was.is_none()) {
            let reason = record.reason;
            note(Note::Decided { outcome, reason });
        }
        if let Phase::Ended { outcome, .. } = record.phase {
            let is_mixed = record.is_mixed();
            note(Note::Ended { outcome, is_mixed });
        }
    }
}
