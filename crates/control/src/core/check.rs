//! What is wrong with a request whatever the state: asked by the face before it proposes.
//! The rules, and their order, are those of etcd's KV service.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    core::{
        error::Error,
        intervals::{End, Intervals},
    },
    proto::etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        range_request::{SortOrder, SortTarget},
        request_op::Request,
    },
};

/// How many operations each branch of a transaction may have unless configured otherwise.
pub const TXN_OPS_MAX: usize = 128;

/// Checks a range request.
///
/// # Errors
/// `EmptyKey`, `InvalidSortOption`.
pub fn check_range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    known.then_some(()).ok_or(Error::InvalidSortOption)
}

/// Checks a put.
///
/// # Errors
/// `EmptyKey`, `ValueProvided`, `LeaseProvided`.
pub fn check_put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete.
///
/// # Errors
/// `EmptyKey`.
pub fn check_delete(request: &DeleteRangeRequest) -> Result<(), Error> {
    (!request.key.is_empty())
        .then_some(())
        .ok_or(Error::EmptyKey)
}

/// Checks a transaction: its size, every operation in it, and that no key is put twice or
/// put and deleted in one run.
///
/// # Errors
/// `TooManyOps`, `DuplicateKey`, `KeyNotFound` for an operation that says nothing, and what
/// the operations' own checks answer.
pub fn check_txn(request: &TxnRequest, ops_max: usize) -> Result<(), Error> {
    check_ops(request, ops_max)?;
    check_overlaps(&request.success)?;
    check_overlaps(&request.failure)?;
    Ok(())
}

fn check_ops(request: &TxnRequest, ops_max: usize) -> Result<(), Error> {
    let ops = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    if ops > ops_max {
        return Err(Error::TooManyOps);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_delete(delete)?,
            // What this level used up is not there for the levels below.
            Some(Request::RequestTxn(txn)) => check_ops(txn, ops_max - ops)?,
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    deletes: Intervals,
}

impl Touched {
    fn clashes(&self, key: &[u8]) -> bool {
        self.puts.contains(key) || self.deletes.contains_key(key)
    }
}

/// What one branch puts and deletes. A put may clash neither with another put nor with a
/// delete; nested branches are looked at in order, and of a nested transaction only one
/// branch runs, so those two may put the same key.
fn check_overlaps(ops: &[RequestOp]) -> Result<Touched, Error> {
    let mut all = Touched::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            // An end of one zero byte is taken literally here, as etcd does.
            let end = if delete.range_end.is_empty() {
                End::after_point(&delete.key)
            } else {
                End::Before(delete.range_end.clone())
            };
            all.deletes.insert(delete.key.clone(), end);
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(txn)) = &op.request else {
            continue;
        };
        let then = check_overlaps(&txn.success)?;
        let otherwise = check_overlaps(&txn.failure)?;
        if then.puts.iter().any(|key| all.clashes(key)) {
            return Err(Error::DuplicateKey);
        }
        if otherwise.puts.iter().any(|key| all.clashes(key)) {
            return Err(Error::DuplicateKey);
        }
        all.puts.extend(then.puts);
        all.puts.extend(otherwise.puts);
        all.deletes.union(then.deletes);
        all.deletes.union(otherwise.deletes);
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            if all.clashes(&put.key) {
                return Err(Error::DuplicateKey);
            }
            all.puts.insert(put.key.clone());
        }
    }
    Ok(all)
}

/// Whether every operation of the transaction is a range: such a one need not be proposed.
pub fn is_read_only(request: &TxnRequest) -> bool {
    every_op(request, |op| matches!(op, Some(Request::RequestRange(_))))
}

/// Whether every operation is a serializable range: such a transaction needs no barrier.
pub fn is_serializable(request: &TxnRequest) -> bool {
    every_op(
        request,
        |op| matches!(op, Some(Request::RequestRange(range)) if range.serializable),
    )
}

fn every_op(request: &TxnRequest, holds: impl Fn(&Option<Request>) -> bool) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|op| holds(&op.request))
}
