//! One simulated connection: requests one way, answers the other, each in order.
//!
//! It can be broken at the far side, of which the near one hears later, or at the near side.

#![allow(
    clippy::disallowed_methods,
    reason = "the network's tasks are no part of any node"
)]

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{Net, State, Way};
use crate::{
    clock::{self, Instant},
    peers::{
        Answer, PAYLOAD_BYTES_MAX, PeerError, Reply, Service,
        tls::{PENDING_CALLS_MAX, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX},
    },
    task,
};

pub(super) struct Connection {
    way: Way,
    /// The callee's life when the connection was made, if it was up.
    far_life: Option<u64>,
    requests: mpsc::UnboundedSender<Parcel<Request>>,
    answers: mpsc::UnboundedSender<Parcel<Result<Bytes, PeerError>>>,
    state: Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    last_id: u64,
    pending: BTreeMap<u64, oneshot::Sender<Result<Bytes, PeerError>>>,
    /// Requests under way, and their length in bytes.
    queued: usize,
    queued_bytes: usize,
    /// Nothing sent from now on arrives.
    is_broken: bool,
}

struct Parcel<T> {
    /// Keeps the connection carrying until it has arrived.
    connection: Arc<Connection>,
    id: u64,
    arrives: Instant,
    is_lost: bool,
    /// Arrives even if the connection is broken by then.
    is_late: bool,
    content: T,
}

struct Request {
    service: Service,
    payload: Bytes,
}

impl Connection {
    /// Starts a connection; what is called on it at once waits for the handshakes.
    pub(super) fn open(net: &Arc<Net>, state: &mut State, way: Way) -> Arc<Connection> {
        let back = (way.1, way.0);
        let handshakes = state.draw_delay(way) + state.draw_delay(back) + state.draw_delay(way);
        let ready = clock::now() + handshakes;
        let (requests, sent_requests) = mpsc::unbounded_channel();
        let (answers, sent_answers) = mpsc::unbounded_channel();
        let far = state.nodes.get(&way.1).filter(|far| far.is_up);
        let connection = Arc::new(Connection {
            way,
            far_life: far.map(|far| far.life),
            requests,
            answers,
            state: Mutex::default(),
        });
        tokio::spawn(carry_requests(net.clone(), way, ready, sent_requests));
        tokio::spawn(carry_answers(net.clone(), back, sent_answers));
        connection
    }

    pub(super) fn call(
        self: &Arc<Self>,
        net: &Arc<Net>,
        service: Service,
        payload: Bytes,
    ) -> Result<Answer, PeerError> {
        let (send, answer) = oneshot::channel();
        let id = {
            let mut state = self.state.lock();
            if state.queued >= QUEUE_MESSAGES_MAX
                || state.queued_bytes + payload.len() > QUEUE_BYTES_MAX
                || state.pending.len() >= PENDING_CALLS_MAX
            {
                return Err(PeerError::Full(self.way.1));
            }
            state.last_id += 1;
            let id = state.last_id;
            state.pending.insert(id, send);
            state.queued += 1;
            state.queued_bytes += payload.len();
            id
        };
        let parcel = self.pack(net, self.way, id, Request { service, payload });
        // The network ends last; if it is gone, so is who would wait.
        let _ = self.requests.send(parcel);
        let pending = Pending {
            connection: self.clone(),
            id,
        };
        Ok(Box::pin(async move {
            let answer = answer.await;
            answer.unwrap_or_else(|_| Err(pending.connection.unreachable("the link was closed")))
        }))
    }

    fn pack<T>(self: &Arc<Self>, net: &Net, way: Way, id: u64, content: T) -> Parcel<T> {
        let mut state = net.state.lock();
        let arrives = clock::now() + state.draw_delay(way);
        let (loss, late) = (state.faults(way).loss, state.faults(way).late);
        let is_lost = loss > 0.0 && state.random.chance(loss);
        let is_late = late > 0.0 && state.random.chance(late);
        Parcel {
            connection: self.clone(),
            id,
            arrives,
            is_lost,
            is_late,
            content,
        }
    }

    /// Breaks at the far side: nothing is delivered any more, and the near side is told.
    pub(super) fn break_far(self: &Arc<Self>, net: &Arc<Net>, reason: &'static str) {
        if std::mem::replace(&mut self.state.lock().is_broken, true) {
            return;
        }
        let back = (self.way.1, self.way.0);
        let told = clock::now() + net.state.lock().draw_delay(back);
        let (connection, net) = (self.clone(), net.clone());
        tokio::spawn(async move {
            clock::sleep_until(told).await;
            net.wait_through_cut(back).await;
            connection.break_near(&net, reason);
        });
    }

    /// Breaks at the near side: what is pending fails, and the next call connects anew.
    pub(super) fn break_near(self: &Arc<Self>, net: &Net, reason: &str) {
        {
            let connections = &mut net.state.lock().connections;
            if connections
                .get(&self.way)
                .is_some_and(|current| Arc::ptr_eq(current, self))
            {
                connections.remove(&self.way);
            }
        }
        let mut state = self.state.lock();
        state.is_broken = true;
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        for (_, send) in pending {
            let _ = send.send(Err(self.unreachable(reason)));
        }
    }

    fn is_broken(&self) -> bool {
        self.state.lock().is_broken
    }

    fn unreachable(&self, reason: &str) -> PeerError {
        PeerError::Unreachable {
            node: self.way.1,
            reason: reason.to_owned(),
        }
    }

    /// Hands a request to its handler, in the callee's task group.
    fn deliver(self: &Arc<Self>, net: &Arc<Net>, id: u64, request: Request) {
        let (from, to) = self.way;
        let (handler, group) = {
            let mut state = net.state.lock();
            let life = self.far_life.unwrap_or_default();
            let far = match state.node(to, life) {
                Some(far) if !far.group.as_ref().is_some_and(task::Group::is_killed) => far,
                _ => {
                    drop(state);
                    return self.break_far(net, "connection refused");
                }
            };
            if !far.members.contains(&from) {
                drop(state);
                return self.break_far(net, "the other side does not know this node as a member");
            }
            let found = (
                far.handlers.get(&request.service).cloned(),
                far.group.clone(),
            );
            state.record(
                self.way,
                id,
                u64::from(request.service.0),
                request.payload.len(),
            );
            found
        };
        let slot = Slot {
            net: net.clone(),
            connection: self.clone(),
            id,
            group: group.clone(),
        };
        let reply = Reply::new(move |payload| slot.answer(payload));
        let Some(handler) = handler else { return };
        match group {
            Some(group) => {
                task::scope_sync(group, || handler.handle(from, request.payload, reply));
            }
            None => handler.handle(from, request.payload, reply),
        }
    }
}

async fn carry_requests(
    net: Arc<Net>,
    way: Way,
    ready: Instant,
    mut sent: mpsc::UnboundedReceiver<Parcel<Request>>,
) {
    let mut last = ready;
    while let Some(parcel) = sent.recv().await {
        last = last.max(parcel.arrives);
        clock::sleep_until(last).await;
        let got_through = net.wait_through_cut(way).await;
        let connection = parcel.connection;
        {
            let mut state = connection.state.lock();
            state.queued -= 1;
            state.queued_bytes -= parcel.content.payload.len();
        }
        if connection.is_broken() {
            if parcel.is_late && got_through {
                connection.deliver(&net, parcel.id, parcel.content);
            }
        } else if !got_through {
            connection.break_near(&net, "nothing was acknowledged for too long");
        } else if parcel.is_lost {
            connection.break_far(&net, "the connection was reset");
        } else {
            connection.deliver(&net, parcel.id, parcel.content);
        }
    }
}

async fn carry_answers(
    net: Arc<Net>,
    way: Way,
    mut sent: mpsc::UnboundedReceiver<Parcel<Result<Bytes, PeerError>>>,
) {
    let mut last = clock::now();
    while let Some(parcel) = sent.recv().await {
        last = last.max(parcel.arrives);
        clock::sleep_until(last).await;
        let got_through = net.wait_through_cut(way).await;
        let connection = parcel.connection;
        if connection.is_broken() {
            continue;
        }
        if !got_through {
            connection.break_near(&net, "nothing was acknowledged for too long");
        } else if parcel.is_lost {
            connection.break_near(&net, "the connection was reset");
        } else {
            let waiting = connection.state.lock().pending.remove(&parcel.id);
            let bytes = parcel.content.as_ref().map_or(0, Bytes::len);
            net.state.lock().record(way, parcel.id, u64::MAX, bytes);
            if let Some(send) = waiting {
                let _ = send.send(parcel.content);
            }
        }
    }
}

/// Takes a call off the books when its caller has its answer, or gives up.
struct Pending {
    connection: Arc<Connection>,
    id: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.connection.state.lock().pending.remove(&self.id);
    }
}

/// The one answer that a request gets: a refusal, if nobody gives another.
struct Slot {
    net: Arc<Net>,
    connection: Arc<Connection>,
    /// The request; 0 once it is answered.
    id: u64,
    /// The callee's: after its end nothing is answered any more.
    group: Option<task::Group>,
}

impl Slot {
    fn answer(mut self, payload: Bytes) {
        // As on a real link, what is too long is dropped and so refused.
        if payload.len() <= PAYLOAD_BYTES_MAX {
            self.send(Ok(payload));
            self.id = 0;
        }
    }

    fn send(&self, answer: Result<Bytes, PeerError>) {
        let is_dead = self.group.as_ref().is_some_and(task::Group::is_killed);
        if is_dead || self.connection.is_broken() {
            return;
        }
        let (far, near) = (self.connection.way.1, self.connection.way.0);
        let parcel = self
            .connection
            .pack(&self.net, (far, near), self.id, answer);
        let _ = self.connection.answers.send(parcel);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.id != 0 {
            self.send(Err(PeerError::Refused(self.connection.way.1)));
        }
    }
}
