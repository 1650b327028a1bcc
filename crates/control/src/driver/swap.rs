//! Compare and swap of one of the cluster's own keys.

use bytes::Bytes;

use super::system_identity;
use crate::{
    api::{ControlApi, Reply},
    core::error::Error,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
        },
        internal::command::Op,
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
    let unchanged = pb::Compare {
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
    let txn = pb::TxnRequest {
        compare: vec![unchanged],
        success: vec![pb::RequestOp {
            request: Some(change),
        }],
        failure: Vec::new(),
    };
    match control
        .propose(system_identity(), Op::Txn(txn))
        .await?
        .reply
    {
        Reply::Txn(response) => Ok(response.succeeded),
        other => unreachable!("a transaction is answered with {other:?}"),
    }
}
