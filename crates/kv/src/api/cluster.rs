//! What cluster clients are told: which node has which slots, and where it is.

use atoll_base::id::NodeId;
use atoll_ring::slot::Slot;

/// A node, as cluster clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// The node.
    pub id: NodeId,
    /// Where cluster clients reach it: a name or an IP address, never empty.
    pub host: String,
    /// The port of its cluster listener.
    pub port: u16,
    /// Whether the node that tells can reach it.
    pub is_up: bool,
    /// Since when, in milliseconds of the wall clock.
    pub changed_ms: u64,
}

/// Slots that follow each other and are on the same nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Who is to be asked: the owner, or whoever becomes it when it is asked.
    pub owner: NodeId,
    /// The other nodes that hold replicas, in the ring's order.
    pub replicas: Vec<NodeId>,
    /// Whether a majority of all of them can be reached, the node that tells among them.
    pub is_covered: bool,
}

/// All of it, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The node that tells.
    pub own: NodeId,
    /// One higher at least with every change of who holds what.
    pub epoch: u64,
    /// The nodes that said where they are, by their ids.
    pub nodes: Vec<ClusterNode>,
    /// Every slot, in order. All nodes are among the above.
    pub ranges: Vec<SlotRange>,
}

/// Where to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A name or an IP address.
    pub host: String,
    /// The port of the cluster listener there.
    pub port: u16,
}

/// Who serves a slot's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// This node: it owns them, or nobody is known to.
    Here,
    /// Another node, though this one holds a replica.
    Replica(Redirect),
    /// Another node.
    Elsewhere(Redirect),
}

/// The cluster, as a node sees it.
pub trait ClusterMap: Send + Sync + 'static {
    /// All of it.
    fn view(&self) -> ClusterView;

    /// Who serves a slot's keys. Whoever follows redirections comes to a node that serves them
    /// after a few.
    fn route(&self, slot: Slot) -> Route;
}
