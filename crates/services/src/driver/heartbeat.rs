//! Agents tell the leader that they are there, once a second, and nothing is written for it. The
//! answer renews the lease under which an agent lets its pods run; the silence is what the leader
//! judges nodes by ([`crate::core::nodes`]).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use atoll_world::{
    clock,
    peers::{Handler, Peers, Reply, Service},
    task,
    workload::lease,
};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::core::nodes::{HEARTBEAT_MS, LEASE_MS, SOLE_LEASE_MS, Silence};

/// Heartbeats between nodes: the name of the agent's Node; answered `1` by the leader.
const SERVICE: Service = Service(56);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_millis(HEARTBEAT_MS);
/// How soon it is asked again when there was none.
const AGAIN: Duration = Duration::from_millis(HEARTBEAT_MS / 4);
/// The longest name that is taken, in bytes.
const NAME_BYTES_MAX: usize = 253;
/// So many names are remembered: more than any cluster has nodes.
const NAMES_MAX: usize = 20_000;
/// What the leader answers.
const HEARD: &[u8] = b"1";

/// Who was heard when, on the node that leads.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Ears>>);

#[derive(Default)]
struct Ears {
    /// Since when this node leads; none if it does not.
    since: Option<clock::Instant>,
    last: BTreeMap<String, clock::Instant>,
}

impl Heard {
    /// This node leads from now on, and has heard nobody.
    pub(crate) fn begin(&self) {
        *self.0.lock() = Ears {
            since: Some(clock::now()),
            last: BTreeMap::new(),
        };
    }

    /// It leads no more.
    pub(crate) fn end(&self) {
        *self.0.lock() = Ears::default();
    }

    /// Notes that an agent is there; whether this node leads.
    pub(crate) fn hear(&self, name: &str) -> bool {
        let mut ears = self.0.lock();
        if ears.since.is_none() || name.len() > NAME_BYTES_MAX {
            return false;
        }
        if ears.last.len() < NAMES_MAX || ears.last.contains_key(name) {
            ears.last.insert(name.to_owned(), clock::now());
        }
        true
    }

    /// For how long each agent has been silent, and for how long those who were never heard.
    pub(crate) fn silence(&self) -> (Silence, u64) {
        let ears = self.0.lock();
        let now = clock::now();
        let ms = |at: clock::Instant| {
            u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX)
        };
        let silence = ears.last.iter().map(|(name, at)| (name.clone(), ms(*at)));
        (silence.collect(), ears.since.map_or(0, ms))
    }
}

struct Ear(Heard);

impl Handler for Ear {
    fn handle(&self, _: NodeId, payload: Bytes, reply: Reply) {
        let is_heard = std::str::from_utf8(&payload).is_ok_and(|name| self.0.hear(name));
        reply.send(match is_heard {
            true => Bytes::from_static(HEARD),
            false => Bytes::new(),
        });
    }
}

/// Begins to hear other nodes' agents.
pub(crate) fn listen(peers: &Arc<dyn Peers>, heard: Heard) {
    peers.serve(SERVICE, Arc::new(Ear(heard)));
}

/// An agent's side.
pub(crate) struct Heart<C> {
    pub(crate) control: C,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) node: NodeId,
    pub(crate) heard: Heard,
    /// The name of the agent's Node.
    pub(crate) name: String,
    /// The file by which programs know how long they may run.
    pub(crate) lease: PathBuf,
}

impl<C: ControlApi> Heart<C> {
    /// Tells the leader that this agent is there; until when the lease runs then. None if nobody
    /// answered. How long to wait before the next time.
    pub(crate) async fn beat(&self) -> (Option<clock::Instant>, Duration) {
        let (asked, asked_boot) = (clock::now(), lease::now());
        match clock::timeout(ANSWER_MAX, self.is_heard()).await {
            Ok(true) if self.renew(asked_boot).await => {
                let until = asked + Duration::from_millis(LEASE_MS);
                (Some(until), Duration::from_millis(HEARTBEAT_MS))
            }
            _ => (None, AGAIN),
        }
    }

    /// Tells the programs' shims how long they may let them run, should this process not live to
    /// end them: that they know is what others rely on.
    async fn renew(&self, asked: Duration) -> bool {
        let file = self.lease.clone();
        let lasts_ms = match self.control.members().len() {
            1 => SOLE_LEASE_MS,
            _ => LEASE_MS,
        };
        let until = asked + Duration::from_millis(lasts_ms);
        match task::blocking(move || lease::renew_until(&file, until)).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the lease of this node's pods can't be written, so they are stopped when it ends");
                false
            }
        }
    }

    async fn is_heard(&self) -> bool {
        let Some(leader) = self.control.standing().leader else {
            return false;
        };
        if leader == self.node {
            return self.heard.hear(&self.name);
        }
        let payload = Bytes::from(self.name.clone());
        let answer = self.peers.call(leader, SERVICE, payload).await;
        answer.is_ok_and(|answer| answer == HEARD)
    }
}
