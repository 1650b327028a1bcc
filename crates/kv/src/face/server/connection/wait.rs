//! Waiting, while bytes and messages go their ways.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use atoll_world::clock::{self, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, LINGER};
use crate::{
    api::Api,
    face::server::{ConnectionError, node::config::Setting},
};

/// So much is read before what was asked is answered.
const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// Messages are taken out of the mailbox while fewer bytes than that wait to be sent.
const DELIVERED_BYTES_MAX: usize = 64 * 1024;

/// What came of waiting for an answer.
pub(super) enum Waited<T> {
    Heard(T),
    /// CLIENT UNBLOCK said so, perhaps with an error.
    Unblocked {
        with_error: bool,
    },
    /// Nobody waits for the answer any more.
    Gone,
}

/// What is waited for, apart from answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Requests,
    PauseEnd(Instant),
}

impl<A, S, F> Connection<'_, A, S, F>
where
    A: Api,
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = ()> + Send,
{
    /// Waits for an answer. What waits for other clients ends with the client, or when somebody
    /// says so.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = T>,
        waits: bool,
    ) -> Result<Waited<T>, ConnectionError> {
        let mut work = pin!(work);
        if waits {
            self.seat.member.begin_wait();
        }
        let waited = poll_fn(|cx| {
            if let Poll::Ready(heard) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(Waited::Heard(heard)));
            }
            if let Err(error) = self.poll_wire(cx) {
                return Poll::Ready(Err(error));
            }
            while self.is_receiving(AHEAD_BYTES_MAX) {
                match self.wire.poll_receive(cx) {
                    Poll::Ready(Ok(())) => self.seat.member.heard(),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => break,
                }
            }
            if !waits {
                return Poll::Pending;
            }
            if let Some(with_error) = self.seat.member.unblocked() {
                return Poll::Ready(Ok(Waited::Unblocked { with_error }));
            }
            if self.wire.has_ended || self.poll_stop(cx) {
                return Poll::Ready(Ok(Waited::Gone));
            }
            Poll::Pending
        })
        .await;
        if waits {
            self.seat.member.end_wait();
        }
        waited
    }

    /// Waits until there is something to do. Sends and delivers meanwhile.
    pub(super) async fn wait(&mut self, awaited: Awaited) -> Result<(), ConnectionError> {
        let config = &self.server.0.config;
        let idle_s_max = config.size(Setting::IdleSMax) as u64;
        let (wake_at, received_bytes_max) = match awaited {
            // The parser sees to it that no request is too long.
            Awaited::Requests => (self.seat.idle_until(idle_s_max), usize::MAX),
            Awaited::PauseEnd(until) => {
                self.seat.member.begin_hold();
                (Some(until), AHEAD_BYTES_MAX)
            }
        };
        let mut wake = pin!(wake_at.map(clock::sleep_until));
        let waited = poll_fn(|cx| {
            if let Err(error) = self.poll_wire(cx) {
                return Poll::Ready(Err(error));
            }
            if self.is_receiving(received_bytes_max)
                && let Poll::Ready(received) = self.wire.poll_receive(cx)
            {
                self.seat.member.heard();
                return Poll::Ready(received.map_err(ConnectionError::from));
            }
            let is_over = match awaited {
                // It was set anew.
                Awaited::Requests => config.size(Setting::IdleSMax) as u64 != idle_s_max,
                Awaited::PauseEnd(until) => {
                    let pause = self.server.0.pause.now();
                    pause.is_none_or(|(_, now_until)| now_until != until)
                }
            };
            if is_over || self.poll_stop(cx) {
                return Poll::Ready(Ok(()));
            }
            match wake.as_mut().as_pin_mut().map(|wake| wake.poll(cx)) {
                Some(Poll::Ready(())) if awaited == Awaited::Requests => {
                    Poll::Ready(Err(ConnectionError::Idle { idle_s_max }))
                }
                Some(Poll::Ready(())) => Poll::Ready(Ok(())),
                Some(Poll::Pending) | None => Poll::Pending,
            }
        })
        .await;
        if let Awaited::PauseEnd(_) = awaited {
            self.seat.member.end_wait();
        }
        waited
    }

    /// Sends what can be sent now.
    pub(super) async fn send(&mut self) -> Result<(), ConnectionError> {
        poll_fn(|cx| Poll::Ready(self.poll_wire(cx))).await
    }

    /// Delivers messages and sends, as far as the client takes it.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Result<(), ConnectionError> {
        let member = &self.seat.member;
        member.mailbox.register(cx.waker());
        if member.is_killed() {
            return Err(ConnectionError::Killed);
        }
        let unsent_bytes_max = self.server.0.config.size(Setting::UnsentBytesMax);
        loop {
            // Not between replies that wait for others.
            let delivers = member.mailbox.has_mail() && self.batch.is_empty();
            if delivers {
                let written_bytes_max = self.wire.sent_bytes() + DELIVERED_BYTES_MAX;
                member.deliver(&mut self.wire.out, written_bytes_max);
            }
            let sent = self.wire.poll_send(cx);
            let unsent_bytes = self.wire.unsent_bytes();
            if unsent_bytes > unsent_bytes_max || member.mailbox.has_overflown() {
                return Err(ConnectionError::SlowReader { unsent_bytes });
            }
            match sent {
                Poll::Ready(Ok(())) if delivers => {}
                Poll::Ready(sent) => return Ok(sent?),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn is_receiving(&self, bytes_max: usize) -> bool {
        !self.wire.has_ended && self.wire.received.len() < bytes_max
    }

    /// Whether the node stops.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_stopping = self.is_stopping || self.shutdown.as_mut().poll(cx).is_ready();
        self.is_stopping
    }

    /// Sends what is left, and the end.
    pub(super) async fn close(mut self) -> Result<(), ConnectionError> {
        let end = poll_fn(|cx| {
            self.seat.member.mailbox.register(cx.waker());
            if self.seat.member.is_killed() {
                return Poll::Ready(Err(ConnectionError::Killed));
            }
            self.wire.poll_end(cx).map_err(ConnectionError::from)
        });
        match clock::timeout(LINGER, end).await {
            Ok(ended) => ended,
            Err(_) => Err(ConnectionError::SlowReader {
                unsent_bytes: self.wire.unsent_bytes(),
            }),
        }
    }
}
