//! How the log reaches its peers: Raft's messages over the links of `world`.
//!
//! Appends are pipelined: up to [`APPENDS_IN_FLIGHT_MAX`] requests are on their way to one
//! follower, and their answers are taken in order. Heartbeats are a service of their own, so
//! that the receiver can answer them without waiting for its disk.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{
    clock,
    peers::{PeerError, Peers, Service},
    random,
};
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use openraft::{
    OptionalSend, RaftNetworkFactory,
    entry::RaftEntry as _,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{
        Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    },
    raft::{
        AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use prost::Message;

use super::{
    snapshot::{Outgoing, SnapshotData},
    types::{self, DecodeError, LogId, SnapshotMeta, Types, Vote},
};
use crate::proto::raft::{self as pb, append_response};

/// Entries for a follower.
pub(crate) const APPEND: Service = Service(1);
/// An append without entries that only says that the leader lives.
pub(crate) const HEARTBEAT: Service = Service(2);
/// A candidate asks for a vote.
pub(crate) const VOTE: Service = Service(3);
/// A node asks whether it would get a vote.
pub(crate) const PRE_VOTE: Service = Service(4);
/// One chunk of a snapshot.
pub(crate) const SNAPSHOT: Service = Service(5);
/// The leader hands over.
pub(crate) const TRANSFER: Service = Service(6);

/// Appends that may be on their way to one follower at a time.
const APPENDS_IN_FLIGHT_MAX: usize = 32;

/// How long an append may go unanswered (it includes the follower's disk) before the link
/// counts as broken and the pipeline starts again.
const APPEND_TIMEOUT: Duration = Duration::from_millis(1_000);

/// The same for one chunk of a snapshot, and for the last one, which is answered when the
/// receiver has installed everything.
const SNAPSHOT_CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
const SNAPSHOT_INSTALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How often an unreachable follower is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Makes a client for each peer.
pub(crate) struct Network {
    pub(crate) peers: Arc<dyn Peers>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &pb::Node) -> Peer {
        Peer {
            node: NodeId(target),
            peers: self.peers.clone(),
            append: APPEND,
            silence: None,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &pb::Node) -> Peer {
        Peer {
            node: NodeId(target),
            peers: self.peers.clone(),
            append: HEARTBEAT,
            silence: Some(Arc::default()),
        }
    }
}

/// The client for one peer.
pub(crate) struct Peer {
    node: NodeId,
    peers: Arc<dyn Peers>,
    append: Service,
    /// Where heartbeats tell whether the peer answers; openraft's own lines, one for each
    /// heartbeat, are left out by the default of `log.filter`.
    silence: Option<Arc<Silence>>,
}

/// Whether a peer answers heartbeats: said when it changes, and not each time.
#[derive(Default)]
struct Silence(AtomicBool);

impl Silence {
    /// Notes one answer, or none; true if that is a change.
    fn note(&self, is_silent: bool) -> bool {
        self.0.swap(is_silent, Ordering::Relaxed) != is_silent
    }

    fn tell(&self, node: NodeId, outcome: Result<(), &CallError>) {
        match outcome {
            Ok(()) if self.note(false) => tracing::info!(%node, "it answers heartbeats again"),
            Err(error) if self.note(true) => {
                tracing::warn!(%node, %error, "it does not answer heartbeats");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Why a peer gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Protobuf(#[from] prost::DecodeError),
    #[error("the peer refused the snapshot")]
    SnapshotRefused,
    #[error("the snapshot could not be read: {0}")]
    Snapshot(String),
}

impl From<CallError> for RPCError<Types> {
    fn from(error: CallError) -> Self {
        match &error {
            // Nothing was sent: wait for room and try again at once.
            CallError::Peer(PeerError::Full(_)) => RPCError::Network(NetworkError::new(&error)),
            _ => RPCError::Unreachable(Unreachable::new(&error)),
        }
    }
}

impl From<CallError> for StreamingError<Types> {
    fn from(error: CallError) -> Self {
        StreamingError::Unreachable(Unreachable::new(&error))
    }
}

impl Peer {
    /// Sends at once; the answer is awaited.
    fn call<R: Message + Default, Q: Message>(
        &self,
        service: Service,
        request: &Q,
        timeout: Duration,
    ) -> impl Future<Output = Result<R, CallError>> + Send + use<R, Q> {
        let answer = self
            .peers
            .call(self.node, service, Bytes::from(request.encode_to_vec()));
        async move {
            let bytes = clock::timeout(timeout, answer)
                .await
                .map_err(|_| CallError::Timeout(timeout))??;
            Ok(R::decode(bytes)?)
        }
    }

    fn append(
        &self,
        request: &AppendEntriesRequest<Types>,
    ) -> BoxFuture<'static, Result<StreamAppendResult<Types>, RPCError<Types>>> {
        let message = pb::AppendRequest {
            vote: Some(types::vote_to_proto(&request.vote)),
            previous: request.prev_log_id.as_ref().map(types::log_id_to_proto),
            entries: request.entries.iter().map(types::entry_to_proto).collect(),
            committed: request.leader_commit.as_ref().map(types::log_id_to_proto),
        };
        let answer = self.call::<pb::AppendResponse, _>(self.append, &message, APPEND_TIMEOUT);
        let (silence, node) = (self.silence.clone(), self.node);
        async move {
            let answer = answer.await;
            if let Some(silence) = silence {
                silence.tell(node, answer.as_ref().map(drop));
            }
            Ok(append_result(answer?)?)
        }
        .boxed()
    }

    async fn ask_vote(
        &self,
        service: Service,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let message = pb::VoteRequest {
            vote: Some(types::vote_to_proto(&request.vote)),
            last: request.last_log_id.as_ref().map(types::log_id_to_proto),
            leadership_transfer: request.leadership_transfer,
        };
        let answer: pb::VoteResponse = self.call(service, &message, option.hard_ttl()).await?;
        let vote = types::vote_from_proto(answer.vote).map_err(CallError::from)?;
        Ok(VoteResponse::new(
            vote,
            types::log_id_from_proto(answer.last),
            answer.granted,
        ))
    }

    async fn send_snapshot(
        &self,
        vote: &Vote,
        meta: &SnapshotMeta,
        outgoing: Outgoing,
    ) -> Result<Vote, CallError> {
        let transfer = random::u64();
        let mut chunks = outgoing.chunks();
        let mut sequence = 0;
        loop {
            let rows = chunks
                .next()
                .await
                .map_err(|error| CallError::Snapshot(error.to_string()))?;
            let end = rows.is_empty().then(|| pb::SnapshotEnd {
                vote: Some(types::vote_to_proto(vote)),
                meta: Some(types::applied_to_proto(
                    meta.last_log_id.as_ref(),
                    &meta.last_membership,
                )),
            });
            let last = end.is_some();
            let timeout = if last {
                SNAPSHOT_INSTALL_TIMEOUT
            } else {
                SNAPSHOT_CHUNK_TIMEOUT
            };
            let chunk = pb::SnapshotChunk {
                transfer,
                sequence,
                rows,
                end,
            };
            let ack: pb::SnapshotAck = self.call(SNAPSHOT, &chunk, timeout).await?;
            if !ack.accepted {
                return Err(CallError::SnapshotRefused);
            }
            if last {
                return Ok(types::vote_from_proto(ack.vote)?);
            }
            sequence += 1;
        }
    }
}

pub(crate) fn append_result(
    answer: pb::AppendResponse,
) -> Result<StreamAppendResult<Types>, CallError> {
    use append_response::Result::{Conflict, HigherVote, Matched};
    Ok(match answer.result.ok_or(DecodeError::Missing("result"))? {
        Matched(id) => Ok(types::log_id_from_proto(Some(id))),
        Conflict(id) => Err(StreamAppendError::Conflict(types::log_id(
            id.term, id.index,
        ))),
        HigherVote(vote) => Err(StreamAppendError::HigherVote(types::vote_from_proto(
            Some(vote),
        )?)),
    })
}

/// What a follower that took all of a request has: its last entry.
pub(crate) fn last_log_id(request: &AppendEntriesRequest<Types>) -> Option<LogId> {
    request
        .entries
        .last()
        .map(|entry| entry.log_id())
        .or(request.prev_log_id)
}

impl NetStreamAppend<Types> for Peer {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let this: &Peer = self;
        let answers = input
            .map(move |request| this.append(&request))
            .buffered(APPENDS_IN_FLIGHT_MAX);
        async move { Ok(answers.boxed()) }.boxed()
    }
}

impl NetVote<Types> for Peer {
    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(VOTE, rpc, option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(PRE_VOTE, rpc, option).await
    }
}

impl NetSnapshot<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::type_config::alias::SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Outgoing(outgoing) = snapshot.snapshot else {
            unreachable!("a snapshot that is being received is never sent on");
        };
        let send = self.send_snapshot(&vote, &snapshot.meta, outgoing);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send => Ok(SnapshotResponse::new(sent?)),
        }
    }
}

impl NetTransferLeader<Types> for Peer {
    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let message = pb::TransferLeaderRequest {
            from: Some(types::vote_to_proto(req.from_leader())),
            to: *req.to_node_id(),
            last: req.last_log_id().map(types::log_id_to_proto),
        };
        // The receiver answers only when it took the message; why it did not is in its log.
        let _answer: pb::TransferLeaderResponse =
            self.call(TRANSFER, &message, option.hard_ttl()).await?;
        Ok(Ok(()))
    }
}

impl NetBackoff<Types> for Peer {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_INTERVAL)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_told_once() {
        let silence = Silence::default();
        let told: Vec<bool> = [false, true, true, true, false, false, true]
            .map(|is_silent| silence.note(is_silent))
            .into();
        assert_eq!(told, [false, true, false, false, true, false, true]);
    }
}
