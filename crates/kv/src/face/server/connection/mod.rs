//! One connection: from bytes to requests, and from answers to bytes.

mod answer;
mod wait;

use std::{pin::Pin, sync::Arc, time::Duration};

use atoll_world::{
    clock::{self, Instant},
    task,
};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    ConnectionError, Server,
    batch::Batch,
    members::Member,
    monitor,
    seat::{Reads, Seat},
    wire::Wire,
};
use crate::{
    api::{Api, Body, Request},
    core::command::Flags,
    face::{
        resp::{Parser, ProtocolError, write_error},
        session::{Ask, Step, Ticket},
    },
};
use wait::Awaited;

/// So many requests are handled before what they came to is sent.
const TURN_REQUESTS_MAX: usize = 1024;

/// So many bytes are written before they are sent.
const TURN_BYTES_MAX: usize = 256 * 1024;

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
    /// Wait until the other nodes know that this one is to be told of changes.
    Announce,
    /// The last one was handled.
    Close,
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
    /// Keys that are being read and are to be remembered.
    reads: Reads,
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
            reads: Reads::default(),
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
            let looked_at_bytes = self.wire.received.len();
            self.settle().await?;
            self.count();
            match next {
                // What was asked is answered; nothing else will be asked.
                _ if self.is_closing || self.is_stopping => self.is_closing = true,
                Next::Close => self.is_closing = true,
                Next::Ask(ask, ticket) => self.answer(ask, ticket).await?,
                Next::Announce => self.announce().await?,
                Next::Send => {
                    self.send().await?;
                    task::yield_now().await;
                }
                // More came while answers were awaited: there may be whole requests already.
                Next::Receive if self.wire.received.len() != looked_at_bytes => {}
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
        let logs_short = self.server.logs_short();
        let mut begun = clock::now();
        for _ in 0..TURN_REQUESTS_MAX {
            let written_bytes = self.wire.out.len() - before_bytes + self.batch.between.len();
            if written_bytes > TURN_BYTES_MAX {
                return Ok(Next::Send);
            }
            let is_known = session.is_authenticated();
            let received_bytes = self.wire.received.len();
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
            let logged = logs_short.then(|| words.clone());
            let hub = &self.server.0.hub;
            let shown = hub
                .has_monitors()
                .then(|| monitor::line(&session, self.seat.member.address(), &words));
            let step = session.handle(words, out);
            if let Some(line) = shown.flatten()
                && session.was_admitted()
            {
                hub.show(&line);
            }
            self.seat.note_subscriptions(&mut session);
            if let Some((client, denials)) = self.seat.take_denials(&mut session) {
                self.server.log_denials(client, denials);
            }
            self.seat.note_monitor(&mut session);
            let begins = self.seat.note_tracking(&mut session);
            self.seat.note_reads(&mut session, &mut self.reads);
            if !session.ended().is_empty() {
                let now = clock::now();
                let took = now.duration_since(std::mem::replace(&mut begun, now));
                self.server.note_ended(&mut session, took);
                if let Some(words) = logged {
                    let address = self.seat.member.address();
                    self.server.note_slow(&session, address, &words, took);
                }
            }
            match step {
                Step::Done if begins => return Ok(Next::Announce),
                Step::Done => {}
                Step::Close => {
                    // Before the client hears that it is gone.
                    self.seat.member.mailbox.leave();
                    return Ok(Next::Close);
                }
                Step::Ask(Ask::Api(request), ticket) if !may_wait(&request) => {
                    let waits = ticket.waits();
                    self.batch.push(request, ticket);
                    if waits {
                        return Ok(Next::Send);
                    }
                }
                Step::Ask(ask, ticket) => {
                    // CLIENT LIST tells of itself, too.
                    let unsent_bytes = self.wire.unsent_bytes();
                    self.seat.member.set_buffers(received_bytes, unsent_bytes);
                    return Ok(Next::Ask(ask, ticket));
                }
            }
        }
        Ok(Next::Send)
    }
}

/// Whether the answer may take as long as the client likes.
fn may_wait(request: &Request) -> bool {
    match &request.body {
        Body::Call { call, .. } => call.command.flags.has(Flags::BLOCKING),
        Body::Wait(_) => true,
        // What takes long with many keys does not wait.
        Body::Within { .. } => false,
        Body::Eventual(_) | Body::Transaction(_) | Body::Versions(_) | Body::Publish(_) => false,
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
