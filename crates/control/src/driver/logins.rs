//! Logins end when nobody uses them, as etcd's simple tokens do.
//!
//! Which logins there are is replicated; when each was used last is not. Every node tells the
//! leader from time to time which were used there; the leader counts from when it heard, and
//! ends by an entry of the log those it did not hear of for long. So a login never ends before
//! its time, and at the latest a third after it. A new leader counts from its election.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{
    clock::{self, Instant},
    peers::Peers,
};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;

use super::{propose::Proposer, replica::Replicated, services::LOGINS};
use crate::{
    core::{
        level::FeatureLevel,
        session::{Digest, SESSIONS_MAX},
    },
    log::Log,
    proto::{
        internal::{SessionsEnd, command::Op},
        raft as pb,
    },
};

/// Nodes report so many times within a login's time.
const REPORTS: u32 = 10;

/// Logins in one report, or in one entry that ends them.
const BATCH_MAX: usize = 1_000;

/// How long the leader may take to hear a report; after that it is told again with the next.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// When logins were used, at the leader, and what to tell it, everywhere.
pub(crate) struct Logins {
    log: Log,
    peers: Arc<dyn Peers>,
    replica: Arc<Replicated>,
    proposer: Proposer,
    /// How long a login lasts that nobody uses; none is for ever.
    ttl: Option<Duration>,
    /// Used here since the last report.
    used: Mutex<BTreeSet<Digest>>,
    seen: Mutex<Seen>,
}

/// When each login was used last, as the leader heard it.
#[derive(Default)]
struct Seen(BTreeMap<Digest, Instant>);

impl Seen {
    fn used(&mut self, digests: impl IntoIterator<Item = Digest>, now: Instant) {
        for digest in digests {
            if let Some(last) = self.0.get_mut(&digest) {
                *last = now;
            }
        }
    }

    /// Takes in which logins there are; answers those that were not used for `idle`.
    fn idle(&mut self, sessions: Vec<Digest>, idle: Duration, now: Instant) -> Vec<Digest> {
        let known = std::mem::take(&mut self.0);
        let last = |digest: Digest| (digest, known.get(&digest).copied().unwrap_or(now));
        self.0 = sessions.into_iter().map(last).collect();
        let ended = self.0.iter().filter(|(_, last)| now - **last >= idle);
        ended.map(|(digest, _)| *digest).collect()
    }
}

impl Logins {
    pub(crate) fn new(
        log: Log,
        peers: Arc<dyn Peers>,
        replica: Arc<Replicated>,
        proposer: Proposer,
        ttl: Option<Duration>,
    ) -> Arc<Self> {
        Arc::new(Logins {
            log,
            peers,
            replica,
            proposer,
            ttl,
            used: Mutex::default(),
            seen: Mutex::default(),
        })
    }

    /// A login that there is was used here.
    pub(crate) fn used(&self, digest: Digest) {
        if self.ttl.is_some() {
            let mut used = self.used.lock();
            if used.len() < SESSIONS_MAX {
                used.insert(digest);
            }
        }
    }

    /// Another node tells which were used there.
    pub(crate) fn heard(&self, report: pb::LoginsUsed) -> pb::LoginsUsedAck {
        let accepted = self.log.leadership().borrow().leads;
        if accepted {
            let digests = report.token_sha256.iter();
            let digests = digests.filter_map(|digest| Digest::try_from(&digest[..]).ok());
            self.seen.lock().used(digests, clock::now());
        }
        pb::LoginsUsedAck { accepted }
    }

    /// Reports, and ends logins while this node leads.
    pub(crate) async fn run(self: Arc<Self>) {
        let Some(ttl) = self.ttl else { return };
        let interval = ttl / REPORTS;
        // Beyond its time a use may be two reports old: one that is not sent yet, one under way.
        let idle = ttl + interval * 2;
        let mut led_in = None;
        loop {
            clock::sleep(interval).await;
            let leadership = *self.log.leadership().borrow();
            let leads_in = leadership.leads.then_some(leadership.term);
            if std::mem::replace(&mut led_in, leads_in) != leads_in {
                // What was used meanwhile others have heard.
                self.seen.lock().0.clear();
            }
            if let Some(leader) = leadership.leader {
                self.report(leader).await;
            }
            if let Some(term) = leads_in {
                self.end_idle(term, idle).await;
            }
        }
    }

    async fn report(&self, leader: NodeId) {
        let used: Vec<Digest> = std::mem::take(&mut *self.used.lock()).into_iter().collect();
        for batch in used.chunks(BATCH_MAX) {
            let report = pb::LoginsUsed {
                token_sha256: batch.iter().map(|it| Bytes::copy_from_slice(it)).collect(),
            };
            if !self.tell(leader, report).await {
                // Told again next time, to whoever leads then.
                self.used.lock().extend(batch);
            }
        }
    }

    async fn tell(&self, leader: NodeId, report: pb::LoginsUsed) -> bool {
        if leader == self.log.node() {
            return self.heard(report).accepted;
        }
        let call = self
            .peers
            .call(leader, LOGINS, report.encode_to_vec().into());
        match clock::timeout(REPORT_TIMEOUT, call).await {
            Ok(Ok(bytes)) => pb::LoginsUsedAck::decode(bytes).is_ok_and(|ack| ack.accepted),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    async fn end_idle(&self, term: u64, idle: Duration) {
        let sessions = self
            .replica
            .with(|machine| machine.auth().sessions().collect());
        let ended = self.seen.lock().idle(sessions, idle, clock::now());
        if self.replica.feature_level() < FeatureLevel::ENDS_LOGINS {
            return;
        }
        for batch in ended.chunks(BATCH_MAX) {
            let op = Op::SessionsEnd(SessionsEnd {
                token_sha256: batch.iter().map(|it| Bytes::copy_from_slice(it)).collect(),
            });
            if let Err(error) = self.proposer.propose_in(term, op).await {
                tracing::debug!(%error, "unused logins were not ended; tried again soon");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn a_login_ends_when_it_was_not_used_for_long() {
        let mut seen = Seen::default();
        let [a, b] = [[1; 32], [2; 32]];
        let both = || vec![a, b];
        assert!(
            seen.idle(both(), IDLE, clock::now()).is_empty(),
            "counts from now"
        );
        clock::sleep(IDLE / 2).await;
        seen.used([b, [3; 32]], clock::now());
        clock::sleep(IDLE / 2).await;
        assert_eq!(seen.idle(both(), IDLE, clock::now()), [a]);
        assert_eq!(
            seen.idle(both(), IDLE, clock::now()),
            [a],
            "until it is gone"
        );
        clock::sleep(IDLE / 2).await;
        assert_eq!(seen.idle(vec![b], IDLE, clock::now()), [b]);
        assert!(seen.idle(vec![], IDLE, clock::now()).is_empty());
        assert!(seen.0.is_empty(), "what there is not is not kept");
    }
}
