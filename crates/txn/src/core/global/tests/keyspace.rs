//! Keys of the control plane: what clients compare, and what is written with a decision. Two
//! clients that have read the same key can't both change it.

use std::collections::BTreeMap;

use atoll_control::proto::{
    etcdserverpb::{
        Compare, PutRequest, RequestOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
    },
    internal::Part,
};
use bytes::Bytes;
use prost::Message as _;

use super::{
    super::{Branch, Place, TransactionId, keys},
    world::World,
};
use crate::core::chance;

/// When each key was changed last.
#[derive(Default)]
pub(crate) struct Keyspace {
    changed_at: BTreeMap<Bytes, i64>,
    revision: i64,
}

/// A part that puts a key if it was changed last at this revision (0: it is not there).
pub(crate) fn put_if(key: &str, revision: i64) -> Part {
    let put = PutRequest {
        key: key.to_owned().into(),
        ..PutRequest::default()
    };
    Part {
        txn: Some(TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Mod.into(),
                key: key.to_owned().into(),
                target_union: Some(TargetUnion::ModRevision(revision)),
                ..Compare::default()
            }],
            success: vec![RequestOp {
                request: Some(Request::RequestPut(put)),
            }],
            failure: Vec::new(),
        }),
        ..Part::default()
    }
}

impl Keyspace {
    /// What a client wants to have done with a key that it has just read: of each name others,
    /// so that no key is put twice. Now and then it has read wrong.
    pub(super) fn work(&self, random: &mut u64, name: &str) -> Bytes {
        let key = format!("{name}/{}", chance::below(random, 2));
        let read = self.read(&key);
        let wrong = i64::from(chance::below(random, 10) == 0);
        put_if(&key, read + wrong).encode_to_vec().into()
    }

    /// Whose part can't be done now.
    pub(crate) fn refuses(&self, parts: &[(Place, Bytes)]) -> Option<Place> {
        let refused = parts.iter().find(|(_, payload)| {
            let part = keys::parse(payload).expect("it was checked");
            let compares = part.txn.expect("something").compare;
            compares.iter().any(|it| {
                let found = self.changed_at.get(&it.key).copied().unwrap_or(0);
                it.target_union != Some(TargetUnion::ModRevision(found))
            })
        });
        refused.map(|(place, _)| *place)
    }

    /// Does parts of which none is refused.
    pub(crate) fn write(&mut self, parts: &[(Place, Bytes)]) {
        self.revision += 1;
        for (_, payload) in parts {
            let part = keys::parse(payload).expect("it was checked");
            for op in part.txn.expect("something").success {
                if let Some(Request::RequestPut(put)) = op.request {
                    self.changed_at.insert(put.key, self.revision);
                }
            }
        }
    }

    /// When a key was changed last; 0: never.
    pub(crate) fn read(&self, key: &str) -> i64 {
        self.changed_at.get(key.as_bytes()).copied().unwrap_or(0)
    }
}

impl World {
    pub(super) fn minds_keys(&self) -> bool {
        !self.options.decides_without_keys
    }

    pub(super) fn write_keys(&mut self, transaction: TransactionId, parts: &[(Place, Bytes)]) {
        self.keyspace.write(parts);
        for (place, _) in parts {
            self.checks.keys_written(Branch {
                transaction,
                place: *place,
            });
        }
    }
}
