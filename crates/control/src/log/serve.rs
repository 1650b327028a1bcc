//! What this node answers to the Raft messages of its peers.

use std::{collections::BTreeMap, sync::Arc, task::Poll};

use atoll_base::id::NodeId;
use atoll_world::{
    peers::{Handler, Peers, Reply},
    task,
};
use bytes::Bytes;
use futures_util::poll;
use openraft::{
    errors::RaftError,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest},
};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::mpsc;

use super::{
    Raft,
    network::{self, APPEND, HEARTBEAT, PRE_VOTE, SNAPSHOT, TRANSFER, VOTE},
    snapshot::SnapshotReceiver,
    storage::LogStore,
    types::{self, DecodeError, Types},
};
use crate::proto::raft::{self as pb, append_response};

/// Appends of one peer that may wait for the Raft core. A leader has fewer in flight.
const APPENDS_QUEUED_MAX: usize = 64;

/// Registers the handlers of every Raft service.
pub(crate) fn serve(
    peers: &dyn Peers,
    raft: Raft,
    store: LogStore,
    snapshots: Arc<SnapshotReceiver>,
) {
    peers.serve(
        APPEND,
        Arc::new(Appends {
            raft: raft.clone(),
            queues: Mutex::default(),
        }),
    );
    peers.serve(
        HEARTBEAT,
        Arc::new(Heartbeats {
            raft: raft.clone(),
            store,
        }),
    );
    peers.serve(
        VOTE,
        Arc::new(Votes {
            raft: raft.clone(),
            pre: false,
        }),
    );
    peers.serve(
        PRE_VOTE,
        Arc::new(Votes {
            raft: raft.clone(),
            pre: true,
        }),
    );
    peers.serve(TRANSFER, Arc::new(Transfers { raft: raft.clone() }));
    peers.serve(
        SNAPSHOT,
        Arc::new(Snapshots {
            raft,
            receiver: snapshots,
        }),
    );
}

pub(crate) fn append_from_proto(
    message: pb::AppendRequest,
) -> Result<AppendEntriesRequest<Types>, DecodeError> {
    Ok(AppendEntriesRequest {
        vote: types::vote_from_proto(message.vote)?,
        prev_log_id: types::log_id_from_proto(message.previous),
        entries: message
            .entries
            .into_iter()
            .map(types::entry_from_proto)
            .collect::<Result<_, _>>()?,
        leader_commit: types::log_id_from_proto(message.committed),
    })
}

pub(crate) fn vote_from_proto(message: pb::VoteRequest) -> Result<VoteRequest<Types>, DecodeError> {
    let mut request = VoteRequest::new(
        types::vote_from_proto(message.vote)?,
        types::log_id_from_proto(message.last),
    );
    request.leadership_transfer = message.leadership_transfer;
    Ok(request)
}

pub(crate) fn transfer_from_proto(
    message: pb::TransferLeaderRequest,
) -> Result<TransferLeaderRequest<Types>, DecodeError> {
    Ok(TransferLeaderRequest::new(
        types::vote_from_proto(message.from)?,
        message.to,
        types::log_id_from_proto(message.last),
    ))
}

/// Logs what a peer sent that cannot be read. Dropping the reply tells the peer.
fn decode<T: Message + Default, R>(
    from: NodeId,
    payload: Bytes,
    convert: impl FnOnce(T) -> Result<R, DecodeError>,
) -> Option<R> {
    T::decode(payload)
        .map_err(DecodeError::from)
        .and_then(convert)
        .map_err(|error| tracing::warn!(%from, %error, "a peer sent a message that cannot be read"))
        .ok()
}

fn matched(id: Option<&types::LogId>) -> append_response::Result {
    append_response::Result::Matched(id.map_or_else(pb::LogId::default, types::log_id_to_proto))
}

async fn append(raft: &Raft, request: AppendEntriesRequest<Types>) -> Option<pb::AppendResponse> {
    let previous = request.prev_log_id;
    let last = network::last_log_id(&request);
    let result = match raft.append_entries(request).await {
        Ok(AppendEntriesResponse::Success) => matched(last.as_ref()),
        Ok(AppendEntriesResponse::PartialSuccess(upto)) => matched(upto.as_ref()),
        Ok(AppendEntriesResponse::Conflict) => append_response::Result::Conflict(
            types::log_id_to_proto(&previous.expect("what begins the log conflicts with nothing")),
        ),
        Ok(AppendEntriesResponse::HigherVote(vote)) => {
            append_response::Result::HigherVote(types::vote_to_proto(&vote))
        }
        Err(error) => {
            log_fatal(&error);
            return None;
        }
    };
    Some(pb::AppendResponse {
        result: Some(result),
    })
}

fn log_fatal<E: std::error::Error>(error: &RaftError<Types, E>) {
    tracing::debug!(%error, "a Raft message was not handled, the log is stopping");
}

fn reply(to: Reply, message: Option<impl Message>) {
    if let Some(message) = message {
        to.send(message.encode_to_vec().into());
    }
}

/// An append that waits for its turn, and where its answer goes.
type Queued = (AppendEntriesRequest<Types>, Reply);

/// Appends, handed to the Raft core in the order in which each peer sent them.
struct Appends {
    raft: Raft,
    queues: Mutex<BTreeMap<NodeId, mpsc::Sender<Queued>>>,
}

impl Handler for Appends {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let Some(request) = decode(from, payload, append_from_proto) else {
            return;
        };
        let mut queues = self.queues.lock();
        let queue = queues.entry(from).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(APPENDS_QUEUED_MAX);
            task::spawn(feed(self.raft.clone(), receiver));
            sender
        });
        // Full: the reply is dropped, the peer starts its pipeline again.
        let _ = queue.try_send((request, reply));
    }
}

async fn feed(raft: Raft, mut queue: mpsc::Receiver<Queued>) {
    while let Some((request, to)) = queue.recv().await {
        let raft = raft.clone();
        let mut answer = Box::pin(async move { append(&raft, request).await });
        // The first poll hands the request to the core, which keeps the order; the answer
        // waits for the disk and must not hold up the next request.
        match poll!(&mut answer) {
            Poll::Ready(message) => reply(to, message),
            Poll::Pending => {
                task::spawn(async move { reply(to, answer.await) });
            }
        }
    }
}

/// Heartbeats. The Raft core answers an append only when everything accepted before it is on
/// disk; a heartbeat says nothing about the disk, so it is answered here, at once, where that
/// is certain to be right: the vote is the one this node has persisted (it has not promised
/// anything to a later term), and the entry named is on this node's disk. The core is told
/// all the same; it restarts the election timer.
struct Heartbeats {
    raft: Raft,
    store: LogStore,
}

impl Handler for Heartbeats {
    fn handle(&self, from: NodeId, payload: Bytes, to: Reply) {
        let Some(request) = decode(from, payload, append_from_proto) else {
            return;
        };
        let held = self.store.persisted_vote() == Some(request.vote) && request.vote.committed;
        let on_disk = request
            .prev_log_id
            .as_ref()
            .is_none_or(|id| self.store.has_flushed(id));
        let raft = self.raft.clone();
        if held && on_disk && request.entries.is_empty() {
            let answer = pb::AppendResponse {
                result: Some(matched(request.prev_log_id.as_ref())),
            };
            reply(to, Some(answer));
            task::spawn(async move { append(&raft, request).await });
        } else {
            task::spawn(async move { reply(to, append(&raft, request).await) });
        }
    }
}

/// Votes and pre-votes.
struct Votes {
    raft: Raft,
    pre: bool,
}

impl Handler for Votes {
    fn handle(&self, from: NodeId, payload: Bytes, to: Reply) {
        let request = decode(from, payload, vote_from_proto);
        let Some(request) = request else { return };
        let (raft, pre) = (self.raft.clone(), self.pre);
        task::spawn(async move {
            let answer = if pre {
                raft.pre_vote(request).await
            } else {
                raft.vote(request).await
            };
            let message = answer
                .map_err(|error| log_fatal(&error))
                .ok()
                .map(|answer| pb::VoteResponse {
                    vote: Some(types::vote_to_proto(&answer.vote)),
                    granted: answer.vote_granted,
                    last: answer.last_log_id.as_ref().map(types::log_id_to_proto),
                });
            reply(to, message);
        });
    }
}

/// The leader asks this node to take over.
struct Transfers {
    raft: Raft,
}

impl Handler for Transfers {
    fn handle(&self, from: NodeId, payload: Bytes, to: Reply) {
        let request = decode(from, payload, transfer_from_proto);
        let Some(request) = request else { return };
        let raft = self.raft.clone();
        task::spawn(async move {
            let accepted = match raft.handle_transfer_leader(request).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::info!(%from, %error, "leadership was offered and not taken");
                    false
                }
                Err(error) => {
                    tracing::debug!(%error, "leadership was offered, but the log is stopping");
                    return;
                }
            };
            reply(to, Some(pb::TransferLeaderResponse { accepted }));
        });
    }
}

/// Chunks of a snapshot.
struct Snapshots {
    raft: Raft,
    receiver: Arc<SnapshotReceiver>,
}

impl Handler for Snapshots {
    fn handle(&self, from: NodeId, payload: Bytes, to: Reply) {
        let Some(chunk) = decode(from, payload, Ok::<pb::SnapshotChunk, DecodeError>) else {
            return;
        };
        let (raft, receiver) = (self.raft.clone(), self.receiver.clone());
        task::spawn(async move {
            let ack = match receiver.receive(from, chunk, &raft).await {
                Ok(ack) => ack,
                Err(error) => {
                    tracing::warn!(%from, %error, "a snapshot was not received");
                    pb::SnapshotAck::default()
                }
            };
            reply(to, Some(ack));
        });
    }
}
