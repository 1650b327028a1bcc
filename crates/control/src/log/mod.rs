//! The replicated log: openraft, hidden behind this module.
//!
//! What flows through: encoded batches of commands go in at the leader ([`Log::propose`]);
//! every node hands the committed ones, in the same order, to its [`machine::Replica`].
//! Reads ask for an index to wait for ([`Log::read_index`]).
//!
//! Invariants (Raft, Ongaro and Ousterhout 2014, figure 3): one leader a term, logs agree
//! where they overlap, what is committed stays. An entry counts as written only once the
//! journal has synced it.

pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod serve;
pub(crate) mod snapshot;
pub mod storage;
pub(crate) mod types;

use std::{
    collections::BTreeMap,
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{clock, peers::Peers, task, watch};
use bytes::Bytes;
use openraft::{
    ChangeMembers, Config, ReadPolicy, ServerState, SnapshotPolicy,
    async_runtime::WatchReceiver as _,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    impls::ProgressResponder,
};

use self::{
    machine::{Machine, Replica},
    snapshot::SnapshotReceiver,
    storage::LogStore,
    types::{BatchBytes, Members, Types, Vote},
};
use crate::proto::raft as pb;

/// Told once, with the reason, when this node cannot go on.
pub(crate) type Fatal = Arc<dyn Fn(String) + Send + Sync>;

pub(crate) type Raft = openraft::Raft<Types, Machine>;

/// Who leads, as this node knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The newest term this node has seen.
    pub(crate) term: u64,
    /// Who leads in it, if that is known.
    pub(crate) leader: Option<NodeId>,
    /// This node does.
    pub(crate) leads: bool,
    /// This node has no vote.
    pub(crate) learner: bool,
}

/// What a majority has confirmed of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadIndex {
    /// In which term it leads.
    pub(crate) term: u64,
    /// Up to which entry everything may be committed by now.
    pub(crate) index: u64,
}

/// How far the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Index of the last entry.
    pub(crate) last_index: u64,
    /// Index of the last entry known to be committed.
    pub(crate) committed_index: u64,
}

/// Timers and limits of the log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How often a leader says that it lives.
    pub heartbeat: Duration,
    /// A follower that heard nothing for this long, at the least, stands for election.
    pub election_min: Duration,
    /// The same, at the most: each follower draws from between, anew each time.
    pub election_max: Duration,
    /// A snapshot is taken every this many entries.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, so that a follower which was away briefly needs none.
    pub kept_entries: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(250),
            election_max: Duration::from_millis(380),
            snapshot_entries: 10_000,
            kept_entries: 5_000,
        }
    }
}

/// Why the log did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// Another node leads, or none does.
    #[error("this node does not lead")]
    NotLeader,
    /// Another change of membership is under way, or this leader has not committed anything yet.
    #[error("the membership cannot be changed yet: {0}")]
    Busy(String),
    /// The change of membership is not possible.
    #[error("the membership cannot be changed so: {0}")]
    Membership(String),
    /// The log has stopped, for good; the cause was logged when it happened.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

impl LogError {
    fn from_write(error: RaftError<Types, ClientWriteError<Types>>) -> Self {
        match error {
            RaftError::Fatal(fatal) => LogError::Stopped(fatal.to_string()),
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => LogError::NotLeader,
            RaftError::APIError(ClientWriteError::ChangeMembershipError(
                busy @ (ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_)),
            )) => LogError::Busy(busy.to_string()),
            RaftError::APIError(other) => LogError::Membership(other.to_string()),
        }
    }
}

/// The log on this node. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    node: NodeId,
    raft: Raft,
    store: LogStore,
    leadership: watch::Receiver<Leadership>,
    membership: watch::Receiver<Members>,
    stopping: Arc<AtomicBool>,
}

impl Log {
    /// Starts the log: recovers what is on disk and begins to answer peers. `fatal` is called
    /// when the log ends without having been asked to.
    ///
    /// # Errors
    /// The settings contradict each other, or the log cannot be read.
    pub(crate) async fn start(
        node: NodeId,
        settings: &LogSettings,
        peers: Arc<dyn Peers>,
        store: LogStore,
        replica: Arc<dyn Replica>,
        snapshots: Arc<SnapshotReceiver>,
        fatal: Fatal,
    ) -> Result<Log, LogError> {
        let config = raft_config(settings)
            .validate()
            .map_err(|error| LogError::Stopped(error.to_string()))?;
        let network = network::Network {
            peers: peers.clone(),
        };
        let raft = Raft::new(
            node.0,
            Arc::new(config),
            network,
            store.clone(),
            Machine { replica },
        )
        .await
        .map_err(|fatal| LogError::Stopped(fatal.to_string()))?;
        serve::serve(&*peers, raft.clone(), store.clone(), snapshots);
        let stopping = Arc::new(AtomicBool::new(false));
        let (leadership, membership) = follow(node, &raft, stopping.clone(), fatal);
        Ok(Log {
            node,
            raft,
            store,
            leadership,
            membership,
            stopping,
        })
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Makes a cluster of this node alone. Does nothing if the log is not empty.
    pub(crate) async fn found(&self, member: pb::Node) -> Result<(), LogError> {
        let empty = !self
            .raft
            .is_initialized()
            .await
            .map_err(|fatal| LogError::Stopped(fatal.to_string()))?;
        if empty {
            let members = BTreeMap::from([(self.node.0, member)]);
            self.raft
                .initialize(members)
                .await
                .map_err(|error| LogError::Membership(error.to_string()))?;
        }
        Ok(())
    }

    /// Hands a batch to the log, if a term is given only in that one. The future answers once the
    /// batch is applied here, or once it is known that this node cannot do it; it says nothing
    /// certain about the batch then.
    pub(crate) async fn propose(
        &self,
        batch: Bytes,
        term: Option<u64>,
    ) -> Result<impl Future<Output = Result<(), LogError>> + Send + use<>, LogError> {
        let (responder, answer) = ProgressResponder::complete_only();
        let mut write = self.raft.write(BatchBytes(batch)).responder(responder);
        if let Some(term) = term {
            write = write.with_leader(term);
        }
        write
            .await
            .map_err(|fatal| LogError::Stopped(fatal.to_string()))?;
        Ok(async move {
            match answer.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(ClientWriteError::ForwardToLeader(_))) | Err(_) => Err(LogError::NotLeader),
                Ok(Err(other)) => Err(LogError::Membership(other.to_string())),
            }
        })
    }

    /// Confirms with a majority that this node leads, and answers in which term, and the index up
    /// to which a reader has to wait (ReadIndex, Raft dissertation section 6.4).
    pub(crate) async fn read_index(&self) -> Result<ReadIndex, LogError> {
        match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            // A leader's first entry is at or before it.
            Ok((read, _applied)) => Ok(ReadIndex {
                term: read.log_id().leader_id.term,
                index: read.log_id().index,
            }),
            Err(RaftError::Fatal(fatal)) => Err(LogError::Stopped(fatal.to_string())),
            Err(RaftError::APIError(_)) => Err(LogError::NotLeader),
        }
    }

    /// Who leads; changes wake whoever waits.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// How far the log is.
    pub(crate) fn progress(&self) -> Progress {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        Progress {
            last_index: metrics.last_log_index.unwrap_or(0),
            committed_index: metrics.local_committed.as_ref().map_or(0, |id| id.index),
        }
    }

    /// The newest membership in the log, committed or not.
    pub(crate) fn members(&self) -> Members {
        self.membership.borrow().clone()
    }

    /// The same; changes wake whoever waits.
    pub(crate) fn membership(&self) -> watch::Receiver<Members> {
        self.membership.clone()
    }

    /// Whether this node has no vote.
    pub(crate) fn is_learner(&self) -> bool {
        self.leadership.borrow().learner
    }

    /// On the leader: the index up to which each other member is known to have the log.
    pub(crate) fn matched(&self) -> BTreeMap<NodeId, u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.iter().flatten();
        replication
            .map(|(node, id)| (NodeId(*node), id.as_ref().map_or(0, |id| id.index)))
            .collect()
    }

    /// Bytes that the journal takes on disk.
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.store.bytes()
    }

    /// Takes in a member that copies the log without a vote.
    pub(crate) async fn add_learner(&self, node: NodeId, member: pb::Node) -> Result<(), LogError> {
        self.raft
            .add_learner(node.0, member, false)
            .await
            .map(drop)
            .map_err(LogError::from_write)
    }

    /// Gives learners a vote, in one joint step.
    pub(crate) async fn promote(&self, nodes: BTreeSet<NodeId>) -> Result<(), LogError> {
        let nodes = nodes.into_iter().map(|node| node.0).collect();
        self.change(ChangeMembers::AddVoterIds(nodes), true).await
    }

    /// Removes a member, voter or learner.
    pub(crate) async fn remove(&self, node: NodeId, voter: bool) -> Result<(), LogError> {
        let nodes = BTreeSet::from([node.0]);
        let change = if voter {
            ChangeMembers::RemoveVoters(nodes)
        } else {
            ChangeMembers::RemoveNodes(nodes)
        };
        self.change(change, false).await
    }

    /// Changes how a member is reached.
    pub(crate) async fn update(&self, node: NodeId, member: pb::Node) -> Result<(), LogError> {
        self.change(
            ChangeMembers::SetNodes(BTreeMap::from([(node.0, member)])),
            true,
        )
        .await
    }

    async fn change(
        &self,
        change: ChangeMembers<u64, pb::Node>,
        retain: bool,
    ) -> Result<(), LogError> {
        self.raft
            .change_membership(change, retain)
            .await
            .map(drop)
            .map_err(LogError::from_write)
    }

    /// Hands leadership to another voter; answers when somebody else leads or `patience` is over.
    pub(crate) async fn transfer_leader(
        &self,
        to: NodeId,
        patience: Duration,
    ) -> Result<(), LogError> {
        self.raft
            .trigger()
            .transfer_leader(to.0)
            .await
            .map_err(|fatal| LogError::Stopped(fatal.to_string()))?;
        let mut leadership = self.leadership();
        let changed = leadership.wait_for(|now| now.leader == Some(to));
        match clock::timeout(patience, changed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(LogError::Stopped(
                "nobody follows leadership any more".into(),
            )),
            Err(_) => Err(LogError::Membership(format!(
                "node {to} did not take over within {patience:?}"
            ))),
        }
    }

    /// Stops the log; what was acknowledged is on disk already.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the log did not stop in order");
        }
    }
}

/// Keeps plain views of who leads and who belongs, which change only when that does.
fn follow(
    node: NodeId,
    raft: &Raft,
    stopping: Arc<AtomicBool>,
    fatal: Fatal,
) -> (watch::Receiver<Leadership>, watch::Receiver<Members>) {
    let (sender, leadership) = watch::channel(Leadership::default());
    let (members_sender, membership) = watch::channel(Members::default());
    let mut metrics = raft.server_metrics();
    task::spawn(async move {
        loop {
            let (now, members) = {
                let metrics = metrics.borrow_and_update();
                let members = metrics.membership_config.membership().clone();
                let leader = leader_in(&metrics.vote, metrics.current_leader);
                let now = Leadership {
                    term: metrics.vote.leader_id.term,
                    leader,
                    leads: metrics.state == ServerState::Leader && leader == Some(node),
                    learner: !metrics
                        .membership_config
                        .membership()
                        .voter_ids()
                        .any(|id| id == node.0),
                };
                (now, members)
            };
            members_sender.send_if_modified(|known| {
                let changed = *known != members;
                *known = members;
                changed
            });
            sender.send_if_modified(|known| std::mem::replace(known, now) != now);
            if metrics.changed().await.is_err() {
                // The core ends by itself only when its disk or its state failed it; a node
                // without a log would look alive and answer nothing.
                if !stopping.load(Ordering::SeqCst) {
                    fatal("the replicated log has stopped; the cause was logged before".into());
                }
                return;
            }
        }
    });
    (leadership, membership)
}

/// Who leads in a vote's term, if that is known. The library tells the vote that is on disk, and
/// the leader of the one in memory, which may be a term further.
fn leader_in(on_disk: &Vote, current: Option<u64>) -> Option<NodeId> {
    let known = on_disk.committed.then_some(on_disk.leader_id.voted_for);
    current.filter(|it| known == Some(*it)).map(NodeId)
}

fn raft_config(settings: &LogSettings) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // openraft holds back for a lease, as long as the longest timeout, before a drawn timeout
    // counts: half of the longest silence is lease. A fifth of it is for the draw, so that two nodes
    // seldom stand at once.
    let silence_max = millis(settings.election_max);
    let lease = silence_max / 2;
    let timeout_min = millis(settings.election_min).saturating_sub(lease);
    Config {
        cluster_name: "atoll".into(),
        heartbeat_interval: millis(settings.heartbeat),
        election_timeout_min: timeout_min.max(lease * 3 / 5),
        election_timeout_max: lease,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_entries),
        max_in_snapshot_log_to_keep: settings.kept_entries,
        // Purging rewrites the vote; often enough that journals stay small, seldom enough
        // that it costs nothing.
        purge_batch_size: (settings.kept_entries / 4).max(1),
        replication_lag_threshold: settings.snapshot_entries + settings.kept_entries,
        // Entries are batches already; larger messages only make heartbeats wait.
        max_payload_entries: 64,
        enable_pre_vote: Some(true),
        // The state on disk may lag what was acknowledged, so leading begins with an election.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        broadcast_submitted_on_append: Some(true),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use openraft::impls::leader_id_std::LeaderId;

    use super::*;

    #[test]
    fn a_leader_is_told_of_the_term_that_it_leads_in() {
        let vote = |term, voted_for, committed| Vote {
            leader_id: LeaderId { term, voted_for },
            committed,
        };
        let table = [
            (vote(8, 3, true), Some(3), Some(3)),
            // The vote of the term after it is not on disk yet.
            (vote(8, 3, true), Some(2), None),
            (vote(9, 2, false), Some(2), None),
            (vote(9, 2, true), Some(2), Some(2)),
            (vote(9, 2, true), None, None),
        ];
        for (on_disk, current, leader) in table {
            assert_eq!(
                leader_in(&on_disk, current),
                leader.map(NodeId),
                "{on_disk}"
            );
        }
    }
}
