//! Between the core's words and the API's.

use bytes::Bytes;
use tonic::{Code, Status};

use crate::{
    core::global::{
        Kind, Outcome, Record, Termination,
        coordinator::Refusal,
        record::{Phase, Reason, Standing},
    },
    driver::global::{GlobalError, Summary},
    outside::{
        hot,
        postgres::{self, work::Work},
    },
    proto::{self as pb, enlist_request::Participant as Enlisted},
};

/// A participant's name, what it is to do, and how that is undone.
pub(super) fn work(participant: Option<Enlisted>) -> Result<(String, Bytes, Bytes), Status> {
    match participant {
        Some(Enlisted::Http(http)) => Ok((http.url, http.payload.into(), http.compensation.into())),
        Some(Enlisted::Postgres(database)) => {
            let name = format!("{}{}", postgres::PREFIX, database.database);
            let work = Work::new(database.statements)
                .map_err(|error| Status::invalid_argument(format!("{name}: {error}")))?;
            Ok((name, work.encode(), Bytes::new()))
        }
        Some(Enlisted::Hot(hot)) => {
            let work = hot::work::Work::new(hot.commands);
            Ok((hot::NAME.to_owned(), work.encode(), Bytes::new()))
        }
        // Enlisted in its own way, with the rights of whoever asks.
        Some(Enlisted::Keys(_)) | None => Err(Status::invalid_argument("no participant is named")),
    }
}

pub(super) fn status(error: &GlobalError) -> Status {
    let code = match error {
        GlobalError::Refused(refusal) => match refusal {
            Refusal::Unknown => Code::NotFound,
            // Nobody will use it, so another one may be begun.
            Refusal::Unclear => Code::Aborted,
            Refusal::Exists | Refusal::Taken => Code::AlreadyExists,
            Refusal::NotOpen | Refusal::TooLate | Refusal::NotSaga | Refusal::NotInDoubt => {
                Code::FailedPrecondition
            }
            Refusal::Keys(_) => Code::InvalidArgument,
            Refusal::Limit { .. } => Code::ResourceExhausted,
        },
        GlobalError::Unfit(_) => Code::InvalidArgument,
        GlobalError::Overloaded => Code::ResourceExhausted,
        GlobalError::Slow { .. } => Code::DeadlineExceeded,
        GlobalError::Unclear(_) | GlobalError::Stopped => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

impl From<pb::Kind> for Kind {
    fn from(kind: pb::Kind) -> Kind {
        match kind {
            pb::Kind::TwoPhase => Kind::TwoPhase,
            pb::Kind::ThreePhase => Kind::ThreePhase(Termination::ByLog),
            pb::Kind::ThreePhasePeers => Kind::ThreePhase(Termination::ByPeers),
            pb::Kind::Saga => Kind::Saga,
        }
    }
}

impl From<Kind> for pb::Kind {
    fn from(kind: Kind) -> pb::Kind {
        match kind {
            Kind::TwoPhase => pb::Kind::TwoPhase,
            Kind::ThreePhase(Termination::ByLog) => pb::Kind::ThreePhase,
            Kind::ThreePhase(Termination::ByPeers) => pb::Kind::ThreePhasePeers,
            Kind::Saga => pb::Kind::Saga,
        }
    }
}

impl From<Option<Outcome>> for pb::Outcome {
    fn from(outcome: Option<Outcome>) -> pb::Outcome {
        match outcome {
            None => pb::Outcome::Undecided,
            Some(Outcome::Committed) => pb::Outcome::Committed,
            Some(Outcome::Aborted) => pb::Outcome::Aborted,
        }
    }
}

impl From<Option<Reason>> for pb::Reason {
    fn from(reason: Option<Reason>) -> pb::Reason {
        match reason {
            None => pb::Reason::None,
            Some(Reason::Asked) => pb::Reason::Asked,
            Some(Reason::Participant) => pb::Reason::Participant,
            Some(Reason::Timeout) => pb::Reason::Timeout,
            Some(Reason::Person) => pb::Reason::Person,
        }
    }
}

/// The phase, its step, and when it ended.
fn phase(phase: Phase) -> (pb::Phase, u32, u64) {
    match phase {
        Phase::Active => (pb::Phase::Active, 0, 0),
        Phase::PreCommitting => (pb::Phase::PreCommitting, 0, 0),
        Phase::Committing => (pb::Phase::Committing, 0, 0),
        Phase::Aborting => (pb::Phase::Aborting, 0, 0),
        Phase::Running { step } => (pb::Phase::Running, step.into(), 0),
        Phase::Compensating { left } => (pb::Phase::Compensating, left.into(), 0),
        Phase::Ended { at_ms, .. } => (pb::Phase::Ended, 0, at_ms),
    }
}

impl From<Summary> for pb::Transaction {
    fn from(summary: Summary) -> pb::Transaction {
        let (phase, step, ended_ms) = phase(summary.phase);
        pb::Transaction {
            id: summary.id.to_string(),
            kind: pb::Kind::from(summary.kind).into(),
            phase: phase.into(),
            step,
            outcome: pb::Outcome::from(summary.phase.outcome()).into(),
            mixed: summary.is_mixed,
            owner: summary.owner.0,
            began_ms: summary.began_at_ms,
            deadline_ms: summary.deadline_ms,
            ended_ms,
            participant_count: summary.participants.into(),
            ..pb::Transaction::default()
        }
    }
}

impl From<Record> for pb::Transaction {
    fn from(record: Record) -> pb::Transaction {
        let (phase, step, ended_ms) = phase(record.phase);
        let participants = record.participants.iter().map(|it| {
            let (standing, outcome) = match it.standing {
                Standing::Enlisted => (pb::Standing::Enlisted, None),
                Standing::Released => (pb::Standing::Released, None),
                Standing::ByHand(outcome) => (pb::Standing::ByHand, Some(outcome)),
                Standing::Contrary(outcome) => (pb::Standing::Contrary, Some(outcome)),
            };
            pb::Participant {
                name: it.name.clone(),
                standing: standing.into(),
                outcome: pb::Outcome::from(outcome).into(),
            }
        });
        let audit = record.audit.iter().map(|line| pb::AuditLine {
            at_ms: line.at_ms,
            by: line.by.clone(),
            what: line.what.clone(),
        });
        pb::Transaction {
            id: record.id.to_string(),
            kind: pb::Kind::from(record.kind).into(),
            phase: phase.into(),
            step,
            outcome: pb::Outcome::from(record.outcome()).into(),
            reason: pb::Reason::from(record.reason).into(),
            mixed: record.is_mixed(),
            owner: record.owner.0,
            began_ms: record.began_at_ms,
            deadline_ms: record.deadline_ms,
            ended_ms,
            participant_count: record.steps().into(),
            participants: participants.collect(),
            audit: audit.collect(),
        }
    }
}
