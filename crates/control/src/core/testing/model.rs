//! etcd's KV, as simply as it can be said: a list of all revisions, replayed for every read.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    core::error::Error,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
            response_op::Response,
        },
        mvccpb::KeyValue,
    },
};

type State = BTreeMap<Bytes, KeyValue>;

/// Every revision ever written: a put, or a deletion where the version is 0.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    log: Vec<KeyValue>,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model {
            log: Vec::new(),
            revision: 1,
            compacted: -1,
        }
    }

    fn state(&self, revision: i64) -> State {
        let mut state = State::new();
        for kv in self.log.iter().filter(|kv| kv.mod_revision <= revision) {
            if kv.version == 0 {
                state.remove(&kv.key);
            } else {
                state.insert(kv.key.clone(), kv.clone());
            }
        }
        state
    }

    fn now(&self) -> State {
        self.state(i64::MAX)
    }

    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRev);
        }
        self.compacted = revision;
        Ok(())
    }

    /// Answers without headers.
    pub(crate) fn range(&self, r: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        if r.revision > self.revision {
            return Err(Error::FutureRev);
        }
        let at = if r.revision > 0 {
            r.revision
        } else {
            self.revision
        };
        if at < self.compacted {
            return Err(Error::Compacted);
        }
        let state = self.state(at);
        let mut kvs: Vec<KeyValue> = within(&state, &r.key, &r.range_end).cloned().collect();
        let count = kvs.len() as i64;
        if r.count_only {
            return Ok(pb::RangeResponse {
                count,
                ..Default::default()
            });
        }
        let limit = if r.limit > 0 {
            r.limit as usize
        } else {
            usize::MAX
        };
        let filtered = [
            r.min_mod_revision,
            r.max_mod_revision,
            r.min_create_revision,
        ]
        .into_iter()
        .chain([r.max_create_revision])
        .any(|bound| bound != 0);
        let unsorted = r.sort_order == 0 || (r.sort_order == 1 && r.sort_target == 0);
        if unsorted && !filtered {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            (r.min_mod_revision == 0 || kv.mod_revision >= r.min_mod_revision)
                && (r.max_mod_revision == 0 || kv.mod_revision <= r.max_mod_revision)
                && (r.min_create_revision == 0 || kv.create_revision >= r.min_create_revision)
                && (r.max_create_revision == 0 || kv.create_revision <= r.max_create_revision)
        });
        match r.sort_target {
            0 => {}
            1 => kvs.sort_by_key(|kv| {
                if r.sort_order == 2 {
                    -kv.version
                } else {
                    kv.version
                }
            }),
            2 => kvs.sort_by_key(|kv| kv.create_revision * if r.sort_order == 2 { -1 } else { 1 }),
            3 => kvs.sort_by_key(|kv| kv.mod_revision * if r.sort_order == 2 { -1 } else { 1 }),
            _ if r.sort_order == 2 => kvs.sort_by(|a, b| b.value.cmp(&a.value)),
            _ => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        if r.sort_target == 0 && r.sort_order == 2 {
            kvs.reverse();
        }
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if r.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(pb::RangeResponse {
            header: None,
            kvs,
            more,
            count,
        })
    }

    /// A transaction; a put or delete alone is one of one operation.
    pub(crate) fn txn(&mut self, txn: &pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        let before = self.now();
        self.check(&before, txn)?;
        let main = self.revision + 1;
        let response = self.run(&before, txn, main);
        if self.log.last().is_some_and(|kv| kv.mod_revision == main) {
            self.revision = main;
        }
        Ok(response)
    }

    fn check(&self, before: &State, txn: &pb::TxnRequest) -> Result<(), Error> {
        for op in branch(before, txn).1 {
            match op.request.as_ref().unwrap() {
                Request::RequestRange(range) if range.revision > self.revision => {
                    return Err(Error::FutureRev);
                }
                Request::RequestRange(range)
                    if range.revision != 0 && range.revision < self.compacted =>
                {
                    return Err(Error::Compacted);
                }
                Request::RequestPut(put) if put.ignore_value && !before.contains_key(&put.key) => {
                    return Err(Error::KeyNotFound);
                }
                Request::RequestTxn(nested) => self.check(before, nested)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn run(&mut self, before: &State, txn: &pb::TxnRequest, main: i64) -> pb::TxnResponse {
        let (succeeded, ops) = branch(before, txn);
        let responses = ops.iter().map(|op| match op.request.as_ref().unwrap() {
            Request::RequestRange(range) => Response::ResponseRange(self.see(range)),
            Request::RequestPut(put) => Response::ResponsePut(self.put(put, main)),
            Request::RequestDeleteRange(delete) => {
                Response::ResponseDeleteRange(self.delete(delete, main))
            }
            Request::RequestTxn(nested) => Response::ResponseTxn(self.run(before, nested, main)),
        });
        let responses = responses.map(|response| pb::ResponseOp {
            response: Some(response),
        });
        pb::TxnResponse {
            header: None,
            succeeded,
            responses: responses.collect(),
        }
    }

    /// A range inside a transaction sees what that wrote.
    fn see(&self, range: &pb::RangeRequest) -> pb::RangeResponse {
        let mut inside = self.clone();
        inside.revision = self
            .log
            .last()
            .map_or(1, |kv| kv.mod_revision)
            .max(self.revision);
        inside.range(range).expect("it was checked")
    }

    fn put(&mut self, put: &pb::PutRequest, main: i64) -> pb::PutResponse {
        let previous = self.now().remove(&put.key);
        let kept = previous.clone().filter(|_| put.ignore_value);
        self.log.push(KeyValue {
            key: put.key.clone(),
            value: kept.map_or_else(|| put.value.clone(), |kv| kv.value),
            create_revision: previous.as_ref().map_or(main, |kv| kv.create_revision),
            mod_revision: main,
            version: previous.as_ref().map_or(0, |kv| kv.version) + 1,
            lease: 0,
        });
        pb::PutResponse {
            header: None,
            prev_kv: previous.filter(|_| put.prev_kv),
        }
    }

    fn delete(&mut self, delete: &pb::DeleteRangeRequest, main: i64) -> pb::DeleteRangeResponse {
        let state = self.now();
        let doomed: Vec<KeyValue> = within(&state, &delete.key, &delete.range_end)
            .cloned()
            .collect();
        self.log.extend(doomed.iter().map(|kv| KeyValue {
            key: kv.key.clone(),
            mod_revision: main,
            ..KeyValue::default()
        }));
        pb::DeleteRangeResponse {
            header: None,
            deleted: doomed.len() as i64,
            prev_kvs: if delete.prev_kv { doomed } else { Vec::new() },
        }
    }
}

fn within<'a>(state: &'a State, key: &Bytes, end: &Bytes) -> impl Iterator<Item = &'a KeyValue> {
    let (key, end) = (key.clone(), end.clone());
    state.values().filter(move |kv| match &end[..] {
        [] => kv.key == key,
        [0] => kv.key >= key,
        _ => kv.key >= key && kv.key < end,
    })
}

fn branch<'a>(before: &State, txn: &'a pb::TxnRequest) -> (bool, &'a [pb::RequestOp]) {
    let succeeded = txn.compare.iter().all(|compare| {
        let by_value = compare.target() == CompareTarget::Value;
        let kvs: Vec<_> = within(before, &compare.key, &compare.range_end).collect();
        match kvs.is_empty() {
            true => !by_value && holds(compare, &KeyValue::default()),
            false => kvs.iter().all(|kv| holds(compare, kv)),
        }
    });
    let ops = if succeeded {
        &txn.success
    } else {
        &txn.failure
    };
    (succeeded, ops)
}

fn holds(compare: &pb::Compare, kv: &KeyValue) -> bool {
    let order = match compare.target_union.as_ref().unwrap() {
        TargetUnion::Version(want) => kv.version.cmp(want),
        TargetUnion::CreateRevision(want) => kv.create_revision.cmp(want),
        TargetUnion::ModRevision(want) => kv.mod_revision.cmp(want),
        TargetUnion::Value(want) => kv.value.cmp(want),
        TargetUnion::Lease(want) => kv.lease.cmp(want),
    };
    match compare.result() {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}
