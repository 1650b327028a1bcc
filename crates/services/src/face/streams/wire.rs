//! A connection as it was negotiated: bytes as they come, or messages of a WebSocket.
//!
//! Invariants: what is queued is sent in order; reading and writing hold each other up in no
//! case, as one [`Wire::turn`] does both.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        error::CapacityError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding},
    },
};

use crate::core::streams::websocket::{CloseCode, MESSAGE_BYTES_MAX};

/// So much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// The connection broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Below us.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// In the framing of messages.
    #[error("the WebSocket broke: {0}")]
    Socket(#[source] Box<tungstenite::Error>),
}

impl WireError {
    /// Whoever leaves without goodbye has left, too.
    fn has_left(&self) -> bool {
        use tungstenite::error::{Error, ProtocolError};
        match self {
            WireError::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::UnexpectedEof
            ),
            WireError::Socket(error) => matches!(
                **error,
                Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            ),
        }
    }

    /// How the peer is told.
    pub(super) fn close_code(&self) -> CloseCode {
        match self {
            WireError::Socket(error) => match **error {
                tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                    CloseCode::TooBig
                }
                _ => CloseCode::Protocol,
            },
            WireError::Io(_) => CloseCode::Protocol,
        }
    }
}

/// What happened next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Bytes came, or a message.
    Received(Bytes),
    /// All that was queued is on its way.
    Sent,
    /// The peer is gone.
    Closed,
}

/// A connection.
pub(super) struct Wire<I> {
    below: Below<I>,
    queue: VecDeque<Message>,
    queued_bytes: usize,
    /// Something was written that may not be on its way.
    is_unflushed: bool,
}

enum Below<I> {
    Plain {
        io: I,
        buffer: Box<[u8]>,
    },
    Socket {
        socket: Box<WebSocketStream<I>>,
        is_text: bool,
    },
}

impl<I: AsyncRead + AsyncWrite + Unpin> Wire<I> {
    /// Bytes as they come.
    pub(super) fn plain(io: I) -> Self {
        Wire::new(Below::Plain {
            io,
            buffer: vec![0; READ_BYTES].into(),
        })
    }

    /// Messages of a WebSocket after its handshake; those that are sent are text or not.
    pub(super) async fn socket(io: I, is_text: bool) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(READ_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Wire::new(Below::Socket {
            socket: Box::new(socket),
            is_text,
        })
    }

    fn new(below: Below<I>) -> Self {
        Wire {
            below,
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_unflushed: false,
        }
    }

    /// Queues bytes, or a message.
    pub(super) fn queue(&mut self, bytes: Bytes) {
        self.queued_bytes += bytes.len();
        let message = match &self.below {
            Below::Socket { is_text: true, .. } => match Utf8Bytes::try_from(bytes) {
                Ok(text) => Message::Text(text),
                Err(_) => unreachable!("base64 is text"),
            },
            _ => Message::Binary(bytes),
        };
        self.queue.push_back(message);
    }

    /// How much is queued.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether something is still to be sent.
    pub(super) fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.is_unflushed
    }

    /// Tells the peer that we are there, where nothing else tells it; false if messages of the
    /// protocol above have to. An unasked pong, unlike a ping, wants no answer, which a client
    /// that is held up could not give.
    pub(super) fn keep_alive(&mut self) -> bool {
        let is_socket = matches!(self.below, Below::Socket { .. });
        if is_socket && !self.has_output() {
            self.queue.push_back(Message::Pong(Bytes::new()));
        }
        is_socket
    }

    /// Says goodbye behind all that is queued, if there is a word for it.
    pub(super) fn close(&mut self, code: CloseCode) {
        if let Below::Socket { .. } = self.below {
            let code = match code {
                CloseCode::Normal => coding::CloseCode::Normal,
                CloseCode::Protocol => coding::CloseCode::Protocol,
                CloseCode::TooBig => coding::CloseCode::Size,
            };
            let reason = Utf8Bytes::default();
            let frame = CloseFrame { code, reason };
            self.queue.push_back(Message::Close(Some(frame)));
        }
    }

    /// Sends what is queued and, if wanted, reads; tells what was done first.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn turn(&mut self, is_reading: bool) -> Result<Turn, WireError> {
        let turn = poll_fn(|context| self.poll_turn(context, is_reading)).await;
        match turn {
            Err(error) if error.has_left() => Ok(Turn::Closed),
            turn => turn,
        }
    }

    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        is_reading: bool,
    ) -> Poll<Result<Turn, WireError>> {
        if self.has_output() && self.poll_send(context)?.is_ready() {
            return Poll::Ready(Ok(Turn::Sent));
        }
        match is_reading {
            true => self.below.poll_receive(context),
            false => Poll::Pending,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        while !self.queue.is_empty() {
            self.is_unflushed = true;
            let sent_bytes = ready!(self.below.poll_send(context, &mut self.queue))?;
            self.queued_bytes -= sent_bytes;
        }
        ready!(self.below.poll_flush(context))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Ends the connection.
    pub(super) async fn shutdown(&mut self) {
        let io = match &mut self.below {
            Below::Plain { io, .. } => io,
            Below::Socket { socket, .. } => socket.get_mut(),
        };
        // Whoever is gone need not be told.
        let _ = io.shutdown().await;
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Below<I> {
    /// Sends of the first in the queue; tells how many bytes were taken from the queue.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        queue: &mut VecDeque<Message>,
    ) -> Poll<Result<usize, WireError>> {
        match self {
            Below::Plain { io, .. } => {
                let Some(Message::Binary(bytes)) = queue.front_mut() else {
                    queue.pop_front();
                    return Poll::Ready(Ok(0));
                };
                let written = ready!(Pin::new(io).poll_write(context, bytes))?;
                if written == 0 && !bytes.is_empty() {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                bytes.advance(written);
                if bytes.is_empty() {
                    queue.pop_front();
                }
                Poll::Ready(Ok(written))
            }
            Below::Socket { socket, .. } => {
                let mut socket = Pin::new(&mut **socket);
                ready!(socket.as_mut().poll_ready(context)).map_err(broken)?;
                let Some(message) = queue.pop_front() else {
                    return Poll::Ready(Ok(0));
                };
                let bytes = match &message {
                    Message::Binary(_) | Message::Text(_) => message.len(),
                    _ => 0,
                };
                socket.start_send(message).map_err(broken)?;
                Poll::Ready(Ok(bytes))
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        match self {
            Below::Plain { io, .. } => Pin::new(io).poll_flush(context).map_err(WireError::Io),
            Below::Socket { socket, .. } => {
                Pin::new(&mut **socket).poll_flush(context).map_err(broken)
            }
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Turn, WireError>> {
        match self {
            Below::Plain { io, buffer } => {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(io).poll_read(context, &mut read))?;
                Poll::Ready(Ok(match read.filled() {
                    [] => Turn::Closed,
                    bytes => Turn::Received(Bytes::copy_from_slice(bytes)),
                }))
            }
            Below::Socket { socket, .. } => loop {
                // It answers pings and closings by itself.
                match ready!(Pin::new(&mut **socket).poll_next(context)) {
                    Some(Ok(Message::Binary(bytes))) => {
                        return Poll::Ready(Ok(Turn::Received(bytes)));
                    }
                    Some(Ok(Message::Text(text))) => {
                        return Poll::Ready(Ok(Turn::Received(text.into())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Ok(Turn::Closed)),
                }
            },
        }
    }
}

fn broken(error: tungstenite::Error) -> WireError {
    match error {
        tungstenite::Error::Io(error) => WireError::Io(error),
        error => WireError::Socket(Box::new(error)),
    }
}
