//! What other crates, and the faces of this one, may ask of the control plane.

use std::{sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId, Revision};
use atoll_world::pki::Keyring;

use crate::{
    core::{
        auth::Need,
        error::Error,
        level::{FeatureLevel, LevelRange},
    },
    proto::{
        authpb, etcdserverpb as pb,
        internal::{Identity, Part, command::Op},
    },
};

/// What a command answered, and where the keyspace stood when it was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The revision of the users' keyspace right after the command (of the system keyspace
    /// where the command addressed that one).
    pub revision: Revision,
    /// The answer; header fields are left empty.
    pub reply: Reply,
}

/// The answer to each kind of command, in the API's own messages.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Reply {
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Both(BothReply),
    Compact(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    LeaseCheckpoint,
    Alarm(pb::AlarmResponse),
    RaiseFeatureLevel,
    /// Users, roles, sessions, auth on and off: nothing to tell but success.
    Auth,
}

/// What came of a write to both keyspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BothReply {
    /// All of it is done.
    Done,
    /// The cluster's own keys are not as compared. Nothing is done.
    Changed,
    /// Somebody's part can't be done, and so nothing is.
    Refused {
        /// Whose, counted from 0.
        part: usize,
        /// Why; none where keys are not as compared.
        error: Option<Error>,
    },
}

/// Where the cluster stands, as this node knows it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The cluster this node belongs to.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// The current Raft term.
    pub term: u64,
    /// Index of the last entry in this node's log.
    pub last_index: u64,
    /// Index of the last entry known to be committed.
    pub committed_index: u64,
    /// Index of the last entry applied here.
    pub applied_index: u64,
    /// Revision of the users' keyspace here.
    pub revision: Revision,
    /// Whether this node is only a learner.
    pub learner: bool,
    /// Bytes that the store takes on disk.
    pub store_bytes: u64,
    /// Bytes of it that live revisions need.
    pub store_bytes_in_use: u64,
    /// The configured quota in bytes; reached means NOSPACE.
    pub quota_bytes: u64,
    /// Alarms that are raised, cluster-wide.
    pub alarms: Vec<pb::AlarmMember>,
    /// The cluster's feature level, as of the last entry applied here.
    pub feature_level: FeatureLevel,
    /// The highest that this node serves; 0 is not known.
    pub feature_level_max: u32,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its human name; empty until it has started.
    pub name: String,
    /// `https://HOST:PORT` of its peer listener.
    pub peer_urls: Vec<String>,
    /// URLs of its client listener.
    pub client_urls: Vec<String>,
    /// Whether it only learns, without a vote.
    pub learner: bool,
    /// The feature levels that it serves; none until it has started.
    pub levels: Option<LevelRange>,
}

/// What a lease has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLeft {
    /// What was granted.
    pub granted: Duration,
    /// What is left of it now.
    pub left: Duration,
    /// The keys attached to it, in order.
    pub keys: Vec<bytes::Bytes>,
}

/// What the first checks of every request and the header of every answer need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The cluster this node belongs to.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// The current Raft term.
    pub term: u64,
    /// Revision of the users' keyspace here.
    pub revision: Revision,
    /// Whether this node is only a learner.
    pub learner: bool,
    /// Whether authentication is on.
    pub auth: bool,
}

/// One client's stream of watches.
pub trait Watches: Send + 'static {
    /// On whose behalf the requests that follow are.
    fn identify(&mut self, identity: Identity);

    /// Whether the client's next request should be read already; if not, its answers come
    /// first. Holds back a client that asks without reading.
    fn has_room(&self) -> bool;

    /// Handles one request of the client. Answers come out of [`Watches::next`].
    ///
    /// # Errors
    /// `LimitExceeded` when the stream has too many watches.
    fn request(
        &mut self,
        request: pb::WatchRequest,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The next response for the client (headers filled except cluster and member id and term).
    /// Cancel-safe.
    fn next(&mut self) -> impl Future<Output = pb::WatchResponse> + Send;
}

/// The control plane on this node: cheap to clone, shared by every face.
///
/// Every method may be called on any node; what needs the leader is forwarded.
pub trait ControlApi: Clone + Send + Sync + 'static {
    /// A stream of watches, as [`ControlApi::watch`] opens it.
    type Watches: Watches;

    /// Asked once a request, so it must be cheap: a few loads, no lock that writers hold.
    fn standing(&self) -> Standing {
        let status = self.status();
        Standing {
            cluster: status.cluster,
            node: status.node,
            leader: status.leader,
            term: status.term,
            revision: status.revision,
            learner: status.learner,
            auth: self.auth_status().0,
        }
    }

    /// Proposes a change and answers once it is committed and applied on this node.
    fn propose(
        &self,
        identity: Identity,
        op: Op,
    ) -> impl Future<Output = Result<Applied, Error>> + Send;

    /// Reads a range. Linearizable unless `request.serializable`. Large ranges are read in
    /// chunks, so that writers never wait for them. The header is filled in.
    fn range(
        &self,
        identity: Identity,
        request: pb::RangeRequest,
    ) -> impl Future<Output = Result<pb::RangeResponse, Error>> + Send;

    /// A transaction that only reads; linearizable unless every range in it is serializable.
    fn read_txn(
        &self,
        identity: Identity,
        request: pb::TxnRequest,
    ) -> impl Future<Output = Result<pb::TxnResponse, Error>> + Send;

    /// Returns once this node has applied everything that was committed anywhere in the
    /// cluster when the call began (ReadIndex, Raft dissertation section 6.4).
    fn barrier(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Renews a lease with the leader; answers its full TTL in seconds, 0 if there is no such lease.
    fn keep_alive(&self, lease: i64) -> impl Future<Output = Result<i64, Error>> + Send;

    /// What is left of a lease, from the leader. `LeaseNotFound` if there is none.
    fn time_to_live(
        &self,
        lease: i64,
        keys: bool,
    ) -> impl Future<Output = Result<LeaseLeft, Error>> + Send;

    /// Every lease, in order of id.
    fn leases(&self) -> impl Future<Output = Result<Vec<i64>, Error>> + Send;

    /// Opens a stream of watches. `identity` is checked for each watch.
    fn watch(&self, identity: Identity) -> Self::Watches;

    /// Checks a password, opens a session in the log and answers its bearer token.
    fn authenticate(
        &self,
        name: String,
        password: String,
    ) -> impl Future<Output = Result<String, Error>> + Send;

    /// Hashes a password for `user_add` and `user_change_password`, away from the threads that
    /// serve requests.
    fn hash_password(&self, password: String)
    -> impl Future<Output = Result<String, Error>> + Send;

    /// While authentication is on, refuses whoever may not read (`write`: may not write) every
    /// key that is attached to a lease. A lease without keys, or none, is nobody's secret.
    fn permit_lease(&self, identity: &Identity, lease: i64, write: bool) -> Result<(), Error>;

    /// The identity behind a bearer token.
    fn identify_token(&self, token: &str) -> Result<Identity, Error>;

    /// The identity behind a client certificate's common name: `PermissionDenied` where there
    /// is no such user (any more). No right is checked yet.
    fn identify_certificate(&self, common_name: &str) -> Result<Identity, Error>;

    /// Whether authentication is on, and the auth revision.
    fn auth_status(&self) -> (bool, u64);

    /// Refuses anybody but a holder of the root role, while authentication is on.
    fn require_admin(&self, identity: &Identity) -> Result<(), Error>;

    /// Refuses who lacks the right on a key (empty `range_end`) or range, while authentication
    /// is on. For what is no read or write of keys, but goes by the rights on some.
    fn permit(
        &self,
        identity: &Identity,
        need: Need,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Error>;

    /// What somebody asks to have done as a part of a write to both keyspaces, if that one has
    /// the rights now: whose it is, and what it is. The rights are asked for again when it is
    /// done. `ReservedKey` for keys of the cluster, `NotCapable` as long as some member does not
    /// know such writes; and as for a transaction of etcd's.
    fn part(&self, identity: &Identity, txn: pb::TxnRequest) -> Result<Part, Error>;

    /// A user's roles. `UserNotFound` if there is no such user.
    fn user(&self, identity: &Identity, name: &str) -> Result<Vec<String>, Error>;

    /// Every user's name, in order.
    fn users(&self, identity: &Identity) -> Result<Vec<String>, Error>;

    /// A role's permissions. `RoleNotFound` if there is no such role.
    fn role(&self, identity: &Identity, name: &str) -> Result<Vec<authpb::Permission>, Error>;

    /// Every role's name, in order.
    fn roles(&self, identity: &Identity) -> Result<Vec<String>, Error>;

    /// Where the cluster stands, as this node knows it.
    fn status(&self) -> Status;

    /// This node's certificates and the cluster's authority; none where nodes do without, as
    /// in a simulation.
    fn keyring(&self) -> Option<Arc<Keyring>>;

    /// Every member, in order of id, as this node knows them.
    fn members(&self) -> Vec<Member>;

    /// Adds a member that has not started yet, as a learner, under a new id.
    fn member_add(
        &self,
        peer_urls: Vec<String>,
    ) -> impl Future<Output = Result<Member, Error>> + Send;

    /// Removes a member.
    fn member_remove(&self, node: NodeId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Changes where a member is reached.
    fn member_update(
        &self,
        node: NodeId,
        peer_urls: Vec<String>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes a learner that has caught up a voter.
    fn member_promote(&self, node: NodeId) -> impl Future<Output = Result<(), Error>> + Send;

    /// Hands leadership over.
    fn move_leader(&self, to: NodeId) -> impl Future<Output = Result<(), Error>> + Send;

    /// CRC32C over every revision of the users' keyspace up to `revision` (0: the newest),
    /// with the compact revision it starts above. Equal on every member.
    fn hash_kv(&self, revision: Revision) -> impl Future<Output = Result<HashKv, Error>> + Send;

    /// Gives back this node's space of what was compacted, and returns when it is back.
    /// Nobody's reads or writes wait for it. It goes on when the caller goes away.
    fn defragment(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// A consistent copy of the whole state, as a stream of bytes that
    /// `atoll snapshot restore` accepts.
    fn snapshot(&self) -> impl Future<Output = Result<SnapshotStream, Error>> + Send;
}

/// The result of [`ControlApi::hash_kv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC32C over the revisions.
    pub hash: u32,
    /// Revisions up to this one are compacted and not part of the hash.
    pub compact_revision: Revision,
    /// The hash covers revisions up to this one.
    pub hash_revision: Revision,
}

/// A snapshot on its way to a client.
pub struct SnapshotStream {
    /// About how large the whole is, in bytes: nobody reads a store twice to count it.
    pub estimated_bytes: u64,
    /// The content, in order. An empty chunk is the last one; without it, it is not whole.
    pub chunks: tokio::sync::mpsc::Receiver<Result<bytes::Bytes, Error>>,
}
