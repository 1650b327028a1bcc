//! A connection of HTTP/2 that gathers what its streams have to send.
//!
//! Answers come one by one, and each wakes the connection's task, which would send it at once:
//! a record of TLS and a system call for each small answer. Here it waits once until the
//! runtime has polled what else was ready, and then sends everything together. Where nothing
//! else is ready, it goes on at once.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
mod tests;

/// So much is worth a system call of its own.
const LARGE_BYTES: usize = 4096;

/// A connection that gathers, if it is worth it.
#[derive(Debug)]
pub(crate) struct Gather<I> {
    io: I,
    /// What is asked for by many is sent together.
    is_shared: bool,
    /// Others had their turn since the last flush.
    has_waited: bool,
}

impl<I> Gather<I> {
    /// The connection; `is_shared`: it carries several requests at a time.
    pub(crate) fn new(io: I, is_shared: bool) -> Self {
        Gather {
            io,
            is_shared,
            has_waited: false,
        }
    }

    fn poll_turn(&mut self, context: &Context<'_>, bytes: usize) -> Poll<()> {
        let is_small = bytes < LARGE_BYTES;
        if !self.is_shared || !is_small || std::mem::replace(&mut self.has_waited, true) {
            return Poll::Ready(());
        }
        // A task that wakes itself goes behind all that are ready.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Gather<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Gather<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_turn(context, bytes.len()));
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        this.has_waited &= flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        ready!(this.poll_turn(context, bytes));
        Pin::new(&mut this.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
