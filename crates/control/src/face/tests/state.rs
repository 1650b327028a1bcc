//! What the small control plane of these tests holds, and how commands change it.

use std::collections::BTreeMap;

use atoll_base::id::NodeId;
use bytes::Bytes;

use crate::{
    api::Reply,
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, request_op, response_op},
        internal::{Identity, command::Op},
        mvccpb::{Event, KeyValue, event::EventType},
    },
};

#[derive(Default)]
pub(super) struct State {
    pub(super) keys: BTreeMap<Bytes, KeyValue>,
    pub(super) revision: i64,
    pub(super) history: Vec<(i64, Event)>,
    pub(super) leases: BTreeMap<i64, i64>,
    pub(super) auth: bool,
    pub(super) leader: Option<NodeId>,
    pub(super) learner: bool,
    pub(super) keyring: Option<std::sync::Arc<atoll_world::pki::Keyring>>,
    pub(super) alarms: Vec<pb::AlarmMember>,
    /// How often it was asked for.
    pub(super) defragmented: u32,
    /// What was proposed last, and by whom.
    pub(super) last: Option<(Identity, Op)>,
}

pub(super) fn matches(key: &Bytes, start: &Bytes, end: &Bytes) -> bool {
    match &end[..] {
        [] => key == start,
        [0] => key >= start,
        _ => key >= start && key < end,
    }
}

impl State {
    pub(super) fn range(&self, request: &pb::RangeRequest) -> pb::RangeResponse {
        let mut kvs: Vec<KeyValue> = self
            .keys
            .values()
            .filter(|kv| matches(&kv.key, &request.key, &request.range_end))
            .filter(|kv| {
                request.max_create_revision == 0
                    || kv.create_revision <= request.max_create_revision
            })
            .cloned()
            .collect();
        if request.sort_target == pb::range_request::SortTarget::Create as i32 {
            kvs.sort_by_key(|kv| kv.create_revision);
        }
        if request.sort_order == pb::range_request::SortOrder::Descend as i32 {
            kvs.reverse();
        }
        let count = kvs.len() as i64;
        let more = request.limit > 0 && count > request.limit;
        if more {
            kvs.truncate(request.limit as usize);
        }
        if request.count_only {
            kvs.clear();
        }
        pb::RangeResponse {
            header: Some(pb::ResponseHeader {
                revision: self.revision,
                ..Default::default()
            }),
            kvs,
            more,
            count,
        }
    }

    fn put(&mut self, request: &pb::PutRequest) -> Result<pb::PutResponse, Error> {
        if request.lease != 0 && !self.leases.contains_key(&request.lease) {
            return Err(Error::LeaseNotFound);
        }
        let previous = self.keys.get(&request.key).cloned();
        let kv = KeyValue {
            key: request.key.clone(),
            value: request.value.clone(),
            create_revision: previous
                .as_ref()
                .map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: previous.as_ref().map_or(1, |kv| kv.version + 1),
            lease: request.lease,
        };
        self.keys.insert(request.key.clone(), kv.clone());
        self.tell(EventType::Put, kv);
        Ok(pb::PutResponse {
            header: None,
            prev_kv: previous.filter(|_| request.prev_kv),
        })
    }

    fn delete(&mut self, request: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        let doomed: Vec<Bytes> = self
            .keys
            .keys()
            .filter(|key| matches(key, &request.key, &request.range_end))
            .cloned()
            .collect();
        for key in &doomed {
            self.keys.remove(key);
            let kv = KeyValue {
                key: key.clone(),
                mod_revision: self.revision,
                ..Default::default()
            };
            self.tell(EventType::Delete, kv);
        }
        pb::DeleteRangeResponse {
            deleted: doomed.len() as i64,
            ..Default::default()
        }
    }

    fn tell(&mut self, kind: EventType, kv: KeyValue) {
        let event = Event {
            r#type: kind as i32,
            kv: Some(kv),
            prev_kv: None,
        };
        self.history.push((self.revision, event));
    }

    /// Compares create revisions only, which is all that the recipes need.
    fn holds(&self, compare: &pb::Compare) -> bool {
        let wanted = match compare.target_union {
            Some(pb::compare::TargetUnion::CreateRevision(revision)) => revision,
            _ => 0,
        };
        self.keys
            .get(&compare.key)
            .map_or(0, |kv| kv.create_revision)
            == wanted
    }

    pub(super) fn txn(&mut self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = match succeeded {
            true => &request.success,
            false => &request.failure,
        };
        let mut responses = Vec::new();
        for op in ops {
            let response = match op.request.as_ref().expect("the face checked") {
                request_op::Request::RequestRange(request) => {
                    response_op::Response::ResponseRange(self.range(request))
                }
                request_op::Request::RequestPut(request) => {
                    response_op::Response::ResponsePut(self.put(request)?)
                }
                request_op::Request::RequestDeleteRange(request) => {
                    response_op::Response::ResponseDeleteRange(self.delete(request))
                }
                request_op::Request::RequestTxn(request) => {
                    response_op::Response::ResponseTxn(self.txn(request)?)
                }
            };
            responses.push(pb::ResponseOp {
                response: Some(response),
            });
        }
        Ok(pb::TxnResponse {
            header: None,
            succeeded,
            responses,
        })
    }

    pub(super) fn apply(&mut self, op: &Op) -> Result<Reply, Error> {
        let before = self.history.len();
        self.revision += 1;
        let reply = match op {
            Op::Put(request) => self.put(request).map(Reply::Put),
            Op::DeleteRange(request) => Ok(Reply::DeleteRange(self.delete(request))),
            Op::Txn(request) => self.txn(request).map(Reply::Txn),
            Op::Compact(_) => Ok(Reply::Compact(pb::CompactionResponse::default())),
            Op::LeaseGrant(request) => {
                self.leases.insert(request.id, request.ttl);
                Ok(Reply::LeaseGrant(pb::LeaseGrantResponse {
                    id: request.id,
                    ttl: request.ttl,
                    ..Default::default()
                }))
            }
            Op::LeaseRevoke(request) => match self.leases.remove(&request.id) {
                Some(_) => {
                    self.drop_keys_of(request.id);
                    Ok(Reply::LeaseRevoke(pb::LeaseRevokeResponse::default()))
                }
                None => Err(Error::LeaseNotFound),
            },
            Op::Alarm(_) => Ok(Reply::Alarm(pb::AlarmResponse::default())),
            Op::LeaseCheckpoint(_) => Ok(Reply::LeaseCheckpoint),
            _ => Ok(Reply::Auth),
        };
        if self.history.len() == before {
            self.revision -= 1;
        }
        reply
    }

    fn drop_keys_of(&mut self, lease: i64) {
        let doomed: Vec<Bytes> = self
            .keys
            .values()
            .filter(|kv| kv.lease == lease)
            .map(|kv| kv.key.clone())
            .collect();
        for key in doomed {
            self.delete(&pb::DeleteRangeRequest {
                key,
                ..Default::default()
            });
        }
    }
}
