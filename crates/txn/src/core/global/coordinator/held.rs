//! One transaction in a node's memory: what the log is known to hold of it, the one write that
//! is under way, whom it is talking to, and what is done next.

use std::collections::VecDeque;

use super::{Answer, Desk, Effect, Note, Refusal, Request, RequestId, Until};
use crate::core::global::{
    backoff,
    message::{Order, Report},
    record::{Phase, Record, Standing},
    types::{ABSENT, Branch, Kind, Outcome, Place, TransactionId, Version},
};

/// A write under way.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) record: Option<Record>,
    /// On whose behalf, and what that one is told when it is in the log.
    pub(super) request: Option<(RequestId, Request, Answer)>,
    /// Who waits for the outcome, and asks again should it not come to the log.
    pub(super) again: Option<(RequestId, Request)>,
}

/// What is known of a participant in the transaction's present phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What it has told.
    pub(super) report: Option<Report>,
    /// How often it was told.
    pub(super) attempts: u32,
    /// When it is told again.
    pub(super) again_at_ms: u64,
    /// When it was first asked for the vote that it gave last.
    pub(super) asked_at_ms: u64,
}

/// What happens next, as the log is and participants have told.
pub(super) enum Next {
    /// Those who have not answered are told again.
    Tell,
    /// This is to be in the log.
    Write(Record),
    /// Nothing is to be in the log any more.
    Delete,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: TransactionId,
    pub(super) version: Version,
    /// As the log holds it, as far as is known.
    pub(super) record: Option<Record>,
    pub(super) writing: Option<Writing>,
    pub(super) loading: bool,
    /// Whether this node was asked to bring it to its end.
    pub(super) adopted: bool,
    /// Since when a client's wish to commit has been known here.
    pub(super) commits_since_ms: Option<u64>,
    pub(super) phase_since_ms: u64,
    /// Whether this node itself wrote that the saga's step begins: nobody has asked for it yet.
    pub(super) is_fresh: bool,
    /// Whether this node has told all that all have voted yes, while none could abort by itself.
    pub(super) has_told_all: bool,
    pub(super) progress: Vec<Progress>,
    pub(super) requests: VecDeque<(RequestId, Request)>,
    pub(super) waiting: Vec<(RequestId, Until)>,
    /// When whoever waits for another node's decision looks again.
    look_at_ms: u64,
    looks: u32,
    pub(super) inquiries: Vec<(Branch, String)>,
    pub(super) due_at_ms: Option<u64>,
}

impl Held {
    /// Nothing is known of it yet.
    pub(super) fn new(id: TransactionId, begins: bool) -> Self {
        Held {
            id,
            version: ABSENT,
            record: None,
            writing: None,
            loading: false,
            adopted: begins,
            commits_since_ms: None,
            phase_since_ms: 0,
            is_fresh: false,
            has_told_all: false,
            progress: Vec::new(),
            requests: VecDeque::new(),
            waiting: Vec::new(),
            look_at_ms: 0,
            looks: 0,
            inquiries: Vec::new(),
            due_at_ms: None,
        }
    }

    /// Whether this node is to bring it to its end.
    pub(super) fn drives(&self, desk: &Desk) -> bool {
        let owns = |record: &Record| record.owner == desk.node;
        self.adopted || self.commits_since_ms.is_some() || self.record.as_ref().is_some_and(owns)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.writing.is_some() || self.loading
    }

    /// Whether it can be forgotten here.
    pub(super) fn is_needless(&self, desk: &Desk) -> bool {
        let is_asked =
            !self.requests.is_empty() || !self.waiting.is_empty() || !self.inquiries.is_empty();
        let has_ended = self.record.as_ref().is_none_or(Record::has_ended);
        !self.is_busy() && !is_asked && (has_ended || !self.drives(desk))
    }

    pub(super) fn asked(&mut self, request: RequestId, what: Request, desk: &mut Desk) {
        let max = desk.settings.requests_max;
        let found = self.requests.len() + self.waiting.len() + 1;
        if found > max {
            let what = "requests that wait for one transaction";
            desk.refuse(request, self.id, Refusal::Limit { what, found, max });
            return;
        }
        self.requests.push_back((request, what));
    }

    pub(super) fn inquired(&mut self, branch: Branch, name: String, desk: &Desk) {
        let is_known = self.inquiries.iter().any(|(it, _)| *it == branch);
        if !is_known && self.inquiries.len() < desk.settings.participants_max {
            self.inquiries.push((branch, name));
        }
    }

    /// Whoever asked does not wait any more.
    pub(super) fn left(&mut self, request: RequestId) {
        self.waiting.retain(|(waiting, _)| *waiting != request);
    }

    pub(super) fn wait(&mut self, request: RequestId, until: Until) {
        self.waiting.push((request, until));
    }

    pub(super) fn reported(&mut self, place: Place, report: Report, desk: &mut Desk) {
        let Some(record) = &self.record else { return };
        let Some(progress) = self.progress.get_mut(place.index()) else {
            return;
        };
        let Some(report) = super::votes::among_all(record, report) else {
            return;
        };
        let counts = match record.kind {
            Kind::Saga => super::saga::counts(record.phase, place, report),
            _ => super::votes::counts(record.phase, progress.report, report),
        };
        if !counts {
            return;
        }
        let id = self.id;
        let is_new = progress.report != Some(report);
        let contrary = super::votes::contrary(record, report);
        if let Some(outcome) = contrary.filter(|_| is_new) {
            let note = Note::Contrary { place, outcome };
            desk.effects.push(Effect::Note { id, note });
        } else if is_new && report == Report::Unknown {
            let note = Note::LostVote { place };
            desk.effects.push(Effect::Note { id, note });
        }
        progress.report = Some(report);
        if report == Report::NotDone {
            progress.again_at_ms = 0;
        }
    }

    /// Whether nothing more is expected of a participant in this phase.
    pub(super) fn has_answered(&self, place: Place) -> bool {
        let report = self.progress.get(place.index()).and_then(|it| it.report);
        let phase = self.record.as_ref().map(|it| it.phase);
        match report {
            None | Some(Report::Unknown | Report::NotDone) => false,
            Some(Report::Yes) => phase == Some(Phase::Active),
            Some(_) => true,
        }
    }

    /// Does all that can be done now.
    pub(super) fn pursue(&mut self, desk: &mut Desk) {
        while !self.is_busy() {
            let Some((request, what)) = self.requests.pop_front() else {
                break;
            };
            let begins = matches!(what, Request::Begin { .. });
            if self.record.is_none() && !begins {
                self.requests.push_front((request, what));
                self.load(desk);
            } else {
                self.handle(request, what, desk);
            }
        }
        self.notify(desk);
        if self.is_busy() {
            return;
        }
        if !self.drives(desk) {
            self.look(desk);
            return;
        }
        let Some(record) = &self.record else { return };
        let next = match record.kind {
            Kind::Saga => self.next_of_saga(record, desk),
            _ => self.next_of_votes(record, desk),
        };
        match next {
            Next::Write(mut record) => {
                record.owner = desk.node;
                self.write(Some(record), None, desk);
            }
            Next::Delete => self.write(None, None, desk),
            Next::Tell => self.tell(desk),
        }
        let forgets = !desk.settings.rules.remembers_until_acknowledged;
        if forgets && !self.is_busy() && self.was_told_once() {
            self.write(None, None, desk);
        }
    }

    fn was_told_once(&self) -> bool {
        let committing = |record: &Record| record.phase == Phase::Committing;
        self.record.as_ref().is_some_and(committing)
    }

    /// Whoever waits for what another node does, looks.
    fn look(&mut self, desk: &mut Desk) {
        let is_decided = |record: &Record| record.outcome().is_some();
        let asks = !self.inquiries.is_empty() && !self.record.as_ref().is_some_and(is_decided);
        if (self.waiting.is_empty() && !asks) || desk.now_ms < self.look_at_ms {
            return;
        }
        self.looks += 1;
        let pause = backoff::pause_ms(&desk.settings, self.looks, &mut desk.random);
        self.look_at_ms = desk.now_ms.saturating_add(pause);
        self.load(desk);
    }

    /// Answers those who wait for what is known now.
    fn notify(&mut self, desk: &mut Desk) {
        let Some(record) = &self.record else {
            return;
        };
        let Some(outcome) = record.outcome() else {
            // Of a transaction that is under way, who asks what came of it is told when it is
            // decided, by whoever decides it.
            if self.looks > 0 {
                self.inquiries.clear();
            }
            return;
        };
        let answer = Answer::Decided {
            outcome,
            reason: record.reason,
            is_mixed: record.is_mixed(),
        };
        let id = self.id;
        let has_ended = record.has_ended();
        self.waiting.retain(|(request, until)| {
            let waits = *until == Until::Ended && !has_ended;
            if !waits {
                desk.answer(*request, id, answer.clone());
            }
            waits
        });
        for (branch, name) in std::mem::take(&mut self.inquiries) {
            let order = match outcome {
                Outcome::Committed => Order::Commit,
                Outcome::Aborted => Order::Abort,
            };
            // Whoever asks by another's name is told nothing, and has nothing to say for it.
            let participant = record.participants.get(branch.place.index());
            let is_its_own = participant.is_some_and(|it| it.name == name && !it.is_keys());
            if record.kind != Kind::Saga && is_its_own {
                desk.effects.push(Effect::Send {
                    branch,
                    name,
                    attempt: 1,
                    order,
                });
            }
        }
    }

    fn order(&self, record: &Record, place: Place, desk: &Desk) -> Option<Order> {
        let participant = record.participants.get(place.index())?;
        let is_told = participant.standing == Standing::Enlisted && !participant.is_keys();
        if !is_told || self.has_answered(place) {
            return None;
        }
        match record.kind {
            Kind::Saga => self.order_of_saga(record.phase, place, participant),
            _ => self.order_of_votes(record, place, participant, desk),
        }
    }

    /// Tells those who have not answered, where it is time.
    pub(super) fn tell(&mut self, desk: &mut Desk) {
        let Some(record) = &self.record else { return };
        if !self.has_told_all && self.may_tell_all(record, desk) {
            self.has_told_all = true;
            for progress in &mut self.progress {
                progress.again_at_ms = 0;
            }
        }
        for place in (0..record.steps()).map(Place) {
            let Some(order) = self.order(record, place, desk) else {
                continue;
            };
            let progress = &mut self.progress[place.index()];
            if progress.again_at_ms > desk.now_ms {
                continue;
            }
            let asks = matches!(order, Order::Prepare { .. });
            if asks && progress.report.take().is_some() {
                // Its yes is too old to count.
                progress.attempts = 0;
            }
            progress.attempts = progress.attempts.saturating_add(1);
            if asks && progress.attempts == 1 {
                progress.asked_at_ms = desk.now_ms;
            }
            let pause = backoff::pause_ms(&desk.settings, progress.attempts, &mut desk.random);
            progress.again_at_ms = desk.now_ms.saturating_add(pause);
            if progress.report == Some(Report::NotDone) {
                progress.report = None;
            }
            desk.effects.push(Effect::Send {
                branch: Branch {
                    transaction: self.id,
                    place,
                },
                name: record.participants[place.index()].name.clone(),
                attempt: progress.attempts,
                order,
            });
        }
    }

    /// When something is due, if no answer comes before.
    pub(super) fn next_due_at_ms(&self, desk: &Desk) -> Option<u64> {
        if self.is_busy() {
            return None;
        }
        if !self.drives(desk) {
            let looks = !self.waiting.is_empty() || !self.inquiries.is_empty();
            return looks.then_some(self.look_at_ms);
        }
        let record = self.record.as_ref()?;
        let again = (0..record.steps()).map(Place).filter_map(|place| {
            self.order(record, place, desk)?;
            Some(self.progress[place.index()].again_at_ms)
        });
        let limit = match record.kind {
            Kind::Saga => self.limit_of_saga(record),
            _ => self.limit_of_votes(record, desk),
        };
        let due = again.chain(limit).min()?;
        Some(due.max(desk.now_ms.saturating_add(1)))
    }
}
