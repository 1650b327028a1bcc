//! Peer links: how the nodes of one cluster reach each other.
//!
//! A message is a service number and bytes. Per pair of nodes and direction messages arrive
//! in the order in which they were sent, or not at all; every queue is bounded and fails fast
//! when full. The real links run over mutual TLS; the simulated ones over virtual
//! time.

pub mod frame;
pub mod sim;
pub mod tls;

use std::{future::Future, pin::Pin, sync::Arc};

use atoll_base::id::NodeId;
use bytes::Bytes;

/// Which room of the receiving node a message is for. Numbers are part of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service(pub u8);

/// Largest payload of one message, in bytes. Larger things are sent in pieces.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// Why a call had no answer. Whether the other side acted on it is not known, except for
/// `Full` and `UnknownPeer`, where nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No address is known for the node.
    #[error("no address is known for node {0}")]
    UnknownPeer(NodeId),
    /// The queue to the node is full.
    #[error("the queue to node {0} is full")]
    Full(NodeId),
    /// The connection could not be made, was reset or refused.
    #[error("node {node} cannot be reached: {reason}")]
    Unreachable {
        /// The node that was called.
        node: NodeId,
        /// What the connection said.
        reason: String,
    },
    /// The payload is longer than [`PAYLOAD_BYTES_MAX`].
    #[error("a message of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Length of the payload.
        bytes: usize,
    },
    /// The other side does not serve this, or dropped the request.
    #[error("node {0} did not answer this request")]
    Refused(NodeId),
}

/// The answer to a call, in time.
pub type Answer = Pin<Box<dyn Future<Output = Result<Bytes, PeerError>> + Send>>;

/// The links from this node to the others.
pub trait Peers: Send + Sync + 'static {
    /// Sends a request at once (before the returned future is first polled), so that the
    /// order of calls is the order of arrival. There is no timeout here: the caller has one.
    fn call(&self, to: NodeId, service: Service, payload: Bytes) -> Answer;

    /// Where a node is to be reached, `host:port`. Replaces what was known.
    fn set_address(&self, node: NodeId, address: String);

    /// The node is no longer a member: close its links, refuse its connections.
    fn forget(&self, node: NodeId);

    /// Who handles what arrives for a service. Set once, before traffic.
    fn serve(&self, service: Service, handler: Arc<dyn Handler>);
}

/// Handles requests of other nodes.
pub trait Handler: Send + Sync + 'static {
    /// Called in order of arrival per peer, on the link's own task: it must not block. To
    /// work longer, it moves `reply` elsewhere. A dropped `reply` tells the caller `Refused`.
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply);
}

/// Where the answer to one request goes.
pub struct Reply(Box<dyn FnOnce(Bytes) + Send>);

impl Reply {
    /// A reply that hands the bytes to `send`.
    pub fn new(send: impl FnOnce(Bytes) + Send + 'static) -> Self {
        Reply(Box::new(send))
    }

    /// Answers.
    pub fn send(self, payload: Bytes) {
        (self.0)(payload);
    }
}
