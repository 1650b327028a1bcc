//! The control plane on one node, put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId, Revision};
use atoll_world::{
    disk::Disk, journal, peers::Peers, pki::Keyring, random, store::StoreError, task,
};

use super::{
    backup,
    barrier::Barrier,
    flush,
    generations::{Generations, StoreSource},
    housekeeping,
    leases::LeaseKeeper,
    level,
    logins::Logins,
    members::Members,
    passwords,
    propose::{Proposer, Waiters},
    reclaim::Reclaimer,
    replica::{self, ControlWatches, Replicated, StoreValues},
    services,
};
use crate::{
    api::{Applied, ControlApi, HashKv, LeaseLeft, Member, SnapshotStream, Standing, Status},
    core::{
        auth::Need,
        check,
        effects::{Fault, Space},
        error::Error,
        lease::ttl_min_s,
        level::{FeatureLevel, LevelError, LevelRange, SERVED},
        range::RangeCursor,
    },
    log::{
        Log, LogError, LogSettings, Progress, machine::Replica as _, snapshot::SnapshotReceiver,
        storage,
    },
    proto::{
        authpb,
        etcdserverpb::{self as pb, ResponseHeader},
        internal::{Anonymous, Identity, SessionOpen, command::Op, identity::Who},
        raft::{self, member_request::Change},
    },
};

/// Keys that a chunked read or walk looks at under the replica's lock at a time.
const STEP_KEYS_MAX: usize = 1_000;

/// Ranges of more entries than this are loaded on a thread that may block.
const INLINE_ITEMS_MAX: i64 = 256;

/// How often a login is tried again when users change meanwhile.
const LOGIN_ATTEMPTS_MAX: usize = 3;

/// What the control plane needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Timers and limits of the log.
    pub log: LogSettings,
    /// How long a request may wait for the cluster.
    pub request_timeout: Duration,
    /// The store's quota in bytes; reached means NOSPACE.
    pub quota_bytes: u64,
    /// Compaction without being asked.
    pub auto_compaction: AutoCompaction,
    /// The most leases in the cluster.
    pub leases_max: usize,
    /// This node can be reached from other machines, so authentication stays on.
    pub login_required: bool,
    /// How long a login lasts that nobody uses; none is for ever.
    pub login_ttl: Option<Duration>,
    /// Watches: limits and the interval of progress.
    pub watch: super::watch::WatchConfig,
    /// The feature levels that this node serves: [`SERVED`], or what an operator's limit
    /// leaves of it.
    pub levels: LevelRange,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            log: LogSettings::default(),
            request_timeout: Duration::from_secs(7),
            quota_bytes: 2 << 30,
            auto_compaction: AutoCompaction::Off,
            leases_max: 1_000_000,
            login_required: false,
            login_ttl: Some(Duration::from_secs(300)),
            watch: super::watch::WatchConfig::default(),
            levels: SERVED,
        }
    }
}

/// Compaction without being asked, as etcd offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Only when somebody asks.
    Off,
    /// What is older than this.
    Periodic(Duration),
    /// All but this many of the newest revisions.
    Revisions(u64),
}

/// Who this node is, and where its things lie.
pub struct Place {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Counts the starts of this node.
    pub boot: u64,
    /// The disk with the journal.
    pub disk: Arc<dyn Disk>,
    /// The node's directory on it.
    pub dir: PathBuf,
    /// Where stores come from.
    pub stores: Arc<StoreSource>,
    /// How the journal is kept.
    pub journal: journal::Options,
    /// The node's certificates and the cluster's authority; none where links need none.
    pub keyring: Option<Arc<Keyring>>,
    /// The links to the other nodes.
    pub peers: Arc<dyn Peers>,
    /// Called once when this node cannot go on; it should end the process.
    pub fatal: Arc<dyn Fn(String) + Send + Sync>,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log's journal.
    #[error(transparent)]
    Log(#[from] storage::OpenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state in the store.
    #[error(transparent)]
    Replica(#[from] replica::OpenError),
    /// The log could not be started.
    #[error("the replicated log cannot be started: {0}")]
    Raft(String),
    /// The last synced record of the journal is damaged: this node may have forgotten what it
    /// promised, so it must not vote.
    #[error(
        "the end of the journal in {dir} is damaged and may have held acknowledged writes; this node must not vote with it. \
         If others still serve the cluster, remove this node there (`atoll node remove`), delete its directory and join again. \
         If this is the only node, or the last one left, `atoll recover` with the same --dir says what may be lost, and with --force goes on with what is there"
    )]
    Forgetful {
        /// The journal's directory.
        dir: PathBuf,
    },
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        StartError::Raft(error.to_string())
    }
}

/// How full is what has a bound, for gauges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Commands of this node that have no answer yet.
    pub proposals: usize,
    /// Linearizable reads that wait for a round to begin.
    pub reads: usize,
    /// What was applied here and is not in the store yet, in bytes.
    pub pending_bytes: usize,
    /// Logins in the cluster.
    pub logins: usize,
    /// Leases in the cluster.
    pub leases: usize,
    /// Watches on this node.
    pub watches: super::watch::Stats,
}

/// The control plane on this node. Clones share it.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: ClusterId,
    node: NodeId,
    quota_bytes: u64,
    fatal: Arc<dyn Fn(String) + Send + Sync>,
    log: Log,
    replica: Arc<Replicated>,
    proposer: Proposer,
    barrier: Barrier,
    leases: Arc<LeaseKeeper>,
    logins: Arc<Logins>,
    members: Arc<Members>,
    reclaimer: Arc<Reclaimer>,
    keyring: Option<Arc<Keyring>>,
    /// A lease must outlive an election.
    lease_ttl_s_min: i64,
    leases_max: usize,
    login_required: bool,
}

impl Control {
    /// Starts the control plane: recovers this node's state, joins the log, begins to serve
    /// its peers. The node belongs to a cluster already, or [`Control::found`] makes one.
    ///
    /// # Errors
    /// What is on disk cannot be used.
    pub async fn start(place: Place, settings: Settings) -> Result<Control, StartError> {
        let Place {
            cluster,
            node,
            boot,
            disk,
            dir,
            stores,
            journal,
            keyring,
            peers,
            fatal,
        } = place;
        let journal_dir = dir.join("journal");
        let (space_disk, reserve_bytes) = (disk.clone(), journal.reserve_bytes);
        let (store_of_log, recovery) =
            storage::LogStore::open(disk.clone(), journal_dir.clone(), journal)?;
        if recovery.maybe_acknowledged {
            return Err(StartError::Forgetful { dir: journal_dir });
        }
        let (generations, store) = Generations::open(disk, dir, stores)?;
        let generations = Arc::new(generations);
        let waiters = Arc::new(Waiters::new(node, boot));
        let replica = Replicated::open(
            generations.clone(),
            store,
            waiters.clone(),
            settings.watch.clone(),
            settings.levels,
        )?;
        let snapshots = Arc::new(SnapshotReceiver::new(generations));
        let log = Log::start(
            node,
            &settings.log,
            peers.clone(),
            store_of_log,
            replica.clone(),
            snapshots,
            fatal.clone(),
        )
        .await?;

        let timeout = settings.request_timeout;
        let proposer = Proposer::start(
            waiters,
            log.clone(),
            peers.clone(),
            replica.clone(),
            timeout,
        );
        let barrier = Barrier::start(log.clone(), peers.clone(), replica.applied_index(), timeout);
        let leases = LeaseKeeper::new(
            log.clone(),
            peers.clone(),
            proposer.clone(),
            replica.clone(),
            settings.log.election_max,
            timeout,
        );
        replica.tell_leases(&leases);
        let members = Arc::new(Members::new(log.clone(), peers.clone(), replica.clone()));
        let logins = Logins::new(
            log.clone(),
            peers.clone(),
            replica.clone(),
            proposer.clone(),
            settings.login_ttl,
        );
        services::serve(&*peers, &log, &leases, &members, &logins, keyring.as_ref());

        task::spawn(flush::run(replica.clone(), fatal.clone()));
        task::spawn(leases.clone().run());
        task::spawn(logins.clone().run());
        task::spawn(members.clone().promote_learners());
        task::spawn(members.clone().follow_addresses());
        let reclaimer = Reclaimer::new(
            replica.clone(),
            space_disk.clone(),
            journal_dir.clone(),
            reserve_bytes,
        );
        task::spawn(reclaimer.clone().run());
        task::spawn(housekeeping::watch_room(
            node,
            replica.clone(),
            proposer.clone(),
            housekeeping::Room {
                disk: space_disk,
                dir: journal_dir,
                quota_bytes: settings.quota_bytes,
                reserve_bytes,
            },
        ));
        task::spawn(housekeeping::publish_members(
            log.clone(),
            replica.clone(),
            proposer.clone(),
        ));
        task::spawn(level::raise(log.clone(), replica.clone(), proposer.clone()));
        task::spawn(housekeeping::auto_compact(
            log.clone(),
            replica.clone(),
            proposer.clone(),
            settings.auto_compaction,
        ));
        let shared = Shared {
            cluster,
            node,
            quota_bytes: settings.quota_bytes,
            fatal,
            log,
            replica,
            proposer,
            barrier,
            leases,
            logins,
            members,
            reclaimer,
            keyring,
            lease_ttl_s_min: ttl_min_s(settings.log.election_max),
            leases_max: settings.leases_max,
            login_required: settings.login_required,
        };
        Ok(Control {
            shared: Arc::new(shared),
        })
    }

    /// Makes a cluster of this node alone, if its log is empty.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn found(&self, mut member: raft::Node) -> Result<(), StartError> {
        self.shared.replica.levels().announce(&mut member);
        Ok(self.shared.log.found(member).await?)
    }

    /// Stops in order: hands leadership over if there is somebody to hand it to, writes what
    /// is in memory, stops the log.
    pub async fn stop(&self) {
        let shared = &self.shared;
        if shared.log.leadership().borrow().leads {
            self.hand_over().await;
        }
        shared.log.stop().await;
        if let Err(error) = shared.replica.persist().await {
            tracing::warn!(%error, "the store was not written at the end; the journal has it all");
        }
    }

    /// Gives leadership to the voter that is nearest to having everything.
    async fn hand_over(&self) {
        let shared = &self.shared;
        let voters: Vec<NodeId> = shared
            .members
            .list()
            .into_iter()
            .filter(|member| !member.learner)
            .map(|member| member.node)
            .collect();
        let matched = shared.log.matched();
        let others = voters.into_iter().filter(|voter| *voter != shared.node);
        let Some(heir) = others.max_by_key(|voter| matched.get(voter).copied().unwrap_or(0)) else {
            return;
        };
        match self.move_leader(heir).await {
            Ok(()) => tracing::info!(%heir, "leadership was handed over"),
            Err(error) => tracing::warn!(%heir, %error, "leadership was not handed over"),
        }
    }

    /// Takes in a member that has been given an id already.
    ///
    /// # Errors
    /// `MemberExist`, `PeerURLExist`, and when the cluster does not answer in time.
    pub async fn admit(&self, node: NodeId, member: raft::Node) -> Result<(), Error> {
        self.shared
            .members
            .change(Change::AddLearner(raft::AddLearner {
                id: node.0,
                node: Some(member),
            }))
            .await
    }

    /// Tells the cluster how this node is reached and which feature levels it serves, if that
    /// is not what it knows.
    ///
    /// # Errors
    /// `MemberNotFound`, and when the cluster does not answer in time.
    pub async fn announce(&self, mut member: raft::Node) -> Result<(), Error> {
        self.shared.replica.levels().announce(&mut member);
        if self.shared.members.find(self.shared.node).as_ref() == Some(&member) {
            return Ok(());
        }
        let update = raft::UpdateNode {
            id: self.shared.node.0,
            node: Some(member),
        };
        self.shared.members.change(Change::Update(update)).await
    }

    /// How full is what has a bound.
    pub fn load(&self) -> Load {
        let Shared {
            replica,
            proposer,
            barrier,
            ..
        } = &*self.shared;
        let (logins, leases) =
            replica.with(|machine| (machine.auth().logins(), machine.leases().len()));
        Load {
            proposals: proposer.waiting(),
            reads: barrier.waiting(),
            pending_bytes: replica.pending_bytes(),
            logins,
            leases,
            watches: replica.hub().stats(),
        }
    }

    /// Refuses a node that does not serve the cluster's feature level, as this node knows it.
    ///
    /// # Errors
    /// With both.
    pub fn admit_levels(&self, member: &raft::Node) -> Result<(), LevelError> {
        // A version from before there were levels says nothing.
        let oldest = LevelRange {
            min: FeatureLevel::FIRST,
            max: FeatureLevel::FIRST,
        };
        LevelRange::announced(member)
            .unwrap_or(oldest)
            .admit(self.shared.replica.feature_level())
    }

    /// Has a leader, and this node has applied what that leader committed.
    pub fn is_ready(&self) -> bool {
        let Progress {
            committed_index, ..
        } = self.shared.log.progress();
        let applied = *self.shared.replica.applied_index().borrow();
        self.shared.log.leadership().borrow().leader.is_some() && applied >= committed_index
    }

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

    fn with_auth<R>(&self, look: impl FnOnce(&crate::core::auth::Auth) -> R) -> R {
        self.shared.replica.with(|machine| look(machine.auth()))
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
            .propose(super::system_identity(), Op::SessionOpen(open))
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
