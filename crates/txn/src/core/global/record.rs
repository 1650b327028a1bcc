//! What the log holds of one transaction: everything that any node needs to bring it to its end.
//!
//! A record is the whole state, not a change of it, and each write of it states the version that
//! it replaces. So the log is one compare-and-set register per transaction, the first of two
//! coordinators that decide wins, and who takes over reads one record.
//!
//! ```text
//! two-phase     Active ─────────────────────▶ Committing ─▶ Ended
//!                  └────────▶ Aborting ─▶ Ended
//! three-phase   Active ─▶ PreCommitting ────▶ Committing ─▶ Ended
//!                  └────────────┴──▶ Aborting ─▶ Ended
//! saga          Active ─▶ Running{0} ─▶ Running{1} … ─▶ Ended
//!                  │          └───────────┴─▶ Compensating{n} ─▶ … Compensating{0} ─▶ Ended
//!                  └─▶ Ended
//! ```

use atoll_base::id::NodeId;
use bytes::Bytes;

use super::types::{Kind, Outcome, TransactionId};

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: TransactionId,
    /// How it is brought to its end.
    pub kind: Kind,
    /// Who has written this, and goes on with it as long as it lives.
    pub owner: NodeId,
    /// When it began, by the clock of the node where it did.
    pub began_at_ms: u64,
    /// It is given up after this moment if it was not decided.
    pub deadline_ms: u64,
    /// How far it is.
    pub phase: Phase,
    /// Why it was given up, if it was.
    pub reason: Option<Reason>,
    /// Those who take part, or the steps, in the order of enlisting.
    pub participants: Vec<Participant>,
    /// What people did about it.
    pub audit: Vec<AuditLine>,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is decided. Participants may enlist, prepare and vote.
    Active,
    /// All have voted yes and are being told so. Only in three-phase commit.
    PreCommitting,
    /// It is decided, and participants are being told.
    Committing,
    /// The same.
    Aborting,
    /// A saga's steps before this one are done; this one may be.
    Running {
        /// Its index; the number of steps when all are done.
        step: u16,
    },
    /// A saga's steps from this one on are undone, or were never done; the one before may be.
    Compensating {
        /// Its index.
        left: u16,
    },
    /// All know.
    Ended {
        /// How.
        outcome: Outcome,
        /// When.
        at_ms: u64,
    },
}

/// Why a transaction was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client has asked for it.
    Asked,
    /// A participant voted no, or its step failed.
    Participant,
    /// Its time was over, or that of votes.
    Timeout,
    /// A person has said so.
    Person,
}

/// Somebody who takes part, or a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Says whoever sends messages whom to send them to.
    pub name: String,
    /// What is to be done.
    pub payload: Bytes,
    /// How it is to be undone. Only in sagas.
    pub compensation: Bytes,
    /// What is known of it.
    pub standing: Standing,
}

/// What the log knows of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has to be told.
    Enlisted,
    /// It needs to hear no more.
    Released,
    /// A person has said how it ended. It hears no more.
    ByHand(Outcome),
    /// It has said itself how it ended, which is not what was decided. It hears no more.
    Contrary(Outcome),
}

/// What a person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// When.
    pub at_ms: u64,
    /// Who.
    pub by: String,
    /// What, and why.
    pub what: String,
}

impl Phase {
    /// How it ends, if that is decided.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Phase::Active | Phase::PreCommitting | Phase::Running { .. } => None,
            Phase::Committing => Some(Outcome::Committed),
            Phase::Aborting | Phase::Compensating { .. } => Some(Outcome::Aborted),
            Phase::Ended { outcome, .. } => Some(outcome),
        }
    }
}

impl Record {
    /// How it ends, if that is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        self.phase.outcome()
    }

    /// Whether all know.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether some participant is known to have ended otherwise than the whole: a person or the
    /// participant has seen to that, and it has to be put right by hand.
    pub fn is_mixed(&self) -> bool {
        let differs = |standing: Standing| match standing {
            Standing::ByHand(outcome) | Standing::Contrary(outcome) => {
                self.outcome().is_some_and(|decided| decided != outcome)
            }
            Standing::Enlisted | Standing::Released => false,
        };
        self.participants.iter().any(|it| differs(it.standing))
    }

    /// How many participants, or steps.
    pub fn steps(&self) -> u16 {
        u16::try_from(self.participants.len()).unwrap_or(u16::MAX)
    }

    /// Bytes of what participants are to do and undo.
    pub fn payload_bytes(&self) -> usize {
        let each = |it: &Participant| it.payload.len() + it.compensation.len();
        self.participants.iter().map(each).sum()
    }

    /// The same, in another phase.
    pub(super) fn with(&self, phase: Phase) -> Record {
        let mut record = self.clone();
        record.phase = phase;
        record
    }

    /// The same, given up.
    pub(super) fn given_up(&self, reason: Reason) -> Record {
        let phase = match (self.kind, self.phase) {
            // The step that is under way may have been done, too.
            (Kind::Saga, Phase::Running { step }) => Phase::Compensating {
                left: step.saturating_add(1).min(self.steps()),
            },
            (Kind::Saga, _) => Phase::Compensating { left: 0 },
            _ => Phase::Aborting,
        };
        Record {
            reason: Some(reason),
            ..self.with(phase)
        }
    }

    /// The same, ended: what was to be done is not needed any more.
    pub(super) fn ended(&self, outcome: Outcome, at_ms: u64) -> Record {
        let mut record = self.with(Phase::Ended { outcome, at_ms });
        for participant in &mut record.participants {
            participant.payload = Bytes::new();
            participant.compensation = Bytes::new();
        }
        record
    }
}
