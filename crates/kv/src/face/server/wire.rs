//! The bytes of a connection, in and out.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// So much is read at once, at least.
const READ_BYTES: usize = 16 * 1024;

/// A buffer for output that is larger is given back when it is empty.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// A stream, what was received from it, and what is to be sent.
pub(super) struct Wire<S> {
    stream: S,
    /// What was received and not taken yet.
    pub(super) received: BytesMut,
    /// What is to be sent, after what was sent already.
    pub(super) out: BytesMut,
    sent_bytes: usize,
    has_to_flush: bool,
    /// The other side sends no more.
    pub(super) has_ended: bool,
    /// Since the connection began.
    pub(super) received_bytes_total: u64,
    /// Since the connection began.
    pub(super) sent_bytes_total: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Wire {
            stream,
            received: BytesMut::new(),
            out: BytesMut::new(),
            sent_bytes: 0,
            has_to_flush: false,
            has_ended: false,
            received_bytes_total: 0,
            sent_bytes_total: 0,
        }
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.out.len() - self.sent_bytes
    }

    /// Of what is to be sent, so much was sent already.
    pub(super) fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Sends; ready when nothing is left to be sent.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent_bytes() > 0 {
            let unsent = &self.out[self.sent_bytes..];
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent_bytes += sent;
            self.sent_bytes_total += sent as u64;
            self.has_to_flush = true;
        }
        if self.sent_bytes > 0 {
            self.sent_bytes = 0;
            if self.out.capacity() > KEPT_BYTES_MAX {
                self.out = BytesMut::new();
            }
            self.out.clear();
        }
        if self.has_to_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.has_to_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives; ready when there is more than before, or the other side has ended.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let count = if self.received.is_empty() {
            // A connection that waits holds no buffer.
            let mut buffer = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.received = BytesMut::from(buffer.filled());
            buffer.filled().len()
        } else {
            self.received.reserve(READ_BYTES);
            let read = std::pin::pin!(self.stream.read_buf(&mut self.received));
            ready!(read.poll(cx))?
        };
        self.received_bytes_total += count as u64;
        self.has_ended = count == 0;
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be sent.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
