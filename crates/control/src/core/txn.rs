//! Transactions, as in etcd: first every compare of the whole tree is evaluated against the
//! state before the transaction, which fixes the branch that each level takes; then the
//! branches are checked; then they run, in order, and see what they themselves wrote. A
//! transaction that fails a check has written nothing.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{
    core::{
        effects::{Fault, Values},
        error::Error,
        keyspace::{Keyspace, Span},
        lease::{Leases, NO_LEASE},
        write::WriteTxn,
    },
    proto::{
        etcdserverpb::{
            Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
            RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
            response_op::Response,
        },
        mvccpb::KeyValue,
    },
};

/// The branches that a transaction takes, fixed before it runs.
pub(crate) struct Path<'a> {
    succeeded: bool,
    ops: &'a [RequestOp],
    /// The paths of the nested transactions among `ops`, in order.
    nested: Vec<Path<'a>>,
}

impl<'a> Path<'a> {
    /// Whether all compares of the outermost level hold.
    pub(crate) fn succeeded(&self) -> bool {
        self.succeeded
    }

    pub(crate) fn choose(
        txn: &'a TxnRequest,
        keyspace: &Keyspace,
        values: &dyn Values,
    ) -> Result<Path<'a>, Fault> {
        let mut succeeded = true;
        for compare in &txn.compare {
            if !holds(compare, keyspace, values)? {
                succeeded = false;
                break;
            }
        }
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        let mut nested = Vec::new();
        for op in ops {
            if let Some(Request::RequestTxn(txn)) = &op.request {
                nested.push(Path::choose(txn, keyspace, values)?);
            }
        }
        Ok(Path {
            succeeded,
            ops,
            nested,
        })
    }

    /// Whether everything on the path can run.
    pub(crate) fn check(&self, keyspace: &Keyspace, leases: &Leases) -> Result<(), Error> {
        let mut nested = self.nested.iter();
        for op in self.ops {
            match &op.request {
                Some(Request::RequestRange(range)) => check_range(range, keyspace)?,
                Some(Request::RequestPut(put)) => check_put(put, keyspace, leases)?,
                Some(Request::RequestTxn(_)) => {
                    next_of(&mut nested).check(keyspace, leases)?;
                }
                Some(Request::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }
}

fn next_of<'p, 'a>(nested: &mut std::slice::Iter<'p, Path<'a>>) -> &'p Path<'a> {
    nested
        .next()
        .expect("every nested transaction has its path")
}

/// A range inside a transaction reads at a given revision only if that is there; unlike
/// outside, a negative one counts as compacted.
fn check_range(range: &RangeRequest, keyspace: &Keyspace) -> Result<(), Error> {
    match range.revision {
        0 => Ok(()),
        revision if revision > keyspace.revision() => Err(Error::FutureRev),
        revision if revision < keyspace.compacted() => Err(Error::Compacted),
        _ => Ok(()),
    }
}

/// Whether a put can run: its lease exists, and the key too where the put builds on it.
pub(crate) fn check_put(
    put: &PutRequest,
    keyspace: &Keyspace,
    leases: &Leases,
) -> Result<(), Error> {
    if put.lease != NO_LEASE && leases.get(put.lease).is_none() {
        return Err(Error::LeaseNotFound);
    }
    if (put.ignore_value || put.ignore_lease) && keyspace.newest(&put.key).is_none() {
        return Err(Error::KeyNotFound);
    }
    Ok(())
}

fn holds(compare: &Compare, keyspace: &Keyspace, values: &dyn Values) -> Result<bool, Fault> {
    let target = CompareTarget::try_from(compare.target);
    let by_value = target == Ok(CompareTarget::Value);
    let mut any = false;
    for (_, history) in keyspace.scan(&Span::new(&compare.key, &compare.range_end)) {
        let Some((entry, newest)) = history.live() else {
            continue;
        };
        any = true;
        let kv = if by_value {
            keyspace.load(entry, values)?
        } else {
            KeyValue {
                create_revision: newest.create,
                mod_revision: entry.main,
                version: newest.version,
                lease: newest.lease,
                ..KeyValue::default()
            }
        };
        if !holds_for(compare, &kv) {
            return Ok(false);
        }
    }
    // A missing key has revisions and version 0, but no value at all.
    Ok(any || (!by_value && holds_for(compare, &KeyValue::default())))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let number = |have: i64, want: Option<i64>| have.cmp(&want.unwrap_or(0));
    let union = &compare.target_union;
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => match union {
            Some(TargetUnion::Value(want)) => kv.value.cmp(want),
            _ => kv.value.cmp(&Bytes::new()),
        },
        Ok(CompareTarget::Version) => number(
            kv.version,
            match union {
                Some(TargetUnion::Version(want)) => Some(*want),
                _ => None,
            },
        ),
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            match union {
                Some(TargetUnion::CreateRevision(want)) => Some(*want),
                _ => None,
            },
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            match union {
                Some(TargetUnion::ModRevision(want)) => Some(*want),
                _ => None,
            },
        ),
        Ok(CompareTarget::Lease) => number(
            kv.lease,
            match union {
                Some(TargetUnion::Lease(want)) => Some(*want),
                _ => None,
            },
        ),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}

/// Where a path runs.
pub(crate) enum Stage<'s, 'w> {
    /// Of a transaction that only reads.
    Read(&'s Keyspace),
    Write(&'s mut WriteTxn<'w>),
}

impl<'w> Stage<'_, 'w> {
    fn keyspace(&self) -> &Keyspace {
        match self {
            Stage::Read(keyspace) => keyspace,
            Stage::Write(write) => write.keyspace,
        }
    }

    fn write(&mut self) -> &mut WriteTxn<'w> {
        match self {
            Stage::Read(_) => panic!("a transaction with writes is proposed, not read"),
            Stage::Write(write) => write,
        }
    }

    /// Runs a checked path. The header is left empty.
    pub(crate) fn run(
        &mut self,
        path: &Path<'_>,
        values: &dyn Values,
    ) -> Result<TxnResponse, Fault> {
        let mut responses = Vec::with_capacity(path.ops.len());
        let mut nested = path.nested.iter();
        for op in path.ops {
            let response = match &op.request {
                Some(Request::RequestRange(range)) => {
                    let range = self.keyspace().range(range, values)?;
                    Response::ResponseRange(range.expect("the path was checked"))
                }
                Some(Request::RequestPut(request)) => {
                    Response::ResponsePut(put(self.write(), request, values)?)
                }
                Some(Request::RequestDeleteRange(request)) => {
                    Response::ResponseDeleteRange(delete(self.write(), request, values)?)
                }
                Some(Request::RequestTxn(_)) => {
                    let mut response = self.run(next_of(&mut nested), values)?;
                    // Present and empty: clients find a header at every level.
                    response.header = Some(ResponseHeader::default());
                    Response::ResponseTxn(response)
                }
                None => {
                    responses.push(ResponseOp { response: None });
                    continue;
                }
            };
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        Ok(TxnResponse {
            header: None,
            succeeded: path.succeeded,
            responses,
        })
    }
}

/// Runs a checked put; the header carries the revision only.
pub(crate) fn put(
    write: &mut WriteTxn<'_>,
    request: &PutRequest,
    values: &dyn Values,
) -> Result<PutResponse, Fault> {
    let before = write.keyspace.newest(&request.key);
    let needs_value = request.ignore_value || request.prev_kv;
    let previous = match before {
        Some((entry, _)) if needs_value => Some(write.keyspace.load(entry, values)?),
        _ => None,
    };
    // Something earlier in the same transaction may have deleted what the check saw; then
    // there is nothing to build on.
    let value = match (request.ignore_value, &previous) {
        (true, Some(previous)) => previous.value.clone(),
        _ => request.value.clone(),
    };
    let lease = match (request.ignore_lease, before) {
        (true, Some((_, newest))) => newest.lease,
        _ => request.lease,
    };
    write.put(&request.key, value, lease);
    Ok(PutResponse {
        header: revision_header(write.keyspace),
        prev_kv: previous.filter(|_| request.prev_kv),
    })
}

/// Runs a delete; the header carries the revision only.
pub(crate) fn delete(
    write: &mut WriteTxn<'_>,
    request: &DeleteRangeRequest,
    values: &dyn Values,
) -> Result<DeleteRangeResponse, Fault> {
    let span = Span::new(&request.key, &request.range_end);
    let mut prev_kvs = Vec::new();
    if request.prev_kv {
        for (_, history) in write.keyspace.scan(&span) {
            if let Some((entry, _)) = history.live() {
                prev_kvs.push(write.keyspace.load(entry, values)?);
            }
        }
    }
    let deleted = write.delete(&span);
    Ok(DeleteRangeResponse {
        header: revision_header(write.keyspace),
        deleted,
        prev_kvs,
    })
}

fn revision_header(keyspace: &Keyspace) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision: keyspace.revision(),
        ..ResponseHeader::default()
    })
}
