//! Keys of the control plane as participants: guarded writes, as in a transaction of etcd's.
//!
//! The log of decisions is kept where these keys are, so they need not prepare. They vote last,
//! in the very write that decides to commit: it is done only if their compares hold, and then
//! their puts and deletes are done with it. This is the last resource, or last agent, of two-phase
//! commit (Gray and Reuter 1993; Samaras and others 1993), of which there may be
//! only one: several such participants of a transaction are one resource, since one write does
//! them all. Such a participant is never in doubt, is told nothing, and hears of no abort.
//!
//! What one is to do is a [`Part`] of the control plane's log, which knows on whose behalf it is
//! done.

use atoll_control::{
    core::{check, error::Error},
    proto::{
        etcdserverpb::{TxnRequest, request_op::Request},
        internal::Part,
    },
};
use bytes::Bytes;
use prost::Message as _;

use super::{
    record::{Participant, Record, Standing},
    types::{Kind, Outcome, Place, Termination},
};

/// What such participants are called; where a transaction has several, a colon and a word of the
/// client's tell them apart.
pub const NAME: &str = "atoll:keys";

/// Why keys can't take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Damaged, or of a newer version.
    #[error("what is to be done with keys can't be read")]
    Unreadable,
    /// There is nothing to do.
    #[error("nothing is to be compared, put or deleted")]
    Nothing,
    /// It asks for something else than puts and deletes.
    #[error(
        "keys that take part are put and deleted; ranges and transactions inside can't be asked for"
    )]
    Operation,
    /// It asks for an answer that nobody gets.
    #[error("nobody is told what was there before (prev_kv): compare it")]
    Previous,
    /// Participants of this kind end a transaction without the cluster, or before its decision.
    #[error(
        "keys take part only where the cluster's log alone decides: in transactions of the kinds two-phase and three-phase"
    )]
    Kind,
    /// As for a transaction of etcd's, which all of a transaction's keys together are.
    #[error("{0}")]
    Refused(Error),
}

impl Participant {
    /// Whether it takes part by the write of the decision itself.
    pub fn is_keys(&self) -> bool {
        is_keys(&self.name)
    }

    /// Whether it has still to be done by that write.
    pub(super) fn votes_last(&self) -> bool {
        self.standing == Standing::Enlisted && self.is_keys()
    }
}

/// Whether a participant of this name is keys of the control plane.
pub fn is_keys(name: &str) -> bool {
    let rest = name.strip_prefix(NAME);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// What a participant is to do, out of what the log keeps.
///
/// # Errors
/// [`KeysError::Unreadable`].
pub fn parse(payload: &[u8]) -> Result<Part, KeysError> {
    Part::decode(payload).map_err(|_| KeysError::Unreadable)
}

/// Whether all keys of a transaction can be compared, put and deleted in one write: as in etcd,
/// no key is put twice, or put and deleted.
///
/// # Errors
/// See [`KeysError`].
pub(super) fn check(record: &Record, ops_max: usize) -> Result<(), KeysError> {
    let mut all = TxnRequest::default();
    for participant in record.participants.iter().filter(|it| it.is_keys()) {
        if !matches!(
            record.kind,
            Kind::TwoPhase | Kind::ThreePhase(Termination::ByLog)
        ) {
            return Err(KeysError::Kind);
        }
        let txn = parse(&participant.payload)?.txn.unwrap_or_default();
        if txn.compare.is_empty() && txn.success.is_empty() {
            return Err(KeysError::Nothing);
        }
        if !txn.failure.is_empty() {
            return Err(KeysError::Operation);
        }
        for op in &txn.success {
            match &op.request {
                Some(Request::RequestPut(put)) if put.prev_kv => return Err(KeysError::Previous),
                Some(Request::RequestDeleteRange(delete)) if delete.prev_kv => {
                    return Err(KeysError::Previous);
                }
                Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => {}
                _ => return Err(KeysError::Operation),
            }
        }
        all.compare.extend(txn.compare);
        all.success.extend(txn.success);
    }
    check::check_txn(&all, ops_max).map_err(KeysError::Refused)
}

/// Has keys leave a transaction that is being decided: what is decided to be committed is done
/// with the decision, and of what is given up they hold nothing. What is to be done, with the
/// place of each.
pub(super) fn settle(before: Option<&Record>, next: &mut Record) -> Vec<(Place, Bytes)> {
    let Some(outcome) = next.outcome() else {
        return Vec::new();
    };
    for participant in &mut next.participants {
        if participant.votes_last() {
            participant.standing = Standing::Released;
        }
    }
    let Some(before) = before.filter(|it| it.outcome().is_none()) else {
        return Vec::new();
    };
    if outcome != Outcome::Committed {
        return Vec::new();
    }
    let places = (0..).map(Place).zip(&before.participants);
    let last = places.filter(|(_, it)| it.votes_last());
    last.map(|(place, it)| (place, it.payload.clone()))
        .collect()
}

/// Whether anybody has to be told how a transaction ends.
pub(super) fn tells_anybody(record: &Record) -> bool {
    let is_told = |it: &Participant| it.standing == Standing::Enlisted && !it.is_keys();
    record.participants.iter().any(is_told)
}
