//! What a request of the KV service must look like, in the order in which etcd looks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tonic::{Code, Status};

use crate::{
    core::error::Error,
    proto::etcdserverpb::{
        self as pb,
        range_request::{SortOrder, SortTarget},
        request_op::Request,
    },
};

pub(crate) fn range(request: &pb::RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if SortOrder::try_from(request.sort_order).is_err()
        || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// A stream of chunks has to come in the order of the store, unfiltered by revision.
pub(crate) fn range_stream(request: &pb::RangeRequest) -> Result<(), Status> {
    range(request)?;
    let natural = request.sort_order == SortOrder::None as i32
        || (request.sort_order == SortOrder::Ascend as i32
            && request.sort_target == SortTarget::Key as i32);
    if !natural {
        return Err(Status::new(
            Code::Unimplemented,
            "RangeStream does not support custom sort orders",
        ));
    }
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if filters != [0; 4] {
        return Err(Status::new(
            Code::Unimplemented,
            "RangeStream does not support revision filters",
        ));
    }
    Ok(())
}

pub(crate) fn put(request: &pb::PutRequest) -> Result<(), Error> {
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

pub(crate) fn delete_range(request: &pb::DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

/// How deep transactions may lie in one another. The log wraps a request in messages of its
/// own, and no reader of protobuf goes deeper than 100 messages: what a client may just send
/// must not be what no node can read back.
const TXN_DEPTH_MAX: usize = 40;

/// Counts and shapes first, then no key written twice: in this order, because the second look
/// costs more than the first and must not be had for free.
pub(crate) fn txn(request: &pb::TxnRequest, ops_max: usize) -> Result<(), Error> {
    txn_shape(request, ops_max, TXN_DEPTH_MAX)?;
    Writes::of(&request.success)?;
    Writes::of(&request.failure)?;
    Ok(())
}

/// A transaction inside another one has only what the outer one left of `ops_max`.
fn txn_shape(request: &pb::TxnRequest, ops_max: usize, depth_max: usize) -> Result<(), Error> {
    let depth_left = depth_max.checked_sub(1).ok_or(Error::TooManyOps)?;
    let ops = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let left = ops_max.checked_sub(ops).ok_or(Error::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(request)) => range(request)?,
            Some(Request::RequestPut(request)) => put(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Request::RequestTxn(request)) => txn_shape(request, left, depth_left)?,
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// Whether a transaction only reads, so that it need not go through the log. As in etcd, one
/// with another one inside never counts as such.
pub(crate) fn txn_only_reads(request: &pb::TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// The keys that some operations write: each may be put once, and not be deleted beside.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    /// Deleted ranges, merged so that none touches another: start to end (`None`: no end).
    deletes: BTreeMap<Bytes, Option<Bytes>>,
}

impl Writes {
    fn of(ops: &[pb::RequestOp]) -> Result<Self, Error> {
        let mut writes = Writes::default();
        for op in ops {
            if let Some(Request::RequestDeleteRange(request)) = &op.request {
                writes.delete(&request.key, &request.range_end);
            }
        }
        for op in ops {
            if let Some(Request::RequestTxn(request)) = &op.request {
                writes.either(Self::of(&request.success)?, Self::of(&request.failure)?)?;
            }
        }
        for op in ops {
            if let Some(Request::RequestPut(request)) = &op.request {
                writes.put(request.key.clone())?;
            }
        }
        Ok(writes)
    }

    /// Takes in both branches of an inner transaction. Only one of them will run, so both may
    /// put the same key.
    fn either(&mut self, success: Writes, failure: Writes) -> Result<(), Error> {
        for key in failure.puts.difference(&success.puts) {
            self.put(key.clone())?;
        }
        for key in success.puts {
            self.put(key)?;
        }
        for (start, end) in success.deletes.into_iter().chain(failure.deletes) {
            self.merge(start, end);
        }
        Ok(())
    }

    fn put(&mut self, key: Bytes) -> Result<(), Error> {
        if self.is_deleted(&key) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }

    fn delete(&mut self, key: &Bytes, range_end: &Bytes) {
        let end = match &range_end[..] {
            // Just the key: up to the very next one.
            [] => Some(Bytes::from([&key[..], &[0]].concat())),
            [0] => None,
            _ => Some(range_end.clone()),
        };
        self.merge(key.clone(), end);
    }

    fn merge(&mut self, mut start: Bytes, mut end: Option<Bytes>) {
        if end.as_ref().is_some_and(|end| *end <= start) {
            return;
        }
        // Ranges that begin at or before our end and end at or after our start.
        while let Some((other_start, other_end)) = self.last_starting_by(end.as_ref()) {
            if other_end
                .as_ref()
                .is_some_and(|other_end| *other_end < start)
            {
                break;
            }
            self.deletes.remove(&other_start);
            start = start.min(other_start);
            end = match (end, other_end) {
                (Some(a), Some(b)) => Some(a.max(b)),
                _ => None,
            };
        }
        self.deletes.insert(start, end);
    }

    fn last_starting_by(&self, end: Option<&Bytes>) -> Option<(Bytes, Option<Bytes>)> {
        let last = match end {
            Some(end) => self.deletes.range(..=end.clone()).next_back(),
            None => self.deletes.last_key_value(),
        };
        last.map(|(start, end)| (start.clone(), end.clone()))
    }

    fn is_deleted(&self, key: &Bytes) -> bool {
        self.deletes
            .range(..=key.clone())
            .next_back()
            .is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end))
    }
}

#[cfg(test)]
#[path = "tests/check.rs"]
mod tests;
