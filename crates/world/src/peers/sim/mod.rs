//! Simulated links: what the real ones do, on virtual time, with faults from a seed.
//!
//! A call travels on its pair's connection, is delivered in order after a drawn delay, and
//! its answer travels back likewise. What the network does to a connection is what it does
//! to TCP: a message is never lost or doubled on it, but the connection may break, and then
//! everything that was pending fails, acted upon or not; a cut is silent, holds messages back
//! until it heals, and breaks the connection if it lasts. The network is no part of a node:
//! what a node sent before it crashed still arrives.
//!
//! Requests are handled in the task group in which the receiving node asked for its links,
//! so that what they spawn dies with that node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::NodeId;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Answer, Handler, PAYLOAD_BYTES_MAX, PeerError, Peers, Service};
use crate::{clock, random, random::Stream, task::Group};
use connection::Connection;

mod connection;
#[cfg(test)]
mod tests;

/// How a link treats what is sent on it, in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// The shortest and the longest time that a message travels.
    pub delay: (Duration, Duration),
    /// The chance that a message is lost for good, which breaks its connection.
    pub loss: f64,
    /// The chance that a message which was under way when its connection broke arrives all
    /// the same: after later ones, and beside its repetition on the next connection.
    pub late: f64,
    /// How long a cut may last, at least and at most, before it breaks a connection on which
    /// something was sent.
    pub cut_breaks_after: (Duration, Duration),
}

impl Default for Faults {
    /// A healthy local network.
    fn default() -> Self {
        Faults {
            delay: (Duration::from_micros(100), Duration::from_micros(500)),
            loss: 0.0,
            late: 0.0,
            cut_breaks_after: (Duration::from_secs(2), Duration::from_secs(4)),
        }
    }
}

/// A simulated network. Clones are the same network.
#[derive(Clone)]
pub struct SimNet(Arc<Net>);

struct Net {
    state: Mutex<State>,
    /// A cut was made or healed.
    cuts_changed: Notify,
}

struct State {
    random: Stream,
    faults: Faults,
    link_faults: BTreeMap<Way, Faults>,
    cuts: BTreeSet<Way>,
    nodes: BTreeMap<NodeId, SimNode>,
    connections: BTreeMap<Way, Arc<Connection>>,
    lives: u64,
    fingerprint: u64,
    /// When the first delivery was.
    started: Option<clock::Instant>,
}

/// From whom to whom.
type Way = (NodeId, NodeId);

struct SimNode {
    life: u64,
    is_up: bool,
    group: Option<Group>,
    members: BTreeSet<NodeId>,
    handlers: BTreeMap<Service, Arc<dyn Handler>>,
}

impl SimNet {
    /// A healthy network without nodes.
    pub fn new(seed: u64) -> SimNet {
        SimNet(Arc::new(Net {
            state: Mutex::new(State {
                random: Stream::new(seed),
                faults: Faults::default(),
                link_faults: BTreeMap::new(),
                cuts: BTreeSet::new(),
                nodes: BTreeMap::new(),
                connections: BTreeMap::new(),
                lives: 0,
                fingerprint: seed,
                started: None,
            }),
            cuts_changed: Notify::new(),
        }))
    }

    /// The links of a node that starts now, in the task group of the caller if it has one.
    /// It knows no other node and serves nothing yet. Links of an earlier life are dead.
    pub fn peers(&self, node: NodeId) -> Arc<dyn Peers> {
        self.crash(node);
        let mut state = self.0.state.lock();
        state.lives += 1;
        let life = state.lives;
        let group = Group::current();
        let (members, handlers) = (BTreeSet::new(), BTreeMap::new());
        state.nodes.insert(
            node,
            SimNode {
                life,
                is_up: true,
                group,
                members,
                handlers,
            },
        );
        Arc::new(SimPeers {
            net: self.0.clone(),
            node,
            life,
        })
    }

    /// How all links behave, except those with their own faults.
    pub fn set_faults(&self, faults: Faults) {
        self.0.state.lock().faults = faults;
    }

    /// How one link behaves, in one direction; `None`: as all.
    pub fn set_link_faults(&self, from: NodeId, to: NodeId, faults: Option<Faults>) {
        let mut state = self.0.state.lock();
        match faults {
            Some(faults) => state.link_faults.insert((from, to), faults),
            None => state.link_faults.remove(&(from, to)),
        };
    }

    /// Nothing gets from one node to another any more, and nobody is told.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.0.state.lock().cuts.insert((from, to));
        self.0.cuts_changed.notify_waiters();
    }

    /// Cuts a node off, in both directions.
    pub fn isolate(&self, node: NodeId) {
        let others: Vec<NodeId> = self.0.state.lock().nodes.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Cuts every node of one side off from every node of the other, in both directions.
    pub fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        for &a in one {
            for &b in other {
                self.cut(a, b);
                self.cut(b, a);
            }
        }
    }

    /// Ends one cut.
    pub fn heal_way(&self, from: NodeId, to: NodeId) {
        self.0.state.lock().cuts.remove(&(from, to));
        self.0.cuts_changed.notify_waiters();
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        self.0.state.lock().cuts.clear();
        self.0.cuts_changed.notify_waiters();
    }

    /// Breaks the connection on which one node calls another, if there is one.
    pub fn reset(&self, from: NodeId, to: NodeId) {
        let connection = self.0.state.lock().connections.get(&(from, to)).cloned();
        if let Some(connection) = connection {
            connection.break_far(&self.0, "the connection was reset");
        }
    }

    /// A node's process ends: callers find out as a reset reaches them. Its tasks are its
    /// group's matter ([`Group::kill`]).
    pub fn crash(&self, node: NodeId) {
        let mut broken = Vec::new();
        {
            let mut state = self.0.state.lock();
            if let Some(node) = state.nodes.get_mut(&node) {
                node.is_up = false;
                node.handlers.clear();
            }
            state.connections.retain(|(from, to), connection| {
                if *to == node {
                    broken.push(connection.clone());
                }
                *from != node
            });
        }
        for connection in broken {
            connection.break_far(&self.0, "the connection was reset");
        }
    }

    /// A number that sums up all deliveries so far, their times and order: runs that differ
    /// anywhere differ here.
    pub fn fingerprint(&self) -> u64 {
        self.0.state.lock().fingerprint
    }
}

impl State {
    fn faults(&self, way: Way) -> &Faults {
        self.link_faults.get(&way).unwrap_or(&self.faults)
    }

    fn draw_delay(&mut self, way: Way) -> Duration {
        let (min, max) = self.faults(way).delay;
        self.random.range(min..=max.max(min))
    }

    fn draw_cut_patience(&mut self, way: Way) -> Duration {
        let (min, max) = self.faults(way).cut_breaks_after;
        self.random.range(min..=max.max(min))
    }

    fn node(&self, node: NodeId, life: u64) -> Option<&SimNode> {
        self.nodes
            .get(&node)
            .filter(|known| known.life == life && known.is_up)
    }

    fn record(&mut self, way: Way, id: u64, what: u64, bytes: usize) {
        let now = clock::now();
        let at_ns = now
            .duration_since(*self.started.get_or_insert(now))
            .as_nanos() as u64;
        for fact in [at_ns, way.0.0, way.1.0, id, what, bytes as u64] {
            self.fingerprint = random::mix(self.fingerprint ^ fact);
        }
    }
}

impl Net {
    /// Waits while a way is cut; false if that took longer than a connection bears.
    async fn wait_through_cut(&self, way: Way) -> bool {
        let mut until = None;
        loop {
            let changed = self.cuts_changed.notified();
            {
                let mut state = self.state.lock();
                if !state.cuts.contains(&way) {
                    return true;
                }
                if until.is_none() {
                    until = Some(clock::now() + state.draw_cut_patience(way));
                }
            }
            let until = until.expect("just drawn");
            tokio::select! {
                biased;
                () = changed => {}
                () = clock::sleep_until(until) => return false,
            }
        }
    }
}

/// The links of one life of a node.
struct SimPeers {
    net: Arc<Net>,
    node: NodeId,
    life: u64,
}

impl Peers for SimPeers {
    fn call(&self, to: NodeId, service: Service, payload: Bytes) -> Answer {
        match self.try_call(to, service, payload) {
            Ok(answer) => answer,
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }

    fn set_address(&self, node: NodeId, _address: String) {
        self.with_node(|own| own.members.insert(node));
    }

    fn forget(&self, node: NodeId) {
        if self.with_node(|own| own.members.remove(&node)) != Some(true) {
            return;
        }
        let (ours, theirs) = {
            let state = self.net.state.lock();
            let find = |way| state.connections.get(&way).cloned();
            (find((self.node, node)), find((node, self.node)))
        };
        if let Some(connection) = ours {
            connection.break_near(&self.net, "the link was closed");
        }
        if let Some(connection) = theirs {
            connection.break_far(&self.net, "the other side closed the link");
        }
    }

    fn serve(&self, service: Service, handler: Arc<dyn Handler>) {
        self.with_node(|own| own.handlers.insert(service, handler));
    }
}

impl SimPeers {
    fn try_call(&self, to: NodeId, service: Service, payload: Bytes) -> Result<Answer, PeerError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PeerError::TooLarge {
                bytes: payload.len(),
            });
        }
        let connection = {
            let mut state = self.net.state.lock();
            let Some(own) = state.node(self.node, self.life) else {
                let reason = "this node has crashed".to_owned();
                return Err(PeerError::Unreachable { node: to, reason });
            };
            if !own.members.contains(&to) {
                return Err(PeerError::UnknownPeer(to));
            }
            let way = (self.node, to);
            match state.connections.get(&way) {
                Some(connection) => connection.clone(),
                None => {
                    let connection = Connection::open(&self.net, &mut state, way);
                    state.connections.insert(way, connection.clone());
                    connection
                }
            }
        };
        connection.call(&self.net, service, payload)
    }

    fn with_node<T>(&self, change: impl FnOnce(&mut SimNode) -> T) -> Option<T> {
        let mut state = self.net.state.lock();
        let own = state.nodes.get_mut(&self.node);
        own.filter(|own| own.life == self.life && own.is_up)
            .map(change)
    }
}
