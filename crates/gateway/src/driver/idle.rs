//! A connection to an endpoint that ends with an error when nothing went either way for long.
//!
//! One timer for the life of the connection, set again only when it fires; in between a flag
//! says whether anything moved. So silence is noticed after between one and two times the
//! limit, and costs nothing while there is none.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use atoll_world::clock::{self, Sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gather::Gather;

/// A connection with a limit to its silence.
#[derive(Debug)]
pub(crate) struct Idle<I> {
    io: I,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    has_moved: bool,
    gather: Gather,
}

impl<I> Idle<I> {
    /// The connection, silent for not longer than about `limit_ms`. `is_shared`: it carries
    /// several requests at a time.
    pub(crate) fn new(io: I, limit_ms: u64, is_shared: bool) -> Self {
        let limit = Duration::from_millis(limit_ms);
        Idle {
            io,
            limit,
            timer: Box::pin(clock::sleep(limit)),
            has_moved: false,
            gather: Gather::new(is_shared),
        }
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        while self.timer.as_mut().poll(context).is_ready() {
            if !std::mem::take(&mut self.has_moved) {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(clock::now() + self.limit);
        }
        Poll::Pending
    }

    fn moved<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.has_moved |= polled.is_ready();
        polled
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Idle<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        if read.is_pending() {
            return this.poll_silence(context).map(Err);
        }
        this.moved(read)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Idle<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.gather.poll(context, bytes.len()));
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        if written.is_pending() {
            return this.poll_silence(context).map(Err);
        }
        this.moved(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        this.gather.flushed(flushed)
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
        ready!(this.gather.poll(context, bytes));
        let written = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        if written.is_pending() {
            return this.poll_silence(context).map(Err);
        }
        this.moved(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
