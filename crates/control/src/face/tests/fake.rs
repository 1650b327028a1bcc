//! A control plane in memory, just enough for the face to be tested against.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId, Revision};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    api::{
        Applied, ControlApi, HashKv, LeaseLeft, Member, Reply, SnapshotStream, Standing, Status,
        Watches,
    },
    core::error::Error,
    proto::{
        authpb,
        etcdserverpb::{self as pb, request_op, response_op, watch_request::RequestUnion},
        internal::{Identity, User, command::Op, identity::Who},
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
    pub(super) alarms: Vec<pb::AlarmMember>,
    /// What was proposed last, and by whom.
    pub(super) last: Option<(Identity, Op)>,
}

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

pub(super) const CLUSTER: u64 = 0xc1;
pub(super) const NODE: u64 = 0x0e;
pub(super) const TERM: u64 = 7;

fn matches(key: &Bytes, start: &Bytes, end: &Bytes) -> bool {
    match &end[..] {
        [] => key == start,
        [0] => key >= start,
        _ => key >= start && key < end,
    }
}

impl State {
    fn range(&self, request: &pb::RangeRequest) -> pb::RangeResponse {
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

    fn txn(&mut self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
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

    fn apply(&mut self, op: &Op) -> Result<Reply, Error> {
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

impl Fake {
    pub(super) fn new() -> Self {
        Fake {
            state: Arc::new(Mutex::new(State {
                revision: 1,
                leader: Some(NodeId(NODE)),
                ..Default::default()
            })),
            changed: Arc::new(Notify::new()),
        }
    }

    fn permit(&self, identity: &Identity) -> Result<(), Error> {
        match (&identity.who, self.state.lock().auth) {
            (Some(Who::Anonymous(_)) | None, true) => Err(Error::UserEmpty),
            _ => Ok(()),
        }
    }
}

pub(super) struct FakeWatches {
    fake: Fake,
    identity: Identity,
    watches: Vec<(i64, pb::WatchCreateRequest)>,
    ready: Vec<pb::WatchResponse>,
    seen: usize,
}

impl Watches for FakeWatches {
    fn identify(&mut self, identity: Identity) {
        self.identity = identity;
    }

    async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Error> {
        self.fake.permit(&self.identity)?;
        if let Some(RequestUnion::CreateRequest(create)) = request.request_union {
            let watch_id = self.watches.len() as i64;
            let state = self.fake.state.lock();
            let header = Some(pb::ResponseHeader {
                revision: state.revision,
                ..Default::default()
            });
            self.ready.push(pb::WatchResponse {
                header,
                watch_id,
                created: true,
                ..Default::default()
            });
            let mut create = create;
            if create.start_revision == 0 {
                create.start_revision = state.revision + 1;
            }
            self.watches.push((watch_id, create));
        }
        Ok(())
    }

    async fn next(&mut self) -> pb::WatchResponse {
        loop {
            if !self.ready.is_empty() {
                return self.ready.remove(0);
            }
            let changed = self.fake.changed.clone();
            let notified = changed.notified();
            let state = self.fake.state.clone();
            {
                let state = state.lock();
                while let Some((revision, event)) = state.history.get(self.seen) {
                    self.seen += 1;
                    let key = &event.kv.as_ref().expect("events have keys").key;
                    for (watch_id, create) in &self.watches {
                        if *revision >= create.start_revision
                            && matches(key, &create.key, &create.range_end)
                        {
                            self.ready.push(pb::WatchResponse {
                                header: Some(pb::ResponseHeader {
                                    revision: *revision,
                                    ..Default::default()
                                }),
                                watch_id: *watch_id,
                                events: vec![event.clone()],
                                ..Default::default()
                            });
                        }
                    }
                }
            }
            if self.ready.is_empty() {
                notified.await;
            }
        }
    }
}

impl ControlApi for Fake {
    type Watches = FakeWatches;

    fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing {
            cluster: ClusterId(CLUSTER),
            node: NodeId(NODE),
            leader: state.leader,
            term: TERM,
            revision: Revision(state.revision),
            learner: state.learner,
            auth: state.auth,
        }
    }

    async fn propose(&self, identity: Identity, op: Op) -> Result<Applied, Error> {
        self.permit(&identity)?;
        let applied = {
            let mut state = self.state.lock();
            state.last = Some((identity, op.clone()));
            state.apply(&op).map(|reply| Applied {
                revision: Revision(state.revision),
                reply,
            })
        };
        self.changed.notify_waiters();
        applied
    }

    async fn range(
        &self,
        identity: Identity,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Error> {
        self.permit(&identity)?;
        let state = self.state.lock();
        if request.revision > state.revision {
            return Err(Error::FutureRev);
        }
        Ok(state.range(&request))
    }

    async fn read_txn(
        &self,
        identity: Identity,
        request: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Error> {
        self.permit(&identity)?;
        self.state.lock().txn(&request)
    }

    async fn barrier(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn keep_alive(&self, lease: i64) -> Result<i64, Error> {
        Ok(self.state.lock().leases.get(&lease).copied().unwrap_or(0))
    }

    async fn time_to_live(&self, lease: i64, keys: bool) -> Result<LeaseLeft, Error> {
        let state = self.state.lock();
        let ttl = *state.leases.get(&lease).ok_or(Error::LeaseNotFound)?;
        let attached = state.keys.values().filter(|kv| kv.lease == lease && keys);
        Ok(LeaseLeft {
            granted: Duration::from_secs(ttl as u64),
            left: Duration::from_millis(ttl as u64 * 1000 - 1),
            keys: attached.map(|kv| kv.key.clone()).collect(),
        })
    }

    async fn leases(&self) -> Result<Vec<i64>, Error> {
        Ok(self.state.lock().leases.keys().copied().collect())
    }

    fn watch(&self, identity: Identity) -> FakeWatches {
        FakeWatches {
            fake: self.clone(),
            identity,
            watches: Vec::new(),
            ready: Vec::new(),
            seen: 0,
        }
    }

    async fn authenticate(&self, name: String, password: String) -> Result<String, Error> {
        match password == "secret" {
            true => Ok(format!("token-of-{name}")),
            false => Err(Error::AuthFailed),
        }
    }

    async fn hash_password(&self, password: String) -> Result<String, Error> {
        Ok(format!("hash-of-{password}"))
    }

    fn permit_lease(&self, _: &Identity, _: i64, _: bool) -> Result<(), Error> {
        Ok(())
    }

    fn identify_token(&self, token: &str) -> Result<Identity, Error> {
        let name = token
            .strip_prefix("token-of-")
            .ok_or(Error::InvalidAuthToken)?;
        self.identify_certificate(name)
    }

    fn identify_certificate(&self, name: &str) -> Result<Identity, Error> {
        Ok(Identity {
            who: Some(Who::User(User {
                name: name.to_owned(),
                auth_revision: 1,
            })),
        })
    }

    fn auth_status(&self) -> (bool, u64) {
        (self.state.lock().auth, 3)
    }

    fn require_admin(&self, identity: &Identity) -> Result<(), Error> {
        match (&identity.who, self.state.lock().auth) {
            (_, false) => Ok(()),
            (Some(Who::User(user)), true) if user.name == "root" => Ok(()),
            (Some(Who::User(_)), true) => Err(Error::PermissionDenied),
            _ => Err(Error::UserEmpty),
        }
    }

    fn user(&self, _: &Identity, name: &str) -> Result<Vec<String>, Error> {
        match name {
            "root" => Ok(vec!["root".to_owned()]),
            _ => Err(Error::UserNotFound),
        }
    }

    fn users(&self, _: &Identity) -> Result<Vec<String>, Error> {
        Ok(vec!["root".to_owned()])
    }

    fn role(&self, _: &Identity, _: &str) -> Result<Vec<authpb::Permission>, Error> {
        Err(Error::RoleNotFound)
    }

    fn roles(&self, _: &Identity) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    fn status(&self) -> Status {
        let state = self.state.lock();
        Status {
            cluster: ClusterId(CLUSTER),
            node: NodeId(NODE),
            leader: state.leader,
            term: TERM,
            committed_index: 12,
            applied_index: 11,
            revision: Revision(state.revision),
            learner: state.learner,
            store_bytes: 4096,
            quota_bytes: 2 << 30,
            alarms: state.alarms.clone(),
            ..Default::default()
        }
    }

    fn members(&self) -> Vec<Member> {
        vec![Member {
            node: NodeId(NODE),
            name: "n1".to_owned(),
            peer_urls: vec!["https://127.0.0.1:2380".to_owned()],
            client_urls: vec!["http://127.0.0.1:2379".to_owned()],
            learner: false,
        }]
    }

    async fn member_add(&self, peer_urls: Vec<String>) -> Result<Member, Error> {
        Ok(Member {
            node: NodeId(9),
            name: String::new(),
            peer_urls,
            client_urls: Vec::new(),
            learner: true,
        })
    }

    async fn member_remove(&self, _: NodeId) -> Result<(), Error> {
        Err(Error::MemberNotFound)
    }

    async fn member_update(&self, _: NodeId, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }

    async fn member_promote(&self, _: NodeId) -> Result<(), Error> {
        Err(Error::LearnerNotReady)
    }

    async fn move_leader(&self, _: NodeId) -> Result<(), Error> {
        Ok(())
    }

    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, Error> {
        Ok(HashKv {
            hash: 42,
            compact_revision: Revision(0),
            hash_revision: revision,
        })
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let (sender, chunks) = tokio::sync::mpsc::channel(2);
        let _ = sender.try_send(Ok(Bytes::from(vec![1; 300 << 10])));
        let _ = sender.try_send(Ok(Bytes::from(vec![2; 32])));
        Ok(SnapshotStream {
            total_bytes: (300 << 10) + 32,
            chunks,
        })
    }
}
