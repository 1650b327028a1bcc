//! Calls of one other node: who it is, its requests to their handlers, the answers back.

use std::{collections::VecDeque, sync::Arc};

use atoll_base::id::NodeId;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::{Notify, oneshot},
};

use super::{
    ANSWERS_BYTES_MAX, CLOSE_TIMEOUT, FrameReader, HANDLED_BYTES_MAX, HANDLED_REQUESTS_MAX,
    HELLO_TIMEOUT, LinkError, SMALL_REQUEST_BYTES, Shared, WRITE_BYTES, write_frame, write_frames,
};
use crate::{
    clock, net,
    peers::{
        PAYLOAD_BYTES_MAX, Reply, Service,
        frame::{Frame, Hello, Kind},
    },
};

/// Serves an accepted connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: net::Stream) {
    let address = stream.peer_address();
    let Some(from) = stream.peer_facts().and_then(|facts| facts.node_id()) else {
        tracing::warn!(%address, error = %LinkError::NoNode, "peer link refused");
        return;
    };
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = FrameReader::new(read);
    match greet(&shared, from, &mut reader, &mut write).await {
        Ok(mut turn) => {
            shared.forgive(from);
            let error = converse(&shared, from, reader, &mut write, &mut turn.ended).await;
            shared.retire(from, turn);
            match error {
                LinkError::Closed | LinkError::Io(_) | LinkError::Told(_) => {
                    tracing::debug!(node = %from, %address, %error, "peer link ended");
                }
                _ => tracing::warn!(node = %from, %address, %error, "peer link closed"),
            }
            close(&mut write, &error).await;
        }
        Err(error) => {
            if shared.is_new_complaint(from, &error.to_string()) {
                tracing::warn!(node = %from, %address, %error, "peer link refused");
            }
            close(&mut write, &error).await;
        }
    }
}

/// Tells the other side why, as far as it still listens.
async fn close(write: &mut WriteHalf<net::Stream>, error: &LinkError) {
    let _ = clock::timeout(CLOSE_TIMEOUT, async {
        write_frame(write, &Frame::closing(&error.to_string())).await?;
        Ok::<_, LinkError>(write.shutdown().await?)
    })
    .await;
}

async fn greet(
    shared: &Shared,
    from: NodeId,
    reader: &mut FrameReader,
    write: &mut WriteHalf<net::Stream>,
) -> Result<Turn, LinkError> {
    let hello = clock::timeout(HELLO_TIMEOUT, reader.hello());
    let hello = hello.await.map_err(|_| LinkError::NoHello)??;
    let admitted = shared.admit(from, hello);
    let turn = match admitted {
        Ok((turn, older)) => {
            if let Some(Served { end, done, .. }) = older {
                drop(end);
                // Says nothing: it is gone when the sender is.
                let _ = done.await;
            }
            Ok(turn)
        }
        Err(error) => Err(error),
    };
    // A node of another cluster hears of ours, so that its log can say both.
    if matches!(turn, Ok(_) | Err(LinkError::OtherCluster { .. })) {
        write_frame(write, &shared.me.to_frame()).await?;
    }
    turn
}

/// What is kept of a connection that is being served.
pub(super) struct Served {
    number: u64,
    /// Dropped to end it.
    end: oneshot::Sender<()>,
    /// Fails once no request of it is handled any more.
    done: oneshot::Receiver<()>,
}

/// A connection's right to be served.
struct Turn {
    number: u64,
    ended: oneshot::Receiver<()>,
    _done: oneshot::Sender<()>,
}

impl Shared {
    /// Checks who calls and makes its connection the only one of that node. An older one is
    /// of the node's past life, or broken without our knowing: it must be gone before this
    /// one is read, so that nothing is handled out of order.
    fn admit(&self, from: NodeId, hello: Hello) -> Result<(Turn, Option<Served>), LinkError> {
        if hello.cluster != self.me.cluster {
            return Err(LinkError::OtherCluster {
                theirs: from,
                their_cluster: hello.cluster,
                our_cluster: self.me.cluster,
            });
        }
        if hello.node != from {
            return Err(LinkError::OtherNode {
                certified: from,
                claimed: hello.node,
            });
        }
        let mut links = self.links.lock();
        if !links.outbound.contains_key(&from) {
            return Err(LinkError::NotMember(from));
        }
        links.accepted += 1;
        let number = links.accepted;
        let (end, ended) = oneshot::channel();
        let (_done, done) = oneshot::channel();
        let older = links.inbound.insert(from, Served { number, end, done });
        Ok((
            Turn {
                number,
                ended,
                _done,
            },
            older,
        ))
    }

    fn retire(&self, from: NodeId, turn: Turn) {
        let mut links = self.links.lock();
        if links
            .inbound
            .get(&from)
            .is_some_and(|served| served.number == turn.number)
        {
            links.inbound.remove(&from);
        }
    }
}

async fn converse(
    shared: &Shared,
    from: NodeId,
    reader: FrameReader,
    write: &mut WriteHalf<net::Stream>,
    ended: &mut oneshot::Receiver<()>,
) -> LinkError {
    let answers = Arc::new(Answers::default());
    tokio::select! {
        biased;
        _ = ended => LinkError::Closed,
        error = read_requests(shared, from, reader, &answers) => error,
        error = write_answers(write, &answers) => error,
    }
}

async fn read_requests(
    shared: &Shared,
    from: NodeId,
    mut reader: FrameReader,
    answers: &Arc<Answers>,
) -> LinkError {
    loop {
        let frame = match reader.next().await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        if frame.kind != Kind::Request {
            return LinkError::OutOfTurn(frame.kind);
        }
        let request_bytes = frame.payload.len();
        let is_admitted = answers.begin(request_bytes);
        let (id, service) = (frame.id, frame.service);
        let slot = Slot {
            answers: answers.clone(),
            id,
            service,
            request_bytes,
            is_open: true,
        };
        let handler = shared.handlers.read().get(&frame.service).cloned();
        match handler {
            Some(handler) if is_admitted => {
                handler.handle(
                    from,
                    frame.payload,
                    Reply::new(move |payload| slot.answer(payload)),
                );
            }
            _ => drop(slot),
        }
        answers.room().await;
    }
}

async fn write_answers(write: &mut WriteHalf<net::Stream>, answers: &Answers) -> LinkError {
    let mut buffer = BytesMut::new();
    loop {
        let frames = answers.take();
        if frames.is_empty() {
            answers.wake.notified().await;
        } else if let Err(error) = write_frames(write, &mut buffer, &frames).await {
            return error;
        }
    }
}

/// The answers of one connection that wait to be sent.
#[derive(Default)]
struct Answers {
    state: Mutex<AnswersState>,
    wake: Notify,
    taken: Notify,
}

#[derive(Default)]
struct AnswersState {
    queue: VecDeque<Frame>,
    bytes: usize,
    /// Requests without an answer yet, and their length.
    handled: usize,
    handled_bytes: usize,
}

impl Answers {
    /// Counts a request in; false if there are too many.
    fn begin(&self, request_bytes: usize) -> bool {
        let mut state = self.state.lock();
        state.handled += 1;
        state.handled_bytes += request_bytes;
        let has_room =
            request_bytes <= SMALL_REQUEST_BYTES || state.handled_bytes <= HANDLED_BYTES_MAX;
        state.handled <= HANDLED_REQUESTS_MAX && has_room
    }

    /// Counts a request out and queues its answer.
    fn push(&self, request_bytes: usize, frame: Frame) {
        let mut state = self.state.lock();
        state.handled -= 1;
        state.handled_bytes -= request_bytes;
        state.bytes += frame.bytes();
        state.queue.push_back(frame);
        drop(state);
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<Frame> {
        let mut state = self.state.lock();
        let mut frames = Vec::new();
        let mut bytes = 0;
        while bytes < WRITE_BYTES {
            let Some(frame) = state.queue.pop_front() else {
                break;
            };
            bytes += frame.bytes();
            frames.push(frame);
        }
        state.bytes -= bytes;
        drop(state);
        self.taken.notify_one();
        frames
    }

    /// Waits until there is room for more answers.
    async fn room(&self) {
        while self.state.lock().bytes > ANSWERS_BYTES_MAX {
            self.taken.notified().await;
        }
    }
}

/// The one answer that a request gets: a refusal, if nobody gives another.
struct Slot {
    answers: Arc<Answers>,
    id: u64,
    service: Service,
    request_bytes: usize,
    is_open: bool,
}

impl Slot {
    fn answer(mut self, payload: Bytes) {
        if payload.len() > PAYLOAD_BYTES_MAX {
            tracing::error!(
                service = self.service.0,
                bytes = payload.len(),
                "an answer is too long"
            );
            return;
        }
        self.is_open = false;
        let (id, service) = (self.id, self.service);
        self.answers.push(
            self.request_bytes,
            Frame {
                kind: Kind::Response,
                id,
                service,
                payload,
            },
        );
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_open {
            self.answers
                .push(self.request_bytes, Frame::refusal(self.id, self.service));
        }
    }
}
