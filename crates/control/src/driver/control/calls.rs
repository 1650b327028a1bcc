//! What faces ask of the control plane: each call is handed to the part that answers it.

use std::sync::Arc;

use atoll_base::id::{NodeId, Revision};
use atoll_world::{pki::Keyring, random, task};

use super::Control;
use crate::{
    api::{Applied, ControlApi, HashKv, LeaseLeft, Member, SnapshotStream, Standing, Status},
    core::{
        auth::Need,
        check,
        effects::{Fault, Space},
        error::Error,
        range::RangeCursor,
    },
    driver::{
        backup, passwords,
        replica::{ControlWatches, StoreValues},
        system_identity,
        users::UsersVersion,
    },
    log::{Progress, machine::Replica as _},
    proto::{
        authpb,
        etcdserverpb::{self as pb, ResponseHeader},
        internal::{Anonymous, Identity, Part, SessionOpen, command::Op, identity::Who},
        raft::{self, member_request::Change},
    },
};

/// Keys that a chunked read or walk looks at under the replica's lock at a time.
const STEP_KEYS_MAX: usize = 1_000;

/// Ranges of more entries than this are loaded on a thread that may block.
const INLINE_ITEMS_MAX: i64 = 256;

/// How often a login is tried again when users change meanwhile.
const LOGIN_ATTEMPTS_MAX: usize = 3;

impl Control {
    fn header(&self, revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.shared.cluster.0,
            member_id: self.shared.node.0,
            revision,
            raft_term: self.shared.log.leadership().borrow().term,
        })
    }

    /// A replica that cannot read its own store must not go on.
    fn fault(&self, fault: &Fault) -> Error {
        (self.shared.fatal)(format!("the store cannot be read: {fault}"));
        Error::Stopped
    }

    pub(in crate::driver) fn with_auth<R>(
        &self,
        look: impl FnOnce(&crate::core::auth::Auth) -> R,
    ) -> R {
        self.shared.replica.with(|machine| look(machine.auth()))
    }

    /// Where users, and what the cluster keeps for itself, stand.
    pub(in crate::driver) fn users_version(&self) -> UsersVersion {
        self.shared.replica.with(|machine| UsersVersion {
            auth: machine.auth().is_enabled(),
            auth_revision: machine.auth().revision(),
            system_revision: machine.keyspace(Space::System).revision(),
        })
    }

    /// Passwords that were right.
    pub(in crate::driver) fn verified(&self) -> &passwords::Verified {
        &self.shared.verified
    }

    /// Index of the last entry applied; changes wake whoever waits.
    pub(in crate::driver) fn applied_index(&self) -> atoll_world::watch::Receiver<u64> {
        self.shared.replica.applied_index()
    }

    /// Checks a password and opens a session under the auth revision it was checked under.
    async fn log_in(&self, name: &str, password: &str) -> Result<String, Error> {
        let (hash, auth_revision) = self.with_auth(|auth| auth.password_hash(name))?;
        let hash = String::from_utf8(hash.to_vec()).map_err(|_| Error::AuthFailed)?;
        if !passwords::verify(password.to_owned(), hash).await {
            return Err(Error::AuthFailed);
        }
        let token = passwords::new_token();
        let token_sha256 = bytes::Bytes::copy_from_slice(&passwords::digest(&token));
        let open = SessionOpen {
            name: name.to_owned(),
            token_sha256,
            auth_revision,
        };
        self.shared
            .proposer
            .propose(system_identity(), Op::SessionOpen(open))
            .await?;
        Ok(token)
    }

    async fn prepare(&self, op: &mut Op) -> Result<(), Error> {
        match op {
            // Drawn here: what is replicated has no chance in it.
            Op::AuthDisable(_) if self.shared.login_required => return Err(Error::LoginRequired),
            Op::LeaseGrant(grant) => {
                let leases = self.shared.replica.with(|machine| machine.leases().len());
                if leases >= self.shared.leases_max {
                    return Err(Error::TooManyLeases);
                }
                if grant.id == 0 {
                    grant.id = (random::u64() >> 1).max(1).cast_signed();
                }
                if grant.ttl > 0 {
                    grant.ttl = grant.ttl.max(self.shared.lease_ttl_s_min);
                }
            }
            Op::UserAdd(add) if !add.password.is_empty() => {
                add.hashed_password = self
                    .hash_password(std::mem::take(&mut add.password))
                    .await?;
            }
            Op::UserChangePassword(change) if !change.password.is_empty() => {
                change.hashed_password = self
                    .hash_password(std::mem::take(&mut change.password))
                    .await?;
            }
            _ => {}
        }
        Ok(())
    }
}
impl ControlApi for Control {
    type Watches = ControlWatches;

    fn standing(&self) -> Standing {
        let leadership = *self.shared.log.leadership().borrow();
        Standing {
            cluster: self.shared.cluster,
            node: self.shared.node,
            leader: leadership.leader,
            term: leadership.term,
            revision: Revision(self.shared.replica.revision()),
            learner: self.shared.log.is_learner(),
            auth: self.shared.replica.auth_enabled(),
        }
    }

    async fn propose(&self, identity: Identity, mut op: Op) -> Result<Applied, Error> {
        self.prepare(&mut op).await?;
        self.shared.proposer.propose(identity, op).await
    }

    async fn range(
        &self,
        identity: Identity,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Error> {
        if !request.serializable {
            self.barrier().await?;
        }
        let replica = &self.shared.replica;
        let (plan, pin) = replica.with(|machine| {
            let plan = machine.plan_range(&identity, &request)?;
            let pin = replica.pin(plan.space(), plan.revision());
            Ok::<_, Error>((plan, pin))
        })?;
        let mut cursor = RangeCursor::default();
        let values = loop {
            let (done, values) = replica.read(|machine, values| {
                let done = machine.collect_range(&plan, &mut cursor, STEP_KEYS_MAX);
                (done, done.then(|| StoreValues(values.0.clone())))
            });
            if let (true, Some(values)) = (done, values) {
                break values;
            }
        };
        let header = self.header(plan.header_revision());
        let small = cursor.len() <= INLINE_ITEMS_MAX as usize;
        let finish = move || {
            let response = plan.finish(cursor, &values);
            drop(pin);
            response
        };
        let response = if small {
            finish()
        } else {
            task::blocking(finish).await
        };
        let mut response = response.map_err(|fault| self.fault(&fault))?;
        response.header = header;
        Ok(response)
    }

    async fn read_txn(
        &self,
        identity: Identity,
        request: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Error> {
        if !check::is_serializable(&request) {
            self.barrier().await?;
        }
        let read = self
            .shared
            .replica
            .read(|machine, values| machine.read_txn(&identity, &request, values));
        let mut response = read.map_err(|fault| self.fault(&fault))??;
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        response.header = self.header(revision);
        Ok(response)
    }

    async fn barrier(&self) -> Result<(), Error> {
        self.shared.barrier.pass().await
    }

    async fn keep_alive(&self, lease: i64) -> Result<i64, Error> {
        self.shared.leases.renew(lease).await
    }

    async fn time_to_live(&self, lease: i64, keys: bool) -> Result<LeaseLeft, Error> {
        let mut left = self.shared.leases.left(lease).await?;
        if keys {
            self.barrier().await?;
            left.keys = self.shared.replica.with(|machine| {
                let lease = machine.leases().get(lease).ok_or(Error::LeaseNotFound)?;
                Ok::<_, Error>(
                    lease
                        .keys
                        .iter()
                        .map(|key| bytes::Bytes::copy_from_slice(key))
                        .collect(),
                )
            })?;
        }
        Ok(left)
    }

    async fn leases(&self) -> Result<Vec<i64>, Error> {
        self.barrier().await?;
        Ok(self
            .shared
            .replica
            .with(|machine| machine.leases().iter().map(|(id, _)| id).collect()))
    }

    fn watch(&self, identity: Identity) -> ControlWatches {
        self.shared.replica.open_watch(identity)
    }

    async fn authenticate(&self, name: String, password: String) -> Result<String, Error> {
        for _ in 0..LOGIN_ATTEMPTS_MAX {
            match self.log_in(&name, &password).await {
                // Users or rights changed while the password was checked: check it again.
                Err(Error::AuthOldRevision) => {}
                done => return done,
            }
        }
        Err(Error::AuthOldRevision)
    }

    async fn hash_password(&self, password: String) -> Result<String, Error> {
        passwords::hash(password)
            .await
            .ok_or(Error::InvalidAuthMgmt)
    }

    fn permit_lease(&self, identity: &Identity, lease: i64, write: bool) -> Result<(), Error> {
        let need = if write { Need::Write } else { Need::Read };
        match self
            .shared
            .replica
            .with(|machine| machine.lease(identity, lease, need).map(drop))
        {
            Err(Error::LeaseNotFound) => Ok(()),
            other => other,
        }
    }

    fn identify_token(&self, token: &str) -> Result<Identity, Error> {
        let digest = passwords::digest(token);
        let identity = self
            .with_auth(|auth| auth.identify_digest(&digest))
            .ok_or(Error::InvalidAuthToken)?;
        self.shared.logins.used(digest);
        Ok(identity)
    }

    fn identify_certificate(&self, common_name: &str) -> Result<Identity, Error> {
        self.with_auth(|auth| {
            if auth.is_enabled() {
                return auth.identify_certificate(common_name);
            }
            Ok(Identity {
                who: Some(Who::Anonymous(Anonymous {})),
            })
        })
    }

    fn auth_status(&self) -> (bool, u64) {
        self.with_auth(|auth| (auth.is_enabled(), auth.revision()))
    }

    fn require_admin(&self, identity: &Identity) -> Result<(), Error> {
        self.with_auth(|auth| auth.require_admin(identity))
    }

    fn permit(
        &self,
        identity: &Identity,
        need: Need,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Error> {
        self.with_auth(|auth| auth.require(identity, need, key, range_end))
    }

    fn part(&self, identity: &Identity, txn: pb::TxnRequest) -> Result<Part, Error> {
        self.shared
            .replica
            .with(|machine| machine.part(identity, txn))
    }

    fn user(&self, identity: &Identity, name: &str) -> Result<Vec<String>, Error> {
        self.with_auth(|auth| auth.user(identity, name))
    }

    fn users(&self, identity: &Identity) -> Result<Vec<String>, Error> {
        self.with_auth(|auth| auth.users(identity))
    }

    fn role(&self, identity: &Identity, name: &str) -> Result<Vec<authpb::Permission>, Error> {
        self.with_auth(|auth| auth.role(identity, name))
    }

    fn roles(&self, identity: &Identity) -> Result<Vec<String>, Error> {
        self.with_auth(|auth| auth.roles(identity))
    }

    fn status(&self) -> Status {
        let shared = &self.shared;
        let standing = self.standing();
        let Progress {
            last_index,
            committed_index,
        } = shared.log.progress();
        let store_bytes = shared.replica.store().disk_bytes().unwrap_or(0);
        Status {
            cluster: shared.cluster,
            node: shared.node,
            leader: standing.leader,
            term: standing.term,
            last_index,
            committed_index,
            applied_index: *shared.replica.applied_index().borrow(),
            revision: standing.revision,
            learner: standing.learner,
            store_bytes: store_bytes + shared.log.journal_bytes(),
            store_bytes_in_use: store_bytes,
            quota_bytes: shared.quota_bytes,
            alarms: shared
                .replica
                .with(|machine| machine.alarms(pb::AlarmType::None)),
            feature_level: shared.replica.feature_level(),
            feature_level_max: shared.replica.levels().max.0,
        }
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        self.shared.keyring.clone()
    }

    fn members(&self) -> Vec<Member> {
        self.shared.members.list()
    }

    async fn member_add(&self, peer_urls: Vec<String>) -> Result<Member, Error> {
        let node = NodeId(random::u64().max(1));
        let member = raft::Node {
            peer_urls: peer_urls.clone(),
            ..raft::Node::default()
        };
        self.admit(node, member).await?;
        Ok(Member {
            node,
            name: String::new(),
            peer_urls,
            client_urls: Vec::new(),
            learner: true,
            levels: None,
        })
    }

    async fn member_remove(&self, node: NodeId) -> Result<(), Error> {
        self.shared.members.change(Change::Remove(node.0)).await
    }

    async fn member_update(&self, node: NodeId, peer_urls: Vec<String>) -> Result<(), Error> {
        let known = self.shared.members.find(node);
        let member = raft::Node {
            peer_urls,
            ..known.ok_or(Error::MemberNotFound)?
        };
        self.shared
            .members
            .change(Change::Update(raft::UpdateNode {
                id: node.0,
                node: Some(member),
            }))
            .await
    }

    async fn member_promote(&self, node: NodeId) -> Result<(), Error> {
        self.shared.members.change(Change::Promote(node.0)).await
    }

    async fn move_leader(&self, to: NodeId) -> Result<(), Error> {
        self.shared.members.change(Change::TransferTo(to.0)).await
    }

    async fn hash_kv(&self, revision: Revision) -> Result<HashKv, Error> {
        let replica = self.shared.replica.clone();
        let (mut walk, pin) = replica.with(|machine| {
            let walk = machine.keyspace(Space::User).hash_begin(revision.0)?;
            let pin = replica.pin(Space::User, walk.pin());
            Ok::<_, Error>((walk, pin))
        })?;
        let walked = task::blocking(move || {
            let _pin = pin;
            while !replica.read(|machine, values| {
                machine
                    .keyspace(Space::User)
                    .hash_step(&mut walk, STEP_KEYS_MAX, values)
            })? {}
            Ok::<_, Fault>(walk)
        })
        .await;
        let walk = walked.map_err(|fault| self.fault(&fault))?;
        Ok(HashKv {
            hash: walk.hash(),
            compact_revision: Revision(walk.compacted()),
            hash_revision: Revision(walk.revision()),
        })
    }

    async fn defragment(&self) -> Result<(), Error> {
        self.shared.reclaimer.clone().defragment().await
    }

    async fn snapshot(&self) -> Result<SnapshotStream, Error> {
        let (meta, outgoing) = self.shared.replica.persist().await.map_err(|error| {
            (self.shared.fatal)(format!("the store cannot be written: {error}"));
            Error::Stopped
        })?;
        backup::stream(self.shared.cluster, &meta, outgoing).await
    }
}
