//! What goes into a coordinator and comes out of it.

use bytes::Bytes;

use crate::core::global::{
    keys::KeysError,
    message::{Order, Report},
    record::{Reason, Record},
    types::{Branch, Kind, Outcome, Place, TransactionId, Version},
};

/// Names a request to whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a write of this start of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until nothing can change the outcome.
    Decided,
    /// Until all participants have acknowledged it.
    Ended,
}

/// What a client, or a person, may ask for. All but a begin may be asked again, at any node, where
/// the answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A new transaction. The driver draws its id when the client asks, and never asks for the
    /// same id twice: a client whose answer was lost begins another one, and the first is given
    /// up when its time is over.
    Begin {
        /// How it is to be brought to its end.
        kind: Kind,
        /// It is given up after so long.
        timeout_ms: u64,
    },
    /// Somebody takes part; in a saga, the next step.
    Enlist {
        /// Who. Of one name there is one in a transaction.
        name: String,
        /// What is to be done.
        payload: Bytes,
        /// How it is to be undone. Only in sagas.
        compensation: Bytes,
    },
    /// All of it or nothing. Of a saga: begin with the steps.
    Commit {
        /// How long to wait.
        until: Until,
    },
    /// Nothing of it.
    Abort,
    /// How it stands, once it is decided.
    Await {
        /// How long to wait.
        until: Until,
    },
    /// A person says how a participant has ended, which is not asked any more.
    Resolve {
        /// Which participant.
        place: Place,
        /// How it has ended.
        outcome: Outcome,
        /// Who says so.
        by: String,
        /// Why.
        remark: String,
    },
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for something.
    Asked {
        /// For the answer.
        request: RequestId,
        /// Which transaction is meant.
        id: TransactionId,
        /// What is wanted.
        what: Request,
    },
    /// A participant has told something.
    Reported {
        /// About what.
        branch: Branch,
        /// What.
        report: Report,
    },
    /// A participant holds this prepared, and asks, or was found to hold it.
    Inquired {
        /// What it holds.
        branch: Branch,
        /// Who.
        name: String,
    },
    /// Nobody waits for the answer any more. What was asked for is done all the same.
    Left {
        /// For what.
        request: RequestId,
        /// Which transaction was meant.
        id: TransactionId,
    },
    /// A write is in the log.
    Written {
        /// Which.
        ticket: Ticket,
        /// The version that it has.
        version: Version,
    },
    /// A write was refused: the record is not of the expected version.
    Conflict {
        /// Which.
        ticket: Ticket,
    },
    /// A write was refused, though the record is of the expected version: the part of this
    /// participant can't be done.
    Refused {
        /// Which.
        ticket: Ticket,
        /// Whose part.
        place: Place,
    },
    /// A write may be in the log, or come there yet.
    Unclear {
        /// Which.
        ticket: Ticket,
    },
    /// What the log holds.
    Found {
        /// Of which transaction.
        id: TransactionId,
        /// Nothing, or this.
        found: Option<(Version, Record)>,
    },
    /// This node is to bring this one to its end.
    Adopt {
        /// The version.
        version: Version,
        /// What the log holds.
        record: Record,
    },
    /// Time has passed.
    Tick,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write a record, or delete it, if it is of the expected version.
    Write {
        /// For the answer.
        ticket: Ticket,
        /// Of which transaction.
        id: TransactionId,
        /// What is there now; `None` only where a rule is broken on purpose.
        expected: Option<Version>,
        /// The new record; `None` deletes it.
        record: Option<Record>,
        /// What keys that take part are to do, with the place of each: done with this write, or
        /// none of it is written ([`Input::Refused`]).
        parts: Vec<(Place, Bytes)>,
    },
    /// Read a record.
    Load {
        /// Of which transaction.
        id: TransactionId,
    },
    /// Tell a participant.
    Send {
        /// About what.
        branch: Branch,
        /// Whom.
        name: String,
        /// For the how-many-th time, counted from 1.
        attempt: u32,
        /// What.
        order: Order,
    },
    /// Answer whoever has asked.
    Answer {
        /// Who.
        request: RequestId,
        /// About which transaction.
        id: TransactionId,
        /// What.
        answer: Answer,
    },
    /// Log this, and count it.
    Note {
        /// Of which transaction.
        id: TransactionId,
        /// What.
        note: Note,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The transaction is in the log.
    Begun,
    /// The participant is.
    Enlisted(Place),
    /// Nothing changes this any more.
    Decided {
        /// The outcome.
        outcome: Outcome,
        /// Why it was given up, if it was.
        reason: Option<Reason>,
        /// Whether some participant is known to have ended otherwise.
        is_mixed: bool,
    },
    /// The person's word is in the log.
    Resolved,
    /// It was not done.
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It never began, or has ended long ago: the outcome is not known any more.
    #[error("nothing is known of this transaction: it never began, or ended long ago")]
    Unknown,
    /// It may have begun or not, and nobody will use it: begin another one.
    #[error("it is not known whether the transaction has begun; begin another one")]
    Unclear,
    /// Of this id there is one.
    #[error("a transaction of this id exists")]
    Exists,
    /// Nobody can enlist any more.
    #[error("the transaction is not open any more")]
    NotOpen,
    /// All have voted yes: it will be committed, or participants end it among themselves.
    #[error("it is too late to abort this transaction")]
    TooLate,
    /// There is one of this name with other work.
    #[error("a participant of this name takes part with other work")]
    Taken,
    /// Only steps have compensations.
    #[error("only a saga's steps have compensations")]
    NotSaga,
    /// Keys can't take part so.
    #[error("{0}")]
    Keys(KeysError),
    /// No such participant, or nothing is in doubt about it.
    #[error("nothing is in doubt about this participant")]
    NotInDoubt,
    /// Too many or too much.
    #[error("{what}: {found}, of which there may be {max}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// So many it would be.
        found: usize,
        /// So many may be.
        max: usize,
    },
}

/// What is worth a line in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It was decided.
    Decided {
        /// The outcome.
        outcome: Outcome,
        /// Why it was given up, if it was.
        reason: Option<Reason>,
    },
    /// All know.
    Ended {
        /// The outcome.
        outcome: Outcome,
        /// Whether some participant is known to have ended otherwise: a person must look.
        is_mixed: bool,
    },
    /// A participant has ended otherwise: a person must look.
    Contrary {
        /// Which.
        place: Place,
        /// How it has ended.
        outcome: Outcome,
    },
    /// A participant has voted yes and knows nothing of it: a person must look.
    LostVote {
        /// Which.
        place: Place,
    },
    /// A person has said how a participant ended.
    ByHand {
        /// Which.
        place: Place,
        /// How it has ended.
        outcome: Outcome,
        /// Who says so.
        by: String,
    },
}
