//! One connection: from bytes to requests, and from answers to bytes.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use atoll_world::{
    clock::{self, Instant},
    task,
};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    ConnectionError, Server, batch::Batch, members::Member, node::config::Setting, seat::Seat,
    wire::Wire,
};
use crate::{
    api::{Api, Body, Request},
    core::command::Flags,
    face::{
        resp::{Parser, ProtocolError, write_error},
        session::{Ask, Heard, Step, Ticket},
    },
};

/// So many requests are handled before what they came to is sent.
const TURN_REQUESTS_MAX: usize = 1024;

/// So many bytes are written before they are sent.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// So much is read before what was asked is answered.
const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// Messages are taken out of the mailbox while fewer bytes than that wait to be sent.
const DELIVERED_BYTES_MAX: usize = 64 * 1024;

/// What was written last is sent for no longer than this.
const LINGER: Duration = Duration::from_secs(5);

/// What is to be done when no request can be handled now.
enum Next {
    /// Wait for more of them.
    Receive,
    /// Send, and go on.
    Send,
    /// Ask, and go on when there is an answer.
    Ask(Ask, Ticket),
    /// Wait for the end of a pause.
    Pause(Instant),
    /// The last one was handled.
    Close,
}

/// What came of waiting for an answer.
enum Waited<T> {
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
enum Awaited {
    Requests,
    PauseEnd(Instant),
}

pub(super) struct Connection<'s, A, S, F> {
    server: &'s Server<A>,
    seat: Seat<'s>,
    wire: Wire<S>,
    parser: Parser,
    batch: Batch,
    /// A request that CLIENT PAUSE lets wait.
    held: Option<Vec<Bytes>>,
    /// Commands that were not counted yet.
    handled: u64,
    /// Bytes that were counted, in and out.
    counted_bytes: (u64, u64),
    /// Nothing more is to be handled.
    is_closing: bool,
    shutdown: Pin<&'s mut F>,
    /// The node stops.
    is_stopping: bool,
}

impl<'s, A, S, F> Connection<'s, A, S, F>
where
    A: Api,
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = ()> + Send,
{
    pub(super) fn new(
        server: &'s Server<A>,
        member: Arc<Member>,
        stream: S,
        shutdown: Pin<&'s mut F>,
    ) -> Self {
        Connection {
            seat: Seat::new(&server.0.members, &server.0.hub, member),
            parser: Parser::new(server.0.config.limits()),
            server,
            wire: Wire::new(stream),
            batch: Batch::default(),
            held: None,
            handled: 0,
            counted_bytes: (0, 0),
            is_closing: false,
            shutdown,
            is_stopping: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), ConnectionError> {
        let mut failed = Ok(());
        while !self.is_closing {
            let next = self.handle().unwrap_or_else(|error| {
                failed = Err(ConnectionError::Protocol(error));
                Next::Close
            });
            self.settle().await?;
            self.count();
            match next {
                // What was asked is answered; nothing else will be asked.
                _ if self.is_closing || self.is_stopping => self.is_closing = true,
                Next::Close => self.is_closing = true,
                Next::Ask(ask, ticket) => self.answer(ask, ticket).await?,
                Next::Send => {
                    self.send().await?;
                    task::yield_now().await;
                }
                Next::Receive | Next::Pause(_) if self.wire.has_ended => self.is_closing = true,
                Next::Receive => self.wait(Awaited::Requests).await?,
                Next::Pause(until) => self.wait(Awaited::PauseEnd(until)).await?,
            }
        }
        self.close().await?;
        failed
    }

    /// Tells what was done since last time.
    fn count(&mut self) {
        let (member, wire) = (&self.seat.member, &self.wire);
        member.set_buffers(wire.received.len(), wire.unsent_bytes());
        let (received, sent) = (wire.received_bytes_total, wire.sent_bytes_total);
        let stats = &self.server.0.stats;
        stats.add(
            std::mem::take(&mut self.handled),
            received - self.counted_bytes.0,
            sent - self.counted_bytes.1,
        );
        self.counted_bytes = (received, sent);
    }

    /// Handles what was received, as far as it can be without waiting.
    fn handle(&mut self) -> Result<Next, ProtocolError> {
        let mut session = self.seat.member.session.lock();
        let before_bytes = self.wire.out.len();
        for _ in 0..TURN_REQUESTS_MAX {
            let written_bytes = self.wire.out.len() - before_bytes + self.batch.between.len();
            if written_bytes > TURN_BYTES_MAX {
                return Ok(Next::Send);
            }
            let is_known = session.is_authenticated();
            let words = match self.held.take() {
                Some(words) => Ok(Some(words)),
                None => self.parser.next(&mut self.wire.received, is_known),
            };
            let out = if self.batch.is_empty() {
                &mut self.wire.out
            } else {
                &mut self.batch.between
            };
            let words = match words {
                Ok(Some(words)) => words,
                Ok(None) => return Ok(Next::Receive),
                Err(error) => {
                    if let Some(text) = error.reply() {
                        write_error(out, &text);
                    }
                    return Err(error);
                }
            };
            if let Some((of, until)) = self.server.0.pause.now()
                && session.is_paused(of, &words)
            {
                self.held = Some(words);
                return Ok(Next::Pause(until));
            }
            self.handled += 1;
            let step = session.handle(words, out);
            self.seat.note_subscriptions(&mut session);
            match step {
                Step::Done => {}
                Step::Close => return Ok(Next::Close),
                Step::Ask(Ask::Api(request), ticket) if !may_wait(&request) => {
                    let waits = ticket.waits();
                    self.batch.push(request, ticket);
                    if waits {
                        return Ok(Next::Send);
                    }
                }
                Step::Ask(ask, ticket) => return Ok(Next::Ask(ask, ticket)),
            }
        }
        Ok(Next::Send)
    }

    /// Asks what was put together, and writes the replies.
    async fn settle(&mut self) -> Result<(), ConnectionError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let requests = self.batch.take_requests();
        let api = &self.server.0.api;
        let measured = self.begin_measure(&requests);
        let Waited::Heard(answers) = self.during(api.ask(requests), false).await? else {
            return Ok(());
        };
        if let Some((words, begun)) = measured {
            self.end_measure(&words, begun);
        }
        let step = {
            let mut session = self.seat.member.session.lock();
            let step = self.batch.finish(&mut session, answers, &mut self.wire.out);
            self.seat.note_subscriptions(&mut session);
            step
        };
        match step {
            Step::Done => Ok(()),
            Step::Close => {
                self.is_closing = true;
                Ok(())
            }
            Step::Ask(ask, ticket) => self.answer(ask, ticket).await,
        }
    }

    /// The words of a command that comes alone, and when it began, if slow ones are kept.
    fn begin_measure(&self, requests: &[Request]) -> Option<(Vec<Bytes>, Instant)> {
        match requests {
            [
                Request {
                    body: Body::Call { call, .. },
                    ..
                },
            ] if self.server.0.config.get(Setting::SlowerThanUs) >= 0 => {
                Some((call.words.clone(), clock::now()))
            }
            _ => None,
        }
    }

    fn end_measure(&self, words: &[Bytes], begun: Instant) {
        let shared = &self.server.0;
        let took = clock::now().duration_since(begun);
        let slower_than_us = shared.config.size(Setting::SlowerThanUs);
        if took.as_micros() >= slower_than_us as u128 {
            let name = self.seat.member.session.lock().name().clone();
            let entries_max = shared.config.size(Setting::SlowEntriesMax);
            let address = self.seat.member.address();
            shared.slowlog.add(words, took, address, name, entries_max);
        }
    }

    /// Asks one thing, and what follows from its answer.
    async fn answer(&mut self, ask: Ask, ticket: Ticket) -> Result<(), ConnectionError> {
        let mut next = (ask, ticket);
        loop {
            let (ask, ticket) = next;
            let shared = &self.server.0;
            let waited = match ask {
                Ask::Api(request) => {
                    let waits = may_wait(&request);
                    let answers = self.during(shared.api.ask(vec![request]), waits).await?;
                    match answers {
                        Waited::Heard(answers) => answers
                            .into_iter()
                            .next()
                            .map_or(Waited::Gone, |answer| Waited::Heard(Heard::Api(answer))),
                        Waited::Unblocked { with_error } => Waited::Unblocked { with_error },
                        Waited::Gone => Waited::Gone,
                    }
                }
                Ask::Identity(credentials) => {
                    let checked = self.during(shared.identity.check(&credentials), false);
                    match checked.await? {
                        Waited::Heard(is_right) => Waited::Heard(Heard::Identity(is_right)),
                        Waited::Unblocked { .. } | Waited::Gone => Waited::Gone,
                    }
                }
                Ask::Node(call) => {
                    let (server, member) = (self.server, self.seat.member.clone());
                    match self.during(server.node(&member, call), false).await? {
                        Waited::Heard(reply) => Waited::Heard(Heard::Node(reply)),
                        Waited::Unblocked { .. } | Waited::Gone => Waited::Gone,
                    }
                }
                Ask::Registry(question) => {
                    let (reply, ends) = self.server.registry(&self.seat.member, question);
                    self.is_closing |= ends;
                    Waited::Heard(Heard::Registry(reply))
                }
            };
            let step = {
                let mut session = self.seat.member.session.lock();
                let out = &mut self.wire.out;
                let step = match waited {
                    Waited::Heard(heard) => session.finish(ticket, heard, out),
                    Waited::Unblocked { with_error } => session.unblock(ticket, with_error, out),
                    Waited::Gone => Step::Close,
                };
                self.seat.note_subscriptions(&mut session);
                step
            };
            match step {
                Step::Done => return Ok(()),
                Step::Close => {
                    self.is_closing = true;
                    return Ok(());
                }
                Step::Ask(ask, ticket) => next = (ask, ticket),
            }
        }
    }

    /// Waits for an answer. What waits for other clients ends with the client, or when somebody
    /// says so.
    async fn during<T>(
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
    async fn wait(&mut self, awaited: Awaited) -> Result<(), ConnectionError> {
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
    async fn send(&mut self) -> Result<(), ConnectionError> {
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
    async fn close(mut self) -> Result<(), ConnectionError> {
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

/// Whether the answer may take as long as the client likes.
fn may_wait(request: &Request) -> bool {
    match &request.body {
        Body::Call { call, .. } => call.command.flags.has(Flags::BLOCKING),
        Body::Wait(_) => true,
        Body::Transaction(_) | Body::Versions(_) | Body::Publish(_) => false,
    }
}

/// Tells a client that there are too many.
pub(super) async fn refuse<S: AsyncWrite + Unpin>(
    mut stream: S,
    connections_max: usize,
) -> Result<(), ConnectionError> {
    let tell = async {
        stream
            .write_all(b"-ERR max number of clients reached\r\n")
            .await?;
        stream.shutdown().await
    };
    // Whether it hears it is its own affair.
    let _ = clock::timeout(LINGER, tell).await;
    Err(ConnectionError::Crowded { connections_max })
}
