//! The control plane on one node, put together.

mod calls;
mod settings;

pub use self::settings::{AutoCompaction, Place, Settings, StartError};

use std::sync::Arc;

use atoll_base::id::{ClusterId, NodeId};
use atoll_world::{pki::Keyring, task};

use super::{
    barrier::Barrier,
    flush,
    generations::Generations,
    housekeeping,
    leases::LeaseKeeper,
    level,
    logins::Logins,
    members::Members,
    passwords::Verified,
    propose::{Proposer, Waiters},
    reclaim::Reclaimer,
    replica::Replicated,
    services,
};
use crate::{
    api::ControlApi,
    core::{
        error::Error,
        lease::ttl_min_s,
        level::{FeatureLevel, LevelError, LevelRange},
    },
    log::{Log, Progress, machine::Replica as _, snapshot::SnapshotReceiver, storage},
    proto::raft::{self, member_request::Change},
};

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
    verified: Verified,
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
            verified: Verified::default(),
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
}
