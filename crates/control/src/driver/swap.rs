//! Compare and swap of one of the cluster's own keys, alone or together with what users have
//! asked for.

use atoll_base::id::Revision;
use bytes::Bytes;

use super::system_identity;
use crate::{
    api::{BothReply, ControlApi, Reply},
    core::error::Error,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
        },
        internal::{Both, Part, command::Op},
    },
};

/// Puts a value (none: nothing) in place of what was read at a revision (0: nothing was there);
/// false if it changed meanwhile.
///
/// # Errors
/// Those of the cluster; the outcome is unknown then.
pub async fn swap<C: ControlApi>(
    control: &C,
    key: &Bytes,
    revision: i64,
    value: Option<Bytes>,
) -> Result<bool, Error> {
    let swapped = swap_at(control, key, revision, value).await?;
    Ok(swapped.is_some())
}

/// The same; the revision that the value has then.
///
/// # Errors
/// Those of the cluster; the outcome is unknown then.
pub async fn swap_at<C: ControlApi>(
    control: &C,
    key: &Bytes,
    revision: i64,
    value: Option<Bytes>,
) -> Result<Option<Revision>, Error> {
    swap_beside(control, (key, revision), value, None).await
}

/// The same, only while another key, too, is as it was read at a revision.
///
/// # Errors
/// Those of the cluster; the outcome is unknown then.
pub async fn swap_beside<C: ControlApi>(
    control: &C,
    (key, revision): (&Bytes, i64),
    value: Option<Bytes>,
    beside: Option<(&Bytes, i64)>,
) -> Result<Option<Revision>, Error> {
    let compared = beside.into_iter().chain([(key, revision)]);
    let txn = change(key, value, compared);
    let applied = control.propose(system_identity(), Op::Txn(txn)).await?;
    match applied.reply {
        // Of the keyspace that the key is in, right after this was done.
        Reply::Txn(response) => Ok(response.succeeded.then_some(applied.revision)),
        other => unreachable!("a transaction is answered with {other:?}"),
    }
}

/// Puts a value in place of what was read at a revision, and has done what users have asked
/// for, both or neither; what came of it, and the revision that the value has then. Of keys in
/// several parts nobody looks here whether they are the same: what is put last stays.
///
/// # Errors
/// Those of the cluster; the outcome is unknown then.
pub async fn swap_with<C: ControlApi>(
    control: &C,
    (key, revision): (&Bytes, i64),
    value: Bytes,
    parts: Vec<Part>,
) -> Result<(BothReply, Revision), Error> {
    let both = Both {
        system: Some(change(key, Some(value), [(key, revision)].into_iter())),
        parts,
    };
    let applied = control.propose(system_identity(), Op::Both(both)).await?;
    match applied.reply {
        Reply::Both(reply) => Ok((reply, applied.revision)),
        other => unreachable!("a write to both keyspaces is answered with {other:?}"),
    }
}

/// Puts a value, or deletes it, while these keys are as they were read at their revisions.
fn change<'a>(
    key: &Bytes,
    value: Option<Bytes>,
    compared: impl Iterator<Item = (&'a Bytes, i64)>,
) -> pb::TxnRequest {
    let unchanged = |(key, revision): (&Bytes, i64)| pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        // A key that is not there has the revision 0.
        target_union: Some(TargetUnion::ModRevision(revision)),
    };
    let change = match value {
        None => Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: key.clone(),
            ..pb::DeleteRangeRequest::default()
        }),
        Some(value) => Request::RequestPut(pb::PutRequest {
            key: key.clone(),
            value,
            ..pb::PutRequest::default()
        }),
    };
    pb::TxnRequest {
        compare: compared.map(unchanged).collect(),
        success: vec![pb::RequestOp {
            request: Some(change),
        }],
        failure: Vec::new(),
    }
}
