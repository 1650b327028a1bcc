//! The real links: one mutually authenticated TLS connection per pair of nodes and direction.
//!
//! Calls go out on connections that this node makes (`outbound`), and their answers come
//! back on them; what others call arrives on connections that they made (`inbound`). After
//! the handshake each side says its cluster and node in a hello; the accepting side checks
//! them against the caller's certificate and the members it knows. A connection that breaks
//! fails all its pending calls at once, and the next call makes a new one.
//!
//! Invariants: no request is handled before its sender was found to be a member of this
//! cluster; requests of one connection are handled in order; every queue is bounded by count
//! and bytes.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId};
use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};

use super::{
    Answer, Handler, PAYLOAD_BYTES_MAX, PeerError, Peers, Service,
    frame::{Frame, FrameError, Hello, Kind},
};
use crate::{net, task};

mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

/// Calls to one node that wait to be sent.
pub const QUEUE_MESSAGES_MAX: usize = 4096;
/// Their length, in bytes.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Calls to one node that wait for an answer.
pub const PENDING_CALLS_MAX: usize = 16_384;
/// Requests of one node that are being handled; more are refused.
pub const HANDLED_REQUESTS_MAX: usize = 16_384;
/// Their length, in bytes; what is larger than [`SMALL_REQUEST_BYTES`] is refused beyond it.
pub const HANDLED_BYTES_MAX: usize = 64 << 20;
/// Requests up to this length, as heartbeats are, get through while larger ones are refused.
pub const SMALL_REQUEST_BYTES: usize = 4 << 10;
/// Answers to one node that wait to be sent, in bytes; beyond it, its requests are not read.
pub const ANSWERS_BYTES_MAX: usize = 32 << 20;
/// How long connecting may take: TCP, TLS and hello.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an accepted connection may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection is dead after this long without an acknowledgement of what was sent.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
/// How long the end of a connection may take to be told to the other side.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);
/// Messages are put together into writes of about this many bytes.
const WRITE_BYTES: usize = 256 << 10;
/// Free room in a read buffer, in bytes, below which it grows.
const READ_BYTES_MIN: usize = 16 << 10;
/// Nodes whose last refusal is remembered, so that it is logged once.
const COMPLAINTS_MAX: usize = 1024;

/// What waits for other nodes; each is bounded per link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Messages that are not sent yet ([`QUEUE_MESSAGES_MAX`]).
    pub messages: usize,
    /// Their bytes ([`QUEUE_BYTES_MAX`]).
    pub bytes: usize,
    /// Calls that have no answer yet ([`PENDING_CALLS_MAX`]).
    pub calls: usize,
}

/// The links of a node to the others, over TLS. Closes with its last owner.
pub struct TlsPeers {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    me: Hello,
    tls: RwLock<Arc<ClientConfig>>,
    links: Mutex<Links>,
    handlers: RwLock<BTreeMap<Service, Arc<dyn Handler>>>,
    /// What was last logged about a node that was refused.
    complaints: Mutex<BTreeMap<NodeId, String>>,
}

#[derive(Default)]
struct Links {
    /// The members, each with the link to it.
    outbound: BTreeMap<NodeId, Arc<outbound::Outbound>>,
    /// The connection that each has made to here.
    inbound: BTreeMap<NodeId, inbound::Served>,
    accepted: u64,
    is_closed: bool,
}

impl TlsPeers {
    /// Links of `node`, which is a member of `cluster`; `tls` as made by
    /// [`peer_client_config`](crate::pki::tls::peer_client_config).
    pub fn new(node: NodeId, cluster: ClusterId, tls: Arc<ClientConfig>) -> Arc<TlsPeers> {
        Arc::new(TlsPeers {
            shared: Arc::new(Shared {
                me: Hello { cluster, node },
                tls: RwLock::new(tls),
                links: Mutex::default(),
                handlers: RwLock::default(),
                complaints: Mutex::default(),
            }),
        })
    }

    /// What later connections use, as after a renewal.
    pub fn replace_tls(&self, tls: Arc<ClientConfig>) {
        *self.shared.tls.write() = tls;
    }

    /// Serves a connection whose handshake asked for a peer link
    /// ([`Stream::is_peer_link`](net::Stream::is_peer_link)), in a task of its own.
    pub fn accept(&self, stream: net::Stream) {
        task::spawn(inbound::serve(self.shared.clone(), stream));
    }

    /// What waits for other nodes, over all links.
    pub fn waiting(&self) -> Waiting {
        let links = self.shared.links.lock();
        let mut waiting = Waiting::default();
        for link in links.outbound.values() {
            link.add_waiting(&mut waiting);
        }
        waiting
    }

    /// Ends all links. Pending calls fail; later ones say `UnknownPeer`.
    pub fn close(&self) {
        let mut links = self.shared.links.lock();
        links.is_closed = true;
        links.inbound.clear();
        for (_, link) in std::mem::take(&mut links.outbound) {
            link.close();
        }
        // Handlers hold what calls through these links.
        self.shared.handlers.write().clear();
    }
}

impl Drop for TlsPeers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Peers for TlsPeers {
    fn call(&self, to: NodeId, service: Service, payload: Bytes) -> Answer {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let bytes = payload.len();
            return Box::pin(async move { Err(PeerError::TooLarge { bytes }) });
        }
        let link = self.shared.links.lock().outbound.get(&to).cloned();
        match link {
            Some(link) => link.call(service, payload),
            None => Box::pin(async move { Err(PeerError::UnknownPeer(to)) }),
        }
    }

    fn set_address(&self, node: NodeId, address: String) {
        let mut links = self.shared.links.lock();
        if links.is_closed {
            return;
        }
        match links.outbound.get(&node) {
            Some(link) => link.set_address(address),
            None => {
                let link = outbound::Outbound::start(self.shared.clone(), node, address);
                links.outbound.insert(node, link);
            }
        }
    }

    fn forget(&self, node: NodeId) {
        let mut links = self.shared.links.lock();
        links.inbound.remove(&node);
        if let Some(link) = links.outbound.remove(&node) {
            link.close();
        }
    }

    fn serve(&self, service: Service, handler: Arc<dyn Handler>) {
        self.shared.handlers.write().insert(service, handler);
    }
}

impl Shared {
    /// Whether this is news: what was last said about the node was something else.
    fn is_new_complaint(&self, node: NodeId, reason: &str) -> bool {
        let mut complaints = self.complaints.lock();
        if complaints.get(&node).is_some_and(|last| last == reason) {
            return false;
        }
        if complaints.len() >= COMPLAINTS_MAX && !complaints.contains_key(&node) {
            complaints.clear();
        }
        complaints.insert(node, reason.to_owned());
        true
    }

    fn forgive(&self, node: NodeId) {
        self.complaints.lock().remove(&node);
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the connection was closed")]
    Closed,
    #[error("the other side closed the link: {0}")]
    Told(String),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Net(#[from] net::NetError),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("it sent a frame of kind {0:?} out of turn")]
    OutOfTurn(Kind),
    #[error("it took too long to say hello")]
    NoHello,
    #[error("node {theirs} belongs to cluster {their_cluster}, this node to {our_cluster}")]
    OtherCluster {
        theirs: NodeId,
        their_cluster: ClusterId,
        our_cluster: ClusterId,
    },
    #[error("node {0} is not a member of this cluster")]
    NotMember(NodeId),
    #[error("the certificate names node {certified}, the hello {claimed}")]
    OtherNode { certified: NodeId, claimed: NodeId },
    #[error("the certificate names no node")]
    NoNode,
}

/// Takes frames off a connection.
struct FrameReader {
    read: ReadHalf<net::Stream>,
    buffer: BytesMut,
}

impl FrameReader {
    fn new(read: ReadHalf<net::Stream>) -> Self {
        FrameReader {
            read,
            buffer: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            if let Some(frame) = Frame::decode(&mut self.buffer)? {
                if frame.kind == Kind::Closing {
                    return Err(LinkError::Told(frame.reason()));
                }
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES_MIN);
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    async fn hello(&mut self) -> Result<Hello, LinkError> {
        let frame = self.next().await?;
        Hello::from_frame(&frame).ok_or(LinkError::OutOfTurn(frame.kind))
    }
}

async fn write_frame(
    write: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
) -> Result<(), LinkError> {
    let mut buffer = BytesMut::new();
    frame.encode(&mut buffer);
    write.write_all(&buffer).await?;
    Ok(write.flush().await?)
}

/// Writes frames together, and gives back a large buffer's memory.
async fn write_frames(
    write: &mut (impl AsyncWrite + Unpin),
    buffer: &mut BytesMut,
    frames: &[Frame],
) -> Result<(), LinkError> {
    buffer.clear();
    for frame in frames {
        frame.encode(buffer);
    }
    write.write_all(buffer).await?;
    write.flush().await?;
    if buffer.capacity() > 4 * WRITE_BYTES {
        *buffer = BytesMut::new();
    }
    Ok(())
}
