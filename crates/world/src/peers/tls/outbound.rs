//! Calls to one other node: a bounded queue, and a task that connects when there is something
//! to send.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::NodeId;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::{Notify, oneshot, watch},
};

use super::{
    CLOSE_TIMEOUT, CONNECT_TIMEOUT, FrameReader, LinkError, PENDING_CALLS_MAX, QUEUE_BYTES_MAX,
    QUEUE_MESSAGES_MAX, Shared, UNACKNOWLEDGED_MAX, WRITE_BYTES, Waiting, write_frame,
    write_frames,
};
use crate::{
    clock, net,
    peers::{
        Answer, PeerError, Service,
        frame::{Frame, Kind},
    },
    pki::node_dns_name,
    random, task,
};

/// The first back-off after failures in a row (the first retry does not wait).
const BACK_OFF_MIN: Duration = Duration::from_millis(25);
/// The longest.
const BACK_OFF_MAX: Duration = Duration::from_millis(200);

pub(super) struct Outbound {
    shared: Arc<Shared>,
    to: NodeId,
    /// Where it is to be reached; `None` when the link is closed.
    address: watch::Sender<Option<String>>,
    state: Mutex<State>,
    /// There are calls to send.
    wake: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Frame>,
    queue_bytes: usize,
    pending: BTreeMap<u64, oneshot::Sender<Result<Bytes, PeerError>>>,
    last_id: u64,
    /// Connections in a row that could not be made.
    failures: u32,
    /// Calls before this moment fail at once, for the reason of the last.
    retry_at: Option<clock::Instant>,
    reason: String,
}

impl Outbound {
    pub(super) fn start(shared: Arc<Shared>, to: NodeId, address: String) -> Arc<Outbound> {
        let (address, addresses) = watch::channel(Some(address));
        let link = Arc::new(Outbound {
            shared,
            to,
            address,
            state: Mutex::default(),
            wake: Notify::new(),
        });
        task::spawn(link.clone().run(addresses));
        link
    }

    pub(super) fn set_address(&self, address: String) {
        let is_new = self.address.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&address);
            *known = Some(address);
            is_new
        });
        if is_new {
            let mut state = self.state.lock();
            state.failures = 0;
            state.retry_at = None;
        }
    }

    pub(super) fn close(&self) {
        self.address.send_replace(None);
        self.wake.notify_one();
    }

    pub(super) fn add_waiting(&self, waiting: &mut Waiting) {
        let state = self.state.lock();
        waiting.messages += state.queue.len();
        waiting.bytes += state.queue_bytes;
        waiting.calls += state.pending.len();
    }

    pub(super) fn call(self: Arc<Self>, service: Service, payload: Bytes) -> Answer {
        match self.enqueue(service, payload) {
            Err(error) => Box::pin(async move { Err(error) }),
            Ok((id, answer)) => {
                self.wake.notify_one();
                let pending = Pending { link: self, id };
                Box::pin(async move {
                    let answer = answer.await;
                    answer.unwrap_or_else(|_| Err(pending.link.unreachable("the link was closed")))
                })
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "named once")]
    fn enqueue(
        &self,
        service: Service,
        payload: Bytes,
    ) -> Result<(u64, oneshot::Receiver<Result<Bytes, PeerError>>), PeerError> {
        let mut state = self.state.lock();
        if state
            .retry_at
            .is_some_and(|retry_at| clock::now() < retry_at)
        {
            return Err(self.unreachable(&state.reason));
        }
        if state.queue.len() >= QUEUE_MESSAGES_MAX
            || state.queue_bytes + payload.len() > QUEUE_BYTES_MAX
            || state.pending.len() >= PENDING_CALLS_MAX
        {
            return Err(PeerError::Full(self.to));
        }
        let (send, answer) = oneshot::channel();
        state.last_id += 1;
        let id = state.last_id;
        state.pending.insert(id, send);
        state.queue_bytes += payload.len();
        state.queue.push_back(Frame {
            kind: Kind::Request,
            id,
            service,
            payload,
        });
        Ok((id, answer))
    }

    async fn run(self: Arc<Self>, mut addresses: watch::Receiver<Option<String>>) {
        loop {
            while self.state.lock().queue.is_empty() && self.address.borrow().is_some() {
                self.wake.notified().await;
            }
            let Some(address) = addresses.borrow_and_update().clone() else {
                break;
            };
            let error = tokio::select! {
                biased;
                _ = addresses.changed() => LinkError::Closed,
                error = self.connect_and_converse(&address) => error,
            };
            self.fail(&error.to_string());
        }
        self.fail("the link was closed");
    }

    async fn connect_and_converse(&self, address: &str) -> LinkError {
        let (reader, write) = match clock::timeout(CONNECT_TIMEOUT, self.connect(address)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return self.not_connected(address, error),
            Err(_) => return self.not_connected(address, LinkError::NoHello),
        };
        self.shared.forgive(self.to);
        self.state.lock().failures = 0;
        tracing::debug!(node = %self.to, address, "peer link made");
        let error = tokio::select! {
            biased;
            error = self.read_answers(reader) => error,
            error = self.write_calls(write) => error,
        };
        match error {
            LinkError::Closed | LinkError::Io(_) => {
                tracing::debug!(node = %self.to, address, %error, "peer link ended");
            }
            _ => tracing::warn!(node = %self.to, address, %error, "peer link ended"),
        }
        error
    }

    async fn connect(
        &self,
        address: &str,
    ) -> Result<(FrameReader, WriteHalf<net::Stream>), LinkError> {
        let tls = self.shared.tls.read().clone();
        let name = node_dns_name(self.to);
        let stream =
            net::connect_tls_with(address, &name, tls, CONNECT_TIMEOUT, UNACKNOWLEDGED_MAX).await?;
        let (read, mut write) = tokio::io::split(stream);
        let mut reader = FrameReader::new(read);
        write_frame(&mut write, &self.shared.me.to_frame()).await?;
        let hello = reader.hello().await?;
        let our_cluster = self.shared.me.cluster;
        let error = if hello.cluster != our_cluster {
            LinkError::OtherCluster {
                theirs: hello.node,
                their_cluster: hello.cluster,
                our_cluster,
            }
        } else if hello.node != self.to {
            LinkError::OtherNode {
                certified: self.to,
                claimed: hello.node,
            }
        } else {
            return Ok((reader, write));
        };
        let _ = clock::timeout(CLOSE_TIMEOUT, async {
            write_frame(&mut write, &Frame::closing(&error.to_string())).await?;
            Ok::<_, LinkError>(write.shutdown().await?)
        })
        .await;
        Err(error)
    }

    fn not_connected(&self, address: &str, error: LinkError) -> LinkError {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.retry_at = back_off(state.failures).map(|wait| clock::now() + wait);
        drop(state);
        if self.shared.is_new_complaint(self.to, &error.to_string()) {
            tracing::warn!(node = %self.to, address, %error, "node cannot be reached");
        }
        error
    }

    async fn read_answers(&self, mut reader: FrameReader) -> LinkError {
        loop {
            let frame = match reader.next().await {
                Ok(frame) => frame,
                Err(error) => return error,
            };
            let answer = match frame.kind {
                Kind::Response => Ok(frame.payload),
                Kind::Refusal => Err(PeerError::Refused(self.to)),
                kind => return LinkError::OutOfTurn(kind),
            };
            // Nobody waits any more if the caller gave up.
            if let Some(send) = self.state.lock().pending.remove(&frame.id) {
                let _ = send.send(answer);
            }
        }
    }

    async fn write_calls(&self, mut write: WriteHalf<net::Stream>) -> LinkError {
        let mut buffer = BytesMut::new();
        loop {
            let frames = self.take();
            if frames.is_empty() {
                self.wake.notified().await;
            } else if let Err(error) = write_frames(&mut write, &mut buffer, &frames).await {
                return error;
            }
        }
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
            state.queue_bytes -= frame.payload.len();
            frames.push(frame);
        }
        frames
    }

    /// Whatever was sent or waits to be sent has no answer.
    fn fail(&self, reason: &str) {
        let mut state = self.state.lock();
        state.queue.clear();
        state.queue_bytes = 0;
        reason.clone_into(&mut state.reason);
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        for (_, send) in pending {
            let _ = send.send(Err(self.unreachable(reason)));
        }
    }

    #[cfg(test)]
    pub(super) fn pending_calls(&self) -> usize {
        self.state.lock().pending.len()
    }

    fn unreachable(&self, reason: &str) -> PeerError {
        PeerError::Unreachable {
            node: self.to,
            reason: reason.to_owned(),
        }
    }
}

/// Takes a call off the books when its caller has its answer, or gives up.
struct Pending {
    link: Arc<Outbound>,
    id: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.link.state.lock().pending.remove(&self.id);
    }
}

/// How long to wait after this many failures in a row.
fn back_off(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?.min(16);
    let longest = (BACK_OFF_MIN * (1 << doublings)).min(BACK_OFF_MAX);
    Some(longest.mul_f64(random::range(0.5..1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_immediate_and_the_others_are_bounded() {
        assert_eq!((back_off(0), back_off(1)), (None, None));
        for failures in 2..100 {
            let wait = back_off(failures).unwrap();
            assert!(wait >= BACK_OFF_MIN / 2 && wait < BACK_OFF_MAX);
        }
        assert!(back_off(u32::MAX).unwrap() >= BACK_OFF_MAX / 2);
    }
}
