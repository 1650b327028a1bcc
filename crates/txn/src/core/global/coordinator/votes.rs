//! Two-phase and three-phase commit: what follows from what participants have told.
//!
//! **Two-phase commit** (Gray 1978; presumed abort: Mohan, Lindsay and Obermarck 1986). Who
//! enlists is in the log before anybody prepares. When the client wants to commit, each
//! participant is asked to prepare; a yes binds it. When all have voted yes, the decision is
//! written over the version of the record that the votes belong to; only then is anybody told.
//! A participant with nothing to commit votes *read-only* and hears no more; it has to vote the
//! same way each time. Anything else
//! within the time (a no, silence, the client's change of mind) leads to an abort, which is
//! written the same way: two nodes may collect votes at once, and the log decides between them.
//! *Presumed abort*: of a transaction whose record is gone nothing can be committed any more,
//! since a commit is forgotten only when everybody has acknowledged it; so whoever still holds
//! something prepared is told to abort. Clients are not told so: to them it may have committed.
//!
//! **Three-phase commit** (Skeen 1981). Between the votes and the decision the record says that
//! all have voted yes, and participants are told so (pre-commit). The decision to commit follows
//! when *all* have acknowledged that, so that none of them is uncertain when the first one
//! commits. Where some don't answer in time it depends on who may end the transaction:
//! - [`Termination::ByLog`]: only the log. All have voted yes, so it is committed.
//!   Where keys of the control plane take part, all others have: keys vote with the decision
//!   itself, whatever the kind, and a no of theirs is the end of it, also of one whose
//!   participants know that all others have voted yes.
//! - [`Termination::ByPeers`]: there a yes is good for a while only, since an uncertain participant
//!   that hears of no coordinator may abort with its peers. Who is told that all have voted yes
//!   may commit with them; so all are told at once, and only while every yes is good. The
//!   coordinator asks anew for those that are not, as one does that takes over. The participants may have ended it themselves, and who is silent
//!   may have aborted. The coordinator does not guess: it asks them to end it among themselves
//!   and to tell, and writes down what they tell.

use super::{
    Desk,
    held::{Held, Next},
};
use crate::core::global::{
    keys,
    message::{Order, Report},
    record::{Participant, Phase, Reason, Record, Standing},
    types::{Kind, Outcome, Place, Termination},
};

/// A report as it counts. Where participants may end the transaction among themselves, a yes counts
/// when it was given in the knowledge of all of them.
pub(super) fn among_all(record: &Record, report: Report) -> Option<Report> {
    let by_peers = record.kind == Kind::ThreePhase(Termination::ByPeers);
    match report {
        Report::YesAmong(known) => (by_peers && known == record.steps()).then_some(Report::Yes),
        Report::Yes if by_peers => None,
        other => Some(other),
    }
}

/// Whether a report says something in this phase. What is said twice counts once, and a no
/// stays a no.
pub(super) fn counts(phase: Phase, known: Option<Report>, report: Report) -> bool {
    match phase {
        Phase::Active => {
            let is_no = matches!(known, Some(Report::No | Report::Aborted));
            let votes = matches!(
                report,
                Report::Yes | Report::ReadOnly | Report::No | Report::Aborted
            );
            votes && !is_no
        }
        Phase::PreCommitting => {
            let is_final = matches!(known, Some(Report::Committed | Report::Aborted));
            let tells = matches!(
                report,
                Report::PreCommitted | Report::Committed | Report::Aborted
            );
            let votes = report == Report::Yes && known.is_none();
            (tells || votes) && !is_final
        }
        Phase::Committing => matches!(
            report,
            Report::Committed | Report::Aborted | Report::Unknown
        ),
        Phase::Aborting => matches!(
            report,
            Report::Aborted | Report::No | Report::ReadOnly | Report::Committed
        ),
        Phase::Running { .. } | Phase::Compensating { .. } | Phase::Ended { .. } => false,
    }
}

/// How a participant says to have ended, where that is not what was decided.
pub(super) fn contrary(record: &Record, report: Report) -> Option<Outcome> {
    match (record.phase, report) {
        (Phase::Committing, Report::Aborted) => Some(Outcome::Aborted),
        (Phase::Aborting, Report::Committed) => Some(Outcome::Committed),
        _ => None,
    }
}

impl Held {
    fn report(&self, place: Place) -> Option<Report> {
        self.progress.get(place.index())?.report
    }

    /// Whether somebody who has to be told has reported one of these.
    fn any(&self, reports: &[Report]) -> bool {
        let reported = |it: &Option<Report>| it.is_some_and(|it| reports.contains(&it));
        self.progress.iter().any(|it| reported(&it.report))
    }

    /// Whether everybody who has to be told has reported one of these.
    fn all(&self, record: &Record, reports: &[Report]) -> bool {
        let mut participants = (0..).map(Place).zip(&record.participants);
        participants.all(|(place, it)| {
            let reported = self.report(place).is_some_and(|it| reports.contains(&it));
            // Keys are asked last, by the decision itself.
            it.standing != Standing::Enlisted || it.is_keys() || reported
        })
    }

    /// Whether keys of the control plane have refused what was to be decided.
    fn keys_refuse(&self, record: &Record) -> bool {
        let mut participants = (0..).map(Place).zip(&record.participants);
        participants.any(|(place, it)| it.votes_last() && self.report(place) == Some(Report::No))
    }

    /// With everybody released of whom this is true.
    fn releasing(&self, mut record: Record, is_released: impl Fn(Place) -> bool) -> Record {
        for (place, it) in (0..).map(Place).zip(&mut record.participants) {
            if it.standing == Standing::Enlisted && is_released(place) {
                it.standing = Standing::Released;
            }
        }
        record
    }

    pub(super) fn next_of_votes(&self, record: &Record, desk: &Desk) -> Next {
        match record.phase {
            Phase::Active => self.next_of_active(record, desk),
            Phase::PreCommitting => self.next_of_pre_committing(record, desk),
            Phase::Committing => self.next_of_decided(record, Outcome::Committed, desk),
            Phase::Aborting => self.next_of_decided(record, Outcome::Aborted, desk),
            Phase::Ended { at_ms, .. } => keep(at_ms, desk),
            Phase::Running { .. } | Phase::Compensating { .. } => Next::Tell,
        }
    }

    fn next_of_active(&self, record: &Record, desk: &Desk) -> Next {
        if self.any(&[Report::No, Report::Aborted]) {
            let given_up = record.given_up(Reason::Participant);
            // Asked once, it has said no and knows the end. Asked twice, it may yet say yes.
            return Next::Write(self.releasing(given_up, |place| {
                let is_no = self.report(place) == Some(Report::No);
                is_no && self.progress[place.index()].attempts <= 1
            }));
        }
        let Some(since_ms) = self.commits_since_ms else {
            return give_up_at(record.deadline_ms, record, desk);
        };
        if !self.all(record, &[Report::Yes, Report::ReadOnly]) {
            let votes_ms = since_ms.saturating_add(desk.settings.vote_ms);
            return give_up_at(votes_ms.min(record.deadline_ms), record, desk);
        }
        // Where peers may ask each other, all stay to the end.
        let may_leave = record.kind != Kind::ThreePhase(Termination::ByPeers);
        let is_released = |place| may_leave && self.report(place) == Some(Report::ReadOnly);
        let record = self.releasing(record.clone(), is_released);
        Next::Write(if !keys::tells_anybody(&record) {
            record.ended(Outcome::Committed, desk.now_ms)
        } else if record.kind == Kind::TwoPhase {
            record.with(Phase::Committing)
        } else {
            record.with(Phase::PreCommitting)
        })
    }

    fn next_of_pre_committing(&self, record: &Record, desk: &Desk) -> Next {
        let is_late = desk.now_ms >= self.pre_commit_limit_ms(desk);
        let by_log = record.kind == Kind::ThreePhase(Termination::ByLog);
        let all_know = self.all(record, &[Report::PreCommitted, Report::Committed]);
        if self.keys_refuse(record) {
            Next::Write(record.given_up(Reason::Participant))
        } else if self.any(&[Report::Committed]) || all_know || (is_late && by_log) {
            Next::Write(record.with(Phase::Committing))
        } else if self.any(&[Report::Aborted]) {
            Next::Write(record.given_up(Reason::Participant))
        } else {
            Next::Tell
        }
    }

    fn next_of_decided(&self, record: &Record, outcome: Outcome, desk: &Desk) -> Next {
        let places = (0..record.steps()).map(Place);
        let is_told = |place: Place| {
            record.participants[place.index()].standing != Standing::Enlisted
                || self.has_answered(place)
        };
        if !places.clone().all(is_told) {
            return Next::Tell;
        }
        let mut ended = record.ended(outcome, desk.now_ms);
        for (place, it) in places.zip(&mut ended.participants) {
            let contrary = self.report(place).and_then(|it| contrary(record, it));
            it.standing = match (it.standing, contrary) {
                (Standing::Enlisted, Some(other)) => Standing::Contrary(other),
                (Standing::Enlisted, None) => Standing::Released,
                (other, _) => other,
            };
        }
        Next::Write(ended)
    }

    pub(super) fn order_of_votes(
        &self,
        record: &Record,
        place: Place,
        participant: &Participant,
        desk: &Desk,
    ) -> Option<Order> {
        let by_peers = record.kind == Kind::ThreePhase(Termination::ByPeers);
        match record.phase {
            Phase::Active => {
                self.commits_since_ms?;
                Some(prepare(record, participant))
            }
            Phase::PreCommitting if desk.now_ms >= self.pre_commit_limit_ms(desk) => {
                Some(Order::Terminate)
            }
            Phase::PreCommitting if !by_peers || self.has_told_all => Some(Order::PreCommit),
            Phase::PreCommitting => {
                (!self.is_bound(place, desk)).then(|| prepare(record, participant))
            }
            Phase::Committing => Some(Order::Commit),
            Phase::Aborting => Some(Order::Abort),
            Phase::Running { .. } | Phase::Compensating { .. } | Phase::Ended { .. } => None,
        }
    }

    /// Whether a participant knows that all have voted yes, or is uncertain and can't have begun to
    /// end it with its peers.
    fn is_bound(&self, place: Place, desk: &Desk) -> bool {
        let Some(progress) = self.progress.get(place.index()) else {
            return false;
        };
        let until_ms = progress.asked_at_ms.saturating_add(desk.settings.yes_ms);
        match progress.report {
            Some(Report::Yes) => desk.now_ms < until_ms,
            report => report == Some(Report::PreCommitted),
        }
    }

    /// Whether all may be told that all have voted yes, where they may end it with their peers: not
    /// while one of them may have aborted, since those who are told then may commit.
    pub(super) fn may_tell_all(&self, record: &Record, desk: &Desk) -> bool {
        let mut participants = (0..).map(Place).zip(&record.participants);
        record.phase == Phase::PreCommitting
            && participants
                .all(|(place, it)| it.standing != Standing::Enlisted || self.is_bound(place, desk))
    }

    fn pre_commit_limit_ms(&self, desk: &Desk) -> u64 {
        self.phase_since_ms
            .saturating_add(desk.settings.pre_commit_ms)
    }

    /// When this transaction's time is over, in its phase.
    pub(super) fn limit_of_votes(&self, record: &Record, desk: &Desk) -> Option<u64> {
        match record.phase {
            Phase::Active => {
                let since_ms = self.commits_since_ms.unwrap_or(u64::MAX);
                let votes_ms = since_ms.saturating_add(desk.settings.vote_ms);
                Some(votes_ms.min(record.deadline_ms))
            }
            Phase::PreCommitting => {
                let at_ms = self.pre_commit_limit_ms(desk);
                (at_ms > desk.now_ms).then_some(at_ms)
            }
            _ => None,
        }
    }
}

fn prepare(record: &Record, participant: &Participant) -> Order {
    let names = record.participants.iter().map(|it| it.name.clone());
    Order::Prepare {
        payload: participant.payload.clone(),
        peers: match record.kind {
            Kind::ThreePhase(_) => names.collect(),
            _ => Vec::new(),
        },
    }
}

fn give_up_at(at_ms: u64, record: &Record, desk: &Desk) -> Next {
    if desk.now_ms < at_ms {
        return Next::Tell;
    }
    Next::Write(record.given_up(Reason::Timeout))
}

/// What has ended is kept for a while.
pub(super) fn keep(ended_at_ms: u64, desk: &Desk) -> Next {
    if desk.now_ms < ended_at_ms.saturating_add(desk.settings.keep_ms) {
        Next::Tell
    } else {
        Next::Delete
    }
}
