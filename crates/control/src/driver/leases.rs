//! Leases in time: the leader renews and ends them.
//!
//! Which leases there are is replicated; when they end is known to the leader alone
//! ([`Lessor`]). A renewal is answered only after a majority confirmed that this node still
//! leads: a deposed leader must not promise a client what the new one may already have ended.
//! And what a leader ends is ended in its term or not at all: the next one may have renewed it.

use std::{sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{
    clock::{self, Instant},
    peers::Peers,
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;

use super::{
    leader::{self, Patience},
    propose::Proposer,
    replica::Replicated,
    services::LEASE,
};
use crate::{
    api::LeaseLeft,
    core::{effects::LeaseChange, error::Error, lessor::Lessor},
    log::Log,
    proto::{
        etcdserverpb as etcd,
        internal::command::Op,
        raft::{self as pb, lease_response},
    },
};

/// Expired leases whose end is proposed at a time.
const EXPIRED_BATCH_MAX: usize = 256;

/// Checkpoints in one proposal.
const CHECKPOINT_BATCH_MAX: usize = 1_000;

/// How long a new leader waits before it tries again to take over the leases.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How long the leader may take to answer, and how long a request rests when nobody led. To
/// renew a lease twice is to renew it.
const PATIENCE: Patience = Patience {
    call: Duration::from_millis(500),
    rest: Duration::from_millis(20),
};

/// The leader's clockwork, and every node's way to it.
pub(crate) struct LeaseKeeper {
    lessor: Mutex<Lessor>,
    /// What the lessor's times count from.
    epoch: Instant,
    changed: Notify,
    log: Log,
    peers: Arc<dyn Peers>,
    proposer: Proposer,
    replica: Arc<Replicated>,
    /// Added to every lease by a new leader: the old one may have renewed it until it was
    /// deposed.
    extend: Duration,
    timeout: Duration,
}

impl LeaseKeeper {
    pub(crate) fn new(
        log: Log,
        peers: Arc<dyn Peers>,
        proposer: Proposer,
        replica: Arc<Replicated>,
        extend: Duration,
        timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(LeaseKeeper {
            lessor: Mutex::default(),
            epoch: clock::now(),
            changed: Notify::new(),
            log,
            peers,
            proposer,
            replica,
            extend,
            timeout,
        })
    }

    fn now(&self) -> Duration {
        clock::now() - self.epoch
    }

    /// The replica applied changes of leases.
    pub(crate) fn apply(&self, changes: &[LeaseChange]) {
        let now = self.now();
        let mut lessor = self.lessor.lock();
        for change in changes {
            match *change {
                LeaseChange::Granted { id, ttl_s } => lessor.grant(id, ttl_s, now),
                LeaseChange::Revoked { id } => lessor.revoke(id),
                LeaseChange::Checkpointed { id, remaining_s } => {
                    lessor.checkpointed(id, remaining_s, now)
                }
            }
        }
        drop(lessor);
        self.changed.notify_one();
    }

    /// Ends leases while this node leads.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut leadership = self.log.leadership();
        loop {
            let now = *leadership.borrow_and_update();
            if !now.leads {
                self.lessor.lock().demote();
                if leadership.changed().await.is_err() {
                    return;
                }
                continue;
            }
            // In another term others may have led meanwhile, unseen.
            let is_taken_over = self.lessor.lock().term() == Some(now.term);
            if !is_taken_over && !self.take_over(now.term).await {
                // Not confirmed: leadership is about to change, or will be confirmed soon.
                clock::sleep(RETRY_INTERVAL).await;
                continue;
            }
            self.end_expired(now.term).await;
            let next = self.lessor.lock().next_deadline();
            let wake = next.map(|next| self.epoch + next);
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() { return },
                () = self.changed.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Starts the clockwork, once everything that earlier leaders committed is applied here.
    async fn take_over(&self, term: u64) -> bool {
        let confirmed = self.log.read_index().await;
        let Some(confirmed) = confirmed.ok().filter(|it| it.term == term) else {
            return false;
        };
        if self.replica.wait_applied(confirmed.index).await.is_err() {
            return false;
        }
        // Under the replica's lock, so that no change falls between.
        self.replica.with(|machine| {
            self.lessor
                .lock()
                .promote(term, self.now(), self.extend, machine.leases());
        });
        true
    }

    async fn end_expired(&self, term: u64) {
        loop {
            let expired = self.lessor.lock().expired(self.now(), EXPIRED_BATCH_MAX);
            let more = expired.len() == EXPIRED_BATCH_MAX;
            let revokes = expired.into_iter().map(|id| {
                let op = Op::LeaseRevoke(etcd::LeaseRevokeRequest { id });
                self.proposer.propose_in(term, op)
            });
            for revoked in futures_util::future::join_all(revokes).await {
                // Offered again by the lessor; a lease that is gone meanwhile is no fault.
                if let Err(error) = revoked {
                    tracing::debug!(%error, "an expired lease was not revoked");
                }
            }
            if !more {
                break;
            }
        }
        let due = self
            .lessor
            .lock()
            .due_checkpoints(self.now(), CHECKPOINT_BATCH_MAX);
        if !due.is_empty() {
            self.checkpoint(term, due).await;
        }
    }

    /// Whether it is sure to be written.
    async fn checkpoint(&self, term: u64, due: Vec<(i64, i64)>) -> bool {
        let checkpoints = due
            .into_iter()
            .map(|(id, remaining_ttl)| etcd::LeaseCheckpoint { id, remaining_ttl })
            .collect();
        let op = Op::LeaseCheckpoint(etcd::LeaseCheckpointRequest { checkpoints });
        let written = self.proposer.propose_in(term, op).await;
        if let Err(error) = &written {
            tracing::debug!(%error, "leases were not checkpointed");
        }
        written.is_ok()
    }

    /// Renews a lease, wherever the leader is; answers its full time to live in seconds, 0 if
    /// there is no such lease.
    pub(crate) async fn renew(&self, lease: i64) -> Result<i64, Error> {
        let answer = self.ask(pb::LeaseRequest { lease, renew: true }).await?;
        Ok(match answer.result() {
            lease_response::Result::Found => answer.granted_ttl_seconds,
            _ => 0,
        })
    }

    /// What is left of a lease, without its keys.
    pub(crate) async fn left(&self, lease: i64) -> Result<LeaseLeft, Error> {
        let answer = self
            .ask(pb::LeaseRequest {
                lease,
                renew: false,
            })
            .await?;
        match answer.result() {
            lease_response::Result::Found => Ok(LeaseLeft {
                granted: Duration::from_secs(
                    u64::try_from(answer.granted_ttl_seconds).unwrap_or(0),
                ),
                left: Duration::from_millis(answer.left_ms),
                keys: Vec::new(),
            }),
            _ => Err(Error::LeaseNotFound),
        }
    }

    async fn ask(&self, request: pb::LeaseRequest) -> Result<pb::LeaseResponse, Error> {
        match clock::timeout(self.timeout, self.ask_leader(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn ask_leader(&self, request: pb::LeaseRequest) -> Result<pb::LeaseResponse, Error> {
        leader::ask(self.log.node(), self.log.leadership(), PATIENCE, |leader| {
            self.ask_node(leader, request)
        })
        .await
    }

    async fn ask_node(
        &self,
        leader: NodeId,
        request: pb::LeaseRequest,
    ) -> Option<pb::LeaseResponse> {
        let answer = if leader == self.log.node() {
            self.answer(request).await
        } else {
            let bytes = self
                .peers
                .call(leader, LEASE, request.encode_to_vec().into())
                .await
                .ok()?;
            pb::LeaseResponse::decode(bytes).ok()?
        };
        (answer.result() != lease_response::Result::NotLeader).then_some(answer)
    }

    /// Answers as the leader.
    pub(crate) async fn answer(&self, request: pb::LeaseRequest) -> pb::LeaseResponse {
        let not_leader = pb::LeaseResponse::default();
        let Ok(confirmed) = self.log.read_index().await else {
            return not_leader;
        };
        // The clockwork runs a moment after this node was elected.
        if self.replica.wait_applied(confirmed.index).await.is_err() {
            return not_leader;
        }
        let Some(term) = self.lessor.lock().term().filter(|it| *it == confirmed.term) else {
            return not_leader;
        };
        let none = pb::LeaseResponse {
            result: lease_response::Result::NoSuchLease.into(),
            ..not_leader
        };
        let Some(granted) = self
            .replica
            .with(|machine| machine.leases().get(request.lease).map(|lease| lease.ttl_s))
        else {
            return none;
        };
        if request.renew {
            let Some(renewed) = self.lessor.lock().renew(request.lease, self.now()) else {
                return none;
            };
            self.changed.notify_one();
            // Else the next leader would take the older one's word.
            let clears = renewed.clear_checkpoint;
            if clears && !self.checkpoint(term, vec![(request.lease, 0)]).await {
                return not_leader;
            }
        }
        let left = self
            .lessor
            .lock()
            .left(request.lease, self.now())
            .unwrap_or_default();
        pb::LeaseResponse {
            result: lease_response::Result::Found.into(),
            granted_ttl_seconds: granted,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => clock::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
