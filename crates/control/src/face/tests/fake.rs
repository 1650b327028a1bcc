//! A control plane in memory, just enough for the face to be tested against.

use std::{sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId, Revision};
use atoll_world::pki::Keyring;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::state::{State, matches};
use crate::{
    api::{
        Applied, ControlApi, HashKv, LeaseLeft, Member, SnapshotStream, Standing, Status, Watches,
    },
    core::{auth::Need, error::Error},
    proto::{
        authpb,
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        internal::{Identity, Part, User, command::Op, identity::Who},
    },
};

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

pub(super) const CLUSTER: u64 = 0xc1;
pub(super) const NODE: u64 = 0x0e;
pub(super) const TERM: u64 = 7;

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
    fn has_room(&self) -> bool {
        true
    }

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

    fn permit(&self, identity: &Identity, _: Need, _: &[u8], _: &[u8]) -> Result<(), Error> {
        self.require_admin(identity)
    }

    fn require_admin(&self, identity: &Identity) -> Result<(), Error> {
        match (&identity.who, self.state.lock().auth) {
            (_, false) => Ok(()),
            (Some(Who::User(user)), true) if user.name == "root" => Ok(()),
            (Some(Who::User(_)), true) => Err(Error::PermissionDenied),
            _ => Err(Error::UserEmpty),
        }
    }

    fn part(&self, identity: &Identity, txn: pb::TxnRequest) -> Result<Part, Error> {
        self.permit(identity)?;
        Ok(Part {
            txn: Some(txn),
            ..Part::default()
        })
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
            levels: None,
        }]
    }

    async fn member_add(&self, peer_urls: Vec<String>) -> Result<Member, Error> {
        Ok(Member {
            node: NodeId(9),
            name: String::new(),
            peer_urls,
            client_urls: Vec::new(),
            learner: true,
            levels: None,
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

    fn keyring(&self) -> Option<Arc<Keyring>> {
        self.state.lock().keyring.clone()
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

    async fn defragment(&self) -> Result<(), Error> {
        self.state.lock().defragmented += 1;
        Ok(())
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let (sender, chunks) = tokio::sync::mpsc::channel(3);
        let _ = sender.try_send(Ok(Bytes::from(vec![1; 300 << 10])));
        let _ = sender.try_send(Ok(Bytes::from(vec![2; 32])));
        let _ = sender.try_send(Ok(Bytes::new()));
        Ok(SnapshotStream {
            estimated_bytes: (300 << 10) + 32,
            chunks,
        })
    }
}
